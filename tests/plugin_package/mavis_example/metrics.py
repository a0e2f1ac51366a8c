"""A metric that reads the map only."""

import torch
from torch import Tensor

from mavis import BadParameter, Batch, MapMetric, Maps, metric


@metric("top_share", source="docs/extending.md", category="complexity", higher_is_better=True, range=(0, 1))
def top_share(fraction: float = 0.125) -> MapMetric:
    """Share of the map's absolute mass that its strongest cells hold; a constant map has the fraction itself."""
    if not 0 < fraction < 1:
        raise BadParameter(f"top_share: expected 0 < fraction < 1, got {fraction}.")

    def score(maps: Maps, batch: Batch) -> Tensor:
        ordered = maps.ascending_magnitude.double()  # (B,n), cells
        total, most = ordered.sum(1), round((1 - fraction) * ordered.shape[1])
        return torch.where(total > 0, ordered[:, most:].sum(1) / total, fraction).float()

    return MapMetric(score)
