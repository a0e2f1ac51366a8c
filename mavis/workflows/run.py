"""The whole program: what the user asked for -> a run directory -> findings -> a report."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from mavis import report
from mavis.analysis import model_validity
from mavis.analysis.findings import Findings
from mavis.analysis.groups import bootstrap_settings
from mavis.core import devices
from mavis.core.types import Dataset, Model
from mavis.engine.execution import explain
from mavis.engine.execution.scheduler import SILENT, Progress, execute_blocks
from mavis.engine.model_checks import imputer_reliability, part_reliance, training_leakage
from mavis.engine.planning.request import Request
from mavis.engine.planning.setup import RunPlan, load_reference, plan_run
from mavis.engine.provenance import run_identity
from mavis.engine.sample import Sample, prediction_table
from mavis.engine.store import ModelCheck, Store
from mavis.models.loading.open import LoadedModels
from mavis.protocol.schema import Protocol
from mavis.workflows import summarise

MODEL_CHECKS: Mapping[ModelCheck, Callable[[Model, Sample, Protocol, int], pd.DataFrame]] = {
    "reliability": imputer_reliability.measure_reliability,
    "leak": training_leakage.measure_leakage,
    "reliance": part_reliance.measure_reliance,
}
"""What is measured of a model and the sample before any map is made."""


def run_benchmark(
    request: Request, folder: Path, progress: Progress = SILENT, *, loaded: tuple[LoadedModels, Dataset] | None = None
) -> Findings:
    """Runs what was asked for, or what is left of it, and reports.

    Args:
        request: see `Request`.
        folder: the run directory; one that holds the same run is continued.
        progress: told what goes on.
        loaded: models and data that are at hand already; by default they are opened by name.

    Raises:
        MavisError: before anything is written.
    """
    plan = plan_run(request, loaded)
    store, images = start_run(plan, folder)
    execute_run(plan, store, images, progress)
    return write_report(folder)


def start_run(plan: RunPlan, folder: Path) -> tuple[Store, pd.DataFrame]:
    """The run directory, new or to be continued, with what the models say of every image.

    Raises:
        StoreError: the folder belongs to something else.
    """
    store = Store.open_or_create(folder, run_identity(plan))
    models, sample = [model for model, _ in plan.models.values()], plan.sample
    predictions = [
        devices.halve_until_it_fits(plan.chunk, partial(prediction_table, model, sample)) for model in models
    ]
    store.write_images(pd.concat(predictions))
    for what, measure in MODEL_CHECKS.items():
        if not store.has_check(what):  # once: what follows from it must be the same when a run is continued
            done = [
                devices.halve_until_it_fits(plan.chunk, partial(measure, model, sample, plan.protocol))
                for model in models
            ]
            store.write_check(what, pd.concat(done))
    return store, pd.concat(predictions)


def execute_run(plan: RunPlan, store: Store, images: pd.DataFrame, progress: Progress) -> None:
    """Executes the blocks that are not done."""
    reliance = store.read_check("reliance")
    tasks = {name: _make_task(plan, model, images, reliance, progress) for name, (model, _) in plan.models.items()}
    execute_blocks(plan, tasks, store, progress)


def write_report(folder: Path) -> Findings:
    """Findings of a run, finished or not, and its report in the same folder."""
    store = Store.open_existing(folder)
    findings = summarise.build_findings(store)
    report.write_report(folder / "report", findings, summarise.curve_means(store), summarise.gallery_tiles(store))
    return findings


def _make_task(
    plan: RunPlan, model: Model, images: pd.DataFrame, reliance: pd.DataFrame, progress: Progress
) -> explain.ModelTask:
    rows = images[images["model"] == model.name]
    model_reliance = reliance[reliance["model"] == model.name] if len(reliance) else reliance
    parts = model_validity.assess_part_reliance(
        model_reliance, rows.set_index("image"), bootstrap_settings(plan.protocol), plan.protocol.reliance
    )
    target_labels = rows["predicted"] if plan.protocol.target.policy == "predicted" else rows["label"]
    return explain.ModelTask(
        model=model,
        data=plan.sample.data,
        components=plan.components,
        targets=dict(zip(rows["image"], (int(t) for t in target_labels), strict=True)),
        mean_colour=plan.sample.data.mean.to(plan.device),
        seed=plan.protocol.seed,
        grid=plan.protocol.grid,
        chunk=plan.chunk,
        gallery_ids=plan.sample.gallery_ids,
        reference=load_reference(plan.sample, plan.device),
        agreement_top=plan.protocol.agreement.top if plan.protocol.agreement else None,
        used_parts=tuple(one.part for one in parts if one.used) if parts else None,
        tick=progress.work,
    )
