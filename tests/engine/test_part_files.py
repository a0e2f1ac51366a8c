"""Damaged files of a run are named with what to delete; what the system refuses to read is not to be deleted."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mavis.core.errors import StoreError
from mavis.engine import part_files

READERS = {
    ".parquet": part_files.read_table,
    ".curves.parquet": part_files.read_metadata,
    ".maps.npz": part_files.read_arrays,
}


@pytest.fixture(params=READERS)
def part(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], Any]]:
    """A file of a block, and its reader."""
    path = tmp_path / f"b1{request.param}"
    if path.suffix == ".npz":
        np.savez_compressed(path, a=np.arange(100))
    else:
        pd.DataFrame({"a": np.arange(100)}).to_parquet(path)
    return path, READERS[request.param]


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_truncated_file_is_damaged(part: tuple[Path, Callable[[Path], Any]], share: float) -> None:
    """The file is named, and the scores to delete, so that the block is done again."""
    path, read = part
    read(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(StoreError, match=rf"{path.name} is damaged .*; delete \S*b1\.parquet and repeat"):
        read(path)


def test_a_file_that_is_gone_is_damaged(part: tuple[Path, Callable[[Path], Any]]) -> None:
    """Its block has to be done again."""
    path, read = part
    path.unlink()
    with pytest.raises(StoreError, match=r"is damaged .*; delete \S*b1\.parquet and repeat"):
        read(path)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied; change the rights"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_may_not_be_read_is_not_to_be_deleted(tmp_path: Path, error: Exception, text: str) -> None:
    """Missing rights, missing memory and a broken disk are no damage."""
    found = part_files.damage_error(tmp_path / "b1.parquet", error)
    assert text in str(found)
    assert "delete" not in str(found)


TABLE = pd.DataFrame({"image": ["a", "b", None], "value": [0.5, np.nan, 2], "n": [1, 2, 3], "ok": [True, False, True]})


def write(path: Path, table: pd.DataFrame, name: str = "") -> Path:
    """The table in a file, under its own name or another one."""
    with path.open("wb") as file:
        part_files.write_table(table, file, name or path.name)
    return path


@pytest.mark.parametrize("table", [TABLE, TABLE.iloc[:0], pd.DataFrame()])
def test_a_table_comes_back(tmp_path: Path, table: pd.DataFrame) -> None:
    """With holes, without rows and without columns."""
    assert part_files.read_table(write(tmp_path / "b1.parquet", table)).to_dict("list").keys() == table.to_dict().keys()


def test_a_table_under_another_name_is_damaged(tmp_path: Path) -> None:
    """A block's curves are not its scores."""
    path = write(tmp_path / "b1.parquet", TABLE, "b1.curves.parquet")
    with pytest.raises(StoreError, match=r"is damaged \(it holds another table\); delete \S*b1\.parquet"):
        part_files.read_table(path)


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "a value": lambda table: table.assign(value=[0.5, np.nan, 2.0000001]),
    "a text": lambda table: table.assign(image=["a", "c", None]),
    "a hole": lambda table: table.assign(image=["a", "b", "None"]),
    "a column less": lambda table: table.drop(columns="value"),
    "another name": lambda table: table.rename(columns={"value": "x"}),
    "a row less": lambda table: table.iloc[1:],
    "another order": lambda table: table.iloc[::-1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_whose_values_were_changed_is_damaged(tmp_path: Path, change: str) -> None:
    """Though it can be read."""
    path = write(tmp_path / "b1.parquet", TABLE)
    metadata = pq.read_schema(path).metadata
    table = pa.Table.from_pandas(CHANGES[change](TABLE), preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**metadata, **table.schema.metadata}), path)
    with pytest.raises(StoreError, match=r"is damaged \(its values were changed\); delete \S*b1\.parquet"):
        part_files.read_table(path)
