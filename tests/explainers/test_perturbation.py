"""Occlusion and RISE against explicit loops over windows, and full enumeration of masks."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from mavis.errors import BadParameter
from mavis.explainers.perturbation import _soft_masks, _squares
from mavis.maps import cell_means
from mavis.registry import explainers
from mavis.variants import Randomised

from ..toys import Linear, Pooled, a_pass, additive, explain, model, noise, white

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
    run = a_pass(Linear(WEIGHT), noise(2), mean=mean)
    parts = (WEIGHT[1] * (run.images - mean.view(1, 3, 1, 1))).sum(1).double().numpy()
    total, covered = np.zeros((2, 8, 8)), np.zeros((8, 8))
    spans = windows(8, round(window * 8), round(stride * 8))
    for rows, columns in itertools.product(spans, spans):
        place = np.ix_(rows, columns)
        covered[place] += 1
        for image in range(2):
            total[image][place] += parts[image][place].sum()
    found = explain("occlusion", run, 1, window=window, stride=stride)
    np.testing.assert_allclose(found[:, 0], total / covered, rtol=1e-4, atol=1e-5)


def test_occlusion_of_single_cells_is_their_contribution() -> None:
    """With windows of one cell each, an additive model's contributions come out exactly."""
    contributions = torch.tensor([4.0, -1.0, 3.0, 2.5])
    run = a_pass(additive(contributions), white(2))
    found = explain("occlusion", run, window=0.5, stride=0.5)
    torch.testing.assert_close(cell_means(found[:, 0], 2), contributions.expand(2, 4))


@pytest.mark.parametrize("size", [8, 11, 17, 64, 100])
def test_no_pixel_is_left_out(size: int) -> None:
    """Every pixel lies under a square, each square is as large as asked, and the last ends at the border."""
    squares = _squares(torch.zeros(1, 3, size, size), 0.125, 0.0625)
    assert squares.any(0).all()
    assert set(squares.sum((1, 2)).tolist()) == {max(1, round(0.125 * size)) ** 2}
    assert len(squares.unique(dim=0)) == len(squares)


def test_occlusion_reads_the_logit_also_where_curves_read_the_softmax() -> None:
    """The drop is the logit's, so confidence does not shrink it."""
    images = noise(1)
    maps = [explain("occlusion", a_pass(model(Linear(WEIGHT), output=o), images)) for o in ("logit", "softmax")]
    assert maps[0].equal(maps[1])


# RISE.


def test_masks_come_in_complementary_pairs() -> None:
    """At keep one half, mask k + N/2 is one minus mask k, so their mean is exactly a half everywhere."""
    masks = _soft_masks(stream(), 40, 5, 0.5, (16, 12))
    torch.testing.assert_close(masks[:20] + masks[20:], torch.ones(20, 16, 12))
    assert masks.min() >= 0
    assert masks.max() <= 1


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_masks_keep_the_share_asked_for(keep: float) -> None:
    """Each pixel is kept with the given expectation, the same in the corner as in the middle."""
    masks = _soft_masks(stream(), 4000, 4, keep, (8, 8))
    assert (masks.mean(0) - keep).abs().max() < 5 * (keep * (1 - keep) / 2000) ** 0.5
    assert masks.shape == (4000, 8, 8)


def enlarge(coarse: np.ndarray, side: int) -> np.ndarray:
    """Bilinear enlargement with corners not aligned, pixel by pixel."""
    cells = len(coarse)
    place = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    low = np.minimum(place.astype(int), cells - 2)
    weight = np.zeros((side, cells))
    weight[np.arange(side), low] = 1 - (place - low)
    weight[np.arange(side), low + 1] = place - low
    return weight @ coarse @ weight.T


def every_mask(size: int = 8) -> np.ndarray:
    """All masks of a 2 × 2 grid: 16 grids, enlarged to 12 pixels, cut at 4 × 4 places."""
    masks = []
    for bits in itertools.product((0.0, 1.0), repeat=4):
        large = enlarge(np.array(bits).reshape(2, 2), size + size // 2)
        masks += [large[y : y + size, x : x + size] for y in range(size // 2) for x in range(size // 2)]
    return np.array(masks)


def test_rise_estimates_the_covariance_over_all_masks() -> None:
    """Over all 256 masks of a 2 × 2 grid the map is Cov(answer, mask)/keep; many random masks come near it."""
    weight = WEIGHT * 0.02
    run = a_pass(model(Linear(weight), output="softmax"), noise(1))
    masks = every_mask()
    shown = 0.5 + masks[:, None] * (run.images.double().numpy() - 0.5)
    logits = np.einsum("nchw,kchw->nk", shown, weight.double().numpy())
    answers = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    expected = np.einsum("n,nhw->hw", answers - answers.mean(), masks) / len(masks) / 0.5
    found = explain("rise", run, masks=4096, cells=2)[0, 0]
    deviation = np.einsum("n,nhw->nhw", answers - answers.mean(), masks).std(0) / 0.5 / 2048**0.5
    assert (np.abs(found.numpy() - expected) < 5 * deviation).all()
    assert np.corrcoef(found.numpy().ravel(), expected.ravel())[0, 1] > 0.99


def test_rise_finds_what_a_linear_model_uses() -> None:
    """With many masks it follows the contributions of large areas: correlation above 0.9."""
    blocks = torch.tensor([[3.0, -1.0, 0.0, 2.0]]).view(1, 1, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3)
    net = Linear(torch.cat([blocks, -blocks]).expand(2, 3, 16, 16) * 0.01)
    found = explain("rise", a_pass(net, torch.ones(1, 3, 16, 16)), masks=2000, cells=4)
    pair = torch.stack([cell_means(found[:, 0], 4)[0], cell_means(blocks[:, 0], 4)[0]])
    assert torch.corrcoef(pair)[0, 1] > 0.9


def test_a_constant_answer_leaves_no_map() -> None:
    """A model that always says the same has a zero map: the mean answer is taken out, so masks alone say nothing."""
    assert explain("rise", a_pass(additive(torch.zeros(4)), white(2)), masks=8).abs().max() < 1e-6


def test_rise_keeps_its_masks_under_variants() -> None:
    """Common random numbers: the same masks when the image is explained again, others for another seed."""
    run, variant = a_pass(Pooled(), noise(2)), a_pass(Pooled(), noise(2), variant=Randomised(0).key)
    assert explain("rise", variant, masks=8).equal(explain("rise", run, masks=8))
    assert not explain("rise", a_pass(Pooled(), noise(2), seed=1), masks=8).equal(explain("rise", run, masks=8))


def test_maps_do_not_depend_on_the_batch() -> None:
    """An image alone has the map that it has among others."""
    for name in ("rise", "occlusion"):
        run = a_pass(Pooled(), noise(3))
        whole = explain(name, run)
        assert_same(explain(name, run.alone(1)), whole[1:2])


def assert_same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


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
        explainers[name].make(params)
