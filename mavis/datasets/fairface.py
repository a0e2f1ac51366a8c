"""FairFace, in the layout in which its authors publish it.

    ROOT/fairface_label_train.csv, ROOT/fairface_label_val.csv    file,age,gender,race,service_test
    ROOT/train/N.jpg, ROOT/val/N.jpg                              as the column ``file`` names them

Source: Karkkainen and Joo, "FairFace: Face Attribute Dataset for Balanced Race, Gender, and Age for Bias Measurement
and Mitigation", WACV 2021; https://github.com/joojs/fairface. The order of the group names is that of its predict.py.
"""

import csv
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mavis.core.errors import DataError
from mavis.core.files import expand_user, is_folder
from mavis.core.registry import dataset
from mavis.datasets.loading.image_files import LabelledImages, check_size
from mavis.datasets.loading.image_folder import FolderFile, ImageFolder, same_file

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "race": ("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian", "Middle Eastern"),
    "gender": ("Male", "Female"),
    "age": ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70"),
}
SPLITS = ("train", "val")
PROVENANCE = (
    "FairFace (Karkkainen and Joo, WACV 2021): race, gender and age are what annotators perceived in the image, "
    "not what the persons say of themselves."
)
DATE_AGES = {("mar", 9): "3-9", ("sep", 3): "3-9", ("oct", 19): "10-19", ("oct", 10): "10-19", ("oct", 1): "10-19"}
"""Age groups that a spreadsheet turned into dates: month and day, or October 2019 and its first day."""


@dataset(
    "fairface",
    about="faces with perceived race, gender and age, in FairFace's own folder layout",
    options=("root", "target", "split", "size"),
)
def fairface(root: str | Path, target: str = "race", split: str = "val", size: int = 64) -> LabelledImages:
    """FairFace or a part of it, from a folder on this machine.

    Rows without an image are left out and ages that a spreadsheet turned into dates are repaired; ``notes`` lists both.

    Args:
        root: the folder with ``fairface_label_<split>.csv`` and the images.
        target: the label: ``race`` (7 classes), ``gender`` (2) or ``age`` (9); all three are group attributes.
        split: ``train`` or ``val``.
        size: side of the loaded images in pixels, 16 to 1024.

    Raises:
        DataError: an argument is out of range; the folder, the table, a column or every image is missing; a row has a
            value that FairFace does not know, or contradicts another one on the same image.
    """
    _check_choice("target", target, ATTRIBUTES)
    _check_choice("split", split, SPLITS)
    check_size(size)
    folder = expand_user(root)
    path = _table_path(folder, split)
    images = ImageFolder(folder)
    raw_rows = [replace(row, image=images.find(row.file)) for row in _read_rows(path)]
    unique_rows = _drop_duplicates(path, raw_rows, folder)
    rows = [row for row in unique_rows if row.image is not None]
    if not rows:
        raise DataError(f"None of the {len(unique_rows)} images of {path} is there: {_why_none(images, unique_rows)}.")
    groups = pd.DataFrame([row.groups for row in rows], index=pd.Index([row.id for row in rows], name="id"))
    notes = (*_notes(path, raw_rows, unique_rows, rows), *_missing_notes(path, unique_rows, images))
    return LabelledImages(f"fairface:{root}:{split}", target, ATTRIBUTES, PROVENANCE, folder, groups, size, notes)


@dataclass(frozen=True)
class _Row:
    """One line of the table, with its age repaired; ``groups`` has the keys of `ATTRIBUTES`, in their order.

    ``file`` is as the table spells it, ``image`` the file that it names, if there is one.
    """

    line: int
    file: str
    groups: Mapping[str, str]
    raw_age: str
    image: FolderFile | None = None

    @property
    def id(self) -> str:
        """The path in the folder, as the folder spells it."""
        return self.file if self.image is None else self.image.name


def _check_choice(option: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise DataError(
            f"FairFace has no {option} '{value}'{_suggestion(value, choices, 0.4)}; expected {', '.join(choices)}."
        )


def _suggestion(word: str, choices: Iterable[str], cutoff: float = 0.6) -> str:
    matches = difflib.get_close_matches(str(word).lower(), list(choices), n=1, cutoff=cutoff)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def _table_path(folder: Path, split: str) -> Path:
    if not is_folder(folder):
        raise DataError(f"There is no folder '{folder}'; expected one with fairface_label_{split}.csv and {split}/.")
    path = folder / f"fairface_label_{split}.csv"
    if not path.is_file():
        entries = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if not p.name.startswith("."))
        listing = ", ".join(entries[:8]) + (f" and {len(entries) - 8} more" if len(entries) > 8 else "")
        raise DataError(
            f"'{folder}' has no {path.name}; there is: {listing or 'nothing'}. Give the folder that holds it."
        )
    return path


def _read_rows(path: Path) -> list[_Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _column_indices(path, next(reader, []))
            return [
                _parse_row(path, reader.line_num, columns, cells) for cells in reader if any(c.strip() for c in cells)
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"Cannot read {path}: {error}; expected a comma-separated table in UTF-8.") from error


def _column_indices(path: Path, header: list[str]) -> dict[str, int]:
    """Index of each needed column by its name."""
    names = ["file" if name.strip() == "file_name" else name.strip() for name in header]
    for needed in ("file", *ATTRIBUTES):
        if needed not in names:
            columns = ", ".join(names) or "none"
            raise DataError(f"{path} has no column '{needed}'{_suggestion(needed, names)}; its columns are: {columns}.")
        if names.count(needed) > 1:
            raise DataError(f"{path} has {names.count(needed)} columns '{needed}'; leave one of them, the right one.")
    return {needed: names.index(needed) for needed in ("file", *ATTRIBUTES)}


def _parse_row(path: Path, line: int, columns: Mapping[str, int], cells: list[str]) -> _Row:
    values = {name: cells[i].strip() if i < len(cells) else "" for name, i in columns.items()}
    raw_age, values["age"] = values["age"], _repair_age(values["age"])
    for attribute, choices in ATTRIBUTES.items():
        if values[attribute] not in choices:
            got, allowed = values[attribute] or "nothing", ", ".join(choices)
            raise DataError(
                f"{path}, line {line} ({values['file']}): {attribute} is '{got}'; expected one of {allowed}."
            )
    return _Row(line, values["file"], {attribute: values[attribute] for attribute in ATTRIBUTES}, raw_age)


def _repair_age(text: str) -> str:
    """The intended age group: ``9-Mar`` and ``Sep-03`` are 3-9, ``19-Oct`` is 10-19, ``70+`` is more than 70."""
    if text == "70+":
        return "more than 70"
    date = re.fullmatch(r"(\d{1,2})[- ]([a-z]{3})|([a-z]{3})[- ](\d{1,2})", text.lower())
    if date is None:
        return text
    day, month = date[1] or date[4], date[2] or date[3]
    return DATE_AGES.get((month, int(day)), text)


def _drop_duplicates(path: Path, rows: list[_Row], folder: Path) -> list[_Row]:
    """The rows, each file once, under whatever names.

    Raises:
        DataError: two rows of one file have different groups.
    """
    row_of_file: dict[object, _Row] = {}
    for row in rows:
        key: object = row.file if row.image is None else row.image.identity
        first = row_of_file.setdefault(key, row)
        if first.image and row.image and not same_file(folder, first.image, row.image):
            first = row_of_file.setdefault((key, row.id), row)
        if first.groups != row.groups:
            names = (
                f"'{row.file}'" if first.file == row.file else f"'{first.file}' and '{row.file}', which are one file"
            )
            labels = f"{_group_names(first)} (line {first.line}) and {_group_names(row)} (line {row.line})"
            raise DataError(f"{path} contradicts itself on {names}: {labels}; remove one of the two rows.")
    return list(row_of_file.values())


def _group_names(row: _Row) -> str:
    return " / ".join(row.groups.values())


def _why_none(images: ImageFolder, rows: list[_Row]) -> str:
    """The reason why the table's first image is not there."""
    if not rows:
        return "the table has no rows"
    name = rows[0].file
    if images.is_outside(name):
        return f"the first, '{name}', lies outside '{images.root}'"
    similar = images.similar(name)
    return f"the first, '{name}', is not in '{images.root}'{f', where it is written {similar!r}' if similar else ''}"


def _notes(path: Path, raw_rows: list[_Row], unique_rows: list[_Row], rows: list[_Row]) -> Iterator[str]:
    """One sentence each on repaired ages and repeated rows."""
    ages = Counter((row.raw_age, row.groups["age"]) for row in rows if row.raw_age != row.groups["age"])
    if ages:
        repairs = ", ".join(f"'{raw_age}' read as '{age}' ({n})" for (raw_age, age), n in sorted(ages.items()))
        yield f"Ages repaired in {path.name}: {repairs}."
    if len(raw_rows) > len(unique_rows):
        yield f"Rows of {path.name} left out because they repeat an earlier one: {len(raw_rows) - len(unique_rows)}."


def _missing_notes(path: Path, rows: list[_Row], images: ImageFolder) -> Iterator[str]:
    """A sentence per reason for which rows without an image are left out."""
    missing = [row.file for row in rows if row.image is None]
    outside = [name for name in missing if images.is_outside(name)]
    similar = {name: images.similar(name) for name in missing if name not in set(outside)}
    spelled = [f"'{name}' for '{spelling}'" for name, spelling in similar.items() if spelling is not None]
    absent = len(missing) - len(outside) - len(spelled)
    subject, n_rows = f"Rows of {path.name} left out because", len(rows)
    if absent:
        yield f"{subject} their image is not there: {absent} of {n_rows}."
    if spelled:
        yield f"{subject} the name is written otherwise in the folder: {len(spelled)} of {n_rows}, as {spelled[0]}."
    if outside:
        yield f"{subject} their path leads out of the folder: {len(outside)} of {n_rows}, as '{outside[0]}'."
