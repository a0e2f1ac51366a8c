"""Attribution maps: shape contract, pooling of channels, means per cell, orders and ranks, correlations."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from mavis.core import devices
from mavis.core.devices import upcast
from mavis.core.errors import ContractError


def pool_channels(attributions: Tensor, images: Tensor, pooling: Literal["sum", "l2"]) -> Tensor:
    """One number per pixel.

    Args:
        attributions: an explainer's output, ``(B,3,H,W)`` or ``(B,1,H,W)``.
        images: the images it explained, ``(B,3,H,W)``.
        pooling: ``sum`` over the channels (signed) or their Euclidean length ``l2`` (never negative).

    Returns:
        ``(B,H,W)`` float32, without graph, on the device of the images.

    Raises:
        ContractError: another shape, dtype or device.
    """
    B, _, H, W = images.shape
    if not isinstance(attributions, Tensor):
        raise ContractError(f"An explainer must return a tensor, got {type(attributions).__name__}.")
    if attributions.shape not in {(B, 3, H, W), (B, 1, H, W)}:
        raise ContractError(
            f"An explainer must return (B,3,H,W) or (B,1,H,W) = {(B, 3, H, W)} or {(B, 1, H, W)}, "
            f"got {tuple(attributions.shape)}."
        )
    if not attributions.is_floating_point() or attributions.device != images.device:
        raise ContractError(
            f"An explainer must return floats on {images.device}, got {attributions.dtype} on {attributions.device}."
        )
    attributions = attributions.detach().float()
    return attributions.sum(1) if pooling == "sum" else upcast(attributions).square().sum(1).sqrt().float()


def cell_means(values: Tensor, grid: int) -> Tensor:
    """Mean over the pixels of each of ``grid × grid`` cells: ``(B,H,W)`` -> ``(B,grid²)``, row by row.

    Summed in double: cells of equal pixels get equal means, so that rounding never breaks a tie.
    """
    rows, columns = (_averaging_matrix(side, grid, values.device) for side in values.shape[-2:])
    return (rows @ upcast(values) @ columns.T).flatten(1).to(values.dtype)


def cells_to_pixels(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Spreads cells over their pixels: ``(…,grid²)`` -> ``(…,H,W)``, any dtype."""
    grid = round(cells.shape[-1] ** 0.5)
    rows, columns = (cell_index(side, grid, cells.device) for side in size)
    square: Tensor = cells.unflatten(-1, (grid, grid))
    return square[..., rows[:, None], columns]


def cell_index(side: int, grid: int, device: torch.device | str = "cpu") -> Tensor:
    """Index of the cell of each of ``side`` pixels: ``(side,)`` int64; cells differ by at most one pixel."""
    if grid > side:
        raise ContractError(f"A grid of {grid} × {grid} cells needs images of at least {grid} px, got {side}.")
    return torch.arange(side, device=device) * grid // side


def _averaging_matrix(side: int, grid: int, device: torch.device) -> Tensor:
    member = upcast(torch.nn.functional.one_hot(cell_index(side, grid, device), grid).T)
    return member / member.sum(1, keepdim=True)


def upsample(values: Tensor, size: tuple[int, int]) -> Tensor:
    """``(B,1,h,w)`` -> ``(B,1,H,W)``, bilinear, corners not aligned."""
    return torch.nn.functional.interpolate(values, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Maps:
    """The maps of one explainer for one batch, pooled over channels; derived values are computed once.

    Attributes:
        values: ``(B,H,W)`` float32; a map that is not finite has been replaced by zeros.
        valid: ``(B,)`` bool, false where it was replaced or where the map is constant.
        grid: cells per side.
    """

    values: Tensor
    valid: Tensor
    grid: int
    _last_distance: list[tuple["Maps", Tensor]] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def from_values(cls, values: Tensor, grid: int) -> "Maps":
        """From pooled values ``(B,H,W)``, which may hold NaN or infinity."""
        low, high = values.flatten(1).aminmax(dim=1)
        finite = low.isfinite() & high.isfinite()
        values = torch.where(finite[:, None, None], values, 0.0)
        return cls(values, finite & (high > low), grid)

    @cached_property
    def norm(self) -> Tensor:
        """``(B,)`` double, Euclidean."""
        return _norm(self.values)

    def distance(self, maps: "Maps") -> Tensor:
        """``(B,)`` double, length of the difference from other maps of the same shape; the last result is cached."""
        if not self._last_distance or self._last_distance[0][0] is not maps:
            self._last_distance[:] = [(maps, _norm(self.values - maps.values))]
        return self._last_distance[0][1]

    @cached_property
    def cells(self) -> Tensor:
        """``(B,n)``, mean per cell, n = grid²."""
        return cell_means(self.values, self.grid)

    @cached_property
    def descending_values(self) -> Tensor:
        """``(B,H·W)``, the pixel values sorted from high to low."""
        return self._descending_sort[0]

    @cached_property
    def order(self) -> Tensor:
        """``(B,H·W)`` int64, pixel indices from the highest value to the lowest; equal values in any order."""
        return self._descending_sort[1]

    @cached_property
    def _descending_sort(self) -> tuple[Tensor, Tensor]:
        flat = self.values.flatten(1)
        order = devices.argsort(-flat)
        return flat.gather(1, order), order

    @cached_property
    def n_higher(self) -> Tensor:
        """``(B,H·W)`` int64, for each pixel of `order`: number of pixels with a higher value."""
        return _tie_starts(self._decreases)

    @cached_property
    def n_at_least(self) -> Tensor:
        """``(B,H·W)`` int64, for each pixel of `order`: number of pixels with at least its value."""
        return _tie_ends(self._decreases)

    @cached_property
    def _decreases(self) -> Tensor:
        """``(B,H·W−1)`` bool, true where the value falls from one pixel of `order` to the next."""
        return self.descending_values[:, 1:] < self.descending_values[:, :-1]

    @cached_property
    def positive(self) -> Tensor:
        """``(B,H·W)`` double, the positive part, per pixel."""
        return upcast(self.values.flatten(1).clamp_min(0))

    @cached_property
    def ascending_magnitude(self) -> Tensor:
        """``(B,n)``, absolute cell values sorted from low to high."""
        return devices.sort(self.cells.abs())

    @cached_property
    def rms_normalised(self) -> Tensor:
        """``(B,H·W)``, divided by the root of the mean square: scale-free, sign kept. A zero map stays zero."""
        flat = upcast(self.values.flatten(1))
        scale = flat.square().mean(1, keepdim=True).sqrt()
        return torch.where(scale > 0, flat / scale.where(scale > 0, torch.ones_like(scale)), flat).float()


def _norm(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(upcast(values.flatten(1)), dim=1)
    return length


def tie_mask(values: Tensor, counts: Tensor) -> Tensor:
    """``(B,n)`` bool: column k is true where the k-th and the next of the ``counts (B,)`` highest values are equal.

    Args:
        values: ``(B,n)``.
        counts: ``(B,)``, only the so many highest values are compared.

    Returns:
        ``(B,n)`` bool; k counts from 1, and column 0 is false.
    """
    ordered = devices.sort(values).flip(1)
    among = torch.arange(1, values.shape[1], device=values.device) < counts[:, None]
    return torch.nn.functional.pad((ordered[:, 1:] == ordered[:, :-1]) & among, (1, 0))


def ordinal_ranks(cells: Tensor, tie_break: Tensor) -> Tensor:
    """Rank of each cell when cells are sorted from high to low.

    Args:
        cells: ``(B,n)`` values.
        tie_break: ``(B,n)``, a permutation of 0…n−1 per image; among equal values a lower number comes first.

    Returns:
        ``(B,n)`` int64, 0 for the most influential cell.
    """
    shuffled = tie_break.argsort(dim=1)
    order = cells.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    order = shuffled.gather(1, order)
    places = torch.arange(cells.shape[1], device=cells.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def ranks(values: Tensor) -> Tensor:
    """Average ranks along the last dimension, ties share theirs: ``(…,n)`` -> ``(…,n)`` float32, 1 for the lowest."""
    order = devices.argsort(values)
    ordered = values.gather(-1, order)
    rises = ordered[..., 1:] > ordered[..., :-1]
    shared = (_tie_starts(rises) + _tie_ends(rises) + 1).float() / 2
    return torch.empty_like(shared).scatter_(-1, order, shared)


def _tie_starts(is_boundary: Tensor) -> Tensor:
    """For each value of a sorted row, the number of values before its run of ties: ``(…,n−1)`` bool -> ``(…,n)``."""
    starts = torch.where(is_boundary, _positions(is_boundary), 0)
    return torch.nn.functional.pad(starts, (1, 0)).cummax(-1).values


def _tie_ends(is_boundary: Tensor) -> Tensor:
    """For each value of a sorted row, the number of values up to its run's end: ``(…,n−1)`` bool -> ``(…,n)``."""
    n = is_boundary.shape[-1] + 1
    ends = torch.where(is_boundary, _positions(is_boundary), n)
    return torch.nn.functional.pad(ends, (0, 1), value=n).flip(-1).cummin(-1).values.flip(-1)


def _positions(is_boundary: Tensor) -> Tensor:
    return torch.arange(1, is_boundary.shape[-1] + 1, device=is_boundary.device)


def spearman(a: Tensor, b: Tensor) -> Tensor:
    """Spearman correlation of each row: two ``(B,n)`` -> ``(B,)`` in [−1,1]; NaN where a side is constant."""
    return pearson(ranks(a), ranks(b))


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of each row, no small-sample correction: two ``(B,n)`` -> ``(B,)``; NaN for a constant."""
    varied = (a.amax(-1) > a.amin(-1)) & (b.amax(-1) > b.amin(-1))
    a, b = upcast(a), upcast(b)
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    product = (a * b).sum(-1)
    scale = a.square().sum(-1).sqrt() * b.square().sum(-1).sqrt()
    return torch.where(varied, product / scale, torch.nan).float().clamp(-1, 1)
