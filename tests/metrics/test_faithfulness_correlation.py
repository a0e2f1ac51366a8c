"""Agreement of maps with answers: closed forms, explicit loops, and other libraries where they are right."""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import quantus
import torch
from captum import metrics as captum_metrics
from scipy import stats
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, cells_to_pixels
from mavis.core.errors import BadParameter
from mavis.core.metric_types import MaskProbe, ProbeMetric
from mavis.core.model_pass import Pass
from mavis.core.registry import datasets, metrics

from ..toys import (
    GREY,
    CellModel,
    Linear,
    Pooled,
    additive,
    conjunction,
    make_batch,
    make_model,
    make_pass,
    maps_from_cells,
    pooled_maps,
    random_images,
    removal_session,
    score,
    white_images,
)

C = torch.tensor([4.0, 3.0, 2.0, 1.0])
CORRELATIONS = ["single_deletion", "faithfulness_estimate", "faithfulness_correlation", "sensitivity_n"]
ALL = [*CORRELATIONS, "monotonicity_nguyen"]
SUBSETS = {"faithfulness_correlation": {"size": 0.5}, "sensitivity_n": {"sizes": [0.5]}}
"""Of four cells, two."""
ALONE = torch.eye(4, dtype=torch.bool)
PAIRS = torch.tensor([[cell in pair for cell in range(4)] for pair in itertools.combinations(range(4), 2)])


def a_linear_model(size: int = 8) -> tuple[Pass, Tensor]:
    """Five random images, and what each of their pixels contributes to a random linear model, all channels together."""
    weight = torch.randn((2, 3, size, size), generator=torch.Generator().manual_seed(3))
    model_pass = make_pass(Linear(weight), random_images(5, size))
    return model_pass, (weight[0] * (model_pass.images - 0.5)).sum(1)


def probes_of(name: str, **params: object) -> tuple[MaskProbe, ...]:
    metric = metrics[name].create(params)
    assert isinstance(metric, ProbeMetric)
    return metric.probes  # type: ignore[return-value]


def score_over(masks: Tensor, name: str, maps: Maps, model_pass: Pass, **params: object) -> Tensor:
    """The score of a metric with one probe, had it drawn these masks."""
    metric = metrics[name].create(params)
    (probe,) = metric.probes
    outputs = removal_session(model_pass, maps.grid**2).probe_outputs(
        MaskProbe(probe.name, probe.imputer, lambda *_: masks)
    )
    value: Tensor = metric.score(maps, {probe: outputs})
    return value


def falls_of(net: nn.Module, image: Tensor, masks: Tensor, fill: Tensor) -> list[float]:
    """The fall of logit 0, mask by mask, in a plain loop."""
    falls = []
    for mask in masks:
        pixels = cells_to_pixels(mask, (image.shape[1], image.shape[2]))
        shown = torch.where(pixels, fill, image)
        falls.append((net(image[None]) - net(shown[None]))[0, 0].item())
    return falls


def random_maps(count: int, cells: int, seed: int = 1) -> Tensor:
    return torch.randn((count, cells), generator=torch.Generator().manual_seed(seed))


# Exact attributions.


@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("name", ["single_deletion", "faithfulness_correlation", "sensitivity_n"])
def test_exact_attributions_of_a_linear_model_are_perfect(name: str, size: int) -> None:
    """All channels of a cell together they score 1, with the sign turned −1, also where cells differ in size."""
    model_pass, exact = a_linear_model(size)
    torch.testing.assert_close(score(name, Maps.from_values(exact, 4), model_pass), torch.ones(5))
    torch.testing.assert_close(score(name, Maps.from_values(-exact, 4), model_pass), -torch.ones(5))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_exact_attributions_are_perfect_at_every_size(share: float) -> None:
    """Whatever the number of cells removed together, the fall is the sum of what they contribute."""
    model_pass, exact = a_linear_model()
    torch.testing.assert_close(
        score("sensitivity_n", Maps.from_values(exact, 4), model_pass, sizes=[share]), torch.ones(5)
    )


def test_falls_of_the_probability_are_perfect_for_the_estimate() -> None:
    """A map of what each cell alone does to the probability scores 1; what it does to the logit scores less."""
    model_pass = make_pass(make_model(additive(C), output="softmax"), white_images(1))
    left = (10 - C).sigmoid()
    falls = torch.tensor(10.0).sigmoid() - left
    assert score("faithfulness_estimate", maps_from_cells(falls[None]), model_pass).item() == pytest.approx(1, abs=1e-5)
    expected = stats.pearsonr(C, falls).statistic
    assert score("faithfulness_estimate", maps_from_cells(C[None]), model_pass).item() == pytest.approx(
        expected, abs=1e-4
    )
    assert expected < 0.99


@pytest.mark.parametrize("margin", [10.0, 14.0, 16.0, 17.0, 18.0, 22.0])
def test_the_estimate_holds_where_the_model_is_sure(margin: float) -> None:
    """By the falls of 1 − p in double: in float32 they were rounding from a margin of 14 on, and none at 18."""
    contributions = torch.linspace(1, 2, 16)
    net = CellModel(lambda present: present @ contributions + margin - 24, 4)
    model_pass = make_pass(make_model(net, output="probability"), white_images(1, 8))
    cells = contributions.double().numpy()
    falls = 1 / (1 + np.exp(margin - cells)) - 1 / (1 + np.exp(margin))
    expected = np.corrcoef(cells, falls)[0, 1]
    estimate = score("faithfulness_estimate", maps_from_cells(contributions[None], 8), model_pass)
    assert estimate.item() == pytest.approx(expected, abs=1e-5)


def test_a_product_of_two_cells_is_not_a_sum() -> None:
    """Where cells 0 and 3 are both needed, their map is right for single cells, and over all pairs scores √0.6."""
    model_pass, maps = (
        make_pass(conjunction(0, 3), white_images(1)),
        maps_from_cells(torch.tensor([[1.0, 0.0, 0.0, 1.0]])),
    )
    assert score("single_deletion", maps, model_pass).item() == pytest.approx(1)
    over_pairs = score_over(PAIRS, "faithfulness_correlation", maps, model_pass)
    assert over_pairs.item() == pytest.approx(0.6**0.5)


@pytest.mark.parametrize("name", CORRELATIONS)
def test_scale_does_not_matter(name: str) -> None:
    """Thrice a map scores like the map."""
    model_pass, cells = make_pass(Pooled(), random_images(3)), random_maps(3, 16)
    first = score(name, maps_from_cells(cells, 8), model_pass)
    torch.testing.assert_close(score(name, maps_from_cells(3 * cells, 8), model_pass), first)


# Explicit loops.


def test_single_deletion_is_scipy_s_rank_correlation() -> None:
    """For any map, ties included, it is spearmanr of cell values and contributions."""
    for cells in ([1.0, 5.0, 2.0, 2.0], [3.0, 3.0, 3.0, 1.0], [0.1, 0.2, 0.3, 0.4]):
        model_pass = make_pass(additive(C), white_images(1))
        value = score("single_deletion", maps_from_cells(torch.tensor([cells])), model_pass)
        assert value.item() == pytest.approx(stats.spearmanr(cells, C).statistic, abs=1e-6)


def test_subset_metrics_are_scipy_s_correlation_over_a_loop() -> None:
    """On a network, per image and size pearsonr of the summed cells and the fall; sensitivity-n is their mean."""
    net, images, cells = Pooled(), random_images(2), random_maps(2, 16)
    model_pass, maps = make_pass(net, images), maps_from_cells(cells, 8)
    expected = {}
    for share in (0.1, 0.3, 0.5):
        (probe,) = probes_of("faithfulness_correlation", size=share)
        masks = probe.masks(model_pass, 16)
        expected[share] = [
            stats.pearsonr(masks[row].float() @ cells[row], falls_of(net, images[row], masks[row], torch.tensor(0.5)))[
                0
            ]
            for row in range(2)
        ]
        value = score("faithfulness_correlation", maps, model_pass, size=share)
        np.testing.assert_allclose(value, expected[share], atol=1e-4)
    np.testing.assert_allclose(
        score("sensitivity_n", maps, model_pass), np.mean(list(expected.values()), axis=0), atol=1e-4
    )


def test_monotonicity_is_scipy_s_rank_correlation_over_a_loop() -> None:
    """On a network, spearmanr of absolute cells and the mean square of the falls over three noise images."""
    net, images, cells = Pooled(), random_images(2), random_maps(2, 16)
    model_pass = make_pass(net, images)
    value = score("monotonicity_nguyen", maps_from_cells(cells, 8), model_pass, draws=3)
    fills = [model_pass.draw(f"fill {draw}", lambda g: torch.rand((3, 8, 8), generator=g)) for draw in range(3)]
    each_cell = torch.eye(16, dtype=torch.bool)
    for row in range(2):
        falls = np.array([falls_of(net, images[row], each_cell, fill[row]) for fill in fills])
        expected = stats.spearmanr(cells[row].abs(), (falls**2).mean(0)).statistic
        assert value[row].item() == pytest.approx(expected, abs=1e-5)


def test_monotonicity_reads_magnitudes() -> None:
    """Cells that matter a thousand, a hundred, ten times and once as much score 1 in that order, whatever the signs."""
    model_pass = make_pass(additive(torch.tensor([-1000.0, 100.0, -10.0, 1.0])), white_images(1))
    for signs in itertools.product([-1, 1], repeat=4):
        cells = torch.tensor(signs) * C
        assert score("monotonicity_nguyen", maps_from_cells(cells[None]), model_pass).item() == pytest.approx(1)


# Degenerate maps, and images without a value.


@pytest.mark.parametrize("name", ALL)
def test_maps_that_do_not_vary_score_chance(name: str) -> None:
    """Constant, zero, infinite and undefined maps score 0, and so does one that varies within its cells only."""
    flat = [2.0, 0.0, torch.inf, torch.nan]
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
    maps = Maps.from_values(torch.cat([torch.full((1, 4, 4), value) for value in flat] + [board[None]]), 2)
    model_pass = make_pass(additive(C), white_images(5))
    assert score(name, maps, model_pass, **SUBSETS.get(name, {})).tolist() == [0] * 5


@pytest.mark.parametrize("name", ALL)
def test_a_constant_map_scores_chance_over_cells_of_unequal_size(name: str) -> None:
    """The sums over larger cells are larger then, but the map does not say which cells matter."""
    model_pass = make_pass(Pooled(), random_images(3, 11))
    assert score(name, Maps.from_values(torch.full((3, 11, 11), 2.0), 4), model_pass).tolist() == [0] * 3


@pytest.mark.parametrize("name", ALL)
def test_a_model_that_reads_nothing_gives_no_value(name: str) -> None:
    """Where the answers do not vary there is no value, whether the map varies or not: for every explainer alike."""
    model_pass = make_pass(additive(torch.zeros(4)), white_images(2))
    maps = maps_from_cells(torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0] * 4]))
    assert score(name, maps, model_pass, **SUBSETS.get(name, {})).isnan().all()


def test_all_cells_are_no_subset() -> None:
    """Nine tenths of four cells are all of them: that size has no value, and sensitivity-n leaves it out."""
    model_pass, maps = make_pass(additive(C), white_images(1)), maps_from_cells(torch.tensor([[4.0, 1.0, 3.0, 2.0]]))
    assert score("faithfulness_correlation", maps, model_pass, size=0.9).isnan().all()
    assert score("sensitivity_n", maps, model_pass, sizes=[0.9, 0.05]).isnan().all()
    expected = score("sensitivity_n", maps, model_pass, sizes=[0.5])
    torch.testing.assert_close(score("sensitivity_n", maps, model_pass, sizes=[0.9, 0.5]), expected)


def test_random_maps_score_zero_on_average() -> None:
    """Over 300 random maps every mean is 0 within 3.5 standard errors."""
    maps, model_pass = maps_from_cells(random_maps(300, 16), 8), make_pass(Pooled(), random_images(300))
    for name in ALL:
        values = score(name, maps, model_pass)
        assert abs(values.mean()) < 3.5 * values.std() / 300**0.5


# Questions.


def test_equal_questions_are_asked_once() -> None:
    """By default three metrics share every cell alone, and three the subsets of 30 %."""
    alone = {probes_of(name) for name in ("single_deletion", "faithfulness_estimate", "non_sensitivity")}
    assert len(alone) == 1
    shared = {probes_of(name) for name in ("faithfulness_correlation", "infidelity")}
    assert len(shared) == 1
    assert {*shared.pop()} < {*probes_of("sensitivity_n")}
    assert probes_of("infidelity", size=0.5) != probes_of("infidelity")
    assert probes_of("infidelity", subsets=50) != probes_of("infidelity")
    assert probes_of("infidelity", imputer="blur") != probes_of("infidelity")


def test_monotonicity_asks_once_per_draw_and_cell() -> None:
    """By default four fillings of every cell, each with noise of its own."""
    probes = probes_of("monotonicity_nguyen")
    assert [probe.imputer for probe in probes] == [f"noise:draw={draw}" for draw in range(4)]
    assert {probe.masks(make_pass(Pooled(), random_images(1)), 256).shape for probe in probes} == {(256, 256)}


def test_random_subsets_have_one_size_and_are_each_image_s_own() -> None:
    """Of 16 cells 30 % are 5, halves go up; a subset depends on the image and not on its batch."""
    model_pass = make_pass(Pooled(), random_images(3))
    for share, count in ((0.3, 5), (0.5, 8), (0.28125, 5), (0.28, 4)):
        (probe,) = probes_of("faithfulness_correlation", size=share)
        masks = probe.masks(model_pass, 16)
        assert masks.shape == (3, 100, 16)
        assert set(masks.sum(2).flatten().tolist()) == {count}
        assert probe.masks(model_pass.single_image(1), 16)[0].equal(masks[1])
        assert not masks[0].equal(masks[1])


def test_random_subsets_are_uniform() -> None:
    """Of 20,000 subsets of 3 of 9 cells each cell is in a third, each pair in a twelfth, within 4 standard errors."""
    (probe,) = probes_of("faithfulness_correlation", size=1 / 3, subsets=20000)
    masks = probe.masks(make_pass(Pooled(), random_images(1)), 9)[0].double()
    together = masks.T @ masks / len(masks)
    expected = torch.full((9, 9), 1 / 12, dtype=torch.float64).fill_diagonal_(1 / 3)
    error = (expected * (1 - expected) / len(masks)).sqrt()
    assert ((together - expected).abs() < 4 * error).all()


def test_scores_do_not_depend_on_the_batch() -> None:
    """An image alone scores as among others."""
    images, cells = random_images(3), random_maps(3, 16)
    model_pass = make_pass(Pooled(), images)
    for name in [*ALL, "infidelity"]:
        expected = score(name, maps_from_cells(cells, 8), model_pass)
        for row in range(3):
            alone = score(name, maps_from_cells(cells[row : row + 1], 8), model_pass.single_image(row))
            torch.testing.assert_close(alone[0], expected[row])


# Infidelity.


def infidelity_of(values: list[float], **params: object) -> float:
    """Over the four cells alone, for contributions 4, 3, 2, 1."""
    model_pass = make_pass(additive(C), white_images(1, 2))
    return score_over(ALONE, "infidelity", maps_from_cells(torch.tensor([values]), 2), model_pass, **params).item()


def test_infidelity_is_the_mean_squared_error() -> None:
    """Of (5, 3, 2, 1) for 4, 3, 2, 1 it is 1/4; of their negatives 4·30/4 = 30; of the truth 0."""
    assert infidelity_of([5, 3, 2, 1], scale="none") == pytest.approx(0.25)
    assert infidelity_of([-4, -3, -2, -1], scale="none") == pytest.approx(30)
    assert infidelity_of([4, 3, 2, 1], scale="none") == pytest.approx(0, abs=1e-10)


def test_a_fitted_scale_makes_the_scale_meaningless() -> None:
    """Of any multiple of (5, 3, 2, 1) it is 30/4 − 34²/(4·39), of any multiple of the truth 0."""
    for factor in (1e-6, 1.0, 40.0):
        value = infidelity_of([5 * factor, 3 * factor, 2 * factor, factor])
        assert value == pytest.approx(7.5 - 34**2 / (4 * 39), rel=1e-4)
        assert infidelity_of([4 * factor, 3 * factor, 2 * factor, factor]) == pytest.approx(0, abs=1e-5)


def test_a_wrong_sign_is_worst_although_captum_calls_it_perfect() -> None:
    """Fitted, the negatives of the truth have the mean squared fall 30/4, as a zero map; Captum says 0."""
    for values in ([-4.0, -3.0, -2.0, -1.0], [0.0] * 4, [torch.nan] * 4):
        assert infidelity_of(values) == pytest.approx(7.5)
    assert captum_infidelity(additive(C), white_images(1, 2), -C[None], ALONE, normalize=True) == pytest.approx(
        0, abs=1e-5
    )


def test_a_constant_map_predicts_the_mean_fall() -> None:
    """Fitted, a positive constant leaves the variance of the falls, 7.5 − 2.5²; a negative one leaves all."""
    assert infidelity_of([3.0] * 4) == pytest.approx(1.25)
    assert infidelity_of([-3.0] * 4) == pytest.approx(7.5)


def test_infidelity_over_random_subsets_counts_how_often_the_wrong_cell_is_in() -> None:
    """A map that is wrong by 1 in cell 0 has the share of the subsets that hold it."""
    model_pass, maps = (
        make_pass(additive(C), white_images(1, 2)),
        maps_from_cells(torch.tensor([[5.0, 3.0, 2.0, 1.0]]), 2),
    )
    (probe,) = probes_of("infidelity", size=0.5)
    share = probe.masks(model_pass, 4)[0, :, 0].float().mean().item()
    assert 0.3 < share < 0.7
    assert score("infidelity", maps, model_pass, scale="none", size=0.5).item() == pytest.approx(share, abs=1e-5)


def test_quantus_infidelity_does_not_put_back_what_it_removed() -> None:
    """(5, 3, 2, 1) is off by 1 in its first cell only, yet Quantus has 1 where the answer is 1/4."""
    value = of_quantus(
        quantus.Infidelity(perturb_baseline=0.0, perturb_patch_sizes=[1], n_perturb_samples=1, disable_warnings=True),
        nn.Sequential(nn.Flatten(), _weighted(C)),
        torch.ones(1, 1, 2, 2),
        torch.tensor([[[[5.0, 3.0], [2.0, 1.0]]]]),
    )
    assert value == pytest.approx([1.0])


@pytest.mark.parametrize("scale", ["none", "fitted"])
def test_infidelity_is_captum_s_where_the_fitted_factor_is_positive(scale: str) -> None:
    """On a network, over the same random subsets, with and without ``normalize``."""
    net, images = Pooled(), random_images(1)
    model_pass = make_pass(net, images)
    (probe,) = probes_of("infidelity")
    masks = probe.masks(model_pass, 64)[0]
    falls = torch.tensor(falls_of(net, images[0], torch.eye(64, dtype=torch.bool), torch.tensor(0.5)))
    cells = falls + 0.02 * random_maps(1, 64)
    value = score("infidelity", maps_from_cells(cells, 8), model_pass, scale=scale).item()
    shown = captum_infidelity(net, images, cells, masks, normalize=scale == "fitted")
    assert value == pytest.approx(shown, rel=1e-4)


def captum_infidelity(net: nn.Module, images: Tensor, cells: Tensor, masks: Tensor, *, normalize: bool) -> float:
    """Captum's infidelity of one image, a pixel per cell, all channels of a pixel removed together."""
    size = (images.shape[2], images.shape[3])
    pixels = cells_to_pixels(masks, size)[:, None]

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        assert len(inputs) == len(masks)
        share = pixels.expand_as(inputs).float() / 3
        return share, torch.where(pixels, 0.5, inputs)

    actual = captum_metrics.infidelity(
        net,
        perturb,
        images,
        cells_to_pixels(cells, size)[:, None].expand_as(images),
        target=0,
        n_perturb_samples=len(masks),
        normalize=normalize,
    )
    return float(actual)


# Quantus.


class Shown(nn.Module):
    """A network as a function of which pixels of one image are shown: 1 the image's own, −k those of the k-th fill."""

    def __init__(self, net: nn.Module, image: Tensor, fills: list[Tensor]) -> None:
        super().__init__()
        self.net, self.image, self.fills = net, image, fills

    def forward(self, shown: Tensor) -> Tensor:
        images = self.image.expand(len(shown), -1, -1, -1)
        for number, fill in enumerate(self.fills, start=1):
            images = torch.where(shown == -number, fill, images)
        out: Tensor = self.net(images)
        return out


def _weighted(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.numel(), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight.flatten()[None])
    return layer


def of_quantus(metric: object, net: nn.Module, x: Tensor, a: Tensor, **settings: object) -> list[float]:
    """A Quantus metric's values for class 0."""
    call: Callable[..., object] = metric  # type: ignore[assignment]
    zeros = np.zeros(len(x), dtype=int)
    value = call(net.eval(), x.numpy(), zeros, a.numpy(), channel_first=True, **{"softmax": False, **settings})
    return np.asarray(value, dtype=float).ravel().tolist()


QUIET = {"abs": False, "normalise": False, "disable_warnings": True, "return_aggregate": False}
KEEP = torch.ones(1, 1, 8, 8)


def test_the_estimate_is_quantus_with_softmax() -> None:
    """Asked which of a colour image's pixels are there, Quantus has the same number."""
    net, image, cells = Pooled(), random_images(1), random_maps(1, 64)
    shown = Shown(net, image, [GREY[None, :, None, None]])
    metric = quantus.FaithfulnessEstimate(perturb_baseline=-1.0, **QUIET)
    expected = of_quantus(metric, shown, KEEP, cells.view(1, 1, 8, 8), softmax=True)
    model_pass = make_pass(make_model(net, output="softmax"), image)
    np.testing.assert_allclose(
        score("faithfulness_estimate", maps_from_cells(cells, 8), model_pass), expected, atol=1e-5
    )


def test_faithfulness_correlation_is_quantus_on_the_same_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given our subsets in place of its own draws, and pixels that are there or not, Quantus has the same number."""
    net, image, cells = Pooled(), random_images(1), random_maps(1, 64)
    model_pass = make_pass(net, image)
    value = score("faithfulness_correlation", maps_from_cells(cells, 8), model_pass)
    (probe,) = probes_of("faithfulness_correlation")
    ours = iter(probe.masks(model_pass, 64)[0])
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(ours).nonzero()[:, 0].numpy())
    metric = quantus.FaithfulnessCorrelation(perturb_baseline=-1.0, nr_runs=100, subset_size=19, **QUIET)
    shown = Shown(net, image, [GREY[None, :, None, None]])
    np.testing.assert_allclose(value, of_quantus(metric, shown, KEEP, cells.view(1, 1, 8, 8)), atol=1e-5)


def test_monotonicity_is_quantus_on_the_same_noise() -> None:
    """Given our noise images in place of its own draws, Quantus has the same number."""
    net, image, cells = Pooled(), random_images(1), random_maps(1, 64)
    model_pass = make_pass(net, image)
    fills = [model_pass.draw(f"fill {draw}", lambda g: torch.rand((3, 8, 8), generator=g)) for draw in range(4)]
    turn = itertools.cycle([-1.0, -2.0, -3.0, -4.0])

    def next_fill(arr: np.ndarray, indices: np.ndarray, **_: object) -> np.ndarray:
        arr = arr.copy()
        arr[np.arange(len(arr))[:, None], indices] = next(turn)
        return arr

    metric = quantus.MonotonicityCorrelation(perturb_func=next_fill, nr_samples=4, **{**QUIET, "abs": True})
    expected = of_quantus(metric, Shown(net, image, fills), KEEP, cells.view(1, 1, 8, 8))
    value = score("monotonicity_nguyen", maps_from_cells(cells, 8), model_pass)
    np.testing.assert_allclose(value, expected, atol=1e-5)


def test_quantus_sensitivity_n_faults_exact_attributions() -> None:
    """On a linear model Quantus finds 1 for one pixel and less than 0.9 for more, where here every size has 1."""
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(4, generator=generator), torch.rand((200, 1, 2, 2), generator=generator)
    exact = x * weight.view(2, 2)
    metric = quantus.SensitivityN(perturb_baseline=0.0, n_max_percentage=1.0, **QUIET)
    net = nn.Sequential(nn.Flatten(), _weighted(weight))
    sizes = of_quantus(metric, net, x, exact, batch_size=200)
    assert sizes[0] == pytest.approx(1, abs=1e-4)
    assert max(sizes[1:]) < 0.9
    model_pass = make_pass(
        Linear(weight.view(1, 1, 2, 2).expand(2, 3, 2, 2)), x.expand(-1, 3, -1, -1), mean=torch.zeros(3)
    )
    for share in (0.25, 0.5, 0.75):
        torch.testing.assert_close(
            score("sensitivity_n", Maps.from_values(3 * exact[:, 0], 2), model_pass, sizes=[share]), torch.ones(200)
        )


def test_quantus_faithfulness_correlation_faults_one_number_per_pixel() -> None:
    """What each pixel of a colour image contributes is exact, but Quantus removes one channel of it at a time."""
    model_pass, exact = a_linear_model()
    np.random.seed(0)
    metric = quantus.FaithfulnessCorrelation(perturb_baseline=0.5, nr_runs=100, subset_size=58, **QUIET)
    values = of_quantus(metric, model_pass.model.net, model_pass.images, exact[:, None])
    assert np.mean(values) < 0.75
    assert score("faithfulness_correlation", Maps.from_values(exact, 8), model_pass).min() > 0.9999


# Parts.

CODES = torch.tensor([[0, 0, 0, 0], [1, 1, 1, 2], [1, 1, 1, 2], [3, 4, 5, 5]], dtype=torch.uint8)
"""Six parts of unequal size, a cell per pixel."""
OF_CELLS = torch.arange(16.0) - 4
NAMES = ("background", "hair", "skin", "brows", "eyes", "nose")


def faces(*codes: Tensor, anew: float = 0.5, of: Tensor = OF_CELLS) -> Pass:
    """White images whose parts turn grey in every second draw, else ``anew``; a part they lack turns all of them so."""
    parts = torch.stack(codes)

    def rerender(part: str, draw: int) -> Tensor:
        drawn = parts == NAMES.index(part) if part in NAMES else torch.ones_like(parts, dtype=torch.bool)
        return torch.where(drawn[:, None], 0.5 if draw % 2 else anew, white_images(len(parts)))

    return make_pass(additive(of), make_batch(white_images(len(parts)), parts=parts, rerender=rerender))


def by_part(cells: Tensor, codes: Tensor = CODES) -> list[float]:
    """Sums over the parts that are there."""
    return [cells[codes.flatten() == code].sum().item() for code in codes.unique()]


def given_sizes(cells: Tensor, codes: Tensor = CODES) -> float:
    """Partial Spearman correlation with what the parts contribute, given their sizes: the formula of Kendall 1942."""
    falls, sizes = by_part(OF_CELLS, codes), [(codes == code).sum().item() for code in codes.unique()]
    falls_of_map, size, answer = (
        stats.spearmanr(*pair).statistic
        for pair in ((by_part(cells, codes), falls), (by_part(cells, codes), sizes), (falls, sizes))
    )
    return (falls_of_map - size * answer) / math.sqrt((1 - size**2) * (1 - answer**2))


def test_part_faithfulness_is_the_partial_rank_correlation_over_the_parts() -> None:
    """Of sums over parts and what these contribute; parts that are not there, but change the image, do not count."""
    for seed in range(4):
        cells = random_maps(1, 16, seed)
        value = score("part_faithfulness", maps_from_cells(cells), faces(CODES))
        assert value.item() == pytest.approx(given_sizes(cells[0]), abs=1e-6)


def test_part_faithfulness_of_the_contributions_is_perfect() -> None:
    """1, and −1 with the sign turned, whatever the draws show of the parts."""
    for anew in (0.5, 0.75, 1.0):
        model_pass = faces(CODES, anew=anew)
        assert score("part_faithfulness", maps_from_cells(OF_CELLS[None]), model_pass).item() == pytest.approx(1)
        assert score("part_faithfulness", maps_from_cells(-OF_CELLS[None]), model_pass).item() == pytest.approx(-1)


def test_sizes_of_parts_are_no_knowledge() -> None:
    """Shuffled cells of positive contributions score 0 on average, where the sums alone correlate above 0.9."""
    of = torch.rand(16, generator=torch.Generator().manual_seed(1)) + 0.5
    shuffled = of[torch.from_numpy(np.stack([np.random.default_rng(k).permutation(16) for k in range(400)]))]
    values = score("part_faithfulness", maps_from_cells(shuffled), faces(*[CODES] * 400, of=of))
    assert values.mean().abs() < 3 * values.std() / 20
    assert np.mean([stats.spearmanr(by_part(cells), by_part(of)).statistic for cells in shuffled]) > 0.9


def test_tied_parts_share_their_rank() -> None:
    """As in spearmanr, for a map that is zero on four of six parts."""
    cells = torch.where(CODES.flatten() == 1, 2.0, 0.0) + torch.where(CODES.flatten() == 5, 1.0, 0.0)
    value = score("part_faithfulness", maps_from_cells(cells[None]), faces(CODES))
    assert value.item() == pytest.approx(given_sizes(cells), abs=1e-6)


def test_faces_with_other_parts_do_not_touch_each_other() -> None:
    """Faces with six, four and three parts score as alone; three parts are too few for a value."""
    four, three = CODES.clamp_max(3), CODES.clamp_max(2)
    cells = random_maps(3, 16)
    values = score("part_faithfulness", maps_from_cells(cells), faces(CODES, four, three))
    for row, codes in enumerate((CODES, four)):
        assert values[row].item() == pytest.approx(given_sizes(cells[row], codes), abs=1e-6)
    assert values[2].isnan()


def test_parts_that_hardly_matter_give_no_value() -> None:
    """Drawn as it was in every second draw, a part falls by half its contribution; a wider range is asked in vain."""
    falls = by_part(OF_CELLS)
    model_pass, maps = faces(CODES, anew=1.0), maps_from_cells(OF_CELLS[None])
    width = (max(falls) - min(falls)) / 2
    assert score("part_faithfulness", maps, model_pass, min_range=width - 0.01).item() == pytest.approx(1)
    assert score("part_faithfulness", maps, model_pass, min_range=width + 0.01).isnan().all()


def test_falls_in_the_order_of_the_sizes_give_no_value() -> None:
    """Nobody can show there that a map knows more than sizes."""
    codes = torch.tensor([[0, 1, 1, 2], [2, 2, 3, 3], [3, 3, 3, 3], [3, 3, 3, 3]], dtype=torch.uint8)
    for of in (torch.ones(16), -torch.ones(16)):
        assert score("part_faithfulness", maps_from_cells(OF_CELLS[None]), faces(codes, of=of)).isnan().all()


def test_a_constant_map_knows_no_part() -> None:
    """A map that is constant, zero or not finite scores 0, although large parts then have larger sums."""
    cells = torch.tensor([[2.0], [0.0], [torch.nan]]).expand(3, 16)
    assert score("part_faithfulness", maps_from_cells(cells), faces(CODES, CODES, CODES)).tolist() == [0, 0, 0]


def test_the_oracle_knows_the_parts_of_synthetic_faces() -> None:
    """On a linear model the oracle's mean is above 0.6 and above a random map's by 0.4."""
    data = datasets["synthetic_faces"].create({"count": 12, "size": 32})
    weight = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(3)) / 32
    batch = data.load(list(data.table().index))
    batch = replace(batch, rerender=functools.cache(batch.rerender))
    model_pass = make_pass(Linear(weight), batch, mean=data.mean)
    oracle, random = (
        score("part_faithfulness", pooled_maps(name, model_pass), model_pass).nanmean() for name in ("oracle", "random")
    )
    assert oracle > 0.6
    assert oracle > random + 0.4


# Parameters.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("faithfulness_correlation", {"size": 0}),
        ("faithfulness_correlation", {"size": 1}),
        ("faithfulness_correlation", {"size": "0.3"}),
        ("faithfulness_correlation", {"subsets": 2}),
        ("faithfulness_correlation", {"subsets": 10.5}),
        ("sensitivity_n", {"sizes": []}),
        ("sensitivity_n", {"sizes": 0.3}),
        ("sensitivity_n", {"sizes": "0.3"}),
        ("sensitivity_n", {"sizes": [0.3, 1.5]}),
        ("monotonicity_nguyen", {"draws": 0}),
        ("monotonicity_nguyen", {"draws": True}),
        ("infidelity", {"scale": "best"}),
        ("infidelity", {"scale": None}),
        ("infidelity", {"size": -0.1}),
        ("part_faithfulness", {"draws": 0}),
        ("part_faithfulness", {"min_range": 0}),
        ("part_faithfulness", {"min_range": float("nan")}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """Sizes that are no share, too few subsets or draws, a scale that does not exist, a range that bars nothing."""
    with pytest.raises(BadParameter):
        metrics[name].create(params)
