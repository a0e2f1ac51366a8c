"""Scores -> one leaderboard per model: means, groups, gaps, ranks, gates. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mavis import disparity, gates, stats
from mavis.findings import Estimate, ExplainerEntry, Gap, GroupValue, MetricSummary
from mavis.groups import Rules, Summary, summarise, wide
from mavis.rules import Protocol
from mavis.traits import ExplainerTraits, MetricTraits

ABSENT = Estimate(mean=None, low=None, high=None, n=0)


@dataclass(frozen=True)
class Cast:
    """Who took part: explainers and metrics by name, with what they declare and one line about each explainer.

    Attributes:
        explainers: traits by name, in order of appearance.
        metrics: traits by name, in order of appearance.
        about: one line per explainer.
        missing: why a pair (explainer, metric), or an explainer with the empty metric, was not run.
        classes: how many the model tells apart.
        parameters: names of each explainer's parameters.
    """

    explainers: Mapping[str, ExplainerTraits]
    metrics: Mapping[str, MetricTraits]
    about: Mapping[str, str]
    missing: Mapping[tuple[str, str], str]
    classes: int = 0
    parameters: Mapping[str, Sequence[str]] = field(default_factory=dict)


def rules_of(protocol: Protocol) -> Rules:
    """How means are taken under a protocol."""
    return Rules(
        attributes=protocol.data.groups,
        min_report=protocol.data.n_per_group.min_report,
        bootstrap=protocol.aggregate.bootstrap,
        confidence=protocol.aggregate.confidence,
        seed=protocol.seed,
    )


def build(scores: pd.DataFrame, images: pd.DataFrame, cast: Cast, protocol: Protocol) -> tuple[ExplainerEntry, ...]:
    """The leaderboard of one model, methods by rank, then controls, then oracles.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: one model's images, index image id; attributes as columns.
        cast: who took part.
        protocol: the rules.
    """
    rules, images = rules_of(protocol), images.sort_index()
    values, summary = wide(scores, images), summarise(scores, images, rules)
    means = dict(zip(summary.columns, summary.macro, strict=True))
    ranks = {metric: _ranks(metric, cast, means) for metric in cast.metrics}
    gaps = _gaps(values, images, summary, cast, protocol)
    entries = []
    for name, traits in cast.explainers.items():
        case = gates.Case(
            explainer=name,
            traits=traits,
            values=values,
            images=images,
            means=means,
            metrics=cast.metrics,
            missing=cast.missing,
            classes=cast.classes,
            parameters=cast.parameters.get(name, ()),
        )
        judged = gates.judge(case, rules, protocol.gates) if traits.role == "method" else ()
        summaries = [
            _metric(m, name, cast, summary=summary, scores=scores, rank=ranks[m].get(name), gaps=gaps)
            for m in cast.metrics
        ]
        entries.append(
            ExplainerEntry(
                explainer=name,
                role=traits.role,
                about=cast.about.get(name, ""),
                metrics=tuple(summaries),
                gates=judged,
                eligible=bool(judged) and all(g.passed or (g.passed is None and g.impossible) for g in judged),
                rank=ranks.get(protocol.decide.primary, {}).get(name),
                missing=cast.missing.get((name, "")),
            )
        )
    return tuple(sorted(entries, key=_place))


def _place(entry: ExplainerEntry) -> tuple[int, float, str]:
    """Methods by rank and, at equal rank, by name; the others as the protocol lists them."""
    order = {"method": 0, "control": 1, "oracle": 2}[entry.role]
    rank = entry.rank if entry.rank is not None else float("inf")
    return order, rank, entry.explainer if entry.role == "method" else ""


def _ranks(metric: str, cast: Cast, means: Mapping[tuple[str, str], Estimate]) -> dict[str, float]:
    """Average ranks of the methods on one metric; none on one that only describes."""
    upwards = cast.metrics[metric].higher_is_better
    if upwards is None:
        return {}
    methods = [name for name, traits in cast.explainers.items() if traits.role == "method"]
    numbers = [_or_nan(means.get((name, metric), ABSENT).mean) for name in methods]
    found = stats.average_ranks(numbers, higher_is_better=upwards)
    return {name: rank for name, rank in zip(methods, found, strict=True) if rank is not None}


def _gaps(
    values: pd.DataFrame, images: pd.DataFrame, summary: Summary, cast: Cast, protocol: Protocol
) -> dict[tuple[str, str], tuple[Gap, ...]]:
    """Gaps of every column whose metric compares explanations; cost has none."""
    rules, found = rules_of(protocol), {}
    for place, (explainer, metric) in enumerate(summary.columns):
        traits = cast.metrics.get(metric)
        if traits is None or traits.category == "cost":
            continue
        column = values.iloc[:, place].to_numpy(dtype=np.float64)
        gaps = []
        for attribute in rules.attributes:
            groups = _of(attribute, summary.groups[place])
            one = disparity.gap(
                column,
                images,
                attribute,
                groups,
                rules=rules,
                min_claim=protocol.data.n_per_group.min_claim,
                permutations=protocol.aggregate.permutations,
            )
            if one is not None:
                gaps.append(disparity.flipped(one, groups) if traits.higher_is_better is False else one)
        found[explainer, metric] = tuple(gaps)
    return found


def _of(attribute: str, groups: Sequence[GroupValue]) -> tuple[GroupValue, ...]:
    return tuple(g for g in groups if g.attribute == attribute)


def _metric(
    metric: str,
    explainer: str,
    cast: Cast,
    *,
    summary: Summary,
    scores: pd.DataFrame,
    rank: float | None,
    gaps: Mapping[tuple[str, str], tuple[Gap, ...]],
) -> MetricSummary:
    traits, pair = cast.metrics[metric], (explainer, metric)
    place = summary.columns.index(pair) if pair in summary.columns else None
    rows = scores.loc[(scores["explainer"] == explainer) & (scores["metric"] == metric), "status"]
    return MetricSummary(
        metric=metric,
        category=traits.category,
        higher_is_better=traits.higher_is_better,
        unit=traits.unit,
        chance=traits.chance,
        estimate=ABSENT if place is None else summary.macro[place],
        natural_mean=None if place is None else summary.natural[place],
        undefined=int((rows == "undefined").sum()),
        failed=int((rows == "error").sum()),
        rank=rank,
        groups=() if place is None else summary.groups[place],
        gaps=gaps.get(pair, ()),
        missing=cast.missing.get(pair) or cast.missing.get((explainer, "")),
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
