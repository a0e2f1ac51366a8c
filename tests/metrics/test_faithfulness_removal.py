"""Removal metrics on models whose curves can be written down, against plain loops, and against Quantus."""

import inspect
import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from quantus.helpers.model.pytorch_model import PyTorchModel
from quantus.metrics.faithfulness import irof as quantus_irof
from quantus.metrics.faithfulness.irof import IROF
from quantus.metrics.faithfulness.monotonicity import Monotonicity
from quantus.metrics.faithfulness.pixel_flipping import PixelFlipping
from quantus.metrics.faithfulness.region_perturbation import RegionPerturbation
from quantus.metrics.faithfulness.road import ROAD
from quantus.metrics.faithfulness.selectivity import Selectivity
from quantus.metrics.faithfulness.sufficiency import Sufficiency
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, cell_means, cells_to_pixels
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Curve, CurveValues, SweepMetric, even_fractions
from mavis.core.model_pass import Pass
from mavis.core.perturbation.drawn_grids import cell_sides, grid_labels
from mavis.core.perturbation.imputers import get_imputer
from mavis.core.perturbation.superpixels import superpixels
from mavis.core.registry import metrics
from mavis.engine.removal import n_inner_points, shared_sweeps
from mavis.models.planted import mask_mean

from ..toys import (
    Linear,
    Pooled,
    additive,
    conjunction,
    make_batch,
    make_model,
    make_pass,
    maps_from_cells,
    random_images,
    score,
    sweep_curves,
    white_images,
)

C = torch.tensor([4.0, 3.0, 2.0, 1.0])
"""Contributions of 4 cells. Most influential first 10, 6, 3, 1, 0 is left: area 15/4. The reverse, 10, 9, 7, 4, 0:
area 25/4."""

MODULES = ("mavis.metrics.faithfulness_removal", "mavis.metrics.faithfulness_fading")
REMOVAL = [entry.name for entry in metrics if entry.factory.__module__ in MODULES]
GAPS = ("srg", "nsrg", "abpc", "road_gap")
FADED = ("average_drop", "average_increase", "average_gain")


class Rivals(nn.Module):
    """Three classes, equally likely where the image is grey. Takes images of one channel too."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Pooled()

    def forward(self, images: Tensor) -> Tensor:
        colour = images.expand(-1, 3, -1, -1)
        logits: Tensor = 3 * (self.net(colour) - self.net(torch.full_like(colour[:1], 0.5)))
        return logits


def of(name: str, cells: list[float], contributions: Tensor = C, **params: object) -> float:
    """The score of one map on a white image under an additive model, 5 points and the mean colour if it takes them."""
    model_pass = make_pass(additive(contributions), white_images(1))
    return score(name, maps_from_cells(torch.tensor([cells])), model_pass, **{**small(name), **params}).item()


def small(name: str, points: int = 5) -> dict[str, object]:
    """As many of these parameters as a metric takes."""
    usual = {"imputer": "mean", "imputers": ["mean"], "points": points}
    return {key: usual[key] for key in usual if key in metrics[name].parameters()}


def random_cells(count: int, cells: int = 16, seed: int = 0) -> Tensor:
    return torch.rand((count, cells), generator=torch.Generator().manual_seed(seed))


# Areas.


def test_deletion_and_insertion_are_the_areas_of_the_two_orders() -> None:
    """With the mean colour as fill, a right map has deletion 15/4 and insertion 25/4, a reversed one the opposite."""
    for cells, smaller, larger in (([4, 3, 2, 1], 3.75, 6.25), ([1, 2, 3, 4], 6.25, 3.75)):
        assert of("deletion", cells) == pytest.approx(smaller)
        assert of("insertion", cells) == pytest.approx(larger)


def test_gain_is_the_difference_of_the_areas() -> None:
    """srg is (25 − 15)/4 = 2.5 for the right order and −2.5 for the reverse."""
    assert of("srg", [4, 3, 2, 1]) == pytest.approx(2.5)
    assert of("srg", [1, 2, 3, 4]) == pytest.approx(-2.5)


def test_gain_is_the_mean_over_imputers() -> None:
    """A blurred white image is white, so that imputer gains nothing and halves the mean."""
    assert of("srg", [4, 3, 2, 1], imputers=["mean", "blur"]) == pytest.approx(1.25)


def test_normalised_gain_is_the_share_of_the_headroom() -> None:
    """2.5 of 10 is a quarter, and the same for a model with half or three times the contributions."""
    for factor in (0.5, 1.0, 3.0):
        assert of("nsrg", [4, 3, 2, 1], C * factor) == pytest.approx(0.25)


def test_insertion_is_an_explicit_loop_of_putting_back() -> None:
    """On a network, the area while a plain loop puts cells back most influential first."""
    net, images = Rivals(), random_images(2)
    model_pass = make_pass(net, images)
    cells = torch.rand((2, 16), generator=torch.Generator().manual_seed(2))
    values = score("insertion", maps_from_cells(cells, 8), model_pass, imputer="mean", points=17)
    for row in range(2):
        canvas = torch.full((1, 3, 8, 8), 0.5)
        outputs = [net(canvas)[0, 0].item()]
        for cell in cells[row].argsort(descending=True).tolist():
            y, x = 2 * (cell // 4), 2 * (cell % 4)
            canvas[0, :, y : y + 2, x : x + 2] = images[row, :, y : y + 2, x : x + 2]
            outputs.append(net(canvas)[0, 0].item())
        assert values[row].item() == pytest.approx(np.trapezoid(outputs, dx=1 / 16), rel=1e-4)


def test_pixel_flipping_is_the_area_under_the_logit() -> None:
    """15/4 for the right order also where curves show the softmax, whose area is that of the logistic function."""
    model_pass = make_pass(make_model(additive(C), output="softmax"), white_images(1))
    maps = maps_from_cells(C[None])
    assert score("pixel_flipping", maps, model_pass, points=5).item() == pytest.approx(3.75)
    logistic = 1 / (1 + np.exp(-np.array([10.0, 6, 3, 1, 0])))
    assert score("deletion", maps, model_pass, points=5).item() == pytest.approx(np.trapezoid(logistic, dx=0.25))


def test_irof_is_the_share_of_the_whole_above_the_curve() -> None:
    """1 − (15/4)/10 for the right order, 1 − (25/4)/10 for the reverse, whatever the size of the contributions.

    Of the white 8 × 8 image every pixel is a superpixel: within a cell they are tied, and the curve falls straight.
    """
    for factor, (cells, expected) in itertools.product((0.2, 1.0), ((C, 0.625), (C.flip(0), 0.375))):
        model_pass = make_pass(additive(C * factor), white_images(1, 8))
        assert score("irof", maps_from_cells(cells[None], 8), model_pass).item() == pytest.approx(expected)


def test_irof_is_an_explicit_loop_over_superpixels() -> None:
    """On a network, a plain loop takes one superpixel after the other, highest mean first."""
    net, image = Rivals(), random_images(1, 16)
    model_pass = make_pass(make_model(net, output="softmax"), image)
    values, labels = random_images(1, 16, seed=4)[:, 0], superpixels(image)[0]
    count = int(labels.max()) + 1
    means = torch.stack([values[0][labels == s].mean() for s in range(count)])
    outputs = [probability(net, image)]
    for s in means.argsort(descending=True):
        image = torch.where(labels == s, torch.tensor(0.5), image)
        outputs.append(probability(net, image))
    expected = 1 - np.trapezoid(outputs, dx=1 / count) / outputs[0]
    assert score("irof", Maps.from_values(values, 4), model_pass, points=count + 1).item() == pytest.approx(
        expected, rel=1e-5
    )


# Falls and gaps.


def test_aopc_is_the_mean_fall_over_all_points() -> None:
    """Falls of 0, 4, 7, 9, 10 have mean 6; in reverse order 0, 1, 3, 6, 10 have mean 4."""
    assert of("aopc", [4, 3, 2, 1]) == pytest.approx(6)
    assert of("aopc", [1, 2, 3, 4]) == pytest.approx(4)


def test_region_perturbation_stops_at_its_share() -> None:
    """Half of the cells in two steps: falls of 0, 4, 7, and in reverse order 0, 1, 3."""
    assert of("region_perturbation", [4, 3, 2, 1], regions=0.5, points=3) == pytest.approx(11 / 3)
    assert of("region_perturbation", [1, 2, 3, 4], regions=0.5, points=3) == pytest.approx(4 / 3)


def test_regions_turn_to_noise() -> None:
    """As it comes, of 16 cells one goes at 4.5 % and a second at 10.5 %, and the image's own noise shows."""
    net, image = Rivals(), random_images(1)
    model_pass = make_pass(net, image)
    first, both_cells = (
        torch.where(
            cells_to_pixels(torch.isin(torch.arange(16), torch.tensor(cells)), (8, 8)),
            all_removed(model_pass, "noise"),
            image,
        )
        for cells in ([5], [5, 2])
    )
    outputs = [net(shown)[0, 0].item() for shown in (image, first, both_cells)]
    cells = torch.zeros(1, 16).index_fill(1, torch.tensor([2]), 1.0).index_fill(1, torch.tensor([5]), 2.0)
    expected = outputs[0] - (3 * outputs[0] + 4 * outputs[1] + 4 * outputs[2]) / 11
    scores = score("region_perturbation", maps_from_cells(cells, 8), model_pass)
    assert scores.item() == pytest.approx(expected, rel=1e-4)


def test_sufficiency_is_the_mean_fall_to_what_is_kept() -> None:
    """Keeping one or two cells, 4 and 7 of 10 are left; of a reversed map 1 and 3."""
    assert of("sufficiency", [4, 3, 2, 1], kept=[0.25, 0.5]) == pytest.approx(4.5)
    assert of("sufficiency", [1, 2, 3, 4], kept=[0.25, 0.5]) == pytest.approx(8)


def test_a_sufficient_part_scores_zero() -> None:
    """Where the kept half holds all that the model reads, nothing is missing."""
    assert of("sufficiency", [4, 3, 2, 1], torch.tensor([4.0, 3, 0, 0]), kept=[0.5]) == pytest.approx(0)


def test_gaps_are_one_sum_over_unlike_counts() -> None:
    """The oracle of `mask_mean` on a white image: gaps add up to 6, which is 6/17, 6/16 and 6/15 of 17 points.

    It removes 4 of 16 cells, an eighth each: MIF falls by 1/2 within 4 steps, LIF within the last 4.
    """
    model_pass = Pass(mask_mean(), make_batch(white_images(1, 8)), mean=torch.full((3,), 0.5), seed=0, chunk=64)
    cells = torch.zeros(1, 16)
    cells[0, [5, 6, 9, 10]] = 1
    for name, count in (("abpc", 17), ("srg", 16), ("road_gap", 15)):
        value = score(name, maps_from_cells(cells, 8), model_pass, **small(name, 17))
        assert value.item() == pytest.approx(6 / count)


def test_aopc_falls_as_deletion_rises() -> None:
    """With evenly spaced points aopc = y₀ − (L · deletion + (y₀ + y_L)/2) / (L + 1) for every map."""
    cells = random_cells(6)
    model_pass = make_pass(make_model(Rivals(), output="softmax"), random_images(6))
    first, second = (score(name, maps_from_cells(cells, 8), model_pass, points=17) for name in ("aopc", "deletion"))
    curve = Curve("mean", "mif", even_fractions(17))
    y = sweep_curves(model_pass, maps_from_cells(cells, 8), [curve])[curve].y
    torch.testing.assert_close(first, y[:, 0] - (16 * second + (y[:, 0] + y[:, -1]) / 2) / 17)


# Predicted class.


def test_road_accuracy_counts_the_kept_class() -> None:
    """The answer falls from 10 by 4, 3, 2 to 1 while another class has 4: kept after 1 of 3 removals; in reverse 2."""

    class Against(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = additive(C)(images)
            return logits + torch.tensor([0.0, 3.5])

    model_pass = make_pass(Against(), white_images(2))
    cells = torch.stack([C, C.flip(0)])
    values = score("road_accuracy", maps_from_cells(cells), model_pass, imputer="mean", points=5)
    assert values.tolist() == pytest.approx([1 / 3, 1])


def test_monotonicity_asks_that_no_cell_put_back_lowers_the_answer() -> None:
    """Positive contributions pass in any order; a negative one only as the first, whose own image does not count."""
    for cells in itertools.permutations([1.0, 2.0, 3.0, 4.0]):
        assert of("monotonicity_arya", list(cells)) == 1
    against = torch.tensor([4.0, 3.0, 2.0, -1.0])
    for cells, expected in (([4, 3, 2, 1], 1), ([4, 3, 1, 2], 0), ([1, 2, 3, 4], 0)):
        assert of("monotonicity_arya", cells, against) == expected


def test_monotonicity_is_that_of_aix360() -> None:
    """Its loop, written anew: put features back by rising value, and compare the probabilities after each."""
    net, images = Rivals(), random_images(60)
    cells = random_cells(60, 4)
    values = score(
        "monotonicity_arya", maps_from_cells(cells, 8), make_pass(make_model(net, output="softmax"), images), points=5
    )
    for row in range(60):
        canvas = torch.full((3, 8, 8), 0.5)
        outputs = []
        for cell in cells[row].argsort():
            cell_pixels = cells_to_pixels(torch.arange(4) == cell, (8, 8))
            canvas = torch.where(cell_pixels, images[row], canvas)
            outputs.append(probability(net, canvas[None]))
        assert values[row].item() == float(np.all(np.diff(outputs) >= 0))
    assert 0.05 < values.mean() < 0.95


# Degenerate and chance.


@pytest.mark.parametrize("name", sorted(set(REMOVAL) - set(FADED)))
def test_only_the_order_of_cells_matters(name: str) -> None:
    """Any rising function of the map has the same score."""
    mixed = torch.tensor([4.0, -1.0, 2.0, 1.0])
    assert of(name, [9.0, 1.0, 2.0, 100.0], mixed) == pytest.approx(of(name, [0.4, -2.0, 0.3, 7.0], mixed))


@pytest.mark.parametrize("value", [0.0, 0.3, -12.7, torch.nan, -torch.inf])
def test_a_constant_map_scores_chance_exactly(value: float) -> None:
    """Gaps are exactly 0, areas and falls the middle between whole and empty; a map not finite counts as zero."""
    for name in GAPS:
        assert metrics[name].traits.chance == 0
        assert of(name, [value] * 4) == 0
    for name in ("deletion", "insertion", "pixel_flipping", "aopc"):
        assert of(name, [value] * 4) == pytest.approx(5)
    assert of("irof", [value] * 4) == pytest.approx(0.5)
    assert of("sufficiency", [value] * 4, kept=[0.5]) == pytest.approx(5)


@pytest.mark.parametrize("name", GAPS)
def test_a_constant_map_scores_zero_on_any_network(name: str) -> None:
    """Both directions show the network the same images, whatever the size and the imputer, so the difference is 0."""
    for size in (8, 11):
        model_pass = make_pass(make_model(Rivals(), output="softmax"), random_images(4, size))
        values = score(name, maps_from_cells(torch.full((4, 16), 12.7), size), model_pass, points=6)
        assert values.nan_to_num().abs().max() < 1e-6


@pytest.mark.parametrize("name", ["srg", "abpc", "road_gap"])
def test_random_maps_score_zero_on_average(name: str) -> None:
    """Over 300 random maps of a model that is not additive, the mean gain is 0 within 3 standard errors."""
    values = score(
        name, maps_from_cells(random_cells(300, 4)), make_pass(conjunction(0, 3), white_images(300)), **small(name)
    )
    assert values.std() > 0.1
    assert abs(values.mean()) < 3 * values.std() / 300**0.5


def test_too_little_headroom_has_no_value() -> None:
    """Where removing everything changes the answer by less than 0.1, or raises it, there is no score."""
    assert of("nsrg", [4, 3, 2, 1], C / 10 * 0.11) == pytest.approx(0.25)
    assert np.isnan(of("nsrg", [4, 3, 2, 1], C / 10 * 0.09))
    assert np.isnan(of("nsrg", [4, 3, 2, 1], -C))
    assert of("nsrg", [4, 3, 2, 1], C / 10 * 0.09, min_headroom=0.05) == pytest.approx(0.25)


def test_half_of_the_imputers_need_headroom() -> None:
    """The blurred white image leaves no headroom: one of two is enough, one of three is not."""
    assert of("nsrg", [4, 3, 2, 1], imputers=["mean", "blur"]) == pytest.approx(0.25)
    assert np.isnan(of("nsrg", [4, 3, 2, 1], imputers=["mean", "blur", "blur"]))


def test_no_share_of_a_probability_near_zero() -> None:
    """Below 0.01, or below zero, there is no share of the original probability."""
    assert np.isfinite(of("irof", [4, 3, 2, 1], C / 10 * 0.011))
    assert np.isnan(of("irof", [4, 3, 2, 1], C / 10 * 0.009))
    assert np.isnan(of("irof", [4, 3, 2, 1], -C))
    assert np.isfinite(of("irof", [4, 3, 2, 1], C / 10 * 0.009, min_probability=0.005))


def test_one_superpixel_has_no_order() -> None:
    """Fine noise is one superpixel to SLIC: every map has the same curve, so none has a score."""
    images = random_images(1, 32)
    assert superpixels(images).max() == 0
    assert score("irof", maps_from_cells(random_cells(1), 32), make_pass(mask_mean(), images)).isnan().all()


def by_hand(shares: list[float], imputers: list[str]) -> float:
    """nsrg of two-valued curves whose gain per headroom is given."""
    metric = metrics["nsrg"].create({"imputers": imputers, "points": 3})
    assert isinstance(metric, SweepMetric)
    x = torch.tensor([[0.0, 0.5, 1.0]])
    curves = {}
    for name, share in zip(imputers, shares, strict=True):
        for order, y in (("mif", [1.0, 0.0, 0.0]), ("lif", [1.0, 2 * share, 0.0])):
            values = torch.tensor([y])
            curves[Curve(name, order, even_fractions(3))] = CurveValues(x, values, values, values)  # type: ignore[arg-type]
    return metric.score(curves).item()


def test_the_mean_over_imputers_comes_before_the_clip() -> None:
    """Shares 3 and −1 make 1, not (1.5 − 1)/2; beyond ±1.5 the mean is clipped."""
    assert by_hand([3.0, -1.0], ["mean", "blur"]) == pytest.approx(1.0)
    assert by_hand([3.0, 2.0], ["mean", "blur"]) == 1.5
    assert by_hand([-3.0, -2.0], ["mean", "blur"]) == -1.5


# What they are together.


@pytest.mark.parametrize("name", REMOVAL)
def test_the_oracle_beats_a_noisy_map_and_that_one_random_maps(name: str) -> None:
    """On an additive model with known contributions, in the direction that the metric declares."""
    contributions = torch.tensor([-1.0, -0.9, -1.1, -0.8, *(0.3 + 0.03 * i for i in range(12))])
    contributions = contributions[torch.randperm(16, generator=torch.Generator().manual_seed(1))]
    model_pass = make_pass(make_model(additive(contributions), output="softmax"), white_images(120, 8))
    stray = random_cells(120) * 2 - 1
    sign = 1 if metrics[name].traits.higher_is_better else -1
    maps = (contributions.expand(120, -1), contributions + 1.5 * stray, stray)
    means = [sign * score(name, maps_from_cells(cells, 8), model_pass, **small(name)).mean().item() for cells in maps]
    assert means[0] > means[1] > means[2]


def test_no_two_metrics_are_the_same_number() -> None:
    """As they come, on a network with three classes, any two differ."""
    model_pass = make_pass(make_model(Rivals(), output="softmax"), random_images(8, 16))
    maps = Maps.from_values(random_images(8, 16, seed=1)[:, 0], 4)
    scores = {name: score(name, maps, model_pass).nan_to_num(-9) for name in REMOVAL}
    for a, b in itertools.combinations(REMOVAL, 2):
        assert (scores[a] - scores[b]).abs().max() > 1e-3, (a, b)


def test_what_they_ask_alike_is_asked_once() -> None:
    """As they come: mean, blur and linear both ways, noise and superpixels one way, one fading: 85 samples per map.

    9 points within each of 6 curves over cells and one more for 5 % kept, 10 of noise, 19 of superpixels, 1 faded.
    """
    groups = shared_sweeps([curve for name in REMOVAL for curve in metrics[name].create().curves])
    assert sorted(n_inner_points(group) for group in groups) == [1, 9, 9, 9, 9, 9, 10, 10, 19]


@pytest.mark.parametrize("name", REMOVAL)
def test_no_score_depends_on_the_batch(name: str) -> None:
    """Alone or in reversed order, an image scores as it does among others, whose superpixels are not as many."""
    images, values = random_images(5, 16), random_images(5, 16, seed=1)[:, 0]
    full_batch = make_batch(images)
    assert len({int(labels.max()) for labels in superpixels(images)}) > 1

    def scores(*rows: int) -> Tensor:
        batch = replace(make_batch(images[list(rows)]), ids=tuple(full_batch.ids[row] for row in rows))
        return score(
            name, Maps.from_values(values[list(rows)], 4), make_pass(make_model(Rivals(), output="softmax"), batch)
        )

    expected = scores(0, 1, 2, 3, 4)
    alone = torch.cat([scores(row) for row in range(5)])
    torch.testing.assert_close(alone, expected, atol=1e-6, rtol=0, equal_nan=True)
    torch.testing.assert_close(scores(4, 3, 2, 1, 0).flip(0), expected, atol=1e-6, rtol=0, equal_nan=True)


# Quantus.


def quantus_of(
    kind: Callable[..., object],
    net: nn.Module,
    images: Tensor,
    values: Tensor,
    *,
    softmax: bool = False,
    **params: object,
) -> np.ndarray:
    """Quantus's scores for class 0 and maps ``(B,1 or 3,H,W)``, neither normalised nor made positive."""
    if "perturb_baseline" in inspect.signature(kind).parameters:
        params = {"perturb_baseline": 0.5, **params}
    reference = kind(abs=False, normalise=False, disable_warnings=True, **params)
    if isinstance(reference, ROAD):
        reference.custom_batch_preprocess(values[:, 0].numpy())
    wrapped = PyTorchModel(net.eval(), softmax=softmax, channel_first=True)
    classes = np.zeros(len(images), dtype=int)
    actual = reference.evaluate_batch(  # type: ignore[attr-defined]
        model=wrapped, x_batch=images.numpy().copy(), y_batch=classes, a_batch=values.numpy().copy()
    )
    return np.asarray(actual, dtype=float)


def grey(count: int, size: int = 8) -> Tensor:
    """``(count,1,size,size)``."""
    return random_images(count, size)[:, :1]


def on_grey(name: str, images: Tensor, values: Tensor, grid: int, output: str = "softmax", **params: object) -> Tensor:
    """Our score of the same images in colour, under the same network."""
    model_pass = make_pass(make_model(Rivals(), output=output), images.expand(-1, 3, -1, -1).contiguous())
    return score(name, Maps.from_values(values[:, 0], grid), model_pass, **params)


@pytest.fixture
def trapz(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's area under the name that it had before 2.4, by which Quantus calls it."""
    monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)


@pytest.mark.usefixtures("trapz")
@pytest.mark.parametrize(("name", "softmax"), [("pixel_flipping", False), ("deletion", True)])
def test_the_area_of_quantus_s_pixel_flipping(name: str, softmax: bool) -> None:
    """Theirs starts after the first of L steps and counts them: L times ours, less the first trapezoid."""
    images, values = grey(6), random_images(6, seed=1)[:, :1]
    steps = {"features_in_step": 8, "softmax": softmax}
    theirs = quantus_of(PixelFlipping, Rivals(), images, values, return_auc_per_sample=True, **steps)
    first = quantus_of(PixelFlipping, Rivals(), images, values, **steps)[:, 0]
    originals = Rivals()(images).softmax(1) if softmax else Rivals()(images)
    ours = on_grey(name, images, values, grid=8, points=9)
    np.testing.assert_allclose(8 * ours.numpy() - (originals[:, 0].detach().numpy() + first) / 2, theirs, atol=1e-5)


def test_the_area_under_quantus_s_selectivity() -> None:
    """Its values after each patch, behind that of the whole image, bound the same area."""
    images, values = random_images(6), random_images(6, seed=1)[:, :1]
    theirs = quantus_of(Selectivity, Rivals(), images, values, patch_size=2)
    curve = np.concatenate([Rivals()(images)[:, :1].detach().numpy(), theirs], axis=1)
    ours = score("pixel_flipping", Maps.from_values(values[:, 0], 4), make_pass(Rivals(), images), points=17)
    np.testing.assert_allclose(ours, np.trapezoid(curve, dx=1 / 16, axis=1), atol=1e-5)


def test_the_mean_of_quantus_s_region_perturbation() -> None:
    """The falls after each of 8 of 16 patches, under the same noise, and that of the whole image: their mean."""
    images, values = random_images(6), random_images(6, seed=1)[:, :1]
    model_pass = make_pass(make_model(Rivals(), output="softmax"), images)
    fill = all_removed(model_pass, "noise").flatten(1).numpy()

    def show(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        rows = np.arange(len(arr))[:, None]
        shown = arr.copy()
        shown[rows, indices] = fill[rows, indices]
        return shown

    settings = {"patch_size": 2, "regions_evaluation": 8, "perturb_func": show}
    theirs = quantus_of(RegionPerturbation, Rivals(), images, values, softmax=True, **settings)
    ours = score("region_perturbation", Maps.from_values(values[:, 0], 4), model_pass, regions=0.5, points=9)
    np.testing.assert_allclose(ours, theirs.sum(1) / 9, atol=1e-5)


@pytest.mark.usefixtures("trapz")
def test_the_area_of_quantus_s_irof(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same superpixels, L of them: L times ours, and the first trapezoid of shares, since it is left out."""
    image, values = grey(1, 16), random_images(1, 16, seed=1)[:, :1]
    labels = superpixels(image.expand(-1, 3, -1, -1))[0]
    count = int(labels.max()) + 1
    monkeypatch.setattr(quantus_irof.utils, "get_superpixel_segments", lambda **_: labels.numpy())
    theirs = quantus_of(IROF, Rivals(), image, values, softmax=True)
    means = torch.stack([values[0, 0][labels == s].mean() for s in range(count)])
    first = torch.where(labels == means.argmax(), torch.tensor(0.5), image)
    share = probability(Rivals(), first) / probability(Rivals(), image)
    ours = on_grey("irof", image, values, grid=4, points=count + 1)
    np.testing.assert_allclose(count * ours.numpy() + (1 + share) / 2, theirs, atol=1e-4)


def test_monotonicity_is_quantus_s_once_it_puts_cells_back() -> None:
    """Given a function that shows the image where it should, it says the same of 60 images, some of them passing."""
    images, values = grey(60), random_images(60, seed=1)[:, :1]
    flat = images.flatten(1).numpy()

    def put_back(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        rows = np.arange(len(arr))[:, None]
        shown = arr.copy()
        shown[rows, indices] = flat[rows, indices]
        return shown

    settings = {"features_in_step": 16, "softmax": True}
    theirs = quantus_of(Monotonicity, Rivals(), images, values, perturb_func=put_back, **settings)
    ours = on_grey("monotonicity_arya", images, values, grid=8, points=5)
    assert ours.tolist() == theirs.tolist()
    assert 0.05 < theirs.mean() < 0.95


def test_not_every_map_is_monotone() -> None:
    """Quantus as it comes replaces the baseline by the baseline, so every map passes."""
    images, values = grey(60), random_images(60, seed=1)[:, :1]
    assert quantus_of(Monotonicity, Rivals(), images, values, features_in_step=16, softmax=True).all()
    assert on_grey("monotonicity_arya", images, values, grid=8, points=5).mean() < 0.95


def test_road_keeps_the_class_as_quantus_s_does() -> None:
    """On grey images of 100 pixels, without noise, class 0 is predicted after the same removals."""
    images, values = grey(12, 10), random_images(12, 10, seed=1)[:, :1]
    theirs = quantus_of(ROAD, Rivals(), images, values, percentages=[10, 20, 30, 40, 50, 60, 70, 80, 90], noise=0.0)[0]
    ours = on_grey("road_accuracy", images, values, grid=10, imputer="linear:noise=0")
    np.testing.assert_allclose(ours, theirs.mean(1), atol=1e-6)
    assert 0.05 < theirs.mean() < 0.95


def test_a_map_of_one_channel_explains_a_colour_image() -> None:
    """Quantus fails for it in ROAD and IROF."""
    images, values = random_images(2, 16), random_images(2, 16, seed=1)[:, :1]
    with pytest.raises(IndexError):
        quantus_of(ROAD, Rivals(), images, values)
    with pytest.raises(AssertionError, match="same as the mask"):
        quantus_of(IROF, Rivals(), images, values)
    model_pass = make_pass(make_model(Rivals(), output="softmax"), images)
    for name in ("road_gap", "road_accuracy", "irof"):
        assert score(name, Maps.from_values(values[:, 0], 4), model_pass).isfinite().all()


def test_road_reads_more_than_the_first_batch() -> None:
    """Quantus returns the accuracy of its first batch alone; here every image has its own, and all of them a mean."""
    images, values = grey(12, 10), random_images(12, 10, seed=1)[:, :1]
    reference = ROAD(percentages=[50], noise=0.0, disable_warnings=True)
    batches = [
        quantus_of(ROAD, Rivals(), images[rows], values[rows], percentages=[50], noise=0.0)[0]
        for rows in (slice(0, 3), slice(3, 12))
    ]
    reference.evaluation_scores = batches
    reference.custom_postprocess()
    ours = on_grey("road_accuracy", images, values, grid=10, imputer="linear:noise=0", points=3)
    assert ours.mean().item() == pytest.approx(np.concatenate(batches).mean())
    assert reference.evaluation_scores[50] == batches[0].mean() != ours.mean()


@pytest.mark.filterwarnings("ignore:The settings for perturbing input")
@pytest.mark.usefixtures("trapz")
def test_more_superpixels_in_another_image_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantus ends the shorter curve of a batch at zero, so its area depends on the other image."""
    images, values = grey(2, 16), random_images(2, 16, seed=1)[:, :1]
    labels = superpixels(images.expand(-1, 3, -1, -1)).numpy()
    few = labels.max((1, 2)).argmin()
    pieces = itertools.cycle(labels)
    monkeypatch.setattr(quantus_irof.utils, "get_superpixel_segments", lambda **_: next(pieces))
    among = quantus_of(IROF, Rivals(), images, values, softmax=True)[few]
    monkeypatch.setattr(quantus_irof.utils, "get_superpixel_segments", lambda **_: labels[few])
    alone = quantus_of(IROF, Rivals(), images[[few]], values[[few]], softmax=True)[0]
    assert abs(among - alone) > 0.1
    ours = on_grey("irof", images, values, grid=4)[few]
    torch.testing.assert_close(ours, on_grey("irof", images[[few]], values[[few]], grid=4)[0])


def test_black_is_the_same_for_every_image() -> None:
    """Quantus's "black" is each image's own minimum, so emptied images differ; here they are all of one colour."""
    images, values = torch.cat([grey(1), grey(1) * 0.5 + 0.4]), random_images(2, seed=1)[:, :1]
    theirs = quantus_of(PixelFlipping, Rivals(), images, values, perturb_baseline="black", features_in_step=8)[:, -1]
    assert abs(theirs[0] - theirs[1]) > 1e-2
    curve = Curve("mean", "mif", even_fractions(9))
    model_pass = make_pass(Rivals(), images.expand(-1, 3, -1, -1).contiguous())
    ours = sweep_curves(model_pass, Maps.from_values(values[:, 0], 8), [curve])[curve].logit[:, -1]
    torch.testing.assert_close(ours[0], ours[1])


def test_the_channels_of_a_pixel_go_together() -> None:
    """Quantus flips them one by one, so a colour image takes three times the steps, most between two true ones."""
    images, values = random_images(2, 4), random_images(2, 4, seed=1)[:, :1]
    theirs = quantus_of(PixelFlipping, Rivals(), images, values)
    assert theirs.shape == (2, 3 * 16)
    curve = Curve("mean", "mif", even_fractions(17))
    ours = sweep_curves(make_pass(Rivals(), images), Maps.from_values(values[:, 0], 4), [curve])[curve].logit[:, 1:]
    assert len(ours[0]) == 16
    np.testing.assert_allclose(theirs[:, 2::3], ours, atol=1e-5)


def test_sufficiency_is_not_that_of_quantus() -> None:
    """Theirs compares the images of a batch: the same image has another value among others."""
    predicted, like = np.array([0, 0, 1]), np.ones((3, 3))
    theirs = [
        Sufficiency(disable_warnings=True).evaluate_batch(np.arange(n), like[:n, :n].copy(), predicted[:n])[0]
        for n in (2, 3)
    ]
    assert theirs == [1.0, 0.5]


# Parameters.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("deletion", {"points": 2}),
        ("insertion", {"points": 0}),
        ("pixel_flipping", {"points": 1}),
        ("srg", {"points": 1}),
        ("srg", {"imputers": []}),
        ("nsrg", {"imputers": "mean"}),
        ("nsrg", {"min_headroom": 0}),
        ("nsrg", {"min_headroom": -0.1}),
        ("road_gap", {"points": 2}),
        ("monotonicity_arya", {"points": 2}),
        ("region_perturbation", {"regions": 0}),
        ("region_perturbation", {"regions": 1.5}),
        ("sufficiency", {"kept": []}),
        ("sufficiency", {"kept": 0.5}),
        ("sufficiency", {"kept": [0.1, 5]}),
        ("irof", {"min_probability": 0}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict[str, object]) -> None:
    """Fewer than 3 points, no imputers, a string for a list, shares outside (0,1], a division by zero."""
    with pytest.raises(BadParameter):
        metrics[name].create(params)


def probability(net: nn.Module, image: Tensor) -> float:
    """Probability of class 0 for one image."""
    probabilities: Tensor = net(image).softmax(1)
    return probabilities[0, 0].item()


def all_removed(model_pass: Pass, imputer: str) -> Tensor:
    """The images with every pixel removed, ``(B,3,H,W)``."""
    all_pixels = torch.ones(len(model_pass), 1, *model_pass.images.shape[2:], dtype=torch.bool)
    return get_imputer(imputer)(model_pass)(torch.arange(len(model_pass)), all_pixels)[:, 0]


def drawn_grid_gain(model_pass: Pass, values: Tensor, side: int) -> list[float]:
    """SRG over one drawn grid by explicit loops: the mean per cell, one cell after the other, the trapezoid."""
    offsets = model_pass.draw(f"grid {side}", lambda g: torch.randint(side, (2,), generator=g))
    gains = []
    for row, offset in enumerate(offsets):
        labels = grid_labels((values.shape[1], values.shape[2]), side, offset[None])[0][0]
        n = int(labels.max()) + 1
        falling = sorted(range(n), key=lambda cell: -float(values[row][labels == cell].double().mean()))
        areas = {}
        for name, order in (("mif", falling), ("lif", falling[::-1])):
            shown = []
            counts = [int(share * n + 0.5 + 1e-9) for share in even_fractions(11)]
            for count in counts:
                image = model_pass.images[row].clone()
                image[:, torch.isin(labels, torch.tensor(order[:count], dtype=torch.int64))] = 0.5
                shown.append(float(model_pass.predict(image[None])[0].softmax(0)[0]))
            areas[name] = float(np.trapezoid(shown, np.array(counts) / n))
        gains.append(areas["lif"] - areas["mif"])
    return gains


def test_the_gain_over_drawn_grids_is_an_explicit_loop() -> None:
    """Two grids of each image's own place, by hand; the run's grid plays no part, and an image alone has its grids."""
    images = random_images(3, 16, seed=4)
    stream = torch.Generator().manual_seed(1)
    net = Linear(torch.randn((3, 3, 16, 16), generator=stream) / 10)
    model_pass = make_pass(make_model(net, output="probability"), images)
    values = torch.randn((3, 16, 16), generator=stream)
    expected = np.mean([drawn_grid_gain(model_pass, values, side) for side in cell_sides(16, (5, 3))], axis=0)
    for grid in (2, 8):
        gains = score("srg", Maps.from_values(values, grid), model_pass, imputers=["mean"], cells=[5, 3])
        np.testing.assert_allclose(gains, expected, atol=1e-6)
    alone = score("srg", Maps.from_values(values[1:2], 2), model_pass.single_image(1), imputers=["mean"], cells=[5, 3])
    torch.testing.assert_close(alone, gains[1:2])


def test_a_map_of_the_runs_own_cells_gains_nothing_on_drawn_grids() -> None:
    """The exact effects of single cells of the run's grid lead on that grid only."""
    images = random_images(24, 32, seed=2)
    weight = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(3)) / 10
    model_pass = make_pass(make_model(Linear(weight), output="probability"), images)
    exact = (weight[0] - weight[1]) * (images - 0.5)
    by_cell = cells_to_pixels(cell_means(exact.sum(1), 8), (32, 32))

    def gains(values: Tensor, **params: object) -> float:
        return float(score("srg", Maps.from_values(values, 8), model_pass, imputers=["mean"], **params).mean())

    assert gains(by_cell) == pytest.approx(gains(exact.sum(1)), abs=1e-6)
    assert gains(by_cell, cells=[13, 9]) < 0.8 * gains(exact.sum(1), cells=[13, 9])


def test_a_constant_map_gains_nothing_on_drawn_grids() -> None:
    """Both orders of the ties together are exactly chance for an additive model."""
    model_pass = make_pass(Linear(torch.randn(2, 3, 16, 16)), random_images(4, 16))
    gains = score("srg", Maps.from_values(torch.ones(4, 16, 16), 4), model_pass, imputers=["mean"], cells=[5, 3])
    assert gains.abs().max() < 1e-4
