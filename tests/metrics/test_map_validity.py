"""Validity and repeatability of maps."""

import itertools

import pytest
import torch

from mavis.core.attribution_maps import Maps
from mavis.core.registry import explainers
from mavis.engine.planning.plan import Component

from ..toys import Pooled, make_explainer, make_model, make_pass, random_images, run_block, score


def test_only_finite_and_varied_maps_are_valid() -> None:
    """One NaN, one infinity, or one value everywhere: 0. One pixel that differs in the last bit: 1."""
    values = torch.full((5, 4, 4), 0.1)
    values[0, 0, 0] = torch.nan
    values[1, 3, 3] = -torch.inf
    values[3, 1, 1] = torch.nextafter(torch.tensor(0.1), torch.tensor(1.0))
    values[4] = torch.rand((4, 4), generator=torch.Generator().manual_seed(0))
    assert score("valid", Maps.from_values(values, 2), make_pass(Pooled(), random_images(5))).tolist() == [
        0,
        0,
        0,
        1,
        1,
    ]


def repeatability(explainer: Component) -> list[float]:
    """The scores of three images in a run."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    return run_block(model_pass, explainer, {"repeatability": {}}, grid=2)["repeatability"].tolist()


def test_what_draws_by_the_seed_comes_back() -> None:
    """A gradient, a method with noise of its own and a control with fresh numbers per variant: bit by bit."""
    for name in ("saliency", "smoothgrad", "random"):
        assert repeatability(make_explainer(name)) == [0.0, 0.0, 0.0]


def test_what_draws_by_the_clock_does_not() -> None:
    """The difference over the larger of both maximums: maps of 4 and 5 differ by 1/5, zeros by nothing."""
    counted = itertools.count(4)
    grows = lambda model_pass, _: torch.full_like(model_pass.images[:, :1], next(counted))  # noqa: E731
    assert repeatability(Component("grows", {}, explainers["random"].traits, grows)) == pytest.approx([0.2] * 3)
    zeros = lambda model_pass, _: torch.zeros_like(model_pass.images[:, :1])  # noqa: E731
    assert repeatability(Component("zeros", {}, explainers["random"].traits, zeros)) == [0.0] * 3


def test_nothing_is_shared_with_the_first_map() -> None:
    """The second map is computed afresh: a network that changes from call to call is detected."""
    calls = itertools.count(1)

    class Forgetful(Pooled):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images) * next(calls)

    model_pass = make_pass(make_model(Forgetful(), cam_layer="relu"), random_images(3))
    scores = run_block(model_pass, make_explainer("saliency"), {"repeatability": {}}, grid=2)["repeatability"]
    assert (scores > 0.1).all()
