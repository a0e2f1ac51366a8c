"""Shapes, cells, ranks and orders agree with scipy, average pooling and plain loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from mavis.core.attribution_maps import (
    Maps,
    cell_index,
    cell_means,
    cells_to_pixels,
    ordinal_ranks,
    pearson,
    pool_channels,
    ranks,
    spearman,
    tie_mask,
    upsample,
)
from mavis.core.errors import ContractError

IMAGES = torch.zeros(8, 3, 64, 64)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# The shape contract.


def test_channels_are_summed_or_measured() -> None:
    """The pixel (1, −2, 2) pools to 1 by its sum and to 3 by its length."""
    raw = torch.tensor([1.0, -2.0, 2.0]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    images = torch.zeros(1, 3, 4, 5)
    assert pool_channels(raw, images, "sum").equal(torch.ones(1, 4, 5))
    assert pool_channels(raw, images, "l2").equal(torch.full((1, 4, 5), 3.0))


def test_one_channel_stays_or_loses_its_sign() -> None:
    """A map of one channel is itself under the sum, and its magnitude under the length."""
    raw = numbers(2, 1, 4, 4)
    images = torch.zeros(2, 3, 4, 4)
    assert pool_channels(raw, images, "sum").equal(raw[:, 0])
    assert pool_channels(raw, images, "l2").equal(raw[:, 0].abs())


def test_pooled_maps_are_plain_float32() -> None:
    """Doubles become floats, and the graph is cut."""
    raw = numbers(1, 3, 4, 4).double().requires_grad_()
    values = pool_channels(raw, torch.zeros(1, 3, 4, 4), "sum")
    assert values.dtype == torch.float32
    assert not values.requires_grad


@pytest.mark.parametrize("shape", [(8, 64, 64), (8, 2, 64, 64), (7, 3, 64, 64), (8, 3, 64, 32)])
def test_another_shape_says_what_was_expected(shape: tuple[int, ...]) -> None:
    """The message names both allowed shapes with their numbers, and the shape that came."""
    expected = f"(B,3,H,W) or (B,1,H,W) = (8, 3, 64, 64) or (8, 1, 64, 64), got {shape}."
    with pytest.raises(ContractError) as error:
        pool_channels(torch.zeros(shape), IMAGES, "sum")
    assert str(error.value) == f"An explainer must return {expected}"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (torch.zeros(8, 3, 64, 64, dtype=torch.int64), "must return floats on cpu, got torch.int64 on cpu"),
        (torch.zeros(8, 3, 64, 64, dtype=torch.bool), "must return floats on cpu, got torch.bool on cpu"),
        (torch.zeros(8, 3, 64, 64, device="meta"), "must return floats on cpu, got torch.float32 on meta"),
        (np.zeros((8, 3, 64, 64)), "must return a tensor, got ndarray"),
        (None, "must return a tensor, got NoneType"),
    ],
)
def test_another_kind_says_what_came(raw: object, message: str) -> None:
    """Whole numbers, another device and things that are no tensors are refused by name."""
    with pytest.raises(ContractError, match=message):
        pool_channels(raw, IMAGES, "sum")  # type: ignore[arg-type]


# Cells.


@pytest.mark.parametrize(("side", "grid"), [(64, 16), (32, 4), (8, 8), (12, 1)])
def test_cell_means_are_average_pooling_where_the_grid_divides(side: int, grid: int) -> None:
    """Where cells are equal squares, their means are torch's avg_pool2d."""
    values = numbers(3, side, side)
    expected = torch.nn.functional.avg_pool2d(values[:, None], side // grid).flatten(1)
    torch.testing.assert_close(cell_means(values, grid), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "grid"), [(50, 50, 16), (36, 50, 16), (7, 9, 4)])
def test_cells_partition_any_image(height: int, width: int, grid: int) -> None:
    """Where the grid does not divide, each pixel is in one cell, none is empty, and sides differ by at most one."""
    values = numbers(2, height, width)
    means = cell_means(values, grid)
    rows, columns = (np.arange(side) * grid // side for side in (height, width))
    for pixels in (np.bincount(rows), np.bincount(columns)):
        assert len(pixels) == grid
        assert 0 < pixels.max() - 1 <= pixels.min()
    for i, j in itertools.product(range(grid), repeat=2):
        expected = values[:, rows == i][:, :, columns == j].mean((1, 2))
        torch.testing.assert_close(means[:, i * grid + j], expected, rtol=0, atol=1e-6)
    sizes = torch.tensor(np.outer(np.bincount(rows), np.bincount(columns))).flatten()
    torch.testing.assert_close((means * sizes).sum(1), values.sum((1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [30, 36, 50, 64, 112, 224])
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-7, 12.7])
def test_a_constant_map_has_equal_cells(side: int, value: float) -> None:
    """Rounding never orders what is tied: whatever the size, the cells of a constant map are that constant."""
    cells = cell_means(torch.full((3, side, side), value), 16)
    assert cells.equal(torch.full((3, 256), value))


@pytest.mark.parametrize("size", [(16, 16), (18, 23)])
def test_spreading_cells_is_the_inverse_of_their_means(size: tuple[int, int]) -> None:
    """Spread over pixels and averaged again, cells are what they were; bool cells stay bool."""
    cells = numbers(5, 16)
    torch.testing.assert_close(cell_means(cells_to_pixels(cells, size), 4), cells)
    assert cells_to_pixels(cells > 0, size).dtype == torch.bool


def test_cells_are_numbered_row_by_row() -> None:
    """Cell 1 of a 2 × 2 grid is the upper right one."""
    cells = torch.tensor([[False, True, False, False]])
    expected = torch.zeros(1, 4, 4, dtype=torch.bool)
    expected[0, :2, 2:] = True
    assert cells_to_pixels(cells, (4, 4)).equal(expected)


def test_a_grid_finer_than_the_image_is_refused() -> None:
    """More cells than pixels say how many pixels are needed."""
    with pytest.raises(ContractError, match="16 × 16 cells needs images of at least 16 px, got 15"):
        cell_index(15, 16)


def test_enlarging_follows_the_half_pixel_rule() -> None:
    """From 2 to 4 pixels, weights are 1, 3/4, 1/4, 0 on the first: bilinear with corners not aligned."""
    across = torch.tensor([1.0, 0.75, 0.25, 0.0])
    values = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(upsample(values, (4, 4))[0, 0], torch.outer(across, across))


# Maps.


def test_maps_that_are_not_finite_become_zeros_and_the_rest_stays() -> None:
    """NaN and infinity invalidate their own map only; a constant map stays as it is but is not valid either."""
    values = numbers(5, 4, 4)
    values[0, 1, 2] = torch.nan
    values[1, 0, 0] = torch.inf
    values[2, 3, 3] = -torch.inf
    values[3] = 0.7
    maps = Maps.from_values(values, 2)
    assert maps.valid.tolist() == [False, False, False, False, True]
    assert maps.values[:3].equal(torch.zeros(3, 4, 4))
    assert maps.values[3:].equal(values[3:])


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_unit_maps_have_mean_square_one(scale: float) -> None:
    """Divided by the root of its mean square a map keeps its sign, whatever its scale; zeros stay zeros."""
    values = numbers(3, 4, 4)
    values[2] = 0
    unit = Maps.from_values(values * scale, 2).rms_normalised
    torch.testing.assert_close(unit.square().mean(1), torch.tensor([1.0, 1.0, 0.0]))
    assert unit.sign().equal(values.flatten(1).sign())


def test_distances_are_euclidean_and_those_of_the_last_pair_are_kept() -> None:
    """As numpy's norm of the difference; asked twice of the same maps it is one tensor, of others another."""
    a, b, c = (Maps.from_values(numbers(3, 4, 4, seed=seed), 2) for seed in range(3))
    for maps in (b, c, b):
        expected = np.linalg.norm((a.values - maps.values).double().flatten(1), axis=1)
        np.testing.assert_allclose(a.distance(maps), expected, rtol=1e-6)
    assert a.distance(b) is a.distance(b)
    np.testing.assert_allclose(a.norm, np.linalg.norm(a.values.double().flatten(1), axis=1))


def test_sorted_views_are_sorted() -> None:
    """Pixels fall from high to low with their sign, cells rise by their magnitude."""
    values = numbers(3, 8, 8)
    maps = Maps.from_values(values, 4)
    assert np.array_equal(maps.descending_values.numpy(), -np.sort(-values.flatten(1).numpy()))
    assert np.array_equal(maps.ascending_magnitude.numpy(), np.sort(np.abs(maps.cells.numpy())))


def tied_maps() -> Maps:
    values = torch.randint(-3, 4, (20, 4, 4), generator=torch.Generator().manual_seed(3)).float()
    return Maps.from_values(torch.cat([values, numbers(5, 4, 4), torch.zeros(1, 4, 4)]), 2)


def test_the_order_falls_and_holds_each_pixel_once() -> None:
    """Read in order, the pixels' values are the sorted ones."""
    maps = tied_maps()
    assert maps.order.sort(dim=1).values.equal(torch.arange(16).expand(26, 16))
    assert maps.values.flatten(1).gather(1, maps.order).equal(maps.descending_values)


def test_above_and_upto_count_the_higher_and_the_equal() -> None:
    """At each place: how many values are higher than the one there, and how many at least as high; zeros are tied."""
    maps = tied_maps()
    ordered = maps.descending_values
    assert maps.n_higher.equal((ordered[:, None, :] > ordered[:, :, None]).sum(2))
    assert maps.n_at_least.equal((ordered[:, None, :] >= ordered[:, :, None]).sum(2))


def test_the_positive_part_is_double() -> None:
    """Negative values are zero, the others what they were."""
    values = numbers(3, 4, 4)
    positive = Maps.from_values(values, 2).positive
    assert positive.dtype == torch.float64
    assert positive.equal(values.flatten(1).double().where(values.flatten(1) > 0, 0.0))


# Orders.


def test_positions_without_ties_are_the_descending_order() -> None:
    """The highest cell has place 0, whatever breaks ties."""
    cells = numbers(4, 9)
    expected = np.argsort(np.argsort(-cells.numpy()))
    for seed in range(3):
        order = torch.randperm(9, generator=torch.Generator().manual_seed(seed)).expand(4, 9)
        assert np.array_equal(ordinal_ranks(cells, order).numpy(), expected)


def test_equal_cells_follow_the_tie_break() -> None:
    """Among equal values the lower number goes first; unequal values are not touched."""
    cells = torch.tensor([[1.0, 5.0, 1.0, 1.0, 7.0]])
    assert ordinal_ranks(cells, torch.tensor([[2, 0, 4, 1, 3]])).tolist() == [[3, 1, 4, 2, 0]]
    assert ordinal_ranks(cells, 4 - torch.tensor([[2, 0, 4, 1, 3]])).tolist() == [[3, 1, 2, 4, 0]]


def test_zero_and_minus_zero_are_tied() -> None:
    """The sign of zero orders nothing."""
    assert tie_mask(torch.tensor([[0.0, -0.0], [1.0, 2.0]]), torch.tensor([2, 2])).tolist() == [
        [False, True],
        [False] * 2,
    ]


def test_only_the_highest_values_count_as_ties() -> None:
    """Padding below an image's own values ties nothing; equal values among its own do, where they stand."""
    values = torch.tensor([[3.0, 1.0, -torch.inf, -torch.inf], [0.0, 1.0, 0.0, -torch.inf]])
    assert tie_mask(values, torch.tensor([2, 3])).tolist() == [[False] * 4, [False, False, True, False]]


# Ranks and correlations.


def tied_rows() -> Tensor:
    return torch.randint(-3, 4, (20, 12), generator=torch.Generator().manual_seed(3)).float()


def test_ranks_are_those_of_scipy() -> None:
    """Average ranks of rows with and without ties are scipy's rankdata."""
    for rows in (numbers(20, 12), tied_rows()):
        assert np.array_equal(ranks(rows).numpy(), stats.rankdata(rows.numpy(), axis=1).astype(np.float32))


def test_spearman_is_that_of_scipy() -> None:
    """Row by row, ties included, it is scipy's spearmanr."""
    for a, b in ((numbers(20, 12), numbers(20, 12, seed=1)), (tied_rows(), tied_rows().flip(0))):
        expected = [stats.spearmanr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
        np.testing.assert_allclose(spearman(a, b).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 1e-25, 1e25])
def test_pearson_is_that_of_scipy_at_any_scale(scale: float) -> None:
    """No small-sample correction, and no scale too small or too large."""
    a, b = numbers(20, 12), numbers(20, 12, seed=1)
    expected = [stats.pearsonr(x, y).statistic for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    np.testing.assert_allclose(pearson(a * scale, b * scale).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
@pytest.mark.parametrize("correlation", [spearman, pearson])
def test_a_constant_side_has_no_correlation(correlation: object, value: float) -> None:
    """A side without variance gives NaN, also where its mean cannot be written exactly."""
    constant, varied = torch.full((1, 7), value), numbers(1, 7)
    assert correlation(constant, varied).isnan().all()  # type: ignore[operator]
    assert correlation(varied, constant).isnan().all()  # type: ignore[operator]
