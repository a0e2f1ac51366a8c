"""Setup."""

from dataclasses import dataclass, field, replace

import torch

from mavis.core import devices
from mavis.core.types import Dataset, Model, ReferenceImages
from mavis.engine.model_checks import imputer_reliability, part_reliance
from mavis.engine.planning import compatibility
from mavis.engine.planning import cost_estimate as costs
from mavis.engine.planning.plan import (
    Block,
    Cell,
    Components,
    ModelUnderTest,
    check_names,
    make_blocks,
    make_cells,
    resolve_components,
    with_reference,
)
from mavis.engine.planning.request import Request
from mavis.engine.sample import Sample, draw_sample
from mavis.models.loading.open import LoadedModels, open_models
from mavis.protocol import loading as protocol
from mavis.protocol.checks import faulty_metrics
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class RunPlan:
    """Everything that is decided before the first map is made."""

    protocol: Protocol
    components: Components
    models: LoadedModels
    sample: Sample
    cells: dict[str, tuple[Cell, ...]]
    blocks: tuple[Block, ...]
    cost_estimates: dict[str, costs.CostEstimate]
    compatibility_reports: dict[str, compatibility.CompatibilityReport]
    chunk: int
    device: torch.device
    request: Request = field(repr=False)


def plan_run(request: Request, loaded: tuple[LoadedModels, Dataset] | None = None) -> RunPlan:
    """Checks every name and parameter, opens models and data, draws the sample, lays out cells and blocks.

    Args:
        request: see `Request`.
        loaded: models and data that are at hand already; by default they are opened by name.
    """
    devices.use_deterministic_float32()
    rules = _resolve_protocol(request)
    line = resolve_components(rules, request.explainers, allow_known_faulty=request.allow_known_faulty)
    place = devices.resolve(request.device)
    if loaded is None:
        check_names(request.models, request.data)
        loaded = open_models(request.models, place, request.data, target=request.target, split=request.split)
    models, data = loaded
    sample = draw_sample(data, rules, request.limit)
    line = with_reference(line, rules, has_truth=sample.has_truth)
    one = sample.data.load(sample.ids[:1])
    chunk = request.batch_size or devices.default_chunk(place, one.images.nbytes)
    laid: dict[str, tuple[Cell, ...]] = {}
    every: list[Block] = []
    estimates, tried = {}, {}
    for model, _ in models.values():
        found = tried[model.name] = _check_compatibility(line, model, sample, rules, chunk)
        subject = ModelUnderTest(
            model.name,
            model.revision,
            sample.revision,
            model.capabilities,
            sample.has_truth,
            sample.can_rerender,
            found.incompatible,
        )
        laid[model.name] = make_cells(subject, line, rules)
        every += make_blocks(subject, laid[model.name], sample.ids, sample.variant_ids)
        counts = (len(sample.ids), len(sample.variant_ids))
        counted = costs.estimate_cost(line, laid[model.name], model, one, counts, rules.grid, found.costs)
        estimates[model.name] = replace(counted, setup_forwards=_setup_forwards(sample, rules))
    return RunPlan(rules, line, models, sample, laid, tuple(every), estimates, tried, chunk, place, request)


def _setup_forwards(sample: Sample, rules: Protocol) -> int:
    """Forwards before any map is made: predictions, reliability and reliance."""
    return (
        len(sample.ids)
        + imputer_reliability.reliability_forwards(sample, rules)
        + part_reliance.reliance_forwards(sample, rules)
    )


def _check_compatibility(
    components: Components, model: Model, sample: Sample, rules: Protocol, chunk: int
) -> compatibility.CompatibilityReport:
    """Every explainer of the run tried on the first images of the sample."""
    return compatibility.check_explainers(
        components.explainers,
        model,
        sample.data.load(sample.ids[: compatibility.N_IMAGES]).to(model.device),
        sample.data.mean.to(model.device),
        seed=rules.seed,
        chunk=chunk,
        reference=load_reference(sample, model.device),
    )


def _resolve_protocol(request: Request) -> Protocol:
    """The protocol with what the command line changed, noted."""
    rules = request.protocol if isinstance(request.protocol, Protocol) else protocol.load_protocol(request.protocol)
    kept = None
    if request.metrics is not None:
        kept = {name: rules.metrics.get(name, {}) for name in request.metrics}
    rules = protocol.with_overrides(
        rules, seed=request.seed, data__groups=list(request.groups) if request.groups else None, metrics=kept
    )
    noted = [] if request.limit is None else [f"limit = {request.limit}"]
    if request.allow_known_faulty and faulty_metrics(rules):
        noted.append(f"allow_known_faulty = {', '.join(faulty_metrics(rules))}")
    return rules.model_copy(update={"overrides": (*rules.overrides, *noted)})


def load_reference(sample: Sample, device: torch.device) -> ReferenceImages:
    """The images that stand for the data set, on a device."""
    return ReferenceImages(sample.data.load(sample.reference_ids).images.to(device), sample.reference_ids)
