"""Localisation metrics: agreement of the map with a planted region, by pixel.

Mass metrics read a map's positive part, the remaining ones the order of its pixels. They judge the explainer only where
the model is known to use the region; elsewhere they are descriptive.
"""

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import MapMetric, Metric
from mavis.core.registry import metric
from mavis.core.types import PART_CODES, Batch

_UNDEFINED_REGION = "the region is empty or covers the whole image"


@metric(
    "relevance_mass",
    source="Arras et al. 2022, equation 1, arXiv 2003.07258",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def relevance_mass() -> Metric:
    """Share of the map's positive mass that lies in the region.

    A map without positive mass has the chance value, the region's share of the image.

    Differs: Quantus sums signed values, so its ratio can leave [0,1].
    """
    return MapMetric(lambda maps, batch: _relevance_mass(maps, _region_mask(batch)))


@metric(
    "relevance_mass_skill",
    source="Arras et al. 2022; protocol L1",
    category="localisation",
    higher_is_better=True,
    range=(None, 1),
    chance=0.0,
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def relevance_mass_skill() -> Metric:
    """Relevance mass corrected for area: (mass − share) / (1 − share), share the region's share of the image."""
    return MapMetric(
        lambda maps, batch: _correct_for_area(_relevance_mass(maps, _region_mask(batch)), _region_mask(batch))
    )


@metric(
    "attribution_localisation",
    source="Kohlbrenner et al. 2020, weighted inside-total relevance ratio, arXiv 1910.09840",
    category="localisation",
    higher_is_better=True,
    range=(0, None),
    chance=1.0,
    truth=True,
    undefined=f"{_UNDEFINED_REGION}, or more of it than max_size",
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
        region = _region_mask(batch)
        area = upcast(region).mean(1)
        return torch.where(area <= max_size, _relevance_mass(maps, region) / area, torch.nan).float()

    return MapMetric(score)


@metric(
    "relevance_rank",
    source="Arras et al. 2022, equation 2, arXiv 2003.07258",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def relevance_rank() -> Metric:
    """Share of the K highest pixels that lie in the region, K the region's size; expectation over ties.

    Differs: Quantus leaves ties to its sort, so a constant map scores by where the region is.
    """
    return MapMetric(lambda maps, batch: _relevance_rank(maps, _region_mask(batch)))


@metric(
    "relevance_rank_skill",
    source="Arras et al. 2022; protocol L2",
    category="localisation",
    higher_is_better=True,
    range=(None, 1),
    chance=0.0,
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def relevance_rank_skill() -> Metric:
    """Relevance rank corrected for area: (rank − share) / (1 − share), share the region's share of the image."""
    return MapMetric(
        lambda maps, batch: _correct_for_area(_relevance_rank(maps, _region_mask(batch)), _region_mask(batch))
    )


@metric(
    "region_iou",
    source="Jaccard 1912; protocol L4",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def region_iou() -> Metric:
    """Intersection over union of the region and the map's K highest pixels, K the region's size.

    With r the relevance rank it is r/(2 − r), so both rank one image's maps alike.

    Differs: of tied maps it is the value at the expected intersection, which is at most the expected value.
    """

    def score(maps: Maps, batch: Batch) -> Tensor:
        rank = _relevance_rank(maps, _region_mask(batch))
        return rank / (2 - rank)

    return MapMetric(score)


@metric(
    "top_k_intersection",
    source="Theiner et al. 2021, arXiv 2104.14995",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_UNDEFINED_REGION,
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
        region = _region_mask(batch)
        count = _n_top_pixels(k, region.shape[1])
        return _nan_without_region(region, _hits(maps, region, torch.full_like(maps.order[:, 0], count)) / count)

    return MapMetric(score)


@metric(
    "pixel_auroc",
    source="Fawcett 2006, section 7",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    chance=0.5,
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def pixel_auroc() -> Metric:
    """Area under the ROC curve: probability that a region's pixel is higher than one outside; a tie counts half."""

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region_mask(batch)
        inside = upcast(region.sum(1))
        outside = region.shape[1] - inside
        twice_rank = upcast(((maps.n_higher + maps.n_at_least) * _region_by_rank(maps, region)).sum(1))
        return _nan_without_region(region, 1 - (twice_rank - inside.square()) / (2 * inside * outside))

    return MapMetric(score)


@metric(
    "average_precision",
    source="Manning, Raghavan & Schütze 2008, section 8.4",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def average_precision() -> Metric:
    """Average precision: mean over the region's pixels of the region's share among all pixels at least as high.

    As scikit-learn defines it: one threshold per distinct value, no interpolation.
    """

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region_mask(batch)
        inside = _region_by_rank(maps, region)
        precision = upcast(_cumulative_count(inside).gather(1, maps.n_at_least)) / maps.n_at_least
        return _nan_without_region(region, (precision * inside).sum(1) / region.sum(1))

    return MapMetric(score)


@metric(
    "pointing_game",
    source="Zhang et al. 2018, section 4.1, arXiv 1608.00507",
    category="localisation",
    higher_is_better=True,
    range=(0, 1),
    truth=True,
    undefined=_UNDEFINED_REGION,
)
def pointing_game(tolerance: int = 0) -> Metric:
    """Indicator (1 or 0) that the map's maximum lies in the region; of several equal maxima, the share that does.

    Args:
        tolerance: cells of the run's grid by which a maximum may miss the region, up, down or sideways (Chebyshev
            distance): ``tolerance · H / grid`` pixels up or down, ``tolerance · W / grid`` sideways, halves to even.

    Differs: the paper allows 15 px on photographs, whatever their size. Quantus counts a hit where any of the equal
    maxima lies inside, so a constant map always hits, and takes an empty region for a hit.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, int) or tolerance < 0:
        raise BadParameter(f"pointing_game: tolerance is a whole number of cells, at least 0, got {tolerance!r}.")

    def score(maps: Maps, batch: Batch) -> Tensor:
        region = _region_mask(batch)
        flat = maps.values.flatten(1)
        top = flat == flat.amax(1, keepdim=True)
        return _nan_without_region(region, (top & _dilate(region, maps, tolerance)).sum(1) / top.sum(1))

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

    A correct explainer scores high on a model that uses the cue and low on one that does not; on one model alone the
    value is descriptive.
    """
    return MapMetric(lambda maps, batch: _relevance_mass(maps, _part_mask(batch, "cue")))


def _register_part_energy(part: str) -> None:
    """Registers ``part_energy_<part>``."""

    def part_energy() -> Metric:
        return MapMetric(lambda maps, batch: _relevance_mass(maps, _part_mask(batch, part)))

    part_energy.__doc__ = f"Share of the map's positive mass that lies on the part '{part}'; descriptive only."
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
        _register_part_energy(_name)


def _region_mask(batch: Batch) -> Tensor:
    """The planted region, ``(B,H·W)`` bool; empty where the data have none."""
    if batch.regions is None:
        return torch.zeros_like(batch.images[:, 0], dtype=torch.bool).flatten(1)
    return batch.regions.flatten(1)


def _part_mask(batch: Batch, part: str) -> Tensor:
    """The pixels of the part, ``(B,H·W)`` bool; empty where the data have no parts."""
    if batch.parts is None:
        return torch.zeros_like(batch.images[:, 0], dtype=torch.bool).flatten(1)
    return (batch.parts == PART_CODES[part]).flatten(1)


def _nan_without_region(region: Tensor, values: Tensor) -> Tensor:
    return torch.where(region.any(1) & ~region.all(1), values.float(), torch.nan)


def _relevance_mass(maps: Maps, region: Tensor) -> Tensor:
    total = maps.positive.sum(1)
    share = (maps.positive * region).sum(1) / total.where(total > 0, torch.ones_like(total))
    return _nan_without_region(region, torch.where(total > 0, share, upcast(region).mean(1)))


def _correct_for_area(values: Tensor, region: Tensor) -> Tensor:
    area = region.float().mean(1)
    return (values - area) / (1 - area)


def _relevance_rank(maps: Maps, region: Tensor) -> Tensor:
    size = region.sum(1)
    return _nan_without_region(region, _hits(maps, region, size) / size.clamp_min(1))


def _hits(maps: Maps, region: Tensor, counts: Tensor) -> Tensor:
    """Number of the ``counts (B,)`` highest pixels that lie in the region, expected over the orders of equal pixels.

    Pixels above the tie group of the last counted one are certain; of that group the remaining places are filled at
    random, so the expected number is proportional to the group's share in the region.
    """
    hits, last = _cumulative_count(_region_by_rank(maps, region)), (counts - 1).clamp_min(0)[:, None]
    above, upto = maps.n_higher.gather(1, last), maps.n_at_least.gather(1, last)
    certain = hits.gather(1, above)
    tied = hits.gather(1, upto) - certain
    return upcast(certain + (counts[:, None] - above) * upcast(tied) / (upto - above))[:, 0]


def _region_by_rank(maps: Maps, region: Tensor) -> Tensor:
    """``(B,H·W)`` bool: the region's pixels in the order of the map, from the highest on."""
    return region.gather(1, maps.order)


def _cumulative_count(inside: Tensor) -> Tensor:
    """``(B,n)`` bool -> ``(B,n+1)`` int64: number of true values among the first 0, 1 … n."""
    return torch.nn.functional.pad(inside.cumsum(1), (1, 0))


def _n_top_pixels(k: float, n_pixels: int) -> int:
    count = k if isinstance(k, int) else max(1, round(k * n_pixels))
    if count > n_pixels:
        raise BadParameter(f"top_k_intersection: k is at most the image's {n_pixels} pixels, got {k}; lower it.")
    return count


def _dilate(region: Tensor, maps: Maps, n_cells: int) -> Tensor:
    """The region ``(B,H·W)`` with all pixels at most ``n_cells`` cells away from it."""
    if not n_cells:
        return region
    rows, columns = (
        _band_matrix(side, round(n_cells * side / maps.grid), region.device) for side in maps.values.shape[-2:]
    )
    return ((rows @ region.view(maps.values.shape).float() @ columns) > 0).flatten(1)


def _band_matrix(side: int, distance: int, device: torch.device) -> Tensor:
    positions = torch.arange(side, device=device)
    return ((positions[:, None] - positions).abs() <= distance).float()
