"""Removed pixels are the exact weighted means of their neighbours: closed forms, a dense solver and Quantus agree."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from mavis.core.attribution_maps import cells_to_pixels
from mavis.core.errors import BadParameter
from mavis.core.perturbation import linear_imputer
from mavis.core.perturbation.linear_imputer import impute_linearly

GREY = torch.full((3,), 0.5)


def noise(count: int, H: int, W: int) -> Tensor:
    return torch.rand(count, 3, H, W, generator=torch.Generator().manual_seed(H * W))


def mask(H: int, W: int, *removed) -> Tensor:
    """One mask of what the indices name, a pixel or a block."""
    pixels = torch.zeros(1, 1, H, W, dtype=torch.bool)
    for where in removed:
        pixels[0, 0][where] = True
    return pixels


def scattered(share: float, H: int, W: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 1, H, W, generator=torch.Generator().manual_seed(seed)) < share


def cells(share: float, grid: int, size: int, seed: int = 0) -> Tensor:
    return cells_to_pixels(scattered(share, grid, grid, seed).flatten(2), (size, size))


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in linear_imputer._thread_pools.info() if library["user_api"] == "blas"}


def dense(image: Tensor, removed: Tensor) -> np.ndarray:
    """The paper's equations as they stand, pixel by pixel, into a dense solver: ``(3,H,W)`` double."""
    values, gone = image.double().numpy().copy(), removed.numpy()
    H, W = gone.shape
    pixels = [tuple(at) for at in np.argwhere(gone)]
    number = {at: i for i, at in enumerate(pixels)}
    left, right = np.eye(len(pixels)), np.zeros((len(pixels), 3))
    for i, (y, x) in enumerate(pixels):
        around = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]
        inside = [(v, u) for v, u in around if 0 <= v < H and 0 <= u < W]
        weights = np.array([1 / 6 if v == y or u == x else 1 / 12 for v, u in inside])
        for at, weight in zip(inside, weights / weights.sum(), strict=True):
            if at in number:
                left[i, number[at]] -= weight
            else:
                right[i] += weight * values[:, at[0], at[1]]
    values[:, gone] = np.linalg.solve(left, right).T
    return values


SCATTERED = {f"{share:.0%} scattered": scattered(share, 13, 17) for share in (0.03, 0.2, 0.5, 0.8, 0.97)}
SHAPES = {
    "a pixel": mask(13, 17, (6, 8)),
    "a corner": mask(13, 17, (0, 0)),
    "all corners and a side": mask(13, 17, (0, 0), (0, -1), (-1, 0), (-1, slice(None))),
    "a blob": mask(13, 17, (slice(2, 9), slice(3, 12))),
    "a blob at the border": mask(13, 17, (slice(5, 13), slice(9, 17))),
    "two blobs that meet in a corner": mask(13, 17, (slice(2, 5), slice(2, 6)), (slice(5, 9), slice(6, 9))),
    "a row": mask(13, 17, (4, slice(None))),
    "a column": mask(13, 17, (slice(None), 4)),
    "a frame": ~mask(13, 17, (slice(1, -1), slice(1, -1))),
    "all but the middle": ~mask(13, 17, (6, 8)),
    "all but two corners": ~mask(13, 17, (0, 0), (-1, -1)),
    "all but a row": ~mask(13, 17, (4, slice(None))),
}


@pytest.mark.parametrize("removed", [pytest.param(m, id=name) for name, m in {**SCATTERED, **SHAPES}.items()])
def test_the_system_is_solved_exactly(removed: Tensor) -> None:
    """A dense solver in double gives the same three channels to float32, whichever way the image lies."""
    image = noise(1, 13, 17)
    expected = dense(image[0], removed[0, 0])
    np.testing.assert_allclose(impute_linearly(image, removed, GREY)[0, 0].numpy(), expected, atol=1.2e-7)
    turned = impute_linearly(image.mT, removed.mT, GREY)[0, 0].mT
    np.testing.assert_allclose(turned.numpy(), expected, atol=1.2e-7)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(("grid", "size"), [(16, 64), (7, 40), (16, 112)])
def test_it_is_quantus_s_without_the_noise(grid: int, size: int, share: float) -> None:
    """Cells removed from an RGB image come out as Quantus imputes them; cells need not be of equal size."""
    from quantus.functions.perturb_func import noisy_linear_imputation

    image, removed = noise(1, size, size), cells(share, grid, size)
    expected = noisy_linear_imputation(image[0].double().numpy(), np.flatnonzero(removed.numpy()), noise=0.0)
    np.testing.assert_allclose(impute_linearly(image, removed, GREY)[0, 0].numpy(), expected, atol=1e-6)


# Closed forms.


@pytest.mark.parametrize(
    ("at", "sides", "corners"),
    [((2, 2), 4, 4), ((0, 2), 3, 2), ((2, 4), 3, 2), ((0, 0), 2, 1), ((4, 4), 2, 1)],
)
def test_one_pixel_is_the_mean_of_its_neighbours(at: tuple[int, int], sides: int, corners: int) -> None:
    """Sides weigh twice what corners do, renormalised at the border: white sides among black give 2s / (2s + c)."""
    image = torch.zeros(1, 3, 5, 5)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        if 0 <= at[0] + dy < 5 and 0 <= at[1] + dx < 5:
            image[0, :, at[0] + dy, at[1] + dx] = 1
    value = impute_linearly(image, mask(5, 5, at), GREY)[0, 0, :, at[0], at[1]]
    torch.testing.assert_close(value, torch.full((3,), 2 * sides / (2 * sides + corners)))


@pytest.mark.parametrize("lying", [True, False])
def test_a_strip_is_interpolated_on_a_line(lying: bool) -> None:
    """With two neighbours only, values run straight between known pixels, and level beyond the last."""
    strip = torch.tensor([9.0, 0.2, 9, 9, 9, 1.0, 9, 9])
    expected = torch.tensor([0.2, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])
    shape = (1, 8) if lying else (8, 1)
    image, removed = strip.expand(1, 3, 8).reshape(1, 3, *shape), (strip == 9).reshape(1, 1, *shape)
    torch.testing.assert_close(impute_linearly(image, removed, GREY)[0, 0], expected.expand(3, 8).reshape(3, *shape))


def test_a_slope_is_continued() -> None:
    """Inside the image a linear shade is the mean of its neighbours, so a hole in it closes without a trace."""
    y, x = torch.meshgrid(torch.linspace(0, 0.6, 24), torch.linspace(0, 0.4, 20), indexing="ij")
    image = torch.stack([y + x, y, 1 - x])[None]
    hole = mask(24, 20, (slice(1, 15), slice(2, 19)), (20, 10))
    torch.testing.assert_close(impute_linearly(image, hole, GREY)[0, 0], image[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("at", [(0, 0), (31, 40), (63, 20)])
def test_the_only_known_pixel_colours_everything(at: tuple[int, int]) -> None:
    """The solution of a single known pixel is its colour, however far it has to carry."""
    image = noise(1, 64, 64)
    result = impute_linearly(image, ~mask(64, 64, at), GREY)[0, 0]
    torch.testing.assert_close(result, image[0, :, at[0], at[1], None, None].expand(3, 64, 64), atol=1e-6, rtol=0)


def test_nothing_known_is_the_mean_colour() -> None:
    """Where a mask removes every pixel, the given colour stands."""
    colour = torch.tensor([0.2, 0.4, 0.6])
    result = impute_linearly(noise(2, 8, 8), mask(8, 8, ...).expand(2, 1, 8, 8), colour)
    assert result.equal(colour[:, None, None].expand(2, 1, 3, 8, 8))


# What stays, what does not matter, and what is refused.


def test_known_pixels_stay_as_they_are() -> None:
    """Bit for bit, under any mask, the empty one among them; the images given are not written to."""
    images, removed = noise(2, 16, 16), torch.cat([scattered(0.4, 16, 16), mask(16, 16)], 1).expand(2, 2, 16, 16)
    before = images.clone()
    result = impute_linearly(images, removed, GREY)
    assert result.dtype == torch.float32
    for o, s in np.ndindex(2, 2):
        assert result[o, s][:, ~removed[o, s]].equal(images[o][:, ~removed[o, s]])
    assert images.equal(before)


def test_what_was_removed_does_not_matter() -> None:
    """The result is the same whatever stood in the removed pixels, NaN too."""
    image, removed = noise(1, 16, 16), scattered(0.5, 16, 16)
    result = impute_linearly(torch.where(removed[0], torch.nan, image), removed, GREY)
    assert result.equal(impute_linearly(image, removed, GREY))


def test_values_stay_within_those_known() -> None:
    """Means never leave the range of what they are taken of, channel by channel."""
    image, removed = noise(1, 64, 64) * torch.tensor([1.0, 0.5, 0.1])[:, None, None], cells(0.8, 16, 64)
    result = impute_linearly(image, removed, GREY)[0, 0]
    for channel, remaining in zip(result, image[0, :, ~removed[0, 0]], strict=True):
        assert remaining.min() - 1e-7 <= channel.min()
        assert channel.max() <= remaining.max() + 1e-7


def test_a_result_does_not_depend_on_the_batch() -> None:
    """Each image under each mask is bit for bit what it is alone; no mask at all gives no result."""
    images, removed = noise(3, 32, 32), torch.cat([cells(s, 8, 32, seed) for seed, s in enumerate((0.2, 0.6, 1))], 1)
    together = impute_linearly(images, removed.expand(3, 3, 32, 32), GREY)
    for o, s in np.ndindex(3, 3):
        assert impute_linearly(images[o : o + 1], removed[:, s : s + 1], GREY)[0, 0].equal(together[o, s])
    assert impute_linearly(images, removed[:, :0].expand(3, 0, 32, 32), GREY).shape == (3, 0, 3, 32, 32)


def test_blas_runs_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """While masks are solved, and afterwards on as many as before."""
    solve, seen = linear_imputer.solveh_banded, []

    def watched(*args, **kwargs):
        seen.append(blas_threads())
        return solve(*args, **kwargs)

    monkeypatch.setattr(linear_imputer, "solveh_banded", watched)
    with threadpool_limits(2, "blas"):
        impute_linearly(noise(1, 8, 8), scattered(0.5, 8, 8), GREY)
        assert (seen, blas_threads()) == ([{1}], {2})


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((2, 1, 8, 8), torch.float32), ((2, 8, 8), torch.bool), ((1, 1, 8, 8), torch.bool), ((2, 1, 8, 9), torch.bool)],
)
def test_masks_that_do_not_fit_are_refused(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Another type, number of dimensions, of images or of pixels is named, with what was expected."""
    with pytest.raises(BadParameter, match=r"bool \(O,S,H,W\) = \(2,S,8,8\), got torch"):
        impute_linearly(noise(2, 8, 8), torch.zeros(shape, dtype=dtype), GREY)
