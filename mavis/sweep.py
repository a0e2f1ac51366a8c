"""Removing cells from images and asking the model: the forward passes behind sweep and probe metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mavis import maps
from mavis.kinds import Answers, Curve, CurveValues, Probe
from mavis.maps import Maps
from mavis.passes import Pass
from mavis.perturb import Filler


@dataclass
class Scene:
    """A batch made ready for removing cells: fillers, whole and empty images' answers, each computed once.

    Attributes:
        run: the pass of the original images.
        targets: ``(B,)``, the explained class.
        fillers: per imputer.
        cells: number of cells n.
    """

    run: Pass
    targets: Tensor
    fillers: Mapping[str, Filler]
    cells: int

    def __post_init__(self) -> None:
        self._whole = self._said(self.run.logits, self.targets)
        self._empty: dict[str, Tensor] = {}

    def curves(self, found: Maps, wanted: Sequence[Curve]) -> tuple[dict[Curve, CurveValues], Tensor]:
        """All wanted curves of one explainer's maps.

        Equal cell values are ordered at random, twice, the second time in reverse, and the two curves averaged: the
        expectation over ties for additive models, and exactly chance for a constant map.

        Returns:
            The curves, and how many orders each image took, ``(B,)``: 1 without ties, 2 with.
        """
        tie_break = self.run.draw("ties", lambda g: torch.randperm(self.cells, generator=g))
        tied = maps.has_ties(found.cells)
        owners = torch.cat([torch.arange(len(self.run), device=tied.device), tied.nonzero()[:, 0]])
        last = self.cells - 1
        places = torch.cat(
            [maps.positions(found.cells, tie_break), maps.positions(found.cells, last - tie_break)[tied]]
        )
        orders = 1 + tied.long()
        return {curve: self._curve(curve, owners, places, orders) for curve in wanted}, orders

    def answers(self, probe: Probe) -> Answers:
        """What the model says to a probe's questions."""
        removed = probe.masks(self.run, self.cells).to(self.run.images.device)
        removed = removed.expand(len(self.run), *removed.shape[-2:])
        B, M = removed.shape[:2]
        rows = torch.arange(B, device=removed.device).repeat_interleave(M)
        logits = self._predict(probe.imputer, rows, lambda part: removed.flatten(0, 1)[part])
        kept = logits.gather(1, self.targets[rows][:, None])[:, 0].unflatten(0, (B, M))
        return Answers(removed, self.run.logits.gather(1, self.targets[:, None]) - kept)

    def _curve(self, curve: Curve, owners: Tensor, places: Tensor, orders: Tensor) -> CurveValues:
        counts = removal_counts(self.cells, curve.points).to(places.device)
        inner = counts[1:-1]
        rows = owners.repeat_interleave(len(inner))

        def removed(part: Tensor) -> Tensor:
            place, count = places[part // len(inner)], inner[part % len(inner)][:, None]
            return place < count if curve.order == "mif" else place >= self.cells - count

        logits = self._predict(curve.imputer, rows, removed)
        said = self._said(logits, self.targets[rows]).unflatten(0, (len(owners), len(inner)))
        total = torch.zeros(len(self.run), len(inner), device=said.device).index_add_(0, owners, said)
        inside = total / orders[:, None]
        ends = (self._whole[:, None], self.empty(curve.imputer)[:, None])
        return CurveValues(counts / self.cells, torch.cat([ends[0], inside, ends[1]], dim=1))

    def empty(self, imputer: str) -> Tensor:
        """``(B,)``: what the model says of the images with every cell removed."""
        if imputer not in self._empty:
            rows = torch.arange(len(self.run), device=self.targets.device)
            every = torch.ones(1, self.cells, dtype=torch.bool, device=self.targets.device)
            logits = self._predict(imputer, rows, lambda part: every.expand(len(part), -1))
            self._empty[imputer] = self._said(logits, self.targets)
        return self._empty[imputer]

    def _predict(self, imputer: str, rows: Tensor, removed: Callable[[Tensor], Tensor]) -> Tensor:
        """Logits ``(R,K)`` of image ``rows[r]`` without the cells ``removed(r)``, a chunk at a time."""
        places = torch.arange(len(rows), device=rows.device)
        fill = self.fillers[imputer]
        return torch.cat([self.run.predict(fill(rows[part], removed(part))) for part in places.split(self.run.chunk)])

    def _said(self, logits: Tensor, targets: Tensor) -> Tensor:
        values = logits if self.run.model.output == "logit" else logits.softmax(1)
        return values.gather(1, targets[:, None])[:, 0]


def removal_counts(cells: int, points: int) -> Tensor:
    """Cells removed at evenly spaced fractions from 0 to 1: ``(points,)`` int64, k = q·n rounded, halves up."""
    return (torch.arange(points) * cells * 2 + (points - 1)) // (2 * (points - 1))
