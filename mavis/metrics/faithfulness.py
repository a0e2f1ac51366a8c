"""Does the map order the image by what the model uses? Cells are removed in the order of the map."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mavis.errors import BadParameter
from mavis.kinds import Answers, Curve, CurveValues, Metric, Probe, ProbeMetric, SweepMetric
from mavis.maps import Maps, spearman
from mavis.passes import Pass
from mavis.registry import metric

IMPUTERS = ("mean", "blur")
POINTS = 11


@metric(
    "deletion",
    source="Petsiuk et al. 2018, section 4.2, arXiv 1806.07421",
    category="faithfulness",
    higher_is_better=False,
    range=(0, 1),
    needs={"forward"},
)
def deletion(imputer: str = "mean", points: int = POINTS) -> Metric:
    """Area under the target's probability while the most influential cells are removed first.

    Args:
        imputer: what removed cells show.
        points: fractions removed, evenly from 0 to 1, at least 3.

    Differs: removed cells show the data set's mean colour, not black.
    """
    curve = _curve(imputer, "mif", points)
    return SweepMetric((curve,), lambda curves: curves[curve].area())


@metric(
    "insertion",
    source="Petsiuk et al. 2018, section 4.2, arXiv 1806.07421",
    category="faithfulness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
)
def insertion(imputer: str = "blur", points: int = POINTS) -> Metric:
    """Area under the target's probability while the most influential cells are put back first.

    To put the most influential cells back is to remove the least influential ones in reverse, so this is the area
    under that curve.

    Args:
        imputer: what cells show before they are put back.
        points: fractions put back, evenly from 0 to 1, at least 3.
    """
    curve = _curve(imputer, "lif", points)
    return SweepMetric((curve,), lambda curves: curves[curve].area())


@metric(
    "srg",
    source="Blücher et al. 2024, section 3, arXiv 2401.06654",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
)
def srg(imputers: Sequence[str] = IMPUTERS, points: int = POINTS) -> Metric:
    """Symmetric relevance gain: area with the least influential removed first minus that with the most influential.

    A random order scores 0 in expectation whatever the model.

    Args:
        imputers: the mean over these.
        points: fractions removed, evenly from 0 to 1, at least 3.

    Differs: cells of a regular grid, not superpixels.
    """
    pairs = _pairs(imputers, points)

    def score(curves: Mapping[Curve, CurveValues]) -> Tensor:
        return torch.stack([_gain(curves, pair) for pair in pairs]).mean(0)

    return SweepMetric(tuple(curve for pair in pairs for curve in pair), score)


@metric(
    "nsrg",
    source="Blücher et al. 2024, arXiv 2401.06654; headroom: protocol F1",
    category="faithfulness",
    higher_is_better=True,
    range=(-1.5, 1.5),
    chance=0.0,
    needs={"forward"},
    undefined="removing everything changes the target's probability too little (headroom) to share out",
)
def nsrg(imputers: Sequence[str] = IMPUTERS, points: int = POINTS, min_headroom: float = 0.1) -> Metric:
    """Symmetric relevance gain as a share of its headroom, so that unequal confidence does not look like a gap.

    Each imputer's gain is divided by the fall of the probability from the whole to the fully removed image; the mean
    over the imputers with enough headroom is clipped to ±1.5.

    Args:
        imputers: the mean over these; at least half of them, and at least one, must have headroom.
        points: fractions removed, evenly from 0 to 1, at least 3.
        min_headroom: smallest fall that counts, above 0.
    """
    if not min_headroom > 0:
        raise BadParameter(f"nsrg: min_headroom must be above 0, got {min_headroom}.")
    pairs = _pairs(imputers, points)

    def score(curves: Mapping[Curve, CurveValues]) -> Tensor:
        gain = torch.stack([_gain(curves, pair) for pair in pairs])
        headroom = torch.stack([curves[most].y[:, 0] - curves[most].y[:, -1] for most, _ in pairs])
        enough = headroom >= min_headroom
        shares = torch.where(enough, gain / headroom.where(enough, torch.ones_like(headroom)), 0.0)
        count = enough.sum(0)
        mean = shares.sum(0) / count.clamp_min(1)
        return torch.where(count * 2 >= len(pairs), mean.clamp(-1.5, 1.5), torch.nan)

    return SweepMetric(tuple(curve for pair in pairs for curve in pair), score)


@metric(
    "single_deletion",
    source="Hesse et al. 2024 (IDSDS), section 3, arXiv 2407.11910",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
    undefined="the map or the model's answers do not vary over the cells",
)
def single_deletion(imputer: str = "mean") -> Metric:
    """Spearman correlation between a cell's value and the fall of the target logit when that cell alone is removed.

    Args:
        imputer: what the removed cell shows.

    Differs: the model is not fine-tuned on images with removed cells; the shipped ones have seen them in training.
    A constant map has chance value, 0.
    """

    def each_alone(_: Pass, cells: int) -> Tensor:
        return torch.eye(cells, dtype=torch.bool)

    def score(maps: Maps, answers: Answers) -> Tensor:
        return torch.where(maps.valid, spearman(maps.cells, answers.drops), 0.0)

    return ProbeMetric(Probe("each cell alone", imputer, each_alone), score)


def _curve(imputer: str, order: str, points: int) -> Curve:
    if points < 3:
        raise BadParameter(f"A curve needs at least 3 points, got {points}.")
    return Curve(imputer, "mif" if order == "mif" else "lif", points)


def _pairs(imputers: Sequence[str], points: int) -> list[tuple[Curve, Curve]]:
    """Most and least influential first, per imputer."""
    if isinstance(imputers, str) or not imputers:
        raise BadParameter(f"imputers must be a list of names, got {imputers!r}.")
    return [(_curve(name, "mif", points), _curve(name, "lif", points)) for name in imputers]


def _gain(curves: Mapping[Curve, CurveValues], pair: tuple[Curve, Curve]) -> Tensor:
    most, least = pair
    return curves[least].area() - curves[most].area()
