"""Explaining again: under other inputs, models and classes; each variant is one pass for all explainers."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.compute import Cost
from mavis.core.metric_types import Explained, VariantMetric, variants_of
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Replicate, Variant
from mavis.core.types import Batch, Model
from mavis.engine.execution.explain import Explaining, Shot
from mavis.engine.execution.records import Ledger, constant
from mavis.engine.planning.plan import Part

Reader = tuple[Part, VariantMetric]


@dataclass
class _Sum:
    """Maps of one explainer under one variant, added up over the variant's batches."""

    values: Tensor
    run: Pass
    targets: Tensor
    cost: Cost
    count: int


class Again:
    """What the variants of one batch yield; only comparisons are kept, and maps that others are compared with."""

    def __init__(self, explaining: Explaining, ledger: Ledger, shot: Shot, readers: list[Reader]) -> None:
        self.explaining, self.ledger, self.shot = explaining, ledger, shot
        self._compared: dict[tuple[str, str], list[Tensor]] = {}
        self._spent: dict[tuple[str, str], Cost] = {}
        self._kept: dict[tuple[str, str], Explained] = {}
        self.readers = self._settled(readers)
        self._keys = {part.name: [v.key for v in self._variants(metric)] for part, metric in self.readers}

    def score(self) -> None:
        """Explains under every variant that any metric reads, and records the metrics' values."""
        for variant in self._variants(*(metric for _, metric in self.readers)):
            self._one(variant)
        for reader in self.readers:
            for explainer in self.shot.maps:
                if self.ledger.wants(explainer, reader[0]):
                    with self._guard("metric", [reader], explainer):
                        self._record(explainer, reader)

    def _settled(self, readers: list[Reader]) -> list[Reader]:
        """The metrics that any explainer needs, each with its variants for this model."""
        found = []
        for part, metric in readers:
            if any(self.ledger.wants(explainer, part) for explainer in self.shot.maps):
                with self._guard("variant", [(part, metric)]):
                    found.append((part, replace(metric, variants=tuple(metric.of(self.explaining.job.model)))))
        return found

    def _variants(self, *metrics: VariantMetric) -> list[Variant]:
        return variants_of(metrics, self.explaining.job.model)

    def _one(self, variant: Variant) -> None:
        """One variant's maps of every explainer that a metric wants them of, and what the metrics say of them."""
        wanted = [p for p in self.ledger.able() if p.name in self.shot.maps and self._reading(variant, p.name)]
        sums: dict[str, _Sum] = {}
        for run, targets in self._passes(variant) if wanted else ():
            for part in wanted:
                if readers := self._reading(variant, part.name):
                    with self._guard("variant", readers, part.name):
                        sums[part.name] = self._add(sums.get(part.name), part, variant, run, targets)
        for part in wanted:
            if self._reading(variant, part.name):
                self._compare(part, variant, sums[part.name])

    def _passes(self, variant: Variant) -> Iterator[tuple[Pass, Tensor]]:
        """The variant's passes with the classes to explain; what fails on the way costs its readers."""
        job, shot = self.explaining.job, self.shot
        with self._guard("variant", self._reading(variant)):
            model, targets = job.others.of(variant, job.model, job.seed), variant.targets(shot.run, shot.targets)
            with self.explaining.counting(model.net):
                for batch in variant.batches(shot.run):
                    yield self._pass(variant, model, batch), targets

    def _pass(self, variant: Variant, model: Model, batch: Batch) -> Pass:
        """The pass of a variant; the original one where only the class is another."""
        job, run = self.explaining.job, self.shot.run
        seed = variant.seed(job.seed)
        if model is job.model and batch is run.batch and seed == job.seed:
            return run
        return replace(self.explaining.pass_of(model, batch, variant.pass_name, variant.mean(job.mean)), seed=seed)

    def _add(self, before: _Sum | None, part: Part, variant: Variant, run: Pass, targets: Tensor) -> _Sum:
        """One more map; an explainer that draws nothing need not repeat itself."""
        if type(variant) is Replicate and not part.traits.stochastic:
            return _Sum(self.shot.maps[part.name].values, self.shot.run, targets, Cost(), 1)
        with run.account() as cost:
            values = self.explaining.values(part, run, targets)
        self.explaining.job.tick(cost.work)
        if before is None:
            return _Sum(values, run, targets, cost, 1)
        return _Sum(before.values + values, run, targets, before.cost + cost, before.count + 1)

    def _compare(self, part: Part, variant: Variant, found: _Sum) -> None:
        """What the metrics say of one explainer's map under a variant."""
        after = Explained(Maps.of(found.values / found.count, self.explaining.job.grid), found.run, found.targets)
        self._spent[part.name, variant.key] = found.cost
        for reader, metric in self._reading(variant, part.name):
            with self._guard("metric", [(reader, metric)], part.name), self.explaining.counting(found.run.model.net):
                if metric.against is not None and metric.against.key == variant.key:
                    self._kept[part.name, variant.key] = after
                else:
                    value = self._value(part, metric, after)
                    self._compared.setdefault((part.name, reader.name), []).append(value)

    def _value(self, part: Part, metric: VariantMetric, after: Explained) -> Tensor:
        before = Explained(self.shot.maps[part.name], self.shot.run, self.shot.targets)
        if metric.against is not None:
            before = self._kept[part.name, metric.against.key]
        value = metric.compare(before, after)
        if metric.same_prediction:
            same = self.shot.run.logits.argmax(1) == after.run.logits.argmax(1)
            value = torch.where(same, value, torch.nan)
        return value

    def _record(self, explainer: str, reader: Reader) -> None:
        part, metric = reader
        draws = self._compared.get((explainer, part.name)) or [constant(torch.nan, self.shot.run.ids)]
        spent = sum((self._spent[explainer, key] for key in self._keys[part.name]), Cost())
        self.ledger.record(explainer, part, self.shot.run.ids, reduced(torch.stack(draws), metric.reduce), spent)

    def _reading(self, variant: Variant, explainer: str | None = None) -> list[Reader]:
        """Metrics that read maps under this variant, of this explainer if one is named."""
        return [
            (part, metric)
            for part, metric in self.readers
            if variant.key in self._keys[part.name] and (explainer is None or self.ledger.wants(explainer, part))
        ]

    def _guard(self, stage: str, readers: list[Reader], explainer: str | None = None) -> AbstractContextManager[None]:
        """Records what an exception costs: cells of these metrics, of all explainers unless one is named."""
        return self.ledger.guard(self.shot.scope(stage, *(part for part, _ in readers), explainer=explainer))


def reduced(draws: Tensor, how: str) -> Tensor:
    """``(V,B)`` -> ``(B,)``, draws without a value left out."""
    if how == "mean":
        return draws.nanmean(0)
    if how == "median":
        return draws.nanquantile(0.5, dim=0)
    highest = draws.nan_to_num(nan=float("-inf")).amax(0)
    return torch.where(highest.isinf(), torch.nan, highest)
