"""The whole program: what the user asked for -> a run directory -> findings -> a report."""

import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mavis import (
    costs,
    device,
    execute,
    explaining,
    leak,
    protocol,
    reliability,
    reliance,
    report,
    results,
    support,
    validity,
)
from mavis.findings import Findings
from mavis.leaderboard import rules_of
from mavis.plan import (
    Block,
    Cell,
    Line,
    Subject,
    blocks,
    cells,
    check_names,
    known_faulty,
    line_up,
    share,
    with_reference,
)
from mavis.rules import Protocol
from mavis.store import Measured, Store
from mavis.subjects import DEFAULT_DATA, Opened, Sample, draw_sample, open_models, predictions
from mavis.types import Dataset, Model, Reference


@dataclass(frozen=True)
class Request:
    """What the user asked for; None leaves a thing to the protocol or to the machine."""

    models: tuple[str, ...]
    data: str = DEFAULT_DATA
    target: str | None = None
    split: str | None = None
    explainers: tuple[str, ...] = ("all",)
    metrics: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    protocol: str | Protocol = "quick"
    limit: int | None = None
    seed: int | None = None
    device: str = "auto"
    batch_size: int | None = None
    shard: tuple[int, int] = (1, 1)
    allow_known_faulty: bool = False


@dataclass(frozen=True)
class Progress:
    """What is told while a run goes on; every part may be left out.

    Attributes:
        begin: total work in forwards, how much of it was done before, number of blocks, number done before.
        block: name of the model, number of the block, its images and its work.
        work: work that was done.
    """

    begin: Callable[[float, float, int, int], None] = lambda *_: None
    block: Callable[[str, int, int, float], None] = lambda *_: None
    work: Callable[[float], None] = lambda _: None


SILENT = Progress()

MEASURES: Mapping[Measured, Callable[[Model, Sample, Protocol, int], pd.DataFrame]] = {
    "reliability": reliability.measure,
    "leak": leak.measure,
    "reliance": reliance.measure,
}
"""What is measured of a model and the sample before any map is made."""


@dataclass(frozen=True)
class Planned:
    """Everything that is decided before the first map is made."""

    protocol: Protocol
    line: Line
    models: Opened
    sample: Sample
    cells: dict[str, tuple[Cell, ...]]
    blocks: tuple[Block, ...]
    costs: dict[str, costs.Estimate]
    tried: dict[str, support.Tried]
    chunk: int
    device: torch.device
    request: Request = field(repr=False)


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
    said = [device.fitting(planned.chunk, partial(predictions, model, drawn)) for model in models]
    store.write_images(pd.concat(said))
    for what, measure in MEASURES.items():
        if not store.has(what):  # once: what follows from it must be the same when a run is continued
            done = [device.fitting(planned.chunk, partial(measure, model, drawn, planned.protocol)) for model in models]
            store.write_measured(what, pd.concat(done))
    return store, pd.concat(said)


def plan(request: Request, opened: tuple[Opened, Dataset] | None = None) -> Planned:
    """Checks every name and parameter, opens models and data, draws the sample, lays out cells and blocks.

    Args:
        request: see `Request`.
        opened: models and data that are at hand already; by default they are opened by name.
    """
    device.exact()
    rules = _rules(request)
    line = line_up(rules, request.explainers, allow_known_faulty=request.allow_known_faulty)
    place = device.resolve(request.device)
    if opened is None:
        check_names(request.models, request.data)
        opened = open_models(request.models, place, request.data, target=request.target, split=request.split)
    models, data = opened
    sample = draw_sample(data, rules, request.limit)
    line = with_reference(line, rules, truth=sample.truth)
    one = sample.data.load(sample.ids[:1])
    chunk = request.batch_size or device.default_chunk(place, one.images.nbytes)
    laid: dict[str, tuple[Cell, ...]] = {}
    every: list[Block] = []
    estimates, tried = {}, {}
    for model, _ in models.values():
        found = tried[model.name] = _tried(line, model, sample, rules, chunk)
        subject = Subject(
            model.name, model.revision, sample.revision, model.can, sample.truth, sample.rerender, found.unfit
        )
        laid[model.name] = cells(subject, line, rules)
        every += blocks(subject, laid[model.name], sample.ids, sample.varied)
        counts = (len(sample.ids), len(sample.varied))
        counted = costs.estimate(line, laid[model.name], model, one, counts, rules.grid, found.costs)
        estimates[model.name] = replace(counted, before=_before(sample, rules))
    return Planned(rules, line, models, sample, laid, tuple(every), estimates, tried, chunk, place, request)


def _before(sample: Sample, rules: Protocol) -> int:
    """Forwards before any map is made: predictions, reliability and reliance."""
    return len(sample.ids) + reliability.forwards(sample, rules) + reliance.forwards(sample, rules)


def _tried(line: Line, model: Model, sample: Sample, rules: Protocol, chunk: int) -> support.Tried:
    """Every explainer of the run tried on the first images of the sample."""
    return support.assess(
        line.explainers,
        model,
        sample.data.load(sample.ids[: support.IMAGES]).to(model.device),
        sample.data.mean.to(model.device),
        seed=rules.seed,
        chunk=chunk,
        reference=_reference(sample, model.device),
    )


def work(planned: Planned, store: Store, images: pd.DataFrame, progress: Progress) -> None:
    """Executes the blocks that are not done; every block is stored before the next begins."""
    mine = share(planned.blocks, planned.request.shard)
    todo = [block for block in mine if not store.done(block.id)]
    whole, rest = (sum(_block_work(planned, block) for block in some) for some in (mine, todo))
    progress.begin(whole, whole - rest, len(mine), len(mine) - len(todo))
    moved = store.measured("reliance")
    jobs = {name: _job(planned, model, images, moved, progress) for name, (model, _) in planned.models.items()}
    for number, block in enumerate(todo, start=1 + len(mine) - len(todo)):
        progress.block(block.model, number, len(block.images), _block_work(planned, block))
        store.write(block.id, execute.run(jobs[block.model], block))


def report_on(folder: Path) -> Findings:
    """Findings of a run, finished or not, and its report in the same folder."""
    store = Store.existing(folder)
    found = results.findings(store)
    report.write(folder / "report", found, results.curve_means(store), results.tiles(store))
    return found


def identity(planned: Planned) -> dict[str, Any]:
    """What the numbers belong to: the content of ``run.json``."""
    data = planned.sample.data
    return {
        "mavis": version("mavis-xai"),
        "protocol": planned.protocol.model_dump(mode="json", by_alias=True),
        "protocol_sha256": planned.protocol.sha256(),
        "overrides": list(planned.protocol.overrides),
        "seed": planned.protocol.seed,
        "models": {
            model.name: {"revision": model.revision, "card": dict(model.card), "preflight": list(done)}
            for model, done in planned.models.values()
        },
        "data": {
            "name": data.name,
            "target": data.target,
            "classes": list(data.classes),
            "attributes": {name: list(values) for name, values in data.attributes.items()},
            "provenance": data.provenance,
            "revision": planned.sample.revision,
            "notes": list(planned.sample.notes),
            "images": len(planned.sample.ids),
        },
        "explainers": {part.name: dict(part.params) for part in planned.line.explainers},
        "support": {name: tried.as_json() for name, tried in planned.tried.items()},
        "skipped": {
            name: [[c.explainer, c.metric, c.skipped] for c in found if c.skipped]
            for name, found in planned.cells.items()
        },
        "blocks": [block.id for block in planned.blocks],
        "device": _device_name(planned.device),
        "versions": {
            name: version(name) for name in ("torch", "torchvision", "captum", "quantus", "numpy", "pandas", "scipy")
        },
        "git": _git(),
    }


def _rules(request: Request) -> Protocol:
    """The protocol with what the command line changed, noted."""
    rules = request.protocol if isinstance(request.protocol, Protocol) else protocol.load(request.protocol)
    kept = None
    if request.metrics is not None:
        kept = {name: rules.metrics.get(name, {}) for name in request.metrics}
    rules = protocol.changed(
        rules, seed=request.seed, data__groups=list(request.groups) if request.groups else None, metrics=kept
    )
    noted = [] if request.limit is None else [f"limit = {request.limit}"]
    if request.allow_known_faulty and known_faulty(rules):
        noted.append(f"allow_known_faulty = {', '.join(known_faulty(rules))}")
    return rules.model_copy(update={"overrides": (*rules.overrides, *noted)})


def _block_work(planned: Planned, block: Block) -> float:
    cost = planned.costs[block.model]
    each = float(cost.probes)
    for name, one in cost.maps.items():
        each += one.work * (1 + cost.passes(name) * block.variants) + cost.sweeps
    return each * len(block.images)


def _job(
    planned: Planned, model: Model, images: pd.DataFrame, moved: pd.DataFrame, progress: Progress
) -> explaining.Job:
    rows = images[images["model"] == model.name]
    own = moved[moved["model"] == model.name] if len(moved) else moved
    found = validity.reliance(own, rows.set_index("image"), rules_of(planned.protocol), planned.protocol.reliance)
    explained = rows["predicted"] if planned.protocol.target.policy == "predicted" else rows["label"]
    return explaining.Job(
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


def _reference(drawn: Sample, place: torch.device) -> Reference:
    return Reference(drawn.data.load(drawn.reference).images.to(place), drawn.reference)


def _device_name(place: torch.device) -> str:
    if place.type == "cuda":
        return f"{place}: {torch.cuda.get_device_name(place)}"
    return f"{place}: {platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def _git() -> str | None:
    """Commit of the working folder, where it is one."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
