"""Occlusion, ablation and RISE against explicit loops over windows, Captum, and full enumeration of masks."""

import itertools

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, Occlusion
from torch import Tensor

from mavis.core.attribution_maps import cell_means, cells_to_pixels, upsample
from mavis.core.errors import BadParameter, DataError, UnknownName
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.perturbation.superpixels import superpixels
from mavis.core.perturbation.variants import Randomised
from mavis.core.registry import explainers
from mavis.core.types import PART_CODES
from mavis.explainers import perturbation
from mavis.explainers.perturbation import _coarse_masks, _sliding_windows, _soft_masks

from ..toys import (
    Linear,
    Pooled,
    additive,
    explain,
    make_batch,
    make_model,
    make_pass,
    measure_cost,
    pooled_maps,
    random_images,
    score,
    white_images,
)

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Occlusion.


def windows(side: int, length: int, step: int) -> list[range]:
    """Where a window stands: every step, and at the end."""
    starts = [*range(0, side - length + 1, step)]
    if starts[-1] != side - length:
        starts.append(side - length)
    return [range(start, start + length) for start in starts]


@pytest.mark.parametrize(("window", "stride"), [(0.25, 0.125), (0.5, 0.25), (0.375, 0.375), (1.0, 1.0), (0.125, 0.125)])
def test_occlusion_of_a_linear_model_is_a_mean_over_windows(window: float, stride: float) -> None:
    """A window's drop is the sum of w·(x − mean) under it; a pixel has the mean over the windows that cover it."""
    mean = torch.tensor([0.3, 0.5, 0.9])
    model_pass = make_pass(Linear(WEIGHT), random_images(2), mean=mean)
    parts = (WEIGHT[1] * (model_pass.images - mean.view(1, 3, 1, 1))).sum(1).double().numpy()
    total, covered = np.zeros((2, 8, 8)), np.zeros((8, 8))
    spans = windows(8, round(window * 8), round(stride * 8))
    for rows, columns in itertools.product(spans, spans):
        pixels = np.ix_(rows, columns)
        covered[pixels] += 1
        for image in range(2):
            total[image][pixels] += parts[image][pixels].sum()
    maps = explain("occlusion", model_pass, 1, window=window, stride=stride)
    np.testing.assert_allclose(maps[:, 0], total / covered, rtol=1e-4, atol=1e-5)


def test_occlusion_of_single_cells_is_their_contribution() -> None:
    """With windows of one cell each, an additive model's contributions come out exactly."""
    contributions = torch.tensor([4.0, -1.0, 3.0, 2.5])
    model_pass = make_pass(additive(contributions), white_images(2))
    maps = explain("occlusion", model_pass, window=0.5, stride=0.5)
    torch.testing.assert_close(cell_means(maps[:, 0], 2), contributions.expand(2, 4))


@pytest.mark.parametrize("size", [8, 11, 17, 64, 100])
def test_no_pixel_is_left_out(size: int) -> None:
    """Every pixel lies under a square, each square is as large as asked, and the last ends at the border."""
    squares = _sliding_windows(torch.zeros(1, 3, size, size), 0.125, 0.0625)
    assert squares.any(0).all()
    assert set(squares.sum((1, 2)).tolist()) == {max(1, round(0.125 * size)) ** 2}
    assert len(squares.unique(dim=0)) == len(squares)


def test_occlusion_reads_the_logit_also_where_curves_read_the_softmax() -> None:
    """The drop is the logit's, so confidence does not shrink it."""
    images = random_images(1)
    maps = [explain("occlusion", make_pass(make_model(Linear(WEIGHT), output=o), images)) for o in ("logit", "softmax")]
    assert maps[0].equal(maps[1])


@pytest.mark.parametrize(("window", "stride"), [(0.25, 0.125), (0.5, 0.5)])
def test_occlusion_is_captum_s_where_the_step_divides_the_image(window: float, stride: float) -> None:
    """On a convolutional net, from the same colour, pixel by pixel."""
    model_pass = make_pass(Pooled(), random_images(2))
    side, step = round(8 * window), round(8 * stride)
    theirs = Occlusion(model_pass.model.net).attribute(
        model_pass.images, (3, side, side), (3, step, step), torch.full((1, 3, 8, 8), 0.5), 1, perturbations_per_eval=4
    )
    torch.testing.assert_close(explain("occlusion", model_pass, 1, window=window, stride=stride), theirs[:, :1])


def test_the_square_shows_what_it_is_asked_to() -> None:
    """One square over the whole image: with the imputer blur the drop is that to the blurred image, on every pixel."""
    model_pass = make_pass(Linear(WEIGHT), random_images(2))
    change = model_pass.images - gaussian_blur(model_pass.images, 2.0)
    expected = (WEIGHT[0] * change).sum((1, 2, 3))
    maps = explain("occlusion", model_pass, window=1.0, stride=1.0, imputer="blur:sigma=0.25")
    torch.testing.assert_close(maps, expected.view(2, 1, 1, 1).expand(2, 1, 8, 8))


# Feature ablation.


def sums(raw: Tensor, labels: Tensor) -> Tensor:
    """``(B,n)``, the sum of the map over each unit."""
    flat = labels.flatten(1)
    return torch.zeros(len(raw), int(flat.max()) + 1).scatter_add(1, flat, raw.flatten(1))


def grid_labels(count: int, grid: int, size: int) -> Tensor:
    return cells_to_pixels(torch.arange(grid**2), (size, size)).expand(count, -1, -1)


@pytest.mark.parametrize("size", [4, 5, 9])
def test_ablation_of_an_additive_model_is_its_contributions(size: int) -> None:
    """Each cell's pixels add up to what the cell contributes, and share it evenly, whatever the cells' sizes."""
    contributions = torch.tensor([4.0, -1.0, 3.0, 2.5])
    maps = explain("feature_ablation", make_pass(additive(contributions), white_images(2, size)), cells=2)
    labels = grid_labels(2, 2, size)
    torch.testing.assert_close(sums(maps, labels), contributions.expand(2, 4))
    assert all(len(maps[0, 0][labels[0] == unit].unique()) == 1 for unit in range(4))


@pytest.mark.parametrize("unit", ["cell", "segment", "part"])
def test_ablation_is_captum_s_shared_out_among_the_pixels(unit: str) -> None:
    """A unit's sum is the drop that Captum writes on each of its pixels."""
    images = upsample(random_images(3, 6), (16, 16))
    parts = grid_labels(3, 3, 16)
    labels = {"cell": grid_labels(3, 4, 16), "segment": superpixels(images, 16), "part": parts}[unit]
    codes = torch.tensor([0, 1, 2, 9, 4, 6, 5, 7, 8])
    model_pass = make_pass(Pooled(), make_batch(images, parts=codes[parts].to(torch.uint8)))
    theirs = FeatureAblation(model_pass.model.net).attribute(
        images, torch.full((1, 3, 16, 16), 0.5), 1, feature_mask=labels[:, None], perturbations_per_eval=1
    )
    maps = explain("feature_ablation", model_pass, 1, unit=unit, cells=4)
    torch.testing.assert_close(sums(maps, labels).gather(1, labels.flatten(1)), theirs[:, 0].flatten(1))


def test_parts_that_an_image_does_not_show_are_not_asked() -> None:
    """Two images with three parts and one: four questions, and each image as a whole."""
    parts = torch.full((2, 8, 8), PART_CODES["skin"], dtype=torch.uint8)
    parts[0, :2] = PART_CODES["hair"]
    parts[0, 5] = PART_CODES["mouth"]
    model_pass = make_pass(Linear(WEIGHT), make_batch(random_images(2), parts=parts))
    with model_pass.meter.attach(model_pass.model.net):
        maps = explain("feature_ablation", model_pass, unit="part")
    assert model_pass.meter.forwards == 4 + 2
    worth = (WEIGHT[0] * (model_pass.images - 0.5)).sum(1)
    for rows in (slice(0, 2), slice(5, 6)):
        torch.testing.assert_close(maps[0, 0, rows].sum(), worth[0, rows].sum())
    torch.testing.assert_close(maps[1], worth[1].mean().expand(1, 8, 8))


def test_ablation_asks_once_per_unit() -> None:
    """64 cells and the whole image."""
    assert measure_cost(make_pass(Pooled(), random_images(2)), "feature_ablation").forwards == 2 * 65


def test_parts_need_data_that_have_them() -> None:
    """Without known parts there is nothing to remove, and the error says what to do."""
    with pytest.raises(DataError, match="use unit=segment or unit=cell"):
        explain("feature_ablation", make_pass(Pooled(), random_images(1)), unit="part")


# RISE.


def soft_masks(stream: torch.Generator, count: int, cells: int, keep: float, size: tuple[int, int]) -> Tensor:
    return _soft_masks(_coarse_masks(stream, count, cells, keep, size), cells, size)


def test_masks_come_in_complementary_pairs() -> None:
    """At keep one half, mask k + N/2 is one minus mask k, so their mean is exactly a half everywhere."""
    masks = soft_masks(stream(), 40, 5, 0.5, (16, 12))
    torch.testing.assert_close(masks[:20] + masks[20:], torch.ones(20, 16, 12))
    assert masks.min() >= 0
    assert masks.max() <= 1


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_masks_keep_the_share_asked_for(keep: float) -> None:
    """Each pixel is kept with the given expectation, the same in the corner as in the middle."""
    masks = soft_masks(stream(), 4000, 4, keep, (8, 8))
    assert (masks.mean(0) - keep).abs().max() < 5 * (keep * (1 - keep) / 2000) ** 0.5
    assert masks.shape == (4000, 8, 8)


def enlarge(coarse: np.ndarray, side: int) -> np.ndarray:
    """Bilinear enlargement with corners not aligned, pixel by pixel."""
    cells = len(coarse)
    position = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    low = np.minimum(position.astype(int), cells - 2)
    weight = np.zeros((side, cells))
    weight[np.arange(side), low] = 1 - (position - low)
    weight[np.arange(side), low + 1] = position - low
    return weight @ coarse @ weight.T


def every_mask(size: int = 8) -> np.ndarray:
    """All masks of a 2 × 2 grid: 16 grids, enlarged to 12 pixels, cut at 4 × 4 places."""
    masks = []
    for bits in itertools.product((0.0, 1.0), repeat=4):
        large = enlarge(np.array(bits).reshape(2, 2), size + size // 2)
        masks += [large[y : y + size, x : x + size] for y in range(size // 2) for x in range(size // 2)]
    return np.array(masks)


def all_grids() -> Tensor:
    """The 256 draws that `every_mask` enlarges, in its order."""
    grids = itertools.product(itertools.product((0.0, 1.0), repeat=4), range(4), range(4))
    return torch.tensor([[*bits, y, x] for bits, y, x in grids])


def all_answers(images: Tensor, masks: np.ndarray) -> np.ndarray:
    """Class 0's probability under each mask, by a linear model a fiftieth as steep, faded into grey."""
    shown = 0.5 + masks[:, None] * (images.double().numpy() - 0.5)
    logits = np.einsum("nchw,kchw->nk", shown, (WEIGHT * 0.02).double().numpy())
    return 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))


def test_rise_over_all_masks_is_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every mask of a 2 × 2 grid once the map is exactly Cov(answer, mask)/keep."""
    monkeypatch.setattr(perturbation, "_coarse_masks", lambda *_: all_grids())
    model_pass, masks = make_pass(Linear(WEIGHT * 0.02), random_images(2)), every_mask()
    maps = explain("rise", model_pass, masks=256, cells=2)
    for image, values in zip(model_pass.images, maps[:, 0], strict=True):
        answers = all_answers(image, masks)
        expected = np.einsum("n,nhw->hw", answers - answers.mean(), masks) / len(masks) / 0.5
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-6)


def test_rise_fades_into_what_it_is_asked_to() -> None:
    """A constant image fades into the mean colour but not into its own blur, which is itself."""
    model_pass = make_pass(Linear(WEIGHT * 0.02), torch.full((1, 3, 8, 8), 0.9))
    assert explain("rise", model_pass, masks=8, imputer="blur").abs().max() < 1e-6
    assert explain("rise", model_pass, masks=8).abs().max() > 1e-4


def test_rise_estimates_the_covariance_over_all_masks() -> None:
    """Many random masks come near the covariance over all of them."""
    model_pass, masks = make_pass(make_model(Linear(WEIGHT * 0.02), output="softmax"), random_images(1)), every_mask()
    answers = all_answers(model_pass.images[0], masks)
    expected = np.einsum("n,nhw->hw", answers - answers.mean(), masks) / len(masks) / 0.5
    maps = explain("rise", model_pass, masks=4096, cells=2)[0, 0]
    deviation = np.einsum("n,nhw->nhw", answers - answers.mean(), masks).std(0) / 0.5 / 2048**0.5
    assert (np.abs(maps.numpy() - expected) < 5 * deviation).all()
    assert np.corrcoef(maps.numpy().ravel(), expected.ravel())[0, 1] > 0.99


def test_rise_finds_what_a_linear_model_uses() -> None:
    """With many masks it follows the contributions of large areas: correlation above 0.9."""
    blocks = torch.tensor([[3.0, -1.0, 0.0, 2.0]]).view(1, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    net = Linear(torch.cat([blocks, -blocks]).expand(2, 3, 16, 16) * 0.01)
    maps = explain("rise", make_pass(net, torch.ones(1, 3, 16, 16)), masks=2000, cells=4)
    pair = torch.stack([cell_means(maps[:, 0], 4)[0], cell_means(blocks[:, 0], 4)[0]])
    assert torch.corrcoef(pair)[0, 1] > 0.9


def test_a_constant_answer_leaves_no_map() -> None:
    """A model that always says the same has a zero map: the mean answer is taken out, so masks alone say nothing."""
    assert explain("rise", make_pass(additive(torch.zeros(4)), white_images(2)), masks=8).abs().max() < 1e-6


def test_rise_keeps_its_masks_under_variants() -> None:
    """Common random numbers: the same masks when the image is explained again, others for another seed."""
    model_pass, variant = (
        make_pass(Pooled(), random_images(2)),
        make_pass(Pooled(), random_images(2), variant_name=Randomised(0).key),
    )
    assert explain("rise", variant, masks=8).equal(explain("rise", model_pass, masks=8))
    assert not explain("rise", make_pass(Pooled(), random_images(2), seed=1), masks=8).equal(
        explain("rise", model_pass, masks=8)
    )


def test_maps_do_not_depend_on_the_batch() -> None:
    """An image alone has the map that it has among others."""
    for name, params in (("rise", {}), ("occlusion", {}), ("feature_ablation", {"unit": "segment", "cells": 4})):
        model_pass = make_pass(Pooled(), upsample(random_images(3, 6), (16, 16)), chunk=7)
        whole = explain(name, model_pass, **params)
        for row in range(3):
            assert_same(explain(name, model_pass.single_image(row), **params), whole[row : row + 1])


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


# The reference.


@pytest.mark.parametrize("size", [8, 9])
def test_cell_occlusion_is_the_drop_of_each_cell_alone(size: int) -> None:
    """Cell by cell by hand, from the data set's mean colour, for each image's own class."""
    model_pass = make_pass(Pooled(), random_images(2, size), mean=torch.tensor([0.3, 0.5, 0.9]))
    classes = torch.tensor([2, 0])
    labels = grid_labels(2, 4, size)
    drops = torch.zeros(2, 16)
    for cell in range(16):
        holed = torch.where((labels == cell)[:, None], model_pass.mean.view(1, 3, 1, 1), model_pass.images)
        drops[:, cell] = (model_pass.predict(model_pass.images) - model_pass.predict(holed))[torch.arange(2), classes]
    maps = explainers["cell_occlusion"].create({"cells": 4})(model_pass, classes)
    torch.testing.assert_close(sums(maps, labels), drops, rtol=1e-4, atol=1e-5)


def test_cell_occlusion_is_what_single_deletion_asks_for() -> None:
    """On the grid of the run its rank correlation with each cell's own drop is exactly 1."""
    model_pass = make_pass(Pooled(), random_images(2, 32))
    maps = pooled_maps("cell_occlusion", model_pass, 1, grid=16)
    torch.testing.assert_close(score("single_deletion", maps, model_pass, 1), torch.ones(2))


def test_cell_occlusion_asks_once_per_cell_and_is_a_reference() -> None:
    """256 forwards for an image and one for itself; neither a method nor a control."""
    cost = measure_cost(make_pass(Pooled(), random_images(1, 16)), "cell_occlusion")
    assert (cost.forwards, cost.backwards) == (257, 0)
    assert explainers["cell_occlusion"].traits.role == "reference"
    with pytest.raises(BadParameter, match="cell_occlusion: cells must be a whole number"):
        explainers["cell_occlusion"].create({"cells": 0})


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("occlusion", {"window": 0.1, "stride": 0.2}),
        ("occlusion", {"window": 1.5}),
        ("occlusion", {"stride": 0}),
        ("rise", {"masks": 7}),
        ("rise", {"masks": 0}),
        ("rise", {"cells": 0}),
        ("rise", {"keep": 1.0}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """Gaps between squares, an odd number of masks, masks that keep everything."""
    with pytest.raises(BadParameter, match=f"{name}: expected"):
        explainers[name].create(params)


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"unit": "pixel"}, "feature_ablation: unit must be one of cell, segment, part, got 'pixel'"),
        ({"cells": 0}, "feature_ablation: cells must be a whole number, at least 1 and for segments at most 11, got 0"),
        ({"cells": 2.5}, "got 2.5"),
        ({"unit": "segment", "cells": 12}, "for segments at most 11, got 12"),
    ],
)
def test_units_that_there_are_not_are_refused(params: dict, says: str) -> None:
    """Another unit, a grid without cells, more superpixels than there may be."""
    with pytest.raises(BadParameter, match=says):
        explainers["feature_ablation"].create(params)


@pytest.mark.parametrize("name", ["occlusion", "rise", "feature_ablation", "cell_occlusion"])
def test_an_unknown_imputer_is_refused_before_anything_is_asked(name: str) -> None:
    """When the explainer is made, not when it explains."""
    with pytest.raises(UnknownName, match="did you mean 'mean'"):
        explainers[name].create({"imputer": "maen"})
