"""LIME and Shapley values against games whose values are known, full enumeration, scikit-learn and Captum."""

import itertools
from math import factorial

import numpy as np
import pytest
import torch
from captum.attr import KernelShap, ShapleyValues, ShapleyValueSampling
from sklearn.linear_model import Ridge
from sklearn.metrics import pairwise_distances
from torch import Tensor

from mavis.core.attribution_maps import cells_to_pixels, upsample
from mavis.core.errors import BadParameter
from mavis.core.model_pass import Pass
from mavis.core.perturbation.feature_groups import FeatureMask
from mavis.core.perturbation.superpixels import superpixels
from mavis.core.perturbation.variants import Randomised
from mavis.core.registry import explainers
from mavis.core.types import PART_CODES
from mavis.explainers import shapley

from ..toys import (
    CellModel,
    Pooled,
    additive,
    conjunction,
    explain,
    make_batch,
    make_pass,
    measure_cost,
    random_images,
    white_images,
)

NAMES = ("kernel_shap", "lime", "shapley_sampling")
SHAPLEY = ("kernel_shap", "shapley_sampling")
TABLE = torch.randn(16, generator=torch.Generator().manual_seed(3))


def random_game() -> CellModel:
    """Any set of four cells is worth a random number."""
    return CellModel(lambda there: TABLE[(there.round().long() * torch.tensor([1, 2, 4, 8])).sum(1)])


def exact(worth: Tensor) -> Tensor:
    """Shapley values of a game from the worth of each set, numbered by its bits: the mean over all orders."""
    n = int(np.log2(len(worth)))
    values = torch.zeros(n, dtype=torch.float64)
    for order in itertools.permutations(range(n)):
        before = 0
        for unit in order:
            values[unit] += float(worth[before | 1 << unit] - worth[before]) / factorial(n)
            before |= 1 << unit
    return values


def sums(raw: Tensor, labels: Tensor) -> Tensor:
    """``(B,n)``, the sum of the map over each unit."""
    flat = labels.flatten(1)
    return torch.zeros(len(raw), int(flat.max()) + 1).scatter_add(1, flat, raw.flatten(1))


def grid_labels(count: int, grid: int, size: int) -> Tensor:
    return cells_to_pixels(torch.arange(grid**2), (size, size)).expand(count, -1, -1)


def cells_of(name: str, model_pass: Pass, grid: int, **params: object) -> Tensor:
    """``(B,grid²)``, the value of each cell."""
    raw = explain(name, model_pass, cells=grid, **params)
    return sums(raw, grid_labels(len(model_pass), grid, model_pass.images.shape[2]))


def smooth(count: int, size: int) -> Tensor:
    """Images with pieces that superpixels can follow."""
    return upsample(random_images(count, 6), (size, size))


def same_image(count: int, size: int = 9) -> Tensor:
    """Copies of one image; each has draws of its own."""
    return random_images(1, size).expand(count, -1, -1, -1).contiguous()


# Games whose values are known.


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("kernel_shap", {"samples": 64}),
        ("shapley_sampling", {"permutations": 2}),
        ("lime", {"samples": 64, "ridge": 1e-9}),
    ],
)
def test_in_an_additive_game_every_sampling_finds_the_contributions(name: str, params: dict) -> None:
    """Nine cells, far fewer samples than sets: each cell has what it contributes, its pixels share it."""
    contributions = torch.tensor([4.0, -1.0, 3.0, 2.5, 0.0, 1.0, -2.0, 0.5, 1.5])
    model_pass = make_pass(additive(contributions), white_images(3, 10))
    torch.testing.assert_close(
        cells_of(name, model_pass, 3, **params), contributions.expand(3, 9), rtol=1e-4, atol=1e-4
    )
    assert len(explain(name, model_pass, cells=3, **params)[0, 0, :3, :3].round(decimals=4).unique()) == 1


def test_with_every_set_kernel_shap_is_exact() -> None:
    """Four cells have 14 sets between none and all; in a random game the values are the Shapley values."""
    model_pass = make_pass(random_game(), white_images(2))
    with model_pass.meter.attach(model_pass.model.net):
        maps = cells_of("kernel_shap", model_pass, 2, samples=14)
    assert model_pass.meter.forwards == 2 * (14 + 2)
    torch.testing.assert_close(maps, exact(TABLE).float().expand(2, 4), rtol=1e-4, atol=1e-5)


def test_with_every_order_shapley_sampling_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """All 24 orders of four cells give the Shapley values of a random game."""
    orders = torch.tensor(list(itertools.permutations(range(4)))).expand(2, 24, 4)
    monkeypatch.setattr(shapley, "_orders", lambda *_: orders)
    maps = cells_of("shapley_sampling", make_pass(random_game(), white_images(2)), 2, permutations=24)
    torch.testing.assert_close(maps, exact(TABLE).float().expand(2, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SHAPLEY)
def test_two_cells_that_only_count_together_share_their_worth(name: str) -> None:
    """A product of two cells: half to each, whatever the orders, and nothing to the others."""
    maps = cells_of(name, make_pass(conjunction(0, 3), white_images(2)), 2)
    torch.testing.assert_close(maps, torch.tensor([0.5, 0.0, 0.0, 0.5]).expand(2, 4), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "params"), [("kernel_shap", {"samples": 100}), ("shapley_sampling", {})])
def test_random_samples_come_near_the_exact_values(name: str, params: dict) -> None:
    """Nine cells of a convolutional net: the mean over 60 independent draws is within 5 errors of all 510 sets."""
    labels = grid_labels(1, 3, 9)
    truth = sums(explain("kernel_shap", make_pass(Pooled(), random_images(1, 9)), cells=3, samples=510), labels)[0]
    maps = cells_of(name, make_pass(Pooled(), same_image(60)), 3, **params)
    assert maps.std(0).max() > 0
    assert ((maps.mean(0) - truth).abs() < 5 * maps.std(0) / 60**0.5 + 1e-5).all()


# Other programs.


def of_captum(model_pass: Pass, method: type, labels: Tensor, **settings: object) -> Tensor:
    """The value that Captum writes on each pixel of a unit: ``(B,H,W)``, one image at a time."""
    return torch.cat(
        [
            method(model_pass.model.net).attribute(
                model_pass.images[row : row + 1],
                baselines=torch.full((1, 3, 1, 1), 0.5).expand_as(model_pass.images[:1]),
                target=1,
                feature_mask=labels[row : row + 1, None].repeat(1, 3, 1, 1),
                **settings,
            )[:, 0]
            for row in range(len(model_pass))
        ]
    )


def parted(count: int, size: int = 8) -> tuple[Pass, Tensor]:
    """A pass of images with two to five parts, and their numbers without gaps."""
    parts = torch.full((count, size, size), PART_CODES["hair"], dtype=torch.uint8)
    for number, name in enumerate(("background", "mouth", "eyes", "cue")):
        parts[number:, 2 * number : 2 * number + 1] = PART_CODES[name]
    labels = torch.stack([codes.unique(return_inverse=True)[1] for codes in parts])
    return make_pass(Pooled(), make_batch(smooth(count, size), parts=parts)), labels


def test_of_parts_kernel_shap_gives_captum_s_exact_values() -> None:
    """Images with two to four parts in one batch, against the mean over all orders by Captum."""
    model_pass, labels = parted(3)
    assert [len(image_labels.unique()) for image_labels in labels] == [2, 3, 4]
    actual = sums(explain("kernel_shap", model_pass, 1, unit="part"), labels)
    theirs = of_captum(model_pass, ShapleyValues, labels)
    torch.testing.assert_close(actual.gather(1, labels.flatten(1)), theirs.flatten(1), rtol=1e-4, atol=1e-5)


def test_captum_s_sampling_comes_near_ours() -> None:
    """Captum's estimates from 300 orders and 300 sets are near our exact values."""
    model_pass, labels = parted(3)
    actual = (
        sums(explain("kernel_shap", model_pass, 1, unit="part"), labels).gather(1, labels.flatten(1)).view_as(labels)
    )
    torch.manual_seed(0)
    np.random.seed(0)
    orders = of_captum(model_pass, ShapleyValueSampling, labels, n_samples=300)
    sets = of_captum(model_pass, KernelShap, labels, n_samples=300)
    assert (orders - actual).abs().max() < 0.1 * actual.abs().max()
    assert (sets - actual).abs().max() < 0.1 * actual.abs().max()


def test_lime_is_scikit_learn_s_ridge_on_the_same_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the weights of the authors' program, per image of a batch with different numbers of segments."""
    calls: list[tuple[Tensor, Tensor]] = []
    original = shapley.logits_without_units

    def spy(
        model_pass: Pass, targets: Tensor, units: FeatureMask, imputer: object, removed: Tensor, selected: Tensor
    ) -> Tensor:
        calls.append((~removed, original(model_pass, targets, units, imputer, removed, selected)))
        return calls[-1][1]

    monkeypatch.setattr(shapley, "logits_without_units", spy)
    images = smooth(4, 24)
    labels = superpixels(images, 9)
    counts = [len(image_labels.unique()) for image_labels in labels]
    assert len(set(counts)) > 1
    model_pass = make_pass(Pooled(), images)
    actual = sums(explain("lime", model_pass, 1, unit="segment", cells=3, samples=100), labels)
    ((coalitions, logits),) = calls
    for row, n in enumerate(counts):
        z = np.vstack([np.ones(n), coalitions[row, :, :n].numpy()])
        y = [model_pass.logits[row, 1].item(), *logits[row].tolist()]
        distance = pairwise_distances(z, z[:1], metric="cosine")[:, 0]
        counted = np.sqrt(np.exp(-(distance**2) / 0.25**2))
        expected = Ridge(alpha=1, fit_intercept=True).fit(z, y, sample_weight=counted).coef_
        np.testing.assert_allclose(actual[row, :n], expected, rtol=1e-4, atol=1e-5)


# What is asked.


def test_each_costs_what_it_says() -> None:
    """By default 514, 513 and 506 forwards per image of 64 cells."""
    costs = {name: measure_cost(make_pass(Pooled(), random_images(2)), name) for name in NAMES}
    assert {name: (cost.forwards, cost.backwards) for name, cost in costs.items()} == {
        "kernel_shap": (2 * 514, 0),
        "lime": (2 * 513, 0),
        "shapley_sampling": (2 * 506, 0),
    }


def units_of_counts(counts: list[int]) -> FeatureMask:
    labels = torch.stack([torch.arange(64) % count for count in counts]).view(-1, 8, 8)
    return FeatureMask(labels, torch.tensor(counts), 64)


def test_orders_come_in_pairs() -> None:
    """Each is an order of the image's own units, and the second half is the first half reversed."""
    units = units_of_counts([5, 3])
    orders = shapley._orders(make_pass(Pooled(), random_images(2)), units, 6)
    for row, n in enumerate((5, 3)):
        mine = orders[row, :, :n]
        assert mine.sort(1).values.equal(torch.arange(n).expand(6, n))
        assert (mine[:3] + mine[3:]).eq(n - 1).all()
    assert not orders[0, 0].equal(orders[0, 1])


def test_sets_come_in_complementary_pairs_of_the_kernel_s_sizes() -> None:
    """Of 12 units, sets of s are asked in the proportion 1/(s·(12 − s)), and each with what it leaves out."""
    units = units_of_counts([12, 11])
    coalitions, weights = shapley._coalitions(make_pass(Pooled(), random_images(2)), units, 1000)
    assert weights.eq(1).all()
    for row, n in enumerate((12, 11)):
        mine = coalitions[row, :, :n]
        assert (mine[:500] ^ mine[500:]).all()
        share = torch.tensor([1 / (s * (n - s)) for s in range(1, n)])
        actual = mine.sum(1).bincount(minlength=n)[1:n] / 1000
        torch.testing.assert_close(actual, share / share.sum(), rtol=0, atol=0.003)
    assert not coalitions[1, :, 11].any()
    assert (coalitions[0].float().mean(0) - 0.5).abs().max() < 1e-6


def test_few_units_are_asked_every_set_once() -> None:
    """In a batch with an image of many units, one of 3 has its 6 sets, weighted by the Shapley kernel."""
    coalitions, weights = shapley._coalitions(make_pass(Pooled(), random_images(2)), units_of_counts([3, 7]), 20)
    assert (weights > 0).sum(1).tolist() == [6, 20]
    assert len(coalitions[0, :6].unique(dim=0)) == 6
    sizes = coalitions[0, :6].sum(1)
    assert weights[0, :6].tolist() == pytest.approx([2 / (3 * 1 * 2)] * 6)  # C(3,1) = C(3,2) = 3
    assert sorted(sizes.tolist()) == [1, 1, 1, 2, 2, 2]


# What the values add up to.


@pytest.mark.parametrize("name", SHAPLEY)
@pytest.mark.parametrize("unit", ["cell", "segment", "part"])
def test_the_map_adds_up_to_the_logit(name: str, unit: str) -> None:
    """From the image of the mean colour, in float32."""
    model_pass, _ = parted(4, 16)
    maps = explain(name, model_pass, 1, unit=unit, cells=3)
    fall = model_pass.logits[:, 1] - model_pass.predict(torch.full((1, 3, 16, 16), 0.5))[:, 1]
    torch.testing.assert_close(maps.sum((1, 2, 3)), fall, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [2, 6, 20])
def test_the_sum_is_kept_with_too_few_samples(samples: int) -> None:
    """Fewer sets than cells leave values open; they are finite, no larger than needed, and add up."""
    contributions = torch.linspace(-1, 2, 16)
    maps = cells_of("kernel_shap", make_pass(additive(contributions), white_images(2, 8)), 4, samples=samples)
    torch.testing.assert_close(maps.sum(1), contributions.sum().expand(2), rtol=1e-4, atol=1e-4)
    even = contributions.mean()
    assert ((maps - even).norm(dim=1) <= (contributions - even).norm() + 1e-4).all()


@pytest.mark.parametrize("name", SHAPLEY)
def test_a_single_unit_has_the_whole_fall(name: str) -> None:
    """No set lies between nothing and everything."""
    model_pass = make_pass(additive(torch.tensor([4.0])), white_images(2))
    with model_pass.meter.attach(model_pass.model.net):
        torch.testing.assert_close(cells_of(name, model_pass, 1), torch.full((2, 1), 4.0))
    assert model_pass.meter.forwards == 2 * 2


def test_what_is_removed_shows_what_it_is_asked_to() -> None:
    """A constant image and its blur are the same: nothing can fall."""
    model_pass = make_pass(Pooled(), torch.full((1, 3, 8, 8), 0.9))
    for name in NAMES:
        assert explain(name, model_pass, cells=2, imputer="blur").abs().max() < 1e-6
        assert explain(name, model_pass, cells=2).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_answer_leaves_no_map(name: str) -> None:
    """A model that always says the same has a map of zeros."""
    assert explain(name, make_pass(additive(torch.zeros(4)), white_images(2)), cells=2).eq(0).all()


# Batches and seeds.


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("unit", ["segment", "part"])
def test_images_with_other_numbers_of_units_do_not_matter(name: str, unit: str) -> None:
    """An image alone has the map that it has among images with more and fewer units, in chunks of another size."""
    model_pass, labels = parted(4, 24)
    model_pass.chunk = 13
    params = {"unit": unit, "cells": 3}
    expected = explain(name, model_pass, **params)
    counts = {
        int(image_labels.max()) for image_labels in (superpixels(model_pass.images, 9) if unit == "segment" else labels)
    }
    assert len(counts) > 1
    for row in range(4):
        torch.testing.assert_close(
            explain(name, model_pass.single_image(row), **params), expected[row : row + 1], rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_the_same_under_variants(name: str) -> None:
    """Common random numbers: the same when the image is explained again, others for another seed."""
    model_pass, variant = (
        make_pass(Pooled(), random_images(2)),
        make_pass(Pooled(), random_images(2), variant_name=Randomised(0).key),
    )
    assert explain(name, variant, cells=4).equal(explain(name, model_pass, cells=4))
    assert not explain(name, make_pass(Pooled(), random_images(2), seed=1), cells=4).equal(
        explain(name, model_pass, cells=4)
    )


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("lime", {"samples": 1}, "lime: samples must be a whole number, at least 2, got 1"),
        ("lime", {"samples": 8.5}, "got 8.5"),
        ("lime", {"ridge": 0}, "kernel_width and ridge must be above 0, got kernel_width=0.25, ridge=0"),
        ("lime", {"kernel_width": -1.0}, "kernel_width=-1.0"),
        ("kernel_shap", {"samples": 7}, "kernel_shap: samples must be an even number, at least 2, got 7"),
        ("shapley_sampling", {"permutations": 0}, "permutations must be an even number, at least 2, got 0"),
        ("shapley_sampling", {"unit": "pixel"}, "unit must be one of"),
        ("kernel_shap", {"cells": 0}, "cells must be"),
        ("lime", {"unit": "segment", "cells": 12}, "for segments at most 11"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict, says: str) -> None:
    """Too few samples, an odd number of what comes in pairs, no penalty, no units."""
    with pytest.raises(BadParameter, match=says):
        explainers[name].create(params)
