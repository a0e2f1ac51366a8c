"""Score tables of maps on a model and its images, computed by the engine that scores every run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch

from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.errors import MavisError
from mavis.core.model_pass import Pass
from mavis.core.registry import datasets, metric_name, metrics
from mavis.core.types import Batch, Dataset, Model, ReferenceImages
from mavis.datasets.loading import sampling
from mavis.engine.execution import explain
from mavis.engine.execution.block import run_block
from mavis.engine.planning.plan import Block, Cell, Component, Components
from mavis.models.loading.open import open_models
from mavis.protocol.schema import Params

CHUNK_SIZE = 64
N_REFERENCE = 10

MetricParams = Mapping[str, Params]
"""Metrics by label, with their parameters."""


@dataclass(frozen=True)
class Subject:
    """A model and the images on which it is explained.

    Attributes:
        name: name in messages and tables.
        model: the prepared model, on the CPU.
        data: the data set of the images.
        ids: ids of the images.
        seed: seed of every draw.
        transform: edit of a batch after it is loaded, or None.
    """

    name: str
    model: Model
    data: Dataset
    ids: tuple[str, ...]
    seed: int
    transform: Callable[[Batch], Batch] | None = None

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Per image ``label, predicted, probability`` and the group columns of the data; index image id."""
        logits = torch.cat([self._model_pass(rows).logits for rows in _chunks(self.ids)])
        top = logits.softmax(1).max(1)
        table = self.data.table().loc[list(self.ids)]
        return table.assign(predicted=top.indices.numpy(), probability=top.values.double().numpy())

    def load(self, ids: tuple[str, ...]) -> Batch:
        """The images, after the transform."""
        batch = self.data.load(ids)
        return batch if self.transform is None else self.transform(batch)

    def _model_pass(self, ids: tuple[str, ...]) -> Pass:
        return Pass(self.model, self.load(ids), self.data.mean, self.seed, CHUNK_SIZE)

    def with_transform(self, name: str, transform: Callable[[Batch], Batch]) -> "Subject":
        """A copy with edited images; the explained classes stay those of the unedited images."""
        edited = replace(self, name=name, transform=transform)
        edited.__dict__["predictions"] = self.predictions
        return edited

    def subset(self, n_images: int) -> "Subject":
        """A copy with every k-th image, about ``n_images`` in all."""
        step = max(1, len(self.ids) // n_images)
        return replace(self, ids=self.ids[::step][:n_images])


def load_subject(name: str, data: str, data_params: Params, *, per_group: int, attribute: str, seed: int) -> Subject:
    """A registered model on a registered data set, with as many images of every group.

    Args:
        name: the model.
        data: the data set.
        data_params: parameters of the data set.
        per_group: images per group.
        attribute: the column that defines the groups.
        seed: seed of the draw, and of all that follow.
    """
    dataset = datasets[data].create(data_params)
    models, _ = open_models([name], torch.device("cpu"), dataset, target=None, split=None)
    model = next(iter(models.values()))[0]
    ids = sampling.stratified_sample(dataset.table(), attribute, per_group, None, seed)
    return Subject(name, model, dataset, tuple(ids), seed)


@dataclass(frozen=True)
class MapScores:
    """A table of scores.

    Attributes:
        table: a row per image, a column per (map, metric); NaN where there is no value.
        failures: maps and metrics that raised, with the reason.
    """

    table: pd.DataFrame
    failures: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def values(self, explainer: str, metric: str) -> Floats:
        """``(n,)`` values of one map under one metric."""
        if (explainer, metric) not in self.table.columns:
            raise MavisError(
                f"The meta-evaluation has no {metric} of {explainer}; failures: {self.failures or 'none'}."
            )
        return self.table[explainer, metric].to_numpy(dtype=np.float64)

    def mean(self, explainer: str, metric: str) -> float:
        """Mean over the images that have a value."""
        values = self.values(explainer, metric)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def map_names(self, metric: str) -> list[str]:
        """Names of the maps that were scored under a metric, sorted."""
        return sorted({str(pair[0]) for pair in self.table.columns.to_list() if pair[1] == metric})

    def metric_labels(self, prefix: str) -> list[str]:
        """Labels of the metrics that begin with a prefix, sorted."""
        return sorted({str(pair[1]) for pair in self.table.columns.to_list() if str(pair[1]).startswith(prefix)})

    def has(self, explainer: str, metric: str) -> bool:
        """True where at least one image has a value."""
        return (explainer, metric) in self.table.columns and bool(np.isfinite(self.values(explainer, metric)).any())


def score_maps(
    subject: Subject, explainers: Sequence[Component], metric_params: MetricParams, *, grid: int, variants: bool = False
) -> MapScores:
    """Scores of every map under every metric.

    Args:
        subject: model and images.
        explainers: explainers, registered or not; each name once.
        metric_params: metrics with their parameters.
        grid: cells per side.
        variants: also compute metrics that explain again.
    """
    components = [_metric_component(label, params) for label, params in metric_params.items()]
    targets = dict(zip(subject.ids, (int(k) for k in subject.predictions["predicted"]), strict=True))
    task = explain.ModelTask(
        model=subject.model,
        data=_ImageLoader(subject),  # type: ignore[arg-type] # a task only loads images
        components=Components(tuple(explainers), tuple(components)),
        targets=targets,
        mean_colour=subject.data.mean,
        seed=subject.seed,
        grid=grid,
        chunk=CHUNK_SIZE,
        reference=ReferenceImages(subject.data.load(subject.ids[:N_REFERENCE]).images, subject.ids[:N_REFERENCE]),
    )
    cells = tuple(
        Cell(f"{explainer.name}/{metric.name}", explainer.name, metric.name, None)
        for explainer in explainers
        for metric in components
    )
    block = Block("meta-evaluation", subject.name, subject.ids, cells, variants)
    result = run_block(task, block)
    table = result.scores.pivot(index="image", columns=["explainer", "metric"], values="value").reindex(
        list(subject.ids)
    )
    errors = result.scores[result.scores["status"] == "error"]
    failures = {
        (str(explainer), str(metric)): str(reason)
        for explainer, metric, reason in errors[["explainer", "metric", "reason"]].to_numpy()
    }
    return MapScores(table, failures)


class _ImageLoader:
    """The part of a data set that a model task uses: loading images."""

    def __init__(self, subject: Subject) -> None:
        self.load = subject.load


def _metric_component(label: str, params: Params) -> Component:
    entry = metrics[metric_name(label)]
    return Component(label, dict(params), entry.traits, entry.create(params))


def _chunks(ids: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [ids[start : start + CHUNK_SIZE] for start in range(0, len(ids), CHUNK_SIZE)]
