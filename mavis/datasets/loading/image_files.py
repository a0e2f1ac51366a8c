"""Image files as tensors, and labelled image files as a data set.

Every image goes the same way: Pillow decodes it, its EXIF orientation is applied, it becomes RGB, its centre square
is cut out, and torchvision resizes that, as uint8 and with antialiasing, to the requested size.
"""

import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from mavis.core.errors import DataError
from mavis.core.hashing import digest
from mavis.core.types import Batch, Dataset

MIN_SIZE, MAX_SIZE = 16, 1024
"""Sides of the square images that MAVIS makes, in pixels."""

N_MEAN_IMAGES = 512
"""Number of images whose mean colour is taken as that of the data set."""

DECODING_ERRORS = (
    OSError,  # no file, no permission, no image, truncated
    SyntaxError,  # a broken PNG chunk
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""Exceptions of Pillow for a file that is no image or a broken one; a MemoryError is not among them."""


def read_image(path: Path, size: int) -> Tensor:
    """One image file as a square tensor.

    Args:
        path: JPEG, PNG, WebP, …; the content decides, not the ending.
        size: side of the result in pixels.

    Returns:
        ``(3,size,size)`` float32 in [0,1], RGB. An image that is not square is cut at both ends of its longer
        side; transparent pixels become white. Machines without AVX2 may differ by one of the 256 levels: torch resizes
        in float there.

    Raises:
        DataError: the file cannot be decoded.
    """
    from torchvision.transforms.v2 import InterpolationMode, functional

    pixels = torch.from_numpy(np.array(_centre_crop(decode_image(path)))).permute(2, 0, 1).contiguous()
    small: Tensor = functional.resize(pixels, [size, size], InterpolationMode.BILINEAR, antialias=True)
    return small.to(torch.float32) / 255


def decode_image(path: Path) -> Image.Image:
    """The file as an upright RGB image of its own size.

    Raises:
        DataError: the file is missing, broken, or has more than 8 bits per channel, which Pillow would clip.
    """
    try:
        return _upright_rgb(path)
    except DECODING_ERRORS as error:
        raise DataError(f"Cannot read the image {path}: {_error_text(error)}.") from error


def decoding_error(path: Path) -> str | None:
    """The reason why the file cannot be decoded, or None where it can; decodes every pixel."""
    try:
        _upright_rgb(path)
    except DECODING_ERRORS as error:
        return _error_text(error)
    return None


def is_companion(name: str) -> bool:
    """True for the ``._name`` files that macOS puts beside images; they end in ``.jpg`` and hold none."""
    return PurePath(name).name.startswith("._")


def check_size(size: int) -> None:
    """Raises DataError unless ``size`` is a whole number of pixels from `MIN_SIZE` to `MAX_SIZE`."""
    if not isinstance(size, int) or isinstance(size, bool) or not MIN_SIZE <= size <= MAX_SIZE:
        raise DataError(f"size must be a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}, got {size!r}.")


@dataclass(eq=False)
class LabelledImages(Dataset):
    """A `Dataset` of image files under one folder, whose ids are their paths in it.

    Attributes:
        name: as registered, with its options if any.
        target: the attribute that is the label.
        attributes: per group attribute its group names, in the order in which they are to be shown.
        provenance: one sentence on who assigned the labels and how.
        root: the folder.
        groups: index ``id`` (path below ``root``, unique), a column of group names per attribute; more columns, such as
            that of ``identity``, are kept in the table.
        size: side of the loaded images, in pixels.
        notes: one sentence each on rows that were repaired or left out.
        identity: the column of ``groups`` that names the person shown, if there is one.
        classes: the target's group names.
    """

    name: str
    target: str
    attributes: Mapping[str, tuple[str, ...]]
    provenance: str
    root: Path
    groups: pd.DataFrame = field(repr=False)
    size: int = 64
    notes: tuple[str, ...] = ()
    identity: str | None = None
    classes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        check_size(self.size)
        self._check_groups()
        self._check_paths()
        self.classes = self.attributes[self.target]

    def _check_groups(self) -> None:
        """Raises DataError unless every attribute has its column and every image one of the target's groups."""
        missing = [name for name in dict.fromkeys([*self.attributes, self.target]) if name not in self.groups.columns]
        if missing or self.target not in self.attributes:
            columns = ", ".join(map(str, self.groups.columns)) or "none"
            raise DataError(
                f"'{self.name}': expected a column and group names of '{missing[0] if missing else self.target}', got "
                f"the columns {columns} and group names of {', '.join(self.attributes) or 'nothing'}."
            )
        is_known = self.groups[self.target].isin(self.attributes[self.target])
        if not is_known.all():
            first = self.groups.index[~is_known.to_numpy()][0]
            raise DataError(
                f"'{self.name}': {int((~is_known).sum())} images have no known {self.target}; the first is '{first}' "
                f"with {self.groups.loc[first, self.target]!r}. Leave them out, or add the value to its groups."
            )

    def _check_paths(self) -> None:
        """Raises DataError for an id that leads out of the folder, and for two ids that are one path."""
        first_id: dict[str, str] = {}
        for name in map(str, self.groups.index):
            path = os.path.normpath(name)
            if Path(path).is_absolute() or Path(path).parts[0] == os.pardir:
                raise DataError(f"'{self.name}': the id '{name}' leads out of {self.root}; give paths in this folder.")
            first = first_id.setdefault(path, name)
            if first != name:
                raise DataError(
                    f"'{self.name}': the ids '{first}' and '{name}' are one file; leave out one of the two."
                )

    def table(self) -> pd.DataFrame:
        """One row per image: ``id`` (index), ``label`` (int), a column per group attribute."""
        table = self.groups.drop(columns="label", errors="ignore")  # an attribute of this name is the label
        index = {name: label for label, name in enumerate(self.classes)}
        table.insert(0, "label", self.groups[self.target].map(index).astype("int64"))
        return table

    def load(self, ids: Sequence[str]) -> Batch:
        """The images of these ids, in this order: ``(B,3,size,size)``, without parts and regions.

        Raises:
            DataError: an id is not in the data set, or its file cannot be decoded.
        """
        rows = self._select_rows(ids)
        images = torch.empty(len(ids), 3, self.size, self.size)
        for image, name in zip(images, ids, strict=True):
            image.copy_(read_image(self.root / name, self.size))
        labels = [self.classes.index(name) for name in rows[self.target]]
        groups = {attribute: tuple(rows[attribute]) for attribute in self.attributes}
        return Batch(images, torch.tensor(labels, dtype=torch.int64), tuple(ids), groups)

    def unreadable(self, ids: Sequence[str]) -> dict[str, str]:
        """The ids whose files cannot be decoded, each with its reason; decodes every pixel of each."""
        self._select_rows(ids)
        reasons = {name: decoding_error(self.root / name) for name in ids}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def content_hashes(self, ids: Sequence[str]) -> list[str]:
        """Hashes of the files' bytes."""
        return [digest(_read_bytes(self.root / name)) for name in ids]

    def revision(self, ids: Sequence[str]) -> str:
        """Hash over these images' bytes, their groups, the classes and the size; their order does not matter.

        Raises:
            DataError: an id is not in the data set, or its file cannot be read.
        """
        rows = self._select_rows(sorted(set(ids)))
        columns = [[str(name) for name in rows[attribute]] for attribute in self.attributes]
        images = [
            digest(*row, _read_bytes(self.root / row[0])) for row in zip(map(str, rows.index), *columns, strict=True)
        ]
        return digest(str(self.size), self.target, *self.classes, digest(*images))

    @cached_property
    def mean(self) -> Tensor:  # type: ignore[override] # a cached property is an attribute
        """``(3,)`` float32 in [0,1]: the mean colour of `N_MEAN_IMAGES` images.

        They are the first readable ones by the hash of their ids, so the choice depends neither on the order of the
        files nor on the sample.

        Raises:
            DataError: no image can be read.
        """
        colours = [colour for _, colour in zip(range(N_MEAN_IMAGES), self._mean_colours(), strict=False)]
        if not colours:
            raise DataError(
                f"'{self.name}': none of its {len(self.groups)} images can be read, so it has no mean colour."
            )
        return torch.stack(colours).mean(0).to(torch.float32)

    def _mean_colours(self) -> Iterator[Tensor]:
        """Mean colours of the readable images, in the order of their ids' hashes; ``(3,)`` float64."""
        for name in sorted(self.groups.index, key=digest):
            with suppress(DataError):  # `unreadable` reports these
                yield read_image(self.root / name, self.size).double().mean((1, 2))

    def _select_rows(self, ids: Sequence[str]) -> pd.DataFrame:
        unknown = [name for name in ids if name not in self.groups.index]
        if unknown:
            raise DataError(
                f"'{self.name}' has no image '{unknown[0]}' ({len(unknown)} of {len(ids)} ids are unknown)."
            )
        return self.groups.loc[list(ids)]


def _upright_rgb(path: Path) -> Image.Image:
    """The image; Pillow's remarks on a file it can read are no reason to leave it out, nor to stop."""
    with warnings.catch_warnings(action="ignore"), path.open("rb") as file:  # of a path, raw pixels may not be turned
        image = Image.open(file)
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its pixels have more than 8 bits (mode {image.mode}); save it with 8 bits per channel")
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            white = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(white, upright.convert("RGBA"))
        return upright.convert("RGB")


def _centre_crop(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _error_text(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image that Pillow knows"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read the image {path}: {_error_text(error)}.") from error
