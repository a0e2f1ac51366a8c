"""The whole program: what the user asked for -> a run directory -> findings -> a report."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from mavis import report
from mavis.analysis import model_validity
from mavis.analysis.findings import Findings
from mavis.analysis.groups import rules_of
from mavis.core import devices
from mavis.core.types import Dataset, Model
from mavis.engine.execution import explain
from mavis.engine.execution.scheduler import SILENT, Progress, execute_blocks
from mavis.engine.model_checks import imputer_reliability, part_reliance, training_leakage
from mavis.engine.planning.request import Request
from mavis.engine.planning.setup import Planned, _reference, plan
from mavis.engine.provenance import identity
from mavis.engine.sample import Sample, predictions
from mavis.engine.store import Measured, Store
from mavis.models.loading.open import Opened
from mavis.protocol.schema import Protocol
from mavis.workflows import summarise

MEASURES: Mapping[Measured, Callable[[Model, Sample, Protocol, int], pd.DataFrame]] = {
    "reliability": imputer_reliability.measure,
    "leak": training_leakage.measure,
    "reliance": part_reliance.measure,
}
"""What is measured of a model and the sample before any map is made."""


def run(
    request: Request, folder: Path, progress: Progress = SILENT, *, opened: tuple[Opened, Dataset] | None = None
) -> Findings:
    """Runs what was asked for, or what is left of it, and reports.

    Args:
        request: see `Request`.
        folder: the run directory; one that holds the same run is continued.
        progress: told what goes on.
        opened: models and data that are at hand already; by default they are opened by name.

    Raises:
        MavisError: before anything is written.
    """
    planned = plan(request, opened)
    store, images = begin(planned, folder)
    work(planned, store, images, progress)
    return report_on(folder)


def begin(planned: Planned, folder: Path) -> tuple[Store, pd.DataFrame]:
    """The run directory, new or to be continued, with what the models say of every image.

    Raises:
        StoreError: the folder belongs to something else.
    """
    store = Store.opened(folder, identity(planned))
    models, drawn = [model for model, _ in planned.models.values()], planned.sample
    said = [devices.fitting(planned.chunk, partial(predictions, model, drawn)) for model in models]
    store.write_images(pd.concat(said))
    for what, measure in MEASURES.items():
        if not store.has(what):  # once: what follows from it must be the same when a run is continued
            done = [
                devices.fitting(planned.chunk, partial(measure, model, drawn, planned.protocol)) for model in models
            ]
            store.write_measured(what, pd.concat(done))
    return store, pd.concat(said)


def work(planned: Planned, store: Store, images: pd.DataFrame, progress: Progress) -> None:
    """Executes the blocks that are not done."""
    moved = store.measured("reliance")
    jobs = {name: _job(planned, model, images, moved, progress) for name, (model, _) in planned.models.items()}
    execute_blocks(planned, jobs, store, progress)


def report_on(folder: Path) -> Findings:
    """Findings of a run, finished or not, and its report in the same folder."""
    store = Store.existing(folder)
    found = summarise.findings(store)
    report.write(folder / "report", found, summarise.curve_means(store), summarise.tiles(store))
    return found


def _job(planned: Planned, model: Model, images: pd.DataFrame, moved: pd.DataFrame, progress: Progress) -> explain.Job:
    rows = images[images["model"] == model.name]
    own = moved[moved["model"] == model.name] if len(moved) else moved
    found = model_validity.reliance(own, rows.set_index("image"), rules_of(planned.protocol), planned.protocol.reliance)
    explained = rows["predicted"] if planned.protocol.target.policy == "predicted" else rows["label"]
    return explain.Job(
        model=model,
        data=planned.sample.data,
        line=planned.line,
        targets=dict(zip(rows["image"], (int(t) for t in explained), strict=True)),
        mean=planned.sample.data.mean.to(planned.device),
        seed=planned.protocol.seed,
        grid=planned.protocol.grid,
        chunk=planned.chunk,
        keep=planned.sample.shown,
        reference=_reference(planned.sample, planned.device),
        agreement=planned.protocol.agreement.top if planned.protocol.agreement else None,
        truth=tuple(one.part for one in found if one.used) if found else None,
        tick=progress.work,
    )
