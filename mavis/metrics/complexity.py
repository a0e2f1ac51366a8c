"""Complexity metrics: concentration of the map on few cells, on absolute values; a constant map is worst."""

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import MapMetric, Metric
from mavis.core.registry import metric


@metric(
    "gini",
    source="Chalasani et al. 2020, section 4, arXiv 1810.06583",
    category="complexity",
    higher_is_better=True,
    range=(0, 1),
    chance=None,
)
def gini() -> Metric:
    """Gini index of the absolute cell values: 0 for a constant map, (n−1)/n for a map with a single cell.

    Differs: Quantus adds 1e-7 to every value, which flattens faint maps.
    """

    def score(maps: Maps, _: object) -> Tensor:
        ordered = upcast(maps.ascending_magnitude)
        n = ordered.shape[1]
        weights = 2 * torch.arange(1, n + 1, device=ordered.device) - n - 1
        total = ordered.sum(1)
        share = (ordered * weights).sum(1) / (n * total.where(total > 0, torch.ones_like(total)))
        return torch.where(total > 0, share, 0.0).float()

    return MapMetric(score)


@metric(
    "entropy",
    source="Bhatt et al. 2020, section 3.3, arXiv 2005.00631",
    category="complexity",
    higher_is_better=False,
    range=(0, 1),
)
def entropy() -> Metric:
    """Entropy of the absolute cell values taken as shares, divided by that of a constant map (ln n).

    Differs: Bhatt et al. do not divide by ln n.
    """

    def score(maps: Maps, _: object) -> Tensor:
        magnitude = upcast(maps.ascending_magnitude)
        total = magnitude.sum(1, keepdim=True)
        shares = magnitude / total.where(total > 0, torch.ones_like(total))
        bits = torch.special.entr(shares).sum(1) / torch.log(torch.tensor(float(magnitude.shape[1])))
        return torch.where(total[:, 0] > 0, bits, 1.0).float()

    return MapMetric(score)


@metric(
    "hoyer",
    source="Hoyer 2004; Hurley & Rickard 2009, table I, arXiv 0811.4706",
    category="complexity",
    higher_is_better=True,
    range=(0, 1),
)
def hoyer() -> Metric:
    """Hoyer's sparseness (√n − l1/l2)/(√n − 1) of the cell values: 0 for a constant map, 1 for a single cell."""

    def score(maps: Maps, _: object) -> Tensor:
        magnitude = upcast(maps.ascending_magnitude)
        largest = magnitude[:, -1:]  # divided by it, the squares do not underflow on a device without doubles
        shares = magnitude / largest.where(largest > 0, torch.ones_like(largest))
        root = magnitude.shape[1] ** 0.5
        sparseness = (root - shares.sum(1) / shares.square().sum(1).sqrt()) / (root - 1)
        return torch.where(largest[:, 0] > 0, sparseness.clamp(0, 1), 0.0).float()

    return MapMetric(score)


@metric(
    "effective_complexity",
    source="Nguyen & Martínez 2020, arXiv 2007.07584; protocol C2",
    category="complexity",
    higher_is_better=False,
    range=(0, 1),
)
def effective_complexity(threshold: float = 1e-5) -> Metric:
    """Share of cells whose absolute value is above a small part of the largest one.

    Args:
        threshold: that part, in [0,1).

    Differs: the paper counts the features that are needed to preserve the model's output. Quantus counts pixels above a
    value after all maps of a call are divided by their common maximum, so that one strong map lowers the counts of the
    rest.
    """
    if not 0 <= threshold < 1:
        raise BadParameter(f"effective_complexity: threshold is a part of the maximum in [0,1), got {threshold}.")

    def score(maps: Maps, _: object) -> Tensor:
        magnitude = upcast(maps.ascending_magnitude)
        largest = magnitude[:, -1:]
        share = upcast(magnitude > threshold * largest).mean(1)
        return torch.where(largest[:, 0] > 0, share, 1.0).float()

    return MapMetric(score)
