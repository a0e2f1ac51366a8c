"""Does the map point where the truth was planted? Masses read a map's positive part, the others its order, by pixel.

It speaks of the explainer only where the model is known to use the region; elsewhere it describes.
"""

import torch
from torch import Tensor

from mavis.device import precise
from mavis.kinds import MapMetric, Metric
from mavis.maps import Maps
from mavis.registry import metric
from mavis.types import PART_CODES, Batch

_EMPTY = "the region is empty or covers the whole image"


@metric(
    "relevance_mass",
    source="Arras et al. 2022, equation 1, arXiv 2003.07258",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def relevance_mass() -> Metric:
    """Share of the map's positive mass that lies in the region.

    A map without positive mass has the chance value, the region's share of the image.
    """
    return MapMetric(lambda maps, batch: _mass(maps, _region(batch)))


@metric(
    "relevance_mass_skill",
    source="Arras et al. 2022; protocol L1",
    category="localisation",
    higher_is_better=True,
    range=(None, 1),
    chance=0.0,
    truth=True,
    undefined=_EMPTY,
)
def relevance_mass_skill() -> Metric:
    """Relevance mass beyond the region's share of the image, as a part of what is possible beyond it."""
    return MapMetric(lambda maps, batch: _beyond_area(_mass(maps, _region(batch)), _region(batch)))


@metric(
    "relevance_rank",
    source="Arras et al. 2022, equation 2, arXiv 2003.07258",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def relevance_rank() -> Metric:
    """Share of the K highest pixels that lie in the region, K the region's size; expectation over ties."""
    return MapMetric(lambda maps, batch: _rank(maps, _region(batch)))


@metric(
    "pointing_game",
    source="Zhang et al. 2018, section 4.1, arXiv 1608.00507",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def pointing_game() -> Metric:
    """Whether the map's maximum lies in the region; with several equal maxima, the share of them that does.

    Differs: no tolerance around the region (the paper allows 15 px on photographs).
    """

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region(batch)
        flat = maps.values.flatten(1)
        top = flat == flat.amax(1, keepdim=True)
        return _where_usable(region, (top & region).sum(1) / top.sum(1))

    return MapMetric(score)


@metric(
    "cue_mass",
    source="protocol S15; Adebayo et al. 2022",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined="the image carries no cue",
)
def cue_mass() -> Metric:
    """Share of the map's positive mass that lies on the injected cue.

    High on a model that uses the cue and low on one that does not is right; on one model alone it only describes.
    """

    def score(maps: Maps, batch: Batch) -> Tensor:
        parts = batch.parts if batch.parts is not None else torch.zeros_like(maps.values, dtype=torch.uint8)
        return _mass(maps, (parts == PART_CODES["cue"]).flatten(1))

    return MapMetric(score)


def _region(batch: Batch) -> Tensor:
    """``(B,H·W)`` bool; empty where the data have none."""
    if batch.regions is None:
        return torch.zeros_like(batch.images[:, 0], dtype=torch.bool).flatten(1)
    return batch.regions.flatten(1)


def _where_usable(region: Tensor, values: Tensor) -> Tensor:
    return torch.where(region.any(1) & ~region.all(1), values.float(), torch.nan)


def _mass(maps: Maps, region: Tensor) -> Tensor:
    positive = precise(maps.values.flatten(1).clamp_min(0))
    total = positive.sum(1)
    share = (positive * region).sum(1) / total.where(total > 0, torch.ones_like(total))
    return _where_usable(region, torch.where(total > 0, share, precise(region).mean(1)))


def _beyond_area(values: Tensor, region: Tensor) -> Tensor:
    area = region.float().mean(1)
    return (values - area) / (1 - area)


def _rank(maps: Maps, region: Tensor) -> Tensor:
    flat, size = maps.values.flatten(1), region.sum(1)
    threshold = maps.descending.gather(1, (size - 1).clamp_min(0)[:, None])
    above, tied = flat > threshold, flat == threshold
    room = size - above.sum(1)
    hits = (above & region).sum(1) + room * (tied & region).sum(1) / tied.sum(1)
    return _where_usable(region, hits / size.clamp_min(1))
