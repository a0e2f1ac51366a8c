"""Noise with four squares of even brightness: data on which the use of several parts by a model is known exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from mavis.core import hashing, seeding
from mavis.core.errors import DataError, UnknownName
from mavis.core.registry import dataset
from mavis.core.types import PART_CODES, Batch, Dataset

PART_POSITIONS = {"eyes": (0, 0), "nose": (0, 1), "mouth": (1, 0), "ears": (1, 1)}
"""Per part the quarter of the image (row, column) in whose middle its square lies."""

SIDE_PARTS = {"left": ("eyes", "mouth"), "right": ("nose", "ears")}
TEXTURE_AMPLITUDE = 0.05
"""Largest distance of a square's pixel from the square's level: no two cells matter exactly alike."""

CLASSES = {"shade": ("bright", "dark"), "side": ("left", "right")}


@dataclass(eq=False)
class PlantedParts(Dataset):
    """Noise around four squares; see `planted_parts` for the arguments."""

    target: str
    reads: tuple[str, ...]
    size: int
    count: int
    seed: int
    classes: tuple[str, ...]
    name: str = "planted_parts"
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"label": (), "tint": ("a", "b")})
    mean: Tensor = field(default_factory=lambda: torch.full((3,), 0.5))
    provenance: str = "Drawn by a program; the labels are the numbers it drew with."
    has_parts: bool = True

    def table(self) -> pd.DataFrame:
        """One row per image: ``id`` (index), ``label``, its name under the target's, ``tint``."""
        rows = [(self._id(i), i % 2, self.classes[i % 2], "ab"[i // 2 % 2]) for i in range(self.count)]
        return pd.DataFrame(rows, columns=["id", "label", self.target, "tint"]).set_index("id")

    def load(self, ids: Sequence[str]) -> Batch:
        """The images of these ids with part codes; the parts that carry the label are the region."""
        numbers = [int(i.rpartition("/")[2]) for i in ids]
        levels = [self._levels(i, n) for i, n in zip(ids, numbers, strict=True)]
        parts = torch.zeros(self.size, self.size, dtype=torch.uint8)
        for part in PART_POSITIONS:
            parts[self._part_slices(part)] = PART_CODES[part]
        return Batch(
            images=torch.stack([self._draw_image(i, level) for i, level in zip(ids, levels, strict=True)]),
            labels=torch.tensor([n % 2 for n in numbers]),
            ids=tuple(ids),
            groups={
                self.target: tuple(self.classes[n % 2] for n in numbers),
                "tint": tuple("ab"[n // 2 % 2] for n in numbers),
            },
            parts=parts.expand(len(ids), -1, -1),
            regions=torch.stack([self._region(n % 2) for n in numbers]),
            rerender=lambda part, number: torch.stack(
                [
                    self._draw_image(i, self._redraw_part(i, level, part, number))
                    for i, level in zip(ids, levels, strict=True)
                ]
            ),
        )

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:  # noqa: ARG002
        """Always empty: every image can be drawn."""
        return {}

    def content_hashes(self, ids: Sequence[str]) -> Sequence[str]:
        """The ids: each image is drawn from its own."""
        return ids

    def revision(self, ids: Sequence[str]) -> str:
        """Hash of the parameters and ids that decide the images."""
        return hashing.digest_json(
            ["planted_parts", 1, self.target, list(self.reads), self.size, self.seed, sorted(ids)]
        )

    def _id(self, number: int) -> str:
        return f"planted_parts/{self.target}-{self.seed}/{number:06d}"

    def _bright_parts(self, label: int) -> dict[str, bool]:
        """Per part whether it is bright; under ``shade`` the ears are drawn independently, with their level."""
        if self.target == "side":
            return {part: part in SIDE_PARTS[self.classes[label]] for part in PART_POSITIONS}
        return dict.fromkeys(PART_POSITIONS, label == 0)

    def _levels(self, name: str, number: int) -> dict[str, float]:
        """Brightness of each part: 0.2 to 0.45 above or below grey."""
        stream, bright = seeding.make_generator(self.seed, name, "levels"), self._bright_parts(number % 2)
        distances = (0.2 + 0.25 * torch.rand(len(PART_POSITIONS), generator=stream)).tolist()
        distance = dict(zip(PART_POSITIONS, distances, strict=True))
        if self.target == "shade":
            bright["ears"] = bool(torch.rand((), generator=stream) < 0.5)
        return {part: 0.5 + distance[part] if bright[part] else 0.5 - distance[part] for part in PART_POSITIONS}

    def _redraw_part(self, name: str, levels: Mapping[str, float], part: str, number: int) -> dict[str, float]:
        """The levels with a new draw for one part, bright or dark; a part that is not in the image changes nothing."""
        if part not in PART_POSITIONS:
            return dict(levels)
        stream = seeding.make_generator(self.seed, name, part, f"draw {number}")
        distance, sign = torch.rand(2, generator=stream).tolist()
        return {**levels, part: 0.5 + (0.2 + 0.25 * distance) * (1 if sign < 0.5 else -1)}

    def _draw_image(self, name: str, levels: Mapping[str, float]) -> Tensor:
        image = torch.rand((3, self.size, self.size), generator=seeding.make_generator(self.seed, name, "noise"))
        for part, level in levels.items():
            rows, columns = self._part_slices(part)
            image[:, rows, columns] = level + TEXTURE_AMPLITUDE * (2 * image[:, rows, columns] - 1)
        return image

    def _region(self, label: int) -> Tensor:
        region = torch.zeros(self.size, self.size, dtype=torch.bool)
        for part in SIDE_PARTS[self.classes[label]] if self.target == "side" else self.reads:
            region[self._part_slices(part)] = True
        return region

    def _part_slices(self, part: str) -> tuple[slice, slice]:
        row, column = (quarter * self.size // 2 + self.size // 8 for quarter in PART_POSITIONS[part])
        return slice(row, row + self.size // 4), slice(column, column + self.size // 4)


@dataset(
    "planted_parts",
    about="noise with four squares as face parts, bright or dark; embedded",
    options=("target", "size"),
)
def planted_parts(
    target: str = "shade",
    *,
    reads: Sequence[str] = ("eyes", "nose", "mouth"),
    size: int = 64,
    count: int = 200,
    seed: int = 0,
) -> PlantedParts:
    """Data for hand-wired models of several parts, which can be drawn anew; no model reads the noise between them.

    Args:
        target: ``shade``: eyes, nose and mouth are all bright or all dark, the ears independently of them; or ``side``:
            both parts on this side are bright and those on the other side are dark.
        reads: the parts that the model reads, which are the region under ``shade``.
        size: side in pixels, a multiple of 16.
        count: number of images.
        seed: of the noise and the levels.
    """
    if target not in CLASSES:
        raise UnknownName("target of planted_parts", target, CLASSES)
    for part in reads:
        if part not in PART_POSITIONS:
            raise UnknownName("part of planted_parts", part, PART_POSITIONS)
    if size < 32 or size % 16:
        raise DataError(f"planted_parts: size must be a multiple of 16 from 32 on, got {size}.")
    attributes = {target: CLASSES[target], "tint": ("a", "b")}
    return PlantedParts(target, tuple(reads), size, count, seed, CLASSES[target], attributes=attributes)
