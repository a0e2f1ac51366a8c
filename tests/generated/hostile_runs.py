"""Hostile run directories: damage to run.json, to tables and to archives, and files of strangers."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .hostile_checkpoints import DAMAGES

Damage = Callable[[Path, float], None]
"""Changes the file at a path; the place from 0 to 1 says where in it."""


def pick(choices: list[Any], place: float) -> Any:
    """The choice at a place from 0 to 1."""
    return choices[int(place * len(choices))]


def with_bytes(change: Callable[[bytes, float], bytes]) -> Damage:
    """Other bytes."""

    def damage(path: Path, place: float) -> None:
        path.write_bytes(change(path.read_bytes(), place))

    return damage


def flip(content: bytes, place: float) -> bytes:
    """One bit is another."""
    position = int(place * len(content))
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


def delete(path: Path, _: float) -> None:
    """The file is gone."""
    path.unlink()


def folder_instead(path: Path, _: float) -> None:
    """A folder has its name."""
    path.unlink()
    path.mkdir()


def link_to_nowhere(path: Path, _: float) -> None:
    """A link has its name."""
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def link_to_itself(path: Path, _: float) -> None:
    """A link that leads back."""
    path.unlink()
    path.symlink_to(path)


def neighbour_instead(path: Path, place: float) -> None:
    """Another file of the run has its name."""
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    shutil.copy(pick(others, place), path)


FILES: Mapping[str, Damage] = {
    **{name: with_bytes(change) for name, change in DAMAGES.items() if name != "none"},
    "one bit": with_bytes(flip),
    "deleted": delete,
    "folder instead": folder_instead,
    "link to nowhere": link_to_nowhere,
    "link to itself": link_to_itself,
    "neighbour instead": neighbour_instead,
}
"""Damage to any file."""


def with_table(change: Callable[[pd.DataFrame, float], pd.DataFrame], *, keep_facts: bool = True) -> Damage:
    """Another table, with or without the facts beside it."""

    def damage(path: Path, place: float) -> None:
        facts = pq.read_schema(path).metadata if keep_facts else None
        frame = change(pd.read_parquet(path), place)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        own = {key: value for key, value in (facts or {}).items() if key.startswith(b"mavis")}
        pq.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), path)

    return damage


def without_column(frame: pd.DataFrame, place: float) -> pd.DataFrame:
    """One column less."""
    return frame.drop(columns=pick(list(frame.columns), place)) if len(frame.columns) else frame


def renamed_column(frame: pd.DataFrame, place: float) -> pd.DataFrame:
    """One column under another name."""
    columns = [pick(list(frame.columns), place)] if len(frame.columns) else []
    return frame.rename(columns={column: f"{column} renamed" for column in columns})


def retyped_column(frame: pd.DataFrame, place: float) -> pd.DataFrame:
    """One column as texts in brackets."""
    columns = [pick(list(frame.columns), place)] if len(frame.columns) else []
    return frame.assign(**{column: "[" + frame[column].astype(str) + "]" for column in columns})


TABLES: Mapping[str, Damage] = {
    "without a column": with_table(without_column),
    "a renamed column": with_table(renamed_column),
    "a column of texts": with_table(retyped_column),
    "no columns": with_table(lambda frame, _: pd.DataFrame()),
    "no rows": with_table(lambda frame, _: frame.iloc[:0]),
    "without its facts": with_table(lambda frame, _: frame, keep_facts=False),
}
"""Tables that can be read, and hold something else."""

VALUES = (None, True, 3, 0.5, "x", "", [], ["x"], [1], {}, {"x": 1}, [[]], float("nan"))


def places_in(value: Any, keys: tuple[Any, ...] = (), depth: int = 3) -> list[tuple[Any, ...]]:
    """The keys that lead to every value of a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    below = [path for key, part in inner if depth for path in places_in(part, (*keys, key), depth - 1)]
    return [keys, *below] if keys else below


REMOVED = object()


def edit_json(path: Path, place: float, value: Any) -> None:
    """One value of run.json, at any depth, is another, or is gone."""
    content = json.loads(path.read_text())
    *above, last = pick([keys for keys in places_in(content) if keys != ("sha256",)], place)
    holder = content
    for key in above:
        holder = holder[key]
    if value is REMOVED:
        del holder[last]
    else:
        holder[last] = value
    path.write_text(json.dumps(content))


STRAYS = (
    *("notes.txt", "parts/notes.txt", "parts/.b.parquet.x", "parts/foreign.parquet", "parts/foreign.curves.parquet"),
    *("images.csv", "parts/run.json", "parts/a.b.parquet", ".run.json.x", "desktop.ini", "parts/Thumbs.db"),
)
"""Files of strangers."""
