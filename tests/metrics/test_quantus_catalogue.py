"""The catalogue of Quantus's metrics against Quantus itself: categories, directions, and each fault reproduced.

Faults are shown on cases whose right answer can be written down, with Quantus called directly. A test that fails after
an update of Quantus means that a metric may be allowed again.
"""

import inspect
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quantus
import torch
from skimage.metrics import structural_similarity
from torch import nn

from mavis.core.registry import metrics
from mavis.metrics.quantus_catalogue import QUANTUS_METRICS, QuantusEntry

from .. import toys

SIDE = 4


# Declarations.


def test_the_catalogue_lists_the_metrics_of_quantus() -> None:
    """Every metric that Quantus lists, in Quantus's categories, is registered."""
    names = {"Axiomatic": "axioms"}
    expected = {
        (metric.__name__, names.get(category, category.lower()))
        for category, classes in quantus.AVAILABLE_METRICS.items()
        for metric in classes.values()
    }
    assert {(entry.name, entry.category) for entry in QUANTUS_METRICS} == expected
    assert all(metrics[entry.label].origin == "Quantus" for entry in QUANTUS_METRICS)


def test_directions_are_those_of_quantus_except_for_two() -> None:
    """Higher is better where Quantus declares it; its directions of two metrics are wrong."""
    differ = {
        entry.name
        for entry in QUANTUS_METRICS
        if entry.higher_is_better != (getattr(quantus, entry.name).score_direction.value == "higher")
    }
    assert differ == {"RegionPerturbation", "Consistency"}


FAULTY = [entry for entry in QUANTUS_METRICS if entry.faulty]


@pytest.mark.parametrize("entry", FAULTY, ids=lambda entry: entry.name)
def test_a_refused_metric_names_a_replacement(entry: QuantusEntry) -> None:
    """Its reason is one line and ends with a metric of MAVIS."""
    assert "\n" not in entry.faulty
    replacement = re.search(r"use '(\w+)'", entry.faulty)
    assert replacement
    assert replacement[1] in metrics


def test_the_page_lists_the_declarations() -> None:
    """docs/quantus.md has every metric with its category, direction and, if it is refused, the reason."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "quantus.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `quantus:(\w+)` \| (\w+) \| (\w+) \| (.+) \|$", page, re.MULTILINE)
    direction = {True: "higher", False: "lower"}
    assert set(rows) == {
        (
            entry.name,
            entry.category,
            direction[entry.higher_is_better],
            f"refused: {entry.faulty}" if entry.faulty else entry.summary,
        )
        for entry in QUANTUS_METRICS
    }


def test_metrics_that_explain_again_take_an_explainer() -> None:
    """Those whose code in Quantus calls the explainer; two refused metrics of these categories never do."""
    sources = {
        entry.name: inspect.getsource(sys.modules[getattr(quantus, entry.name).__module__]) for entry in QUANTUS_METRICS
    }
    calls = {name for name, source in sources.items() if re.search(r"self\.explain_(batch|func)\(", source)}
    re_explains = {entry.name for entry in QUANTUS_METRICS if entry.re_explains}
    assert calls < re_explains
    assert re_explains - calls == {"Consistency", "SmoothMPRT"}


def test_traits_tell_when_there_is_no_score() -> None:
    """Every metric lacks a score for a constant map; some need a region, and some an explainer for changed images."""
    entry = {entry.name: entry for entry in QUANTUS_METRICS}
    always = "a map is constant, not finite or below zero everywhere, or Quantus raised an error"
    assert entry["Complexity"].traits.undefined == always
    assert entry["AUC"].traits.undefined == f"{always}, or the region is empty or covers the whole image"
    assert entry["MPRT"].traits.undefined == f"{always}, or the explainer cannot explain changed images"


# Faults.


def ask(name: str, net: nn.Module, images: np.ndarray, maps: np.ndarray, **params: Any) -> Any:
    """Quantus's answer for class 0; a region, an explainer and the metric's own parameters may follow."""
    region, explain, mosaic = (params.pop(key, None) for key in ("region", "explain", "mosaic"))
    extra = {} if mosaic is None else {"custom_batch": mosaic}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = np.random.get_state()
        np.random.seed(0)
        try:
            return getattr(quantus, name)(disable_warnings=True, **params)(
                model=net.eval().requires_grad_(False),
                x_batch=images.astype(np.float32),
                y_batch=np.zeros(len(images), dtype=int),
                a_batch=maps.astype(np.float32),
                s_batch=region,
                channel_first=True,
                explain_func=explain,
                device="cpu",
                **extra,
            )
        finally:
            np.random.set_state(state)


def linear(weight: np.ndarray) -> nn.Module:
    """Logit 0 is the sum of weight ``(3,H,W)`` times image, logit 1 is 0."""
    weight = torch.tensor(weight, dtype=torch.float32)
    return toys.Linear(torch.stack([weight, torch.zeros_like(weight)]))


def red(values: np.ndarray) -> np.ndarray:
    """``(3,H,W)`` with values in the red channel only."""
    return np.stack([values, np.zeros_like(values), np.zeros_like(values)])


def white_but_a_corner() -> np.ndarray:
    """``(1,3,4,4)`` of ones; the first pixel is 0, so that 'black' is 0."""
    images = np.ones((1, 3, SIDE, SIDE))
    images[..., 0, 0] = 0
    return images


def rising() -> np.ndarray:
    """``(4,4)`` positive weights, each 1.3 times the last; the first pixel, which is black, has none."""
    weights = 0.02 * 1.3 ** np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    weights[0, 0] = 0
    return weights


def rows() -> list[np.ndarray]:
    """Four regions ``(1,1,4,4)``, a row each."""
    return [np.arange(SIDE)[:, None] * np.ones(SIDE) == row for row in range(SIDE)]


def saliency(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
    """The gradient, summed over channels."""
    images = torch.tensor(inputs, dtype=torch.float32, requires_grad=True)
    model(images).gather(1, torch.as_tensor(targets)[:, None]).sum().backward()
    return images.grad.sum(1, keepdim=True).numpy()


class Twins(nn.Module):
    """A convolution, BatchNorm and two linear layers of one shape."""

    def __init__(self) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(3)
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=stream)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.norm(self.conv(images)).tanh().mean((2, 3))
        out: torch.Tensor = self.head(self.second(self.first(features).tanh()).tanh())
        return out


# Channels.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("FaithfulnessCorrelation", {"subset_size": 4}),
        ("FaithfulnessEstimate", {}),
        ("MonotonicityCorrelation", {"nr_samples": 40}),
    ],
)
def test_a_map_with_one_number_per_pixel_cannot_be_right(name: str, params: dict[str, Any]) -> None:
    """Exact attributions of a linear model score 1 only if every channel has its own; pooled they score below."""
    net, images = linear(red(rising())), white_but_a_corner()
    exact = red(rising())[None] * images
    assert ask(name, net, images, exact, **params)[0] == pytest.approx(1, abs=0.02)
    assert ask(name, net, images, exact.sum(1, keepdims=True), **params)[0] < 0.75


def test_non_sensitivity_counts_the_idle_channels() -> None:
    """The green and blue of 15 pixels, of which the pooled map cannot say that they do nothing, are 30 mistakes."""
    net, images = linear(red(rising())), white_but_a_corner()
    exact = red(rising())[None] * images
    assert ask("NonSensitivity", net, images, exact) == [0]
    assert ask("NonSensitivity", net, images, exact.sum(1, keepdims=True)) == [30]


def test_pixel_flipping_removes_channels() -> None:
    """16 pixels take 48 steps, on the way of which pixels have lost one or two of their channels."""
    net, seen = linear(np.ones((3, SIDE, SIDE))), []
    handle = net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    curve = ask("PixelFlipping", net, white_but_a_corner(), rising()[None, None] + 1)
    handle.remove()
    assert np.shape(curve) == (1, 3 * SIDE * SIDE)
    assert any(torch.any((images == 0).any(1) & (images != 0).any(1)) for images in seen)


def test_its_area_under_the_curve_needs_an_old_numpy() -> None:
    """`np.trapz` is gone."""
    with pytest.raises(AttributeError, match="trapz"):
        ask(
            "PixelFlipping",
            linear(red(rising())),
            white_but_a_corner(),
            rising()[None, None],
            return_auc_per_sample=True,
        )


@pytest.mark.parametrize(
    ("name", "error", "message"), [("IROF", AssertionError, "same as the mask"), ("ROAD", IndexError, "out of bounds")]
)
def test_colour_images_with_one_map_raise(name: str, error: type[Exception], message: str) -> None:
    """Neither takes ``(1,1,H,W)`` maps of ``(1,3,H,W)`` images."""
    images = np.random.RandomState(0).rand(1, 3, 16, 16)
    with pytest.raises(error, match=message):
        ask(name, linear(np.ones((3, 16, 16))), images, images.sum(1, keepdims=True))


# Baselines and order.


@pytest.mark.parametrize("name", ["RegionPerturbation", "Selectivity"])
def test_black_is_the_darkest_value_of_the_image(name: str) -> None:
    """On a white image nothing is ever removed: the curve is flat, though the model reads every pixel."""
    net, images = linear(np.full((3, SIDE, SIDE), 0.1)), np.ones((1, 3, SIDE, SIDE))
    curve = ask(name, net, images, rising()[None, None], patch_size=2)[0]
    assert np.ptp(curve) == 0
    assert np.ptp(ask(name, net, images, rising()[None, None], patch_size=2, perturb_baseline=0.0)[0]) > 0.3


@pytest.mark.parametrize("name", ["RegionPerturbation", "Selectivity"])
def test_regions_of_equal_value_go_in_array_order(name: str) -> None:
    """The map calls three of four regions equal; which of them the model reads decides the score all the same."""
    maps = np.zeros((1, 1, SIDE, SIDE))
    maps[..., 0, 0] = 1
    actual = []
    for corner in ((0, 2), (2, 0), (2, 2)):
        weights = np.zeros((3, SIDE, SIDE))
        weights[:, corner[0] : corner[0] + 2, corner[1] : corner[1] + 2] = 0.1
        actual.append(round(float(np.mean(ask(name, linear(weights), white_but_a_corner(), maps, patch_size=2))), 4))
    assert len(set(actual)) == 3


@pytest.mark.parametrize(("name", "params"), [("RelevanceRankAccuracy", {}), ("TopKIntersection", {"k": 4})])
def test_equal_pixels_count_in_array_order(name: str, params: dict[str, Any]) -> None:
    """All but one pixel are equal, so rows of four would share alike; some get more than others."""
    net, images, maps = linear(red(rising())), white_but_a_corner(), np.zeros((1, 1, SIDE, SIDE))
    maps[..., 1, 1] = -1
    scores = [float(ask(name, net, images, maps, region=row[None, None], **params)[0]) for row in rows()]
    assert max(scores) - min(scores) >= 0.25


def test_pointing_game_takes_any_of_several_maxima() -> None:
    """One of two maxima in the region is half a hit, and an empty region none; both are whole ones."""
    net, images, maps = linear(red(rising())), white_but_a_corner(), np.zeros((1, 1, SIDE, SIDE))
    maps[..., 0, 0] = maps[..., 3, 3] = 1
    region = rows()[0][None, None]
    assert ask("PointingGame", net, images, maps, region=region) == [1]
    assert ask("PointingGame", net, images, maps, region=np.zeros_like(region)) == [1]


def test_relevance_mass_leaves_the_unit_interval() -> None:
    """3 inside and −1 outside are 3 of 2."""
    maps = np.zeros((1, 1, SIDE, SIDE))
    maps[..., 0, 0], maps[..., 3, 3] = 3, -1
    actual = ask(
        "RelevanceMassAccuracy", linear(red(rising())), white_but_a_corner(), maps, region=rows()[0][None, None]
    )
    assert actual == pytest.approx([1.5])


def test_focus_needs_mosaics() -> None:
    """Without the classes of four tiles it raises; with them half the map's sum lies on the first."""
    net, images, maps = linear(red(rising())), white_but_a_corner(), np.zeros((1, 1, SIDE, SIDE))
    maps[..., 0, 0] = maps[..., 3, 3] = 1
    with pytest.raises(TypeError):
        ask("Focus", net, images, maps)
    assert ask("Focus", net, images, maps, mosaic=np.array([[1, 0, 0, 0]])) == pytest.approx([0.5])


# Sums and sequences.


def test_monotonicity_never_puts_the_image_back() -> None:
    """Every pixel lowers the probability, so putting pixels back is never monotone; every map passes."""
    net, images = linear(np.full((3, SIDE, SIDE), -0.1)), white_but_a_corner()
    for maps in (rising(), 1 / (1 + rising()), np.random.RandomState(0).rand(SIDE, SIDE)):
        assert ask("Monotonicity", net, images, maps[None, None]) == [1]


def test_sensitivity_n_mixes_sums_and_images() -> None:
    """One image raises; exact attributions of a linear model, which are right for any n, score less than 1."""
    draws = np.random.RandomState(0)
    weights, images = 0.1 * draws.randn(3, SIDE, SIDE), draws.rand(8, 3, SIDE, SIDE)
    images[..., 0, 0] = 0
    with pytest.raises(ValueError, match="at least 2"):
        ask("SensitivityN", linear(weights), images[:1], weights * images[:1], return_aggregate=False)
    actual = ask("SensitivityN", linear(weights), images, weights * images, return_aggregate=False)
    assert min(actual) < 0.9


def test_infidelity_adds_up_perturbations() -> None:
    """Contributions 4, 3, 2, 1 told as 5, 3, 2, 1: a quarter of the squared mistake of 1, but after every step all."""
    images = np.zeros((1, 3, 2, 2))
    images[:, 0] = 1
    maps = np.array([[[[5, 3], [2, 1]]]])
    actual = ask("Infidelity", linear(red(np.array([[4, 3], [2, 1]]))), images, maps, perturb_patch_sizes=[1])
    assert actual == pytest.approx([1.0])  # 0.25 is right


def test_completeness_fails_complete_maps() -> None:
    """White on black under whole weights: the map adds up to the fall of the logit without a rounding error."""
    weights = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    maps = (red(weights) * white_but_a_corner()).sum(1, keepdims=True)
    assert ask("Completeness", linear(red(weights)), white_but_a_corner(), maps) == [0]


@pytest.mark.parametrize("name", ["Sufficiency", "Consistency"])
def test_the_score_depends_on_the_batch(name: str) -> None:
    """Three images of one class, of which two have nearly the same map: 1 in company, 0 alone."""
    net, images = linear(red(rising())), np.repeat(white_but_a_corner(), 3, axis=0)
    maps = np.repeat(rising()[None, None], 3, axis=0)
    maps[1] *= 1.001
    maps[2] = -np.random.RandomState(0).rand(1, SIDE, SIDE)
    assert ask(name, net, images, maps)[0] == pytest.approx(1)
    assert ask(name, net, images[:1], maps[:1])[0] == 0


# Randomised models.


@pytest.mark.parametrize("name", ["MPRT", "EfficientMPRT"])
def test_randomised_models_are_not_random(name: str) -> None:
    """Two layers of equal shape have the same weights, and BatchNorm is the identity."""
    models: list[nn.Module] = []

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        models.append(model)
        return np.random.RandomState(len(models)).rand(len(inputs), 1, *inputs.shape[2:])

    images = np.random.RandomState(0).rand(1, 3, 8, 8)
    ask(name, Twins(), images, images.sum(1, keepdims=True), explain=explain)
    last = models[-1]
    assert torch.equal(last.first.weight, last.second.weight)
    assert torch.equal(last.norm.weight, torch.ones(4))


def test_mprt_averages_the_model_in_that_it_randomises() -> None:
    """Maps without any likeness have the average likeness 0; here 1 over the number of layers and one is added."""
    images = np.random.RandomState(0).rand(1, 3, 8, 8)
    net = Twins().eval()
    first = images.sum(1, keepdims=True)
    orders = iter([first, *(1 - first,) * 5])

    def explain(**_: object) -> np.ndarray:
        return next(orders)

    actual = ask("MPRT", net, images, first, explain=explain, abs=False, return_average_correlation=True)
    assert actual == pytest.approx([(1 - 5) / 6])  # -1 is right


def test_smooth_mprt_never_calls_the_explainer() -> None:
    """What is scored is Quantus's own default."""
    called = []

    def explain(**_: object) -> None:
        called.append(1)

    images = np.random.RandomState(0).rand(1, 3, 8, 8)
    actual = ask("SmoothMPRT", toys.Pooled(), images, images.sum(1, keepdims=True), explain=explain, nr_samples=2)
    assert list(actual) == ["original", "conv", "head"]
    assert not called


def test_random_logit_assumes_a_thousand_classes_and_flattens() -> None:
    """By default a model of three classes is asked for the 104th; similarity is that of two rows of numbers."""
    images, ramp = np.random.RandomState(0).rand(1, 3, 8, 8), np.tile(np.arange(8, dtype=np.float32), (8, 1))
    first, second = ramp[None, None], ramp.T[None, None]
    classes = []

    def explain(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
        classes.append(int(targets[0]))
        return second

    ask("RandomLogit", Twins(), images, first, explain=explain)
    assert classes[0] >= 3
    actual = ask("RandomLogit", Twins(), images, first, explain=explain, normalise=False, num_classes=3)
    assert actual == pytest.approx([structural_similarity(ramp.ravel(), ramp.T.ravel(), data_range=7)], abs=1e-6)
    assert abs(actual[0] - structural_similarity(ramp, ramp.T, data_range=7)) > 0.1


@pytest.mark.parametrize(("padding", "same"), [(0, True), (1, False)])
def test_input_invariance_shifts_an_unpadded_first_layer_only(padding: int, same: bool) -> None:
    """The shifted model answers the shifted image like the model the image, unless the first layer pads."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding), nn.ReLU(), nn.Flatten()).eval().requires_grad_(False)
    images = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    shifted = quantus.PyTorchModel(net).add_mean_shift_to_first_layer(-1, (1, 3, 8, 8))
    assert torch.allclose(net(images), shifted(images - 1), atol=1e-5) == same


def test_input_invariance_needs_a_convolution_first() -> None:
    """A model that normalises its input raises."""
    net = nn.Sequential(nn.BatchNorm2d(3), Twins())
    images = np.random.RandomState(0).rand(1, 3, 8, 8)
    with pytest.raises(AttributeError, match="out_channels"):
        ask("InputInvariance", net, images, images.sum(1, keepdims=True), explain=saliency)


# Directions that are corrected, and parameters that cannot be set.


def test_region_perturbation_is_higher_for_a_better_map() -> None:
    """It returns falls: the exact map's are larger than the reversed one's, though Quantus calls less better."""
    net, images = linear(np.repeat(rising()[None], 3, 0)), white_but_a_corner()
    exact = ask("RegionPerturbation", net, images, rising()[None, None], patch_size=2)
    reverse = ask("RegionPerturbation", net, images, (1 - rising())[None, None], patch_size=2)
    assert np.mean(exact) > np.mean(reverse)
    assert quantus.RegionPerturbation.score_direction.value == "lower"


def test_its_direction_turns_with_the_order() -> None:
    """Under ``lerf`` the exact map's falls are the smaller ones, so the order cannot be set."""
    net, images = linear(np.repeat(rising()[None], 3, 0)), white_but_a_corner()
    exact = ask("RegionPerturbation", net, images, rising()[None, None], patch_size=2, order="lerf")
    reverse = ask("RegionPerturbation", net, images, (1 - rising())[None, None], patch_size=2, order="lerf")
    assert np.mean(exact) < np.mean(reverse)


def test_consistency_is_higher_for_a_better_map() -> None:
    """Two images with the same map and the same prediction are consistent, and score 1."""
    net, images = linear(red(rising())), np.repeat(white_but_a_corner(), 2, axis=0)
    assert ask("Consistency", net, images, np.repeat(rising()[None, None], 2, axis=0)) == pytest.approx([1, 1])


def test_weighted_attribution_localisation_is_infinite() -> None:
    """The region's share is taken of the batch without its first two images."""
    net, images = linear(red(rising())), white_but_a_corner()
    actual = ask(
        "AttributionLocalisation", net, images, rising()[None, None], region=rows()[1][None, None], weighted=True
    )
    assert np.isinf(actual).all()


def test_continuity_ignores_its_baseline() -> None:
    """White in place of black changes nothing, so it cannot be set."""
    images = np.random.RandomState(0).rand(1, 3, 16, 16)
    net = Twins()
    black, white = (
        ask("Continuity", net, images, images.sum(1, keepdims=True), explain=red_channel, perturb_baseline=baseline)
        for baseline in ("black", "white")
    )
    assert black == white


def red_channel(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
    """The image's red channel as a map."""
    return np.array(inputs[:, :1])


def test_every_refused_metric_is_shown_to_be_wrong() -> None:
    """Each stands in a test of this file."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert [k.name for k in QUANTUS_METRICS if k.faulty and not re.search(rf'"{k.name}"', text)] == []
