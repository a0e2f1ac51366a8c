"""What stands where: the order of rows and columns, and what a cell says; the same in every kind of report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mavis.analysis.findings import (
    ExplainerEntry,
    Failure,
    Findings,
    Gap,
    Gate,
    GroupValue,
    MetricSummary,
    ModelFindings,
)
from mavis.report import numbers

HANDFUL = 5
"""Methods that are compared in detail, unless more are recommended."""

MOST_METHODS = 15
"""Beyond these, a table that is looked at shows the first ones only."""

ROLES = ("method", "control", "oracle", "reference")
COST = "cost"
CUE = "cue_mass"


@dataclass(frozen=True)
class Column:
    """A metric as a table's column.

    Attributes:
        metric: its name.
        category: the leaderboard it belongs to.
        higher_is_better: the direction; None for what only describes.
        unit: of its values; may be empty.
        chance: value of a map without information, or None where that is unknown.
    """

    metric: str
    category: str
    higher_is_better: bool | None
    unit: str
    chance: float | None


def ordered(model: ModelFindings) -> list[ExplainerEntry]:
    """Methods by rank, the eligible ones first; then controls, oracles and references."""

    def place(entry: ExplainerEntry) -> tuple[int, bool, float, str]:
        rank = float("inf") if entry.rank is None else entry.rank
        return ROLES.index(entry.role), not entry.eligible, rank, entry.explainer

    return sorted(model.explainers, key=place)


def is_long(model: ModelFindings) -> bool:
    """There are too many methods to show all of them at once."""
    return sum(entry.role == "method" for entry in model.explainers) > MOST_METHODS


def leading(model: ModelFindings) -> list[ExplainerEntry]:
    """The recommended set and the next methods by rank, a handful; the eligible ones where there are any."""
    methods = [entry for entry in ordered(model) if entry.role == "method" and entry.metrics]
    eligible = [entry for entry in methods if entry.eligible]
    first = (eligible or methods)[: max(HANDFUL, len(model.recommendation.set))]
    return first[:MOST_METHODS]


def yardstick(model: ModelFindings) -> list[ExplainerEntry]:
    """The control that knows least: random, else the first; none where none was run."""
    controls = [entry for entry in ordered(model) if entry.role == "control" and entry.metrics]
    return ([entry for entry in controls if entry.explainer == "random"] or controls)[:1]


def aside(model: ModelFindings) -> list[ExplainerEntry]:
    """Everything that is no method."""
    return [entry for entry in ordered(model) if entry.role != "method"]


def deciding(model: ModelFindings, primary: str) -> list[str]:
    """Metrics that decide, in the order of the protocol, the primary one first."""
    found = {skill.metric for entry in model.explainers for skill in entry.skills}
    rest = [column.metric for column in columns([model]) if column.metric in found - {primary}]
    return [primary, *rest]


def whole_and_parts(model: ModelFindings, primary: str) -> list[Column]:
    """The primary metric, and the same with one imputer each: ``nsrg``, ``nsrg@blur``."""
    return [column for column in columns([model]) if column.metric.partition("@")[0] == primary]


def skill_categories(model: ModelFindings) -> list[str]:
    """Categories with a skill, those with the greatest weight first."""
    weights = model.recommendation.weights
    found = dict.fromkeys(name for entry in model.explainers for name in entry.categories)
    return sorted(found, key=lambda name: -weights.get(name, 0.0))


def spelled(name: str) -> str:
    """A category in words: ``worst_group`` is ``worst group``."""
    return name.replace("_", " ")


def explainers(models: Iterable[ModelFindings]) -> list[str]:
    """Names in the order of the first model that has them."""
    return list(dict.fromkeys(entry.explainer for model in models for entry in ordered(model)))


def columns(models: Iterable[ModelFindings]) -> list[Column]:
    """Every metric once, in the order of the protocol."""
    found: dict[str, Column] = {}
    for model in models:
        for entry in model.explainers:
            for one in entry.metrics:
                column = Column(one.metric, one.category, one.higher_is_better, one.unit, one.chance)
                found.setdefault(one.metric, column)
    return list(found.values())


def categories(model: ModelFindings) -> dict[str, list[Column]]:
    """The columns of each leaderboard, in the order of the protocol."""
    found: dict[str, list[Column]] = {}
    for column in columns([model]):
        found.setdefault(column.category, []).append(column)
    return found


def summary(entry: ExplainerEntry, metric: str) -> MetricSummary | None:
    """The entry's row for this metric, or None where it was not run."""
    return next((one for one in entry.metrics if one.metric == metric), None)


def entry_of(model: ModelFindings, explainer: str) -> ExplainerEntry | None:
    """The model's row for this explainer, or None where it was not run."""
    return next((one for one in model.explainers if one.explainer == explainer), None)


def group_value(one: MetricSummary | None, attribute: str, group: str) -> GroupValue | None:
    """The metric's value in this group, or None."""
    values = () if one is None else one.groups
    return next((value for value in values if (value.attribute, value.group) == (attribute, group)), None)


def gap(one: MetricSummary | None, attribute: str) -> Gap | None:
    """The metric's gap along this attribute, or None."""
    gaps = () if one is None else one.gaps
    return next((found for found in gaps if found.attribute == attribute), None)


def first_attribute(findings: Findings) -> str | None:
    """The attribute whose groups have equal weight in every mean."""
    return next(iter(findings.data.groups), None)


def spoken(name: str) -> str:
    """An attribute or a group of an intersection with a × between its parts."""
    return name.replace("*", " × ")


def arrow(column: Column) -> str:
    """Which way is better; nothing for what only describes."""
    return {True: "↑", False: "↓", None: ""}[column.higher_is_better]


def name(entry: ExplainerEntry) -> str:
    """The explainer, with its role where it is no method and its name does not say so."""
    return entry.explainer if entry.role in ("method", entry.explainer) else f"{entry.explainer} ({entry.role})"


def failed_gates(entry: ExplainerEntry) -> list[str]:
    """Ids of the gates that the explainer did not pass."""
    return [gate.id for gate in entry.gates if gate.passed is False]


def open_gates(entry: ExplainerEntry) -> list[str]:
    """Ids of the gates that could not be assessed."""
    return [gate.id for gate in entry.gates if gate.passed is None]


def stops(entry: ExplainerEntry) -> str:
    """``✗ G3 ? G4``: gates not passed and gates not assessed; empty where all were passed."""
    failed, unknown = failed_gates(entry), open_gates(entry)
    return " ".join([*(["✗", *failed] if failed else []), *(["?", *unknown] if unknown else [])])


def rank(entry: ExplainerEntry) -> str:
    """``2 [1, 3]``: the rank by the overall score and its interval; a dash for what has none."""
    if entry.rank is None:
        return numbers.DASH
    if entry.rank_low is None or entry.rank_high is None:
        return f"{entry.rank:g}"
    return f"{entry.rank:g} [{entry.rank_low:g}, {entry.rank_high:g}]"


def verdict(gap: Gap) -> str:
    """What the protocol's rule says of a gap; empty where it was not asked."""
    if gap.found:
        return "found"
    if gap.absent:
        return "no material gap"
    return "" if gap.found is None and gap.absent is None else "no claim"


def statements(entries: Iterable[ExplainerEntry], metric: str, first: str) -> list[str]:
    """What may be said of the methods' gaps; of several methods at once where it is the same.

    Args:
        entries: whose; what is no method is left out.
        metric: of which score.
        first: the attribute for which everything is said; for others only what is found.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for entry in (entry for entry in entries if entry.role == "method"):
        one = summary(entry, metric)
        for gap in () if one is None else one.gaps:
            if gap.statement and (gap.attribute == first or gap.found):
                said = (verdict(gap), spoken(gap.attribute), gap.statement)
                found.setdefault(said, []).append(entry.explainer)
    lines = {said: f"{', '.join(names)} by {said[1]}: {said[2]}" for said, names in found.items()}
    return [f"{said[0]}: {line}" if said[0] else line for said, line in lines.items()]


def paired(model: ModelFindings, attribute: str) -> list[ExplainerEntry]:
    """Whose pairs of groups the page shows: everybody's; of an intersection, which has many, those of a handful."""
    return [*leading(model), *yardstick(model)] if "*" in attribute else ordered(model)


def gate_word(gate: Gate) -> str:
    """Passed, not passed, or why neither can be said."""
    if gate.passed is None:
        return "could not be assessed" if gate.impossible else "not assessed"
    return "✓ passed" if gate.passed else "✗ not passed"


def absence(entry: ExplainerEntry | None, metric: str) -> str | None:
    """Why there is no mean, or None where there is one."""
    if entry is None:
        return "not run on this model"
    one = summary(entry, metric)
    if one is None:
        return entry.missing or "not run"
    if one.estimate.mean is not None:
        return None
    return one.missing or entry.missing or no_images(one.undefined, one.failed)


def group_absence(value: GroupValue | None, *, minimum: int) -> str | None:
    """Why a group has no mean, or None where it has one.

    Args:
        value: the group's value, or None where the metric was not run.
        minimum: fewest images for which a mean is shown.
    """
    if value is None:
        return "no value for this group"
    if value.estimate.mean is not None:
        return None
    if value.suppressed:
        return f"not shown: {value.estimate.n} images with a value, at least {minimum} are needed"
    return no_images(value.undefined, value.failed)


def no_images(undefined: int, failed: int) -> str:
    """In words, why no image has a value."""
    return f"no image has a value ({undefined} undefined, {failed} failed)"


def is_custom(findings: Findings) -> bool:
    """The command line changed the protocol."""
    return bool(findings.protocol.overrides)


def title(findings: Findings) -> str:
    """The protocol's name, with what a reader must know about its standing."""
    protocol = findings.protocol.name
    return f"custom protocol, from {protocol}" if is_custom(findings) else protocol


def standing(findings: Findings) -> list[str]:
    """One sentence for each thing that makes the protocol less than final."""
    protocol, status = findings.protocol.name, findings.protocol.status
    said = []
    if status == "preview":
        said.append(
            f"This is a preview: {protocol} uses few images. Confirm it with a full protocol before relying on it."
        )
    elif status != "frozen":
        said.append(f"The protocol {protocol} is a {status}: its rules may still change.")
    if is_custom(findings):
        said.append(f"This is a custom protocol: {protocol} was changed by {', '.join(findings.protocol.overrides)}.")
    if findings.run.blocks_done < findings.run.blocks_planned:
        done, planned = findings.run.blocks_done, findings.run.blocks_planned
        said.append(f"The run is not complete: {done} of {planned} blocks are done.")
    return said


@dataclass(frozen=True)
class FailureGroup:
    """Failures that differ in nothing but the images.

    Attributes:
        failure: the first of them.
        times: how many there are.
        images: images concerned, together.
    """

    failure: Failure
    times: int
    images: int


def grouped(failures: Sequence[Failure]) -> list[FailureGroup]:
    """Failures alike in place, type and message as one, the most images first."""
    alike: dict[tuple[object, ...], list[Failure]] = {}
    for one in failures:
        alike.setdefault((one.stage, one.model, one.explainer, one.metric, one.type, one.message), []).append(one)
    groups = [FailureGroup(many[0], len(many), sum(one.images for one in many)) for many in alike.values()]
    return sorted(groups, key=lambda group: -group.images)


def skipped(findings: Findings) -> list[tuple[str, list[str]]]:
    """Reason -> what was skipped for it, the most frequent reason first."""
    reasons: dict[str, list[str]] = {}
    for line in findings.skipped:
        what, colon, reason = line.partition(": ")
        reasons.setdefault(reason if colon else "no reason recorded", []).append(what)
    order = Counter({reason: len(what) for reason, what in reasons.items()})
    return [(reason, reasons[reason]) for reason, _ in order.most_common()]


def missing(model: ModelFindings) -> list[tuple[str, list[str]]]:
    """Reason -> explainers, or explainer and metric, without any value for it."""
    reasons: dict[str, list[str]] = {}
    for entry in ordered(model):
        if entry.missing:
            reasons.setdefault(entry.missing, []).append(entry.explainer)
            continue
        for one in entry.metrics:
            if reason := absence(entry, one.metric):
                reasons.setdefault(reason, []).append(f"{entry.explainer} / {one.metric}")
    return list(reasons.items())
