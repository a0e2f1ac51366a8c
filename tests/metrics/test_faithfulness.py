"""Faithfulness metrics on models whose curves can be written down."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from mavis.errors import BadParameter
from mavis.kinds import Curve, CurveValues, SweepMetric
from mavis.registry import metrics

from ..toys import Linear, Pooled, a_pass, additive, both, found, maps_of_cells, noise, score, white

C = torch.tensor([4.0, 3.0, 2.0, 1.0])
"""Contributions of 4 cells. Most influential first 10, 6, 3, 1, 0 is left: area 15/4. The reverse, 10, 9, 7, 4, 0:
area 25/4."""

SMALL = {"points": 5}


def of(name: str, cells: list[float], contributions: Tensor = C, **params: object) -> float:
    run = a_pass(additive(contributions), white(1))
    return score(name, maps_of_cells(torch.tensor([cells])), run, **{**SMALL, **params}).item()


# Areas.


def test_deletion_and_insertion_are_the_areas_of_the_two_orders() -> None:
    """With the mean colour as fill, a right map has deletion 15/4 and insertion 25/4, a reversed one the opposite."""
    for cells, least, most in (([4, 3, 2, 1], 3.75, 6.25), ([1, 2, 3, 4], 6.25, 3.75)):
        assert of("deletion", cells) == pytest.approx(least)
        assert of("insertion", cells, imputer="mean") == pytest.approx(most)


def test_gain_is_the_difference_of_the_areas() -> None:
    """srg is (25 − 15)/4 = 2.5 for the right order and −2.5 for the reverse."""
    assert of("srg", [4, 3, 2, 1], imputers=["mean"]) == pytest.approx(2.5)
    assert of("srg", [1, 2, 3, 4], imputers=["mean"]) == pytest.approx(-2.5)


def test_gain_is_the_mean_over_imputers() -> None:
    """A blurred white image is white, so that imputer gains nothing and halves the mean."""
    assert of("srg", [4, 3, 2, 1], imputers=["mean", "blur"]) == pytest.approx(1.25)


def test_normalised_gain_is_the_share_of_the_headroom() -> None:
    """2.5 of 10 is a quarter, and the same for a model with half or three times the contributions."""
    for factor in (0.5, 1.0, 3.0):
        assert of("nsrg", [4, 3, 2, 1], C * factor, imputers=["mean"]) == pytest.approx(0.25)


def test_insertion_is_an_explicit_loop_of_putting_back() -> None:
    """On a network, the area while a plain loop puts cells back most influential first."""
    net, images = Pooled(), noise(2)
    run = a_pass(net, images)
    cells = torch.rand((2, 16), generator=torch.Generator().manual_seed(2))
    values = score("insertion", maps_of_cells(cells, 8), run, imputer="mean", points=17)
    for row in range(2):
        canvas = torch.full((1, 3, 8, 8), 0.5)
        said = [net(canvas)[0, 0].item()]
        for cell in cells[row].argsort(descending=True).tolist():
            y, x = 2 * (cell // 4), 2 * (cell % 4)
            canvas[0, :, y : y + 2, x : x + 2] = images[row, :, y : y + 2, x : x + 2]
            said.append(net(canvas)[0, 0].item())
        assert values[row].item() == pytest.approx(np.trapezoid(said, dx=1 / 16), rel=1e-4)


@pytest.mark.parametrize("name", ["deletion", "insertion", "srg", "nsrg"])
def test_only_the_order_of_cells_matters(name: str) -> None:
    """Any rising function of the map has the same score."""
    few = {"imputers": ["mean"]} if "srg" in name else {"imputer": "mean"}
    first = of(name, [0.4, -2.0, 0.3, 7.0], **few)
    assert of(name, [9.0, 1.0, 2.0, 100.0], **few) == pytest.approx(first)


# Degenerate and chance.


def test_a_constant_map_scores_chance_exactly() -> None:
    """srg and nsrg are exactly 0, deletion and insertion the middle between whole and empty; also at zero."""
    for value in (0.0, 0.3, -12.7):
        assert of("srg", [value] * 4, imputers=["mean"]) == 0
        assert of("nsrg", [value] * 4, imputers=["mean"]) == 0
        assert of("deletion", [value] * 4) == pytest.approx(5)
        assert of("insertion", [value] * 4, imputer="mean") == pytest.approx(5)


def test_a_constant_map_scores_zero_on_any_network() -> None:
    """Both directions show the network the same images, whatever the size, so the difference is 0."""
    for size in (8, 11):
        run = a_pass(Pooled(), noise(4, size))
        maps = maps_of_cells(torch.full((4, 16), 12.7), size)
        assert score("srg", maps, run, points=6).abs().max() < 1e-6


def test_random_maps_score_zero_on_average() -> None:
    """Over 300 random maps of a model that is not additive, the mean gain is 0 within 3 standard errors."""
    maps = maps_of_cells(torch.rand((300, 4), generator=torch.Generator().manual_seed(0)))
    values = score("srg", maps, a_pass(both(0, 3), white(300)), imputers=["mean"], points=5)
    assert values.std() > 0.1
    assert abs(values.mean()) < 3 * values.std() / 300**0.5


def test_too_little_headroom_has_no_value() -> None:
    """Where removing everything changes the answer by less than 0.1, or raises it, there is nothing to share out."""
    assert of("nsrg", [4, 3, 2, 1], C / 10 * 0.11, imputers=["mean"]) == pytest.approx(0.25)
    assert np.isnan(of("nsrg", [4, 3, 2, 1], C / 10 * 0.09, imputers=["mean"]))
    assert np.isnan(of("nsrg", [4, 3, 2, 1], -C, imputers=["mean"]))
    assert of("nsrg", [4, 3, 2, 1], C / 10 * 0.09, imputers=["mean"], min_headroom=0.05) == pytest.approx(0.25)


def test_half_of_the_imputers_need_headroom() -> None:
    """The blurred white image leaves no headroom: one of two is enough, one of three is not."""
    assert of("nsrg", [4, 3, 2, 1], imputers=["mean", "blur"]) == pytest.approx(0.25)
    assert np.isnan(of("nsrg", [4, 3, 2, 1], imputers=["mean", "blur", "blur"]))


def by_hand(shares: list[float], imputers: list[str]) -> float:
    """nsrg of two-valued curves whose gain per headroom is given."""
    metric = metrics["nsrg"].make({"imputers": imputers, "points": 3})
    assert isinstance(metric, SweepMetric)
    x = torch.tensor([0.0, 0.5, 1.0])
    curves = {}
    for name, share in zip(imputers, shares, strict=True):
        curves[Curve(name, "mif", 3)] = CurveValues(x, torch.tensor([[1.0, 0.0, 0.0]]))
        curves[Curve(name, "lif", 3)] = CurveValues(x, torch.tensor([[1.0, 2 * share, 0.0]]))
    return metric.score(curves).item()


def test_the_mean_over_imputers_comes_before_the_clip() -> None:
    """Shares 3 and −1 make 1, not (1.5 − 1)/2; beyond ±1.5 the mean is clipped."""
    assert by_hand([3.0, -1.0], ["mean", "blur"]) == pytest.approx(1.0)
    assert by_hand([3.0, 2.0], ["mean", "blur"]) == 1.5
    assert by_hand([-3.0, -2.0], ["mean", "blur"]) == -1.5


# Each cell alone.


def test_exact_attributions_of_a_linear_model_are_perfect() -> None:
    """Image times gradient is a linear model's exact contribution, all channels of a cell together: exactly 1."""
    weight = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(3))
    run = a_pass(Linear(weight), noise(5))
    exact = found("input_x_gradient", run, grid=4)
    torch.testing.assert_close(score("single_deletion", exact, run), torch.ones(5))
    reverse = found("input_x_gradient", a_pass(Linear(-weight), noise(5)), grid=4)
    torch.testing.assert_close(score("single_deletion", reverse, run), -torch.ones(5))


def test_single_deletion_is_scipy_s_rank_correlation() -> None:
    """For any map, ties included, it is spearmanr of cell values and contributions."""
    for cells in ([1.0, 5.0, 2.0, 2.0], [3.0, 3.0, 3.0, 1.0], [0.1, 0.2, 0.3, 0.4]):
        run = a_pass(additive(C), white(1))
        value = score("single_deletion", maps_of_cells(torch.tensor([cells])), run)
        assert value.item() == pytest.approx(stats.spearmanr(cells, C).statistic, abs=1e-6)


def test_single_deletion_of_degenerate_maps() -> None:
    """A constant or infinite map has chance value 0; a model that reads no cell has no value."""
    cells = torch.tensor([[2.0] * 4, [torch.inf, 1.0, 2.0, 3.0]])
    run = a_pass(additive(C), white(2))
    assert score("single_deletion", maps_of_cells(cells), run).tolist() == [0, 0]
    deaf = a_pass(additive(torch.zeros(4)), white(1))
    assert score("single_deletion", maps_of_cells(torch.tensor([[1.0, 2.0, 3.0, 4.0]])), deaf).isnan().all()


# Parameters.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("deletion", {"points": 2}),
        ("insertion", {"points": 0}),
        ("srg", {"points": 1}),
        ("srg", {"imputers": []}),
        ("nsrg", {"imputers": "mean"}),
        ("nsrg", {"min_headroom": 0}),
        ("nsrg", {"min_headroom": -0.1}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """Fewer than 3 points, no imputers, a string for a list, and a headroom that allows a division by zero."""
    with pytest.raises(BadParameter):
        metrics[name].make(params)
