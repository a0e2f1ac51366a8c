"""Units of removal: every pixel has one, and an image has the same alone and among others."""

import pytest
import torch

from mavis.core.metric_types import CurveUnit, DrawnGrid
from mavis.engine.removal_units import removal_units

from ..toys import Pooled, make_pass, random_images


@pytest.mark.parametrize("unit", ["cell", "segment", DrawnGrid((5, 3), 0), DrawnGrid((5, 3), 1)])
def test_units_cover_the_image_and_belong_to_it(unit: CurveUnit) -> None:
    """Numbered from 0, no more than the limit; the batch changes nothing."""
    model_pass = make_pass(Pooled(), random_images(3, 24))
    units = removal_units(model_pass, unit, 4)
    for row in range(3):
        n = int(units.n_units[row])
        assert units.ids[row].unique().tolist() == list(range(n))
        assert n <= units.max_units
        alone = removal_units(model_pass.single_image(row), unit, 4)
        assert torch.equal(alone.ids[0], units.ids[row])
        assert alone.max_units == units.max_units


def test_images_draw_other_places() -> None:
    """Not one place for all, or a method could know it."""
    units = removal_units(make_pass(Pooled(), random_images(8, 24)), DrawnGrid((5, 3), 0), 4)
    assert len({tuple(ids.flatten().tolist()) for ids in units.ids}) > 4
