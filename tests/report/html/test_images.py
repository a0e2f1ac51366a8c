"""Maps and photographs as pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mavis.report.html import images


def _pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def test_signed_maps_are_symmetric_about_white():
    """Zero is the middle of the scale; equal values of opposite sign are red and blue at the same distance."""
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    by = images.shared_scale([values])
    assert (by.low, by.high, by.colour_map) == (-by.high, by.high, "RdBu_r")
    low, middle, high = _pixels(images.map_uri(values, by))[0, :, :3]
    assert middle.min() > 240
    assert low[2] > low[0]
    assert high[0] > high[2]


def test_unsigned_maps_start_at_zero():
    """Maps without negative values use turbo from 0, over all maps of the row."""
    by = images.shared_scale([np.full((2, 2), 0.5, np.float32), np.full((2, 2), 2.0, np.float32)])
    assert (by.low, by.high, by.max_abs, by.colour_map) == (0.0, 2.0, 2.0, "turbo")


def test_one_pixel_does_not_darken_the_row():
    """The scale ends at the 99.5th percentile and says what the largest value is."""
    values = np.full((64, 64), 0.1, np.float32)
    values[0, 0] = 100.0
    by = images.shared_scale([values])
    assert by.high == pytest.approx(0.1)
    assert by.max_abs == 100.0


def test_zero_and_invalid_maps_have_a_scale():
    """A map of zeros and one without any finite value are drawn; what is not finite is transparent."""
    for values in (np.zeros((4, 4), np.float32), np.full((4, 4), np.nan, np.float32)):
        assert images.shared_scale([values]).max_abs == 0.0
    spoilt = np.array([[1.0, np.nan]], np.float32)
    assert _pixels(images.map_uri(spoilt, images.shared_scale([spoilt])))[0, :, 3].tolist() == [255, 0]


def test_large_images_are_made_small():
    """Photographs and maps of any size come down to the gallery's, with their proportions."""
    assert _pixels(images.image_uri(np.zeros((448, 224, 3), np.uint8))).shape == (112, 56, 4)
    large = np.ones((300, 300), np.float32)
    assert _pixels(images.map_uri(large, images.shared_scale([large]))).shape == (112, 112, 4)
