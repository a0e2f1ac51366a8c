"""Axiomatic metrics: completeness and non-sensitivity, on raw map values, so that maps without sign or scale fail."""

from collections.abc import Mapping

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import MaskProbe, Metric, PartProbe, ProbeMetric, ProbeOutputs
from mavis.core.registry import metric
from mavis.metrics.faithfulness_correlation import single_cell_probe

OutputsByProbe = Mapping[MaskProbe | PartProbe, ProbeOutputs]


@metric(
    "completeness",
    source="Sundararajan et al. 2017, section 3 (completeness), arXiv 1703.01365",
    category="axioms",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
)
def completeness(imputer: str = "mean", eps: float = 0.01) -> Metric:
    """Relative error of the map's sum as the fall of the target logit from the image to the empty image.

    A map that is zero, or not finite, has 1.

    Args:
        imputer: what the empty image shows; for a method with a baseline it should be that baseline.
        eps: smallest fall to divide by, in logits, above 0.

    Differs: the paper states an equality. Quantus tests it exactly, after dividing the map by its maximum, so that
    exact attributions fail; and of a colour image it removes only as many values as the map has.
    """
    if not eps > 0:
        raise BadParameter(f"completeness: eps must be above 0, got {eps!r}.")
    probe = MaskProbe("everything", imputer, lambda _, cells: torch.ones((1, cells), dtype=torch.bool))

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        fall = upcast(outputs[probe].drops[:, 0])
        error = (upcast(maps.values).sum((1, 2)) - fall).abs()
        return (error / fall.abs().clamp_min(eps)).float()

    return ProbeMetric((probe,), score)


@metric(
    "non_sensitivity",
    source="Nguyen & Martínez 2020 (non-sensitivity), arXiv 2007.07584",
    category="axioms",
    higher_is_better=False,
    range=(0, 1),
    needs={"forward"},
)
def non_sensitivity(imputer: str = "mean", eps: float = 1e-3) -> Metric:
    """Share of cells to which either the map or the model, but not both, is indifferent.

    The map is indifferent where a cell's value is nearly 0, the model where removing the cell alone hardly changes the
    target logit.

    Args:
        imputer: what the removed cell shows.
        eps: largest value that counts as nearly 0, as a part of the largest absolute value of the image, in [0,1).

    Differs: a share, not a number of cells; one replacement stands for the expectation over all, so a cell that looks
    like what replaces it counts as indifferent. Quantus compares both sides with one absolute number.
    """
    if not 0 <= eps < 1:
        raise BadParameter(f"non_sensitivity: eps is a part of the largest value in [0,1), got {eps!r}.")
    probe = single_cell_probe(imputer)

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        differ = _is_near_zero(maps.cells, eps) != _is_near_zero(outputs[probe].drops, eps)
        return upcast(differ).mean(1).float()

    return ProbeMetric((probe,), score)


def _is_near_zero(values: Tensor, eps: float) -> Tensor:
    """``(B,n)`` bool: values of at most a part ``eps`` of the image's largest; all values of an image of zeros."""
    size = upcast(values.abs())
    return size <= eps * size.amax(1, keepdim=True)
