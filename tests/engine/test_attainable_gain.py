"""Attainable gain: the best order of an additive model, never more than the best of all orders, near it in general."""

import itertools

import pytest
import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.metric_types import SweepMetric
from mavis.core.registry import metrics
from mavis.engine import attainable_gain
from mavis.engine.attainable_gain import attainable_score

from ..toys import (
    CellModel,
    Linear,
    additive,
    make_model,
    make_pass,
    maps_from_cells,
    random_images,
    score,
    white_images,
)


def gain_metric(**params: object) -> SweepMetric:
    metric = metrics["srg"].create({"imputers": ["mean"], **params})
    assert isinstance(metric, SweepMetric)
    return metric


def best_of_all_orders(net: CellModel, n_cells: int) -> float:
    """The gain of the best of all orders of the cells of one white image, one cell a step."""
    orders = torch.tensor(list(itertools.permutations(range(n_cells))), dtype=torch.float32)
    model_pass = make_pass(net, white_images(len(orders)))
    gains = score("srg", maps_from_cells(orders), model_pass, imputers=["mean"], points=n_cells + 1)
    return float(gains.max())


def set_function(seed: int) -> CellModel:
    """Every set of four cells has a value of its own."""
    values = torch.rand(16, generator=torch.Generator().manual_seed(seed))
    places = torch.tensor([1.0, 2.0, 4.0, 8.0])
    return CellModel(lambda present: values[(present.round() @ places).long()])


def test_an_additive_model_attains_its_closed_form() -> None:
    """Contributions 4, 3, 2, 1, by hand: area 25/4 the least first, 15/4 the most first."""
    net = additive(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    found = attainable_score(make_pass(net, white_images()), 0, gain_metric(points=5), grid=2, n_orders=2)
    assert found == pytest.approx(2.5, abs=1e-5)


@pytest.mark.parametrize("seed", range(12))
def test_it_is_never_above_the_best_of_all_orders(seed: int) -> None:
    """It is the gain of an order."""
    net = set_function(seed)
    found = attainable_score(make_pass(net, white_images()), 0, gain_metric(points=5), grid=2, n_orders=8)
    best = best_of_all_orders(net, 4)
    assert found <= best + 1e-5


def test_it_is_near_the_best_of_all_orders_in_the_mean() -> None:
    """Over set functions without any order in them, which are harder than networks: nine tenths."""
    nets = [set_function(seed) for seed in range(40)]
    found = [
        attainable_score(make_pass(net, white_images()), 0, gain_metric(points=5), grid=2, n_orders=8) for net in nets
    ]
    assert sum(found) > 0.87 * sum(best_of_all_orders(net, 4) for net in nets)


@pytest.mark.parametrize("skipped", ["_shapley_values", "_greedy_order", "_improve_by_swaps"])
def test_every_search_helps(skipped: str) -> None:
    """Over random set functions none of the three is spare."""

    def total(without: str | None) -> float:
        with pytest.MonkeyPatch.context() as patch:
            if without is not None:
                patch.setattr(attainable_gain, without, lambda game, *_: torch.zeros(game.n_units))
            nets = [set_function(seed) for seed in range(40)]
            passes = [make_pass(net, white_images()) for net in nets]
            return sum(attainable_score(one, 0, gain_metric(points=5), grid=2, n_orders=8) for one in passes)

    assert total(None) > total(skipped) + 0.05


def exact_map(net: Linear, images: Tensor) -> Tensor:
    return (net.weight[0] * (images - 0.5)).sum(1, keepdim=True).detach()


def test_a_perfect_map_of_a_linear_model_attains_it_on_drawn_grids() -> None:
    """Where the logit is a sum over pixels; but for cells cut at the edges, whose mean says less than their sum."""
    net = Linear(torch.randn((2, 3, 24, 24), generator=torch.Generator().manual_seed(2)) / 5)
    images = random_images(1, 24)
    model_pass = make_pass(make_model(net, output="logit"), images)
    own = score("srg", Maps.from_values(exact_map(net, images)[:, 0], 8), model_pass, imputers=["mean"], cells=[7, 5])
    found = attainable_score(model_pass, 0, gain_metric(cells=[7, 5]), grid=8, n_orders=2)
    assert float(own[0]) <= found + 1e-5
    assert float(own[0]) > 0.97 * found


def test_it_is_one_number_whatever_the_batch_and_the_chunk() -> None:
    """Draws belong to the image; a chunk only splits the calls."""
    images = random_images(3, 16)
    net = make_model(Linear(torch.randn(3, 3, 16, 16)), output="probability")
    metric = gain_metric(imputers=["mean", "blur"], cells=[5, 3])
    values = {
        attainable_score(make_pass(net, images, chunk=chunk).single_image(1), 0, metric, grid=4, n_orders=4)
        for chunk in (7, 64)
    }
    assert max(values) - min(values) < 1e-5
