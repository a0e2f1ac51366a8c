"""Hostile batches of data sets, and ways to load them, each with what MAVIS must make of it."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mavis.core.errors import DataError
from mavis.core.types import Batch

from ..memory_data import MemoryData
from .hostile_declarations import MEMBERS
from .hostile_tables import (
    Change,
    Edits,
    Unshown,
    answer,
    either,
    fail,
    member,
    refused,
    same,
)


def batches(change: Callable[[Batch, Any], Any]) -> Change:
    """A change of every batch that comes, given the ids that were asked for."""

    def edit(data: MemoryData) -> None:
        load = data.load
        data.load = lambda ids: change(load(ids), ids)  # type: ignore[method-assign]

    return edit


def images(change: Callable[[Tensor], Any]) -> Change:
    """A change of the images of every batch."""
    return batches(lambda batch, _: replace(batch, images=change(batch.images)))


def one_image(change: Callable[[Tensor], Tensor]) -> Change:
    """A change of one image, whatever stands beside it."""

    def edit(data: MemoryData) -> None:
        data.pixels = data.pixels.clone()
        row = data.ids.index(data.ids[2])
        data.pixels[row] = change(data.pixels[row])

    return edit


def part(**values: Any) -> Change:
    """Other values of parts of every batch."""
    return batches(lambda batch, _: replace(batch, **values))


class SharedBuffer:
    """Images in one buffer, which the next load overwrites."""

    def __init__(self) -> None:
        self.buffer = torch.zeros(64, 3, 32, 32)

    def __call__(self, batch: Batch, _: Any) -> Batch:
        self.buffer[: len(batch)] = batch.images
        return replace(batch, images=self.buffer[: len(batch)])


class Overwriting:
    """Batches that are kept, and spoilt by the next load."""

    def __init__(self) -> None:
        self.last: Batch | None = None

    def __call__(self, batch: Batch, _: Any) -> Batch:
        if self.last is not None:
            self.last.images.zero_()
            self.last.labels.fill_(9)
        self.last = replace(batch, images=batch.images.clone(), labels=batch.labels.clone())
        return self.last


class Counting:
    """A change that depends on how often was loaded."""

    def __init__(self, change: Callable[[Tensor, int], Tensor]) -> None:
        self.change, self.n = change, 0

    def __call__(self, batch: Batch, _: Any) -> Batch:
        self.n += 1
        return replace(batch, images=self.change(batch.images, self.n))


def stateful(make: Callable[[], Callable[[Batch, Any], Any]]) -> Change:
    """A change of batches with a state of its own in every data set."""
    return lambda data: batches(make())(data)  # noqa: PLW0108 (made anew for each data set)


def changes_ids(change: Callable[[list[str]], Any]) -> Change:
    """A load that changes the list of ids that it was handed, before it looks at it."""

    def edit(data: MemoryData) -> None:
        load = data.load

        def changing(ids: Sequence[str]) -> Batch:
            asked = load(list(ids))
            if isinstance(ids, list):
                change(ids)
            return asked

        data.load = changing  # type: ignore[method-assign]

    return edit


def changes_frame(data: MemoryData) -> None:
    """A table that is always the same object, and that a load writes into."""
    ask, load = data.table, data.load
    frames: list[pd.DataFrame] = []

    def table() -> pd.DataFrame:
        frames[:] = frames or [ask()]
        return frames[0]

    def changing(ids: Sequence[str]) -> Batch:
        for frame in frames:
            frame.loc[:, "label"] = 0
            frame.loc[:, "side"] = "z"
        return load(ids)

    data.table, data.load = table, changing  # type: ignore[method-assign]


def another_table_each_time(data: MemoryData) -> None:
    """Tables whose rows come in another order, with other groups, from the second time on."""
    ask, times = data.table, itertools.count()
    data.table = lambda: ask().iloc[::-1].assign(side="z", label=0) if next(times) else ask()  # type: ignore[method-assign]


def breaks(name: int, error: BaseException) -> Change:
    """A load that raises for one image."""

    def edit(data: MemoryData) -> None:
        load, broken = data.load, data.ids[name]

        def loading(ids: Sequence[str]) -> Batch:
            if broken in ids:
                raise error
            return load(ids)

        data.load = loading  # type: ignore[method-assign]

    return edit


IMAGES = {
    "0 to 255": refused(images(lambda x: x * 255)),
    "-1 to 1": refused(images(lambda x: x * 2 - 1)),
    "normalised": refused(images(lambda x: (x - 0.45) / 0.2)),
    "uint8": refused(images(lambda x: (x * 255).byte())),
    "float64": refused(images(Tensor.double)),
    "half": refused(images(Tensor.half)),
    "bfloat16": refused(images(Tensor.bfloat16)),
    "complex": refused(images(lambda x: torch.complex(x, x))),
    "booleans": refused(images(lambda x: x > 0.5)),
    "channels last": refused(images(lambda x: x.permute(0, 2, 3, 1))),
    "grey": refused(images(lambda x: x[:, :1])),
    "four channels": refused(images(lambda x: torch.cat([x, x[:, :1]], 1))),
    "not square": refused(images(lambda x: x[..., :16])),
    "no pixels": refused(images(lambda x: x[..., :0, :0])),
    "one too few": refused(images(lambda x: x[1:])),
    "one too many": refused(images(lambda x: torch.cat([x, x[:1]]))),
    "numpy": refused(images(Tensor.numpy)),
    "list": refused(images(list)),
    "None": refused(part(images=None)),
    "sparse": refused(images(Tensor.to_sparse)),
    "without data": refused(images(lambda x: x.to("meta"))),
    "NaN in one": refused(one_image(lambda x: x * float("nan"))),
    "infinite in one": refused(one_image(lambda x: x / 0)),
    "one in 0 to 255": refused(one_image(lambda x: x * 255)),
    "size by the batch": refused(images(lambda x: x[..., len(x) :, len(x) :])),
    "shuffled with their ids": refused(batches(lambda b, _: Batch(b.images.flip(0), b.labels.flip(0), b.ids[::-1]))),
    "shuffled without their ids": refused(images(lambda x: x.flip(0))),
    "labels of others": refused(batches(lambda b, _: replace(b, labels=1 - b.labels))),
    "labels as floats": refused(batches(lambda b, _: replace(b, labels=b.labels.float()))),
    "labels as texts": refused(batches(lambda b, _: replace(b, labels=["dark"] * len(b)))),
    "labels in a column": refused(batches(lambda b, _: replace(b, labels=b.labels[:, None]))),
    "no labels": refused(part(labels=None)),
    "no ids": refused(part(ids=None)),
    "ids of others": refused(batches(lambda b, _: replace(b, ids=tuple(f"{i}x" for i in b.ids)))),
    "numbers as ids": refused(batches(lambda b, _: replace(b, ids=tuple(range(len(b)))))),
    "groups as a list": refused(part(groups=["a"])),
    "parts of another size": refused(part(parts=torch.zeros(1, 2, 2, dtype=torch.uint8))),
    "regions as numbers": refused(batches(lambda b, _: replace(b, regions=b.images[:, 0]))),
    "dictionary": refused(batches(lambda b, _: b.__dict__)),
    "pair": refused(batches(lambda b, _: (b.images, b.labels))),
    "nothing": refused(batches(lambda b, _: None)),
    "scaled by the batch": refused(images(lambda x: (x * 0.5 / x.mean()).clamp(0, 1))),
    "with a graph": same(images(lambda x: x.clone().requires_grad_() * 1)),
    "leaf with a gradient": same(images(lambda x: x.clone().requires_grad_())),
    "not contiguous": same(images(lambda x: x.transpose(2, 3).contiguous().transpose(2, 3))),
    "channels last in memory": same(images(lambda x: x.contiguous(memory_format=torch.channels_last))),
    "parameter": same(images(torch.nn.Parameter)),
    "made in inference mode": same(images(torch.inference_mode()(lambda x: x.clone()))),
    "labels as a list": either(batches(lambda b, _: replace(b, labels=b.labels.tolist()))),
    "labels as int8": either(batches(lambda b, _: replace(b, labels=b.labels.to(torch.int8)))),
    "ids as a list": either(batches(lambda b, _: replace(b, ids=list(b.ids)))),
    "ids as an array": either(batches(lambda b, _: replace(b, ids=np.array(b.ids, dtype=object)))),
    "other groups": either(batches(lambda b, _: replace(b, groups={"side": ("z",) * len(b)}))),
}  # fmt: skip

LOADING = {
    "one buffer": same(stateful(SharedBuffer)),
    "spoilt by the next": same(stateful(Overwriting)),
    "changes its table": same(changes_frame),
    "another table each time": same(another_table_each_time),
    "reverses the ids": same(changes_ids(list.reverse)),
    "empties the ids": same(changes_ids(list.clear)),
    "noise": refused(stateful(lambda: Counting(lambda x, n: (x + n * 0.02).clamp(0, 1)))),
    "mirrored now and then": refused(stateful(lambda: Counting(lambda x, n: x.flip(-1) if n % 2 else x))),
    "smaller from the third on": refused(stateful(lambda: Counting(lambda x, n: x if n < 3 else x[..., :16, :16]))),
    "one cannot be read": same(breaks(5, OSError("truncated")), breaks(5, OSError("truncated"))),
    "one exits": either(breaks(5, SystemExit(0)), breaks(5, OSError())),
    "one fails in lines": either(breaks(5, ValueError("a\nb")), breaks(5, OSError())),
    "one fails unprintably": either(breaks(5, ValueError(Unshown())), breaks(5, OSError())),
    "none can be read": refused(member("load", fail(OSError("no disk")))),
    "all exit": refused(member("load", fail(SystemExit(3)))),
    "refuses without a word": refused(member("load", fail(DataError("")))),
    "listed as unreadable": same(
        answer("unreadable", lambda ids: {"i004": "cut"}), answer("unreadable", lambda ids: {"i004": "cut"})
    ),
    "all are unreadable": refused(answer("unreadable", lambda ids: dict.fromkeys(ids, "cut"))),
}

OF_IMAGES: Mapping[str, Edits] = {"images": IMAGES, "loading": LOADING, "members": MEMBERS}
