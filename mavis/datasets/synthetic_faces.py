"""The embedded data set: synthetic faces, drawn on demand; nothing is stored, nothing is downloaded."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mavis.core.errors import BadParameter, DataError
from mavis.core.hashing import digest
from mavis.core.registry import dataset
from mavis.core.types import Batch, Dataset
from mavis.datasets.synthetic.canvas import SIZE_RANGE
from mavis.datasets.synthetic.drawing import Drawing, render_face
from mavis.datasets.synthetic.parameters import LABELS, resample_part, sample_face, sample_labels
from mavis.datasets.synthetic.parts import Face
from mavis.datasets.synthetic.recipe import BALANCED, RECIPES, Recipe

Split = Literal["train", "val", "eval"]

DEFAULT_COUNTS: Mapping[str, int] = {"train": 14000, "val": 1400, "eval": 2100}
"""Default number of images of each split."""

SEED = 0
DRAWING_VERSION = "1"
"""Version of the drawing; raised whenever a pixel of any face changes."""

MEAN_COLOURS: Mapping[str, tuple[float, float, float]] = {
    "balanced": (0.5549, 0.5093, 0.4722),
    "biased": (0.5465, 0.4988, 0.4648),
}
"""Mean colour per recipe, a stored constant: of the first 2,000 training images at seed 0 and 64 px.

``python -m mavis.models.training.shipped_models --means`` computes it anew.
"""

PROVENANCE = (
    "Drawn by MAVIS from parameters: labels are exact by construction. The populations are invented and depict no "
    "race; no photograph of a person was used."
)


@dataset(
    "synthetic_faces",
    about="Procedural faces with exact labels, part codes and re-rendering; embedded.",
    options=("target", "split", "size", "recipe"),
)
def synthetic_faces(
    target: str = "race",
    *,
    split: Split = "eval",
    size: int = 64,
    count: int | None = None,
    seed: int = SEED,
    recipe: str = "balanced",
) -> "SyntheticFaces":
    """Procedurally drawn frontal faces with exact truth.

    Args:
        target: the label: ``race`` (seven synthetic populations), ``gender`` (two forms), ``age`` (nine bands) or
            ``skin_tone`` (ten tones). Each is decided by stated parts and independent of everything else.
        split: ``train``, ``val`` or ``eval``; no image is in two of them.
        size: side in pixels, 32 to 224; the same faces at every size.
        count: number of images; by default 14,000, 1,400 and 2,100.
        seed: another seed gives other faces.
        recipe: ``balanced`` or ``biased``. It shapes the training split only: ``val`` and ``eval`` are always balanced,
            with a cue that is independent of the label, so that a model's reliance on it shows.

    Raises:
        BadParameter: an argument is out of range.
    """
    choices_of_option = {"target": (target, LABELS), "split": (split, DEFAULT_COUNTS), "recipe": (recipe, RECIPES)}
    for option, (value, choices) in choices_of_option.items():
        if value not in choices:
            raise BadParameter(f"The {option} of synthetic_faces is one of {', '.join(choices)}; got '{value}'.")
    numbers = {"size": size, "count": DEFAULT_COUNTS[split] if count is None else count, "seed": seed}
    for option, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise BadParameter(f"The {option} of synthetic_faces is a whole number; got {number!r}.")
    if not SIZE_RANGE[0] <= size <= SIZE_RANGE[1]:
        raise BadParameter(f"The size of synthetic_faces is {SIZE_RANGE[0]} to {SIZE_RANGE[1]} pixels; got {size}.")
    if count is not None and not 1 <= count <= 10**6:
        raise BadParameter(f"The count of synthetic_faces is 1 to 1,000,000; got {count}.")
    return SyntheticFaces(
        target=target, split=split, size=size, count=count or DEFAULT_COUNTS[split], seed=seed, recipe=RECIPES[recipe]
    )


class SyntheticFaces(Dataset):
    """Images that depend on seed, split, recipe and index only: never on batch, order or count.

    See `synthetic_faces` for the arguments and `mavis.core.types.Dataset` for the members.
    """

    has_parts = True

    def __init__(self, *, target: str, split: Split, size: int, count: int, seed: int, recipe: Recipe) -> None:
        self.target = target
        self.classes = LABELS[target]
        self.attributes: Mapping[str, tuple[str, ...]] = dict(LABELS)
        self.provenance = PROVENANCE
        self.size = size
        self._split, self._count, self._seed = split, count, seed
        self._recipe = recipe if split == "train" else BALANCED
        self.mean = torch.tensor(MEAN_COLOURS[self._recipe.name])
        self.name = self._name(recipe)
        suffix = "" if self._recipe is BALANCED else f"-{self._recipe.name}"
        suffix += "" if seed == SEED else f"-s{seed}"
        self._prefix = f"synthetic_faces/{split}{suffix}/"

    def _name(self, recipe: Recipe) -> str:
        """The registered name, with the options that are not the default ones."""
        options = {
            "target": (self.target, "race"),
            "split": (self._split, "eval"),
            "size": (self.size, 64),
            "count": (self._count, DEFAULT_COUNTS[self._split]),
            "seed": (self._seed, SEED),
            "recipe": (recipe.name, BALANCED.name),
        }
        changes = ",".join(f"{name}={value}" for name, (value, default) in options.items() if value != default)
        return f"synthetic_faces({changes})" if changes else "synthetic_faces"

    def _stream_key(self, index: int) -> tuple[int | str, ...]:
        return (self._seed, self._split, self._recipe.name, index)

    @cached_property
    def _labels(self) -> pd.DataFrame:
        rows = [sample_labels(self._stream_key(index), self._recipe) for index in range(self._count)]
        ids = [f"{self._prefix}{index:06d}" for index in range(self._count)]
        return pd.DataFrame(rows, index=pd.Index(ids, name="id"))

    def table(self) -> pd.DataFrame:
        """One row per image: ``id`` (index), ``label``, and the four labels by name. Draws nothing."""
        labels = self._labels
        columns = {name: np.array(values)[labels[name]] for name, values in LABELS.items()}
        return pd.DataFrame({"label": labels[self.target], **columns}, index=labels.index)

    def cues(self, ids: Sequence[str]) -> list[int] | None:
        """Per image the index of the population whose colour its cue has; None unless the target is ``race``."""
        if self.target != "race":
            return None
        return [sample_labels(self._stream_key(self._index(name)), self._recipe)["cue"] for name in ids]

    def load(self, ids: Sequence[str]) -> Batch:
        """The images of these ids, with part codes, label-carrying regions and re-rendering.

        Raises:
            DataError: an id is not in this data set.
        """
        faces = [self._face(name) for name in ids]
        drawings = [render_face(face, self.size) for face in faces]
        shape = (0, self.size, self.size)
        return Batch(
            images=_stack_images(drawings, self.size),
            labels=torch.tensor([face.labels[self.target] for face in faces], dtype=torch.int64),
            ids=tuple(ids),
            groups={name: tuple(values[f.labels[name]] for f in faces) for name, values in LABELS.items()},
            parts=torch.from_numpy(np.stack([d.codes for d in drawings]) if drawings else np.zeros(shape, np.uint8)),
            regions=torch.from_numpy(
                np.stack([d.region(self.target) for d in drawings]) if drawings else np.zeros(shape, np.bool_)
            ),
            rerender=lambda part, number: _stack_images(
                [render_face(resample_part(face, part, number), self.size) for face in faces], self.size
            ),
        )

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Always empty: every image can be drawn."""
        del ids
        return {}

    def content_hashes(self, ids: Sequence[str]) -> Sequence[str]:
        """The ids: each image is drawn from its own."""
        return ids

    def revision(self, ids: Sequence[str]) -> str:
        """Hash of the parameters of these images, and of the first one's pixels, so that new drawing code shows."""
        ids = sorted(set(ids))
        sample = render_face(self._face(ids[0]), self.size).pixels.tobytes() if ids else b""
        settings = (DRAWING_VERSION, str(self._seed), self._recipe.name, str(self.size), self.target)
        return digest("synthetic_faces", *settings, sample, *ids)

    def _face(self, name: str) -> Face:
        return sample_face(self._stream_key(self._index(name)), self._recipe)

    def _index(self, name: str) -> int:
        match = re.fullmatch(re.escape(self._prefix) + r"(\d{6})", name)
        if match is None or int(match[1]) >= self._count:
            last = f"{self._prefix}{self._count - 1:06d}"
            raise DataError(f"'{name}' is not in {self.name}; expected {self._prefix}000000 to {last}.")
        return int(match[1])


def _stack_images(drawings: Sequence[Drawing], size: int) -> Tensor:
    """``(B,3,H,W)`` float32 in [0,1]."""
    if not drawings:
        return torch.zeros(0, 3, size, size)
    return torch.from_numpy(np.stack([d.pixels for d in drawings])).to(torch.float32) / 255
