"""MPRT on maps that ignore the model, on noise, and on a model whose randomised gradient is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from mavis.errors import BadParameter
from mavis.maps import Maps, cell_means
from mavis.perturb import Randomised
from mavis.plan import Part
from mavis.registry import metrics

from ..toys import Linear, Pooled, a_pass, model, noise, part, run_block


def mprt(explainer: Part, count: int = 4, **params: object) -> torch.Tensor:
    run = a_pass(model(Pooled(), cam_layer="relu"), noise(count, 16), chunk=count)
    return run_block(run, explainer, {"mprt": params}, grid=8)["mprt"]


@pytest.mark.parametrize("name", ["sobel", "centre_gaussian"])
def test_maps_that_ignore_the_model_score_one(name: str) -> None:
    """Edges and the centre stay where they are whatever the weights."""
    torch.testing.assert_close(mprt(part(name)), torch.ones(4))


def test_fresh_noise_scores_zero_on_average() -> None:
    """A map that is drawn anew with the weights correlates with nothing: mean 0 within 3 standard errors."""
    values = mprt(part("random"), 200)
    assert abs(values.mean()) < 3 * values.std() / 200**0.5
    assert values.std() == pytest.approx(1 / 63**0.5, rel=0.4)


def test_a_constant_map_has_no_value() -> None:
    """Without variance there is no correlation."""
    assert mprt(Part("flat", {}, part("sobel").traits, lambda run, _: torch.ones_like(run.images[:, :1]))).isnan().all()


def test_the_sign_does_not_count() -> None:
    """Absolute cell values are compared: a map and its negative are the same."""
    values = torch.randn((3, 8, 8), generator=torch.Generator().manual_seed(0))
    compare = metrics["mprt"].make().compare
    torch.testing.assert_close(compare(Maps.of(values, 4), Maps.of(-values * 7, 4)), torch.ones(3))


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_linear_model_s_saliency_is_compared_with_its_drawn_weights(repeats: int) -> None:
    """The mean of scipy's rank correlations between the lengths of the weight and of each drawn weight, per cell."""
    weight = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    run = a_pass(Linear(weight), noise(2))
    value = run_block(run, part("saliency"), {"mprt": {"repeats": repeats}})["mprt"]
    before = cell_means(weight[:1].norm(dim=1), 4)[0]
    drawn = [Randomised(number).model(run.model, run.seed).net.weight.detach() for number in range(repeats)]
    after = [cell_means(w[:1].norm(dim=1), 4)[0] for w in drawn]
    expected = np.mean([stats.spearmanr(before, other).statistic for other in after])
    np.testing.assert_allclose(value, [expected] * 2, atol=1e-6)


def test_the_explained_class_stays_the_one_of_the_original() -> None:
    """The randomised model's own prediction is not asked: the same target is explained, prediction kept or not."""
    asked = []

    def noting(run: object, targets: torch.Tensor) -> torch.Tensor:
        asked.append(targets.tolist())
        return run.images  # type: ignore[attr-defined, no-any-return]

    mprt(Part("noting", {}, part("saliency").traits, noting), repeats=2)
    assert asked == [[0] * 4] * 3


def test_at_least_one_draw() -> None:
    """No randomised model, no test."""
    with pytest.raises(BadParameter, match="repeats must be at least 1"):
        metrics["mprt"].make({"repeats": 0})
