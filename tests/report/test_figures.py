"""Plots inside the page, and maps as pictures."""

import base64
import io
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mavis.findings import Estimate
from mavis.report import figures
from mavis.report.figures import Dot, Panel


def _pixels(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")).astype(int)


def test_signed_maps_are_symmetric_about_white():
    """Zero is the middle of the scale; equal values of opposite sign are red and blue at the same distance."""
    values = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    by = figures.scale([values])
    assert (by.low, by.high, by.colours) == (-by.high, by.high, "RdBu_r")
    low, middle, high = _pixels(figures.map_image(values, by))[0, :, :3]
    assert middle.min() > 240
    assert low[2] > low[0]
    assert high[0] > high[2]


def test_unsigned_maps_start_at_zero():
    """Maps without negative values use turbo from 0, over all maps of the row."""
    by = figures.scale([np.full((2, 2), 0.5, np.float32), np.full((2, 2), 2.0, np.float32)])
    assert (by.low, by.high, by.largest, by.colours) == (0.0, 2.0, 2.0, "turbo")


def test_one_pixel_does_not_darken_the_row():
    """The scale ends at the 99.5th percentile and says what the largest value is."""
    values = np.full((64, 64), 0.1, np.float32)
    values[0, 0] = 100.0
    by = figures.scale([values])
    assert by.high == pytest.approx(0.1)
    assert by.largest == 100.0


def test_zero_and_invalid_maps_have_a_scale():
    """A map of zeros and one without any finite value are drawn; what is not finite is transparent."""
    for values in (np.zeros((4, 4), np.float32), np.full((4, 4), np.nan, np.float32)):
        assert figures.scale([values]).largest == 0.0
    spoilt = np.array([[1.0, np.nan]], np.float32)
    assert _pixels(figures.map_image(spoilt, figures.scale([spoilt])))[0, :, 3].tolist() == [255, 0]


def test_large_images_are_made_small():
    """Photographs and maps of any size come down to the gallery's, with their proportions."""
    assert _pixels(figures.photo(np.zeros((448, 224, 3), np.uint8))).shape == (112, 56, 4)
    large = np.ones((300, 300), np.float32)
    assert _pixels(figures.map_image(large, figures.scale([large]))).shape == (112, 112, 4)


def test_plots_are_told_and_follow_the_page():
    """A plot is one element with a description, the page's colours and no identifier of a group."""
    dot = Dot("a_$x$ & <b>", Estimate(mean=0.4, low=0.3, high=0.5, n=9), worst=True)
    svg = figures.dots([Panel("$\\alpha <i>", (dot,), chance=0.1)], told='he said "x" & <y>', across=1)
    tree = ET.fromstring(str(svg).replace("xlink:href", "href"))
    assert tree.get("role") == "img"
    assert tree.get("aria-label") == 'he said "x" & <y>'
    assert "var(--warn)" in svg
    assert not any(stand_in in svg for stand_in in figures.PAGE_COLOURS)
    texts = [node.text for node in tree.iter() if node.tag.endswith("text")]
    assert "a_$x$ & <b>" in texts
    assert "$\\alpha <i>" in texts
    assert "http" not in svg


def test_labels_in_any_script_are_drawn():
    """A label that matplotlib's font lacks is left to the reader's browser, without a warning."""
    svg = figures.dots([Panel("雪松", (Dot("雪", Estimate(mean=1.0, low=None, high=None, n=1)),))], told="x", across=1)
    assert "雪松" in svg


def test_nothing_to_draw_is_nothing():
    """Without any mean there is no plot, and without rows there are no curves."""
    blank = Estimate(mean=None, low=None, high=None, n=0)
    assert figures.dots([Panel("x", (Dot("a", blank),))], told="x", across=1) == ""
    assert figures.dots([], told="x", across=1) == ""
    empty = pd.DataFrame({"order": [], "x": [], "mean": []})
    assert figures.curves({"a": empty}, told="x") == ""


def test_drawing_is_repeatable(findings):
    """The same findings give the same bytes."""
    assert figures.validity(findings, "race") == figures.validity(findings, "race")
