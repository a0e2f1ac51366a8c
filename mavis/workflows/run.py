"""``mavis run``: plan, measure the models, execute blocks, summarise, report; the whole program on one screen."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from mavis import report
from mavis.analysis import model_validity
from mavis.analysis.findings import Findings
from mavis.analysis.groups import bootstrap_settings
from mavis.core import devices
from mavis.core.process_state import standard_settings
from mavis.core.types import Dataset, Model
from mavis.engine.execution import isolation
from mavis.engine.execution.explain import ModelTask
from mavis.engine.execution.scheduler import SILENT, Executor, LocalExecutor, Progress, execute_blocks
from mavis.engine.execution.task import build_task, make_task_spec
from mavis.engine.model_checks import imputer_reliability, part_reliance, training_leakage
from mavis.engine.planning.plan import shard_blocks
from mavis.engine.planning.request import Request
from mavis.engine.planning.setup import RunPlan, plan_run
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
"""Measured of every model before any map is made."""


@standard_settings()
def run_benchmark(
    request: Request, folder: Path, progress: Progress = SILENT, *, loaded: tuple[LoadedModels, Dataset] | None = None
) -> Findings:
    """Runs a benchmark, or the part of it that is left, and writes its report.

    Args:
        request: see `Request`.
        folder: the run directory; one that holds the same run is continued.
        progress: callbacks while it runs.
        loaded: models and data that are open already; by default they are opened by name.

    Raises:
        MavisError: before anything is written.
    """
    plan = plan_run(request, loaded)
    store = Store.open_or_create(folder, run_identity(plan))
    measure_models(plan, store)
    execute_run(plan, store, progress)
    return write_report(folder)


def measure_models(plan: RunPlan, store: Store) -> None:
    """Stores every model's predictions and the results of the model checks.

    A check that is stored already is not repeated: which parts count as used must stay the same in a continued run.
    """
    models, sample = [model for model, _ in plan.models.values()], plan.sample
    store.write_images(_concat(plan, [partial(prediction_table, model, sample) for model in models]))
    for check, measure in MODEL_CHECKS.items():
        if not store.has_check(check):
            tables = [partial(measure, model, sample, plan.protocol) for model in models]
            store.write_check(check, _concat(plan, tables))


def execute_run(plan: RunPlan, store: Store, progress: Progress) -> None:
    """Executes the blocks that the store does not hold, on the models that are open here."""
    predictions, reliance = store.images(), store.read_check("reliance")
    specs, tasks = {}, {}
    for name, (model, _) in plan.models.items():
        used_parts = _used_parts(plan.protocol, _rows_of(predictions, name), _rows_of(reliance, name))
        specs[name] = make_task_spec(plan, name, _rows_of(predictions, name), used_parts)
        tasks[name] = build_task(specs[name], model, plan.sample.data, plan.components, progress.work)
    execute_blocks(
        shard_blocks(plan.blocks, plan.request.shard),
        specs,
        store,
        _executor(plan, tasks),
        costs={name: of_model.cost for name, of_model in plan.by_model.items()},
        progress=progress,
    )


def _executor(plan: RunPlan, tasks: Mapping[str, ModelTask]) -> Executor:
    """All in this process, but for plug-ins that are not MAVIS's own."""
    if not isolation.has_foreign(plan.components):
        return LocalExecutor(tasks)
    by_name = plan.by_name and isolation.are_loadable(plan.components, Path.cwd())
    return isolation.IsolatingExecutor(tasks, by_name, plan.request.block_timeout)


@standard_settings()
def write_report(folder: Path) -> Findings:
    """Findings of a run, finished or not, and its report in the same folder."""
    store = Store.open_existing(folder)
    findings = summarise.build_findings(store)
    report.write_report(folder / "report", findings, summarise.curve_means(store), summarise.gallery_tiles(store))
    return findings


def _concat(plan: RunPlan, tables: Sequence[Callable[[int], pd.DataFrame]]) -> pd.DataFrame:
    """One table of several, each made with a batch size that fits into memory."""
    return pd.concat([devices.halve_until_it_fits(plan.chunk, table) for table in tables])


def _used_parts(protocol: Protocol, predictions: pd.DataFrame, reliance: pd.DataFrame) -> tuple[str, ...] | None:
    """Face parts that the model was shown to use; None where that was not measured."""
    parts = model_validity.assess_part_reliance(
        reliance, predictions.set_index("image"), bootstrap_settings(protocol), protocol.reliance
    )
    return tuple(part.part for part in parts if part.used) if parts else None


def _rows_of(table: pd.DataFrame, model: str) -> pd.DataFrame:
    return table[table["model"] == model] if len(table) else table
