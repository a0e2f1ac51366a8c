"""Tasks: what all blocks of one model have in common, as a picklable specification and as open objects."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mavis.core import devices
from mavis.core.errors import ModelError
from mavis.core.process_state import standard_settings
from mavis.core.types import Dataset, Model
from mavis.datasets.loading.open import open_data
from mavis.engine.execution.explain import ModelTask
from mavis.engine.planning.plan import Components, build_components
from mavis.engine.planning.setup import RunPlan
from mavis.engine.sample import load_reference
from mavis.models.loading.open import open_models


@dataclass(frozen=True)
class TaskSpec:
    """Everything a worker needs to execute blocks of one model: names, paths and plain values, so that it pickles.

    Attributes:
        model: the model as the user named it: a registered name, a folder or a spec.
        model_revision: content hash of the model that was planned.
        data: the data set as the user named it.
        target: the label.
        split: which part of the data, or None.
        image_size: side of the images, in pixels.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        folder: the working folder: relative paths start here, and its ``mavis.toml`` names the user's plug-ins.
        explainers: name and parameters of each.
        metrics: label and parameters of each.
        targets: per image id the explained class.
        reference_ids: ids of the images that stand for the data set.
        seed: the run's.
        grid: cells per side.
        chunk: maximum number of samples in one model call.
        gallery_ids: ids of the images whose maps are kept for the gallery.
        agreement_top: share of cells that count as top ones where methods are compared; None where they are not.
        used_parts: face parts that the model was shown to use; None where localisation is scored against the data's.
    """

    model: str
    model_revision: str
    data: str
    target: str
    split: str | None
    image_size: int
    device: str
    folder: str
    explainers: tuple[tuple[str, Mapping[str, Any]], ...]
    metrics: tuple[tuple[str, Mapping[str, Any]], ...]
    targets: Mapping[str, int]
    reference_ids: tuple[str, ...]
    seed: int
    grid: int
    chunk: int
    gallery_ids: frozenset[str] = frozenset()
    agreement_top: float | None = None
    used_parts: tuple[str, ...] | None = None


def make_task_spec(
    plan: RunPlan, model_name: str, predictions: pd.DataFrame, used_parts: tuple[str, ...] | None
) -> TaskSpec:
    """The specification of one model's task.

    Args:
        plan: of the run.
        model_name: one of ``plan.models``.
        predictions: the model's rows: ``image, label, predicted``.
        used_parts: face parts that the model was shown to use, or None.
    """
    protocol, sample, components = plan.protocol, plan.sample, plan.components
    classes = predictions["predicted"] if protocol.target.policy == "predicted" else predictions["label"]
    return TaskSpec(
        model=plan.request.models[list(plan.models).index(model_name)],
        model_revision=plan.models[model_name][0].revision,
        data=plan.request.data,
        target=sample.data.target,
        split=plan.request.split,
        image_size=sample.image_size,
        device=plan.request.device,
        folder=str(Path.cwd()),
        explainers=tuple((component.name, component.params) for component in components.explainers),
        metrics=tuple((component.name, component.params) for component in components.metrics),
        targets=dict(zip(predictions["image"], (int(code) for code in classes), strict=True)),
        reference_ids=sample.reference_ids,
        seed=protocol.seed,
        grid=protocol.grid,
        chunk=plan.chunk,
        gallery_ids=sample.gallery_ids,
        agreement_top=protocol.agreement.top if protocol.agreement else None,
        used_parts=used_parts,
    )


def build_task(
    spec: TaskSpec,
    model: Model,
    data: Dataset,
    components: Components,
    tick: Callable[[float], None] = lambda _: None,
) -> ModelTask:
    """The task of a specification whose model, data and components are open.

    Args:
        spec: see `TaskSpec`.
        model: prepared, on its device.
        data: where the images come from.
        components: explainers and metrics.
        tick: called with the work that was done, in forwards.
    """
    return ModelTask(
        model=model,
        data=data,
        components=components,
        targets=spec.targets,
        mean_colour=data.mean.to(model.device),
        seed=spec.seed,
        grid=spec.grid,
        chunk=spec.chunk,
        gallery_ids=spec.gallery_ids,
        reference=load_reference(data, spec.reference_ids, model.device),
        agreement_top=spec.agreement_top,
        used_parts=spec.used_parts,
        tick=tick,
    )


def open_task(spec: TaskSpec) -> ModelTask:
    """Opens the model, the data and the components of a specification; what a worker does once per model.

    The process changes to the specification's working folder: a worker is a process of its own.

    Raises:
        MavisError: a name is not found here, or the model is another one than the one that was planned.
    """
    os.chdir(spec.folder)
    return _open_task_here(spec)


@standard_settings()
def _open_task_here(spec: TaskSpec) -> ModelTask:
    """See `open_task`."""
    components = build_components(spec.explainers, spec.metrics)
    data = open_data(spec.data, target=spec.target, split=spec.split, size=spec.image_size)
    models, _ = open_models([spec.model], devices.resolve(spec.device), data, target=spec.target, split=spec.split)
    ((model, _),) = models.values()
    if model.revision != spec.model_revision:
        raise ModelError(
            f"'{spec.model}' is another model here: expected revision {spec.model_revision}, got {model.revision}."
        )
    return build_task(spec, model, data, components)
