"""Noise with one flat square in the middle: data on which the hand-wired models' use of the image is known exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from mavis.core import hashing, seeding
from mavis.core.errors import DataError, UnknownName
from mavis.core.registry import dataset
from mavis.core.types import Batch, Dataset

_SHADES = ("bright", "dark")
_TINTS = ("left", "right")


@dataclass(eq=False)
class PlantedSquare(Dataset):
    """Noise around a flat square in the middle; see `planted_square` for the arguments."""

    size: int
    count: int
    seed: int
    target: str = "shade"
    name: str = "planted_square"
    classes: tuple[str, ...] = _SHADES
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"shade": _SHADES, "tint": _TINTS})
    mean: Tensor = field(default_factory=lambda: torch.full((3,), 0.5))
    provenance: str = "Drawn by a program; the labels are the numbers it drew with."

    def table(self) -> pd.DataFrame:
        """One row per image: ``id`` (index), ``label``, ``shade``, ``tint``."""
        rows = [(self._id(i), i % 2, _SHADES[i % 2], _TINTS[i // 2 % 2]) for i in range(self.count)]
        return pd.DataFrame(rows, columns=["id", "label", "shade", "tint"]).set_index("id")

    def load(self, ids: Sequence[str]) -> Batch:
        """The images of these ids; the square is the region."""
        numbers = [int(i.rpartition("/")[2]) for i in ids]
        region = torch.zeros(self.size, self.size, dtype=torch.bool)
        quarter = self.size // 4
        region[quarter : self.size - quarter, quarter : self.size - quarter] = True
        return Batch(
            images=torch.stack([self._draw_image(i, n, region) for i, n in zip(ids, numbers, strict=True)]),
            labels=torch.tensor([n % 2 for n in numbers]),
            ids=tuple(ids),
            groups={
                "shade": tuple(_SHADES[n % 2] for n in numbers),
                "tint": tuple(_TINTS[n // 2 % 2] for n in numbers),
            },
            regions=region.expand(len(ids), -1, -1),
        )

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Always empty: every image can be drawn."""
        return {}

    def content_hashes(self, ids: Sequence[str]) -> Sequence[str]:
        """The ids: each image is drawn from its own."""
        return ids

    def revision(self, ids: Sequence[str]) -> str:
        """Hash of the parameters and ids that decide the images."""
        return hashing.digest_json(["planted_square", 1, self.size, self.seed, sorted(ids)])

    def _id(self, number: int) -> str:
        return f"planted_square/{self.seed}/{number:06d}"

    def _draw_image(self, name: str, number: int, region: Tensor) -> Tensor:
        stream = seeding.make_generator(self.seed, name, "planted_square")
        noise = torch.rand((3, self.size, self.size), generator=stream)
        level = 0.7 + 0.25 * torch.rand((3, 1, 1), generator=stream)
        return torch.where(region, level if number % 2 == 0 else 1 - level, noise)


@dataset(
    "planted_square",
    about="noise with one flat square in the middle, bright or dark; embedded",
    options=("target", "size"),
)
def planted_square(target: str = "shade", size: int = 64, count: int = 200, seed: int = 0) -> PlantedSquare:
    """Data for hand-wired models: everything outside the square is noise that they do not read.

    Args:
        target: only ``shade``.
        size: side in pixels, a multiple of 16.
        count: number of images.
        seed: of the noise.
    """
    if target != "shade":
        raise UnknownName("target of planted_square", target, ["shade"])
    if size < 32 or size % 16:
        raise DataError(f"planted_square: size must be a multiple of 16 from 32 on, got {size}.")
    return PlantedSquare(size, count, seed)
