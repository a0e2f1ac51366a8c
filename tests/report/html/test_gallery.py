"""Tiles: an image with its map, and what the page makes of them."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from mavis.report.html.gallery import Tile
from mavis.report.html.page import render_page


def _tile(explainer: str, image_id: str, group: str, **changes) -> Tile:
    fields = {
        "model": "faces-balanced",
        "explainer": explainer,
        "role": "method",
        "image_id": image_id,
        "groups": {"race": group},
        "label": "elm",
        "predicted": "rowan",
        "probability": 0.75,
        "image": np.zeros((8, 8, 3), dtype=np.uint8),
        "map": np.full((8, 8), 0.5, dtype=np.float32),
    }
    return Tile(**{**fields, **changes})


def test_a_tile_does_not_change():
    """It is a record of what a run kept."""
    with pytest.raises(FrozenInstanceError):
        _tile("grad_cam", "a", "elm").label = "oak"


def test_columns_are_images_in_the_order_of_their_groups(findings, curves):
    """An image stands once at the head, with its label, prediction and probability; a map that is missing is a dash."""
    tiles = [_tile("grad_cam", "late", "rowan"), _tile("grad_cam", "early", "alder"), _tile("sobel", "late", "rowan")]
    page = render_page(findings, curves.iloc[:0], tiles)
    assert page.index('alt="Image early; race: alder"') < page.index('alt="Image late; race: rowan"')
    assert page.count('alt="Image late') == 1
    assert "labelled elm</b>predicted rowan, .750" in page
    assert page.count('class="map"') == 3
    assert 'title="no map of this image"' in page


def test_a_map_without_finite_values_says_so(findings, curves):
    """The text for readers who cannot see it has no range."""
    blank = _tile("grad_cam", "a", "elm", map=np.full((8, 8), np.nan, dtype=np.float32))
    page = render_page(findings, curves.iloc[:0], [blank])
    assert "Map of grad_cam for image a, labelled elm, without any finite value" in page
