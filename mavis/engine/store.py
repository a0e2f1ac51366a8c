"""The run directory: the state of a run. The only file that writes results.

    run.json           protocol, hashes of models and data, seeds, versions: what the numbers belong to
    images.parquet     per model and image: label, groups, prediction, probability, how it looks, what it stands for
    reliability.parquet  per model, image and imputer: whether the prediction stays without random cells
    leak.parquet         per model and image: how far the nearest training image is
    reliance.parquet     per model, image and face part: how far the logit moves when the part is drawn anew
    parts/BLOCK.parquet         the scores of a block; its presence is what "done" means
    parts/BLOCK.curves.parquet  its curves
    parts/BLOCK.agreement.parquet  how far its methods agree
    parts/BLOCK.maps.npz        a few of its maps, for the gallery

Every file is written under a temporary name, flushed and renamed; a block's scores come last. Several processes may
write into one directory.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mavis.core.errors import StoreError

IDENTITY_KEYS = ("protocol_sha256", "overrides", "models", "data", "explainers", "seed", "mavis", "versions", "format")
FORMAT = 2

ModelCheck = Literal["reliability", "leak", "reliance"]
"""What is measured of models and images before any map is made."""


@dataclass(frozen=True)
class BlockLog:
    """Log of a block: model calls, time, memory, failures."""

    model: str
    forwards: int
    backwards: int
    seconds: float
    peak_mib: float | None
    chunk: int
    failures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class BlockResult:
    """Results of a block.

    Attributes:
        scores: ``model, image, explainer, metric, value, status, reason, forwards, backwards, seconds``.
        curves: ``model, image, explainer, imputer, order, x, y``.
        agreement: ``model, image, first, second, measure, value``.
        maps: per "explainer|image" a map ``(H,W)`` float16, and per "|image" the image ``(H,W,3)`` uint8.
        log: see `BlockLog`.
    """

    scores: pd.DataFrame
    curves: pd.DataFrame
    agreement: pd.DataFrame
    maps: dict[str, np.ndarray]
    log: BlockLog


@dataclass(frozen=True)
class Store:
    """A run directory."""

    folder: Path

    @classmethod
    def open_or_create(cls, folder: Path, identity: Mapping[str, Any]) -> "Store":
        """Opens a directory for a run, new or to be continued.

        Args:
            folder: made if it is not there.
            identity: what the numbers will belong to; the keys `IDENTITY_KEYS` and any others.

        Raises:
            StoreError: it is no folder, holds something else, or belongs to another run; then it says what differs.
        """
        store = cls(folder)
        path = folder / "run.json"
        new_identity = json.loads(json.dumps({**identity, "format": FORMAT}, default=str))
        if path.is_file():
            stored = store.identity()
            differing = [key for key in IDENTITY_KEYS if stored.get(key) != new_identity.get(key)]
            if differing:
                raise StoreError(
                    f"{folder} holds a run with other {', '.join(differing)}; "
                    f"give another --out, or repeat its command."
                )
        elif folder.exists() and _holds_other_files(folder):
            raise StoreError(f"{folder} is no empty folder and holds no run; give another --out.")
        else:
            (folder / "parts").mkdir(parents=True, exist_ok=True)
            _write_atomically(path, lambda file: file.write(json.dumps(new_identity, indent=2).encode()))
        return store

    @classmethod
    def open_existing(cls, folder: Path) -> "Store":
        """Opens a directory to read.

        Raises:
            StoreError: there is no run in it.
        """
        if not (folder / "run.json").is_file():
            raise StoreError(f"{folder} holds no run (no run.json); mavis run writes one.")
        store = cls(folder)
        if store.identity().get("format") != FORMAT:
            raise StoreError(f"{folder} was written by another version of MAVIS; repeat the run in another folder.")
        return store

    def identity(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        try:
            identity: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{self.folder / 'run.json'} cannot be read: {error}") from error
        if not isinstance(identity, dict):
            raise StoreError(f"{self.folder / 'run.json'} holds no run: expected keys and values.")
        return identity

    def write_images(self, images: pd.DataFrame) -> None:
        """The table of images, one row per model and image."""
        _write_atomically(self.folder / "images.parquet", lambda file: images.to_parquet(file, index=False))

    def images(self) -> pd.DataFrame:
        """The table of images."""
        path = self.folder / "images.parquet"
        if not path.is_file():
            raise StoreError(f"{self.folder} holds no images.parquet; the run stopped before it began.")
        return self._read_table(path)

    def write_check(self, check: ModelCheck, table: pd.DataFrame) -> None:
        """A table of what was measured before any map was made."""
        _write_atomically(self.folder / f"{check}.parquet", lambda file: table.to_parquet(file, index=False))

    def has_check(self, check: ModelCheck) -> bool:
        """True where a check is stored."""
        return (self.folder / f"{check}.parquet").is_file()

    def read_check(self, check: ModelCheck) -> pd.DataFrame:
        """The table of what was measured; empty where it was not."""
        return self._read_table(self.folder / f"{check}.parquet") if self.has_check(check) else pd.DataFrame()

    def has_block(self, block_id: str) -> bool:
        """True where a block's scores are stored."""
        return self._block_file(block_id).is_file()

    def write_block(self, block_id: str, result: BlockResult) -> None:
        """A block's results; its scores last, since they say that it is done."""
        (self.folder / "parts").mkdir(exist_ok=True)
        _write_atomically(
            self._block_file(block_id, ".curves.parquet"), lambda file: result.curves.to_parquet(file, index=False)
        )
        _write_atomically(
            self._block_file(block_id, ".agreement.parquet"),
            lambda file: result.agreement.to_parquet(file, index=False),
        )
        _write_atomically(
            self._block_file(block_id, ".maps.npz"),
            lambda file: np.savez_compressed(file, **result.maps),  # type: ignore[arg-type]
        )
        table = pa.Table.from_pandas(result.scores, preserve_index=False)
        log = json.dumps(result.log.__dict__).encode()
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"mavis.log": log})
        _write_atomically(self._block_file(block_id), lambda file: pq.write_table(table, file))

    def scores(self) -> pd.DataFrame:
        """All scores so far."""
        return self._concatenate(self._score_files())

    def curves(self) -> pd.DataFrame:
        """All curves so far."""
        return self._concatenate([self._block_file(path.stem, ".curves.parquet") for path in self._score_files()])

    def agreement(self) -> pd.DataFrame:
        """All agreement so far."""
        return self._concatenate([self._block_file(path.stem, ".agreement.parquet") for path in self._score_files()])

    def maps(self) -> dict[tuple[str, str, str], np.ndarray]:
        """Maps and images kept for the gallery, by (model, explainer or "", image)."""
        maps = {}
        for path in self._score_files():
            model = self._read_log(path).model
            for key, values in self._read_arrays(self._block_file(path.stem, ".maps.npz")).items():
                explainer, _, image = key.partition("|")
                maps[model, explainer, image] = values
        return maps

    def logs(self) -> list[BlockLog]:
        """Logs of all finished blocks."""
        return [self._read_log(path) for path in self._score_files()]

    def _block_file(self, block_id: str, suffix: str = ".parquet") -> Path:
        return self.folder / "parts" / f"{block_id}{suffix}"

    def _score_files(self) -> list[Path]:
        return sorted(p for p in (self.folder / "parts").glob("*.parquet") if p.name.count(".") == 1)

    def _read_log(self, path: Path) -> BlockLog:
        try:
            return BlockLog(**json.loads(pq.read_schema(path).metadata[b"mavis.log"]))
        except Exception as error:
            raise _damage_error(path, error) from error

    def _read_arrays(self, path: Path) -> dict[str, np.ndarray]:
        try:
            with path.open("rb") as file, np.load(file) as archive:  # np.load leaves a damaged file open
                return {key: archive[key] for key in archive.files}
        except Exception as error:
            raise _damage_error(path, error) from error

    def _read_table(self, path: Path) -> pd.DataFrame:
        try:
            return pd.read_parquet(path)
        except Exception as error:
            raise _damage_error(path, error) from error

    def _concatenate(self, paths: list[Path]) -> pd.DataFrame:
        frames = [frame for frame in map(self._read_table, paths) if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _damage_error(path: Path, error: Exception) -> StoreError:
    """The error for a file that cannot be read; damaged bytes make the readers raise almost anything.

    Without its scores a block is done again, so these are what to delete, whichever of its files is damaged.
    """
    scores = path.with_name(path.name.split(".", 1)[0] + ".parquet")
    return StoreError(f"{path} is damaged ({type(error).__name__}); delete {scores} and repeat the command.")


def _holds_other_files(folder: Path) -> bool:
    """True for a folder with files of something else than a run that is about to begin."""
    if not folder.is_dir():
        return True
    return any(p.name != "parts" and not p.name.startswith(".run.json.") for p in folder.iterdir())


def _write_atomically(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Writes under a temporary name in the same folder, flushes to disk, renames."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
