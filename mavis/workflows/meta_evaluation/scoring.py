"""Images, model and maps -> a table of scores, by the engine that scores every run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from mavis.analysis.statistics.bootstrap import Floats
from mavis.core import devices
from mavis.core.errors import MavisError
from mavis.core.model_pass import Pass
from mavis.core.registry import datasets, metric_of, metrics
from mavis.core.types import Batch, Dataset, Model, Reference
from mavis.datasets.loading import sampling
from mavis.engine.execution import block as execute
from mavis.engine.execution import explain
from mavis.engine.planning.plan import Block, Cell, Line, Part
from mavis.models.loading.open import open_models
from mavis.protocol.schema import Params

CHUNK = 64
REFERENCE = 10

Settings = Mapping[str, Params]
"""Metrics by label, with their parameters."""


@dataclass(frozen=True)
class Subject:
    """A model and the images that it is asked about.

    Attributes:
        name: in the tables.
        model: on the CPU, made explainable.
        data: where images come from.
        ids: the images.
        seed: of every draw.
        edit: what is done to a batch after it is loaded, or None.
    """

    name: str
    model: Model
    data: Dataset
    ids: tuple[str, ...]
    seed: int
    edit: Callable[[Batch], Batch] | None = None

    @cached_property
    def said(self) -> pd.DataFrame:
        """Per image ``label, predicted, probability`` and the group columns of the data; index image id."""
        logits = torch.cat([self._pass(rows).logits for rows in _chunks(self.ids)])
        top = logits.softmax(1).max(1)
        table = self.data.table().loc[list(self.ids)]
        return table.assign(predicted=top.indices.numpy(), probability=top.values.double().numpy())

    def load(self, ids: tuple[str, ...]) -> Batch:
        """The images, edited."""
        batch = self.data.load(ids)
        return batch if self.edit is None else self.edit(batch)

    def _pass(self, ids: tuple[str, ...]) -> Pass:
        return Pass(self.model, self.load(ids), self.data.mean, self.seed, CHUNK)

    def edited(self, name: str, edit: Callable[[Batch], Batch]) -> "Subject":
        """The same with other images; the explained classes stay those of the images as they were."""
        other = replace(self, name=name, edit=edit)
        other.__dict__["said"] = self.said
        return other

    def first(self, count: int) -> "Subject":
        """The same with every k-th of its images, about so many."""
        step = max(1, len(self.ids) // count)
        return replace(self, ids=self.ids[::step][:count])


def subject(name: str, data: str, options: Params, *, per_group: int, attribute: str, seed: int) -> Subject:
    """A registered model on a registered data set, with as many images of every group.

    Args:
        name: the model.
        data: the data set.
        options: its parameters.
        per_group: images per group.
        attribute: the groups.
        seed: of the draw, and of all that follow.
    """
    made = datasets[data].make(options)
    opened, _ = open_models([name], torch.device("cpu"), made, target=None, split=None)
    model = next(iter(opened.values()))[0]
    ids = sampling.sample(made.table(), attribute, per_group, None, seed)
    return Subject(name, model, made, tuple(ids), seed)


@dataclass(frozen=True)
class Scores:
    """A table of scores.

    Attributes:
        table: a row per image, a column per (map, metric); NaN where there is no value.
        failed: maps and metrics that raised, with the reason.
    """

    table: pd.DataFrame
    failed: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def of(self, explainer: str, metric: str) -> Floats:
        """``(n,)`` values of one map under one metric."""
        if (explainer, metric) not in self.table.columns:
            raise MavisError(
                f"The meta-evaluation has no {metric} of {explainer}; {self.failed or 'it was not asked'}."
            )
        return self.table[explainer, metric].to_numpy(dtype=np.float64)

    def mean(self, explainer: str, metric: str) -> float:
        """Mean over the images that have a value."""
        values = self.of(explainer, metric)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def maps(self, metric: str) -> list[str]:
        """Names of the maps that were asked about under a metric, sorted."""
        return sorted({str(pair[0]) for pair in self.table.columns.to_list() if pair[1] == metric})

    def labels(self, start: str) -> list[str]:
        """Labels of the metrics that begin so, sorted."""
        return sorted({str(pair[1]) for pair in self.table.columns.to_list() if str(pair[1]).startswith(start)})

    def has(self, explainer: str, metric: str) -> bool:
        """Whether any image has a value."""
        return (explainer, metric) in self.table.columns and bool(np.isfinite(self.of(explainer, metric)).any())


def scored(on: Subject, maps: Sequence[Part], asked: Settings, *, grid: int, variants: bool = False) -> Scores:
    """Scores of every map under every metric.

    Args:
        on: model and images.
        maps: explainers, registered or not; each name once.
        asked: metrics with their parameters.
        grid: cells per side.
        variants: whether metrics that explain again are asked too.
    """
    devices.exact()
    parts = [_metric(label, params) for label, params in asked.items()]
    targets = dict(zip(on.ids, (int(k) for k in on.said["predicted"]), strict=True))
    job = explain.Job(
        model=on.model,
        data=_Loading(on),  # type: ignore[arg-type] # all that a job asks of its data is to load
        line=Line(tuple(maps), tuple(parts)),
        targets=targets,
        mean=on.data.mean,
        seed=on.seed,
        grid=grid,
        chunk=CHUNK,
        reference=Reference(on.data.load(on.ids[:REFERENCE]).images, on.ids[:REFERENCE]),
    )
    cells = tuple(Cell(f"{e.name}/{m.name}", e.name, m.name, None) for e in maps for m in parts)
    block = Block("meta-evaluation", on.name, on.ids, cells, variants)
    found = execute.run(job, block)
    table = found.scores.pivot(index="image", columns=["explainer", "metric"], values="value").reindex(list(on.ids))
    rows = found.scores[found.scores["status"] == "error"]
    failed = {(str(e), str(m)): str(why) for e, m, why in rows[["explainer", "metric", "reason"]].to_numpy()}
    return Scores(table, failed)


class _Loading:
    """As much of a data set as a job asks for."""

    def __init__(self, on: Subject) -> None:
        self.load = on.load


def _metric(label: str, params: Params) -> Part:
    entry = metrics[metric_of(label)]
    return Part(label, dict(params), entry.traits, entry.make(params))


def _chunks(ids: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
