"""Block -> results: the loops over batches, explainers, metrics and variants, and what they share.

A failing metric costs its cell, a failing explainer its cells; everything else goes on. Out of memory halves the
batch and starts the block again; the scores do not depend on it.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pandas as pd
import torch
from torch import Tensor

from mavis import device, kinds
from mavis.errors import ContractError
from mavis.ledger import Ledger, OutOfMemoryError, Scope, constant
from mavis.maps import Maps, pooled
from mavis.passes import Cost, Meter, Pass
from mavis.perturb import Variant
from mavis.plan import Block, Line, Part
from mavis.registry import imputers
from mavis.store import BlockLog, BlockResult
from mavis.sweep import Scene, removal_counts
from mavis.types import Batch, Dataset, Model

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What every block of one model has in common.

    Attributes:
        model: what is explained, on its device.
        data: where images come from.
        line: explainers and metrics.
        targets: per image id the explained class.
        mean: ``(3,)``, the data set's mean colour.
        seed: the run's.
        grid: cells per side.
        chunk: most samples in one model call.
        keep: ids of the images whose maps are kept for the gallery.
        tick: called with the work that was done, in forwards (a backward counts as two).
    """

    model: Model
    data: Dataset
    line: Line
    targets: Mapping[str, int]
    mean: Tensor
    seed: int
    grid: int
    chunk: int
    keep: frozenset[str] = frozenset()
    tick: Callable[[float], None] = lambda _: None


def run(job: Job, block: Block) -> BlockResult:
    """All scores of one block.

    Raises:
        OutOfMemoryError: one image alone does not fit.
    """
    while True:
        try:
            return _Work(job, block).done()
        except OutOfMemoryError:
            if job.chunk == 1:
                raise
            job = replace(job, chunk=job.chunk // 2)


@dataclass(frozen=True)
class _Shot:
    """One batch, explained: what the metrics work on."""

    run: Pass
    targets: Tensor
    maps: Mapping[str, Maps]

    def scope(self, stage: str, *metrics: Part, explainer: str | None = None) -> Scope:
        """What an exception in a stage would cost; all explainers unless one is named."""
        names = (explainer,) if explainer else tuple(self.maps)
        return Scope(stage, self.run.ids, names, tuple(m.name for m in metrics) or None)


@dataclass
class _Again:
    """What the variants of one batch have yielded so far.

    Attributes:
        compared: per (explainer, metric) one ``(B,)`` for each variant.
        spent: per explainer, on maps of variants.
    """

    compared: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    spent: dict[str, Cost] = field(default_factory=dict)


class _Work:
    """One block in the making."""

    def __init__(self, job: Job, block: Block) -> None:
        self.job, self.block = job, block
        self.ledger = Ledger(block, job.line)
        self.meter = Meter()
        wanted = {v.key: v for _, metric in self._of_kind(kinds.VariantMetric) for v in metric.variants}
        self.variants = [(v, v.model(job.model, job.seed)) for v in wanted.values()] if block.variants else []

    def done(self) -> BlockResult:
        start, step = time.perf_counter(), self.job.chunk
        with self.meter.on(self.job.model.net):
            for first in range(0, len(self.block.images), step):
                self._batch(self.block.images[first : first + step])
        log = BlockLog(
            model=self.block.model,
            forwards=self.meter.forwards,
            backwards=self.meter.backwards,
            seconds=time.perf_counter() - start,
            peak_mib=device.peak_mib(self.job.model.device),
            chunk=self.job.chunk,
            failures=list(self.ledger.failures.values()),
        )
        return BlockResult(_joined(self.ledger.rows), _joined(self.ledger.curves), self.ledger.kept, log)

    def _batch(self, ids: tuple[str, ...]) -> None:
        batch = self.job.data.load(ids).to(self.job.model.device)
        if batch.rerender is not None:
            batch = replace(batch, rerender=functools.cache(batch.rerender))
        run = self._pass(self.job.model, batch, "")
        targets = torch.tensor([self.job.targets[i] for i in ids], device=run.images.device)
        shot = _Shot(run, targets, self._explain_all(run, targets))
        self._score_maps(shot)
        self._score_sweeps(shot)
        self._score_probes(shot)
        self._score_variants(shot)
        self.ledger.keep_maps(batch, shot.maps, self.job.keep)

    def _pass(self, model: Model, batch: Batch, variant: str) -> Pass:
        needs = [e.traits.needs for e in self.job.line.explainers]
        through_input = any("gradient" in n and "activations" not in n for n in needs)
        return Pass(model, batch, self.job.mean, self.job.seed, self.job.chunk, variant, through_input, self.meter)

    def _explain_all(self, run: Pass, targets: Tensor) -> dict[str, Maps]:
        """Maps of every explainer that can run and does; its cost is scored on the way."""
        found = {}
        for part in self.ledger.able():
            with self.ledger.guard(Scope("explain", run.ids, (part.name,))):
                with device.PeakMemory(run.images.device) as memory, run.account() as cost:
                    maps = self._explain(part, run, targets)
                found[part.name] = maps
                self._score_cost(part.name, run.ids, cost, memory.mib)
                self.job.tick(cost.work)
        return found

    def _explain(self, part: Part, run: Pass, targets: Tensor) -> Maps:
        before = run.images._version
        raw = part.made(run, targets)
        if run.images._version != before:
            raise ContractError(f"'{part.name}' changed the images it was given; work on a copy.")
        return Maps.of(pooled(raw, run.images, part.traits.pooling), self.job.grid)

    # One function per kind of metric.

    def _score_cost(self, explainer: str, ids: tuple[str, ...], cost: Cost, peak: float | None) -> None:
        for part, metric in self._of_kind(kinds.CostMetric):
            value = metric.read(cost, peak, len(ids))
            self.ledger.record(explainer, part, ids, constant(float("nan") if value is None else value, ids), cost)

    def _score_maps(self, shot: _Shot) -> None:
        for part, metric in self._of_kind(kinds.MapMetric):
            for explainer, found in self._wanted(part, shot):
                with self.ledger.guard(shot.scope("metric", part, explainer=explainer)):
                    self.ledger.record(explainer, part, shot.run.ids, metric.score(found, shot.run.batch))

    def _score_sweeps(self, shot: _Shot) -> None:
        """Every curve that any metric wants is swept once per explainer."""
        wanted = self._of_kind(kinds.SweepMetric)
        curves = list(dict.fromkeys(curve for _, metric in wanted for curve in metric.curves))
        if not curves or not shot.maps:
            return
        with self.ledger.guard(shot.scope("imputation", *(part for part, _ in wanted))):
            scene = self._scene(shot)
            for explainer in shot.maps:
                with self.ledger.guard(shot.scope("sweep", *(part for part, _ in wanted), explainer=explainer)):
                    self._sweep(shot, scene, explainer, curves)
                    self.job.tick(len(shot.run) * sum(curve.points - 2 for curve in curves))

    def _sweep(self, shot: _Shot, scene: Scene, explainer: str, curves: list[kinds.Curve]) -> None:
        answers, orders = scene.curves(shot.maps[explainer], curves)
        self.ledger.keep_curves(explainer, shot.run.ids, answers)
        for part, metric in self._of_kind(kinds.SweepMetric):
            if self.ledger.wants(explainer, part):
                with self.ledger.guard(shot.scope("metric", part, explainer=explainer)):
                    each = _sweep_forwards(metric, scene.cells, orders)
                    self.ledger.record(explainer, part, shot.run.ids, metric.score(answers), each)

    def _score_probes(self, shot: _Shot) -> None:
        """Every question that any metric wants answered is asked once for all explainers."""
        asked: dict[tuple[str, str], kinds.Answers] = {}
        for part, metric in self._of_kind(kinds.ProbeMetric):
            key = (metric.probe.name, metric.probe.imputer)
            with self.ledger.guard(shot.scope("probe", part)):
                if key not in asked:
                    asked[key] = self._scene(shot).answers(metric.probe)
                    self.job.tick(asked[key].drops.numel())
            for explainer, found in self._wanted(part, shot) if key in asked else ():
                with self.ledger.guard(shot.scope("metric", part, explainer=explainer)):
                    each = constant(asked[key].removed.shape[1] + 1, shot.run.ids)
                    self.ledger.record(explainer, part, shot.run.ids, metric.score(found, asked[key]), each)

    def _score_variants(self, shot: _Shot) -> None:
        """Each variant is one pass for all explainers; only its comparisons are kept, not its maps."""
        again = _Again()
        for variant, model in self.variants:
            with self.ledger.guard(shot.scope("variant", *(part for part, _ in self._reading(variant)))):
                self._one_variant(shot, variant, model, again)
        for part, metric in self._of_kind(kinds.VariantMetric):
            for explainer, _ in self._wanted(part, shot):
                draws = again.compared.get((explainer, part.name), [])
                if len(draws) == len(metric.variants):
                    values = _reduced(torch.stack(draws), metric.reduce)
                    self.ledger.record(explainer, part, shot.run.ids, values, again.spent[explainer])

    def _one_variant(self, shot: _Shot, variant: Variant, model: Model, again: _Again) -> None:
        batch = replace(shot.run.batch, images=variant.images(shot.run))
        metrics = self._reading(variant)
        with nullcontext() if model is self.job.model else self.meter.on(model.net):
            other = self._pass(model, batch, variant.key)
            asked = any(metric.same_prediction for _, metric in metrics)
            same = shot.run.logits.argmax(1) == other.logits.argmax(1) if asked else None
            for part in (p for p in self.ledger.able() if p.name in shot.maps):
                with self.ledger.guard(shot.scope("variant", *(m for m, _ in metrics), explainer=part.name)):
                    with other.account() as cost:
                        maps = self._explain(part, other, shot.targets)
                    again.spent[part.name] = again.spent.get(part.name, Cost()) + cost
                    self.job.tick(cost.work)
                    for metric_part, metric in metrics:
                        value = metric.compare(shot.maps[part.name], maps)
                        if metric.same_prediction and same is not None:
                            value = torch.where(same, value, torch.nan)
                        again.compared.setdefault((part.name, metric_part.name), []).append(value)

    # What the loops above ask for.

    def _of_kind(self, kind: type[T]) -> list[tuple[Part, T]]:
        return [(part, part.made) for part in self.job.line.metrics if isinstance(part.made, kind)]

    def _reading(self, variant: Variant) -> list[tuple[Part, kinds.VariantMetric]]:
        """Metrics that compare maps under this variant."""
        every = self._of_kind(kinds.VariantMetric)
        return [(part, metric) for part, metric in every if variant.key in {v.key for v in metric.variants}]

    def _wanted(self, part: Part, shot: _Shot) -> Iterator[tuple[str, Maps]]:
        return ((name, found) for name, found in shot.maps.items() if self.ledger.wants(name, part))

    def _scene(self, shot: _Shot) -> Scene:
        names = {c.imputer for _, m in self._of_kind(kinds.SweepMetric) for c in m.curves}
        names |= {m.probe.imputer for _, m in self._of_kind(kinds.ProbeMetric)}
        fillers = {name: imputers[name].make()(shot.run) for name in sorted(names)}
        return Scene(shot.run, shot.targets, fillers, self.job.grid**2)


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _reduced(draws: Tensor, how: str) -> Tensor:
    """``(V,B)`` -> ``(B,)``, draws without a value left out."""
    if how == "mean":
        return draws.nanmean(0)
    highest = draws.nan_to_num(nan=float("-inf")).amax(0)
    return torch.where(highest.isinf(), torch.nan, highest)


def _sweep_forwards(metric: kinds.SweepMetric, cells: int, orders: Tensor) -> Tensor:
    """Samples this metric alone needs per image: the whole image, one empty one per imputer, the points between."""
    inner = sum(len(removal_counts(cells, curve.points)) - 2 for curve in set(metric.curves))
    return 1 + len({curve.imputer for curve in metric.curves}) + orders * inner
