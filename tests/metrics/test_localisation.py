"""Localisation scores of uniform, one-hot, half-in and tied maps, by hand and by brute force."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from quantus.metrics.localisation.attribution_localisation import AttributionLocalisation
from quantus.metrics.localisation.auc import AUC
from quantus.metrics.localisation.pointing_game import PointingGame
from quantus.metrics.localisation.relevance_mass_accuracy import RelevanceMassAccuracy
from quantus.metrics.localisation.relevance_rank_accuracy import RelevanceRankAccuracy
from quantus.metrics.localisation.top_k_intersection import TopKIntersection
from scipy.ndimage import distance_transform_cdt
from sklearn.metrics import average_precision_score, jaccard_score, roc_auc_score
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.errors import BadParameter
from mavis.core.registry import metrics
from mavis.core.types import PART_CODES

from ..toys import Pooled, make_batch

REGION = torch.zeros(4, 4, dtype=torch.bool)
REGION[:2, :2] = True
"""The upper left quarter: area 1/4."""

SCORES = ("relevance_mass", "relevance_rank", "pointing_game")
SKILLS = ("relevance_mass_skill", "relevance_rank_skill")
CURVES = ("pixel_auroc", "average_precision")
ALL = (*SCORES, *SKILLS, *CURVES, "region_iou", "top_k_intersection", "attribution_localisation")
CHANCE = {**dict.fromkeys(SKILLS, 0.0), "pixel_auroc": 0.5, "region_iou": 1 / 7, "attribution_localisation": 1.0}
"""What a constant map scores in the region of area 1/4, where that is not 1/4: the last two are a/(2 − a) and 1."""


def of(
    name: str,
    values: Tensor,
    regions: Tensor | None = REGION,
    parts: Tensor | None = None,
    grid: int = 2,
    **params: object,
) -> Tensor:
    """Scores of maps ``(B,H,W)`` or of one map ``(H,W)``."""
    values = values if values.dim() == 3 else values[None]
    shape = values.shape
    truth = {
        "regions": None if regions is None else regions.expand(shape),
        "parts": None if parts is None else parts.expand(shape),
    }
    batch = make_batch(torch.zeros(shape[0], 3, *shape[1:]), **truth)
    result: Tensor = metrics[name].create(params).score(Maps.from_values(values, grid), batch)
    return result


def hot(*pixels: tuple[int, int]) -> Tensor:
    values = torch.zeros(4, 4)
    for row, column in pixels:
        values[row, column] = 1
    return values


def highest(inside: int) -> Tensor:
    """A map without ties, so many of whose 4 highest pixels lie in `REGION`."""
    values = -torch.arange(16.0).view(4, 4)
    values[REGION] += torch.tensor([100.0 * (i < inside) for i in range(4)])
    values[~REGION] += torch.tensor([100.0 * (i < 4 - inside) for i in range(12)])
    return values


def random_maps(count: int, size: int = 4) -> Tensor:
    return torch.randn((count, size, size), generator=torch.Generator().manual_seed(0))


def random_regions(count: int, size: int) -> Tensor:
    """Regions of all sizes, scattered, none empty or full."""
    stream = torch.Generator().manual_seed(1)
    return torch.rand((count, size, size), generator=stream) < torch.linspace(0.05, 0.95, count)[:, None, None]


# Closed forms.


@pytest.mark.parametrize("name", SCORES)
def test_one_pixel_inside_or_outside(name: str) -> None:
    """All on one pixel: inside it scores 1 (rank: 1 of 4, the three ties over 15 pixels of which 3 are inside)."""
    ties = 3 * 3 / 15
    expected = {"relevance_rank": ((1 + ties) / 4, 3 * 4 / 15 / 4)}.get(name, (1.0, 0.0))
    assert of(name, hot((1, 1))).item() == pytest.approx(expected[0])
    assert of(name, hot((2, 1))).item() == pytest.approx(expected[1])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [1.0, 0.3, 0.0, -0.3])
def test_a_constant_map_scores_chance(name: str, value: float) -> None:
    """Without information the value is the analytic one of chance, mostly the region's area, whatever the constant."""
    assert of(name, torch.full((4, 4), value)).item() == pytest.approx(CHANCE.get(name, 0.25))


def test_half_of_the_mass_inside() -> None:
    """Two equal pixels, one inside: half of the mass, a half in the pointing game."""
    values = hot((0, 0), (3, 3))
    assert of("relevance_mass", values).item() == pytest.approx(0.5)
    assert of("pointing_game", values).item() == pytest.approx(0.5)


@pytest.mark.parametrize(("inside", "expected"), [(1.0, 1.0), (0.25, 0.0), (0.5, 1 / 3), (0.0, -1 / 3)])
def test_skill_is_what_lies_beyond_the_area(inside: float, expected: float) -> None:
    """(share − 1/4)/(3/4): 1 for all inside, 0 for a uniform map, −1/3 for all outside."""
    values = torch.where(REGION, inside / 4, (1 - inside) / 12)
    assert of("relevance_mass_skill", values).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("inside", "expected"), [(4, 1.0), (2, 1 / 3), (1, 0.0), (0, -1 / 3)])
def test_rank_skill_is_what_lies_beyond_the_area(inside: int, expected: float) -> None:
    """With i of the 4 highest pixels inside it is (i/4 − 1/4)/(3/4)."""
    assert of("relevance_rank_skill", highest(inside)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("inside", "expected"), [(4, 1.0), (3, 3 / 5), (1, 1 / 7), (0, 0.0)])
def test_iou_divides_by_the_union(inside: int, expected: float) -> None:
    """Two sets of 4 pixels with i in common cover 8 − i."""
    assert of("region_iou", highest(inside)).item() == pytest.approx(expected)


@pytest.mark.parametrize(("k", "expected"), [(1, 0.0), (2, 1 / 2), (4, 3 / 4), (8, 4 / 8), (0.25, 3 / 4), (0.01, 0.0)])
def test_top_k_takes_pixels_or_a_share_of_them(k: float, expected: float) -> None:
    """Of the falling pixels out, in, in, in, in, out … the first k count: a whole number, or a share, one at least."""
    values = REGION.float() - torch.arange(16.0).view(4, 4) / 100
    values[3, 3] = 2
    assert of("top_k_intersection", values, k=k).item() == pytest.approx(expected)


def test_top_k_is_a_twentieth_by_default() -> None:
    """Of 400 pixels the 20 highest count."""
    values = torch.arange(400.0).view(20, 20)
    region = values >= 390
    assert of("top_k_intersection", values, region).item() == pytest.approx(10 / 20)


def test_attribution_localisation_is_the_density_inside_over_the_mean() -> None:
    """Half of the mass on a quarter of the image is twice the mean density; all of it four times; none zero."""
    values = torch.stack([hot((0, 0), (3, 3)), hot((0, 0)), hot((3, 3))])
    assert of("attribution_localisation", values).tolist() == pytest.approx([2, 4, 0])


def test_attribution_localisation_leaves_out_large_regions() -> None:
    """A region above the largest size has no value, one of just that size has."""
    assert of("attribution_localisation", REGION.float(), max_size=0.24).isnan()
    assert of("attribution_localisation", REGION.float(), max_size=0.25).item() == pytest.approx(4)


@pytest.mark.parametrize(("pixel", "auroc", "precision"), [((0, 0), 11 / 12, 4 / 5), ((3, 3), 1.0, 1.0)])
def test_one_pixel_outside_may_be_above_the_region(pixel: tuple[int, int], auroc: float, precision: float) -> None:
    """Below one of 12 pixels outside, 11/12 of pairs are right and the precision at the tied four is 4 of 5."""
    values = torch.where(REGION.flip(0).flip(1), 1.0, 0.0)
    values[pixel] = 2
    assert of("pixel_auroc", values, REGION.flip(0).flip(1)).item() == pytest.approx(auroc)
    assert of("average_precision", values, REGION.flip(0).flip(1)).item() == pytest.approx(precision)


def test_the_region_as_a_map_is_perfect() -> None:
    """The oracle scores the highest value there is: 1, and 1/area where that is the unit."""
    for name in ALL:
        best = 4 if name == "attribution_localisation" else 1
        assert of(name, REGION.float()).item() == pytest.approx(best)


def test_the_region_s_opposite_is_worst() -> None:
    """The anti-oracle scores 0; skills −1/3; of 16 pixels the average precision is the area."""
    worst = {**dict.fromkeys(SKILLS, -1 / 3), "average_precision": 1 / 4}
    for name in ALL:
        assert of(name, -REGION.float() + 1).item() == pytest.approx(worst.get(name, 0), abs=1e-6)


def test_rank_takes_as_many_pixels_as_the_region_has() -> None:
    """K is the region's size: with 3 of the 4 highest inside it is 3/4, whatever lies below."""
    values = torch.arange(16.0).view(4, 4) / 100
    values[0, 0], values[0, 1], values[1, 0], values[3, 0] = 9, 8, 7, 6
    assert of("relevance_rank", values).item() == pytest.approx(0.75)


# Signs.


def test_negative_values_are_no_mass() -> None:
    """A map of +2 inside, −1 and +2 outside has half of its positive mass inside, where signed sums would give 2/3."""
    values = hot((0, 0)) * 2 - hot((3, 3)) + hot((2, 2)) * 2
    assert of("relevance_mass", values).item() == pytest.approx(0.5)


def test_signed_maps_stay_in_range() -> None:
    """Whatever the signs, all scores lie in [0,1], the skill in [−1/3,1]."""
    values = torch.cat([random_maps(50), -random_maps(50).abs()])
    for name in ALL:
        low, high = (-1 / 3 - 1e-6 if name in SKILLS else 0, 4 if name == "attribution_localisation" else 1)
        scores = of(name, values)
        assert ((scores >= low) & (scores <= high)).all(), name


def test_a_map_without_positive_mass_scores_chance() -> None:
    """Zero or negative everywhere: the region's area, and no skill."""
    values = torch.stack([torch.zeros(4, 4), -torch.rand(4, 4)])
    torch.testing.assert_close(of("relevance_mass", values), torch.full((2,), 0.25))
    torch.testing.assert_close(of("relevance_mass_skill", values), torch.zeros(2))


def test_a_map_that_is_not_finite_scores_chance() -> None:
    """NaN anywhere: the value of a constant map in every score, so that failing never pays."""
    values = REGION.float()
    values[3, 3] = torch.nan
    for name in ALL:
        assert of(name, values).item() == pytest.approx(CHANCE.get(name, 0.25))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_does_not_matter(scale: float) -> None:
    """The scores of a map times any positive number are the map's."""
    values = random_maps(5)
    for name in ALL:
        torch.testing.assert_close(of(name, values * scale), of(name, values))


# Ties.


def tied_maps() -> list[Tensor]:
    """Maps of 2 × 3 pixels with values 0, 1, 2, one for each ninth combination."""
    return [torch.tensor(c, dtype=torch.float32).view(2, 3) for c in list(itertools.product((0, 1, 2), repeat=6))[::9]]


def orders_of(values: Tensor) -> np.ndarray:
    """Those of the 720 orders of 6 pixels that agree with the map."""
    orders = np.array(list(itertools.permutations(range(6))))
    return orders[(np.diff(values.flatten().numpy()[orders], axis=1) <= 0).all(1)]


@pytest.mark.parametrize("inside", [1, 2, 4])
def test_rank_pointing_and_top_k_are_expectations_over_ties(inside: int) -> None:
    """All orders of 6 pixels that agree with the map, averaged, give the score."""
    region = (torch.arange(6) < inside).view(2, 3)
    flat = region.flatten().numpy()
    for values in tied_maps():
        valid = orders_of(values)
        assert of("relevance_rank", values, region).item() == pytest.approx(flat[valid[:, :inside]].mean(), abs=1e-6)
        assert of("pointing_game", values, region).item() == pytest.approx(flat[valid[:, 0]].mean(), abs=1e-6)
        for k in (1, 3, 5, 6):
            top = of("top_k_intersection", values, region, k=k).item()
            assert top == pytest.approx(flat[valid[:, :k]].mean(), abs=1e-6)


def test_iou_of_ties_is_that_of_the_expected_intersection() -> None:
    """It is at most the mean over the orders that agree with the map, and that itself where nothing is tied."""
    region = (torch.arange(6) < 2).view(2, 3)
    for values in [*tied_maps(), torch.arange(6.0).view(2, 3), -torch.arange(6.0).view(2, 3)]:
        hits = region.flatten().numpy()[orders_of(values)[:, :2]].sum(1)
        iou = of("region_iou", values, region).item()
        assert iou == pytest.approx(hits.mean() / (4 - hits.mean()), abs=1e-6)
        assert iou <= (hits / (4 - hits)).mean() + 1e-6


@pytest.mark.parametrize("decimals", [0, 1, 6])
@pytest.mark.parametrize(
    ("name", "reference"), [("pixel_auroc", roc_auc_score), ("average_precision", average_precision_score)]
)
def test_curves_are_those_of_scikit_learn(name: str, reference: Callable[..., float], decimals: int) -> None:
    """With many ties, with few and with none, and with regions of all sizes."""
    values, regions = random_maps(60, 9).round(decimals=decimals), random_regions(60, 9)
    pairs = zip(regions.flatten(1).numpy(), values.flatten(1).numpy(), strict=True)
    expected = [reference(region, map_) for region, map_ in pairs]
    np.testing.assert_allclose(of(name, values, regions, grid=3).numpy(), expected, atol=1e-5)


def test_iou_is_the_jaccard_score_of_scikit_learn() -> None:
    """Of the region and the mask of as many highest pixels, without ties."""
    values, regions = random_maps(60, 9), random_regions(60, 9)
    expected = []
    for region, map_ in zip(regions.flatten(1).numpy(), values.flatten(1).numpy(), strict=True):
        expected.append(jaccard_score(region, map_ >= np.sort(map_)[-region.sum()]))
    np.testing.assert_allclose(of("region_iou", values, regions, grid=3).numpy(), expected, atol=1e-5)


# Tolerance.


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_tolerance_is_a_chessboard_distance_in_cells(tolerance: int) -> None:
    """A single maximum hits where scipy's chessboard distance to the region is at most so many cells of 3 px."""
    region = torch.zeros(12, 12, dtype=torch.bool)
    region[1, 1] = region[8:10, 8] = True
    distance = distance_transform_cdt(~region.numpy(), metric="chessboard").flatten()
    scores = of("pointing_game", torch.eye(144).view(144, 12, 12), region, grid=4, tolerance=tolerance)
    assert np.array_equal(scores.numpy(), distance <= 3 * tolerance)


def test_tolerance_is_rounded_per_side() -> None:
    """On 10 × 18 pixels and 4 × 4 cells, a cell is 2.5 pixels high, rounded to 2, and 4.5 wide, rounded to 4."""
    region = torch.zeros(10, 18, dtype=torch.bool)
    region[5, 9] = True
    scores = of("pointing_game", torch.eye(180).view(180, 10, 18), region, grid=4, tolerance=1).view(10, 18)
    expected = torch.zeros(10, 18)
    expected[3:8, 5:14] = 1
    assert torch.equal(scores, expected)


def test_tolerance_widens_the_region_for_ties_too() -> None:
    """A constant map hits with the widened region's share: a quarter of 8 × 8 and one cell of 2 px around it."""
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[2:6, 2:6] = True
    assert of("pointing_game", torch.ones(8, 8), region, grid=4).item() == pytest.approx(16 / 64)
    assert of("pointing_game", torch.ones(8, 8), region, grid=4, tolerance=1).item() == pytest.approx(1)
    region[2:6, 2:6] = torch.eye(4, dtype=torch.bool)[3]
    assert of("pointing_game", torch.ones(8, 8), region, grid=8, tolerance=1).item() == pytest.approx(18 / 64)


# Parameters.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("pointing_game", {"tolerance": -1}),
        ("pointing_game", {"tolerance": 0.5}),
        ("top_k_intersection", {"k": 0}),
        ("top_k_intersection", {"k": 1.0}),
        ("top_k_intersection", {"k": True}),
        ("attribution_localisation", {"max_size": 0}),
        ("attribution_localisation", {"max_size": 1.5}),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, params: dict[str, object]) -> None:
    """What cannot be meant is an error that names the metric and what it takes."""
    with pytest.raises(BadParameter, match=f"{name}: .* got"):
        metrics[name].create(params)


def test_more_pixels_than_there_are_is_refused() -> None:
    """The image's size is known only with the maps."""
    with pytest.raises(BadParameter, match="16 pixels, got 17"):
        of("top_k_intersection", REGION.float(), k=17)


# Undefined.


@pytest.mark.parametrize("name", ALL)
def test_an_empty_or_full_region_has_no_value(name: str) -> None:
    """Nothing to hit, nothing to miss, or no regions at all: no value, never a hit."""
    values = REGION.float()
    assert of(name, values, torch.zeros(4, 4, dtype=torch.bool)).isnan().all()
    assert of(name, values, torch.ones(4, 4, dtype=torch.bool)).isnan().all()
    assert of(name, values, None).isnan().all()


def test_regions_belong_to_their_image() -> None:
    """In a batch, one image's empty region leaves the other's score alone."""
    regions = torch.stack([REGION, torch.zeros(4, 4, dtype=torch.bool), ~REGION])
    scores = of("relevance_mass", hot((0, 0)).expand(3, 4, 4), regions)
    assert scores[0] == 1
    assert scores[1].isnan()
    assert scores[2] == 0


@pytest.mark.parametrize("name", ALL)
def test_an_image_scores_the_same_alone(name: str) -> None:
    """Tied, constant and NaN maps with regions of all sizes beside it change nothing."""
    values, regions = random_maps(12, 6).round(decimals=1), random_regions(12, 6)
    values[3], values[7, 0, 0] = 0, torch.nan
    alone = [of(name, values[i], regions[i], grid=3) for i in range(12)]
    assert torch.equal(of(name, values, regions, grid=3), torch.cat(alone))


# Parts and the cue.


PARTS = tuple(part for part in PART_CODES if part != "cue")


def test_part_energies_share_out_the_positive_mass() -> None:
    """Each part has the mass on its own pixels, and all together have everything, whatever is negative."""
    codes = torch.arange(16, dtype=torch.uint8).view(4, 4) % 9
    values = torch.where(codes == PART_CODES["nose"], -5.0, codes.float())
    mass = {part: 2.0 * code for part, code in PART_CODES.items() if part not in ("nose", "cue")}
    mass["ears"], mass["accessory"] = 7.0, 8.0
    scores = {part: of(f"part_energy_{part}", values, None, codes).item() for part in PARTS}
    assert scores == pytest.approx({**{part: m / sum(mass.values()) for part, m in mass.items()}, "nose": 0})
    assert sum(scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("part", PARTS)
def test_an_image_without_the_part_has_no_energy_there(part: str) -> None:
    """No such part in the image, nothing else in it, or no parts in the data: no value."""
    cue_parts = torch.full((4, 4), PART_CODES["cue"], dtype=torch.uint8)
    only = torch.full((4, 4), PART_CODES[part], dtype=torch.uint8)
    for parts in (cue_parts, only, None):
        assert of(f"part_energy_{part}", REGION.float(), REGION, parts).isnan()


@pytest.mark.parametrize("part", PARTS)
def test_part_energies_only_describe(part: str) -> None:
    """They have no direction, and their summary names the part."""
    entry = metrics[f"part_energy_{part}"]
    assert entry.traits.higher_is_better is None
    assert entry.traits.truth
    assert f"'{part}'" in entry.summary
    assert not entry.parameters()


def test_cue_mass_reads_the_cue_alone() -> None:
    """The share of the positive mass on pixels of the cue, whatever region and other parts say."""
    parts = torch.full((4, 4), PART_CODES["eyes"], dtype=torch.uint8)
    parts[3, 3] = PART_CODES["cue"]
    values = hot((3, 3)) * 3 + hot((0, 0)) - hot((1, 1)) * 5
    assert of("cue_mass", values, REGION, parts).item() == pytest.approx(0.75)
    assert of("cue_mass", torch.ones(4, 4), REGION, parts).item() == pytest.approx(1 / 16)


def test_without_a_cue_there_is_no_cue_mass() -> None:
    """No cue in the image, or no parts in the data: no value."""
    assert of("cue_mass", REGION.float(), REGION, torch.full((4, 4), PART_CODES["eyes"], dtype=torch.uint8)).isnan()
    assert of("cue_mass", REGION.float()).isnan()


# Quantus.


def quantus_of(kind: Callable[..., object], values: Tensor, regions: Tensor, **params: object) -> np.ndarray:
    """Quantus's scores of the maps as they are, neither normalised nor made positive."""
    reference = kind(abs=False, normalise=False, disable_warnings=True, **params)
    a_batch, s_batch = (t.expand(len(values), *values.shape[1:])[:, None].numpy().copy() for t in (values, regions))
    scores = reference.evaluate_batch(x_batch=a_batch.copy(), a_batch=a_batch, s_batch=s_batch)  # type: ignore[attr-defined]
    return np.asarray(scores, dtype=float)


@pytest.mark.parametrize(
    ("name", "quantus", "params"),
    [
        ("relevance_mass", RelevanceMassAccuracy, {}),
        ("relevance_mass", AttributionLocalisation, {}),
        ("relevance_rank", RelevanceRankAccuracy, {}),
        ("pointing_game", PointingGame, {}),
        ("top_k_intersection", TopKIntersection, {"k": 5}),
        ("top_k_intersection", TopKIntersection, {"k": 60}),
        ("pixel_auroc", AUC, {}),
    ],
)
def test_scores_are_those_of_quantus_where_it_is_right(
    name: str, quantus: Callable[..., object], params: dict[str, int]
) -> None:
    """On positive maps without ties, and regions that are not empty, Quantus says the same."""
    values, regions = random_maps(40, 9).abs(), random_regions(40, 9)
    expected = quantus_of(quantus, values, regions, **params)
    np.testing.assert_allclose(of(name, values, regions, grid=3, **params).numpy(), expected, atol=1e-5)


def test_attribution_localisation_is_quantus_s_unweighted_one_over_the_area() -> None:
    """The weight of the paper is the image's size over the region's."""
    values, regions = random_maps(40, 9).abs(), random_regions(40, 9)
    expected = quantus_of(AttributionLocalisation, values, regions) / regions.flatten(1).float().mean(1).numpy()
    np.testing.assert_allclose(of("attribution_localisation", values, regions, grid=3).numpy(), expected, rtol=1e-5)


def test_the_weight_does_not_depend_on_the_batch() -> None:
    """Quantus divides the region by all images but the first two, so its weighted score falls with the batch."""
    values = random_maps(8).abs()
    theirs, fewer = (quantus_of(AttributionLocalisation, v, REGION, weighted=True) for v in (values, values[:4]))
    np.testing.assert_allclose(theirs[:4], fewer / 3)
    assert torch.equal(of("attribution_localisation", values)[:4], of("attribution_localisation", values[:4]))


def test_a_large_region_has_no_weighted_score() -> None:
    """Quantus scores a region above ``max_size`` all the same."""
    values = random_maps(4).abs()
    assert np.isfinite(quantus_of(AttributionLocalisation, values, REGION, max_size=0.2)).all()
    assert of("attribution_localisation", values, max_size=0.2).isnan().all()


def test_a_constant_map_is_no_hit() -> None:
    """In Quantus it always hits; the share of its maxima in the region is a quarter."""
    constant = torch.ones(2, 4, 4)
    assert quantus_of(PointingGame, constant, REGION).tolist() == [1, 1]
    assert of("pointing_game", constant).tolist() == [0.25, 0.25]


def test_an_empty_region_is_no_hit() -> None:
    """In Quantus it is one."""
    empty = torch.zeros(4, 4, dtype=torch.bool)
    assert quantus_of(PointingGame, random_maps(2), empty).tolist() == [1, 1]
    assert of("pointing_game", random_maps(2), empty).isnan().all()


@pytest.mark.parametrize(
    ("name", "quantus", "params"),
    [("relevance_rank", RelevanceRankAccuracy, {}), ("top_k_intersection", TopKIntersection, {"k": 1})],
)
def test_ties_do_not_depend_on_where_the_region_is(
    name: str, quantus: Callable[..., object], params: dict[str, int]
) -> None:
    """Of a constant map, Quantus finds the pixel that its sort puts first; each has a chance of 1/16."""
    pixels = torch.eye(16, dtype=torch.bool).view(16, 4, 4)
    theirs = quantus_of(quantus, torch.ones(16, 4, 4), pixels, **params)
    assert sorted(theirs.tolist()) == [0] * 15 + [1]
    assert of(name, torch.ones(16, 4, 4), pixels, **params).tolist() == [1 / 16] * 16


def test_the_mass_of_a_signed_map_is_a_share() -> None:
    """+3 inside and −1 outside are 3/2 of the sum to Quantus, and all of the positive mass."""
    values = hot((0, 0)) * 3 - hot((3, 3))
    assert quantus_of(RelevanceMassAccuracy, values[None], REGION).tolist() == [1.5]
    assert of("relevance_mass", values).tolist() == [1]


def quantus_call(kind: Callable[..., object], values: Tensor) -> np.ndarray:
    """Quantus's scores of the maps with its default settings, which divide them by their maximum."""
    maps, images = values[:, None].numpy().copy(), np.zeros((len(values), 3, *values.shape[1:]), np.float32)
    data = {"x_batch": images, "y_batch": np.zeros(len(values), int), "a_batch": maps}
    regions = np.broadcast_to(REGION.numpy(), maps.shape).copy()
    metric = kind(disable_warnings=True, display_progressbar=False)
    return np.asarray(metric(model=Pooled(), **data, s_batch=regions, device="cpu", channel_first=True))  # type: ignore[operator]


@pytest.mark.parametrize("name", ALL)
def test_maps_without_information_are_not_refused(name: str) -> None:
    """Quantus refuses a call of which all maps are constant, zero or negative; here they have the value of chance."""
    for value in (0.0, 0.3, -0.3):
        with pytest.raises(AssertionError):
            quantus_call(PointingGame, torch.full((2, 4, 4), value))
        assert of(name, torch.full((2, 4, 4), value)).tolist() == pytest.approx([CHANCE.get(name, 0.25)] * 2)


@pytest.mark.parametrize("name", ALL)
def test_a_nan_map_costs_no_other_image_its_score(name: str) -> None:
    """Quantus divides all maps of a call by their common maximum: one NaN, and no image hits."""
    values = torch.stack([REGION.float(), REGION.float(), random_maps(1)[0]])
    broken = values.clone()
    broken[1, 0, 0] = torch.nan
    assert quantus_call(PointingGame, values)[0] == 1
    assert quantus_call(PointingGame, broken).tolist() == [0, 0, 0]
    assert torch.equal(of(name, broken)[[0, 2]], of(name, values)[[0, 2]])
