"""Drawn grids: odd sides that share no cell with others, and cells that cover the image once."""

import itertools

import pytest
import torch

from mavis.core.errors import BadParameter
from mavis.core.perturbation.drawn_grids import cell_sides, grid_labels, max_cells


@pytest.mark.parametrize(("size", "sides"), [(32, (3, 5)), (64, (5, 7)), (96, (7, 11)), (224, (17, 25))])
def test_sides_are_odd_and_near_the_wanted_ones(size: int, sides: tuple[int, int]) -> None:
    """By hand: 64 / 13 = 4.9 and 64 / 9 = 7.1."""
    assert cell_sides(size, (13, 9)) == sides
    assert cell_sides(size, (9, 13)) == sides[::-1]


def test_no_side_divides_another() -> None:
    """A divisor's cells would be cells of the other grid."""
    for size in range(24, 600):
        sides = cell_sides(size, (13, 11, 9))
        assert all(side % 2 for side in sides)
        assert all(a % b for a, b in itertools.permutations(sides, 2)), (size, sides)


@pytest.mark.parametrize(("size", "counts", "text"), [(4, (2,), "4 px are too small"), (64, (1, 9), "at least 2")])
def test_a_grid_of_one_cell_is_refused(size: int, counts: tuple[int, ...], text: str) -> None:
    """Both lines say the number."""
    with pytest.raises(BadParameter, match=text):
        cell_sides(size, counts)


def test_cells_are_those_of_a_shifted_grid() -> None:
    """By hand, 8 px and cells of 3: at offset 0 the cells are 0-2, 3-5, 6-7; at 1 the first row joins its neighbour."""
    labels, n_cells = grid_labels((8, 8), 3, torch.tensor([[0, 0], [1, 2], [2, 1]]))
    assert n_cells.tolist() == [9, 6, 6]
    first_column = labels[:, :, 0].tolist()
    assert first_column[0] == [0, 0, 0, 3, 3, 3, 6, 6]
    assert first_column[1] == [0, 0, 0, 0, 3, 3, 3, 3]
    assert labels[1, 0].tolist() == [0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("side", [3, 5, 7, 9])
def test_every_pixel_has_one_cell_of_about_the_right_size(side: int) -> None:
    """No number is left out, none is thinner than half a side, and no grid has more than `max_cells`."""
    shape = (31, 38)
    offsets = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    labels, n_cells = grid_labels(shape, side, offsets)
    assert int(n_cells.max()) <= max_cells(shape, side)
    for cells, n in zip(labels, n_cells.tolist(), strict=True):
        assert cells.unique().tolist() == list(range(n))
        for line in (cells[:, 0], cells[0]):
            widths = line.unique(return_counts=True)[1]
            assert int(widths.min()) * 2 >= side
            assert int(widths.max()) * 2 < 3 * side
