"""Grids that each image draws for itself, so that no explainer and no training can share their cells.

The side of a cell is an odd number of pixels, which divides neither a network's strides nor a regular grid's cells.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from mavis.core.errors import BadParameter

MIN_SIDE = 3
"""Smallest side of a cell, in pixels."""


def cell_sides(size: int, counts: Sequence[int]) -> tuple[int, ...]:
    """Side of a cell in pixels, for each number of cells: the nearest odd number that none of the others divides.

    Args:
        size: side of the image, in pixels.
        counts: numbers of cells along a side, e.g. ``(13, 9)``, each at least 2.

    Raises:
        BadParameter: a number of cells below 2, or an image too small for two cells of each kind.
    """
    if any(count < 2 for count in counts):
        raise BadParameter(f"A drawn grid needs at least 2 cells along a side, got {min(counts)}.")
    sides: dict[int, int] = {}
    for count in sorted(set(counts), reverse=True):
        sides[count] = _free_side(size / count, list(sides.values()))
        if 2 * sides[count] > size:
            raise BadParameter(f"Images of {size} px are too small for a drawn grid of {count} cells along a side.")
    return tuple(sides[count] for count in counts)


def _free_side(target: float, others: Sequence[int]) -> int:
    """The nearest odd number from `MIN_SIDE` on that neither divides another side nor is divided by one."""
    side = max(MIN_SIDE, 2 * round((target - 1) / 2) + 1)
    while any(side % other == 0 or other % side == 0 for other in others):
        side += 2
    return side


def grid_labels(shape: tuple[int, int], side: int, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Cells of shifted grids.

    Cells at the edges are cut, and those of less than half a side belong to their neighbours: a row of pixels must not
    count as much as a whole cell.

    Args:
        shape: height and width of the images, in pixels.
        side: of a cell, in pixels.
        offsets: ``(B,2)`` int64 in [0, side): row and column of the first cut in each image.

    Returns:
        ``(B,H,W)`` int64, the number of each pixel's cell, from 0 on, row by row; and ``(B,)``, how many there are.
    """
    rows, n_rows = _bands(shape[0], side, offsets[:, 0])
    columns, n_columns = _bands(shape[1], side, offsets[:, 1])
    return rows[:, :, None] * n_columns[:, None, None] + columns[:, None, :], n_rows * n_columns


def _bands(length: int, side: int, offset: Tensor) -> tuple[Tensor, Tensor]:
    """Per pixel of a line its band ``(B,length)``, and the number of bands ``(B,)``."""
    places = torch.arange(length, device=offset.device)
    bands = (places - offset[:, None]).div(side, rounding_mode="floor") + 1
    first_is_short = offset * 2 < side
    bands = (bands - first_is_short.long()[:, None]).clamp_min(0)
    rest = (length - offset) % side
    last_is_short = (rest > 0) & (rest * 2 < side)
    n_bands = bands[:, -1] + 1 - last_is_short.long()
    return bands.minimum(n_bands[:, None] - 1), n_bands


def max_cells(shape: tuple[int, int], side: int) -> int:
    """Most cells that a grid of this side has on such an image, wherever it begins."""
    return (shape[0] // side + 2) * (shape[1] // side + 2)
