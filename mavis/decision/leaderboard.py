"""Leaderboard of one model from its scores: means, groups, gaps, gates, skills, ranks. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import pandas as pd

from mavis.analysis import skill_scores
from mavis.analysis.disparity import gaps as disparity
from mavis.analysis.disparity.gaps import GapLimits, ScoreColumn
from mavis.analysis.findings import Estimate, ExplainerEntry, Gap, GroupValue, MetricSummary
from mavis.analysis.groups import ScoreSummary, bootstrap_settings, pivot_scores, summarise_scores
from mavis.analysis.skill_scores import SkillScale
from mavis.analysis.statistics import ranking
from mavis.core.traits import ExplainerTraits, MetricTraits, Role
from mavis.decision import gates, overall_score
from mavis.decision.overall_score import ScoreTable
from mavis.protocol.schema import Protocol

NO_ESTIMATE = Estimate(mean=None, low=None, high=None, n=0)


@dataclass(frozen=True)
class Participants:
    """Participants of a run: explainers and metrics by name, with what they declare.

    Attributes:
        explainers: traits by name, in order of appearance.
        metrics: traits by name, in order of appearance.
        about: one line per explainer.
        missing: why a pair (explainer, metric), or an explainer with the empty metric, was not run.
        n_classes: how many the model tells apart.
        parameter_names: names of each explainer's parameters.
    """

    explainers: Mapping[str, ExplainerTraits]
    metrics: Mapping[str, MetricTraits]
    about: Mapping[str, str]
    missing: Mapping[tuple[str, str], str]
    n_classes: int = 0
    parameter_names: Mapping[str, Sequence[str]] = field(default_factory=dict)


def build_leaderboard(
    scores: pd.DataFrame, images: pd.DataFrame, participants: Participants, protocol: Protocol, score_table: ScoreTable
) -> tuple[ExplainerEntry, ...]:
    """The leaderboard of one model, methods by rank, then controls, oracles and references.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: one model's images, index image id; attributes as columns.
        participants: explainers and metrics of the run.
        protocol: the rules.
        score_table: skills and overall scores of all explainers.
    """
    images = images.sort_index()
    rules = bootstrap_settings(protocol, images)
    values, summary = pivot_scores(scores, images), summarise_scores(scores, images, rules)
    means = dict(zip(summary.columns, summary.macro, strict=True))
    ranks = {metric: _metric_ranks(metric, participants, means) for metric in participants.metrics}
    gaps = _metric_gaps(values, images, summary, participants, protocol, score_table.skills.scale)
    rows = Counter(zip(scores["explainer"], scores["metric"], scores["status"], strict=True))
    entries = []
    for name, traits in participants.explainers.items():
        case = gates.GateInput(
            explainer=name,
            traits=traits,
            values=values,
            images=images,
            means=means,
            metrics=participants.metrics,
            missing=participants.missing,
            n_classes=participants.n_classes,
            parameter_names=participants.parameter_names.get(name, ()),
        )
        judged = gates.evaluate_gates(case, rules, protocol.gates) if traits.role == "method" else ()
        summaries = [
            _metric_summary(m, name, participants, summary=summary, rows=rows, rank=ranks[m].get(name), gaps=gaps)
            for m in participants.metrics
        ]
        entries.append(
            ExplainerEntry(
                explainer=name,
                role=traits.role,
                about=participants.about.get(name, ""),
                metrics=tuple(summaries),
                gates=judged,
                eligible=bool(judged) and all(g.passed or (g.passed is None and g.impossible) for g in judged),
                rank=None,
                missing=participants.missing.get((name, "")),
            )
        )
    return tuple(sorted(_add_ranks(entries, score_table, protocol), key=_sort_key))


def _add_ranks(entries: Sequence[ExplainerEntry], score_table: ScoreTable, protocol: Protocol) -> list[ExplainerEntry]:
    """The entries with their skills, and the methods with their ranks by the overall score."""
    confidence = protocol.aggregate.confidence
    ranks = overall_score.rank_methods(score_table, [e.explainer for e in entries if e.role == "method"], confidence)
    dominated = overall_score.find_dominated(
        score_table, [e.explainer for e in entries if e.eligible], protocol.decide.rope
    )
    ranked = []
    for entry in entries:
        name = entry.explainer
        changes: dict[str, Any] = {
            "skills": overall_score.explainer_skills(score_table, name, confidence),
            "categories": overall_score.explainer_categories(score_table, name, confidence),
            "overall": overall_score.explainer_overall(score_table, name, confidence),
            "dominated_by": dominated.get(name),
        }
        if name in ranks:
            rank = ranks[name]
            changes |= {"rank": rank.rank, "rank_low": rank.low, "rank_high": rank.high}
        ranked.append(entry.model_copy(update=changes))
    return ranked


def _sort_key(entry: ExplainerEntry) -> tuple[int, float, str]:
    """Methods by rank and, at equal rank, by name; the others as the protocol lists them."""
    order = get_args(Role).index(entry.role)
    rank = entry.rank if entry.rank is not None else float("inf")
    return order, rank, entry.explainer if entry.role == "method" else ""


def _metric_ranks(
    metric: str, participants: Participants, means: Mapping[tuple[str, str], Estimate]
) -> dict[str, float]:
    """Average ranks of the methods on one metric; none on one that only describes."""
    upwards = participants.metrics[metric].higher_is_better
    if upwards is None:
        return {}
    methods = [name for name, traits in participants.explainers.items() if traits.role == "method"]
    numbers = [_nan_if_none(means.get((name, metric), NO_ESTIMATE).mean) for name in methods]
    averages = ranking.average_ranks(numbers, higher_is_better=upwards)
    return {name: rank for name, rank in zip(methods, averages, strict=True) if rank is not None}


def _metric_gaps(
    values: pd.DataFrame,
    images: pd.DataFrame,
    summary: ScoreSummary,
    participants: Participants,
    protocol: Protocol,
    scale: SkillScale,
) -> dict[tuple[str, str], tuple[Gap, ...]]:
    """Gaps of every column whose metric compares explanations; cost has none."""
    rules, decide = bootstrap_settings(protocol, images), protocol.decide
    limits = GapLimits(protocol.data.n_per_group.min_claim, protocol.aggregate.permutations, protocol.disparity)
    compared = {m for m, traits in participants.metrics.items() if traits.category != "cost"}
    indices = [index for index, (_, metric) in enumerate(summary.columns) if metric in compared]
    names = [summary.columns[index] for index in indices]
    columns = _gap_columns(names, dict(zip(summary.columns, summary.macro, strict=True)), participants, protocol, scale)
    scores = values.to_numpy(dtype=np.float64)[:, indices]
    gaps: dict[tuple[str, str], list[Gap]] = {name: [] for name in names}
    for attribute in rules.attributes:
        groups = [_of_attribute(attribute, summary.groups[index]) for index in indices]
        attribute_gaps = disparity.group_gaps(scores, images, attribute, groups, columns, settings=rules, limits=limits)
        for name, gap in zip(names, attribute_gaps, strict=True):
            gaps[name] += [] if gap is None else [gap]
    for explainer in participants.explainers:
        _correct_pairs(gaps, explainer, decide.primary)
    return {name: tuple(metric_gaps) for name, metric_gaps in gaps.items()}


def _correct_pairs(gaps: dict[tuple[str, str], list[Gap]], explainer: str, primary: str) -> None:
    """Corrects p of the pairs of one explainer, in index; those of the primary metric are a family of their own."""
    tests = [
        (name, index, gap)
        for name, metric_gaps in gaps.items()
        for index, gap in enumerate(metric_gaps)
        if name[0] == explainer and name[1] != primary and gap.pairs
    ]
    corrected = disparity.control_false_discoveries([gap for _, _, gap in tests])
    for (name, index, _), gap in zip(tests, corrected, strict=True):
        gaps[name][index] = gap


def _gap_columns(
    names: Sequence[tuple[str, str]],
    means: Mapping[tuple[str, str], Estimate],
    participants: Participants,
    protocol: Protocol,
    scale: SkillScale,
) -> list[ScoreColumn]:
    """Columns of the gap analysis, one per (explainer, metric); pairs are compared for methods on deciding metrics."""
    decide = protocol.decide
    units = {m: skill_scores.skill_unit(means, m, participants.metrics[m], scale) for _, m in names}
    indices = {name: index for index, name in enumerate(names)}
    paired = {*decide.metrics, *decide.imputers}
    return [
        ScoreColumn(
            subject=f"{metric} of {explainer}",
            higher_is_better=participants.metrics[metric].higher_is_better is not False,
            unit=units[metric],
            compares_pairs=metric in paired
            and explainer in participants.explainers
            and participants.explainers[explainer].role == "method",
            imputer_columns=tuple(indices[explainer, m] for m in decide.imputers if (explainer, m) in indices)
            if metric == decide.primary
            else (),
            is_own_family=metric == decide.primary,
        )
        for explainer, metric in names
    ]


def _of_attribute(attribute: str, groups: Sequence[GroupValue]) -> tuple[GroupValue, ...]:
    return tuple(g for g in groups if g.attribute == attribute)


def _metric_summary(
    metric: str,
    explainer: str,
    participants: Participants,
    *,
    summary: ScoreSummary,
    rows: Counter[tuple[str, str, str]],
    rank: float | None,
    gaps: Mapping[tuple[str, str], tuple[Gap, ...]],
) -> MetricSummary:
    traits, pair = participants.metrics[metric], (explainer, metric)
    index = summary.columns.index(pair) if pair in summary.columns else None
    return MetricSummary(
        metric=metric,
        category=traits.category,
        higher_is_better=traits.higher_is_better,
        unit=traits.unit,
        chance=traits.chance,
        estimate=NO_ESTIMATE if index is None else summary.macro[index],
        weighted_mean=None if index is None else summary.weighted[index],
        undefined=rows[explainer, metric, "undefined"],
        failed=rows[explainer, metric, "error"],
        rank=rank,
        groups=() if index is None else summary.groups[index],
        gaps=gaps.get(pair, ()),
        missing=participants.missing.get(pair) or participants.missing.get((explainer, "")),
    )


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
