"""A data set of one's own, held in memory: every member can be changed, to see what is made of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from mavis.core.types import Batch

SHADES = ("dark", "bright")


class MemoryData:
    """Noisy squares, dark and bright in turn; the attribute ``side`` has groups ``a`` and ``b``.

    Args:
        n: number of images.
        columns: more columns of the table by name; each becomes an attribute.
        members: replaces members, e.g. ``mean=[0.5] * 3``.
    """

    name, target, classes, provenance = "memory", "shade", SHADES, "made by a test"

    def __init__(self, n: int = 16, columns: Mapping[str, Sequence[Any]] | None = None, **members: Any) -> None:
        stream = torch.Generator().manual_seed(0)
        self.ids: list[Any] = [f"i{k:03d}" for k in range(n)]
        self.labels: list[Any] = [k % 2 for k in range(n)]
        self.columns = {"side": ["ab"[k // 2 % 2] for k in range(n)], **(columns or {})}
        self.attributes: Any = {name: tuple(dict.fromkeys(map(str, column))) for name, column in self.columns.items()}
        self.mean: Any = torch.full((3,), 0.5)
        noise = torch.rand((n, 3, 32, 32), generator=stream) / 2
        self.pixels: Tensor = noise + torch.tensor([float(label) for label in self.labels])[:, None, None, None] / 2
        self.broken: set[str] = set()
        for member, value in members.items():
            setattr(self, member, value)

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"label": self.labels, **self.columns}, index=pd.Index(self.ids, name="id"))

    def load(self, ids: Sequence[str]) -> Batch:
        if self.broken & set(ids):
            raise OSError("image file is truncated")
        rows = [self.ids.index(i) for i in ids]
        labels = torch.tensor([int(self.labels[row]) for row in rows])
        return Batch(self.pixels[rows], labels, tuple(ids))

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {}

    def revision(self, ids: Sequence[str]) -> str:
        return "1"


class MeanShade(torch.nn.Module):
    """Two logits from the mean brightness: right on every image of `MemoryData`."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([[-4.0], [4.0]])[:, :, None, None].expand(2, 3, 1, 1))
            self.conv.bias.copy_(torch.tensor([6.0, -6.0]))

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).mean((2, 3))


class OldSquares:
    """A user's data set of two images: the required members of `Dataset` only, and no subclass of it."""

    name, target, classes = "old_squares", "shade", ("bright", "dark")
    attributes: Mapping[str, tuple[str, ...]] = {"shade": ("bright", "dark")}
    provenance = "made up"
    parts: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        return torch.full((3,), 0.5)

    def table(self) -> pd.DataFrame:
        return pd.DataFrame({"label": [0, 1], "shade": ["bright", "dark"]}, index=pd.Index(["a", "b"], name="id"))

    def load(self, ids: Sequence[str]) -> Batch:
        levels = torch.tensor([0.9 if name == "a" else 0.1 for name in ids])
        images = levels[:, None, None, None].expand(-1, 3, 32, 32)
        return Batch(images, (levels < 0.5).long(), tuple(ids), parts=self.parts)

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {}

    def revision(self, ids: Sequence[str]) -> str:
        return "r1"
