"""Axioms on models whose contributions can be written down."""

import numpy as np
import pytest
import quantus
import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps
from mavis.core.errors import BadParameter
from mavis.core.model_pass import Pass
from mavis.core.registry import metrics

from ..toys import Linear, Pooled, additive, make_pass, maps_from_cells, pooled_maps, random_images, score, white_images

QUIET = {"abs": False, "disable_warnings": True, "return_aggregate": False}


def a_linear_model(size: int = 8) -> tuple[Pass, Tensor]:
    """Five random images, and what each of their pixels contributes to a random linear model, from grey."""
    weight = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(3))
    model_pass = make_pass(Linear(weight), random_images(5, size))
    return model_pass, (weight[0] * (model_pass.images - 0.5)).sum(1)


# Completeness.


@pytest.mark.parametrize("size", [8, 11])
def test_exact_contributions_are_complete(size: int) -> None:
    """The error is 0; 2 with the sign turned; 1/2 of half of them; their size does not matter."""
    model_pass, exact = a_linear_model(size)
    for factor, expected in ((1.0, 0.0), (-1.0, 2.0), (0.5, 0.5), (3.0, 2.0)):
        value = score("completeness", Maps.from_values(exact * factor, 4), model_pass)
        torch.testing.assert_close(value, torch.full((5,), expected), atol=1e-4, rtol=1e-4)


def test_integrated_gradients_are_complete_on_a_network() -> None:
    """With their own baseline they are complete up to the quadrature; against the blurred image they are not."""
    model_pass = make_pass(Pooled(), random_images(4))
    maps = pooled_maps("integrated_gradients", model_pass, steps=64)
    assert score("completeness", maps, model_pass).max() < 0.05
    assert score("completeness", maps, model_pass, imputer="blur").max() > 0.5


def test_completeness_is_a_share_of_the_fall_to_the_empty_image() -> None:
    """On a network, |sum − fall| / |fall| in a plain loop."""
    net, images = Pooled(), random_images(3)
    values = torch.randn((3, 8, 8), generator=torch.Generator().manual_seed(1))
    falls = (net(images) - net(torch.full((1, 3, 8, 8), 0.5)))[:, 0].detach()
    expected = [abs(v.sum() - fall) / abs(fall) for v, fall in zip(values.double(), falls, strict=True)]
    value = score("completeness", Maps.from_values(values, 4), make_pass(net, images))
    torch.testing.assert_close(value, torch.stack(expected).float(), rtol=1e-4, atol=1e-5)


def test_a_map_without_information_explains_nothing_of_the_fall() -> None:
    """A map that is zero, or not finite, has 1."""
    cells = torch.tensor([[0.0] * 4, [torch.nan] * 4, [torch.inf, 1.0, 2.0, 3.0]])
    model_pass = make_pass(additive(torch.tensor([4.0, 3.0, 2.0, 1.0])), white_images(3))
    assert score("completeness", maps_from_cells(cells), model_pass).tolist() == [1, 1, 1]


def test_a_fall_of_nothing_is_not_divided_by() -> None:
    """Where the answer stays, a zero map has 0 and any other its sum over ``eps``: 3/0.01, or 3/0.5."""
    cells = torch.tensor([[0.0] * 4, [1.0, 2.0, -1.0, 1.0]])
    model_pass, maps = make_pass(additive(torch.zeros(4)), white_images(2, 2)), maps_from_cells(cells, 2)
    assert score("completeness", maps, model_pass).tolist() == pytest.approx([0, 300])
    assert score("completeness", maps, model_pass, eps=0.5).tolist() == pytest.approx([0, 6])


def test_completeness_asks_one_question() -> None:
    """The empty image."""
    (probe,) = metrics["completeness"].create().probes
    assert probe.masks(make_pass(Pooled(), random_images(1)), 16).tolist() == [[True] * 16]


def test_quantus_completeness_faults_exact_contributions() -> None:
    """It divides the map by its maximum; without that, it empties one channel of a colour image for a flat map."""
    model_pass, exact = a_linear_model()
    inputs = (model_pass.model.net, model_pass.images.numpy(), np.zeros(5, dtype=int), exact[:, None].numpy())
    for normalise in (True, False):
        metric = quantus.Completeness(perturb_baseline=0.5, normalise=normalise, **QUIET)
        assert not any(metric(*inputs, channel_first=True, softmax=False))
    assert score("completeness", Maps.from_values(exact, 4), model_pass).max() < 1e-4


# Non-sensitivity.

SOME = torch.tensor([4.0, 0.0, -2.0, 0.0])
"""What four cells contribute: two of them nothing."""


def non_sensitivity_of(*cells: list[float], contributions: Tensor = SOME, **params: object) -> list[float]:
    model_pass = make_pass(additive(contributions), white_images(len(cells)))
    values: list[float] = score("non_sensitivity", maps_from_cells(torch.tensor(cells)), model_pass, **params).tolist()
    return values


def test_non_sensitivity_counts_cells_on_which_map_and_model_differ() -> None:
    """None, one too few, one too many, both, and all four wrong; signs do not matter."""
    maps = ([1.0, 0, -3, 0], [1.0, 0, 0, 0], [1.0, 5, 1, 0], [-1.0, 0, 0, 3], [0.0, 1, 0, -2])
    assert non_sensitivity_of(*maps) == [0, 0.25, 0.25, 0.5, 1]


def test_non_sensitivity_of_maps_that_say_nothing() -> None:
    """A constant map is wrong where the model is indifferent; a zero or undefined one where it is not."""
    half = torch.tensor([4.0, 0.0, 0.0, 0.0])
    maps = ([2.0] * 4, [0.0] * 4, [torch.nan] * 4)
    assert non_sensitivity_of(*maps, contributions=half) == [0.75, 0.25, 0.25]


def test_a_model_that_reads_nothing_is_indifferent_everywhere() -> None:
    """Every cell that the map names is wrong then, and a zero map is right."""
    assert non_sensitivity_of([1.0, 0, 2, 0], [0.0] * 4, contributions=torch.zeros(4)) == [0.5, 0]


def test_what_is_nearly_nothing_is_a_part_of_the_largest() -> None:
    """Values of at most ``eps`` times the largest count as 0 on both sides, whatever the scale."""
    for scale in (1e-4, 1.0, 1e4):
        small = [4 * scale, 0.03 * scale, -2 * scale, 0.05 * scale]
        assert non_sensitivity_of(small, eps=0.01) == [0.25]
        assert non_sensitivity_of(small, eps=0.02) == [0]
    barely = torch.tensor([4.0, 0.03, -2.0, 0.0])
    assert non_sensitivity_of([1.0, 0, 1, 0], contributions=barely, eps=0.01) == [0]
    assert non_sensitivity_of([1.0, 0, 1, 0], contributions=barely, eps=0.005) == [0.25]
    assert non_sensitivity_of([1.0, 0, 1, 0], contributions=barely, eps=0) == [0.25]


def test_non_sensitivity_is_quantus_as_a_share() -> None:
    """On one channel, a pixel per cell and its own absolute threshold, Quantus counts the same cells."""
    generator = torch.Generator().manual_seed(4)
    keep = (torch.rand((2, 16), generator=generator) > 0.4).float()
    weight, cells = keep[0] * torch.randn(16, generator=generator), keep[1] * torch.randn(16, generator=generator)
    layer = nn.Linear(16, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight[None])
    metric = quantus.NonSensitivity(perturb_baseline=0.0, eps=1e-5, normalise=False, **{**QUIET, "abs": True})
    net = nn.Sequential(nn.Flatten(), layer).eval()
    image, values = np.ones((1, 1, 4, 4), dtype=np.float32), cells.view(1, 1, 4, 4).numpy()
    count = metric(net, image, np.zeros(1, dtype=int), values, channel_first=True, softmax=False)[0]
    assert 0 < count < 16
    assert non_sensitivity_of(cells.tolist(), contributions=weight) == [count / 16]


def test_scores_do_not_depend_on_the_batch() -> None:
    """An image alone scores as among others."""
    images, cells = random_images(3), torch.randn((3, 16), generator=torch.Generator().manual_seed(1))
    model_pass = make_pass(Pooled(), images)
    for name in ("completeness", "non_sensitivity"):
        expected = score(name, maps_from_cells(cells, 8), model_pass)
        for row in range(3):
            torch.testing.assert_close(
                score(name, maps_from_cells(cells[row : row + 1], 8), model_pass.single_image(row))[0], expected[row]
            )


# Parameters.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("completeness", {"eps": 0}),
        ("completeness", {"eps": float("nan")}),
        ("non_sensitivity", {"eps": -0.1}),
        ("non_sensitivity", {"eps": 1}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """A division by zero, and a threshold that everything is below or nothing."""
    with pytest.raises(BadParameter):
        metrics[name].create(params)
