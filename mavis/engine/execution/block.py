"""Block -> results: the loops over batches, explainers and metrics, and what they share.

A failing metric costs its cell, a failing explainer its cells; everything else goes on. Out of memory halves the
batch and starts the block again; the scores do not depend on it.
"""

import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from mavis.core import devices, metric_types
from mavis.core.attribution_maps import Maps
from mavis.core.compute import Cost
from mavis.core.model_pass import Pass
from mavis.engine.execution import map_agreement
from mavis.engine.execution.explain import Explaining, Job, Shot
from mavis.engine.execution.re_explain import Again
from mavis.engine.execution.records import Ledger, OutOfMemoryError, Scope, constant
from mavis.engine.model_checks import part_reliance
from mavis.engine.planning.plan import Block, Part
from mavis.engine.removal import Ordered, Scene, inner_points, together
from mavis.engine.store import BlockLog, BlockResult

T = TypeVar("T")


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


class _Work:
    """One block in the making."""

    def __init__(self, job: Job, block: Block) -> None:
        self.job, self.block = job, block
        self.ledger = Ledger(block, job.line)
        self.explaining = Explaining(job)

    def done(self) -> BlockResult:
        start, step = time.perf_counter(), self.job.chunk
        with self.explaining.meter.on(self.job.model.net):
            for first in range(0, len(self.block.images), step):
                self._batch(self.block.images[first : first + step])
        log = BlockLog(
            model=self.block.model,
            forwards=self.explaining.meter.forwards,
            backwards=self.explaining.meter.backwards,
            seconds=time.perf_counter() - start,
            peak_mib=devices.peak_mib(self.job.model.device),
            chunk=self.job.chunk,
            failures=list(self.ledger.failures.values()),
        )
        return BlockResult(*self.ledger.frames(), self.ledger.kept, log)

    def _batch(self, ids: tuple[str, ...]) -> None:
        self.ledger.begin()
        batch = self.job.data.load(ids).to(self.job.model.device)
        if batch.rerender is not None:
            batch = replace(batch, rerender=functools.cache(batch.rerender))
        if self.job.truth is not None:
            batch = replace(batch, regions=part_reliance.region(batch, self.job.truth))
        run = self.explaining.pass_of(self.job.model, batch)
        targets = torch.tensor([self.job.targets[i] for i in ids], device=run.images.device)
        shot = Shot(run, targets, self._explain_all(run, targets))
        scene = Scene(run, targets, self.job.grid)
        self._score_maps(shot)
        self._score_agreement(shot)
        self._score_sweeps(shot, scene)
        self._score_probes(shot, scene)
        self._score_variants(shot)
        self._score_free(shot)
        self.ledger.keep_maps(batch, shot.maps, self.job.keep)

    def _explain_all(self, run: Pass, targets: Tensor) -> dict[str, Maps]:
        """Maps of every explainer that can run and does; its cost is scored on the way."""
        found = {}
        for part in self.ledger.able():
            with self.ledger.guard(Scope("explain", run.ids, (part.name,))):
                with devices.PeakMemory(run.images.device) as memory, run.account() as cost:
                    values = self.explaining.values(part, run, targets)
                found[part.name] = Maps.of(values, self.job.grid)
                self._score_cost(part.name, run.ids, cost, memory.mib)
                self.job.tick(cost.work)
        return found

    # One function per kind of metric.

    def _score_cost(self, explainer: str, ids: tuple[str, ...], cost: Cost, peak: float | None) -> None:
        for part, metric in self._of_kind(metric_types.CostMetric):
            value = metric.read(cost, peak, len(ids))
            self.ledger.record(explainer, part, ids, constant(float("nan") if value is None else value, ids), cost)

    def _score_maps(self, shot: Shot) -> None:
        for part, metric in self._of_kind(metric_types.MapMetric):
            for explainer, found in self._wanted(part, shot):
                with self.ledger.guard(shot.scope("metric", part, explainer=explainer)):
                    self.ledger.record(explainer, part, shot.run.ids, metric.score(found, shot.run.batch))

    def _score_agreement(self, shot: Shot) -> None:
        """How far the methods agree with each other; the others would only raise it."""
        methods = {part.name for part in self.job.line.explainers if part.traits.role == "method"}
        maps = {name: found for name, found in shot.maps.items() if name in methods}
        if self.job.agreement is not None and len(maps) > 1:
            self.ledger.keep_agreement(shot.run.ids, map_agreement.between(maps, self.job.agreement))

    def _score_sweeps(self, shot: Shot, scene: Scene) -> None:
        """What several metrics ask is swept once per explainer."""
        metrics = self._of_kind(metric_types.SweepMetric)
        groups = together([question for _, metric in metrics for question in metric.curves])
        for explainer, found in shot.maps.items():
            answers: dict[metric_types.Question, metric_types.CurveValues] = {}
            orders: dict[metric_types.Question, Ordered] = {}
            for group in groups:
                readers = [part for part, metric in metrics if set(metric.curves) & set(group)]
                if any(self.ledger.wants(explainer, part) for part in readers):
                    with self.ledger.guard(shot.scope("sweep", *readers, explainer=explainer)):
                        answers |= self._sweep(scene, found, group, orders)
            self.ledger.keep_curves(explainer, shot.run.ids, answers)
            for part, metric in metrics:
                if set(metric.curves) <= set(answers):
                    with self.ledger.guard(shot.scope("metric", part, explainer=explainer)):
                        alone = _alone(metric, orders, shot.run.ids)
                        self.ledger.record(explainer, part, shot.run.ids, metric.score(answers), alone)

    def _sweep(
        self,
        scene: Scene,
        found: Maps,
        group: tuple[metric_types.Question, ...],
        orders: dict[metric_types.Question, Ordered],
    ) -> dict[metric_types.Question, metric_types.CurveValues]:
        """One sweep's answers; notes the order of each curve's units."""
        self.job.tick(len(scene.run) * inner_points(group))
        if isinstance(group[0], metric_types.Fade):
            return {group[0]: scene.faded(found, group[0])}
        curves = [curve for curve in group if isinstance(curve, metric_types.Curve)]
        ordered = scene.ordered(found, curves[0].unit)
        orders |= dict.fromkeys(group, ordered)
        return scene.swept(ordered, curves)

    def _score_probes(self, shot: Shot, scene: Scene) -> None:
        """Every question that any metric wants answered is asked once for all explainers."""
        metrics = self._of_kind(metric_types.ProbeMetric)
        asked: dict[metric_types.Probe | metric_types.PartProbe, metric_types.Answers] = {}
        for probe in dict.fromkeys(probe for _, metric in metrics for probe in metric.probes):
            readers = [part for part, metric in metrics if probe in metric.probes]
            if any(self.ledger.wants(explainer, part) for part in readers for explainer in shot.maps):
                with self.ledger.guard(shot.scope("probe", *readers)):
                    asked[probe] = scene.answers(probe)
                    self.job.tick(_questions(probe, asked[probe]) * len(shot.run))
        for part, metric in metrics:
            if set(metric.probes) <= set(asked):
                each = constant(1 + sum(_questions(p, asked[p]) for p in metric.probes), shot.run.ids)
                for explainer, found in self._wanted(part, shot):
                    with self.ledger.guard(shot.scope("metric", part, explainer=explainer)):
                        self.ledger.record(explainer, part, shot.run.ids, metric.score(found, asked), each)

    def _score_variants(self, shot: Shot) -> None:
        if self.block.variants:
            Again(self.explaining, self.ledger, shot, self._of_kind(metric_types.VariantMetric)).score()

    def _score_free(self, shot: Shot) -> None:
        for part, metric in self._of_kind(metric_types.FreeMetric):
            for explainer in self.ledger.able():
                if explainer.name in shot.maps and self.ledger.wants(explainer.name, part):
                    with self.ledger.guard(shot.scope("metric", part, explainer=explainer.name)):
                        before = self.explaining.meter.read()
                        explained = metric_types.Explained(shot.maps[explainer.name], shot.run, shot.targets)
                        values = metric.score(explained, self.explaining.anything(explainer))
                        spent = self.explaining.meter.read() - before
                        self.ledger.record(explainer.name, part, shot.run.ids, values, spent)
                        self.job.tick(spent.work)

    # What the loops above ask for.

    def _of_kind(self, kind: type[T]) -> list[tuple[Part, T]]:
        return [(part, part.made) for part in self.job.line.metrics if isinstance(part.made, kind)]

    def _wanted(self, part: Part, shot: Shot) -> Iterator[tuple[str, Maps]]:
        return ((name, found) for name, found in shot.maps.items() if self.ledger.wants(name, part))


def _alone(
    metric: metric_types.SweepMetric, orders: Mapping[metric_types.Question, Ordered], ids: tuple[str, ...]
) -> Tensor:
    """Samples this metric alone needs per image: the whole image, one empty one per imputer, the points between."""
    groups = [[curve for curve in group if isinstance(curve, metric_types.Curve)] for group in together(metric.curves)]
    whole = any(isinstance(q, metric_types.Fade) or 0.0 in q.fractions for q in metric.curves)
    empty = {q.imputer for q in metric.curves if isinstance(q, metric_types.Curve) and 1.0 in q.fractions}
    inner = [orders[group[0]].samples(group) if group else constant(1, ids) for group in groups]
    return sum(inner, constant(whole + len(empty), ids))


def _questions(probe: metric_types.Probe | metric_types.PartProbe, answers: metric_types.Answers) -> int:
    """Model samples per image behind a probe's answers."""
    return answers.drops.shape[1] * (probe.draws if isinstance(probe, metric_types.PartProbe) else 1)
