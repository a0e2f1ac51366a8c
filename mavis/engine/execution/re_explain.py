"""Explaining again: under other inputs, models and classes; each variant is one pass for all explainers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.compute import Cost
from mavis.core.metric_types import Explanation, VariantMetric, collect_variants
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Replicate, Variant
from mavis.core.types import Batch, Model
from mavis.engine.execution.explain import ExplainedBatch, MapProducer
from mavis.engine.execution.records import BlockRecords, constant_values
from mavis.engine.planning.plan import Component

Reader = tuple[Component, VariantMetric]


@dataclass
class _MapSum:
    """Maps of one explainer under one variant, added up over the variant's batches."""

    values: Tensor
    model_pass: Pass
    targets: Tensor
    cost: Cost
    count: int


class VariantScorer:
    """Scores of one batch under its variants; only comparisons are kept, and maps that others are compared with."""

    def __init__(
        self, producer: MapProducer, records: BlockRecords, explained: ExplainedBatch, readers: list[Reader]
    ) -> None:
        self.producer, self.records, self.explained = producer, records, explained
        self._comparisons: dict[tuple[str, str], list[Tensor]] = {}
        self._costs: dict[tuple[str, str], Cost] = {}
        self._base_maps: dict[tuple[str, str], Explanation] = {}
        self.readers = self._resolve_variants(readers)
        self._variant_keys = {part.name: [v.key for v in self._variants(metric)] for part, metric in self.readers}

    def score(self) -> None:
        """Explains under every variant that any metric reads, and records the metrics' values."""
        for variant in self._variants(*(metric for _, metric in self.readers)):
            self._score_variant(variant)
        for reader in self.readers:
            for explainer in self.explained.maps:
                if self.records.should_score(explainer, reader[0]):
                    with self._guard("metric", [reader], explainer):
                        self._record(explainer, reader)

    def _resolve_variants(self, readers: list[Reader]) -> list[Reader]:
        """The metrics that any explainer needs, each with its variants for this model."""
        resolved = []
        for part, metric in readers:
            if any(self.records.should_score(explainer, part) for explainer in self.explained.maps):
                with self._guard("variant", [(part, metric)]):
                    resolved.append(
                        (part, replace(metric, variants=tuple(metric.variants_for(self.producer.task.model))))
                    )
        return resolved

    def _variants(self, *metrics: VariantMetric) -> list[Variant]:
        return collect_variants(metrics, self.producer.task.model)

    def _score_variant(self, variant: Variant) -> None:
        """One variant's maps of every explainer that a metric wants them of, and what the metrics say of them."""
        components = [
            p
            for p in self.records.scored_explainers()
            if p.name in self.explained.maps and self._readers_of(variant, p.name)
        ]
        sums: dict[str, _MapSum] = {}
        for run, targets in self._variant_passes(variant) if components else ():
            for part in components:
                if readers := self._readers_of(variant, part.name):
                    with self._guard("variant", readers, part.name):
                        sums[part.name] = self._add_maps(sums.get(part.name), part, variant, run, targets)
        for part in components:
            if self._readers_of(variant, part.name):
                self._compare_maps(part, variant, sums[part.name])

    def _variant_passes(self, variant: Variant) -> Iterator[tuple[Pass, Tensor]]:
        """The variant's passes with the classes to explain; what fails on the way costs its readers."""
        task, explained = self.producer.task, self.explained
        with self._guard("variant", self._readers_of(variant)):
            model, targets = (
                task.variant_models.get(variant, task.model, task.seed),
                variant.targets(explained.model_pass, explained.targets),
            )
            with self.producer.meter.attach(model.net):
                for batch in variant.batches(explained.model_pass):
                    yield self._pass(variant, model, batch), targets

    def _pass(self, variant: Variant, model: Model, batch: Batch) -> Pass:
        """The pass of a variant; the original one where only the class is another."""
        task, original = self.producer.task, self.explained.model_pass
        seed = variant.seed(task.seed)
        if model is task.model and batch is original.batch and seed == task.seed:
            return original
        return replace(
            self.producer.make_pass(model, batch, variant.pass_name, variant.mean(task.mean_colour)), seed=seed
        )

    def _add_maps(
        self, total: _MapSum | None, component: Component, variant: Variant, model_pass: Pass, targets: Tensor
    ) -> _MapSum:
        """One more map; an explainer that draws nothing need not repeat itself."""
        if type(variant) is Replicate and not component.traits.stochastic:
            return _MapSum(self.explained.maps[component.name].values, self.explained.model_pass, targets, Cost(), 1)
        with model_pass.measure_cost() as cost:
            values = self.producer.pixel_values(component, model_pass, targets)
        self.producer.task.tick(cost.forward_equivalents)
        if total is None:
            return _MapSum(values, model_pass, targets, cost, 1)
        return _MapSum(total.values + values, model_pass, targets, total.cost + cost, total.count + 1)

    def _compare_maps(self, component: Component, variant: Variant, total: _MapSum) -> None:
        """Scores of one explainer's map under a variant."""
        after = Explanation(
            Maps.from_values(total.values / total.count, self.producer.task.grid), total.model_pass, total.targets
        )
        self._costs[component.name, variant.key] = total.cost
        for reader, metric in self._readers_of(variant, component.name):
            with (
                self._guard("metric", [(reader, metric)], component.name),
                self.producer.meter.attach(total.model_pass.model.net),
            ):
                if metric.base_variant is not None and metric.base_variant.key == variant.key:
                    self._base_maps[component.name, variant.key] = after
                else:
                    value = self._comparison_value(component, metric, after)
                    self._comparisons.setdefault((component.name, reader.name), []).append(value)

    def _comparison_value(self, component: Component, metric: VariantMetric, after: Explanation) -> Tensor:
        before = Explanation(self.explained.maps[component.name], self.explained.model_pass, self.explained.targets)
        if metric.base_variant is not None:
            before = self._base_maps[component.name, metric.base_variant.key]
        value = metric.compare(before, after)
        if metric.same_prediction:
            same = self.explained.model_pass.logits.argmax(1) == after.model_pass.logits.argmax(1)
            value = torch.where(same, value, torch.nan)
        return value

    def _record(self, explainer: str, reader: Reader) -> None:
        part, metric = reader
        draws = self._comparisons.get((explainer, part.name)) or [
            constant_values(torch.nan, self.explained.model_pass.ids)
        ]
        cost = sum((self._costs[explainer, key] for key in self._variant_keys[part.name]), Cost())
        self.records.record(
            explainer, part, self.explained.model_pass.ids, reduce_draws(torch.stack(draws), metric.reduce), cost
        )

    def _readers_of(self, variant: Variant, explainer: str | None = None) -> list[Reader]:
        """Metrics that read maps under this variant, of this explainer if one is named."""
        return [
            (part, metric)
            for part, metric in self.readers
            if variant.key in self._variant_keys[part.name]
            and (explainer is None or self.records.should_score(explainer, part))
        ]

    def _guard(self, stage: str, readers: list[Reader], explainer: str | None = None) -> AbstractContextManager[None]:
        """Records what an exception costs: cells of these metrics, of all explainers unless one is named."""
        return self.records.guard(
            self.explained.failure_scope(stage, *(part for part, _ in readers), explainer=explainer)
        )


def reduce_draws(draws: Tensor, reduction: str) -> Tensor:
    """``(V,B)`` -> ``(B,)``, draws without a value left out."""
    if reduction == "mean":
        return draws.nanmean(0)
    if reduction == "median":
        return draws.nanquantile(0.5, dim=0)
    highest = draws.nan_to_num(nan=float("-inf")).amax(0)
    return torch.where(highest.isinf(), torch.nan, highest)
