"""Removing parts of images and asking the model: the forward passes behind sweep and probe metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from mavis.core import attribution_maps
from mavis.core.attribution_maps import Maps
from mavis.core.devices import upcast
from mavis.core.guards.guarded_imputers import FillFunction
from mavis.core.metric_types import (
    Curve,
    CurveQuery,
    CurveUnit,
    CurveValues,
    MaskProbe,
    PartProbe,
    ProbeOutputs,
    SoftMasking,
)
from mavis.core.model_pass import Pass
from mavis.core.perturbation.feature_groups import FeatureMask
from mavis.core.perturbation.imputers import get_imputer
from mavis.core.types import PART_CODES
from mavis.engine.removal_units import removal_units


@dataclass(frozen=True)
class RemovalOrder:
    """In which order the units of a batch's images go; an image with ties has a second order, the first one's reverse.

    Attributes:
        rank: ``(B,H,W)`` int16, place of each pixel's unit, 0 for the most influential.
        n_units: ``(B,)`` int64, how many units there are.
        is_tied: ``(B,n)`` bool, n the most units: whether the k highest end among equal values, at place k; not at 0.
        second_rank: ``(T,H,W)`` int16, places in the second order of the T images that have one.
        second_images: ``(T,)`` int64, which images these are.
    """

    rank: Tensor
    n_units: Tensor
    is_tied: Tensor
    second_rank: Tensor
    second_images: Tensor

    def counts(self, fractions: Sequence[float]) -> Tensor:
        """``(B,S)`` int64: units removed at each fraction."""
        return removal_counts(self.n_units, fractions)

    def orders_differ(self, order: str, counts: Tensor) -> Tensor:
        """``(B,S)`` bool: whether the orders differ in which units are the ``counts (B,S)`` first to be removed."""
        above = counts if order == "mif" else self.n_units[:, None] - counts
        inside = (above > 0) & (above < self.n_units[:, None])
        return inside & self.is_tied.gather(1, above.clamp_max(self.is_tied.shape[1] - 1))

    def n_samples(self, curves: Sequence[Curve]) -> Tensor:
        """``(B,)`` int64: model samples of curves that are swept together, without whole and empty images."""
        counts = self.counts(_inner_fractions(curves))
        return counts.shape[1] + self.orders_differ(curves[0].order, counts).sum(1)


@dataclass(frozen=True)
class _ModelOutputs:
    """Model outputs of N images for their targets, each ``(N,)``.

    Attributes:
        y: what curves are taken on, the probability or the logit.
        logit: of the target.
        p: the target's probability, in double: near 1 float32 has steps of 6e-8.
        top1: 1 where the target is the predicted class.
    """

    y: Tensor
    logit: Tensor
    p: Tensor
    top1: Tensor


@dataclass
class RemovalSession:
    """A batch made ready for removing parts: what does not depend on a map is computed once.

    Attributes:
        model_pass: the pass of the original images.
        targets: ``(B,)``, the explained class.
        grid: cells per side.
    """

    model_pass: Pass
    targets: Tensor
    grid: int
    _fillers: dict[str, FillFunction] = field(default_factory=dict, repr=False)
    _empty_outputs: dict[str, _ModelOutputs] = field(default_factory=dict, repr=False)
    _units: dict[CurveUnit, FeatureMask] = field(default_factory=dict, repr=False)

    def filler(self, imputer: str) -> FillFunction:
        """The imputer, prepared for this batch."""
        if imputer not in self._fillers:
            self._fillers[imputer] = get_imputer(imputer)(self.model_pass)
        return self._fillers[imputer]

    def removal_order(self, maps: Maps, unit: CurveUnit = "cell") -> RemovalOrder:
        """The orders of one explainer's maps.

        Equal values are ordered at random, twice, the second time in reverse: the mean over both is the expectation
        over ties for additive models, and exactly chance for a constant map.
        """
        if unit == "cell":
            return self.order_units(maps.cells, unit)
        units = self.units(unit)
        return self.order_units(_unit_means(maps.values, units.ids, units.n_units), unit)

    def order_units(self, values: Tensor, unit: CurveUnit) -> RemovalOrder:
        """The orders of units by their values ``(B,units)``; see `removal_order` for equal ones."""
        units = self.units(unit)
        labels, n_units = units.ids, units.n_units
        tie_break = self._tie_break(units, values.shape[1])
        is_tied = attribution_maps.tie_mask(values, n_units)
        second_images = is_tied.any(1).nonzero()[:, 0]
        reverse = values.shape[1] - 1 - tie_break[second_images]

        def rank(rows: Tensor, tie_break: Tensor) -> Tensor:
            places = attribution_maps.ordinal_ranks(values[rows], tie_break).short()
            by_pixel: Tensor = places.gather(1, labels[rows].flatten(1)).view(len(rows), *labels.shape[1:])
            return by_pixel

        rows = torch.arange(len(self.model_pass), device=is_tied.device)
        return RemovalOrder(rank(rows, tie_break), n_units, is_tied, rank(second_images, reverse), second_images)

    def outputs_without(self, imputer: str, unit: CurveUnit, removed: Tensor) -> Tensor:
        """Outputs that curves are taken on, ``(B,S)``, for the images without sets of units.

        Args:
            imputer: what removed units show.
            unit: kind of the units.
            removed: ``(B,S,units)`` bool.
        """
        labels = self.units(unit).ids
        rows = torch.arange(len(self.model_pass), device=labels.device)

        def pixels(images: slice, sets: slice) -> Tensor:
            chosen = removed[images, sets]
            index = labels[images].flatten(1)[:, None].expand(-1, chosen.shape[1], -1)
            by_pixel: Tensor = chosen.gather(2, index).unflatten(2, labels.shape[1:])
            return by_pixel

        outputs: Tensor = self._outputs_without(imputer, rows, removed.shape[1], pixels).y
        return outputs

    def sweep(self, order: RemovalOrder, curves: Sequence[Curve]) -> dict[CurveQuery, CurveValues]:
        """Curves that differ in their fractions only, from one sweep."""
        first = curves[0]
        fractions = sorted({f for curve in curves for f in curve.fractions})
        counts, inner = order.counts(fractions), _inner_fractions(curves)
        outputs = self._outputs_in_order(first, order, order.counts(inner))

        def column(fraction: float, field: str) -> Tensor:
            if fraction in (0, 1):
                end: Tensor = getattr(self.empty_outputs(first.imputer) if fraction else self._original_outputs, field)
                return end
            inside: Tensor = getattr(outputs, field)
            return inside[:, inner.index(fraction)]

        def of(curve: Curve) -> CurveValues:
            x = counts[:, [fractions.index(f) for f in curve.fractions]]
            y, logit, top1 = (
                torch.stack([column(f, field) for f in curve.fractions], 1) for field in ("y", "logit", "top1")
            )
            return CurveValues(x / order.n_units[:, None], y, logit, top1)

        return {curve: of(curve) for curve in curves}

    def soft_mask(self, maps: Maps, masking: SoftMasking) -> CurveValues:
        """The whole image, and the image faded out where the map is low; a constant map fades out everything."""
        B, H, W = maps.values.shape
        low, high = maps.values.amin((1, 2), True), maps.values.amax((1, 2), True)
        weight = ((maps.values - low) / (high - low).where(high > low, torch.ones_like(high)))[:, None]
        rows = torch.arange(B, device=self.targets.device)
        fill = self.filler(masking.imputer)(rows, torch.ones((B, 1, H, W), dtype=torch.bool, device=rows.device))[:, 0]
        outputs = self._outputs(
            self.model_pass.predict(self.model_pass.images * weight + fill * (1 - weight)), self.targets
        )
        pairs = [
            torch.stack([getattr(self._original_outputs, w), getattr(outputs, w)], 1) for w in ("y", "logit", "top1")
        ]
        return CurveValues(torch.tensor([0.0, 1.0], device=rows.device).expand(B, 2), *pairs)

    def probe_outputs(self, probe: MaskProbe | PartProbe) -> ProbeOutputs:
        """Model outputs of a probe's queries."""
        return self._probe_parts(probe) if isinstance(probe, PartProbe) else self._probe_cells(probe)

    def empty_outputs(self, imputer: str) -> _ModelOutputs:
        """Model outputs of the images with every pixel removed."""
        if imputer not in self._empty_outputs:
            rows = torch.arange(len(self.model_pass), device=self.targets.device)
            all_pixels = torch.ones((1, 1, *self.model_pass.images.shape[2:]), dtype=torch.bool, device=rows.device)
            parts = rows.split(self.model_pass.chunk)
            fill = self.filler(imputer)
            logits = [
                self.model_pass.predict(fill(part, all_pixels.expand(len(part), -1, -1, -1))[:, 0]) for part in parts
            ]
            self._empty_outputs[imputer] = self._outputs(torch.cat(logits), self.targets)
        return self._empty_outputs[imputer]

    # The sweep itself.

    def _outputs_in_order(self, curve: Curve, order: RemovalOrder, counts: Tensor) -> _ModelOutputs:
        """Answers ``(B,S)`` for counts ``(B,S)`` of removed units: the mean over both orders of an image with ties.

        The second order is asked only where it removes other units than the first one: elsewhere it is the same image.
        """
        split = order.orders_differ(curve.order, counts)
        indices, step = split[order.second_images].nonzero(as_tuple=True)
        rows = order.second_images[indices]

        def first(rows: slice, steps: slice) -> Tensor:
            return is_removed(order.rank[rows, None], order.n_units[rows, None], counts[rows, steps])

        def second(pairs: slice, _: slice) -> Tensor:
            units, count = order.n_units[rows[pairs], None], counts[rows[pairs], step[pairs], None]
            return is_removed(order.second_rank[indices[pairs], None], units, count)

        def is_removed(rank: Tensor, units: Tensor, count: Tensor) -> Tensor:
            return rank < count[..., None, None] if curve.order == "mif" else rank >= (units - count)[..., None, None]

        all_rows = torch.arange(len(self.model_pass), device=rows.device)
        outputs = self._outputs_without(curve.imputer, all_rows, counts.shape[1], first)
        second_outputs = self._outputs_without(curve.imputer, rows, 1, second)

        def mean(field: str) -> Tensor:
            values: Tensor = getattr(outputs, field)
            reverse: Tensor = getattr(second_outputs, field)[:, 0]
            return values.index_put((rows, step), (values[rows, step] + reverse) / 2)

        return _ModelOutputs(*(mean(field) for field in ("y", "logit", "p", "top1")))

    def _outputs_without(
        self, imputer: str, rows: Tensor, steps: int, pixels_removed: Callable[[slice, slice], Tensor]
    ) -> _ModelOutputs:
        """Answers ``(O,S)``: image ``rows[o]`` without the pixels ``pixels_removed(o, s)``."""
        fill, chunk = self.filler(imputer), self.model_pass.chunk
        wide = max(1, min(len(rows), chunk))
        deep = max(1, chunk // wide)
        chunks: list[list[_ModelOutputs]] = []
        for top in range(0, len(rows), wide):
            window = slice(top, top + wide)
            line = []
            for left in range(0, steps, deep):
                pixels = pixels_removed(window, slice(left, left + deep))
                logits = self.model_pass.predict(fill(rows[window], pixels).flatten(0, 1))
                outputs = self._outputs(logits, self.targets[rows[window]].repeat_interleave(pixels.shape[1]))
                line.append(_unflatten_outputs(outputs, pixels.shape[1]))
            chunks.append(line)
        return _join_outputs(chunks, (len(rows), steps), self.targets.device)

    # Probes.

    def _probe_cells(self, probe: MaskProbe) -> ProbeOutputs:
        cells = probe.masks(self.model_pass, self.grid**2).to(self.model_pass.images.device)
        cells = cells.expand(len(self.model_pass), *cells.shape[-2:])
        size = self._image_shape
        rows = torch.arange(len(self.model_pass), device=cells.device)
        outputs = self._outputs_without(
            probe.imputer, rows, cells.shape[1], lambda o, s: attribution_maps.cells_to_pixels(cells[o, s], size)
        )
        return ProbeOutputs(
            cells,
            self._original_outputs.logit[:, None] - outputs.logit,
            outputs.p,
            outputs.top1,
            self._original_outputs.p,
        )

    def _probe_parts(self, probe: PartProbe) -> ProbeOutputs:
        batch = self.model_pass.batch
        if batch.rerender is None or batch.parts is None:
            raise ValueError("these data cannot be drawn anew")
        codes = torch.tensor(list(PART_CODES.values()), device=batch.parts.device, dtype=batch.parts.dtype)
        redrawn = [batch.rerender(part, number) for part in PART_CODES for number in range(probe.n_draws)]
        outputs = [
            self._outputs(self.model_pass.predict(images.to(self.model_pass.images)), self.targets)
            for images in redrawn
        ]

        def mean(field: str) -> Tensor:
            values = torch.stack([getattr(output, field) for output in outputs], 1)
            mean: Tensor = values.unflatten(1, (len(PART_CODES), probe.n_draws)).mean(2)
            return mean

        pixels = (batch.parts[:, None] == codes[:, None, None]).flatten(2)
        return ProbeOutputs(
            pixels,
            self._original_outputs.logit[:, None] - mean("logit"),
            mean("p"),
            mean("top1"),
            self._original_outputs.p,
        )

    # What the model says, and of which units.

    @cached_property
    def _original_outputs(self) -> _ModelOutputs:
        return self._outputs(self.model_pass.logits, self.targets)

    def _outputs(self, logits: Tensor, targets: Tensor) -> _ModelOutputs:
        logit = logits.gather(1, targets[:, None])[:, 0]
        p = upcast(logits).softmax(1).gather(1, targets[:, None])[:, 0]
        y = logit if self.model_pass.model.output == "logit" else logits.softmax(1).gather(1, targets[:, None])[:, 0]
        return _ModelOutputs(y, logit, p, (logits.argmax(1) == targets).float())

    def units(self, unit: CurveUnit) -> FeatureMask:
        """The units of a kind, found once."""
        if unit not in self._units:
            self._units[unit] = removal_units(self.model_pass, unit, self.grid)
        return self._units[unit]

    @property
    def _image_shape(self) -> tuple[int, int]:
        return self.model_pass.images.shape[2], self.model_pass.images.shape[3]

    def _tie_break(self, units: FeatureMask, n_units: int) -> Tensor:
        """``(B,units)``: a permutation per image that does not depend on how many units other images have."""
        order = self.model_pass.draw("ties", lambda g: torch.randperm(units.max_units, generator=g))
        return order[:, :n_units].argsort(1).argsort(1) if n_units < units.max_units else order


def shared_sweeps(queries: Sequence[CurveQuery]) -> list[tuple[CurveQuery, ...]]:
    """Questions grouped by what one sweep answers: curves of equal imputer, order and unit; each fade alone."""
    groups: dict[object, list[CurveQuery]] = {}
    for question in dict.fromkeys(queries):
        curve = isinstance(question, Curve)
        key = (question.imputer, question.order, question.unit) if isinstance(question, Curve) else question
        groups.setdefault((curve, key), []).append(question)
    return [tuple(group) for group in groups.values()]


def n_inner_points(group: Sequence[CurveQuery]) -> int:
    """Model samples per image and order that a group of questions takes, without whole and empty images."""
    if isinstance(group[0], SoftMasking):
        return 1
    return len(_inner_fractions([curve for curve in group if isinstance(curve, Curve)]))


def _inner_fractions(curves: Sequence[Curve]) -> list[float]:
    """The fractions of curves that are swept together, rising, without 0 and 1."""
    return sorted({f for curve in curves for f in curve.fractions if 0 < f < 1})


def removal_counts(n_units: Tensor, fractions: Sequence[float]) -> Tensor:
    """Units removed at each fraction, k = q·n rounded, halves up: ``(O,)`` int64 -> ``(O,S)`` int64."""
    shares = torch.tensor(fractions, dtype=torch.float64)
    return (shares * n_units.cpu()[:, None] + 0.5 + 1e-9).floor().long().to(n_units.device)


def _unit_means(values: Tensor, labels: Tensor, n_units: Tensor) -> Tensor:
    """``(B,most)``: mean of each unit's pixels; −∞ where an image has no such unit."""
    flat, places = upcast(values.flatten(1)), labels.flatten(1)
    total = torch.zeros((len(flat), int(n_units.max())), dtype=flat.dtype, device=flat.device)
    count = total.scatter_add(1, places, torch.ones_like(flat))
    return torch.where(count > 0, total.scatter_add(1, places, flat) / count, -torch.inf).float()


def _unflatten_outputs(outputs: _ModelOutputs, steps: int) -> _ModelOutputs:
    return _ModelOutputs(
        *(values.unflatten(0, (-1, steps)) for values in (outputs.y, outputs.logit, outputs.p, outputs.top1))
    )


def _join_outputs(
    chunks: Sequence[Sequence[_ModelOutputs]], shape: tuple[int, int], device: torch.device
) -> _ModelOutputs:
    """Chunks of rows and steps as one ``(O,S)``."""
    if not all(shape):
        return _ModelOutputs(*(torch.zeros(shape, device=device) for _ in range(4)))
    parts = [
        torch.cat([torch.cat([getattr(outputs, field) for outputs in line], 1) for line in chunks])
        for field in ("y", "logit", "p", "top1")
    ]
    return _ModelOutputs(*parts)
