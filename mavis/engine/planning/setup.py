"""From a request to a plan: names checked, models and data opened, the sample drawn, cells and blocks laid out."""

from dataclasses import dataclass, field, replace

import torch

from mavis.core import devices
from mavis.core.process_state import standard_settings
from mavis.core.types import Batch, Dataset, Model
from mavis.engine.model_checks import imputer_reliability, part_reliance
from mavis.engine.planning import compatibility
from mavis.engine.planning.compatibility import Compatibility, CompatibilityReport
from mavis.engine.planning.cost_estimate import CostEstimate, estimate_cost
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
from mavis.engine.sample import Sample, draw_sample, load_reference
from mavis.models.loading.open import LoadedModels, open_models
from mavis.protocol.checks import faulty_metrics
from mavis.protocol.loading import load_protocol, with_overrides
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class ModelPlan:
    """The plan for one model.

    Attributes:
        compatibility: which explainers work on it.
        cells: one per explainer and metric, with the reason where it is skipped.
        blocks: of all images of the sample.
        cost: the estimate.
    """

    compatibility: CompatibilityReport
    cells: tuple[Cell, ...]
    blocks: tuple[Block, ...]
    cost: CostEstimate


@dataclass(frozen=True)
class RunPlan:
    """Everything that is decided before the first map is made.

    Attributes:
        protocol: the rules, with what the request changed.
        components: explainers and metrics.
        models: prepared, by name, each with what preparation changed.
        sample: the images.
        by_model: per model name its part of the plan.
        chunk: maximum number of samples in one model call.
        device: of all models.
        request: what the user asked for.
        by_name: whether models and data were opened by the names in the request.
    """

    protocol: Protocol
    components: Components
    models: LoadedModels
    sample: Sample
    by_model: dict[str, ModelPlan]
    chunk: int
    device: torch.device
    request: Request = field(repr=False)
    by_name: bool = True

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of all models."""
        return tuple(block for plan in self.by_model.values() for block in plan.blocks)


@standard_settings()
def plan_run(request: Request, loaded: tuple[LoadedModels, Dataset] | None = None) -> RunPlan:
    """Checks every name and parameter, opens models and data, draws the sample, lays out cells and blocks.

    Args:
        request: see `Request`.
        loaded: models and data that are open already; by default they are opened by name.

    Raises:
        MavisError: a name, a parameter, a model or the data do not hold.
    """
    protocol = resolve_protocol(request)
    requested = resolve_components(protocol, request.explainers, allow_known_faulty=request.allow_known_faulty)
    device = devices.resolve(request.device)
    models, data = loaded or _open_subjects(request, device)
    sample = draw_sample(data, protocol, request.limit)
    components = with_reference(requested, protocol, has_truth=sample.has_truth)
    image = data.load(sample.ids[:1])
    chunk = request.batch_size or devices.default_chunk(device, image.images.nbytes)
    by_model = {
        name: _plan_model(model, components, sample, protocol, image, chunk) for name, (model, _) in models.items()
    }
    return RunPlan(protocol, components, models, sample, by_model, chunk, device, request, loaded is None)


def _open_subjects(request: Request, device: torch.device) -> tuple[LoadedModels, Dataset]:
    """Models and data by the names of the request, which are all checked before the first is opened."""
    check_names(request.models, request.data)
    return open_models(request.models, device, request.data, target=request.target, split=request.split)


def _plan_model(
    model: Model, components: Components, sample: Sample, protocol: Protocol, image: Batch, chunk: int
) -> ModelPlan:
    report = _check_compatibility(components, model, sample, protocol, chunk)
    subject = ModelUnderTest(
        model=model.name,
        model_revision=model.revision,
        data_revision=sample.revision,
        capabilities=model.capabilities,
        has_truth=sample.has_truth,
        can_rerender=sample.can_rerender,
        incompatible=report.incompatible,
    )
    cells = make_cells(subject, components, protocol)
    n_images = (len(sample.ids), len(sample.variant_ids))
    cost = estimate_cost(components, cells, model, image, n_images, protocol.grid, report.costs)
    return ModelPlan(
        compatibility=report,
        cells=cells,
        blocks=tuple(make_blocks(subject, cells, sample.ids, sample.variant_ids)),
        cost=replace(cost, setup_forwards=_setup_forwards(sample, protocol)),
    )


def _setup_forwards(sample: Sample, protocol: Protocol) -> int:
    """Forwards before any map is made: predictions, reliability and reliance."""
    return (
        len(sample.ids)
        + imputer_reliability.reliability_forwards(sample, protocol)
        + part_reliance.reliance_forwards(sample, protocol)
    )


def _check_compatibility(
    components: Components, model: Model, sample: Sample, protocol: Protocol, chunk: int
) -> CompatibilityReport:
    """MAVIS's own explainers tried on the first images; foreign ones are asked before their first block."""
    report = compatibility.check_explainers(
        [part for part in components.explainers if not part.is_foreign],
        model,
        sample.data.load(sample.ids[: compatibility.N_IMAGES]).to(model.device),
        sample.data.mean.to(model.device),
        seed=protocol.seed,
        chunk=chunk,
        reference=load_reference(sample.data, sample.reference_ids, model.device),
    )
    untried = Compatibility("supported")
    return replace(report, explainers={p.name: report.explainers.get(p.name, untried) for p in components.explainers})


def resolve_protocol(request: Request) -> Protocol:
    """The protocol with what the request changes, which is noted in its overrides."""
    protocol = request.protocol if isinstance(request.protocol, Protocol) else load_protocol(request.protocol)
    chosen = None
    if request.metrics is not None:
        chosen = {name: protocol.metrics.get(name, {}) for name in request.metrics}
    protocol = with_overrides(
        protocol, seed=request.seed, data__groups=list(request.groups) if request.groups else None, metrics=chosen
    )
    notes = [] if request.limit is None else [f"limit = {request.limit}"]
    if request.allow_known_faulty and faulty_metrics(protocol):
        notes.append(f"allow_known_faulty = {', '.join(faulty_metrics(protocol))}")
    return protocol.model_copy(update={"overrides": (*protocol.overrides, *notes)})
