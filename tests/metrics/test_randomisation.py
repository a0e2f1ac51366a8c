"""Randomisation metrics on maps that ignore the model, on noise, and on models whose randomised gradient is known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from quantus.functions.similarity_func import correlation_spearman
from quantus.metrics.randomisation.efficient_mprt import EfficientMPRT
from quantus.metrics.randomisation.random_logit import RandomLogit
from scipy import stats
from torch import Tensor

from mavis.core.attribution_maps import Maps, cell_means
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explanation
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import OtherClass, Randomised, Smoothed, Variant
from mavis.core.registry import metrics
from mavis.engine.planning.plan import Component
from mavis.metrics.map_similarity import hog_similarity, ssim

from ..toys import Linear, Pooled, explain, make_explainer, make_model, make_pass, random_images, run_block, targets

CASCADES = ("mprt_top_down", "mprt_bottom_up")
FULL = ("mprt", "smooth_mprt", "efficient_mprt")
SIMILAR = ("mprt", *CASCADES, "smooth_mprt", "random_logit")
"""Those that compare two maps by a similarity of choice."""


def run_scores(name: str, explainer: Component, count: int = 4, **params: object) -> Tensor:
    """Scores on a small convolutional net with 16 px images and 8 by 8 cells."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(count, 16), chunk=count)
    return run_block(model_pass, explainer, {name: params}, grid=8)[name]


def own(read: Callable[[Pass], Tensor]) -> Component:
    """An explainer that returns what it reads from the pass."""
    return Component("own", {}, make_explainer("sobel").traits, lambda model_pass, _: read(model_pass))


def rows(count: int = 2, size: int = 8) -> Tensor:
    """Normal weight rows ``(K,3,H,W)``."""
    return torch.randn((count, 3, size, size), generator=torch.Generator().manual_seed(0))


def linear(weight: Tensor, images: Tensor) -> Pass:
    """A pass of a linear model with as many classes as it has rows, made for images of its size."""
    return make_pass(make_model(Linear(weight), classes=tuple("abcdefg"[: len(weight)]), size=weight.shape[-1]), images)


def compare(name: str, before: Tensor, after: Tensor, grid: int = 4, **params: object) -> Tensor:
    """A metric's scores of maps ``(B,H,W)`` for two classes and two models with other answers."""
    weight, images = rows(2, before.shape[-1]), torch.ones(len(before), 3, *before.shape[1:])
    passes = [linear(weight, images), linear(-weight, images)]
    explanations = (
        Explanation(Maps.from_values(v, grid), passes[k], targets(passes[k], k)) for k, v in enumerate((before, after))
    )
    value: Tensor = metrics[name].create(params).compare(*explanations)
    return value


def correlation(a: Tensor, b: Tensor, grid: int = 4) -> list[float]:
    """Scipy's rank correlation of two maps' cells, image by image."""
    return [stats.spearmanr(x, y).statistic for x, y in zip(cell_means(a, grid), cell_means(b, grid), strict=True)]


# What every metric of this family has in common.


@pytest.mark.parametrize("name", ["sobel", "centre_gaussian"])
@pytest.mark.parametrize("metric", SIMILAR)
def test_maps_that_ignore_the_model_score_one(metric: str, name: str) -> None:
    """Edges and the centre stay where they are whatever the weights, the noise and the class."""
    torch.testing.assert_close(run_scores(metric, make_explainer(name)), torch.ones(4))


@pytest.mark.parametrize("metric", ["mprt", "mprt_top_down", "smooth_mprt"])
def test_fresh_noise_scores_zero_on_average(metric: str) -> None:
    """A map that is drawn anew with the weights correlates with nothing: mean 0 within 3 standard errors."""
    values = run_scores(metric, make_explainer("random"), 200, **({"samples": 2} if metric == "smooth_mprt" else {}))
    assert abs(values.mean()) < 3 * values.std() / 200**0.5
    assert values.std() == pytest.approx((2 if metric == "mprt_top_down" else 1) ** -0.5 / 63**0.5, rel=0.4)


@pytest.mark.parametrize("metric", [*SIMILAR, "efficient_mprt"])
def test_a_constant_map_has_no_value(metric: str) -> None:
    """Without variance there is neither similarity nor a rise of entropy."""
    assert run_scores(metric, own(lambda model_pass: torch.ones_like(model_pass.images[:, :1]))).isnan().all()


@pytest.mark.parametrize("metric", SIMILAR)
@pytest.mark.parametrize("similarity", ["spearman", "ssim", "hog"])
def test_one_constant_side_is_enough_for_no_value(metric: str, similarity: str) -> None:
    """Before or after, constant or not finite, or of one absolute value where the sign does not count."""
    varied, flat = torch.randn((3, 12, 12), generator=torch.Generator().manual_seed(0)), torch.zeros(3, 12, 12)
    flat[1], flat[2, 0, 0] = 1, torch.nan
    assert compare(metric, varied, flat, similarity=similarity).isnan().all()
    assert compare(metric, flat, varied, similarity=similarity).isnan().all()
    signs = torch.ones(3, 12, 12)
    signs[:, :6] = -1
    assert compare(metric, signs, varied, similarity=similarity).isnan().all() == (metric != "random_logit")


@pytest.mark.parametrize("metric", [m for m in SIMILAR if m != "random_logit"])
@pytest.mark.parametrize("similarity", ["spearman", "ssim", "hog"])
def test_neither_sign_nor_scale_counts(metric: str, similarity: str) -> None:
    """Absolute values of equal second moment are compared: a map and seven times its negative are the same."""
    values = torch.randn((3, 12, 12), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(compare(metric, values, -values * 7, similarity=similarity), torch.ones(3))


@pytest.mark.parametrize("metric", SIMILAR)
def test_the_similarity_can_be_chosen(metric: str) -> None:
    """SSIM and HOG read the pixels of maps of equal second moment, absolute unless the class is what changes."""
    stream = torch.Generator().manual_seed(0)
    a, b = (torch.randn((3, 16, 16), generator=stream) * scale for scale in (1, 50))
    x, y = (v / v.square().mean((1, 2), keepdim=True).sqrt() for v in (a, b))
    if metric != "random_logit":
        x, y = x.abs(), y.abs()
    torch.testing.assert_close(compare(metric, a, b, similarity="ssim"), ssim(x, y))
    torch.testing.assert_close(compare(metric, a, b, similarity="hog"), hog_similarity(x, y))


@pytest.mark.parametrize("metric", SIMILAR)
def test_an_unknown_similarity_is_refused(metric: str) -> None:
    """The message names the three there are."""
    with pytest.raises(BadParameter, match="similarity must be one of spearman, ssim, hog, got 'pearson'"):
        metrics[metric].create({"similarity": "pearson"})


@pytest.mark.parametrize("metric", [*CASCADES, *FULL])
def test_at_least_one_randomised_model(metric: str) -> None:
    """No randomised model, no test."""
    with pytest.raises(BadParameter, match=f"{metric}: repeats must be at least 1, got 0"):
        metrics[metric].create({"repeats": 0})


@pytest.mark.parametrize("metric", [*CASCADES, "mprt", "smooth_mprt", "efficient_mprt"])
def test_the_original_model_is_never_averaged_in(metric: str) -> None:
    """A map that turns over as soon as any weight changes scores −1, not something above; its entropy does not rise."""

    def turning(model_pass: Pass) -> Tensor:
        at_home = torch.equal(model_pass.model.net.conv.weight, Pooled().conv.weight) and torch.equal(
            model_pass.model.net.head.weight, Pooled().head.weight
        )
        ramp = torch.arange(256.0).view(1, 1, 16, 16).expand(len(model_pass), -1, -1, -1)
        return ramp if at_home else 256 - ramp

    expected = 0 if metric == "efficient_mprt" else -1
    torch.testing.assert_close(run_scores(metric, own(turning), repeats=2), torch.full((4,), float(expected)))


# All layers at once.


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_linear_model_s_saliency_is_compared_with_its_drawn_weights(repeats: int) -> None:
    """The mean of scipy's rank correlations between the lengths of the weight and of each drawn weight, per cell."""
    weight = rows()
    model_pass = linear(weight, random_images(2))
    value = run_block(model_pass, make_explainer("saliency"), {"mprt": {"repeats": repeats}})["mprt"]
    drawn = [
        Randomised(number).model(model_pass.model, model_pass.seed).net.weight.detach() for number in range(repeats)
    ]
    expected = np.mean([correlation(weight[:1].norm(dim=1), randomised[:1].norm(dim=1)) for randomised in drawn])
    np.testing.assert_allclose(value, [expected] * 2, atol=1e-6)


def test_the_explained_class_stays_the_one_of_the_original() -> None:
    """The randomised model's own prediction is not asked: the same target is explained, prediction kept or not."""
    calls = []

    def noting(model_pass: Pass, targets: Tensor) -> Tensor:
        calls.append(targets.tolist())
        return model_pass.images

    run_scores("mprt", Component("noting", {}, make_explainer("saliency").traits, noting), repeats=2)
    assert calls == [[0] * 4] * 3


# Layer by layer.


@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_a_cascade_is_the_mean_over_its_steps(order: str, repeats: int) -> None:
    """Of two layers: one drawn anew, then both, each compared with the map of the model as it was."""
    model_pass = make_pass(Pooled(), random_images(3))
    scores = run_block(model_pass, make_explainer("saliency"), {f"mprt_{order}": {"repeats": repeats}})[f"mprt_{order}"]
    before = explain("saliency", model_pass).norm(dim=1)
    steps = [Randomised(n, *step) for n in range(repeats) for step in ((order, 1), ("full", 0))]
    nets = [step.model(model_pass.model, model_pass.seed) for step in steps]
    expected = [correlation(before, explain("saliency", make_pass(net, model_pass.images)).norm(dim=1)) for net in nets]
    np.testing.assert_allclose(scores, np.mean(expected, axis=0), atol=1e-6)


def test_the_two_ends_differ() -> None:
    """With the head drawn anew the convolution's pattern stays; without it the head's weights do."""
    assert not torch.allclose(*(run_scores(name, make_explainer("saliency")) for name in CASCADES))


@pytest.mark.parametrize("name", CASCADES)
def test_one_layer_is_all_layers(name: str) -> None:
    """Of a linear model both orders are full randomisation, exactly."""
    model_pass = linear(rows(), random_images(2))
    scores = run_block(model_pass, make_explainer("saliency"), {name: {"repeats": 2}, "mprt": {"repeats": 2}})
    assert scores[name].equal(scores["mprt"])


# Smoothed.


def test_smoothing_does_nothing_where_the_gradient_is_the_same_everywhere() -> None:
    """A linear model's saliency under noise is its weight row: the value of `mprt`."""
    model_pass = linear(rows(), random_images(2))
    params = {"mprt": {"repeats": 2}, "smooth_mprt": {"repeats": 2, "samples": 3}}
    scores = run_block(model_pass, make_explainer("saliency"), params)
    torch.testing.assert_close(scores["smooth_mprt"], scores["mprt"])


def test_maps_of_the_same_noisy_copies_are_averaged_on_both_sides() -> None:
    """Input times gradient of a linear model, averaged, is the mean noisy image times the weights, trained or drawn."""
    model_pass = linear(rows(), random_images(3))
    explainer = make_explainer("input_x_gradient", zero="black")
    scores = run_block(model_pass, explainer, {"smooth_mprt": {"samples": 4, "noise": 0.3}})["smooth_mprt"]
    mean = torch.stack([batch.images for batch in Smoothed(Variant(), 4, 0.3).batches(model_pass)]).mean(0)
    drawn = Randomised(0).model(model_pass.model, model_pass.seed).net.weight.detach()
    maps = [
        (mean * weight[0]).sum(1).unflatten(1, (4, 2)).unflatten(3, (4, 2)).mean((2, 4)) for weight in (rows(), drawn)
    ]
    expected = correlation(*(m.abs() for m in maps))
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("params", [{"samples": 0}, {"noise": 0}, {"noise": float("nan")}, {"noise": float("inf")}])
def test_smoothing_that_makes_no_sense_is_refused(params: dict) -> None:
    """At least one copy, with some noise."""
    with pytest.raises(BadParameter, match="samples >= 1 and noise > 0"):
        metrics["smooth_mprt"].create(params)


# Entropy.


def test_a_rise_from_two_values_to_all() -> None:
    """From two bins to a hundred, equally full, it is (ln 100 − ln 2)/ln 2; back it is (ln 2 − ln 100)/ln 100."""
    ordered = torch.arange(100.0).view(1, 10, 10) * -3
    halves = (ordered < -148).float()
    rise = np.log(100) / np.log(2) - 1
    np.testing.assert_allclose(compare("efficient_mprt", halves, ordered, 5), [rise], rtol=1e-6)
    np.testing.assert_allclose(compare("efficient_mprt", ordered, halves, 5), [1 / (1 + rise) - 1], rtol=1e-6)


@pytest.mark.parametrize("bins", [10, 100])
def test_the_rise_of_a_linear_model_is_that_of_its_weights(bins: int) -> None:
    """The relative rise of scipy's entropy of numpy's histogram, from trained weights' lengths to drawn ones'."""
    model_pass = linear(rows(2, 16), random_images(2, 16))
    scores = run_block(model_pass, make_explainer("saliency"), {"efficient_mprt": {"repeats": 2, "bins": bins}})[
        "efficient_mprt"
    ]
    nets = [model_pass.model, *(Randomised(number).model(model_pass.model, model_pass.seed) for number in range(2))]
    maps = [net.net.weight[0].detach().double().norm(dim=0).numpy() for net in nets]
    first, *entropies = (stats.entropy(np.histogram(m, bins)[0]) for m in maps)
    np.testing.assert_allclose(scores, [np.mean([(h - first) / first for h in entropies])] * 2, rtol=1e-5)


def test_the_entropy_is_that_of_quantus() -> None:
    """A histogram of the map's own range, whatever the sign of its values; a hundred times the map is the same."""
    maps = torch.randn((2, 16, 16), generator=torch.Generator().manual_seed(0))
    theirs = EfficientMPRT(disable_warnings=True).complexity_func
    first, then = (theirs(a=m.double().numpy(), x=m.numpy(), n_bins=100) for m in maps)
    expected = [(then - first) / first]
    np.testing.assert_allclose(compare("efficient_mprt", maps[:1], maps[1:]), expected, rtol=1e-5)
    np.testing.assert_allclose(compare("efficient_mprt", maps[:1] * 100, maps[1:]), expected, rtol=1e-4)


def test_entropy_needs_two_bins() -> None:
    """In one bin no map has any."""
    with pytest.raises(BadParameter, match="bins must be at least 2, got 1"):
        metrics["efficient_mprt"].create({"bins": 1})


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_constant_or_nan_map_has_no_rise(side: str) -> None:
    """Neither from nor to a map without values."""
    varied, flat = torch.randn((2, 8, 8), generator=torch.Generator().manual_seed(0)), torch.ones(2, 8, 8)
    flat[1, 0, 0] = torch.inf
    scores = compare("efficient_mprt", *((flat, varied) if side == "before" else (varied, flat)))
    assert scores.isnan().all()


# Another class.


def test_a_linear_model_s_classes_are_as_alike_as_its_rows() -> None:
    """Input times gradient on an all-white image is the weight row: scipy's rank correlation of two of them, signed."""
    weight = rows(3)
    model_pass = linear(weight, torch.ones(12, 3, 8, 8))
    classes = OtherClass(0).targets(model_pass, targets(model_pass))
    scores = run_block(model_pass, make_explainer("input_x_gradient", zero="black"), {"random_logit": {}})[
        "random_logit"
    ]
    summed = weight.sum(1)
    np.testing.assert_allclose(scores, correlation(summed[:1].expand(12, -1, -1), summed[classes]), atol=1e-6)
    assert set(classes.tolist()) == {1, 2}


def test_several_classes_are_averaged() -> None:
    """Each draw is another class, with replacement; the score is their mean."""
    weight = rows(4)
    model_pass = linear(weight, torch.ones(6, 3, 8, 8))
    scores = run_block(model_pass, make_explainer("input_x_gradient", zero="black"), {"random_logit": {"draws": 5}})[
        "random_logit"
    ]
    summed, first = weight.sum(1), weight.sum(1)[:1].expand(6, -1, -1)
    correlations = [
        correlation(first, summed[OtherClass(n).targets(model_pass, targets(model_pass))]) for n in range(5)
    ]
    np.testing.assert_allclose(scores, np.mean(correlations, axis=0), atol=1e-6)


def test_of_two_opposite_classes_only_the_sign_differs() -> None:
    """Signed maps are opposite, −1; lengths of gradients are the same, 1: with two classes that says nothing."""
    half = rows(1)
    model_pass = linear(torch.cat([half, -half]), random_images(3))
    assert (
        run_block(model_pass, make_explainer("input_x_gradient"), {"random_logit": {}})["random_logit"].tolist()
        == [-1] * 3
    )
    assert run_block(model_pass, make_explainer("saliency"), {"random_logit": {}})["random_logit"].tolist() == [1] * 3


def test_one_class_has_no_other() -> None:
    """Without a second class there is nothing to compare with: no value, no error."""
    assert (
        run_block(linear(rows(1), random_images(3)), make_explainer("saliency"), {"random_logit": {}})["random_logit"]
        .isnan()
        .all()
    )


def test_random_logit_is_that_of_quantus() -> None:
    """With two classes the other one is certain; every pixel a cell."""
    model_pass = linear(rows(2), random_images(4))

    def maps(model: object, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        inputs_pass = make_pass(model_pass.model, torch.as_tensor(inputs).float())
        actual = inputs_pass.images * inputs_pass.input_gradient(torch.as_tensor(targets))
        return actual.sum(1, keepdim=True).numpy()

    def theirs(classes: int) -> list[float]:
        settings = {"abs": False, "normalise": False, "disable_warnings": True}
        measure = RandomLogit(correlation_spearman, num_classes=classes, **settings)
        images, first = model_pass.images.numpy(), np.zeros(4, dtype=int)
        return measure(
            model_pass.model.net, images, first, maps(None, images, first), explain_func=maps, channel_first=True
        )

    scores = run_block(model_pass, make_explainer("input_x_gradient", zero="black"), {"random_logit": {}}, grid=8)[
        "random_logit"
    ]
    np.testing.assert_allclose(scores, theirs(2), atol=1e-6)
    with pytest.raises(RuntimeError, match="out of bounds"):
        theirs(1000)


def test_at_least_one_other_class() -> None:
    """Nothing to compare with is refused."""
    with pytest.raises(BadParameter, match="draws must be at least 1, got 0"):
        metrics["random_logit"].create({"draws": 0})


class _Unmoved(Pooled):
    """Answers by a copy of its weights that nobody draws anew; its own parameters are idle."""

    def __init__(self) -> None:
        super().__init__()
        vars(self)["frozen"] = Pooled().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return vars(self)["frozen"](images) + 0 * super().forward(images)


@pytest.mark.parametrize("metric", [*FULL, *CASCADES])
def test_weights_that_change_no_answer_have_no_value(metric: str) -> None:
    """What was not made to forget is not shown to remember, whatever kept its answers."""
    model_pass = make_pass(make_model(_Unmoved(), cam_layer="relu"), random_images(2, 16), chunk=2)
    params = {"samples": 2} if metric == "smooth_mprt" else {}
    assert run_block(model_pass, make_explainer("saliency"), {metric: params}, grid=8)[metric].isnan().all()
    assert (
        "the answer for the image did not change when the weights were randomised" in metrics[metric].traits.undefined
    )


def test_an_image_whose_answer_stays_has_no_value() -> None:
    """A black one, for a linear model without bias; the other image has one."""
    images = random_images(2)
    images[1] = 0
    values = run_block(linear(rows(2), images), make_explainer("saliency"), {"mprt": {}})["mprt"]
    assert values.isnan().tolist() == [False, True]
