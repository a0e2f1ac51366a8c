"""Canvas: an image on which shapes with soft edges are painted, and the part code of each pixel.

Only additions, products, quotients, square roots and comparisons of float32 are used: IEEE arithmetic rounds these
alike everywhere, so an image is the same on every machine.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mavis.core.types import PART_CODES
from mavis.datasets.synthetic.parts import Scene

Array = npt.NDArray[Any]
"""``(h,w)`` float32, or ``(3,h,w)`` for colours; numpy's annotations take a scalar's product for a float64."""

SIZE_RANGE = (32, 224)
"""Smallest and largest side of an image, in pixels."""


@dataclass(frozen=True)
class Canvas:
    """An image, or a window on one.

    Attributes:
        x: ``(h,w)`` to the viewer's right of the head's centre; the head is about one unit wide, the image two.
        y: ``(h,w)`` downwards from the head's centre.
        pixel: side of a pixel in these units.
        image: ``(3,h,w)`` float32 about [0,1], painted in place.
        codes: ``(h,w)`` uint8 of `PART_CODES`, painted in place.
        age_lines: ``(h,w)`` bool, where age lines may be, painted in place.
    """

    x: Array
    y: Array
    pixel: float
    image: Array
    codes: npt.NDArray[np.uint8]
    age_lines: npt.NDArray[np.bool_]

    @classmethod
    def blank(cls, size: int, scene: Scene) -> "Canvas":
        """An empty image of ``size`` × ``size`` pixels, in the pose of the scene."""
        axis = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)).astype(
            np.float32
        )
        u, v = axis[None, :] - np.float32(scene.shift[0]), axis[:, None] - np.float32(scene.shift[1])
        half = scene.roll / 2
        cos, sin = (1 - half * half) / (1 + half * half) / scene.scale, 2 * half / (1 + half * half) / scene.scale
        return cls(
            x=np.float32(cos) * u + np.float32(sin) * v,
            y=np.float32(cos) * v - np.float32(sin) * u,
            pixel=2 / size / scene.scale,
            image=np.empty((3, size, size), np.float32),
            codes=np.zeros((size, size), np.uint8),
            age_lines=np.zeros((size, size), np.bool_),
        )

    def window(self, x: float, y: float, half_width: float, half_height: float) -> "Canvas":
        """The part of the image around a point, large enough for any pose; painting on it paints the image."""
        (left, right), (top, bottom) = (
            _span(self.x[0, :], self.x[-1, :], x, half_width, self.pixel),
            _span(self.y[:, 0], self.y[:, -1], y, half_height, self.pixel),
        )
        at = np.s_[top:bottom, left:right]
        return Canvas(
            self.x[at],
            self.y[at],
            self.pixel,
            self.image[:, top:bottom, left:right],
            self.codes[at],
            self.age_lines[at],
        )

    def coverage(self, distance: Array, softness: float = 0.0) -> Array:
        """``(h,w)`` share of each pixel inside a shape.

        Args:
            distance: signed distance to the shape's edge, negative inside.
            softness: width of the edge beyond one pixel, in the canvas's units.
        """
        share: Array = np.clip(np.float32(0.5) - distance / np.float32(self.pixel + softness), 0, 1)
        return share

    def paint(self, coverage: Array, colour: Array, part: str | None = None) -> None:
        """Paints a colour, ``(3,1,1)`` or ``(3,h,w)``, by ``coverage``; pixels mostly covered get the code."""
        np.add(self.image, coverage * (colour - self.image), out=self.image)
        if part is not None:
            self.mark(coverage, part)

    def mark(self, coverage: Array, part: str) -> None:
        """Gives the pixels mostly covered the code of a part."""
        self.codes[coverage > 0.5] = PART_CODES[part]

    def shade(self, factor: Array) -> None:
        """Multiplies the image: darker below 1, lighter above."""
        np.multiply(self.image, factor, out=self.image)


def _span(first: Array, last: Array, middle: float, half: float, pixel: float) -> tuple[int, int]:
    """First and last row or column of a stretch, given the coordinate along both edges of the image."""
    count = len(first)
    low, high = min(float(first[0]), float(last[0])), max(float(first[0]), float(last[0]))
    start = int((middle - half - high) / pixel) - 1
    stop = int((middle + half - low) / pixel) + 3
    return min(max(start, 0), count - 1), min(max(stop, 1), count)


def colour_array(channels: tuple[float, float, float]) -> Array:
    """``(3,1,1)`` float32."""
    return np.array(channels, dtype=np.float32).reshape(3, 1, 1)


def bump(squared: Array) -> Array:
    """A soft hill: 1 at zero, 0 from one on, of the squared distance in units of its radius."""
    height: Array = np.maximum(np.float32(1) - squared, np.float32(0))
    return height * height


def smoothstep(values: Array) -> Array:
    """0 up to zero, 1 from one on, smooth between."""
    t: Array = np.clip(values, 0, 1)
    smooth: Array = t * t * (np.float32(3) - np.float32(2) * t)
    return smooth


def value_noise(values: Array, table: Array) -> Array:
    """Smooth noise along one coordinate.

    Args:
        values: the coordinate; one unit is one entry of the table.
        table: ``(n,)`` float32, n a power of two; repeats.
    """
    below = np.floor(values)
    index = below.astype(np.int32)
    first = table[index & (len(table) - 1)]
    second = table[(index + 1) & (len(table) - 1)]
    between: Array = first + smoothstep(values - below) * (second - first)
    return between


def ellipse_distance(x: Array, y: Array, width: float, height: float) -> Array:
    """Signed distance, to first order, to the ellipse with these half axes around the origin."""
    gx, gy = x / np.float32(width * width), y / np.float32(height * height)
    slope = np.sqrt(gx * gx + gy * gy) + np.float32(1e-3)
    distance: Array = (x * gx + y * gy - np.float32(1)) / (np.float32(2) * slope)
    return distance
