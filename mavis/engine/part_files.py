"""Tables and arrays of a run directory: damage is named with what to delete.

A table carries its file's name and a hash of its values, so that one that was cut, changed or put under another name is
no table of this run. What the system refuses to read is no damage.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mavis.core import files
from mavis.core.errors import StoreError
from mavis.core.hashing import digest

NAME, CONTENT = b"mavis.table", b"mavis.content"
"""Keys of the metadata: the name of the file, and the hash of the values."""

ANOTHER_TABLE, CHANGED_VALUES = CHANGES = ("it holds another table", "its values were changed")


def write_table(table: pd.DataFrame, file: BinaryIO, name: str, facts: Mapping[bytes, bytes] | None = None) -> None:
    """Writes a table.

    Args:
        table: without its index.
        file: takes the bytes.
        name: of the file.
        facts: more metadata.
    """
    columns = pa.Table.from_pandas(table, preserve_index=False)
    identity = {NAME: name.encode(), CONTENT: _hash_values(columns.to_pandas()).encode(), **(facts or {})}
    pq.write_table(columns.replace_schema_metadata({**(columns.schema.metadata or {}), **identity}), file)


def read_table(path: Path) -> pd.DataFrame:
    """A table; one of an older version carries neither its name nor a hash.

    Raises:
        StoreError: the file is damaged, holds another table, or cannot be read.
    """
    try:
        table, metadata = pd.read_parquet(path), read_metadata(path)
        if metadata.get(NAME, path.name.encode()) != path.name.encode():
            raise ValueError(ANOTHER_TABLE)
        if CONTENT in metadata and metadata[CONTENT] != _hash_values(table).encode():
            raise ValueError(CHANGED_VALUES)
    except StoreError:
        raise
    except Exception as error:
        raise damage_error(path, error) from error
    return table


def _hash_values(table: pd.DataFrame) -> str:
    """Hash of names and values, whatever types these have in memory."""
    parts: list[str | bytes] = []
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column.dtype):
            parts += [str(name), column.to_numpy(dtype="<f8", na_value=np.nan).tobytes()]
        else:
            values = zip(column.isna().tolist(), column.tolist(), strict=True)
            parts += [str(name), "\0".join("\1" if is_missing else str(value) for is_missing, value in values)]
    return digest(*parts)


def read_metadata(path: Path) -> dict[bytes, bytes]:
    """The metadata of a table, from the end of its file alone.

    Raises:
        StoreError: the file is damaged, or cannot be read.
    """
    try:
        return pq.read_schema(path).metadata or {}
    except Exception as error:
        raise damage_error(path, error) from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name.

    Raises:
        StoreError: the file is damaged, or cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:  # np.load leaves a damaged file open
            return {key: archive[key] for key in archive.files}
    except Exception as error:
        raise damage_error(path, error) from error


def damage_error(path: Path, error: Exception) -> StoreError:
    """The error for a file that cannot be read; damaged bytes make the readers raise almost anything.

    Without its scores a block is done again, so these are what to delete, whichever of its files is damaged. Where the
    system refuses to read a file nothing is to be deleted.
    """
    if isinstance(error, MemoryError):
        return StoreError(f"There is not enough memory to read {path}; everything is kept.")
    if isinstance(error, OSError) and error.errno and not isinstance(error, FileNotFoundError):
        return StoreError(f"Cannot read {path}: {files.describe_os_error(error)}. Everything is kept.")
    scores = path.with_name(path.name.split(".", 1)[0] + ".parquet")
    reason = str(error) if type(error) is ValueError and str(error) in CHANGES else type(error).__name__
    return StoreError(f"{path} is damaged ({reason}); delete {scores} and repeat the command.")
