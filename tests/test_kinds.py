"""Areas under curves, and which curves are the same."""

import numpy as np
import pytest
import torch

from mavis.kinds import Curve, CurveValues


@pytest.mark.parametrize("x", [[0.0, 0.5, 1.0], [0.0, 26 / 256, 51 / 256, 0.9, 1.0]])
def test_the_area_is_numpy_s_trapezoid(x: list[float]) -> None:
    """Uneven steps included, the area is that of an independent trapezoid rule."""
    y = torch.rand((4, len(x)), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(CurveValues(torch.tensor(x), y).area(), np.trapezoid(y, x), rtol=1e-6)


def test_both_end_points_count() -> None:
    """The area under a straight line from 1 to 0 is a half; without an end point it would not be."""
    x = torch.linspace(0, 1, 11)
    torch.testing.assert_close(CurveValues(x, 1 - x[None]).area(), torch.tensor([0.5]))


def test_equal_curves_are_one() -> None:
    """Imputer, order and points make a curve; equal ones share a key, so they are swept once."""
    assert len({Curve("mean", "mif", 11), Curve("mean", "mif", 11), Curve("mean", "lif", 11)}) == 2
    assert len({Curve("mean", "mif", 11), Curve("blur", "mif", 11), Curve("mean", "mif", 21)}) == 3
