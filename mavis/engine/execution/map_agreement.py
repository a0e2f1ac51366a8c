"""Map agreement."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps, spearman
from mavis.core.devices import precise


@dataclass(frozen=True)
class _Ranked:
    """The absolute cell values of B maps, ranked from the largest.

    Attributes:
        maps: the maps.
        top: k, how many cells count.
    """

    maps: Maps
    top: int

    @cached_property
    def first(self) -> Tensor:
        """``(B,n)`` int64: the best place, from 0, that a cell has over all ways to break its ties."""
        return self._below(right=True)

    @cached_property
    def last(self) -> Tensor:
        """``(B,n)`` int64: the worst place."""
        return self._below(right=False) - 1

    @cached_property
    def share(self) -> Tensor:
        """``(B,n)``: the probability that a cell is among the top ones."""
        size = self.last - self.first + 1
        return precise((self.top - self.first).clamp_min(0).minimum(size)) / size

    def _below(self, *, right: bool) -> Tensor:
        """How many values are larger (``right``), or at least as large."""
        magnitude = self.maps.cells.abs().contiguous()
        ordered = self.maps.ascending_magnitude.contiguous()
        return ordered.shape[1] - torch.searchsorted(ordered, magnitude, right=right)


def between(maps: Mapping[str, Maps], top: float) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Agreement of every pair of explainers.

    Args:
        maps: per explainer the maps of the same B images.
        top: share of the cells that count as top ones, (0, 1]; at least one does.

    Returns:
        Per pair and measure ``(B,)`` in [0,1], for ``spearman`` in [−1,1]; NaN where a map is constant or not finite.
    """
    ranked = {name: _Ranked(one, max(1, round(top * one.grid**2))) for name, one in maps.items()}
    return {pair: _of_pair(ranked[pair[0]], ranked[pair[1]]) for pair in combinations(maps, 2)}


def _of_pair(a: _Ranked, b: _Ranked) -> dict[str, Tensor]:
    both = a.share * b.share
    same_sign = a.maps.cells.sign() == b.maps.cells.sign()
    found = {
        "feature": both.sum(1) / a.top,
        "rank": _same_place(a, b).sum(1) / a.top,
        "sign": (both * same_sign).sum(1) / a.top,
        "spearman": spearman(a.maps.cells, b.maps.cells),
    }
    valid = a.maps.valid & b.maps.valid
    return {measure: torch.where(valid, values.float(), torch.nan) for measure, values in found.items()}


def _same_place(a: _Ranked, b: _Ranked) -> Tensor:
    """``(B,n)``: the probability that a cell has the same place in both maps, among the top ones."""
    places = (a.last.minimum(b.last).clamp_max(a.top - 1) - a.first.maximum(b.first) + 1).clamp_min(0)
    return precise(places) / ((a.last - a.first + 1) * (b.last - b.first + 1))
