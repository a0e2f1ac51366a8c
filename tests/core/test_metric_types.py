"""Areas under curves, and which curves are the same."""

import numpy as np
import pytest
import torch

from mavis.core.errors import BadParameter
from mavis.core.metric_types import Curve, CurveValues, MaskProbe, even_fractions


@pytest.mark.parametrize("x", [[0.0, 0.5, 1.0], [0.0, 26 / 256, 51 / 256, 0.9, 1.0]])
def test_the_area_is_numpy_s_trapezoid(x: list[float]) -> None:
    """Uneven steps included, the area is that of an independent trapezoid rule."""
    y = torch.rand((4, len(x)), generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(
        CurveValues(torch.tensor(x).expand(4, -1), y, y, y).area(), np.trapezoid(y, x), rtol=1e-6
    )


def test_both_end_points_count() -> None:
    """The area under a straight line from 1 to 0 is a half; without an end point it would not be."""
    x = torch.linspace(0, 1, 11)
    y = 1 - x[None]
    torch.testing.assert_close(CurveValues(x[None], y, y, y).area(), torch.tensor([0.5]))


def test_equal_curves_are_one() -> None:
    """Imputer, order, fractions and unit make a curve; equal ones share a key, so they are swept once."""
    curve = Curve("mean", "mif", even_fractions(11))
    assert curve == Curve("mean", "mif", even_fractions(11))
    changed = [
        ("mean", "lif", even_fractions(11)),
        ("blur", "mif", even_fractions(11)),
        ("mean", "mif", even_fractions(21)),
    ]
    assert (
        len({curve, *(Curve(*arguments) for arguments in changed), Curve("mean", "mif", even_fractions(11), "segment")})
        == 5
    )


def test_probes_are_equal_by_name_and_imputer() -> None:
    """Two metrics that build the same question from their own functions ask it once."""
    assert MaskProbe("each", "mean", lambda model_pass, n: torch.eye(n)) == MaskProbe(
        "each", "mean", lambda model_pass, n: torch.ones(n, n)
    )
    assert MaskProbe("each", "mean", lambda model_pass, n: torch.eye(n)) != MaskProbe(
        "each", "blur", lambda model_pass, n: torch.eye(n)
    )


def test_a_curve_needs_a_middle() -> None:
    """Both ends alone say nothing of the order."""
    with pytest.raises(BadParameter, match="at least 3 points, got 2"):
        even_fractions(2)
