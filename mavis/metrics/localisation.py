"""Does the map point where the truth was planted? Masses read a map's positive part, the others its order, by pixel.

It speaks of the explainer only where the model is known to use the region; elsewhere it describes.
"""

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.devices import precise
from mavis.core.errors import BadParameter
from mavis.core.metric_types import MapMetric, Metric
from mavis.core.registry import metric
from mavis.core.types import PART_CODES, Batch

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

    Differs: Quantus sums signed values, so its ratio can leave [0,1].
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
    "attribution_localisation",
    source="Kohlbrenner et al. 2020, weighted inside-total relevance ratio, arXiv 1910.09840",
    category="localisation",
    higher_is_better=True,
    range=(0, None),
    chance=1.0,
    truth=True,
    undefined=f"{_EMPTY}, or more of it than max_size",
)
def attribution_localisation(max_size: float = 1.0) -> Metric:
    """Relevance mass over the region's share of the image: 1 for a uniform map, at most 1/share.

    Args:
        max_size: largest share of the image that a region may cover, in (0,1].

    Differs: without the weight it is `relevance_mass`. Quantus multiplies by the region's share where the paper
    divides, takes that share of the whole batch less its first two images, sums absolute values by default, and
    scores regions above ``max_size`` all the same.
    """
    if not 0 < max_size <= 1:
        raise BadParameter(f"attribution_localisation: max_size is a share of the image in (0,1], got {max_size}.")

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region(batch)
        area = precise(region).mean(1)
        return torch.where(area <= max_size, _mass(maps, region) / area, torch.nan).float()

    return MapMetric(score)


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
    """Share of the K highest pixels that lie in the region, K the region's size; expectation over ties.

    Differs: Quantus leaves ties to its sort, so a constant map scores by where the region is.
    """
    return MapMetric(lambda maps, batch: _rank(maps, _region(batch)))


@metric(
    "relevance_rank_skill",
    source="Arras et al. 2022; protocol L2",
    category="localisation",
    higher_is_better=True,
    range=(None, 1),
    chance=0.0,
    truth=True,
    undefined=_EMPTY,
)
def relevance_rank_skill() -> Metric:
    """Relevance rank beyond the region's share of the image, as a part of what is possible beyond it."""
    return MapMetric(lambda maps, batch: _beyond_area(_rank(maps, _region(batch)), _region(batch)))


@metric(
    "region_iou",
    source="Jaccard 1912; protocol L4",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def region_iou() -> Metric:
    """Intersection over union of the region and the map's K highest pixels, K the region's size.

    With r the relevance rank it is r/(2 − r), so one image's maps come in the same order under both.

    Differs: of tied maps it is the value at the expected intersection, which is at most the expected value.
    """

    def score(maps: Maps, batch: Batch) -> Tensor:
        rank = _rank(maps, _region(batch))
        return rank / (2 - rank)

    return MapMetric(score)


@metric(
    "top_k_intersection",
    source="Theiner et al. 2021, arXiv 2104.14995",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def top_k_intersection(k: float = 0.05) -> Metric:
    """Share of the k highest pixels that lie in the region; expectation over ties.

    Args:
        k: a whole number of pixels, at least 1, or a share of them in (0,1), rounded to at least one.

    Differs: the paper goes on to divide by the region's share of the image. Quantus takes 1000 pixels of images of
    any size and leaves ties to its sort.
    """
    if isinstance(k, bool) or not (k >= 1 if isinstance(k, int) else 0 < k < 1):
        raise BadParameter(
            f"top_k_intersection: k is a whole number of pixels, at least 1, or a share of them in (0,1), got {k!r}."
        )

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region(batch)
        count = _count(k, region.shape[1])
        return _where_usable(region, _hits(maps, region, torch.full_like(maps.order[:, 0], count)) / count)

    return MapMetric(score)


@metric(
    "pixel_auroc",
    source="Fawcett 2006, section 7",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    chance=0.5,
    truth=True,
    undefined=_EMPTY,
)
def pixel_auroc() -> Metric:
    """Chance that a pixel of the region is higher than one outside; a tie counts half."""

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region(batch)
        inside = precise(region.sum(1))
        outside = region.shape[1] - inside
        twice_rank = precise(((maps.above + maps.upto) * _in_order(maps, region)).sum(1))
        return _where_usable(region, 1 - (twice_rank - inside.square()) / (2 * inside * outside))

    return MapMetric(score)


@metric(
    "average_precision",
    source="Manning, Raghavan & Schütze 2008, section 8.4",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def average_precision() -> Metric:
    """Mean over the region's pixels of the region's share among all pixels that are at least as high.

    As scikit-learn defines it: one threshold per distinct value, no interpolation.
    """

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region(batch)
        inside = _in_order(maps, region)
        precision = precise(_counted(inside).gather(1, maps.upto)) / maps.upto
        return _where_usable(region, (precision * inside).sum(1) / region.sum(1))

    return MapMetric(score)


@metric(
    "pointing_game",
    source="Zhang et al. 2018, section 4.1, arXiv 1608.00507",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_EMPTY,
)
def pointing_game(tolerance: int = 0) -> Metric:
    """Whether the map's maximum lies in the region; with several equal maxima, the share of them that does.

    Args:
        tolerance: cells of the run's grid by which a maximum may miss the region, up, down or sideways (Chebyshev
            distance): ``tolerance · H / grid`` pixels up or down, ``tolerance · W / grid`` sideways, halves to even.

    Differs: the paper allows 15 px on photographs, whatever their size. Quantus counts a hit where any of the equal
    maxima lies inside, so a constant map always hits, and takes an empty region for a hit.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, int) or tolerance < 0:
        raise BadParameter(f"pointing_game: tolerance is a whole number of cells, at least 0, got {tolerance!r}.")

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region(batch)
        flat = maps.values.flatten(1)
        top = flat == flat.amax(1, keepdim=True)
        return _where_usable(region, (top & _widened(region, maps, tolerance)).sum(1) / top.sum(1))

    return MapMetric(score)


@metric(
    "cue_mass",
    source="protocol S15; Adebayo et al. 2022",
    category="localisation",
    higher_is_better=None,
    range=(0, 1),
    truth=True,
    undefined="the image carries no cue",
)
def cue_mass() -> Metric:
    """Share of the map's positive mass that lies on the injected cue.

    High on a model that uses the cue and low on one that does not is right; on one model alone it only describes.
    """
    return MapMetric(lambda maps, batch: _mass(maps, _part(batch, "cue")))


def _describe(part: str) -> None:
    """Registers ``part_energy_<part>``."""

    def part_energy() -> Metric:
        return MapMetric(lambda maps, batch: _mass(maps, _part(batch, part)))

    part_energy.__doc__ = f"Share of the map's positive mass that lies on the part '{part}'; it only describes."
    metric(
        f"part_energy_{part}",
        source="Wang et al. 2020, energy-based pointing game, arXiv 1910.01279; Sarridis et al. 2024, arXiv 2412.07313",
        category="localisation",
        higher_is_better=None,
        range=(0, 1),
        truth=True,
        undefined=f"the image shows no {part}, or nothing else",
    )(part_energy)


for _name in PART_CODES:
    if _name != "cue":
        _describe(_name)


def _region(batch: Batch) -> Tensor:
    """``(B,H·W)`` bool; empty where the data have none."""
    if batch.regions is None:
        return torch.zeros_like(batch.images[:, 0], dtype=torch.bool).flatten(1)
    return batch.regions.flatten(1)


def _part(batch: Batch, part: str) -> Tensor:
    """``(B,H·W)`` bool, where the part is; empty where the data have no parts."""
    if batch.parts is None:
        return torch.zeros_like(batch.images[:, 0], dtype=torch.bool).flatten(1)
    return (batch.parts == PART_CODES[part]).flatten(1)


def _where_usable(region: Tensor, values: Tensor) -> Tensor:
    return torch.where(region.any(1) & ~region.all(1), values.float(), torch.nan)


def _mass(maps: Maps, region: Tensor) -> Tensor:
    total = maps.positive.sum(1)
    share = (maps.positive * region).sum(1) / total.where(total > 0, torch.ones_like(total))
    return _where_usable(region, torch.where(total > 0, share, precise(region).mean(1)))


def _beyond_area(values: Tensor, region: Tensor) -> Tensor:
    area = region.float().mean(1)
    return (values - area) / (1 - area)


def _rank(maps: Maps, region: Tensor) -> Tensor:
    size = region.sum(1)
    return _where_usable(region, _hits(maps, region, size) / size.clamp_min(1))


def _hits(maps: Maps, region: Tensor, counts: Tensor) -> Tensor:
    """How many of the ``counts (B,)`` highest pixels lie in the region, expected over the orders of equal pixels."""
    hits, last = _counted(_in_order(maps, region)), (counts - 1).clamp_min(0)[:, None]
    above, upto = maps.above.gather(1, last), maps.upto.gather(1, last)
    sure = hits.gather(1, above)
    tied = hits.gather(1, upto) - sure
    return precise(sure + (counts[:, None] - above) * precise(tied) / (upto - above))[:, 0]


def _in_order(maps: Maps, region: Tensor) -> Tensor:
    """``(B,H·W)`` bool, whether the pixel at each place, from the highest on, lies in the region."""
    return region.gather(1, maps.order)


def _counted(inside: Tensor) -> Tensor:
    """``(B,n)`` bool -> ``(B,n+1)`` int64: how many of the first 0, 1 … n are true."""
    return torch.nn.functional.pad(inside.cumsum(1), (1, 0))


def _count(k: float, pixels: int) -> int:
    count = k if isinstance(k, int) else max(1, round(k * pixels))
    if count > pixels:
        raise BadParameter(f"top_k_intersection: k is at most the image's {pixels} pixels, got {k}; lower it.")
    return count


def _widened(region: Tensor, maps: Maps, cells: int) -> Tensor:
    """The region ``(B,H·W)`` with all pixels at most so many cells away from it."""
    if not cells:
        return region
    rows, columns = (_near(side, round(cells * side / maps.grid), region.device) for side in maps.values.shape[-2:])
    return ((rows @ region.view(maps.values.shape).float() @ columns) > 0).flatten(1)


def _near(side: int, distance: int, device: torch.device) -> Tensor:
    place = torch.arange(side, device=device)
    return ((place[:, None] - place).abs() <= distance).float()
