"""Robustness of models whose gradient under noise, in the mirror and behind a shift is known, scored as in a run."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from quantus.metrics.robustness.avg_sensitivity import AvgSensitivity
from quantus.metrics.robustness.consistency import Consistency
from quantus.metrics.robustness.local_lipschitz_estimate import LocalLipschitzEstimate
from quantus.metrics.robustness.max_sensitivity import MaxSensitivity
from quantus.metrics.robustness.relative_input_stability import RelativeInputStability
from quantus.metrics.robustness.relative_output_stability import RelativeOutputStability
from quantus.metrics.robustness.relative_representation_stability import RelativeRepresentationStability
from scipy import stats
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, cell_means
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explanation
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Noise, Replicate
from mavis.core.registry import metrics
from mavis.engine.planning.plan import Component

from ..toys import Linear, Pooled, explain, make_explainer, make_model, make_pass, random_images, run_block, targets

SENSITIVITIES = ("avg_sensitivity", "max_sensitivity", "avg_sensitivity_normalised")
STABILITIES = ("relative_input_stability", "relative_output_stability", "relative_representation_stability")
NOISY = (*SENSITIVITIES, *STABILITIES, "local_lipschitz", "consistency")


class Quadratic(nn.Module):
    """Logits (Σx²/2, threshold): the gradient of the first is the image itself."""

    def __init__(self, threshold: float = -1.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        energy = images.square().sum((1, 2, 3)) / 2
        return torch.stack([energy, torch.full_like(energy, self.threshold)], dim=1)


def rows(*, sure: bool = False) -> Tensor:
    """Three normal weight rows ``(3,3,8,8)``; if asked, the model is sure of the first class whatever it sees."""
    weight = torch.randn((3, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    if sure:
        weight[1:] = -100
    return weight


def own(read: Callable[[Pass], Tensor]) -> Component:
    """An explainer that returns what it reads from the pass."""
    return Component("own", {}, make_explainer("sobel").traits, lambda model_pass, _: read(model_pass))


def noisy(model_pass: Pass, draws: int, radius: float = 8 / 255) -> list[Tensor]:
    """The noisy copies that all metrics share."""
    return [next(Noise(radius, number).batches(model_pass)).images for number in range(draws)]


def maps_on(model_pass: Pass, values: Tensor, grid: int = 2) -> Explanation:
    """Maps ``(B,H,W)`` as if they had been made on the pass."""
    return Explanation(Maps.from_values(values, grid), model_pass, targets(model_pass))


def compare(name: str, before: Explanation, after: Explanation, **params: object) -> Tensor:
    """The scores of one variant."""
    value: Tensor = metrics[name].create(params).compare(before, after)
    return value


def changes(images: Tensor, changed: Tensor, *, unit: bool = False) -> np.ndarray:
    """Relative change of the pixel-wise lengths of the image, which are the quadratic model's saliency map."""
    before, after = (np.linalg.norm(x.double().numpy(), axis=1).reshape(len(x), -1) for x in (images, changed))
    if unit:
        before, after = (x / np.sqrt((x**2).mean(1, keepdims=True)) for x in (before, after))
    return np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)


def threshold_at(image: Tensor) -> Quadratic:
    """The quadratic model under which about half of an image's noisy copies change the class."""
    return Quadratic(Quadratic()(image)[0, 0].item() - 1e-3)


# Sensitivity.


def test_the_gradient_of_a_linear_model_does_not_move() -> None:
    """Its map is the weight row for every image: all three sensitivities are 0."""
    net = Linear(torch.stack([torch.ones(3, 8, 8), -torch.ones(3, 8, 8)]) * torch.rand(3, 8, 8))
    scores = run_block(
        make_pass(net, random_images(4)), make_explainer("saliency"), {name: {} for name in SENSITIVITIES}
    )
    for name in SENSITIVITIES:
        torch.testing.assert_close(scores[name], torch.zeros(4), rtol=0, atol=1e-6)


def test_the_gradient_of_a_quadratic_model_moves_as_the_image_does() -> None:
    """With the image as gradient, the change of the map is that of the noisy image, draw by draw."""
    model_pass = make_pass(Quadratic(), random_images(5))
    scores = run_block(
        model_pass, make_explainer("saliency"), {name: {"radius": 0.2, "draws": 4} for name in SENSITIVITIES}
    )
    plain = np.stack([changes(model_pass.images, noisy_images) for noisy_images in noisy(model_pass, 4, 0.2)])
    unit = np.stack([changes(model_pass.images, noisy_images, unit=True) for noisy_images in noisy(model_pass, 4, 0.2)])
    np.testing.assert_allclose(scores["avg_sensitivity"], plain.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scores["max_sensitivity"], plain.max(0), rtol=1e-4)
    np.testing.assert_allclose(scores["avg_sensitivity_normalised"], unit.mean(0), rtol=1e-4)


def test_input_times_gradient_of_a_linear_model_moves_with_the_weighted_noise() -> None:
    """Its map is Σ x·w over the channels, so the change is Σ (x' − x)·w, by hand."""
    weight, images = rows(sure=True), random_images(3)
    model_pass = make_pass(Linear(weight), images)
    explainer = make_explainer("input_x_gradient", zero="black")
    scores = run_block(model_pass, explainer, {"avg_sensitivity": {"draws": 2}, "max_sensitivity": {"draws": 2}})
    length = (images * weight[0]).sum(1).flatten(1).norm(dim=1)
    ratios = torch.stack(
        [((o - images) * weight[0]).sum(1).flatten(1).norm(dim=1) / length for o in noisy(model_pass, 2)]
    )
    torch.testing.assert_close(scores["avg_sensitivity"], ratios.mean(0), rtol=1e-4, atol=0)
    torch.testing.assert_close(scores["max_sensitivity"], ratios.amax(0), rtol=1e-4, atol=0)


def test_only_draws_that_keep_the_prediction_count() -> None:
    """With the threshold at the image itself about half of the draws change the class; they are left out."""
    image = random_images(1, seed=3)
    model_pass = make_pass(threshold_at(image), image.repeat(24, 1, 1, 1))
    scores = run_block(model_pass, make_explainer("saliency"), {name: {} for name in SENSITIVITIES})
    same_prediction = np.stack(
        [(model_pass.predict(noisy_images).argmax(1) == 0).numpy() for noisy_images in noisy(model_pass, 3)]
    )
    plain = np.where(
        same_prediction,
        np.stack([changes(model_pass.images, noisy_images) for noisy_images in noisy(model_pass, 3)]),
        np.nan,
    )
    none = ~same_prediction.any(0)
    assert none.any()
    assert (same_prediction.sum(0) == 1).any()
    assert np.array_equal(scores["avg_sensitivity"].isnan().numpy(), none)
    assert np.array_equal(scores["max_sensitivity"].isnan().numpy(), none)
    np.testing.assert_allclose(scores["avg_sensitivity"][~none], np.nanmean(plain[:, ~none], axis=0), rtol=1e-4)
    np.testing.assert_allclose(scores["max_sensitivity"][~none], np.nanmax(plain[:, ~none], axis=0), rtol=1e-4)


def test_the_metrics_share_their_draws() -> None:
    """Two draws for all metrics of noise: the explainer runs once on the image and once on each noisy copy."""
    calls = []

    def counting(model_pass: Pass) -> Tensor:
        calls.append(model_pass)
        return model_pass.images

    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    scores = run_block(model_pass, own(counting), {name: {"draws": 2} for name in NOISY})
    assert len(calls) == 3
    assert (scores["max_sensitivity"] >= scores["avg_sensitivity"]).all()


def test_a_zero_map_has_no_sensitivity() -> None:
    """Nothing to divide by: no value, not a perfect 0. A constant map is still perfect: it never moves."""
    for value, expected in ((0.0, None), (0.4, 0.0)):
        explainer = own(lambda model_pass, v=value: torch.full_like(model_pass.images[:, :1], v))  # type: ignore[misc]
        scores = run_block(make_pass(Pooled(), random_images(2)), explainer, {name: {} for name in SENSITIVITIES})
        for name in SENSITIVITIES:
            assert [None if v.isnan() else v.item() for v in scores[name]] == [expected] * 2


def test_a_map_of_three_channels_is_pooled_on_both_sides() -> None:
    """An explainer that always returns the same three channels has not moved; pooled against raw would be √3."""
    raw = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    explainer = own(lambda model_pass: raw.expand_as(model_pass.images))
    scores = run_block(make_pass(Quadratic(), random_images(2)), explainer, {name: {} for name in SENSITIVITIES})
    assert all(scores[name].tolist() == [0, 0] for name in SENSITIVITIES)


@pytest.mark.parametrize("name", [*SENSITIVITIES, *STABILITIES, "input_invariance"])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_does_not_matter(name: str, scale: float) -> None:
    """Both maps times any number change as much in relation, zeros among their values included."""
    model_pass, second_pass = (
        make_pass(make_model(Pooled(), cam_layer="conv"), random_images(3, 4, seed)) for seed in (0, 1)
    )
    values = [torch.randn((3, 4, 4), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    values[0][:, 0] = 0
    expected = compare(name, maps_on(model_pass, values[0]), maps_on(second_pass, values[1]))
    scaled = compare(name, maps_on(model_pass, values[0] * scale), maps_on(second_pass, values[1] * scale))
    torch.testing.assert_close(scaled, expected)


def test_the_normalised_form_ignores_the_length() -> None:
    """A map that only grows has changed by its growth, but its pattern by nothing; a flipped sign is the largest, 2."""
    values = torch.randn((3, 4, 4), generator=torch.Generator().manual_seed(0))
    model_pass = make_pass(Pooled(), random_images(3, 4))
    maps, larger, flipped = (maps_on(model_pass, v) for v in (values, values * 3, -values))
    torch.testing.assert_close(compare("avg_sensitivity", maps, larger), torch.full((3,), 2.0))
    torch.testing.assert_close(compare("avg_sensitivity_normalised", maps, larger), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(compare("avg_sensitivity_normalised", maps, flipped), torch.full((3,), 2.0))


@pytest.mark.parametrize("params", [{"radius": 0}, {"radius": 1.1}, {"draws": 0}])
def test_noise_that_makes_no_sense_is_refused(params: dict) -> None:
    """The radius lies in (0,1], and there is at least one draw."""
    for name in NOISY:
        with pytest.raises(BadParameter):
            metrics[name].create(params)


# Local Lipschitz constant.


def test_the_lipschitz_constant_of_a_quadratic_model_is_its_curvature() -> None:
    """The gradient of a·Σx²/2 is a times the image: where one channel moves, the map moves a times as far."""

    class Curved(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 2.5 * images.square().sum((1, 2, 3))[:, None].expand(-1, 2) / 2

    images, noisy_images = random_images(3), random_images(3)
    noisy_images[:, 1] = random_images(3, seed=1)[:, 1]
    before, after = (make_pass(Curved(), x) for x in (images, noisy_images))
    gradients = (
        explain("input_x_gradient", model_pass, zero="black") / model_pass.images for model_pass in (before, after)
    )
    actual = [maps_on(model_pass, g.sum(1)) for model_pass, g in zip((before, after), gradients, strict=True)]
    torch.testing.assert_close(compare("local_lipschitz", *actual), torch.full((3,), 2.5))


def test_the_steepest_draw_counts() -> None:
    """For a map that is three times one channel, each ratio follows from the noise; the largest is the score."""
    model_pass = make_pass(Quadratic(), random_images(4))
    scores = run_block(
        model_pass, own(lambda model_pass: 3 * model_pass.images[:, :1]), {"local_lipschitz": {"draws": 5}}
    )
    steps = [noisy_images - model_pass.images for noisy_images in noisy(model_pass, 5)]
    ratios = torch.stack([3 * s[:, 0].flatten(1).norm(dim=1) / s.flatten(1).norm(dim=1) for s in steps])
    torch.testing.assert_close(scores["local_lipschitz"], ratios.amax(0))


def test_an_image_that_did_not_move_has_no_lipschitz_constant() -> None:
    """Nothing to divide by: no value."""
    model_pass = make_pass(Quadratic(), random_images(2))
    assert (
        compare(
            "local_lipschitz",
            maps_on(model_pass, random_images(2)[:, 0]),
            maps_on(model_pass, random_images(2, seed=1)[:, 0]),
        )
        .isnan()
        .all()
    )


# Relative stability.


def tenth_more(values: Callable[[Tensor], Tensor], layer: str = "conv") -> tuple[Explanation, Explanation]:
    """Images and their 1.1 fold, under a net without biases, with maps that are a function of the image's red."""
    net = Pooled()
    with torch.no_grad():
        net.conv.bias.zero_()
        net.head.bias.zero_()
    passes = [make_pass(make_model(net, cam_layer=layer), random_images(3) * factor) for factor in (0.9, 0.99)]
    before, after = (maps_on(model_pass, values(model_pass.images[:, 0])) for model_pass in passes)
    return before, after


def test_stability_is_a_ratio_of_relative_changes() -> None:
    """A tenth more light in 3·64 values; red squared grows by .21 in 64 values, and no scale matters."""
    before, after = tenth_more(lambda red: 7 * red**2)
    change = 0.21 * 8
    activations = before.model_pass.activations[0].numel()
    expected = {
        "relative_input_stability": torch.full((3,), change / (0.1 * (3 * 64) ** 0.5)),
        "relative_output_stability": change / (0.1 * before.model_pass.logits.norm(dim=1)),
        "relative_representation_stability": torch.full((3,), change / (0.1 * activations**0.5)),
    }
    for name, ratio in expected.items():
        torch.testing.assert_close(compare(name, before, after), ratio.log10(), rtol=0, atol=1e-4)


def test_silent_units_do_not_count_while_they_stay_silent() -> None:
    """Behind the ReLU the change of the representation is a tenth of each unit that fires."""
    before, after = tenth_more(lambda red: red, "relu")
    firing = (before.model_pass.activations > 0).flatten(1).sum(1)
    expected = (0.8 / (0.1 * firing**0.5)).log10()
    torch.testing.assert_close(compare("relative_representation_stability", before, after), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", STABILITIES)
def test_a_map_that_does_not_move_has_the_least_value(name: str) -> None:
    """No ratio below 1e-6 is told apart: the score is −6, not minus infinity, and no missing value."""
    assert compare(name, *tenth_more(torch.ones_like)).tolist() == [-6] * 3


def test_the_gradient_of_a_linear_model_is_as_stable_as_can_be() -> None:
    """Its map is the weight row for every image: −6 in a run too."""
    model_pass = make_pass(Linear(rows(sure=True)), random_images(3))
    for name in STABILITIES[:2]:
        assert run_block(model_pass, make_explainer("saliency"), {name: {}})[name].tolist() == [-6] * 3


@pytest.mark.parametrize("name", STABILITIES)
def test_what_does_not_move_under_a_moving_map_counts_as_a_millionth(name: str) -> None:
    """The same image, logits and activations under another map: the denominator is 1e-6."""
    before, after = tenth_more(lambda red: red)
    still = Explanation(after.maps, before.model_pass, before.targets)
    torch.testing.assert_close(
        compare(name, before, still), torch.full((3,), math.log10(0.8 / 1e-6)), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("name", STABILITIES)
def test_the_largest_draw_that_keeps_the_prediction_counts(name: str) -> None:
    """The score of several draws is the maximum over those under which the class stays; with none there is none."""
    image = random_images(1, seed=3)

    class Marked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()
            self.rest = threshold_at(image)

        def forward(self, images: Tensor) -> Tensor:
            return self.rest(self.layer(images))  # type: ignore[no-any-return]

    model_pass = make_pass(make_model(Marked(), cam_layer="layer"), image.repeat(16, 1, 1, 1))
    scores = run_block(model_pass, make_explainer("saliency"), {name: {"draws": 3}})[name]
    maps = [
        maps_on(p, explain("saliency", p).norm(dim=1))
        for p in (model_pass, *(make_pass(model_pass.model, o) for o in noisy(model_pass, 3)))
    ]
    same_prediction = torch.stack([m.model_pass.logits.argmax(1) == 0 for m in maps[1:]])
    values = torch.stack([compare(name, maps[0], m) for m in maps[1:]]).where(same_prediction, -torch.inf).amax(0)
    assert not same_prediction.all(0).all()
    assert not same_prediction.any(0).all()
    torch.testing.assert_close(scores, values.where(same_prediction.any(0), torch.nan), equal_nan=True)


@pytest.mark.parametrize("name", STABILITIES)
def test_a_zero_map_has_no_stability(name: str) -> None:
    """No share of nothing can change."""
    assert compare(name, *tenth_more(torch.zeros_like)).isnan().all()


def test_a_black_image_has_no_input_stability() -> None:
    """No share of its light can change."""
    black, grey = (make_pass(Quadratic(), torch.full((1, 3, 8, 8), v)) for v in (0.0, 0.1))
    actual = [maps_on(model_pass, random_images(1, seed=s)[:, 0]) for s, model_pass in enumerate((black, grey))]
    assert compare("relative_input_stability", *actual).isnan().all()


# Consistency.


def test_consistency_is_the_share_of_draws_that_keep_the_class() -> None:
    """With a map that never moves, all noisy copies share it, and half of them or so change the class."""
    image = random_images(1, seed=3)
    model_pass = make_pass(threshold_at(image), image.repeat(12, 1, 1, 1))
    same_prediction = torch.stack(
        [(model_pass.predict(noisy_images).argmax(1) == 0).float() for noisy_images in noisy(model_pass, 4)]
    )
    scores = run_block(model_pass, make_explainer("centre_gaussian"), {"consistency": {"draws": 4}})["consistency"]
    assert 0 < same_prediction.mean() < 1
    assert scores.tolist() == same_prediction.mean(0).tolist()


def test_a_map_that_tells_the_class_is_consistent() -> None:
    """It points left for one class and right for the other: who shares the map shares the class, if anyone does."""
    image = random_images(1, seed=3)
    model_pass = make_pass(threshold_at(image), image.repeat(24, 1, 1, 1))
    side = torch.linspace(-1, 1, 8).expand(1, 1, 8, 8)
    explainer = own(lambda model_pass: side * (2 * model_pass.logits.argmax(1) - 1)[:, None, None, None])
    same_prediction = torch.stack(
        [model_pass.predict(noisy_images).argmax(1) == 0 for noisy_images in noisy(model_pass, 3)]
    )
    scores = run_block(model_pass, explainer, {"consistency": {}})["consistency"]
    torch.testing.assert_close(scores, torch.where(same_prediction.any(0), 1.0, torch.nan), equal_nan=True)
    assert scores.isnan().any()


@pytest.mark.parametrize(
    ("cells", "top", "alike"),
    [
        ([1.0, 4, 3, 0], 2, True),
        ([1.0, 4, 3, 0], 1, False),
        ([4.0, 1, 2, 3], 2, False),
        ([1.0, 3, 4, 0], 4, True),
        ([1.0, 3, 4, 0], 9, True),
        ([3.0, 3, 4, 0], 2, False),
        ([0.0, 0, 0, 0], 2, False),
    ],
)
def test_the_set_of_top_cells_counts(cells: list[float], top: int, alike: bool) -> None:
    """Not their order nor their values; a cell tied with the last one makes the set another."""
    model_pass = make_pass(Quadratic(), random_images(1, 2))
    before, after = (maps_on(model_pass, torch.tensor(c).view(1, 2, 2)) for c in ([1.0, 3, 4, 0], cells))
    assert compare("consistency", before, after, top=top).isnan().item() is not alike


def test_a_constant_map_is_not_consistent() -> None:
    """All of its cells are on top, which says nothing: no value. So has a map that moves with every draw."""
    model_pass = make_pass(Quadratic(), random_images(3))
    assert (
        run_block(model_pass, own(lambda model_pass: torch.ones_like(model_pass.images)), {"consistency": {}})[
            "consistency"
        ]
        .isnan()
        .all()
    )
    assert run_block(model_pass, make_explainer("random"), {"consistency": {}})["consistency"].isnan().all()


def test_consistency_does_not_depend_on_the_batch() -> None:
    """An image's value is the same alone; that of Quantus is how many others of the batch happen to agree."""
    images = random_images(6, seed=3)
    net = threshold_at(images[:1])
    expected = run_block(make_pass(net, images), make_explainer("centre_gaussian"), {"consistency": {}})["consistency"]
    alone = run_block(make_pass(net, images[:1]), make_explainer("centre_gaussian"), {"consistency": {}})["consistency"]
    assert expected[0] == alone[0]
    theirs = Consistency(disable_warnings=True)
    labels = {"i_batch": np.arange(3), "a_label_batch": np.zeros(3), "y_pred_classes": np.array([0, 0, 1])}
    full_batch = theirs.evaluate_batch(a_batch=np.zeros((3, 1)), **labels)
    fewer = theirs.evaluate_batch(a_batch=np.zeros((2, 1)), **{k: v[:2] for k, v in labels.items()})
    assert [round(float(v), 6) for v in (full_batch[0], fewer[0])] == [0.5, 1.0]


def test_at_least_one_top_cell() -> None:
    """Without a top cell all maps would be the same."""
    with pytest.raises(BadParameter, match="top must be at least 1 cell, got 0"):
        metrics["consistency"].create({"top": 0})


# In the mirror.


def flip_scores(net: nn.Module, explainer: Component, images: Tensor, grid: int = 4, **params: object) -> Tensor:
    """The score of an explainer, its CAM layer the ReLU."""
    return run_block(make_pass(net, images), explainer, {"flip_equivariance": params}, grid)["flip_equivariance"]


def test_a_symmetric_model_explains_the_mirror_image_alike() -> None:
    """The saliency of a linear model with mirrored halves is symmetric, and the prediction stays: exactly 1."""
    weight = rows()
    assert (
        flip_scores(Linear(weight + weight.flip(-1)), make_explainer("saliency"), random_images(3)).tolist() == [1] * 3
    )


def test_an_asymmetric_model_points_to_the_same_side_in_the_mirror() -> None:
    """Its map does not turn with the image: the score is scipy's correlation of the weights with their own mirror."""
    weight = rows() / 1000
    cells = cell_means(weight[:1].norm(dim=1), 4)[0]
    expected = stats.spearmanr(cells, cells.view(4, 4).flip(1).flatten()).statistic
    np.testing.assert_allclose(
        flip_scores(Linear(weight), make_explainer("saliency"), random_images(3)), [expected] * 3, atol=1e-6
    )


@pytest.mark.parametrize("name", ["sobel", "centre_gaussian"])
@pytest.mark.parametrize("size", [8, 10])
def test_maps_that_turn_with_the_image_score_one(name: str, size: int) -> None:
    """Edges and the centre do, also where the cells are not of one width; it is no proof of sense."""
    explainer, images = make_explainer(name), random_images(3, size)
    torch.testing.assert_close(flip_scores(Quadratic(), explainer, images), torch.ones(3))


def test_a_prediction_that_moves_has_no_value() -> None:
    """Maps need not agree where the model does not: above max_prob_diff there is none, up to it there is."""
    images, net = random_images(6), Linear(rows() / 10)
    differences = (net(images).softmax(1) - net(images.flip(-1)).softmax(1))[:, 0].abs().detach()
    for limit in (0.0, 0.05, differences.sort().values[2:4].mean().item(), 1.0):
        assert (
            flip_scores(net, make_explainer("saliency"), images, max_prob_diff=limit).isnan() == (differences > limit)
        ).all()
    assert 0 < (differences > 0.05).sum() < 6
    assert flip_scores(net, make_explainer("saliency"), images).isnan().equal(differences > 0.05)


def test_the_probability_is_that_of_the_explained_class() -> None:
    """Each image follows its own target, predicted or not."""
    net, images, target = Linear(rows() / 10), random_images(6), torch.tensor([0, 1, 2] * 2)
    before, after = (
        Explanation(Maps.from_values(random_images(6)[:, 0], 2), make_pass(net, x), target)
        for x in (images, images.flip(-1))
    )
    p, q = (net(x).softmax(1)[range(6), target].detach() for x in (images, images.flip(-1)))
    differences = (p - q).abs()
    assert 0 < (differences > 0.05).sum() < 6
    assert compare("flip_equivariance", before, after).isnan().equal(differences > 0.05)


def test_a_constant_map_has_no_equivariance() -> None:
    """Without variance there is no correlation."""
    assert (
        flip_scores(Quadratic(), own(lambda model_pass: torch.ones_like(model_pass.images)), random_images(2))
        .isnan()
        .all()
    )


@pytest.mark.parametrize("limit", [-0.1, 1.1, float("nan")])
def test_the_largest_change_is_a_probability(limit: float) -> None:
    """Values outside [0,1] are refused."""
    with pytest.raises(BadParameter, match=r"a probability in \[0,1\]"):
        metrics["flip_equivariance"].create({"max_prob_diff": limit})


# Replicates.


def replicate_scores(explainer: Component, images: Tensor, **params: object) -> Tensor:
    model_pass = make_pass(Pooled(), images, chunk=len(images))
    return run_block(model_pass, explainer, {"replicate_agreement": params})["replicate_agreement"]


def test_who_draws_nothing_agrees_at_no_cost() -> None:
    """A deterministic explainer scores exactly 1, and is called once, however many repeats are asked."""
    calls = []

    def counting(model_pass: Pass) -> Tensor:
        calls.append(model_pass)
        return model_pass.images

    assert replicate_scores(own(counting), random_images(3), repeats=5).tolist() == [1] * 3
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["smoothgrad", "rise"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_who_draws_is_compared_with_other_draws(name: str, repeats: int) -> None:
    """The mean of scipy's rank correlations with the maps of passes under other seeds, which are not the same maps."""
    params = {"smoothgrad": {"samples": 2, "noise": 0.5}, "rise": {"masks": 6}}[name]
    model_pass = make_pass(Pooled(), random_images(3, 16))

    def cells(seed: int) -> Tensor:
        raw = explain(name, make_pass(Pooled(), model_pass.images, seed=seed), **params)
        return cell_means(raw.norm(dim=1) if name == "smoothgrad" else raw.sum(1), 4)

    before, seeds = cells(0), [Replicate(number).seed(0) for number in range(repeats)]
    expected = [[stats.spearmanr(b, a).statistic for b, a in zip(before, cells(s), strict=True)] for s in seeds]
    scores = replicate_scores(make_explainer(name, **params), model_pass.images, repeats=repeats)
    np.testing.assert_allclose(scores, np.mean(expected, axis=0), atol=1e-6)
    assert (scores < 1).all()


def test_noise_does_not_agree_with_itself() -> None:
    """Fresh noise correlates with nothing: mean 0 within 3 standard errors."""
    values = replicate_scores(make_explainer("random"), random_images(200))
    assert abs(values.mean()) < 3 * values.std() / 200**0.5


def test_a_constant_map_does_not_agree() -> None:
    """Without variance there is no correlation, not a perfect one."""
    assert replicate_scores(own(lambda model_pass: torch.ones_like(model_pass.images)), random_images(2)).isnan().all()


def test_at_least_one_replicate() -> None:
    """Nothing to agree with is refused."""
    with pytest.raises(BadParameter, match="repeats must be at least 1, got 0"):
        metrics["replicate_agreement"].create({"repeats": 0})


# Behind a shift.


def shift_scores(model_pass: Pass, explainer: Component, **params: object) -> Tensor:
    return run_block(model_pass, explainer, {"input_invariance": params})["input_invariance"]


@pytest.mark.parametrize("shift", [-1.0, 0.3])
def test_the_gradient_does_not_see_the_shift(shift: float) -> None:
    """The gradient of a linear model is its weight row wherever the images lie: exactly 0."""
    assert (
        shift_scores(make_pass(Linear(rows()), random_images(3)), make_explainer("saliency"), shift=shift).tolist()
        == [0] * 3
    )


@pytest.mark.parametrize("shift", [-1.0, 0.3])
def test_what_measures_from_black_changes_by_the_shift(shift: float) -> None:
    """Input times gradient of a linear model moves from Σ x·w to Σ (x + s)·w, so by |s|·‖Σ w‖ of ‖Σ x·w‖."""
    weight, images = rows(), random_images(3)
    expected = abs(shift) * weight[0].sum(0).norm() / (images * weight[0]).sum(1).flatten(1).norm(dim=1)
    scores = shift_scores(
        make_pass(Linear(weight), images), make_explainer("input_x_gradient", zero="black"), shift=shift
    )
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(
    "name", ["saliency", "input_x_gradient", "integrated_gradients", "occlusion", "smoothgrad", "cam"]
)
def test_what_measures_from_the_mean_does_not_change(name: str) -> None:
    """The data set's mean shifts along; padding inside the model sees nothing of the shift."""
    params = {"occlusion": {"window": 0.5, "stride": 0.25}, "smoothgrad": {"samples": 3}}.get(name, {})
    scores = shift_scores(
        make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3)), make_explainer(name, **params)
    )
    torch.testing.assert_close(scores, torch.zeros(3), rtol=0, atol=1e-4)


def test_a_zero_map_has_no_invariance() -> None:
    """Nothing to divide by: no value."""
    assert (
        shift_scores(make_pass(Pooled(), random_images(2)), own(lambda model_pass: torch.zeros_like(model_pass.images)))
        .isnan()
        .all()
    )


@pytest.mark.parametrize("shift", [0, float("inf"), float("nan")])
def test_a_shift_is_a_number_other_than_zero(shift: float) -> None:
    """Without a shift every map is invariant."""
    with pytest.raises(BadParameter, match="a number other than 0"):
        metrics["input_invariance"].create({"shift": shift})


# Quantus.


def fed(images: list[Tensor]) -> Callable[..., np.ndarray]:
    """A perturbation for Quantus that returns these images in turn."""
    queue = [image.numpy().reshape(len(image), -1).astype(np.float64) for image in images]
    return lambda arr, **_: queue.pop(0)


def quantus_of(kind: type, model_pass: Pass, draws: int, **params: object) -> np.ndarray:
    """Quantus's scores of the pooled saliency maps, given the same noisy copies."""

    def maps(model: object, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        maps = explain("saliency", make_pass(model_pass.model, torch.as_tensor(inputs).float()))
        return maps.norm(dim=1, keepdim=True).double().numpy()

    measure = kind(
        nr_samples=draws,
        abs=False,
        normalise=False,
        perturb_func=fed(noisy(model_pass, draws)),
        disable_warnings=True,
        **params,
    )
    images = model_pass.images.double().numpy()
    actual = measure(
        model=model_pass.model.net,
        x_batch=images,
        y_batch=np.zeros(len(images), dtype=int),
        a_batch=maps(None, images, np.zeros(0)),
        explain_func=maps,
        channel_first=True,
    )
    return np.asarray(actual, dtype=float)


@pytest.mark.parametrize(
    ("name", "kind", "params"),
    [
        ("avg_sensitivity", AvgSensitivity, {}),
        ("max_sensitivity", MaxSensitivity, {}),
        ("local_lipschitz", LocalLipschitzEstimate, {}),
        ("relative_input_stability", RelativeInputStability, {}),
        ("relative_output_stability", RelativeOutputStability, {}),
        ("relative_representation_stability", RelativeRepresentationStability, {"layer_names": ["conv"]}),
    ],
)
def test_scores_are_those_of_quantus_where_it_is_right(name: str, kind: type, params: dict) -> None:
    """On the same noisy copies, none of which changes the class, with no zero in sight; its stabilities have no log."""

    class Smooth(Pooled):
        def forward(self, images: Tensor) -> Tensor:
            actual: Tensor = self.head(torch.tanh(self.conv(images)).mean((2, 3)))
            return actual

    model_pass = make_pass(make_model(Smooth(), cam_layer="conv"), random_images(8).clamp_min(0.05))
    scores = run_block(model_pass, make_explainer("saliency"), {name: {"draws": 4}})[name]
    theirs = quantus_of(kind, model_pass, 4, **params)
    expected = np.log10(theirs) if name in STABILITIES else theirs
    same = torch.stack(
        [model_pass.predict(o).argmax(1) == model_pass.logits.argmax(1) for o in noisy(model_pass, 4)]
    ).all(0)
    assert same.sum() >= 5
    np.testing.assert_allclose(scores[same], expected[same.numpy()], rtol=1e-5, atol=2e-5)
