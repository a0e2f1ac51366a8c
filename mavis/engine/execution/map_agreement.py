"""Map agreement."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps, spearman
from mavis.core.devices import upcast


@dataclass(frozen=True)
class _RankedMaps:
    """The absolute cell values of B maps, ranked from the largest.

    Attributes:
        maps: the maps.
        n_top: k, how many cells count.
    """

    maps: Maps
    n_top: int

    @cached_property
    def best_rank(self) -> Tensor:
        """``(B,n)`` int64: the best place, from 0, that a cell has over all ways to break its ties."""
        return self._count_above(right=True)

    @cached_property
    def worst_rank(self) -> Tensor:
        """``(B,n)`` int64: the worst place."""
        return self._count_above(right=False) - 1

    @cached_property
    def top_probability(self) -> Tensor:
        """``(B,n)``: the probability that a cell is among the top ones."""
        size = self.worst_rank - self.best_rank + 1
        return upcast((self.n_top - self.best_rank).clamp_min(0).minimum(size)) / size

    def _count_above(self, *, right: bool) -> Tensor:
        """Number of values that are larger (``right``), or at least as large."""
        magnitude = self.maps.cells.abs().contiguous()
        ordered = self.maps.ascending_magnitude.contiguous()
        return ordered.shape[1] - torch.searchsorted(ordered, magnitude, right=right)


def pairwise_agreement(maps: Mapping[str, Maps], top_share: float) -> dict[tuple[str, str], dict[str, Tensor]]:
    """Agreement of every pair of explainers.

    Args:
        maps: per explainer the maps of the same B images.
        top_share: share of the cells that count as top ones, (0, 1]; at least one does.

    Returns:
        Per pair and measure ``(B,)`` in [0,1], for ``spearman`` in [−1,1]; NaN where a map is constant or not finite.
    """
    ranked = {name: _RankedMaps(map_, max(1, round(top_share * map_.grid**2))) for name, map_ in maps.items()}
    return {pair: _pair_agreement(ranked[pair[0]], ranked[pair[1]]) for pair in combinations(maps, 2)}


def _pair_agreement(a: _RankedMaps, b: _RankedMaps) -> dict[str, Tensor]:
    both_top = a.top_probability * b.top_probability
    same_sign = a.maps.cells.sign() == b.maps.cells.sign()
    measures = {
        "feature": both_top.sum(1) / a.n_top,
        "rank": _same_rank_probability(a, b).sum(1) / a.n_top,
        "sign": (both_top * same_sign).sum(1) / a.n_top,
        "spearman": spearman(a.maps.cells, b.maps.cells),
    }
    valid = a.maps.valid & b.maps.valid
    return {measure: torch.where(valid, values.float(), torch.nan) for measure, values in measures.items()}


def _same_rank_probability(a: _RankedMaps, b: _RankedMaps) -> Tensor:
    """``(B,n)``: the probability that a cell has the same place in both maps, among the top ones."""
    places = (
        a.worst_rank.minimum(b.worst_rank).clamp_max(a.n_top - 1) - a.best_rank.maximum(b.best_rank) + 1
    ).clamp_min(0)
    return upcast(places) / ((a.worst_rank - a.best_rank + 1) * (b.worst_rank - b.best_rank + 1))
