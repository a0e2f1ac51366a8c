"""Faithfulness by removal: cells are removed in the map's order and the model's output is read along the curve.

MIF removes the most influential cells first, LIF the least influential. By default a curve shows the target's softmax
probability over 11 shares of the cells, from none to all, and removed cells show the data set's mean colour. Metrics
that read the same curve share its evaluation.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import (
    Curve,
    CurveQuery,
    CurveUnit,
    CurveValues,
    DrawnGrid,
    Metric,
    SweepMetric,
    even_fractions,
)
from mavis.core.registry import metric

DEFAULT_IMPUTERS = ("mean", "blur")
DEFAULT_POINTS = 11
MIN_RISE = 1e-5
"""Smallest difference that counts as a rise of a probability: rounding alone changes it by less."""

Curves = Mapping[CurveQuery, CurveValues]
CurvePair = tuple[Curve, Curve]

LOW_PROBABILITY = "the target's probability for the original image is below min_probability"


# Areas under one curve.


@metric(
    "deletion",
    source="Petsiuk et al. 2018, section 4.2, arXiv 1806.07421",
    category="faithfulness",
    higher_is_better=False,
    range=(0, 1),
    needs={"forward"},
)
def deletion(imputer: str = "mean", points: int = DEFAULT_POINTS) -> Metric:
    """Area under the target's probability while the most influential cells are removed first.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3.

    Differs: removed cells show the data set's mean colour, not black.
    """
    return _single_curve_metric(_curve(imputer, "mif", points), CurveValues.area)


@metric(
    "insertion",
    source="Petsiuk et al. 2018, section 4.2, arXiv 1806.07421",
    category="faithfulness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
)
def insertion(imputer: str = "blur", points: int = DEFAULT_POINTS) -> Metric:
    """Area under the target's probability while the most influential cells are put back first.

    To put the most influential cells back is to remove the least influential ones in reverse, so this is the area
    under that curve.

    Args:
        imputer: what cells show before they are put back.
        points: fractions put back, evenly from 0 to 1, at least 3.
    """
    return _single_curve_metric(_curve(imputer, "lif", points), CurveValues.area)


@metric(
    "pixel_flipping",
    source="Bach et al. 2015, doi 10.1371/journal.pone.0130140; its area: Montavon et al. 2018, arXiv 1706.07979",
    category="faithfulness",
    higher_is_better=False,
    needs={"forward"},
    unit="logit",
)
def pixel_flipping(imputer: str = "mean", points: int = DEFAULT_POINTS) -> Metric:
    """Pixel flipping, or selectivity: area under the target's logit while the most influential cells are removed first.

    Bach et al. give the curve; its area is the selectivity of Montavon et al. 2018. On the probability it is
    `deletion`. Logits have no common unit: compare within one model.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3.

    Differs: cells, not single pixels, and the data set's mean colour, not the inverse or a random value. Quantus's
    PixelFlipping and Selectivity start at the first step and count steps, so with L of them Quantus's area is L times
    this one without its first trapezoid; they show the image's own minimum and take the softmax; PixelFlipping removes
    the channels of a pixel one by one.
    """
    return _single_curve_metric(
        _curve(imputer, "mif", points), lambda curve: torch.trapezoid(curve.logit, curve.x, dim=1)
    )


@metric(
    "irof",
    source="Rieger & Hansen 2020, arXiv 2003.08747",
    category="faithfulness",
    higher_is_better=True,
    range=(None, 1),
    needs={"forward"},
    undefined=f"{LOW_PROBABILITY}, or the image is a single superpixel",
)
def irof(imputer: str = "mean", points: int = 21, min_probability: float = 0.01) -> Metric:
    """Area over the target's probability, relative to the original image's, while superpixels are removed MIF.

    Args:
        imputer: what removed superpixels show.
        points: fractions of the image's superpixels removed, evenly from 0 to 1, at least 3.
        min_probability: smallest probability of the original image to divide by, in (0,1].

    Differs: the data set's mean colour, not the image's; about 64 superpixels, removed in 20 steps. Quantus cannot take
    a map of one channel for a colour image; it counts steps from the first one on, so its area grows with the number of
    superpixels; and in a batch an image with fewer of them than another gets another score than alone.
    """
    check_share("irof", "min_probability", min_probability)

    def score(curve: CurveValues) -> Tensor:
        area_over = 1 - share_of(curve.area(), curve.y[:, 0], min_probability)
        has_order = ((curve.x > 0) & (curve.x < 1)).any(1)
        return torch.where(has_order, area_over, torch.nan)

    return _single_curve_metric(Curve(imputer, "mif", even_fractions(points), "segment"), score)


# Falls from the original image.


@metric(
    "aopc",
    source="Samek et al. 2017, equation 12, arXiv 1509.06321",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    needs={"forward"},
)
def aopc(imputer: str = "mean", points: int = DEFAULT_POINTS) -> Metric:
    """Area over the perturbation curve: mean fall of the target's probability while cells are removed MIF.

    The mean is over all points of the curve, that of the original image included. Where the points are evenly spaced it
    ranks one image's maps as `deletion` does, since neither end of the curve depends on the map.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3.

    Differs: the probability, not the score before the softmax; the mean colour, and all cells. As in the paper, over
    the first regions and with noise, it is `region_perturbation`.
    """
    return _single_curve_metric(
        _curve(imputer, "mif", points), lambda curve: _mean_over_points(curve.y[:, :1] - curve.y)
    )


@metric(
    "region_perturbation",
    source="Samek et al. 2017, section III, arXiv 1509.06321",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    needs={"forward"},
)
def region_perturbation(imputer: str = "noise", regions: float = 0.15, points: int = DEFAULT_POINTS) -> Metric:
    """Mean fall of the target's probability while the first regions, most influential first, turn to uniform noise.

    Args:
        imputer: what removed cells show.
        regions: share of the cells removed at the end, in (0,1].
        points: fractions removed, evenly from 0 to ``regions``, at least 3; the mean is over all of them.

    Differs: the paper removes 100 regions of 9 × 9 pixels one by one, 15.7 % of its images, and repeats it 10 times;
    here the cells of the grid go in 10 steps under one draw of the noise. Quantus returns the fall after each step.
    """
    check_share("region_perturbation", "regions", regions)
    curve = Curve(imputer, "mif", tuple(regions * step for step in even_fractions(points)))
    return _single_curve_metric(curve, lambda values: _mean_over_points(values.y[:, :1] - values.y))


@metric(
    "sufficiency",
    source="DeYoung et al. 2020 (ERASER), section 4.2, arXiv 1911.03429",
    category="faithfulness",
    higher_is_better=False,
    range=(-1, 1),
    needs={"forward"},
)
def sufficiency(imputer: str = "mean", kept: Sequence[float] = (0.05, 0.1, 0.2, 0.5)) -> Metric:
    """Mean fall of the target's probability when only the most influential cells are kept: 0 where they suffice.

    Args:
        imputer: what removed cells show.
        kept: shares of the cells that are kept, each in (0,1]; the mean is over them.

    Differs: cells of images, not tokens; without the paper's smallest share, 1 %, and without its term for nothing
    removed, which is 0. Quantus's Sufficiency (Dasgupta et al. 2022) is another quantity: the share of images with
    similar maps that have the same class. Its value for an image depends on the rest of the batch.
    """
    if not kept:
        raise BadParameter("sufficiency: kept must be a list of shares in (0,1], got none.")
    for share in kept:
        check_share("sufficiency", "kept", share)
    curve = Curve(imputer, "lif", (0.0, *sorted({_fraction_removed(share) for share in kept})))
    return _single_curve_metric(curve, lambda values: _mean_over_points(values.y[:, :1] - values.y[:, 1:]))


# LIF against MIF: a map without information scores 0.


@metric(
    "srg",
    source="Blücher et al. 2024, section 3, arXiv 2401.06654",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
)
def srg(imputers: Sequence[str] = DEFAULT_IMPUTERS, points: int = DEFAULT_POINTS, cells: Sequence[int] = ()) -> Metric:
    """Symmetric relevance gain: area with the least influential removed first minus that with the most influential.

    A random order scores 0 in expectation whatever the model.

    Args:
        imputers: the mean over these.
        points: fractions removed, evenly from 0 to 1, at least 3.
        cells: numbers of cells along a side, e.g. ``[13, 9]``: the mean over grids of these, whose place each image
            draws for itself; empty for the run's own grid.

    Differs: cells of a grid, not superpixels.
    """
    units: list[CurveUnit] = [DrawnGrid(tuple(cells), k) for k in range(len(cells))]
    pairs = [pair for unit in units or ["cell"] for pair in _curve_pairs(imputers, points, unit)]

    def score(curves: Curves) -> Tensor:
        return torch.stack([_symmetric_gain(curves, pair) for pair in pairs]).mean(0)

    return SweepMetric(tuple(curve for pair in pairs for curve in pair), score)


@metric(
    "nsrg",
    source="Blücher et al. 2024, arXiv 2401.06654; headroom: protocol F1",
    category="faithfulness",
    higher_is_better=True,
    range=(-1.5, 1.5),
    chance=0.0,
    needs={"forward"},
    undefined="removing everything lowers the target's probability by less than min_headroom",
)
def nsrg(imputers: Sequence[str] = DEFAULT_IMPUTERS, points: int = DEFAULT_POINTS, min_headroom: float = 0.1) -> Metric:
    """Normalised symmetric relevance gain: the gain of `srg` divided by its headroom.

    Headroom is the fall of the probability from the original to the fully removed image: without the division, unequal
    confidence looks like a gap between groups. The mean over the imputers with enough headroom is clipped to ±1.5.

    Args:
        imputers: the mean over these; at least half of them, and at least one, must have headroom.
        points: fractions removed, evenly from 0 to 1, at least 3.
        min_headroom: smallest fall that counts, above 0.
    """
    if not min_headroom > 0:
        raise BadParameter(f"nsrg: min_headroom must be above 0, got {min_headroom}.")
    pairs = _curve_pairs(imputers, points)

    def score(curves: Curves) -> Tensor:
        gain = torch.stack([_symmetric_gain(curves, pair) for pair in pairs])
        headroom = torch.stack([curves[mif].y[:, 0] - curves[mif].y[:, -1] for mif, _ in pairs])
        is_enough = headroom >= min_headroom
        shares = torch.where(is_enough, gain / headroom.where(is_enough, torch.ones_like(headroom)), 0.0)
        count = is_enough.sum(0)
        mean = shares.sum(0) / count.clamp_min(1)
        return torch.where(count * 2 >= len(pairs), mean.clamp(-1.5, 1.5), torch.nan)

    return SweepMetric(tuple(curve for pair in pairs for curve in pair), score)


@metric(
    "abpc",
    source="Samek et al. 2017, appendix, arXiv 1509.06321",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
)
def abpc(imputer: str = "mean", points: int = DEFAULT_POINTS) -> Metric:
    """Area between the perturbation curves: mean over all points of the probability under LIF minus that under MIF.

    It is the `aopc` of MIF minus that of LIF. At both ends the curves meet, so where the points are evenly spaced it is
    (points − 1) / points of the `srg` of this one imputer.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3.

    Differs: the probability, not the score before the softmax; the mean colour, not noise.
    """
    return _mean_gap_metric(_curve_pair(imputer, even_fractions(points)))


@metric(
    "road_gap",
    source="Rong et al. 2022 (ROAD), arXiv 2202.00449; protocol F2",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
)
def road_gap(imputer: str = "linear", points: int = DEFAULT_POINTS) -> Metric:
    """ROAD: mean over 10 to 90 % removed of the target's probability under LIF minus that under MIF, noisily imputed.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3; the mean leaves out both ends.

    Differs: cells, not pixels; the probability of each image, not the accuracy over images: for that see
    `road_accuracy`.
    """
    return _mean_gap_metric(_curve_pair(imputer, even_fractions(points)[1:-1]))


# Predicted class.


@metric(
    "road_accuracy",
    source="Rong et al. 2022 (ROAD), section 5, arXiv 2202.00449",
    category="faithfulness",
    higher_is_better=False,
    range=(0, 1),
    needs={"forward"},
)
def road_accuracy(imputer: str = "linear", points: int = DEFAULT_POINTS) -> Metric:
    """ROAD: share of 10 to 90 % removed, most influential cells first, at which the target is the predicted class.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3; the mean leaves out both ends.

    Differs: cells, not pixels; the paper's target is the label, here it is the explained class. Quantus fails for a
    colour image with a map of one channel, and returns the accuracy of its first batch alone.
    """
    curve = Curve(imputer, "mif", even_fractions(points)[1:-1])
    return _single_curve_metric(curve, lambda values: _mean_over_points(values.top1))


@metric(
    "monotonicity_arya",
    source="Arya et al. 2019 (AIX360), arXiv 1909.03012",
    category="faithfulness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
)
def monotonicity_arya(imputer: str = "mean", points: int = DEFAULT_POINTS) -> Metric:
    """Indicator (1 or 0) that putting cells back, least influential first, never lowers the target's probability.

    Read backwards this is the curve of removing the most influential cells first. As in AIX360 the image with nothing
    put back yet does not count.

    Args:
        imputer: what cells show before they are put back.
        points: fractions, evenly from 0 to 1, at least 3; the more, the fewer maps pass.

    Differs: cells in 10 steps, not every feature by itself; falls below 0.00001 do not count; of tied maps the mean
    curve is read. Quantus never puts anything back, so there every map passes.
    """
    curve = Curve(imputer, "mif", even_fractions(points)[:-1])
    return _single_curve_metric(curve, lambda values: (values.y.diff(dim=1) <= MIN_RISE).all(1).float())


# Curves and their readings.


def _curve(imputer: str, order: Literal["mif", "lif"], points: int) -> Curve:
    return Curve(imputer, order, even_fractions(points))


def _curve_pair(imputer: str, fractions: tuple[float, ...], unit: CurveUnit = "cell") -> CurvePair:
    """The curves of MIF and LIF."""
    return Curve(imputer, "mif", fractions, unit), Curve(imputer, "lif", fractions, unit)


def _curve_pairs(imputers: Sequence[str], points: int, unit: CurveUnit = "cell") -> list[CurvePair]:
    """The curves of MIF and LIF of each imputer."""
    if isinstance(imputers, str) or not imputers:
        raise BadParameter(f"imputers must be a list of names, got {imputers!r}.")
    return [_curve_pair(name, even_fractions(points), unit) for name in imputers]


def _single_curve_metric(curve: Curve, score: Callable[[CurveValues], Tensor]) -> Metric:
    return SweepMetric((curve,), lambda curves: score(curves[curve]))


def _mean_gap_metric(pair: CurvePair) -> Metric:
    mif, lif = pair
    return SweepMetric(pair, lambda curves: _mean_over_points(curves[lif].y - curves[mif].y))


def _symmetric_gain(curves: Curves, pair: CurvePair) -> Tensor:
    mif, lif = pair
    return curves[lif].area() - curves[mif].area()


def _mean_over_points(values: Tensor) -> Tensor:
    """Mean over the curve's points, ``(B,S)`` -> ``(B,)``, in double."""
    return upcast(values).mean(1).float()


def share_of(part: Tensor, total: Tensor, min_total: float) -> Tensor:
    """``(B,)``: part / total; NaN where the total is below ``min_total``."""
    is_enough = total >= min_total
    return torch.where(is_enough, part / total.where(is_enough, torch.ones_like(total)), torch.nan)


def _fraction_removed(fraction_kept: float) -> float:
    """The fraction removed, free of binary noise, so that it is the same number as in other metrics' curves."""
    return round(1 - fraction_kept, 9)


def check_share(name: str, parameter: str, share: float) -> None:
    """Raises BadParameter for a value that is not a share in (0,1]."""
    if not 0 < share <= 1:
        raise BadParameter(f"{name}: {parameter} is a share in (0,1], got {share}.")
