"""Maps and photographs as PNG data URIs, on scales that a row of maps shares."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_TILE_SIZE = 112
"""Longer side of an image in the gallery, in pixels."""

SIGNED_COLOURS, UNSIGNED_COLOURS = "RdBu_r", "turbo"


@dataclass(frozen=True)
class ColourScale:
    """Colour scale of a row of maps.

    Attributes:
        low: value of the first colour.
        high: value of the last colour.
        max_abs: largest absolute value in the row; beyond ``low`` and ``high`` the end colours stay.
        colour_map: name of the colour map.
    """

    low: float
    high: float
    max_abs: float
    colour_map: str


def shared_scale(maps: Sequence[NDArray[np.float32]]) -> ColourScale:
    """One scale for all these maps: symmetric about 0 where any value is negative, else from 0.

    The ends are at the 99.5th percentile of the absolute values, so that a single pixel does not darken the row.
    """
    values = np.concatenate([np.ravel(values) for values in maps])
    values = values[np.isfinite(values)]
    if not values.size or not values.any():
        return ColourScale(0.0, 1.0, 0.0, UNSIGNED_COLOURS)
    size = np.abs(values)
    end = float(np.quantile(size, 0.995)) or float(size.max())
    low, colours = (-end, SIGNED_COLOURS) if values.min() < 0 else (0.0, UNSIGNED_COLOURS)
    return ColourScale(low, end, float(size.max()), colours)


def map_uri(values: NDArray[np.float32], scale: ColourScale) -> str:
    """A map as a PNG data URI with a palette; values that are not finite are left transparent."""
    values = _shrink(Image.fromarray(np.asarray(values, dtype=np.float32)))
    share = (np.nan_to_num(values) - scale.low) / (scale.high - scale.low)
    index = np.where(np.isfinite(values), np.clip(np.rint(share * 254), 0, 254), 255).astype(np.uint8)
    return _palette_uri(index, scale.colour_map)


def colour_bar_uri(colour_map: str) -> str:
    """The colours of a scale from its low to its high end, a PNG data URI 255 px wide."""
    return _palette_uri(np.arange(255, dtype=np.uint8)[None].repeat(4, axis=0), colour_map)


def image_uri(pixels: NDArray[np.uint8]) -> str:
    """An image as a PNG data URI, small enough for the gallery."""
    return _png_uri(Image.fromarray(_shrink(Image.fromarray(np.asarray(pixels, dtype=np.uint8)))))


def _shrink(image: Image.Image) -> NDArray[Any]:
    share = MAX_TILE_SIZE / max(image.size)
    if share >= 1:
        return np.asarray(image)
    width, height = (max(1, round(side * share)) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX))


def _palette_uri(index: NDArray[np.uint8], colour_map: str) -> str:
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[:255] = np.rint(mpl.colormaps[colour_map](np.linspace(0, 1, 255))[:, :3] * 255)
    image = Image.fromarray(index, mode="L")
    image.putpalette(palette.tobytes())
    return _png_uri(image, transparency=255)


def _png_uri(image: Image.Image, **options: Any) -> str:
    written = io.BytesIO()
    image.save(written, "PNG", optimize=True, **options)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode("ascii")
