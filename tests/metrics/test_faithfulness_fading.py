"""Soft-masking metrics on additive models, whose faded probabilities can be written down."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mavis.core.errors import BadParameter
from mavis.core.metric_types import SoftMasking, SweepMetric
from mavis.core.registry import metrics

from ..toys import Pooled, additive, make_model, make_pass, maps_from_cells, random_images, score, white_images

CONTRIBUTIONS = torch.tensor([4.0, 3.0, 2.0, 1.0])
"""Contributions of 4 cells to a probability of 10: additive models may leave [0,1]."""

MIXED = torch.tensor([0.4, 0.3, -0.2, -0.1])
"""Contributions to a probability of 0.4, two of them negative."""

FADING = [entry.name for entry in metrics if entry.factory.__module__ == "mavis.metrics.faithfulness_fading"]


def fading_score(name: str, cells: list[float], contributions: Tensor = CONTRIBUTIONS, **params: object) -> float:
    """The score of one map on a white image under an additive model."""
    model_pass = make_pass(additive(contributions), white_images(1))
    return score(name, maps_from_cells(torch.tensor([cells])), model_pass, **params).item()


def test_average_drop_is_the_share_lost_when_faded() -> None:
    """Weights 1, 2/3, 1/3, 0 leave 20/3 of 10, in reverse 10/3: a third is lost, or two thirds."""
    assert fading_score("average_drop", [4, 3, 2, 1]) == pytest.approx(1 / 3)
    assert fading_score("average_drop", [1, 2, 3, 4]) == pytest.approx(2 / 3)


def test_average_increase_and_gain_of_a_rise() -> None:
    """Contributions .4, .3, −.2, −.1 make .4; faded .4 + .2 − .2/3 = 8/15: a rise of 2/15 with room for 3/5."""
    assert fading_score("average_increase", [4, 3, 2, 1], MIXED) == 1
    assert fading_score("average_gain", [4, 3, 2, 1], MIXED) == pytest.approx(2 / 9)
    assert fading_score("average_drop", [4, 3, 2, 1], MIXED) == 0
    assert fading_score("average_increase", [1, 2, 3, 4], MIXED) == 0
    assert fading_score("average_gain", [1, 2, 3, 4], MIXED) == 0


def test_only_a_rise_beyond_rounding_is_an_increase() -> None:
    """A model that reads the brightest cell alone gives the faded image the same probability: no increase."""
    single = torch.tensor([0.7, 0, 0, 0])
    assert fading_score("average_increase", [4, 3, 2, 1], single) == 0
    assert fading_score("average_increase", [4, 3, 2, 1], single - torch.tensor([0, 0, 0, 1e-6])) == 0
    assert fading_score("average_increase", [4, 3, 2, 1], single - torch.tensor([0, 0, 0, 1e-3])) == 1


def test_a_constant_map_fades_everything() -> None:
    """The full probability is lost, and none is gained, also by a map that is not finite."""
    for value in (0.0, 3.0, torch.nan, torch.inf):
        assert fading_score("average_drop", [value] * 4) == pytest.approx(1)
        assert fading_score("average_increase", [value] * 4) == 0
        assert fading_score("average_gain", [value] * 4, CONTRIBUTIONS / 20) == 0


@pytest.mark.parametrize("name", FADING)
def test_the_map_s_scale_does_not_matter(name: str) -> None:
    """A map times 7 plus 3 fades the same."""
    expected = fading_score(name, [0.5, -1.0, 2.0, 0.0], MIXED)
    assert fading_score(name, [6.5, -4.0, 17.0, 3.0], MIXED) == pytest.approx(expected)


@pytest.mark.parametrize("name", FADING)
def test_scores_are_those_of_an_explicit_loop(name: str) -> None:
    """On a network: each image is mixed with the mean colour by its enlarged, scaled map, and both are evaluated."""
    model = make_model(Pooled(), output="softmax")
    images, maps = random_images(4), maps_from_cells(torch.rand((4, 16), generator=torch.Generator().manual_seed(1)), 8)
    bounds = {"average_drop": {"min_probability": 1e-9}, "average_gain": {"min_room": 1e-9}}
    scores = score(name, maps, make_pass(model, images), **bounds.get(name, {}))
    for row in range(4):
        values = maps.values[row]
        weights = (values - values.min()) / (values.max() - values.min())
        faded = weights * images[row] + (1 - weights) * 0.5
        before, after = (model.net(image[None]).softmax(1)[0, 0].item() for image in (images[row], faded))
        expected = {
            "average_drop": max(0.0, before - after) / before,
            "average_increase": float(after - before > 1e-5),
            "average_gain": max(0.0, after - before) / (1 - before),
        }[name]
        assert scores[row].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_fill_is_the_imputer_s() -> None:
    """A blurred white image is white, so that fading into it changes nothing; the mean colour loses a third."""
    assert fading_score("average_drop", [4, 3, 2, 1], imputer="blur") == pytest.approx(0, abs=1e-6)
    assert fading_score("average_drop", [4, 3, 2, 1], imputer="mean") == pytest.approx(1 / 3)


def test_metrics_of_one_imputer_share_the_faded_image() -> None:
    """All ask for the same curve, which is evaluated once."""
    plugins = [metrics[name].create() for name in FADING]
    assert all(isinstance(plugin, SweepMetric) for plugin in plugins)
    assert {curve for plugin in plugins for curve in plugin.curves} == {SoftMasking("mean")}


def test_no_drop_of_a_probability_near_zero() -> None:
    """Below 0.01, or below zero, there is no share of the original probability."""
    assert np.isfinite(fading_score("average_drop", [4, 3, 2, 1], CONTRIBUTIONS / 10 * 0.011))
    assert np.isnan(fading_score("average_drop", [4, 3, 2, 1], CONTRIBUTIONS / 10 * 0.009))
    assert np.isnan(fading_score("average_drop", [4, 3, 2, 1], -CONTRIBUTIONS))
    low = CONTRIBUTIONS / 10 * 0.009
    assert np.isfinite(fading_score("average_drop", [4, 3, 2, 1], low, min_probability=0.005))


def test_no_gain_without_room() -> None:
    """Above 0.9999 nothing can be gained."""
    assert fading_score("average_gain", [4, 3, 2, 1], CONTRIBUTIONS / 10 * 0.9998) == 0
    assert np.isnan(fading_score("average_gain", [4, 3, 2, 1], CONTRIBUTIONS / 10 * 0.99995))
    assert fading_score("average_gain", [4, 3, 2, 1], CONTRIBUTIONS / 10 * 0.99995, min_room=1e-5) == 0


@pytest.mark.parametrize(("name", "parameter"), [("average_drop", "min_probability"), ("average_gain", "min_room")])
@pytest.mark.parametrize("value", [0, -0.1, 2])
def test_a_bound_outside_the_unit_interval_is_refused(name: str, parameter: str, value: float) -> None:
    """The message names the metric, the parameter and the value."""
    with pytest.raises(BadParameter, match=rf"{name}: {parameter} is a share in \(0,1\], got {value}"):
        metrics[name].create({parameter: value})
