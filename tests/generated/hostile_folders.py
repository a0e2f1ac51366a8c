"""Hostile folders in FairFace's layout: edits of rows, of the table's text and of the files."""

import os
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Outcome = Literal["same", "left out", "refused", "either"]

HEADER = ("file", "age", "gender", "race", "service_test")
PEOPLE = (
    ("0-2", "Male", "White"),
    ("more than 70", "Female", "Black"),
    ("20-29", "Male", "East Asian"),
    ("3-9", "Female", "Indian"),
    ("30-39", "Male", "White"),
    ("10-19", "Female", "Latino_Hispanic"),
)
N = len(PEOPLE)

Row = list[str]
RowEdit = Callable[[Row, Path], list[Row]]
TextEdit = Callable[[list[Row]], bytes]


def plain_rows() -> list[Row]:
    """The rows of the twin."""
    return [[f"val/{number}.png", *person, "True"] for number, person in enumerate(PEOPLE, start=1)]


def quote(rows: list[Row], delimiter: str = ",", end: str = "\n") -> str:
    """The table as a text, every cell as it is written."""
    return "".join(delimiter.join(row) + end for row in rows)


def cell(column: int, spell: Callable[[str], str]) -> RowEdit:
    """One cell spelled otherwise."""
    return lambda row, _: [[spell(value) if k == column else value for k, value in enumerate(row)]]


def path(spell: Callable[[str], str]) -> RowEdit:
    """The path spelled otherwise."""
    return cell(0, spell)


def link(row: Row, root: Path) -> list[Row]:
    """A link beside the image, named in its place."""
    name = row[0].replace("/", "/link")
    (root / name).symlink_to(root / row[0])
    return [[name, *row[1:]]]


def link_out(row: Row, root: Path) -> list[Row]:
    """A link that leads nowhere."""
    name = row[0].replace("/", "/nowhere")
    (root / name).symlink_to(root / "nowhere")
    return [[name, *row[1:]]]


def second_name(row: Row, root: Path) -> list[Row]:
    """The image under its own name and as a link, in two rows that agree."""
    return [row, *link(row, root)]


def two_names_that_differ(row: Row, root: Path) -> list[Row]:
    """The image under two names, with two labels."""
    return [row, *contradicted(link(row, root)[0])]


def contradicted(row: Row) -> list[Row]:
    """The row with the other gender."""
    return [[*row[:2], "Female" if row[2] == "Male" else "Male", *row[3:]]]


def decomposed(row: Row, root: Path) -> list[Row]:
    """A name in another normal form than in the folder."""
    name = row[0].replace("/", "/é")
    (root / row[0]).rename(root / unicodedata.normalize("NFD", name))
    return [[unicodedata.normalize("NFC", name), *row[1:]]]


def removed(row: Row, root: Path) -> list[Row]:
    """No image."""
    (root / row[0]).unlink()
    return [row]


def emptied(row: Row, root: Path) -> list[Row]:
    """An image without a byte."""
    (root / row[0]).unlink()
    (root / row[0]).write_bytes(b"")
    return [row]


def truncated(row: Row, root: Path) -> list[Row]:
    """Half an image."""
    content = (root / row[0]).read_bytes()
    (root / row[0]).unlink()
    (root / row[0]).write_bytes(content[: len(content) // 2])
    return [row]


def folder_instead(row: Row, root: Path) -> list[Row]:
    """A folder of the image's name."""
    (root / row[0]).unlink()
    (root / row[0]).mkdir()
    return [row]


ROWS: Mapping[str, tuple[RowEdit, Outcome]] = {
    "./": (path(lambda p: f"./{p}"), "same"),
    "//": (path(lambda p: p.replace("/", "//")), "same"),
    "backslash": (path(lambda p: p.replace("/", "\\")), "same"),
    "back and forth": (path(lambda p: f"val/../{p}"), "same"),
    "absolute": (lambda row, root: [[str(root / row[0]), *row[1:]]], "same"),
    "out and in": (lambda row, root: [[f"../{root.name}/{row[0]}", *row[1:]]], "same"),
    "quoted": (path(lambda p: f'"{p}"'), "same"),
    "blanks around": (lambda row, _: [[f" {value} " for value in row]], "same"),
    "tabs around": (lambda row, _: [[f"\t{value}\t" for value in row]], "same"),
    "twice": (lambda row, _: [row, row], "same"),
    "twice, spelled otherwise": (lambda row, _: [row, [f"./{row[0]}", *row[1:]]], "same"),
    "more cells": (lambda row, _: [[*row, "", "x"]], "same"),
    "fewer cells": (lambda row, _: [row[:4]], "same"),
    "empty rows": (lambda row, _: [["", ""], row, [" "]], "same"),
    "link": (link, "same"),
    "second name": (second_name, "same"),
    "normal form": (decomposed, "same"),
    "wrong case": (path(str.upper), "left out"),
    "other ending": (path(lambda p: p.replace("png", "jpg")), "left out"),
    "another drive": (path(lambda p: f"C:\\faces\\{p}"), "left out"),
    "outside": (path(lambda p: f"../{p}"), "left out"),
    "of the system": (path(lambda p: "/etc/passwd"), "left out"),
    "empty path": (path(lambda p: ""), "left out"),
    "only a dot": (path(lambda p: "."), "left out"),
    "a folder": (path(lambda p: "val"), "left out"),
    "NUL": (path(lambda p: f"{p}\0"), "left out"),
    "very long": (path(lambda p: "x" * 5000), "left out"),
    "very deep": (path(lambda p: "a/" * 2000 + p), "left out"),
    "a wildcard": (path(lambda p: "val/*.png"), "left out"),
    "companion": (path(lambda p: p.replace("/", "/._")), "left out"),
    "an address": (path(lambda p: f"http://host/{p}"), "left out"),
    "home": (path(lambda p: f"~/{p}"), "left out"),
    "a link that leads nowhere": (link_out, "left out"),
    "removed": (removed, "left out"),
    "emptied": (emptied, "left out"),
    "truncated": (truncated, "left out"),
    "folder instead": (folder_instead, "left out"),
    "case of a label": (cell(2, str.lower), "refused"),
    "case of a race": (cell(3, str.upper), "refused"),
    "unknown label": (cell(3, lambda _: "Asian"), "refused"),
    "no label": (cell(2, lambda _: ""), "refused"),
    "a label in two cells": (cell(3, lambda _: "East, Asian"), "refused"),
    "no age": (cell(1, lambda _: " "), "refused"),
    "another date": (cell(1, lambda _: "5-Mar"), "refused"),
    "hidden letter": (cell(2, lambda v: f"{v}\u200b"), "refused"),
    "NUL in a label": (cell(2, lambda v: f"{v}\0"), "refused"),
    "too short": (lambda row, _: [row[:3]], "refused"),
    "shifted": (lambda row, _: [["", *row]], "refused"),
    "contradicting": (lambda row, _: [row, *contradicted(row)], "refused"),
    "two names that differ": (two_names_that_differ, "refused"),
    "open quote": (path(lambda p: f'"{p}'), "refused"),
}  # fmt: skip
"""What may be written of one image; ``left out`` is one image less, and said."""


def reordered(rows: list[Row]) -> bytes:
    """Columns in another order; rows that are too long or short cannot be."""
    order = (3, 0, 4, 1, 2)
    padded = [[*row, *[""] * 5][:5] for row in rows]
    return quote([[row[k] for k in order] for row in padded]).encode()


def with_column(name: str, value: str, position: int = 0) -> TextEdit:
    """One column more."""

    def edit(rows: list[Row]) -> bytes:
        pairs = zip(rows, [name, *[value] * (len(rows) - 1)], strict=True)
        longer = [
            [*row[:position], extra, *row[position:]] if any(map(str.strip, row)) else row for row, extra in pairs
        ]
        return quote(longer).encode()

    return edit


def as_text(spell: Callable[[str], str], encoding: str = "utf-8") -> TextEdit:
    """The text spelled otherwise."""
    return lambda rows: spell(quote(rows)).encode(encoding)


def header(spell: Callable[[str], str]) -> TextEdit:
    """The header spelled otherwise."""
    return lambda rows: quote([[spell(name) for name in rows[0]], *rows[1:]]).encode()


TEXTS: Mapping[str, tuple[TextEdit, Outcome]] = {
    "plain": (as_text(str), "same"),
    "byte order mark": (as_text(str, "utf-8-sig"), "same"),
    "CRLF": (as_text(lambda t: t.replace("\n", "\r\n")), "same"),
    "CR": (as_text(lambda t: t.replace("\n", "\r")), "same"),
    "no line end": (as_text(lambda t: t.rstrip("\n")), "same"),
    "blank lines": (as_text(lambda t: t.replace("\n", "\n\n")), "same"),
    "more line ends": (as_text(lambda t: f"{t}\n\n\n"), "same"),
    "other order": (reordered, "same"),
    "index column": (with_column("", "0"), "same"),
    "column of lines": (with_column("note", '"a\nb"'), "same"),
    "column of commas": (with_column("note", '"a, b"'), "same"),
    "column twice": (with_column("note", "x", 1), "same"),
    "NUL in a column": (with_column("note", "\0"), "either"),
    "long cells": (with_column("note", "x" * 200_000), "either"),
    "race twice, otherwise": (with_column("race", "Black"), "refused"),
    "file twice, otherwise": (with_column("file", "val/1.png", 4), "refused"),
    "file and file_name": (with_column("file_name", "val/1.png", 4), "refused"),
    "blank header": (header(lambda name: f" {name} "), "same"),
    "quoted header": (header(lambda name: f'"{name}"'), "same"),
    "capital header": (header(str.upper), "refused"),
    "other header": (header(lambda name: {"race": "ethnicity"}.get(name, name)), "refused"),
    "no header": (lambda rows: quote(rows[1:]).encode(), "refused"),
    "semicolons": (lambda rows: quote(rows, ";").encode(), "refused"),
    "tabs": (lambda rows: quote(rows, "\t").encode(), "refused"),
    "UTF-16": (as_text(str, "utf-16"), "refused"),
    "no UTF-8": (lambda rows: quote(rows).encode() + b"\xff\xfe", "refused"),
    "a picture": (lambda rows: b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "refused"),
    "empty": (lambda rows: b"", "refused"),
    "header only": (lambda rows: quote(rows[:1]).encode(), "refused"),
    "blank": (lambda rows: b" \n \n", "refused"),
}
"""What the table's file may look like."""


@dataclass
class Layout:
    """A folder in FairFace's layout.

    Attributes:
        root: the folder.
        left_out: numbers of the images that must be left out.
        outcomes: of the edits.
    """

    root: Path
    left_out: set[int] = field(default_factory=set)
    outcomes: set[Outcome] = field(default_factory=set)


def build_layout(root: Path, images: Path, row_edits: Mapping[int, str], text_edit: str) -> Layout:
    """A folder with these edits.

    Args:
        root: to be made.
        images: folder of the twin, whose images are linked.
        row_edits: names in `ROWS` by the number of the row.
        text_edit: name in `TEXTS`.
    """
    layout = Layout(root)
    (root / "val").mkdir(parents=True)
    rows: list[Row] = [list(HEADER)]
    for number, row in enumerate(plain_rows()):
        os.link(images / row[0], root / row[0])
        edit, outcome = ROWS[row_edits[number]] if number in row_edits else (lambda row, _: [row], "same")
        rows += edit(row, root)
        layout.outcomes.add(outcome)
        layout.left_out |= {number} if outcome == "left out" else set()
    write, outcome = TEXTS[text_edit]
    layout.outcomes.add(outcome)
    (root / "fairface_label_val.csv").write_bytes(write(rows))
    return layout
