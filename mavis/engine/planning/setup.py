"""Setup."""

from dataclasses import dataclass, field, replace

import torch

from mavis.core import devices
from mavis.core.types import Dataset, Model, Reference
from mavis.engine.model_checks import imputer_reliability, part_reliance
from mavis.engine.planning import compatibility
from mavis.engine.planning import cost_estimate as costs
from mavis.engine.planning.plan import Block, Cell, Line, Subject, blocks, cells, check_names, line_up, with_reference
from mavis.engine.planning.request import Request
from mavis.engine.sample import Sample, draw_sample
from mavis.models.loading.open import Opened, open_models
from mavis.protocol import loading as protocol
from mavis.protocol.checks import known_faulty
from mavis.protocol.schema import Protocol


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
    tried: dict[str, compatibility.Tried]
    chunk: int
    device: torch.device
    request: Request = field(repr=False)


def plan(request: Request, opened: tuple[Opened, Dataset] | None = None) -> Planned:
    """Checks every name and parameter, opens models and data, draws the sample, lays out cells and blocks.

    Args:
        request: see `Request`.
        opened: models and data that are at hand already; by default they are opened by name.
    """
    devices.exact()
    rules = _rules(request)
    line = line_up(rules, request.explainers, allow_known_faulty=request.allow_known_faulty)
    place = devices.resolve(request.device)
    if opened is None:
        check_names(request.models, request.data)
        opened = open_models(request.models, place, request.data, target=request.target, split=request.split)
    models, data = opened
    sample = draw_sample(data, rules, request.limit)
    line = with_reference(line, rules, truth=sample.truth)
    one = sample.data.load(sample.ids[:1])
    chunk = request.batch_size or devices.default_chunk(place, one.images.nbytes)
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
    return len(sample.ids) + imputer_reliability.forwards(sample, rules) + part_reliance.forwards(sample, rules)


def _tried(line: Line, model: Model, sample: Sample, rules: Protocol, chunk: int) -> compatibility.Tried:
    """Every explainer of the run tried on the first images of the sample."""
    return compatibility.assess(
        line.explainers,
        model,
        sample.data.load(sample.ids[: compatibility.IMAGES]).to(model.device),
        sample.data.mean.to(model.device),
        seed=rules.seed,
        chunk=chunk,
        reference=_reference(sample, model.device),
    )


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


def _reference(drawn: Sample, place: torch.device) -> Reference:
    return Reference(drawn.data.load(drawn.reference).images.to(place), drawn.reference)
