"""Pictures in files of any format, mode, size and orientation, with what they show."""

import io
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from PIL import Image

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
GREY = ("L", "LA", "1")
FORMATS = {
    "PNG": ("RGB", "RGBA", "L", "LA", "1", "P", "I;16"),
    "BMP": ("RGB", "L", "1", "P"),
    "TIFF": ("RGB", "RGBA", "L", "LA", "1", "P", "CMYK", "I;16", "F"),
    "GIF": ("L", "1"),
    "PPM": ("RGB", "L", "1"),
    "WEBP": ("RGB", "RGBA"),
    "JPEG": ("RGB", "L", "CMYK"),
}
TOO_DEEP = ("I;16", "F")
LOSSY = ("JPEG",)
ORIENTATIONS = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""Per EXIF orientation the transposition of Pillow that undoes it."""


@dataclass(frozen=True)
class Picture:
    """A file with the mode of its picture and the upright picture that it shows."""

    content: bytes
    mode: str
    shown: Image.Image


def draw_picture(mode: str, width: int, height: int) -> Image.Image:
    """An opaque picture of this mode, whose colours the mode holds."""
    colours = Image.fromarray(PICTURES[:height, :width])
    if mode in ("I;16", "F"):
        return colours.convert("L").convert("I" if mode == "I;16" else "F").convert(mode)
    if mode == "P":
        return colours.quantize(64)
    return colours.convert("L").convert(mode) if mode in GREY else colours.convert(mode)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """A picture in a file of any format."""
    kind = draw(st.sampled_from(list(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[kind]))
    picture = draw_picture(mode, draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    orientation = draw(st.sampled_from(list(ORIENTATIONS))) if kind in ("PNG", "TIFF", "WEBP", "JPEG") else 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} if orientation != 1 else {}
    options |= {"lossless": True, "exact": True} if kind == "WEBP" else {}
    file = io.BytesIO()
    picture.save(file, kind, **options)
    shown, transposition = Image.open(file) if kind in LOSSY else picture, ORIENTATIONS[orientation]
    shown = shown if mode in TOO_DEEP else shown.convert("RGB")
    return Picture(file.getvalue(), mode, shown if transposition is None else shown.transpose(transposition))
