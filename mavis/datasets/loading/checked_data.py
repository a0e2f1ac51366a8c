"""The door that every data set passes: complete, and looked at before it is believed."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar, cast

import pandas as pd
import torch
from torch import Tensor

from mavis.core.devices import is_out_of_memory
from mavis.core.errors import DataError, MavisError, UnreadableImage, describe_error
from mavis.core.printable import one_line
from mavis.core.types import Batch, Dataset
from mavis.datasets.loading.batch_checks import check_batch, check_mean
from mavis.datasets.loading.member_checks import check_attributes, check_classes, check_members
from mavis.datasets.loading.table_checks import check_table, check_texts

T = TypeVar("T")

OPTIONAL_MEMBERS: Mapping[str, Callable[[Any], Any]] = {
    "notes": lambda _: Dataset.notes,
    "identity": lambda _: Dataset.identity,
    "has_parts": lambda data: data.load(readable_ids(data, 1)).parts is not None,
}
"""The members of `Dataset` that have a default: ``data set without the member -> the member``."""

N_PROBES = 64
"""Places at which an image that is loaded again is compared with what it was."""

PROBE_TOLERANCE = 1e-3


class CheckedDataset:
    """A data set with every member of `Dataset`, each checked when it is asked for; no image is loaded before.

    Where something is not as `Dataset` and `Batch` promise, the member raises a DataError that says what was met and
    what to write. The data set keeps nothing that it could change later: ids, images and masks are copied. Members that
    `Dataset` does not know are its own.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self._probes: dict[str, Tensor] = {}
        self._shape: tuple[int, ...] | None = None
        self.name = type(data).__name__  # in messages, until its own name is read
        self._ask("a member", lambda: check_members(data))
        self.name = self._read_text("name")
        self.target, self.provenance = self._read_text("target"), self._read_text("provenance")
        self.classes = self._ask("classes", lambda: check_classes(data.classes, self.name))
        self.attributes = self._ask("attributes", lambda: check_attributes(data.attributes, self.name))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copying and pickling look for hooks of this class, not of the data set
            raise AttributeError(name)
        data = vars(self)["_data"]
        if name in OPTIONAL_MEMBERS and not hasattr(data, name):
            return OPTIONAL_MEMBERS[name](self)
        return getattr(data, name)

    @property
    def wrapped(self) -> Any:
        """The data set as it was handed over."""
        return self._data

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence each on rows that were repaired or left out."""
        return self._ask("notes", self._read_notes)

    @cached_property
    def mean(self) -> Tensor:
        """``(3,)`` float32 in [0,1]."""
        return self._ask("mean", lambda: check_mean(self._data.mean, self.name))

    @cached_property
    def _table(self) -> pd.DataFrame:
        return self._ask("table()", lambda: check_table(self._data.table(), self.name, self.classes, self.attributes))

    @cached_property
    def _labels(self) -> dict[str, int]:
        return dict(zip(self._table.index, self._table["label"].tolist(), strict=True))

    def table(self) -> pd.DataFrame:
        """One row per image: ``id`` (index), ``label`` (int64), a column per group attribute."""
        return self._table

    def load(self, ids: Sequence[str]) -> Batch:
        """The images of these ids, in this order, as they were when they were loaded first.

        Raises:
            UnreadableImage: the data set cannot load one of them.
            DataError: the batch is not as `Batch` promises.
        """
        loaded = self._ask("load()", lambda: self._data.load(list(ids)), UnreadableImage)
        labels = [self._labels.get(name, -1) for name in ids]
        batch = self._ask("reading what load() returned", lambda: check_batch(loaded, self.name, ids, labels))
        self._compare_with_first(batch)
        return batch

    def _ask(self, member: str, answer: Callable[[], T], kind: type[DataError] = DataError) -> T:
        """The data set's answer; what it raises becomes one line, an exit too, but for a full memory."""
        try:
            return answer()
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise
            own_words = str(error) if isinstance(error, MavisError) else ""
            raise kind(own_words or f"'{self.name}': {member} failed: {describe_error(error)}") from error

    def _read_text(self, member: str) -> str:
        return self._ask(member, lambda: one_line(str(getattr(self._data, member))))

    def _read_notes(self) -> tuple[str, ...]:
        notes = getattr(self._data, "notes", None) or ()
        return (notes,) if isinstance(notes, str) else tuple(map(str, notes))

    def _compare_with_first(self, batch: Batch) -> None:
        """Raises DataError where images have another size than before, or an image is not what it was."""
        shape = tuple(batch.images.shape[2:])
        if self._shape not in (None, shape):
            raise DataError(
                f"'{self.name}': all images must have one size, got {self._shape} before and {shape} now; resize them."
            )
        self._shape = shape
        pixels = batch.images.detach().flatten(1)
        places = torch.linspace(0, pixels.shape[1] - 1, N_PROBES).long()
        for name, values in zip(batch.ids, pixels[:, places].cpu(), strict=True):
            first = self._probes.setdefault(name, values.clone())
            if not torch.allclose(first, values, rtol=0, atol=PROBE_TOLERANCE):
                raise DataError(
                    f"'{self.name}': load() must give the same image each time and in any batch, but '{name}' changed; "
                    "leave out random augmentation, and whatever depends on the other images or on their order."
                )

    def unreadable(self, ids: Sequence[str]) -> dict[str, str]:
        """The ids that cannot be loaded, each with its reason."""
        return self._ask("unreadable()", lambda: self._read_reasons(ids))

    def _read_reasons(self, ids: Sequence[str]) -> dict[str, str]:
        reasons = self._data.unreadable(list(ids))
        if not isinstance(reasons, Mapping):
            raise DataError(f"'{self.name}': unreadable() must return a mapping, id to reason, got {reasons!r:.80}.")
        return {name: " ".join(str(reasons[name]).split()) for name in ids if name in reasons}

    def revision(self, ids: Sequence[str]) -> str:
        """Hash of the content of these images."""
        revision = self._ask("revision()", lambda: self._data.revision(list(ids)))
        if not isinstance(revision, str) or not revision:
            raise DataError(
                f"'{self.name}': revision() must return a text, a hash of the content, got {revision!r:.80}."
            )
        check_texts([revision], f"'{self.name}': its revision")
        return revision

    def cues(self, ids: Sequence[str]) -> list[int] | None:
        """Per image the class that its planted cue speaks for, -1 without one; None where the data carry no cues."""
        return self._ask("cues()", lambda: self._read_cues(ids))

    def _read_cues(self, ids: Sequence[str]) -> list[int] | None:
        method = getattr(self._data, "cues", None)
        cues = None if method is None else method(list(ids))
        if cues is None:
            return None
        codes = [int(cue) for cue in cues if float(cue).is_integer() and -1 <= cue < len(self.classes)]
        if len(codes) != len(ids) or len(cues) != len(ids):
            raise DataError(
                f"'{self.name}': cues() must give one whole number per id, from -1 to {len(self.classes) - 1}, got "
                f"{len(cues)} for {len(ids)} ids: {list(cues)!r:.80}."
            )
        return codes

    def content_hashes(self, ids: Sequence[str]) -> list[str]:
        """Per image a hash by which equal images under several ids are noticed; by default of the pixels."""
        method = getattr(self._data, "content_hashes", None)
        if method is None or getattr(method, "__func__", None) is Dataset.content_hashes:
            return list(Dataset.content_hashes(cast("Dataset", self), ids))
        hashes = self._ask("content_hashes()", lambda: [str(value) for value in method(list(ids))], UnreadableImage)
        if len(hashes) != len(ids):
            raise DataError(f"'{self.name}': content_hashes() must give one per id, got {len(hashes)} for {len(ids)}.")
        return hashes


def complete_dataset(data: Any) -> Dataset:
    """The data set as every other place in MAVIS gets it: see `CheckedDataset`.

    A user's class need not be a subclass of `Dataset`: what it leaves out of the optional members gets their defaults
    here.

    Raises:
        DataError: a required member is missing, or a name, the classes or the attributes are not as promised.
    """
    return cast("Dataset", data if isinstance(data, CheckedDataset) else CheckedDataset(data))


def readable_ids(data: Dataset, count: int) -> list[str]:
    """The first images of the table that can be loaded, at most ``count``; each is tried.

    Raises:
        DataError: none can be read.
    """
    ids: list[str] = []
    reason = ""
    for name in map(str, data.table().index):
        fault = _loading_fault(data, name)
        reason = reason or fault
        ids += [] if fault else [name]
        if len(ids) == count:
            break
    if not ids:
        raise DataError(f"None of the {len(data.table())} images of '{data.name}' can be read; the first is {reason}.")
    return ids


def _loading_fault(data: Dataset, name: str) -> str:
    """The image with the reason why it cannot be loaded; empty where it can."""
    reason = data.unreadable([name]).get(name)
    if reason is not None:
        return f"{name}: {reason}"
    try:
        data.load([name])
    except UnreadableImage as error:
        return f"{name}: {error}"
    return ""
