"""Files of a run directory, read: damage is named with what to delete, and what the system refuses is no damage."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mavis.core import files
from mavis.core.errors import StoreError


def read_table(path: Path) -> pd.DataFrame:
    """A table.

    Raises:
        StoreError: the file is damaged, or cannot be read.
    """
    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise damage_error(path, error) from error


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
    return StoreError(f"{path} is damaged ({type(error).__name__}); delete {scores} and repeat the command.")
