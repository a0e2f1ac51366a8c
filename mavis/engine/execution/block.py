"""Block -> results: the loops over batches, explainers and metrics, and what they share.

A failing metric costs its cell, a failing explainer its cells; everything else goes on. Out of memory halves the
batch and starts the block again, which changes no score; what fails with one sample at a time is a failure as any.
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
from mavis.core.process_state import standard_settings
from mavis.engine.execution import map_agreement
from mavis.engine.execution.explain import ExplainedBatch, MapProducer, ModelTask
from mavis.engine.execution.re_explain import VariantScorer
from mavis.engine.execution.records import BlockRecords, FailureScope, OutOfMemoryError, constant_values
from mavis.engine.model_checks import part_reliance
from mavis.engine.planning.plan import Block, Component
from mavis.engine.removal import RemovalOrder, RemovalSession, n_inner_points, shared_sweeps
from mavis.engine.store import BlockLog, BlockResult

T = TypeVar("T")


@standard_settings()
def run_block(task: ModelTask, block: Block) -> BlockResult:
    """All scores of one block.

    Raises:
        OutOfMemoryError: an image alone does not fit, before any map is made.
    """
    while True:
        try:
            return _BlockRunner(task, block).run()
        except OutOfMemoryError:
            if task.chunk == 1:
                raise
            task = replace(task, chunk=task.chunk // 2)


class _BlockRunner:
    """One block in the making."""

    def __init__(self, task: ModelTask, block: Block) -> None:
        self.task, self.block = task, block
        self.records = BlockRecords(block, task.components, task.chunk)
        self.producer = MapProducer(task)

    def run(self) -> BlockResult:
        start, step = time.perf_counter(), self.task.chunk
        with self.producer.meter.attach(self.task.model.net):
            for first in range(0, len(self.block.image_ids), step):
                self._run_batch(self.block.image_ids[first : first + step])
        log = BlockLog(
            model=self.block.model,
            forwards=self.producer.meter.forwards,
            backwards=self.producer.meter.backwards,
            seconds=time.perf_counter() - start,
            peak_mib=devices.peak_memory_mib(self.task.model.device),
            chunk=self.task.chunk,
            failures=list(self.records.failures.values()),
        )
        return BlockResult(*self.records.frames(), self.records.gallery_maps, log)

    def _run_batch(self, image_ids: tuple[str, ...]) -> None:
        self.records.start_batch()
        batch = self.task.data.load(image_ids).to(self.task.model.device)
        if batch.rerender is not None:
            batch = replace(batch, rerender=functools.cache(batch.rerender))
        if self.task.used_parts is not None:
            batch = replace(batch, regions=part_reliance.part_region(batch, self.task.used_parts))
        model_pass = self.producer.make_pass(self.task.model, batch)
        targets = torch.tensor([self.task.targets[i] for i in image_ids], device=model_pass.images.device)
        explained = ExplainedBatch(model_pass, targets, self._explain_all(model_pass, targets))
        session = RemovalSession(model_pass, targets, self.task.grid)
        self._score_maps(explained)
        self._score_agreement(explained)
        self._score_sweeps(explained, session)
        self._score_probes(explained, session)
        self._score_variants(explained)
        self._score_free(explained)
        self.records.record_maps(batch, explained.maps, self.task.gallery_ids)

    def _explain_all(self, model_pass: Pass, targets: Tensor) -> dict[str, Maps]:
        """Maps of every explainer that can run and does; its cost is scored on the way."""
        maps = {}
        for component in self.records.scored_explainers():
            with self.records.guard(FailureScope("explain", model_pass.ids, (component.name,))):
                with devices.PeakMemory(model_pass.images.device) as memory, model_pass.measure_cost() as cost:
                    values = self.producer.pixel_values(component, model_pass, targets)
                maps[component.name] = Maps.from_values(values, self.task.grid)
                self._score_cost(component.name, model_pass.ids, cost, memory.mib)
                self.task.tick(cost.forward_equivalents)
        return maps

    # One function per kind of metric.

    def _score_cost(self, explainer: str, image_ids: tuple[str, ...], cost: Cost, peak_mib: float | None) -> None:
        for part, metric in self._metrics_of_kind(metric_types.CostMetric):
            value = metric.score(cost, peak_mib, len(image_ids))
            self.records.record(
                explainer, part, image_ids, constant_values(float("nan") if value is None else value, image_ids), cost
            )

    def _score_maps(self, explained: ExplainedBatch) -> None:
        for part, metric in self._metrics_of_kind(metric_types.MapMetric):
            for explainer, maps in self._maps_to_score(part, explained):
                with self.records.guard(explained.failure_scope("metric", part, explainer=explainer)):
                    self.records.record(
                        explainer, part, explained.model_pass.ids, metric.score(maps, explained.model_pass.batch)
                    )

    def _score_agreement(self, explained: ExplainedBatch) -> None:
        """Agreement between the methods; controls and oracles are left out, since they would only raise it."""
        methods = {part.name for part in self.task.components.explainers if part.traits.role == "method"}
        maps = {name: values for name, values in explained.maps.items() if name in methods}
        maps |= self.producer.other_maps(explained.model_pass)
        if self.task.agreement_top is not None and len(maps) > 1:
            self.records.record_agreement(
                explained.model_pass.ids, map_agreement.pairwise_agreement(maps, self.task.agreement_top)
            )

    def _score_sweeps(self, explained: ExplainedBatch, session: RemovalSession) -> None:
        """Sweeps that several metrics ask for are made once per explainer."""
        metrics = self._metrics_of_kind(metric_types.SweepMetric)
        groups = shared_sweeps([question for _, metric in metrics for question in metric.curves])
        for explainer, maps in explained.maps.items():
            answers: dict[metric_types.CurveQuery, metric_types.CurveValues] = {}
            orders: dict[metric_types.CurveQuery, RemovalOrder] = {}
            for group in groups:
                readers = [part for part, metric in metrics if set(metric.curves) & set(group)]
                if any(self.records.should_score(explainer, part) for part in readers):
                    with self.records.guard(explained.failure_scope("sweep", *readers, explainer=explainer)):
                        answers |= self._sweep(session, maps, group, orders)
            self.records.record_curves(explainer, explained.model_pass.ids, answers)
            for part, metric in metrics:
                if set(metric.curves) <= set(answers):
                    with self.records.guard(explained.failure_scope("metric", part, explainer=explainer)):
                        alone = _forwards_alone(metric, orders, explained.model_pass.ids)
                        self.records.record(explainer, part, explained.model_pass.ids, metric.score(answers), alone)

    def _sweep(
        self,
        session: RemovalSession,
        maps: Maps,
        group: tuple[metric_types.CurveQuery, ...],
        orders: dict[metric_types.CurveQuery, RemovalOrder],
    ) -> dict[metric_types.CurveQuery, metric_types.CurveValues]:
        """One sweep's answers; notes the order of each curve's units."""
        self.task.tick(len(session.model_pass) * n_inner_points(group))
        if isinstance(group[0], metric_types.SoftMasking):
            return {group[0]: session.soft_mask(maps, group[0])}
        curves = [curve for curve in group if isinstance(curve, metric_types.Curve)]
        ordered = session.removal_order(maps, curves[0].unit)
        orders |= dict.fromkeys(group, ordered)
        return session.sweep(ordered, curves)

    def _score_probes(self, explained: ExplainedBatch, session: RemovalSession) -> None:
        """Every question that any metric wants answered is asked once for all explainers."""
        metrics = self._metrics_of_kind(metric_types.ProbeMetric)
        outputs: dict[metric_types.MaskProbe | metric_types.PartProbe, metric_types.ProbeOutputs] = {}
        for probe in dict.fromkeys(probe for _, metric in metrics for probe in metric.probes):
            readers = [part for part, metric in metrics if probe in metric.probes]
            if any(self.records.should_score(explainer, part) for part in readers for explainer in explained.maps):
                with self.records.guard(explained.failure_scope("probe", *readers)):
                    outputs[probe] = session.probe_outputs(probe)
                    self.task.tick(_n_queries(probe, outputs[probe]) * len(explained.model_pass))
        for part, metric in metrics:
            if set(metric.probes) <= set(outputs):
                forwards = constant_values(
                    1 + sum(_n_queries(p, outputs[p]) for p in metric.probes), explained.model_pass.ids
                )
                for explainer, maps in self._maps_to_score(part, explained):
                    with self.records.guard(explained.failure_scope("metric", part, explainer=explainer)):
                        self.records.record(
                            explainer, part, explained.model_pass.ids, metric.score(maps, outputs), forwards
                        )

    def _score_variants(self, explained: ExplainedBatch) -> None:
        if self.block.has_variants:
            VariantScorer(
                self.producer, self.records, explained, self._metrics_of_kind(metric_types.VariantMetric)
            ).score()

    def _score_free(self, explained: ExplainedBatch) -> None:
        for part, metric in self._metrics_of_kind(metric_types.CustomMetric):
            for explainer in self.records.scored_explainers():
                if explainer.name in explained.maps and self.records.should_score(explainer.name, part):
                    with self.records.guard(explained.failure_scope("metric", part, explainer=explainer.name)):
                        before = self.producer.meter.read()
                        explanation = metric_types.Explanation(
                            explained.maps[explainer.name], explained.model_pass, explained.targets
                        )
                        values = metric.score(explanation, self.producer.as_function(explainer))
                        cost = self.producer.meter.read() - before
                        self.records.record(explainer.name, part, explained.model_pass.ids, values, cost)
                        self.task.tick(cost.forward_equivalents)

    # What the loops above ask for.

    def _metrics_of_kind(self, kind: type[T]) -> list[tuple[Component, T]]:
        return [(part, part.plugin) for part in self.task.components.metrics if isinstance(part.plugin, kind)]

    def _maps_to_score(self, component: Component, explained: ExplainedBatch) -> Iterator[tuple[str, Maps]]:
        return ((name, maps) for name, maps in explained.maps.items() if self.records.should_score(name, component))


def _forwards_alone(
    metric: metric_types.SweepMetric, orders: Mapping[metric_types.CurveQuery, RemovalOrder], image_ids: tuple[str, ...]
) -> Tensor:
    """Samples this metric alone needs per image: the whole image, one empty one per imputer, the points between."""
    groups = [
        [curve for curve in group if isinstance(curve, metric_types.Curve)] for group in shared_sweeps(metric.curves)
    ]
    asks_original = any(isinstance(q, metric_types.SoftMasking) or 0.0 in q.fractions for q in metric.curves)
    empty = {q.imputer for q in metric.curves if isinstance(q, metric_types.Curve) and 1.0 in q.fractions}
    inner = [orders[group[0]].n_samples(group) if group else constant_values(1, image_ids) for group in groups]
    return sum(inner, constant_values(asks_original + len(empty), image_ids))


def _n_queries(probe: metric_types.MaskProbe | metric_types.PartProbe, answers: metric_types.ProbeOutputs) -> int:
    """Model samples per image behind a probe's answers."""
    return answers.drops.shape[1] * (probe.n_draws if isinstance(probe, metric_types.PartProbe) else 1)
