"""Layout: order of rows and columns, look-ups, and short labels; the same in every kind of report."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mavis.analysis.findings import (
    ExplainerEntry,
    Failure,
    Findings,
    Gap,
    GroupValue,
    MetricSummary,
    ModelFindings,
)
from mavis.core.group_attributes import intersection_parts
from mavis.report import numbers

N_LEADING = 5
"""Methods that are compared in detail, unless more are recommended."""

MAX_METHODS = 15
"""Beyond these, a table that is looked at shows the first ones only."""

ROLES = ("method", "control", "oracle", "reference")
COST_CATEGORY = "cost"
CUE_METRIC = "cue_mass"


@dataclass(frozen=True)
class MetricColumn:
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


def entries_by_rank(model: ModelFindings) -> list[ExplainerEntry]:
    """Methods by rank, the eligible ones first; then controls, oracles and references."""

    def sort_key(entry: ExplainerEntry) -> tuple[int, bool, float, str]:
        rank = float("inf") if entry.rank is None else entry.rank
        return ROLES.index(entry.role), not entry.eligible, rank, entry.explainer

    return sorted(model.explainers, key=sort_key)


def has_many_methods(model: ModelFindings) -> bool:
    """There are too many methods to show all of them at once."""
    return sum(entry.role == "method" for entry in model.explainers) > MAX_METHODS


def leading_methods(model: ModelFindings) -> list[ExplainerEntry]:
    """The recommended set and the next methods by rank, a handful; the eligible ones where there are any."""
    methods = [entry for entry in entries_by_rank(model) if entry.role == "method" and entry.metrics]
    eligible = [entry for entry in methods if entry.eligible]
    first = (eligible or methods)[: max(N_LEADING, len(model.recommendation.set))]
    return first[:MAX_METHODS]


def baseline_control(model: ModelFindings) -> list[ExplainerEntry]:
    """The baseline: random, or else the first control; empty where no control was run."""
    controls = [entry for entry in entries_by_rank(model) if entry.role == "control" and entry.metrics]
    return ([entry for entry in controls if entry.explainer == "random"] or controls)[:1]


def non_methods(model: ModelFindings) -> list[ExplainerEntry]:
    """Controls, oracles and references."""
    return [entry for entry in entries_by_rank(model) if entry.role != "method"]


def deciding_metrics(model: ModelFindings, primary: str) -> list[str]:
    """Metrics that decide, in the order of the protocol, the primary one first."""
    skilled = {skill.metric for entry in model.explainers for skill in entry.skills}
    further = [column.metric for column in metric_columns([model]) if column.metric in skilled - {primary}]
    return [primary, *further]


def imputer_columns(model: ModelFindings, primary: str) -> list[MetricColumn]:
    """The primary metric, and the same with one imputer each: ``nsrg``, ``nsrg@blur``."""
    return [column for column in metric_columns([model]) if column.metric.partition("@")[0] == primary]


def skill_categories(model: ModelFindings) -> list[str]:
    """Categories with a skill, those with the greatest weight first."""
    weights = model.recommendation.weights
    categories = dict.fromkeys(name for entry in model.explainers for name in entry.categories)
    return sorted(categories, key=lambda name: -weights.get(name, 0.0))


def category_label(name: str) -> str:
    """A category in words: ``worst_group`` is ``worst group``."""
    return name.replace("_", " ")


def explainer_names(models: Iterable[ModelFindings]) -> list[str]:
    """Names in the order of the first model that has them."""
    return list(dict.fromkeys(entry.explainer for model in models for entry in entries_by_rank(model)))


def metric_columns(models: Iterable[ModelFindings]) -> list[MetricColumn]:
    """Every metric once, in the order of the protocol."""
    columns: dict[str, MetricColumn] = {}
    for model in models:
        for entry in model.explainers:
            for summary in entry.metrics:
                column = MetricColumn(
                    summary.metric, summary.category, summary.higher_is_better, summary.unit, summary.chance
                )
                columns.setdefault(summary.metric, column)
    return list(columns.values())


def columns_by_category(model: ModelFindings) -> dict[str, list[MetricColumn]]:
    """The columns of each category, in the order of the protocol."""
    categories: dict[str, list[MetricColumn]] = {}
    for column in metric_columns([model]):
        categories.setdefault(column.category, []).append(column)
    return categories


def find_summary(entry: ExplainerEntry, metric: str) -> MetricSummary | None:
    """The entry's row for this metric, or None where it was not run."""
    return next((summary for summary in entry.metrics if summary.metric == metric), None)


def find_entry(model: ModelFindings, explainer: str) -> ExplainerEntry | None:
    """The model's row for this explainer, or None where it was not run."""
    return next((entry for entry in model.explainers if entry.explainer == explainer), None)


def find_group_value(summary: MetricSummary | None, attribute: str, group: str) -> GroupValue | None:
    """The metric's value in this group, or None."""
    values = () if summary is None else summary.groups
    return next((value for value in values if (value.attribute, value.group) == (attribute, group)), None)


def find_gap(summary: MetricSummary | None, attribute: str) -> Gap | None:
    """The metric's gap along this attribute, or None."""
    gaps = () if summary is None else summary.gaps
    return next((gap for gap in gaps if gap.attribute == attribute), None)


def first_attribute(findings: Findings) -> str | None:
    """The attribute whose groups have equal weight in every mean."""
    return next(iter(findings.data.groups), None)


def display_name(attribute: str) -> str:
    """An attribute; an intersection with a × between its parts."""
    return attribute.replace("*", " × ")


def group_name(attribute: str, group: str) -> str:
    """A group of this attribute; of an intersection with a × between its parts."""
    return " × ".join(intersection_parts(group)) if "*" in attribute else group


def direction_arrow(column: MetricColumn) -> str:
    """``↑`` where higher is better, ``↓`` where lower is; empty for a metric that only describes."""
    return {True: "↑", False: "↓", None: ""}[column.higher_is_better]


def entry_label(entry: ExplainerEntry) -> str:
    """The explainer, with its role where it is no method and its name does not say so."""
    return entry.explainer if entry.role in ("method", entry.explainer) else f"{entry.explainer} ({entry.role})"


def gates_not_passed(entry: ExplainerEntry) -> list[str]:
    """Ids of the gates that the explainer did not pass."""
    return [gate.id for gate in entry.gates if gate.passed is False]


def gates_not_assessed(entry: ExplainerEntry) -> list[str]:
    """Ids of the gates that could not be assessed."""
    return [gate.id for gate in entry.gates if gate.passed is None]


def gate_marks(entry: ExplainerEntry) -> str:
    """``✗ G3 ? G4``: gates not passed and gates not assessed; empty where all were passed."""
    failed, unknown = gates_not_passed(entry), gates_not_assessed(entry)
    return " ".join([*(["✗", *failed] if failed else []), *(["?", *unknown] if unknown else [])])


def rank_text(entry: ExplainerEntry) -> str:
    """``2 [1, 3]``: the rank by the overall score and its interval; a dash for what has none."""
    if entry.rank is None:
        return numbers.DASH
    if entry.rank_low is None or entry.rank_high is None:
        return f"{entry.rank:g}"
    return f"{entry.rank:g} [{entry.rank_low:g}, {entry.rank_high:g}]"


def entries_with_pairs(model: ModelFindings, attribute: str) -> list[ExplainerEntry]:
    """Entries whose pairs of groups the page shows: all; of an intersection, which has many pairs, the leading ones."""
    return [*leading_methods(model), *baseline_control(model)] if "*" in attribute else entries_by_rank(model)


@dataclass(frozen=True)
class FailureGroup:
    """Failures that differ in nothing but the images.

    Attributes:
        failure: the first of them.
        n_failures: how many there are.
        n_images: images concerned, together.
    """

    failure: Failure
    n_failures: int
    n_images: int


def group_failures(failures: Sequence[Failure]) -> list[FailureGroup]:
    """Failures of one cell, type and message as one group, the most images first."""
    members: dict[tuple[object, ...], list[Failure]] = {}
    for failure in failures:
        cell = (failure.stage, failure.model, failure.explainer, failure.metric)
        members.setdefault((*cell, failure.type, failure.message), []).append(failure)
    groups = [
        FailureGroup(group[0], len(group), sum(failure.images for failure in group)) for group in members.values()
    ]
    return sorted(groups, key=lambda group: -group.n_images)
