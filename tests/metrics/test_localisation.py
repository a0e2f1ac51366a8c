"""Localisation scores of uniform, one-hot, half-in and tied maps, by hand and by brute force."""

import itertools

import numpy as np
import pytest
import torch
from quantus.metrics.localisation.pointing_game import PointingGame
from quantus.metrics.localisation.relevance_mass_accuracy import RelevanceMassAccuracy
from quantus.metrics.localisation.relevance_rank_accuracy import RelevanceRankAccuracy
from torch import Tensor

from mavis.maps import Maps
from mavis.registry import metrics
from mavis.types import PART_CODES

from ..toys import batch_of

REGION = torch.zeros(4, 4, dtype=torch.bool)
REGION[:2, :2] = True
"""The upper left quarter: area 1/4."""

SCORES = ("relevance_mass", "relevance_rank", "pointing_game")


def of(name: str, values: Tensor, regions: Tensor | None = REGION, parts: Tensor | None = None) -> Tensor:
    """Scores of maps ``(B,4,4)`` or of one map ``(4,4)``."""
    values = values if values.dim() == 3 else values[None]
    shape = values.shape
    truth = {
        "regions": None if regions is None else regions.expand(shape),
        "parts": None if parts is None else parts.expand(shape),
    }
    batch = batch_of(torch.zeros(shape[0], 3, *shape[1:]), **truth)
    result: Tensor = metrics[name].make().score(Maps.of(values, 2), batch)
    return result


def hot(*pixels: tuple[int, int]) -> Tensor:
    values = torch.zeros(4, 4)
    for row, column in pixels:
        values[row, column] = 1
    return values


def random_maps(count: int) -> Tensor:
    return torch.randn((count, 4, 4), generator=torch.Generator().manual_seed(0))


# Closed forms.


@pytest.mark.parametrize("name", SCORES)
def test_one_pixel_inside_or_outside(name: str) -> None:
    """All on one pixel: inside it scores 1 (rank: 1 of 4, the three ties over 15 pixels of which 3 are inside)."""
    ties = 3 * 3 / 15
    expected = {"relevance_rank": ((1 + ties) / 4, 3 * 4 / 15 / 4)}.get(name, (1.0, 0.0))
    assert of(name, hot((1, 1))).item() == pytest.approx(expected[0])
    assert of(name, hot((2, 1))).item() == pytest.approx(expected[1])


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("value", [1.0, 0.3, 0.0])
def test_a_constant_map_scores_the_region_s_area(name: str, value: float) -> None:
    """Without information the expectation is a quarter, also at zero."""
    assert of(name, torch.full((4, 4), value)).item() == pytest.approx(0.25)


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


def test_the_region_as_a_map_is_perfect() -> None:
    """The oracle scores 1 everywhere."""
    for name in (*SCORES, "relevance_mass_skill"):
        assert of(name, REGION.float()).item() == pytest.approx(1)


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
    for name in SCORES:
        scores = of(name, values)
        assert ((scores >= 0) & (scores <= 1)).all()
    skill = of("relevance_mass_skill", values)
    assert ((skill >= -1 / 3 - 1e-6) & (skill <= 1)).all()


def test_a_map_without_positive_mass_scores_chance() -> None:
    """Zero or negative everywhere: the region's area, and no skill."""
    values = torch.stack([torch.zeros(4, 4), -torch.rand(4, 4)])
    torch.testing.assert_close(of("relevance_mass", values), torch.full((2,), 0.25))
    torch.testing.assert_close(of("relevance_mass_skill", values), torch.zeros(2))


def test_a_map_that_is_not_finite_scores_chance() -> None:
    """NaN anywhere: the area in every score, so that failing never pays."""
    values = REGION.float()
    values[3, 3] = torch.nan
    for name in SCORES:
        assert of(name, values).item() == pytest.approx(0.25)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_does_not_matter(scale: float) -> None:
    """The scores of a map times any positive number are the map's."""
    values = random_maps(5)
    for name in (*SCORES, "relevance_mass_skill"):
        torch.testing.assert_close(of(name, values * scale), of(name, values))


# Ties.


def tied_maps() -> list[Tensor]:
    """Maps of 2 × 3 pixels with values 0, 1, 2, one for each ninth combination."""
    return [torch.tensor(c, dtype=torch.float32).view(2, 3) for c in list(itertools.product((0, 1, 2), repeat=6))[::9]]


@pytest.mark.parametrize("inside", [1, 2, 4])
def test_rank_and_pointing_are_expectations_over_ties(inside: int) -> None:
    """All 720 orders of 6 pixels that agree with the map, averaged, give the score."""
    region = (torch.arange(6) < inside).view(2, 3)
    flat = region.flatten().numpy()
    orders = np.array(list(itertools.permutations(range(6))))
    for values in tied_maps():
        sorted_values = values.flatten().numpy()[orders]
        valid = orders[(np.diff(sorted_values, axis=1) <= 0).all(1)]
        rank = of_any("relevance_rank", values, region)
        pointing = of_any("pointing_game", values, region)
        assert rank == pytest.approx(flat[valid[:, :inside]].mean(), abs=1e-6)
        assert pointing == pytest.approx(flat[valid[:, 0]].mean(), abs=1e-6)


def of_any(name: str, values: Tensor, region: Tensor) -> float:
    batch = batch_of(torch.zeros(1, 3, *values.shape), regions=region[None])
    return metrics[name].make().score(Maps.of(values[None], 2), batch).item()


# Undefined.


@pytest.mark.parametrize("name", [*SCORES, "relevance_mass_skill"])
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


# The cue.


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


# An independent implementation.


@pytest.mark.parametrize(
    ("name", "quantus"),
    [
        ("relevance_mass", RelevanceMassAccuracy),
        ("relevance_rank", RelevanceRankAccuracy),
        ("pointing_game", PointingGame),
    ],
)
def test_scores_are_those_of_quantus_where_it_is_right(name: str, quantus: type) -> None:
    """On positive maps without ties, and regions that are not empty, Quantus says the same."""
    values = random_maps(40).abs()
    reference = quantus(abs=False, normalise=False, disable_warnings=True)
    expected = reference.evaluate_batch(
        a_batch=values[:, None].numpy().copy(), s_batch=REGION.expand(40, 1, 4, 4).numpy().copy()
    )
    np.testing.assert_allclose(of(name, values).numpy(), np.asarray(expected, dtype=float), atol=1e-6)
