"""Does the map stay when the image hardly changes? It counts only for maps that are faithful: a constant is perfect."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from mavis.device import precise
from mavis.errors import BadParameter
from mavis.kinds import Metric, VariantMetric
from mavis.maps import Maps
from mavis.perturb import Noise
from mavis.registry import metric

_UNDEFINED = "no draw of the noise left the prediction as it was, or the map is zero"
RADIUS = 8 / 255
DRAWS = 3


@metric(
    "avg_sensitivity",
    source="Yeh et al. 2019, section 4 (mean in place of max), arXiv 1901.09392",
    category="robustness",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
    undefined=_UNDEFINED,
)
def avg_sensitivity(radius: float = RADIUS, draws: int = DRAWS) -> Metric:
    """Mean relative change of the map under small uniform noise, over draws that leave the prediction as it was.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.
    """
    return _sensitivity(radius, draws, "mean", _relative_change)


@metric(
    "max_sensitivity",
    source="Yeh et al. 2019, definition 2, arXiv 1901.09392",
    category="robustness",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
    undefined=_UNDEFINED,
)
def max_sensitivity(radius: float = RADIUS, draws: int = DRAWS) -> Metric:
    """Largest relative change of the map under small uniform noise, over draws that leave the prediction as it was.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.

    Differs: relative to the map's length, as in Quantus; the paper's is absolute.
    """
    return _sensitivity(radius, draws, "max", _relative_change)


@metric(
    "avg_sensitivity_normalised",
    source="Yeh et al. 2019; second moment: Binder et al. 2023; protocol T1",
    category="robustness",
    higher_is_better=False,
    range=(0, 2),
    needs={"forward"},
    undefined=_UNDEFINED,
)
def avg_sensitivity_normalised(radius: float = RADIUS, draws: int = DRAWS) -> Metric:
    """Mean change of the map's pattern: both maps are first divided by the root of their mean square.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.
    """
    return _sensitivity(radius, draws, "mean", _pattern_change)


def _sensitivity(
    radius: float, draws: int, reduce: Literal["mean", "max"], compare: Callable[[Maps, Maps], Tensor]
) -> Metric:
    if not 0 < radius <= 1 or draws < 1:
        raise BadParameter(f"Expected 0 < radius <= 1 and draws >= 1, got radius={radius}, draws={draws}.")
    variants = [Noise(radius, number) for number in range(draws)]
    return VariantMetric(variants, compare, reduce, same_prediction=True)


def _relative_change(maps: Maps, other: Maps) -> Tensor:
    return _relative(maps.values.flatten(1), other.values.flatten(1))


def _pattern_change(maps: Maps, other: Maps) -> Tensor:
    return _relative(maps.unit, other.unit)


def _relative(before: Tensor, after: Tensor) -> Tensor:
    before, after = precise(before), precise(after)
    length = torch.linalg.vector_norm(before, dim=1)
    change = torch.linalg.vector_norm(after - before, dim=1)
    return torch.where(length > 0, change / length.where(length > 0, torch.ones_like(length)), torch.nan).float()
