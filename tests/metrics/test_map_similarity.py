"""SSIM, HOG and histogram entropy agree with scikit-image, Quantus and hand-made ramps."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module

import numpy as np
import pytest
import torch
from quantus.functions.complexity_func import discrete_entropy
from skimage.feature import hog as skimage_hog
from torch import Tensor

from mavis.core.errors import ContractError
from mavis.metrics.map_similarity import histogram_entropy, hog, hog_similarity, ssim

VARIANCE = sum(k * k * math.exp(-k * k / 4.5) for k in range(-3, 4)) / sum(math.exp(-k * k / 4.5) for k in range(-3, 4))
"""Of a ramp of slope 1 under the 7-tap Gaussian of deviation 1.5."""


def random_maps(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of unlike scales: plain, smooth on the right, large, tiny."""
    maps = torch.randn((4, *shape), generator=torch.Generator().manual_seed(seed))
    maps[1, :, shape[1] // 2 :] = maps[1, :, shape[1] // 2 :].cumsum(1)
    return maps * torch.tensor([1, 1, 1e4, 1e-6])[:, None, None]


def ties(maps: Tensor) -> Tensor:
    """The maps in steps of their own deviation, so that many values are equal."""
    return (maps / maps.std((1, 2), keepdim=True)).round()


def ramp(size: int = 24) -> Tensor:
    """``(1,size,size)``: columns rise by 1 around 0."""
    return (torch.arange(size) - (size - 1) / 2).expand(1, size, size).clone()


def inside(size: int = 24) -> np.ndarray:
    """The ramp's means in the windows that lie inside."""
    return np.arange(size)[3:-3] - (size - 1) / 2


# SSIM.


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor, Tensor], list[float]]:
    """scikit-image with its Gaussian cut at 7 taps and the range of both maps, one pair at a time."""
    module = import_module("skimage.metrics._structural_similarity")
    gaussian = module.gaussian
    monkeypatch.setattr(module, "gaussian", lambda image, **kind: gaussian(image, **{**kind, "truncate": 2.0}))

    def one(a: np.ndarray, b: np.ndarray) -> float:
        compare = partial(module.structural_similarity, gaussian_weights=True, use_sample_covariance=False, win_size=7)
        return compare(a, b, data_range=max(a.max(), b.max()) - min(a.min(), b.min()))

    return lambda a, b: [one(x, y) for x, y in zip(a.double().numpy(), b.double().numpy(), strict=True)]


@pytest.mark.parametrize("shape", [(7, 7), (8, 31), (32, 32), (64, 48)])
def test_ssim_is_that_of_scikit_image(shape: tuple[int, int], reference: Callable[..., list[float]]) -> None:
    """On noise, on mixtures with noise, on maps with ties, on pairs of unlike scale and on one constant map."""
    a, b = random_maps(*shape), random_maps(*shape, seed=1)
    for x, y in (
        (a, b),
        (a, 0.7 * a + 0.3 * b),
        (ties(a), ties(b)),
        (a, 5 * a),
        (a, 1 + a),
        (a, torch.ones_like(a)),
    ):
        np.testing.assert_allclose(ssim(x, y).numpy(), reference(x, y), atol=1e-5)


def test_ssim_of_equal_maps_is_one() -> None:
    """Whatever the scale, and for a map with a single odd pixel too."""
    maps = random_maps(16, 16)
    maps[0] = 0
    maps[0, 3, 4] = 1
    torch.testing.assert_close(ssim(maps, maps), torch.ones(4))


def test_ssim_of_a_ramp_and_its_negative() -> None:
    """Windows have means m and −m, one variance v, covariance −v; both maps together span the ramp's own range."""
    first, second = (0.01 * 23) ** 2, (0.03 * 23) ** 2
    means = (-2 * inside() ** 2 + first) / (2 * inside() ** 2 + first)
    expected = means.mean() * (-2 * VARIANCE + second) / (2 * VARIANCE + second)
    assert ssim(ramp(), -ramp()).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_of_a_shifted_ramp() -> None:
    """Variance and covariance agree, so only the means count: m and m + 5, in a range of 23 + 5."""
    m, first = inside(), (0.01 * 28) ** 2
    expected = ((2 * m * (m + 5) + first) / (m**2 + (m + 5) ** 2 + first)).mean()
    assert ssim(ramp(), ramp() + 5).item() == pytest.approx(expected, abs=1e-6)


def test_ssim_does_not_ask_for_the_unit() -> None:
    """Both maps times any number, however small, are as alike as before."""
    a, b = random_maps(16, 16)[:1], random_maps(16, 16, seed=1)[:1]
    for scale in (1e-30, 1e6):
        torch.testing.assert_close(ssim(scale * a, scale * b), ssim(a, b))


def test_ssim_without_any_structure_is_undefined() -> None:
    """Two constant maps, equal or not, have no value; one constant map has, near 0."""
    flat = torch.tensor([0.0, 2.0, 2.0])[:, None, None].expand(3, 9, 9)
    constant = torch.tensor([0.0, 2.0, 3.0])[:, None, None].expand(3, 9, 9)
    assert ssim(flat, constant).isnan().all()
    expected = (0.23**2 / (inside() ** 2 + 0.23**2)).mean() * 0.69**2 / (VARIANCE + 0.69**2)
    assert ssim(torch.zeros(1, 24, 24), ramp()).item() == pytest.approx(expected, abs=1e-6)


def test_maps_too_small_are_refused() -> None:
    """A map smaller than the window, or than three cells of one pixel, has neither structure nor edges."""
    with pytest.raises(ContractError, match=r"at least 7 × 7 px, got \(6, 9\)"):
        ssim(torch.rand(1, 6, 9), torch.rand(1, 6, 9))
    with pytest.raises(ContractError, match=r"at least 3 × 3 px, got \(2, 9\)"):
        hog(torch.rand(1, 2, 9))


# HOG.


@pytest.mark.parametrize(
    ("shape", "side"), [((48, 48), 16), ((65, 90), 16), ((112, 64), 16), ((32, 32), 10), ((7, 9), 2)]
)
def test_hog_is_that_of_scikit_image(shape: tuple[int, int], side: int) -> None:
    """On noise of any scale, on maps with ties, on a map with one odd pixel and on a constant one."""
    maps = torch.cat([random_maps(*shape), ties(random_maps(*shape)), torch.zeros(2, *shape)])
    maps[-2, 5, 5] = -3
    settings = {"orientations": 9, "pixels_per_cell": (side, side), "cells_per_block": (3, 3), "block_norm": "L2-Hys"}
    expected = np.stack([skimage_hog(values, **settings) for values in maps.double().numpy()])
    np.testing.assert_allclose(hog(maps).numpy(), expected, atol=1e-5)


def test_hog_of_a_ramp() -> None:
    """Nine cells point along the columns: cut at 0.2 all are equal, and so 1/3 after; other directions are empty."""
    cells = hog(ramp(48)).view(9, 9)
    torch.testing.assert_close(cells[:, 0], torch.full((9,), 1 / 3, dtype=torch.float64), atol=1e-8, rtol=0)
    assert (cells[:, 1:] == 0).all()
    turned = hog(ramp(48).mT).view(9, 9)
    assert (turned.argmax(1) == 4).all()


def test_hog_similarity_is_the_cosine() -> None:
    """Of the histograms of maps brought to a range of 1, by numpy; equal maps have exactly 1."""
    a, b = random_maps(50, 50), random_maps(50, 50, seed=1)
    x, y = (hog(m.double() / (m.amax((1, 2)) - m.amin((1, 2))).double()[:, None, None]).numpy() for m in (a, b))
    expected = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    np.testing.assert_allclose(hog_similarity(a, b).numpy(), expected, atol=1e-6)
    torch.testing.assert_close(hog_similarity(a, a), torch.ones(4))


def test_ramps_at_right_angles_have_no_edge_in_common() -> None:
    """Their directions fall into two bins."""
    assert hog_similarity(ramp(48), ramp(48).mT).item() == 0


def test_hog_similarity_knows_neither_sign_nor_scale_nor_shift() -> None:
    """A map, its negative, and either times or plus a number have the same edges, however small they are."""
    a, b = random_maps(32, 32), random_maps(32, 32, seed=1)
    before = hog_similarity(a, b)
    torch.testing.assert_close(hog_similarity(-a, b), before, atol=0, rtol=0)
    torch.testing.assert_close(hog_similarity(a * 2.0**-60, b), before)
    torch.testing.assert_close(hog_similarity((a.double() + 3).float(), b)[:3], before[:3], atol=1e-3, rtol=0)


def test_hog_similarity_without_edges_is_undefined() -> None:
    """A constant map, or one that varies only beyond the last whole cell, has no direction to compare."""
    maps = torch.ones(3, 48, 63)
    maps[1, :, 60:] = torch.rand(48, 3)
    maps[2] = torch.rand(48, 63)
    assert hog_similarity(maps, maps).isnan().tolist() == [True, True, False]


# Entropy.


@pytest.mark.parametrize("bins", [1, 7, 100])
def test_entropy_is_that_of_quantus(bins: int) -> None:
    """On noise of any scale, on a map with ties and on one where almost all values are equal."""
    maps = torch.cat([random_maps(24, 24).double(), ties(random_maps(24, 24)).double()])
    maps[-1] = 0
    maps[-1, 3, :4] = 1
    expected = [discrete_entropy(a=values, x=values, n_bins=bins) for values in maps.numpy()]
    np.testing.assert_allclose(histogram_entropy(maps, bins).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("count", [2, 4, 16, 64, 100])
def test_entropy_of_equally_frequent_values(count: int) -> None:
    """So many values, equally often: the logarithm of their number, up to one in every bin."""
    values = (torch.arange(1600) % count).view(1, 40, 40).float()
    assert histogram_entropy(values).item() == pytest.approx(math.log(count), abs=1e-6)


def test_entropy_of_a_constant_map_is_zero() -> None:
    """All values are in one bin."""
    assert histogram_entropy(torch.tensor([0.0, -2.5, 1e30])[:, None, None].expand(3, 8, 8)).tolist() == [0, 0, 0]


# All.


MEASURES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ssim": ssim,
    "hog": hog_similarity,
    "entropy": lambda a, b: histogram_entropy(a - b),
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_value_belongs_to_its_image(name: str) -> None:
    """Alone, in a batch and in another order, an image has the same value, bit for bit."""
    a, b = torch.cat([random_maps(40, 40)] * 3), torch.cat([random_maps(40, 40, seed=s) for s in (1, 2, 3)])
    together = MEASURES[name](a, b)
    assert together.shape == (12,)
    assert together.dtype == torch.float32
    assert together.equal(torch.cat([MEASURES[name](x[None], y[None]) for x, y in zip(a, b, strict=True)]))
    assert together.flip(0).equal(MEASURES[name](a.flip(0), b.flip(0)))


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_map_that_is_not_finite_has_no_value(name: str, bad: float) -> None:
    """It is undefined, and the other images of the batch are not."""
    a, b = random_maps(32, 32), random_maps(32, 32, seed=1)
    a[1, 20, 20] = bad
    assert MEASURES[name](a, b).isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("name", ["ssim", "hog"])
def test_either_map_may_come_first(name: str) -> None:
    """Likeness is mutual."""
    a, b = random_maps(32, 32), random_maps(32, 32, seed=1)
    torch.testing.assert_close(MEASURES[name](a, b), MEASURES[name](b, a), atol=1e-7, rtol=0)
