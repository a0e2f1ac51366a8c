"""Protocol -> plan: which cells, in which blocks, at what cost. Pure; every name and parameter is checked here.

A cell is model × data × explainer × metric with all parameters and content hashes. A block is model × data × shard of
images, the unit of scheduling, retry and distribution.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mavis.core import hashing, metric_types
from mavis.core.errors import UnknownName
from mavis.core.perturbation.imputers import imputer_of
from mavis.core.registry import Entry, datasets, explainers, imputers, metric_of, metrics, models
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.core.types import Capability
from mavis.models.loading import specs as specs_
from mavis.protocol.checks import _check_rules, _refuse, known_faulty
from mavis.protocol.schema import Protocol

BLOCK = 32  # images; small enough to lose little when killed, large enough to fill a batch


@dataclass(frozen=True)
class Part:
    """One explainer or metric with its parameters, made and ready."""

    name: str
    params: Mapping[str, Any]
    traits: Any
    made: Any


@dataclass(frozen=True)
class Line:
    """The checked explainers and metrics of a run."""

    explainers: tuple[Part, ...]
    metrics: tuple[Part, ...]


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
        images: ids.
        cells: all of the model's cells, also the skipped ones.
        variants: whether maps are made again under other inputs and weights for these images.
    """

    id: str
    model: str
    images: tuple[str, ...]
    cells: tuple[Cell, ...]
    variants: bool


@dataclass(frozen=True)
class Subject:
    """What a model and its data allow.

    Attributes:
        model: name.
        model_revision: content hash.
        data_revision: content hash of the sampled images.
        can: capabilities of the model.
        truth: whether the data have planted truth.
        rerender: whether their parts can be drawn anew.
        unfit: per explainer that was tried on the model and does not work there, why.
    """

    model: str
    model_revision: str
    data_revision: str
    can: frozenset[Capability]
    truth: bool
    rerender: bool = False
    unfit: Mapping[str, str] = field(default_factory=dict)


def line_up(protocol: Protocol, chosen: Sequence[str] | None, *, allow_known_faulty: bool = False) -> Line:
    """The explainers and metrics of a run, made from their parameters.

    Args:
        protocol: the rules.
        chosen: names of explainers; None or ``["all"]`` for every method. Controls and oracles join by the protocol.
        allow_known_faulty: whether metrics that are known to be wrong are run all the same.

    Raises:
        UnknownName, BadParameter: with a suggestion; also for what only gates and the decision will ask for.
    """
    _check_rules(protocol)
    if not allow_known_faulty:
        _refuse(known_faulty(protocol))
    names = list(chosen or ["all"])
    methods = [e.name for e in explainers if e.traits.role == "method"]
    wanted = [n for name in names for n in (methods if name == "all" else [name])]
    wanted += [*protocol.explainers.controls, *protocol.explainers.oracles]
    return Line(
        explainers=tuple(
            _made(explainers[name], protocol.explainers.settings.get(name, {})) for name in dict.fromkeys(wanted)
        ),
        metrics=tuple(_metric(label, params) for label, params in protocol.metrics.items()),
    )


def with_reference(line: Line, protocol: Protocol, *, truth: bool) -> Line:
    """The line-up with what marks the scale of skills: the protocol's zero, and its reference for such data.

    Args:
        line: see `line_up`.
        protocol: the rules.
        truth: whether the data have planted truth.
    """
    marks, there = protocol.explainers.reference, {part.name for part in line.explainers}
    wanted = [marks.zero, marks.truth if truth else marks.otherwise]
    added = [_made(explainers[n], protocol.explainers.settings.get(n, {})) for n in wanted if n not in there]
    return replace(line, explainers=(*line.explainers, *added))


def check_names(model_names: Sequence[str], data_name: str) -> None:
    """Raises UnknownName for a model or data set that is neither registered, nor a path, nor of a family."""
    for name in model_names:
        path = Path(name).exists() or "/" in name or "\\" in name
        if name not in models and not path and specs_.family_of(name) is None:
            raise UnknownName("model", name, models.names())
    if data_name.partition(":")[0] not in datasets:
        raise UnknownName("dataset", data_name.partition(":")[0], datasets.names())


def cells(subject: Subject, line: Line, protocol: Protocol) -> tuple[Cell, ...]:
    """All cells of one model, with the reason where one cannot be run."""
    fixed = {
        "model": subject.model_revision,
        "data": subject.data_revision,
        "seed": protocol.seed,
        "grid": protocol.grid,
        "target": protocol.target.policy,
    }
    found = []
    for e in line.explainers:
        for m in line.metrics:
            body = {**fixed, "explainer": [e.name, e.params], "metric": [m.name, m.params]}
            if m.traits.truth and subject.rerender and protocol.reliance is not None:
                body["truth"] = _truth(protocol)
            reason = _lacks(subject, e.traits) or subject.unfit.get(e.name) or _lacks(subject, m.traits)
            reason = reason or _needless(e, m, protocol)
            found.append(Cell(hashing.of_json(body)[:16], e.name, m.name, reason))
    return tuple(found)


def blocks(
    subject: Subject, found: tuple[Cell, ...], images: Sequence[str], with_variants: Collection[str], size: int = BLOCK
) -> list[Block]:
    """Shards of the images, those with variants apart, so that a block is the same work throughout."""
    made = []
    for variants in (True, False):
        ids = [i for i in images if (i in with_variants) == variants]
        for start in range(0, len(ids), size):
            shard = tuple(ids[start : start + size])
            name = hashing.of_json([subject.model, variants, [c.id for c in found], shard])[:16]
            made.append(Block(name, subject.model, shard, found, variants))
    return made


def share(every: Sequence[Block], shard: tuple[int, int]) -> list[Block]:
    """Shard k of n (from 1): every n-th block."""
    k, n = shard
    return list(every)[k - 1 :: n]


def _truth(protocol: Protocol) -> list[Any]:
    """What decides, beside model and images, which parts count as used, and so what localisation is scored against."""
    return [
        protocol.reliance and protocol.reliance.model_dump(mode="json"),
        protocol.variants.per_group,
        protocol.data.groups[0],
        protocol.aggregate.bootstrap,
        protocol.aggregate.confidence,
    ]


def _made(entry: Entry, params: Mapping[str, Any]) -> Part:
    return Part(entry.name, dict(params), entry.traits, entry.make(params))


def _metric(label: str, params: Mapping[str, Any]) -> Part:
    """A metric under its label, ``name`` or ``name@label``; its imputers are looked up too, and what they need."""
    entry = metrics[metric_of(label)]
    made = entry.make(params)
    specs = imputers_of(made)
    for spec in specs:
        imputer_of(spec)
    drawn = entry.traits.rerender or any(imputers[spec.partition(":")[0]].traits.rerender for spec in specs)
    return Part(label, dict(params), replace(entry.traits, rerender=drawn), made)


def imputers_of(made: metric_types.Metric) -> list[str]:
    """What a metric removes parts of images with."""
    match made:
        case metric_types.SweepMetric(curves=curves):
            return list(dict.fromkeys(curve.imputer for curve in curves))
        case metric_types.ProbeMetric(probes=probes):
            return list(dict.fromkeys(probe.imputer for probe in probes if isinstance(probe, metric_types.Probe)))
    return []


def _needless(e: Part, m: Part, protocol: Protocol) -> str | None:
    """A reference only marks the scale: it is explained again for metrics that take their mark from it alone."""
    again = isinstance(m.made, metric_types.VariantMetric | metric_types.FreeMetric)
    marked = m.name in protocol.decide.metrics and m.traits.perfect is None
    return "is a reference, whose map is made once" if e.traits.role == "reference" and again and not marked else None


def _lacks(subject: Subject, traits: ExplainerTraits | MetricTraits) -> str | None:
    missing = sorted(traits.needs - subject.can)
    if missing:
        return f"needs {', '.join(missing)}, which {subject.model} does not give"
    if traits.truth and not subject.truth:
        return "needs planted truth, which these data do not have"
    if isinstance(traits, MetricTraits) and traits.rerender and not subject.rerender:
        return "needs data whose parts can be drawn anew"
    return None
