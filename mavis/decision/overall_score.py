"""Overall score: skills -> categories -> a weighted mean, with ranks and dominated methods. Pure.

The model and the data alone settle which categories count, not the methods that take part; a method that lacks a metric
of one of them has no overall score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis import skill_scores
from mavis.analysis.findings import AcrossModels, Estimate, ModelFindings, Note, Skill, make_note
from mavis.analysis.groups import to_estimate
from mavis.analysis.skill_scores import Skills
from mavis.analysis.statistics import bootstrap, ranking
from mavis.core.traits import MetricTraits
from mavis.protocol.schema import WORST_GROUP, Condition, Protocol


@dataclass(frozen=True)
class DecidingMetrics:
    """Metrics named by the protocol that count on this model.

    Attributes:
        metrics: labels.
        reasons: a note on each metric that does not count.
    """

    metrics: tuple[str, ...]
    reasons: tuple[Note, ...]


@dataclass(frozen=True)
class OverallScores:
    """The overall score.

    Attributes:
        categories: that are there, in the order of the protocol.
        weights: ``(categories,)``, sum 1.
        category_scores: ``(1+draws, categories, explainers)``; the first row is the score itself, the others bootstrap
            draws.
        overall: ``(1+draws, explainers)``; NaN for an explainer that lacks a category.
    """

    categories: tuple[str, ...]
    weights: bootstrap.Floats
    category_scores: bootstrap.Floats
    overall: bootstrap.Floats


@dataclass(frozen=True)
class ScoreTable:
    """Skills and overall scores of all explainers of one model.

    Attributes:
        skills: on the metrics that count, and on the primary one under every imputer.
        deciding: which metrics count.
        category: of each of them.
        primary: the faithfulness metric that is looked at per group.
        weights: by category, as the protocol gives them.
        shared_weight: metrics that share the weight of one.
        total: the overall score.
    """

    skills: Skills
    deciding: DecidingMetrics
    category: Mapping[str, str]
    primary: str
    weights: Mapping[str, float]
    shared_weight: Sequence[Sequence[str]]
    total: OverallScores

    def index_of(self, explainer: str) -> int:
        """The explainer's index in the last axis of every array."""
        return self.skills.explainers.index(explainer)

    def has_score(self, explainer: str) -> bool:
        """The explainer has an overall score."""
        if explainer not in self.skills.explainers:
            return False
        return not bool(np.isnan(self.total.overall[0, self.index_of(explainer)]))


def deciding_metrics(
    protocol: Protocol, run_metrics: Sequence[str], card: Mapping[str, Any], *, truth_verified: bool | None
) -> DecidingMetrics:
    """The deciding metrics whose condition the model and the data meet.

    Args:
        protocol: names them, with their conditions.
        run_metrics: metrics of the run, by label.
        card: of the model; ``training.augmentation.drop`` above 0 says that it has seen images with removed cells.
        truth_verified: whether the parts that the model uses are known.
    """
    failures: dict[Condition, str | None] = {
        "always": None,
        "drop_augmented": None if _is_drop_augmented(card) else "metric.no_drop_augmentation",
        "reliance": None if truth_verified else "metric.parts_unknown",
    }
    codes = {
        metric: failures[condition] if metric in run_metrics else "metric.not_run"
        for metric, condition in protocol.decide.metrics.items()
    }
    counted = tuple(metric for metric, code in codes.items() if code is None)
    reasons = tuple(make_note(code, metric=metric) for metric, code in codes.items() if code is not None)
    return DecidingMetrics(counted, reasons)


def _is_drop_augmented(card: Mapping[str, Any]) -> bool:
    training = card.get("training") or {}
    return float((training.get("augmentation") or {}).get("drop") or 0) > 0


def build_score_table(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    metrics: Mapping[str, MetricTraits],
    deciding: DecidingMetrics,
    protocol: Protocol,
) -> ScoreTable:
    """Skills, categories and overall scores of one model's explainers.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: index image id; attributes as columns.
        metrics: traits by label, of the metrics that were run.
        deciding: which of them count.
        protocol: the protocol.
    """
    labels = dict.fromkeys((*deciding.metrics, *(label for label in protocol.decide.imputers if label in metrics)))
    category = {label: metrics[label].category for label in labels}
    scale = skill_scores.choose_scale(scores, protocol.explainers.reference)
    skills = skill_scores.measure_skills(scores, images, {label: metrics[label] for label in labels}, scale, protocol)
    primary, weights, shared_weight = protocol.decide.primary, protocol.decide.weights, protocol.decide.alike
    total = combine_categories(
        skills, _category_members(deciding.metrics, category, skills, shared_weight), primary, weights
    )
    return ScoreTable(skills, deciding, category, primary, weights, shared_weight, total)


def with_single_imputer(score_table: ScoreTable, label: str) -> OverallScores:
    """The overall score with the primary metric of one imputer in place of the one over all of them."""

    def swapped(names: Sequence[str]) -> list[str]:
        return [label if metric == score_table.primary else metric for metric in names]

    shared = [swapped(names) for names in score_table.shared_weight]
    members = _category_members(swapped(score_table.deciding.metrics), score_table.category, score_table.skills, shared)
    return combine_categories(score_table.skills, members, label, score_table.weights)


def for_group(score_table: ScoreTable, group: str) -> OverallScores:
    """The overall score in one group, over the metrics that have a unit and enough images there."""
    skills, index = score_table.skills, score_table.skills.groups.index(group)
    floor = score_table.index_of(skills.scale.floor)
    is_measured = ~np.isnan(skills.by_group[0, :, index, floor])
    metrics = [m for m in score_table.deciding.metrics if m in skills.metrics and is_measured[skills.metrics.index(m)]]
    members = _category_members(metrics, score_table.category, skills, score_table.shared_weight)
    return combine_categories(skills, members, score_table.primary, score_table.weights, group_index=index)


def combine_categories(
    skills: Skills,
    members: Mapping[str, Mapping[str, float]],
    primary: str,
    weights: Mapping[str, float],
    *,
    group_index: int | None = None,
) -> OverallScores:
    """Weighted mean over the categories that are there; without the primary metric there is no score.

    Args:
        skills: see `Skills`.
        members: per category its metrics that have a unit, each with its weight there.
        primary: whose lowest group is the category `WORST_GROUP`.
        weights: per category.
        group_index: the place of the only group that is looked at, where it is one.

    Source: protocol S9 and S11.6.
    """
    rows, has_primary = len(skills.macro), primary in skills.metrics
    values = skills.macro if group_index is None else skills.by_group[:, :, group_index]
    scores = {
        category: np.average(
            values[:, [skills.metrics.index(m) for m in shares]], axis=1, weights=list(shares.values())
        )
        for category, shares in members.items()
        if has_primary and category in weights
    }
    if has_primary and group_index is None and WORST_GROUP in weights:
        worst = np.fmin.reduce(skills.by_group[:, skills.metrics.index(primary)], axis=1)
        if not np.isnan(worst).all():
            scores[WORST_GROUP] = worst
    categories = tuple(category for category in weights if category in scores and weights[category] > 0)
    if not categories:
        no_scores = np.full((rows, len(skills.explainers)), np.nan)
        return OverallScores((), np.empty(0), np.empty((rows, 0, len(skills.explainers))), no_scores)
    of_category = np.array([weights[category] for category in categories])
    stacked = np.stack([scores[category] for category in categories], axis=1)
    of_category = of_category / of_category.sum()
    return OverallScores(categories, of_category, stacked, np.einsum("c,rce->re", of_category, stacked))


def _category_members(
    labels: Sequence[str], category: Mapping[str, str], skills: Skills, shared_weight: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Per category those of the metrics that have a unit, with their weights: 1, or a part of it among those alike."""
    present = [label for label in labels if label in skills.metrics]
    sharing = {label: len(set(names) & set(present)) for names in shared_weight for label in names}
    members: dict[str, dict[str, float]] = {}
    for label in present:
        members.setdefault(category[label], {})[label] = 1 / sharing.get(label, 1)
    return members


def explainer_skills(score_table: ScoreTable, explainer: str, confidence: float) -> tuple[Skill, ...]:
    """One explainer's skills on the metrics that count."""
    skills = score_table.skills
    if explainer not in skills.explainers:
        return ()
    column, entries = score_table.index_of(explainer), []
    for row, metric in enumerate(skills.metrics):
        if metric in score_table.deciding.metrics and not np.isnan(skills.macro[0, row, column]):
            groups = dict(zip(skills.groups, skills.by_group[0, row, :, column].tolist(), strict=True))
            entries.append(
                Skill(
                    metric=metric,
                    category=score_table.category[metric],
                    skill=_bootstrap_estimate(
                        skills.macro[:, row, column], int(skills.n_images[row, column]), confidence
                    ),
                    groups={name: value for name, value in groups.items() if not np.isnan(value)},
                )
            )
    return tuple(entries)


def explainer_categories(score_table: ScoreTable, explainer: str, confidence: float) -> dict[str, Estimate]:
    """One explainer's score per category; n is the least of its metrics'."""
    if not score_table.has_score(explainer):
        return {}
    column, total = score_table.index_of(explainer), score_table.total
    n = {category: _min_images(score_table, category, column) for category in total.categories}
    return {
        c: _bootstrap_estimate(total.category_scores[:, k, column], n[c], confidence)
        for k, c in enumerate(total.categories)
    }


def explainer_overall(score_table: ScoreTable, explainer: str, confidence: float) -> Estimate | None:
    """One explainer's overall score; n is the least of its metrics'."""
    if not score_table.has_score(explainer):
        return None
    column = score_table.index_of(explainer)
    n = min(_min_images(score_table, category, column) for category in score_table.total.categories)
    return _bootstrap_estimate(score_table.total.overall[:, column], n, confidence)


def _min_images(score_table: ScoreTable, category: str, index: int) -> int:
    """Images behind the category's metric that has the fewest."""
    measured = [metric for metric in score_table.deciding.metrics if metric in score_table.skills.metrics]
    labels = [metric for metric in measured if score_table.category[metric] == category] or [score_table.primary]
    return min(int(score_table.skills.n_images[score_table.skills.metrics.index(metric), index]) for metric in labels)


def _bootstrap_estimate(rows: bootstrap.Floats, n: int, confidence: float) -> Estimate:
    """The first row, with the interval of the others."""
    low, high = bootstrap.percentile_interval(rows[1:, None], confidence)
    return to_estimate(float(rows[0]), float(low[0]), float(high[0]), n)


@dataclass(frozen=True)
class Rank:
    """A rank, from 1 for the best, with its interval."""

    rank: float
    low: float
    high: float


def rank_methods(score_table: ScoreTable, methods: Sequence[str], confidence: float) -> dict[str, Rank]:
    """Ranks by the overall score among the methods that have one."""
    names = [name for name in methods if score_table.has_score(name)]
    if not names:
        return {}
    overall = score_table.total.overall[:, [score_table.index_of(name) for name in names]]
    ranks = ranking.rank_rows(overall[:1], higher_is_better=True)[0]
    low, high = ranking.rank_intervals(overall[1:], confidence)
    return {n: Rank(float(r), float(lo), float(hi)) for n, r, lo, hi in zip(names, ranks, low, high, strict=True)}


def find_dominated(score_table: ScoreTable, methods: Sequence[str], rope: float, share: float = 0.95) -> dict[str, str]:
    """Dominated methods, each with its dominator: better in no category, worse in one, in this share of the draws.

    The dominator has a higher overall score, so that no two methods dominate each other.

    Source: protocol S12.
    """
    names = [name for name in methods if score_table.has_score(name)]
    if len(names) < 2:
        return {}
    columns = [score_table.index_of(name) for name in names]
    often = ranking.dominance_shares(score_table.total.category_scores[1:][:, :, columns], rope)
    overall = score_table.total.overall[0, columns]
    dominated = {}
    for k, name in enumerate(names):
        above = [j for j in range(len(names)) if overall[j] > overall[k] and often[j, k] >= share]
        if above:
            dominated[name] = names[max(above, key=lambda j: (overall[j], names[j]))]
    return dominated


def compare_across_models(models: Sequence[ModelFindings], protocol: Protocol) -> AcrossModels | None:
    """Methods compared over models as blocks; None with fewer models than the protocol asks for.

    Models count as independent, so checkpoints of one training run must not stand side by side here.

    Source: protocol S11.9.
    """
    scores = [
        {e.explainer: e.overall.mean for e in model.explainers if e.role == "method" and e.overall} for model in models
    ]
    scores = [{name: mean for name, mean in row.items() if mean is not None} for row in scores]
    names = sorted(set.intersection(*(set(row) for row in scores))) if scores else []
    if len(scores) < protocol.aggregate.min_blocks or len(names) < 3:
        return None
    overall = np.array([[row[name] for name in names] for row in scores])
    friedman = ranking.friedman(ranking.rank_rows(overall, higher_is_better=True), correct_ties=True)
    first, second = _top_two(friedman.mean_ranks, overall.mean(axis=0))
    pair = ranking.bayesian_signed_rank(
        overall[:, first] - overall[:, second], rope=protocol.decide.rope, seed=protocol.seed
    )
    return AcrossModels(
        blocks=len(scores),
        mean_ranks=dict(zip(names, friedman.mean_ranks.tolist(), strict=True)),
        friedman_p=1.0 if np.isnan(friedman.f_p_value) else friedman.f_p_value,
        critical_difference=ranking.nemenyi_critical_difference(
            len(names), len(scores), 1 - protocol.aggregate.confidence
        ),
        leader_vs_next={"below": pair.below, "within": pair.within, "above": pair.above},
    )


def _top_two(mean_ranks: bootstrap.Floats, overall: bootstrap.Floats) -> NDArray[np.intp]:
    """Indices of the best mean rank and the next; equal ones by their mean score."""
    return np.lexsort((-overall, mean_ranks))[:2]
