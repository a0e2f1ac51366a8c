"""Protocol -> plan: which cells, in which blocks, at what cost. Pure; every name and parameter is checked here.

A cell is model × data × explainer × metric with all parameters and content hashes. A block is model × data × shard of
images, the unit of scheduling, retry and distribution.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mavis.core import hashing, metric_types
from mavis.core.errors import UnknownName
from mavis.core.guards.guarded_plugins import GuardedExplainer, guard_metric
from mavis.core.perturbation.imputers import get_imputer
from mavis.core.registry import Entry, datasets, explainers, imputers, metric_name, metrics, models
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.core.types import Capability
from mavis.models.loading import specs as specs_
from mavis.protocol.checks import check_protocol, faulty_metrics, refuse_faulty
from mavis.protocol.schema import Protocol

BLOCK_SIZE = 32  # images; small enough to lose little when killed, large enough to fill a batch


@dataclass(frozen=True)
class Component:
    """One explainer or metric with its parameters, made and ready.

    Attributes:
        name: of an explainer; label of a metric.
        params: of its factory.
        traits: as declared.
        plugin: what its factory returned; of a foreign one behind a guard.
        origin: where it was registered: ``mavis``, or else.
        code: hash of a user's code behind it and of the values it holds; empty for MAVIS's own, which have a version.
    """

    name: str
    params: Mapping[str, Any]
    traits: Any
    plugin: Any
    origin: str = "mavis"
    code: str = ""

    @property
    def is_foreign(self) -> bool:
        """True for what is not MAVIS's own."""
        return self.origin != "mavis"


@dataclass(frozen=True)
class Components:
    """The checked explainers and metrics of a run."""

    explainers: tuple[Component, ...]
    metrics: tuple[Component, ...]


@dataclass(frozen=True)
class Cell:
    """One score per image: model × data × explainer × metric.

    Attributes:
        id: hash of everything that decides the scores.
        skipped: why it is not run, or None.
    """

    id: str
    explainer: str
    metric: str
    skipped: str | None


@dataclass(frozen=True)
class Block:
    """A shard of images of one model.

    Attributes:
        id: hash of its cells and images: the name of its file.
        model: name.
        image_ids: ids.
        cells: all of the model's cells, also the skipped ones.
        has_variants: whether maps are made again under other inputs and weights for these images.
    """

    id: str
    model: str
    image_ids: tuple[str, ...]
    cells: tuple[Cell, ...]
    has_variants: bool


@dataclass(frozen=True)
class ModelUnderTest:
    """A model and its data, as far as planning needs them.

    Attributes:
        model: name.
        model_revision: content hash.
        data_revision: content hash of the sampled images.
        capabilities: capabilities of the model.
        has_truth: whether the data have planted truth.
        can_rerender: whether their parts can be drawn anew.
        incompatible: per explainer that was tried on the model and does not work there, why.
    """

    model: str
    model_revision: str
    data_revision: str
    capabilities: frozenset[Capability]
    has_truth: bool
    can_rerender: bool = False
    incompatible: Mapping[str, str] = field(default_factory=dict)


def resolve_components(
    protocol: Protocol, explainer_names: Sequence[str] | None, *, allow_known_faulty: bool = False
) -> Components:
    """The explainers and metrics of a run, made from their parameters.

    Args:
        protocol: the rules.
        explainer_names: names of explainers; None or ``["all"]`` for every method. Controls and oracles join by the
            protocol.
        allow_known_faulty: whether metrics that are known to be wrong are run all the same.

    Raises:
        UnknownName, BadParameter: with a suggestion; also for what only gates and the decision will ask for.
    """
    check_protocol(protocol)
    if not allow_known_faulty:
        refuse_faulty(faulty_metrics(protocol))
    names = list(explainer_names or ["all"])
    methods = [e.name for e in explainers if e.traits.role == "method"]
    names_in_run = [n for name in names for n in (methods if name == "all" else [name])]
    names_in_run += [*protocol.explainers.controls, *protocol.explainers.oracles]
    settings = protocol.explainers.settings
    return build_components(
        [(name, settings.get(name, {})) for name in dict.fromkeys(names_in_run)], list(protocol.metrics.items())
    )


def build_components(
    explainer_params: Sequence[tuple[str, Mapping[str, Any]]], metric_params: Sequence[tuple[str, Mapping[str, Any]]]
) -> Components:
    """Explainers and metrics made from their names and parameters.

    Args:
        explainer_params: name and parameters of each explainer.
        metric_params: label (``name`` or ``name@label``) and parameters of each metric.

    Raises:
        UnknownName, BadParameter: with a suggestion.
    """
    return Components(
        explainers=tuple(_make_explainer(explainers[name], params) for name, params in explainer_params),
        metrics=tuple(_make_metric(label, params) for label, params in metric_params),
    )


def with_reference(components: Components, protocol: Protocol, *, has_truth: bool) -> Components:
    """The components with the two explainers that mark the scale of normalised scores, where they are not among them.

    Args:
        components: see `resolve_components`.
        protocol: the rules.
        has_truth: whether the data have planted truth.
    """
    marks, names = protocol.explainers.reference, {part.name for part in components.explainers}
    mark_names = [marks.zero, marks.truth if has_truth else marks.otherwise]
    added = [
        _make_explainer(explainers[n], protocol.explainers.settings.get(n, {})) for n in mark_names if n not in names
    ]
    return replace(components, explainers=(*components.explainers, *added))


def check_names(model_names: Sequence[str], data_name: str) -> None:
    """Raises UnknownName for a model or data set that is neither registered, nor a path, nor of a family."""
    for full_name in model_names:
        name, _ = specs_.split_options(full_name)
        if name not in models and not specs_.is_path(name) and specs_.split_family(name) is None:
            raise UnknownName("model", name, models.names())
    if data_name.partition(":")[0] not in datasets:
        raise UnknownName("dataset", data_name.partition(":")[0], datasets.names())


def make_cells(subject: ModelUnderTest, components: Components, protocol: Protocol) -> tuple[Cell, ...]:
    """All cells of one model, with the reason where one cannot be run."""
    fixed = {
        "model": subject.model_revision,
        "data": subject.data_revision,
        "seed": protocol.seed,
        "grid": protocol.grid,
        "target": protocol.target.policy,
    }
    cells = []
    for e in components.explainers:
        for m in components.metrics:
            body = {**fixed, "explainer": [e.name, e.params], "metric": [m.name, m.params]}
            if e.code or m.code:
                body["code"] = [e.code, m.code]
            if m.traits.truth and subject.can_rerender and protocol.reliance is not None:
                body["truth"] = _truth_settings(protocol)
            reason = (
                _missing_requirement(subject, e.traits)
                or subject.incompatible.get(e.name)
                or _missing_requirement(subject, m.traits)
            )
            reason = reason or _reason_not_needed(e, m, protocol)
            cells.append(Cell(hashing.digest_json(body)[:16], e.name, m.name, reason))
    return tuple(cells)


def make_blocks(
    subject: ModelUnderTest,
    cells: tuple[Cell, ...],
    image_ids: Sequence[str],
    variant_ids: Collection[str],
    size: int = BLOCK_SIZE,
) -> list[Block]:
    """Shards of the images, those with variants apart, so that a block is the same work throughout."""
    blocks = []
    for variants in (True, False):
        ids = [i for i in image_ids if (i in variant_ids) == variants]
        for start in range(0, len(ids), size):
            shard = tuple(ids[start : start + size])
            name = hashing.digest_json([subject.model, variants, [c.id for c in cells], shard])[:16]
            blocks.append(Block(name, subject.model, shard, cells, variants))
    return blocks


def shard_blocks(blocks: Sequence[Block], shard: tuple[int, int]) -> list[Block]:
    """Shard k of n (from 1): every n-th block."""
    k, n = shard
    return list(blocks)[k - 1 :: n]


def _truth_settings(protocol: Protocol) -> list[Any]:
    """Settings that decide which parts count as used: localisation is scored against these parts."""
    return [
        protocol.reliance and protocol.reliance.model_dump(mode="json"),
        protocol.variants.per_group,
        protocol.data.groups[0],
        protocol.aggregate.bootstrap,
        protocol.aggregate.confidence,
    ]


def _make_explainer(entry: Entry, params: Mapping[str, Any]) -> Component:
    plugin = entry.create(params)
    code = entry.code_digest(plugin)
    if entry.is_foreign:
        plugin = GuardedExplainer(entry.name, plugin)
    return Component(entry.name, dict(params), entry.traits, plugin, entry.origin, code)


def _make_metric(label: str, params: Mapping[str, Any]) -> Component:
    """A metric under its label, ``name`` or ``name@label``; its imputers are looked up too, and what they need."""
    entry = metrics[metric_name(label)]
    plugin = guard_metric(label, entry.create(params)) if entry.is_foreign else entry.create(params)
    specs = imputer_specs(plugin)
    for spec in specs:
        get_imputer(spec)
    used = [imputers[spec.partition(":")[0]] for spec in specs]
    codes = [entry.code_digest(plugin), *(imputer.code_digest() for imputer in used)]
    code = hashing.digest_json(codes)[:32] if any(codes) else ""
    needs_rerender = entry.traits.rerender or any(imputer.traits.rerender for imputer in used)
    return Component(label, dict(params), replace(entry.traits, rerender=needs_rerender), plugin, entry.origin, code)


def imputer_specs(metric: metric_types.Metric) -> list[str]:
    """Specs of the imputers that a metric uses."""
    match metric:
        case metric_types.SweepMetric(curves=curves):
            return list(dict.fromkeys(curve.imputer for curve in curves))
        case metric_types.ProbeMetric(probes=probes):
            return list(dict.fromkeys(probe.imputer for probe in probes if isinstance(probe, metric_types.MaskProbe)))
    return []


def _reason_not_needed(explainer: Component, metric: Component, protocol: Protocol) -> str | None:
    """A reference only marks the scale: it is explained again for metrics that take their mark from it alone."""
    explains_again = isinstance(metric.plugin, metric_types.VariantMetric | metric_types.CustomMetric)
    sets_scale = metric.name in protocol.decide.metrics and metric.traits.perfect is None
    return (
        "is a reference, whose map is made once"
        if explainer.traits.role == "reference" and explains_again and not sets_scale
        else None
    )


def _missing_requirement(subject: ModelUnderTest, traits: ExplainerTraits | MetricTraits) -> str | None:
    missing = sorted(traits.needs - subject.capabilities)
    if missing:
        return f"needs {', '.join(missing)}, which {subject.model} does not give"
    if traits.truth and not subject.has_truth:
        return "needs planted truth, which these data do not have"
    if isinstance(traits, MetricTraits) and traits.rerender and not subject.can_rerender:
        return "needs data whose parts can be drawn anew"
    return None
