"""How few cells does the map speak of? Read on absolute cell values; a constant map has the worst value."""

import torch
from torch import Tensor

from mavis.device import precise
from mavis.kinds import MapMetric, Metric
from mavis.maps import Maps
from mavis.registry import metric


@metric(
    "gini",
    source="Chalasani et al. 2020, section 4, arXiv 1810.06583",
    category="complexity",
    higher_is_better=True,
    range=(0, 1),
    chance=None,
)
def gini() -> Metric:
    """Gini index of the absolute cell values: 0 for a constant map, (n−1)/n when one cell has everything."""

    def score(maps: Maps, _: object) -> Tensor:
        ordered = precise(maps.ascending_magnitude)
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
        magnitude = precise(maps.ascending_magnitude)
        total = magnitude.sum(1, keepdim=True)
        shares = magnitude / total.where(total > 0, torch.ones_like(total))
        bits = torch.special.entr(shares).sum(1) / torch.log(torch.tensor(float(magnitude.shape[1])))
        return torch.where(total[:, 0] > 0, bits, 1.0).float()

    return MapMetric(score)
