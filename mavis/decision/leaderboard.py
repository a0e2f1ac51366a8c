"""Scores -> one leaderboard per model: means, groups, gaps, gates, skills, ranks. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pandas as pd

from mavis.analysis import skill_scores
from mavis.analysis.disparity import gaps as disparity
from mavis.analysis.disparity.gaps import Column, Limits
from mavis.analysis.findings import Estimate, ExplainerEntry, Gap, GroupValue, MetricSummary
from mavis.analysis.groups import Summary, rules_of, summarise, wide
from mavis.analysis.skill_scores import Scale
from mavis.analysis.statistics import ranking
from mavis.core.traits import ExplainerTraits, MetricTraits, Role
from mavis.decision import gates, overall_score
from mavis.decision.overall_score import Standing
from mavis.protocol.schema import Protocol

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


def build(
    scores: pd.DataFrame, images: pd.DataFrame, cast: Cast, protocol: Protocol, standing: Standing
) -> tuple[ExplainerEntry, ...]:
    """The leaderboard of one model, methods by rank, then controls, oracles and references.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: one model's images, index image id; attributes as columns.
        cast: who took part.
        protocol: the rules.
        standing: skills and overall scores of all explainers.
    """
    images = images.sort_index()
    rules = rules_of(protocol, images)
    values, summary = wide(scores, images), summarise(scores, images, rules)
    means = dict(zip(summary.columns, summary.macro, strict=True))
    ranks = {metric: _ranks(metric, cast, means) for metric in cast.metrics}
    gaps = _gaps(values, images, summary, cast, protocol, standing.skills.scale)
    rows = Counter(zip(scores["explainer"], scores["metric"], scores["status"], strict=True))
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
            _metric(m, name, cast, summary=summary, rows=rows, rank=ranks[m].get(name), gaps=gaps) for m in cast.metrics
        ]
        entries.append(
            ExplainerEntry(
                explainer=name,
                role=traits.role,
                about=cast.about.get(name, ""),
                metrics=tuple(summaries),
                gates=judged,
                eligible=bool(judged) and all(g.passed or (g.passed is None and g.impossible) for g in judged),
                rank=None,
                missing=cast.missing.get((name, "")),
            )
        )
    return tuple(sorted(_ranked(entries, standing, protocol), key=_place))


def _ranked(entries: Sequence[ExplainerEntry], standing: Standing, protocol: Protocol) -> list[ExplainerEntry]:
    """The entries with their skills, and the methods with their ranks by the overall score."""
    confidence = protocol.aggregate.confidence
    ranks = overall_score.ranked(standing, [e.explainer for e in entries if e.role == "method"], confidence)
    dominated = overall_score.dominated(standing, [e.explainer for e in entries if e.eligible], protocol.decide.rope)
    found = []
    for entry in entries:
        name = entry.explainer
        changes: dict[str, Any] = {
            "skills": overall_score.skills_of(standing, name, confidence),
            "categories": overall_score.categories_of(standing, name, confidence),
            "overall": overall_score.overall_of(standing, name, confidence),
            "dominated_by": dominated.get(name),
        }
        if name in ranks:
            one = ranks[name]
            changes |= {"rank": one.rank, "rank_low": one.low, "rank_high": one.high}
        found.append(entry.model_copy(update=changes))
    return found


def _place(entry: ExplainerEntry) -> tuple[int, float, str]:
    """Methods by rank and, at equal rank, by name; the others as the protocol lists them."""
    order = get_args(Role).index(entry.role)
    rank = entry.rank if entry.rank is not None else float("inf")
    return order, rank, entry.explainer if entry.role == "method" else ""


def _ranks(metric: str, cast: Cast, means: Mapping[tuple[str, str], Estimate]) -> dict[str, float]:
    """Average ranks of the methods on one metric; none on one that only describes."""
    upwards = cast.metrics[metric].higher_is_better
    if upwards is None:
        return {}
    methods = [name for name, traits in cast.explainers.items() if traits.role == "method"]
    numbers = [_or_nan(means.get((name, metric), ABSENT).mean) for name in methods]
    found = ranking.average_ranks(numbers, higher_is_better=upwards)
    return {name: rank for name, rank in zip(methods, found, strict=True) if rank is not None}


def _gaps(
    values: pd.DataFrame, images: pd.DataFrame, summary: Summary, cast: Cast, protocol: Protocol, scale: Scale
) -> dict[tuple[str, str], tuple[Gap, ...]]:
    """Gaps of every column whose metric compares explanations; cost has none."""
    rules, decide = rules_of(protocol, images), protocol.decide
    limits = Limits(protocol.data.n_per_group.min_claim, protocol.aggregate.permutations, protocol.disparity)
    compared = {m for m, traits in cast.metrics.items() if traits.category != "cost"}
    places = [place for place, (_, metric) in enumerate(summary.columns) if metric in compared]
    names = [summary.columns[place] for place in places]
    columns = _columns(names, dict(zip(summary.columns, summary.macro, strict=True)), cast, protocol, scale)
    scores = values.to_numpy(dtype=np.float64)[:, places]
    found: dict[tuple[str, str], list[Gap]] = {name: [] for name in names}
    for attribute in rules.attributes:
        groups = [_of(attribute, summary.groups[place]) for place in places]
        several = disparity.gaps(scores, images, attribute, groups, columns, rules=rules, limits=limits)
        for name, one in zip(names, several, strict=True):
            found[name] += [] if one is None else [one]
    for explainer in cast.explainers:
        tests = [(name, one) for name, some in found.items() for one in some if name[0] == explainer and one.pairs]
        tests = [(name, one) for name, one in tests if name[1] != decide.primary]
        for (name, one), again in zip(tests, disparity.discoveries([one for _, one in tests]), strict=True):
            found[name][found[name].index(one)] = again
    return {name: tuple(some) for name, some in found.items()}


def _columns(
    names: Sequence[tuple[str, str]],
    means: Mapping[tuple[str, str], Estimate],
    cast: Cast,
    protocol: Protocol,
    scale: Scale,
) -> list[Column]:
    """What the gaps of each (explainer, metric) need to know; pairs are compared of methods and where it decides."""
    decide = protocol.decide
    units = {m: skill_scores.unit_of(means, m, cast.metrics[m], scale) for _, m in names}
    places = {name: place for place, name in enumerate(names)}
    asked = {*decide.metrics, *decide.imputers}
    return [
        Column(
            subject=f"{metric} of {explainer}",
            higher_is_better=cast.metrics[metric].higher_is_better is not False,
            unit=units[metric],
            asked=metric in asked and explainer in cast.explainers and cast.explainers[explainer].role == "method",
            confirm=tuple(places[explainer, m] for m in decide.imputers if (explainer, m) in places)
            if metric == decide.primary
            else (),
            alone=metric == decide.primary,
        )
        for explainer, metric in names
    ]


def _of(attribute: str, groups: Sequence[GroupValue]) -> tuple[GroupValue, ...]:
    return tuple(g for g in groups if g.attribute == attribute)


def _metric(
    metric: str,
    explainer: str,
    cast: Cast,
    *,
    summary: Summary,
    rows: Counter[tuple[str, str, str]],
    rank: float | None,
    gaps: Mapping[tuple[str, str], tuple[Gap, ...]],
) -> MetricSummary:
    traits, pair = cast.metrics[metric], (explainer, metric)
    place = summary.columns.index(pair) if pair in summary.columns else None
    return MetricSummary(
        metric=metric,
        category=traits.category,
        higher_is_better=traits.higher_is_better,
        unit=traits.unit,
        chance=traits.chance,
        estimate=ABSENT if place is None else summary.macro[place],
        natural_mean=None if place is None else summary.natural[place],
        undefined=rows[explainer, metric, "undefined"],
        failed=rows[explainer, metric, "error"],
        rank=rank,
        groups=() if place is None else summary.groups[place],
        gaps=gaps.get(pair, ()),
        missing=cast.missing.get(pair) or cast.missing.get((explainer, "")),
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
