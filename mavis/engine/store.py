"""The run directory: the state of a run. The only file that writes results.

    run.json           protocol, hashes of models and data, seeds, versions: what the numbers belong to
    images.parquet     per model and image: label, the data set's columns (``data:NAME``), prediction, probability, how
                       it looks, what it stands for
    reliability.parquet  per model, image and imputer: whether the prediction stays without random cells
    leak.parquet         per model and image: how far the nearest training image is
    reliance.parquet     per model, image and face part: how far the logit moves when the part is drawn anew
    parts/BLOCK.parquet         the scores of a block; its presence is what "done" means
    parts/BLOCK.curves.parquet  its curves
    parts/BLOCK.agreement.parquet  how far its methods agree
    parts/BLOCK.maps.npz        a few of its maps, for the gallery

Every file is written whole or not at all (`mavis.core.files`); a block's scores come last. Several processes may write
into one directory. What the disk refuses is a `StoreError` that says what is kept and what to do.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd

from mavis.core import files
from mavis.core.errors import FileError, StoreError
from mavis.core.group_attributes import OWN_COLUMNS, PREFIX, with_data_columns
from mavis.core.hashing import digest_json
from mavis.engine import part_files

IDENTITY_KEYS = ("protocol_sha256", "overrides", "models", "data", "explainers", "seed", "mavis", "versions", "format")
"""Keys of ``run.json`` whose values must be the same; the code of a user's plug-ins is compared one by one."""

FORMAT = 2

IDENTITY_TYPES = {
    **dict.fromkeys(("protocol", "models", "data", "explainers", "skipped", "versions"), dict),
    **dict.fromkeys(("overrides", "blocks"), list),
    **dict.fromkeys(("protocol_sha256", "mavis", "device"), str),
    "seed": int,
}
"""What a report reads in ``run.json``."""

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
        new_identity["sha256"] = digest_json(new_identity)
        if files.is_file(path):
            stored = store.identity()
            differing = _list_differences(stored, new_identity)
            if differing:
                raise StoreError(
                    f"{folder} holds a run with other {', '.join(differing)}; "
                    f"give another --out, or repeat its command."
                )
        elif folder.exists() and _holds_other_files(folder):
            raise StoreError(f"{folder} is no empty folder and holds no run; give another --out.")
        else:
            files.make_folder(folder / "parts")
            store._write(path, lambda file: file.write(json.dumps(new_identity, indent=2).encode()))
        for part in store._score_files():
            store._check_block(part)
        return store

    @classmethod
    def open_existing(cls, folder: Path) -> "Store":
        """Opens a directory to read.

        Raises:
            StoreError: there is no run in it, or its ``run.json`` is damaged.
        """
        if not files.is_file(folder / "run.json"):
            raise StoreError(f"{folder} holds no run (no run.json); mavis run writes one.")
        store = cls(folder)
        identity = store.identity()
        if identity.get("format") != FORMAT:
            raise StoreError(f"{folder} was written by another version of MAVIS; repeat the run in another folder.")
        for key, kind in IDENTITY_TYPES.items():
            if not isinstance(identity.get(key), kind):
                raise store._unreadable_identity(f"'{key}' is missing or of another kind")
        return store

    def identity(self) -> dict[str, Any]:
        """The content of ``run.json``; its hash, ``sha256``, is missing in runs of older versions only.

        Raises:
            StoreError: the file is damaged or was changed.
        """
        try:
            identity: dict[str, Any] = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise self._unreadable_identity(files.describe_os_error(error)) from error
        except ValueError as error:
            raise self._unreadable_identity(str(error)) from error
        if not isinstance(identity, dict):
            raise self._unreadable_identity("expected keys and values")
        content = {key: value for key, value in identity.items() if key != "sha256"}
        if identity.get("format") == FORMAT and identity.get("sha256", digest_json(content)) != digest_json(content):
            raise self._unreadable_identity("its values were changed")
        return identity

    def _unreadable_identity(self, reason: str) -> StoreError:
        return StoreError(
            f"{self.folder / 'run.json'} cannot be read: {reason}. {self._finished_text()}, but only this file tells "
            "what they belong to: restore it from a copy, or give another --out to begin anew."
        )

    def write_images(self, images: pd.DataFrame) -> None:
        """The table of images, one row per model and image."""
        self._write_table(self.folder / "images.parquet", images)

    def images(self) -> pd.DataFrame:
        """The table of images; the data set's columns are called `data_column`, in runs of older versions too."""
        path = self.folder / "images.parquet"
        if not path.is_file():
            raise StoreError(f"{self.folder} holds no images.parquet; the run stopped before it began.")
        images = part_files.read_table(path)
        is_older = not any(str(name).startswith(PREFIX) for name in images.columns)
        return with_data_columns(images, OWN_COLUMNS) if is_older else images

    def write_check(self, check: ModelCheck, table: pd.DataFrame) -> None:
        """A table of what was measured before any map was made."""
        self._write_table(self.folder / f"{check}.parquet", table)

    def has_check(self, check: ModelCheck) -> bool:
        """True where a check is stored."""
        return (self.folder / f"{check}.parquet").is_file()

    def read_check(self, check: ModelCheck) -> pd.DataFrame:
        """The table of what was measured; empty where it was not."""
        return part_files.read_table(self.folder / f"{check}.parquet") if self.has_check(check) else pd.DataFrame()

    def has_block(self, block_id: str) -> bool:
        """True where a block's scores are stored."""
        return self._block_file(block_id).is_file()

    def write_block(self, block_id: str, result: BlockResult) -> None:
        """A block's results; its scores last, since they say that it is done."""
        files.make_folder(self.folder / "parts")
        for suffix, companion in ((".curves.parquet", result.curves), (".agreement.parquet", result.agreement)):
            self._write_table(self._block_file(block_id, suffix), companion)
        self._write(
            self._block_file(block_id, ".maps.npz"),
            lambda file: np.savez_compressed(file, **result.maps),  # type: ignore[arg-type]
        )
        facts = {b"mavis.log": json.dumps(result.log.__dict__).encode(), b"mavis.block": block_id.encode()}
        self._write_table(self._block_file(block_id), result.scores, facts)

    def scores(self) -> pd.DataFrame:
        """All scores so far."""
        paths = self._score_files()
        for path in paths:
            self._check_block(path)
        return self._concatenate(paths)

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
            for key, values in part_files.read_arrays(self._block_file(path.stem, ".maps.npz")).items():
                explainer, _, image = key.partition("|")
                maps[model, explainer, image] = values
        return maps

    def logs(self) -> list[BlockLog]:
        """Logs of all finished blocks."""
        return [self._read_log(path) for path in self._score_files()]

    def _block_file(self, block_id: str, suffix: str = ".parquet") -> Path:
        return self.folder / "parts" / f"{block_id}{suffix}"

    def _score_files(self) -> list[Path]:
        """The files of the finished blocks; raises StoreError for one that is no block of this run."""
        paths = self._finished_files()
        planned = set(self.identity().get("blocks", [path.stem for path in paths]))
        foreign = [path for path in paths if path.stem not in planned]
        if foreign:
            raise StoreError(
                f"{self.folder / 'parts'} holds {len(foreign)} of {len(paths)} files of scores that are not of this "
                f"run, first {foreign[0].name}; move them away. The others are kept, and the same command goes on."
            )
        return paths

    def _finished_files(self) -> list[Path]:
        paths = (self.folder / "parts").glob("*.parquet")
        return sorted(path for path in paths if path.name.count(".") == 1 and path.is_file())

    def _finished_text(self) -> str:
        """The number of finished blocks, for messages."""
        n = len(self._finished_files())
        return f"{n} finished block{' is' if n == 1 else 's are'} kept"

    def _write(self, path: Path, fill: Callable[[BinaryIO], Any]) -> None:
        try:
            files.write_file(path, fill)
        except FileError as error:
            raise StoreError(f"{error} {self._finished_text()}; the same command goes on from there.") from error

    def _write_table(self, path: Path, table: pd.DataFrame, facts: Mapping[bytes, bytes] | None = None) -> None:
        self._write(path, lambda file: part_files.write_table(table, file, path.name, facts))

    def _check_block(self, path: Path) -> None:
        """Raises StoreError for scores that were written under another block's name."""
        block_id = part_files.read_metadata(path).get(b"mavis.block", path.stem.encode()).decode()
        if block_id != path.stem:
            raise StoreError(
                f"{path} holds the scores of another block, {block_id}; delete it and repeat the command, which "
                "measures the block again."
            )

    def _read_log(self, path: Path) -> BlockLog:
        try:
            return BlockLog(**json.loads(part_files.read_metadata(path)[b"mavis.log"]))
        except (KeyError, ValueError, TypeError) as error:
            raise part_files.damage_error(path, error) from error

    def _concatenate(self, paths: list[Path]) -> pd.DataFrame:
        frames = [frame for frame in map(part_files.read_table, paths) if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _list_differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Differences between two identities, by name."""
    differing = [key for key in IDENTITY_KEYS if stored.get(key) != current.get(key)]
    if "models" in differing:
        before, after = stored.get("models") or {}, current.get("models") or {}
        changed = [name for name in after if name in before and before[name] != after[name]]
        names = ", ".join(f"'{name}'" for name in changed)
        if changed and before.keys() == after.keys():
            differing[differing.index("models")] = f"models ({names} changed: weights, code or settings)"
    before, after = stored.get("code") or {}, current.get("code") or {}
    return differing + [f"code of {name}" for name in {**before, **after} if before.get(name) != after.get(name)]


def _holds_other_files(folder: Path) -> bool:
    """True for a folder with files of something else than a run that is about to begin."""
    if not folder.is_dir():
        return True
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise FileError(f"Cannot read {folder}: {files.describe_os_error(error)}.") from error
    return any(p.name != "parts" and not p.name.startswith(".run.json.") for p in entries)
