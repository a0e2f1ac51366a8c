"""Images of a data set for many passes: cached as bytes where they fit, read again where they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from mavis.core.errors import DataError
from mavis.core.perceptual_hash import Fingerprints
from mavis.core.seeding import make_generator
from mavis.core.types import Dataset

BATCH_SIZE = 256
MAX_BYTES = 2**30
"""Maximum size of the cached images of one data set, in bytes."""


@dataclass(frozen=True)
class ImageCache:
    """The readable images of a data set.

    Attributes:
        dataset: the data set of the images.
        table: a row per readable image, as in `Dataset.table`.
        unreadable: the images that were left out, each with its reason.
        cached_images: ``(N,3,H,W)`` uint8, or None where they do not fit into memory.
    """

    dataset: Dataset
    table: pd.DataFrame
    unreadable: Mapping[str, str]
    cached_images: Tensor | None

    @classmethod
    def from_dataset(cls, dataset: Dataset, *, max_images: int | None = None, seed: int = 0) -> "ImageCache":
        """Finds the readable images and caches them where they fit.

        Args:
            dataset: the data set.
            max_images: at most this many images, drawn by the seed.
            seed: of the draw.

        Raises:
            DataError: no image is left.
        """
        table = dataset.table()
        if max_images is not None and max_images < len(table):
            chosen = torch.randperm(len(table), generator=make_generator(seed, dataset.name, "limit"))[:max_images]
            table = table.iloc[chosen.sort().values.numpy()]
        unreadable = dataset.unreadable(list(table.index))
        table = table.drop(index=list(unreadable))
        if table.empty:
            raise DataError(f"The data set '{dataset.name}' has no readable image; check its folder and split.")
        return cls(dataset, table, unreadable, _cache_images(dataset, list(table.index)))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> Tensor:
        """``(N,)`` int64."""
        return torch.tensor(self.table["label"].to_numpy(), dtype=torch.int64)

    def images(self, rows: Tensor) -> Tensor:
        """``(n,3,H,W)`` float32 in [0,1], of these rows of the table, to the nearest 1/255."""
        if self.cached_images is not None:
            return self.cached_images[rows].float() / 255
        return self.dataset.load([self.table.index[row] for row in rows.tolist()]).images

    def fingerprints(self) -> Fingerprints:
        """Fingerprints of all images, before any augmentation."""
        chunks = torch.split(torch.arange(len(self)), BATCH_SIZE)
        return Fingerprints.concatenate([Fingerprints.from_images(self.images(rows)) for rows in chunks])


def _cache_images(dataset: Dataset, ids: Sequence[str]) -> Tensor | None:
    first = dataset.load(ids[:1]).images
    if first.numel() * len(ids) > MAX_BYTES:
        return None
    cached = torch.empty(len(ids), *first.shape[1:], dtype=torch.uint8)
    for start in range(0, len(ids), BATCH_SIZE):
        chunk = ids[start : start + BATCH_SIZE]
        cached[start : start + len(chunk)] = (dataset.load(chunk).images * 255).round().to(torch.uint8)
    return cached
