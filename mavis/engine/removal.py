"""Removing parts of images and asking the model: the forward passes behind sweep and probe metrics."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from mavis.core import attribution_maps
from mavis.core.attribution_maps import Maps
from mavis.core.devices import precise
from mavis.core.metric_types import Answers, Curve, CurveValues, Fade, PartProbe, Probe, Question
from mavis.core.model_pass import Pass
from mavis.core.perturbation.imputers import Filler, imputer_of
from mavis.core.perturbation.superpixels import MOST, superpixels
from mavis.core.types import PART_CODES


@dataclass(frozen=True)
class Ordered:
    """In which order the units of a batch's images go; an image with ties has a second order, the first one's reverse.

    Attributes:
        rank: ``(B,H,W)`` int16, place of each pixel's unit, 0 for the most influential.
        units: ``(B,)`` int64, how many units there are.
        tied: ``(B,n)`` bool, n the most units: whether the k highest end among equal values, at place k; not at 0.
        second: ``(T,H,W)`` int16, places in the second order of the T images that have one.
        seconds: ``(T,)`` int64, which images these are.
    """

    rank: Tensor
    units: Tensor
    tied: Tensor
    second: Tensor
    seconds: Tensor

    def counts(self, fractions: Sequence[float]) -> Tensor:
        """``(B,S)`` int64: units removed at each fraction."""
        return removal_counts(self.units, fractions)

    def split(self, order: str, counts: Tensor) -> Tensor:
        """``(B,S)`` bool: whether the orders differ in which units are the ``counts (B,S)`` first to be removed."""
        above = counts if order == "mif" else self.units[:, None] - counts
        inside = (above > 0) & (above < self.units[:, None])
        return inside & self.tied.gather(1, above.clamp_max(self.tied.shape[1] - 1))

    def samples(self, curves: Sequence[Curve]) -> Tensor:
        """``(B,)`` int64: model samples of curves that are swept together, without whole and empty images."""
        counts = self.counts(_inner(curves))
        return counts.shape[1] + self.split(curves[0].order, counts).sum(1)


@dataclass(frozen=True)
class _Said:
    """What the model says of N images about their targets, each ``(N,)``.

    Attributes:
        y: what curves are taken on, the probability or the logit.
        logit: of the target.
        p: the target's probability.
        kept: 1 where the target is the predicted class.
    """

    y: Tensor
    logit: Tensor
    p: Tensor
    kept: Tensor


@dataclass
class Scene:
    """A batch made ready for removing parts: what does not depend on a map is computed once.

    Attributes:
        run: the pass of the original images.
        targets: ``(B,)``, the explained class.
        grid: cells per side.
    """

    run: Pass
    targets: Tensor
    grid: int
    _fillers: dict[str, Filler] = field(default_factory=dict, repr=False)
    _empty: dict[str, _Said] = field(default_factory=dict, repr=False)

    def filler(self, imputer: str) -> Filler:
        """The imputer, prepared for this batch."""
        if imputer not in self._fillers:
            self._fillers[imputer] = imputer_of(imputer)(self.run)
        return self._fillers[imputer]

    def ordered(self, found: Maps, unit: str = "cell") -> Ordered:
        """The orders of one explainer's maps.

        Equal values are ordered at random, twice, the second time in reverse: the mean over both is the expectation
        over ties for additive models, and exactly chance for a constant map.
        """
        labels, units = self._cells if unit == "cell" else self._segments
        values = found.cells if unit == "cell" else _segment_means(found.values, labels, units)
        tie_break = self._tie_break(unit, values.shape[1])
        tied = attribution_maps.ties(values, units)
        seconds = tied.any(1).nonzero()[:, 0]
        reverse = values.shape[1] - 1 - tie_break[seconds]

        def rank(rows: Tensor, tie_break: Tensor) -> Tensor:
            places = attribution_maps.positions(values[rows], tie_break).short()
            return places.gather(1, labels[rows].flatten(1)).view(len(rows), *labels.shape[1:])

        every = torch.arange(len(self.run), device=tied.device)
        return Ordered(rank(every, tie_break), units, tied, rank(seconds, reverse), seconds)

    def swept(self, ordered: Ordered, together: Sequence[Curve]) -> dict[Question, CurveValues]:
        """Curves that differ in their fractions only, from one sweep."""
        first = together[0]
        fractions = sorted({f for curve in together for f in curve.fractions})
        counts, inner = ordered.counts(fractions), _inner(together)
        said = self._removed_in_order(first, ordered, ordered.counts(inner))

        def column(fraction: float, what: str) -> Tensor:
            if fraction in (0, 1):
                end: Tensor = getattr(self.empty(first.imputer) if fraction else self._whole, what)
                return end
            inside: Tensor = getattr(said, what)
            return inside[:, inner.index(fraction)]

        def of(curve: Curve) -> CurveValues:
            x = counts[:, [fractions.index(f) for f in curve.fractions]]
            y, logit, kept = (
                torch.stack([column(f, what) for f in curve.fractions], 1) for what in ("y", "logit", "kept")
            )
            return CurveValues(x / ordered.units[:, None], y, logit, kept)

        return {curve: of(curve) for curve in together}

    def faded(self, found: Maps, fade: Fade) -> CurveValues:
        """The whole image, and the image faded out where the map is low; a constant map fades out everything."""
        B, H, W = found.values.shape
        low, high = found.values.amin((1, 2), True), found.values.amax((1, 2), True)
        weight = ((found.values - low) / (high - low).where(high > low, torch.ones_like(high)))[:, None]
        rows = torch.arange(B, device=self.targets.device)
        fill = self.filler(fade.imputer)(rows, torch.ones((B, 1, H, W), dtype=torch.bool, device=rows.device))[:, 0]
        said = self._said(self.run.predict(self.run.images * weight + fill * (1 - weight)), self.targets)
        both = [torch.stack([getattr(self._whole, w), getattr(said, w)], 1) for w in ("y", "logit", "kept")]
        return CurveValues(torch.tensor([0.0, 1.0], device=rows.device).expand(B, 2), *both)

    def answers(self, probe: Probe | PartProbe) -> Answers:
        """What the model says to a probe's questions."""
        return self._of_parts(probe) if isinstance(probe, PartProbe) else self._of_cells(probe)

    def empty(self, imputer: str) -> _Said:
        """What the model says of the images with every pixel removed."""
        if imputer not in self._empty:
            rows = torch.arange(len(self.run), device=self.targets.device)
            every = torch.ones((1, 1, *self.run.images.shape[2:]), dtype=torch.bool, device=rows.device)
            parts = rows.split(self.run.chunk)
            fill = self.filler(imputer)
            logits = [self.run.predict(fill(part, every.expand(len(part), -1, -1, -1))[:, 0]) for part in parts]
            self._empty[imputer] = self._said(torch.cat(logits), self.targets)
        return self._empty[imputer]

    # The sweep itself.

    def _removed_in_order(self, curve: Curve, ordered: Ordered, counts: Tensor) -> _Said:
        """Answers ``(B,S)`` for counts ``(B,S)`` of removed units: the mean over both orders of an image with ties.

        The second order is asked only where it removes other units than the first one: elsewhere it is the same image.
        """
        split = ordered.split(curve.order, counts)
        place, step = split[ordered.seconds].nonzero(as_tuple=True)
        rows = ordered.seconds[place]

        def first(rows: slice, steps: slice) -> Tensor:
            return removed(ordered.rank[rows, None], ordered.units[rows, None], counts[rows, steps])

        def second(pairs: slice, _: slice) -> Tensor:
            units, count = ordered.units[rows[pairs], None], counts[rows[pairs], step[pairs], None]
            return removed(ordered.second[place[pairs], None], units, count)

        def removed(rank: Tensor, units: Tensor, count: Tensor) -> Tensor:
            return rank < count[..., None, None] if curve.order == "mif" else rank >= (units - count)[..., None, None]

        every = torch.arange(len(self.run), device=rows.device)
        said = self._asked(curve.imputer, every, counts.shape[1], first)
        again = self._asked(curve.imputer, rows, 1, second)

        def mean(what: str) -> Tensor:
            values: Tensor = getattr(said, what)
            other: Tensor = getattr(again, what)[:, 0]
            return values.index_put((rows, step), (values[rows, step] + other) / 2)

        return _Said(*(mean(what) for what in ("y", "logit", "p", "kept")))

    def _asked(self, imputer: str, rows: Tensor, steps: int, removed: Callable[[slice, slice], Tensor]) -> _Said:
        """Answers ``(O,S)``: image ``rows[o]`` without the pixels ``removed(o, s)``."""
        fill, chunk = self.filler(imputer), self.run.chunk
        wide = max(1, min(len(rows), chunk))
        deep = max(1, chunk // wide)
        found: list[list[_Said]] = []
        for top in range(0, len(rows), wide):
            here = slice(top, top + wide)
            line = []
            for left in range(0, steps, deep):
                pixels = removed(here, slice(left, left + deep))
                logits = self.run.predict(fill(rows[here], pixels).flatten(0, 1))
                said = self._said(logits, self.targets[rows[here]].repeat_interleave(pixels.shape[1]))
                line.append(_shaped(said, pixels.shape[1]))
            found.append(line)
        return _joined(found, (len(rows), steps), self.targets.device)

    # Probes.

    def _of_cells(self, probe: Probe) -> Answers:
        cells = probe.masks(self.run, self.grid**2).to(self.run.images.device)
        cells = cells.expand(len(self.run), *cells.shape[-2:])
        size = (self.run.images.shape[2], self.run.images.shape[3])
        rows = torch.arange(len(self.run), device=cells.device)
        said = self._asked(
            probe.imputer, rows, cells.shape[1], lambda o, s: attribution_maps.cell_pixels(cells[o, s], size)
        )
        return Answers(cells, self._whole.logit[:, None] - said.logit, said.p, said.kept, self._whole.p)

    def _of_parts(self, probe: PartProbe) -> Answers:
        batch = self.run.batch
        if batch.rerender is None or batch.parts is None:
            raise ValueError("these data cannot be drawn anew")
        codes = torch.tensor(list(PART_CODES.values()), device=batch.parts.device, dtype=batch.parts.dtype)
        every = [batch.rerender(part, number) for part in PART_CODES for number in range(probe.draws)]
        said = [self._said(self.run.predict(images.to(self.run.images)), self.targets) for images in every]

        def averaged(what: str) -> Tensor:
            values = torch.stack([getattr(one, what) for one in said], 1)
            mean: Tensor = values.unflatten(1, (len(PART_CODES), probe.draws)).mean(2)
            return mean

        pixels = (batch.parts[:, None] == codes[:, None, None]).flatten(2)
        return Answers(
            pixels, self._whole.logit[:, None] - averaged("logit"), averaged("p"), averaged("kept"), self._whole.p
        )

    # What the model says, and of which units.

    @cached_property
    def _whole(self) -> _Said:
        return self._said(self.run.logits, self.targets)

    def _said(self, logits: Tensor, targets: Tensor) -> _Said:
        logit = logits.gather(1, targets[:, None])[:, 0]
        p = logits.softmax(1).gather(1, targets[:, None])[:, 0]
        y = logit if self.run.model.output == "logit" else p
        return _Said(y, logit, p, (logits.argmax(1) == targets).float())

    @cached_property
    def _cells(self) -> tuple[Tensor, Tensor]:
        n = self.grid**2
        index = torch.arange(n, device=self.targets.device)
        labels = attribution_maps.cell_pixels(index, (self.run.images.shape[2], self.run.images.shape[3]))
        return labels.expand(len(self.run), -1, -1), torch.full_like(self.targets, n)

    @cached_property
    def _segments(self) -> tuple[Tensor, Tensor]:
        labels = superpixels(self.run.images)
        return labels, labels.flatten(1).amax(1) + 1

    def _tie_break(self, unit: str, units: int) -> Tensor:
        """``(B,units)``: a permutation per image that does not depend on how many units other images have."""
        most = self.grid**2 if unit == "cell" else MOST
        order = self.run.draw("ties", lambda g: torch.randperm(most, generator=g))
        return order[:, :units].argsort(1).argsort(1) if units < most else order


def together(questions: Sequence[Question]) -> list[tuple[Question, ...]]:
    """Questions grouped by what one sweep answers: curves of equal imputer, order and unit; each fade alone."""
    groups: dict[object, list[Question]] = {}
    for question in dict.fromkeys(questions):
        curve = isinstance(question, Curve)
        key = (question.imputer, question.order, question.unit) if isinstance(question, Curve) else question
        groups.setdefault((curve, key), []).append(question)
    return [tuple(group) for group in groups.values()]


def inner_points(group: Sequence[Question]) -> int:
    """Model samples per image and order that a group of questions takes, without whole and empty images."""
    if isinstance(group[0], Fade):
        return 1
    return len(_inner([curve for curve in group if isinstance(curve, Curve)]))


def _inner(curves: Sequence[Curve]) -> list[float]:
    """The fractions of curves that are swept together, rising, without 0 and 1."""
    return sorted({f for curve in curves for f in curve.fractions if 0 < f < 1})


def removal_counts(units: Tensor, fractions: Sequence[float]) -> Tensor:
    """Units removed at each fraction, k = q·n rounded, halves up: ``(O,)`` int64 -> ``(O,S)`` int64."""
    shares = torch.tensor(fractions, dtype=torch.float64)
    return (shares * units.cpu()[:, None] + 0.5 + 1e-9).floor().long().to(units.device)


def _segment_means(values: Tensor, labels: Tensor, units: Tensor) -> Tensor:
    """``(B,most)``: mean of each segment's pixels; −∞ where an image has no such segment."""
    flat, places = precise(values.flatten(1)), labels.flatten(1)
    total = torch.zeros((len(flat), int(units.max())), dtype=flat.dtype, device=flat.device)
    count = total.scatter_add(1, places, torch.ones_like(flat))
    return torch.where(count > 0, total.scatter_add(1, places, flat) / count, -torch.inf).float()


def _shaped(said: _Said, steps: int) -> _Said:
    return _Said(*(values.unflatten(0, (-1, steps)) for values in (said.y, said.logit, said.p, said.kept)))


def _joined(found: Sequence[Sequence[_Said]], shape: tuple[int, int], device: torch.device) -> _Said:
    """Chunks of rows and steps as one ``(O,S)``."""
    if not all(shape):
        return _Said(*(torch.zeros(shape, device=device) for _ in range(4)))
    parts = [
        torch.cat([torch.cat([getattr(said, what) for said in line], 1) for line in found])
        for what in ("y", "logit", "p", "kept")
    ]
    return _Said(*parts)
