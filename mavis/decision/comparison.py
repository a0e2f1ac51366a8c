"""Comparison of the eligible methods with the leader: over all images, under every imputer, in every group. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mavis.analysis.findings import CrossChecks, GapToLeader, GroupLead
from mavis.analysis.statistics import bootstrap, multiple_testing, ranking
from mavis.decision import overall_score
from mavis.decision.overall_score import OverallScores, ScoreTable
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class Comparison:
    """Result of comparing the eligible methods.

    Attributes:
        order: those that have an overall score, the best first.
        leading_set: those that are tied with the leader; the leader first, empty without one.
        gaps_to_leader: the other methods, compared with the leader.
        prob_best: share of the draws in which each leads.
        group_leads: methods that beat the leader in a group large enough for a claim.
        cross_checks: leaders under alternative aggregations; None without a leader.
    """

    order: tuple[str, ...]
    leading_set: tuple[str, ...]
    gaps_to_leader: dict[str, GapToLeader]
    prob_best: dict[str, float]
    group_leads: tuple[GroupLead, ...]
    cross_checks: CrossChecks | None


def compare_eligible(
    score_table: ScoreTable, eligible: Sequence[str], counts: dict[str, int], protocol: Protocol
) -> Comparison:
    """Compares the eligible methods.

    Args:
        score_table: of all explainers.
        eligible: methods that passed every gate.
        counts: images per group of the first attribute.
        protocol: the rules.

    Source: protocol S12.
    """
    order = _order_by_score(score_table, score_table.total, eligible)
    if not order:
        return Comparison((), (), {}, {}, (), None)
    dominated = overall_score.find_dominated(score_table, order, protocol.decide.rope)
    gaps = {
        name: gap.model_copy(update={"dominated_by": dominated.get(name)})
        for name, gap in gaps_to_leader(score_table, score_table.total, order, protocol).items()
    }
    return Comparison(
        order=tuple(order),
        leading_set=(order[0], *(name for name, gap in gaps.items() if not gap.is_worse and not gap.dominated_by)),
        gaps_to_leader=gaps,
        prob_best=_prob_best(score_table, order),
        group_leads=tuple(_group_leads(score_table, order, counts, protocol)),
        cross_checks=_cross_checks(score_table, order, protocol),
    )


def gaps_to_leader(
    score_table: ScoreTable, total: OverallScores, order: Sequence[str], protocol: Protocol
) -> dict[str, GapToLeader]:
    """Difference to the leader's overall score, with Holm-corrected bounds; the leader is the first of the order."""
    if len(order) < 2:
        return {}
    rows = total.overall[:, [score_table.index_of(name) for name in order]]
    leads = _complete_rows(rows[:, :1] - rows[:, 1:])
    if len(leads) < 2:
        return {name: GapToLeader(explainer=name, mean=None, lower_bound=None, is_worse=False) for name in order[1:]}
    worse, bounds = multiple_testing.holm_exceeds(leads[1:], protocol.decide.rope, protocol.aggregate.confidence)
    return {
        name: GapToLeader(explainer=name, mean=float(mean), lower_bound=float(bound), is_worse=bool(is_worse))
        for name, mean, bound, is_worse in zip(order[1:], leads[0], bounds, worse, strict=True)
    }


def _order_by_score(score_table: ScoreTable, total: OverallScores, names: Sequence[str]) -> list[str]:
    """Those that have a score, the best first; equal ones by name."""
    scored = [
        (-total.overall[0, score_table.index_of(name)], name) for name in names if name in score_table.skills.explainers
    ]
    return [name for score, name in sorted(scored) if not np.isnan(score)]


def _complete_rows(rows: bootstrap.Floats) -> bootstrap.Floats:
    """Rows in which every column has a value."""
    return rows[~np.isnan(rows).any(axis=1)]


def _prob_best(score_table: ScoreTable, order: Sequence[str]) -> dict[str, float]:
    draws = _complete_rows(score_table.total.overall[1:, [score_table.index_of(name) for name in order]])
    return dict(zip(order, ranking.leader_shares(draws).tolist(), strict=True)) if len(draws) else {}


def _group_leads(
    score_table: ScoreTable, order: Sequence[str], counts: dict[str, int], protocol: Protocol
) -> list[GroupLead]:
    """Per group the method that leads there, where it is shown to be better than the leader by more than matters."""
    pairs, columns = [], []
    for group in score_table.skills.groups:
        if counts.get(group, 0) < protocol.data.n_per_group.min_claim:
            continue
        overall = overall_score.for_group(score_table, group).overall
        leader_scores = overall[:, score_table.index_of(order[0])]
        for name in order[1:]:
            ahead = overall[:, score_table.index_of(name)] - leader_scores
            if not np.isnan(ahead).any():
                pairs.append((group, name))
                columns.append(ahead)
    if not columns:
        return []
    leads = np.stack(columns, axis=1)
    better, bounds = multiple_testing.holm_exceeds(leads[1:], protocol.decide.rope, protocol.aggregate.confidence)
    best: dict[str, GroupLead] = {}
    for (group, name), mean, bound, is_better in zip(pairs, leads[0], bounds, better, strict=True):
        if is_better and (group not in best or mean > best[group].mean):
            best[group] = GroupLead(group=group, explainer=name, mean=float(mean), lower_bound=float(bound))
    return list(best.values())


def _cross_checks(score_table: ScoreTable, order: Sequence[str], protocol: Protocol) -> CrossChecks:
    """Leaders under alternative aggregations, among the eligible methods."""
    columns = [score_table.index_of(name) for name in order]
    scores, weights = score_table.total.category_scores[0][:, columns], score_table.total.weights
    skills, category = score_table.skills, score_table.category
    rows = [skills.metrics.index(metric) for metric in score_table.deciding.metrics if metric in skills.metrics]
    primary_rows = [row for row in rows if category[skills.metrics[row]] == category[score_table.primary]]
    table = skills.macro[:, :, columns]
    points = ranking.borda_points(scores, weights) / max(1, len(order) - 1)
    mean_rank = ranking.rank_rows(table[0, rows], higher_is_better=True).mean(axis=0)
    within = concordances(table[:, primary_rows])
    smaa = ranking.smaa_acceptability(scores, n_draws=protocol.aggregate.smaa, seed=protocol.seed)
    return CrossChecks(
        borda=dict(zip(order, points.tolist(), strict=True)),
        mean_rank=dict(zip(order, mean_rank.tolist(), strict=True)),
        smaa=dict(zip(order, smaa.tolist(), strict=True)),
        concordance=_none_if_nan(concordances(table[:1, rows])[0]),
        concordance_within=_none_if_nan(within[0]),
        concordance_upper=_none_if_nan(
            bootstrap.percentile_interval(within[1:, None], protocol.aggregate.confidence)[1][0]
        ),
        leaders={
            label: leaders_under_imputer(score_table, label, order, protocol)
            for label in imputer_metrics(score_table, protocol)
        },
    )


def imputer_metrics(score_table: ScoreTable, protocol: Protocol) -> list[str]:
    """The primary metric once for every imputer, as far as it was run and has a unit."""
    return [label for label in protocol.decide.imputers if label in score_table.skills.metrics]


def leaders_under_imputer(
    score_table: ScoreTable, label: str, methods: Sequence[str], protocol: Protocol
) -> tuple[str, ...]:
    """Methods that are tied with the leader if the primary metric rests on one imputer alone; the leader first."""
    total = overall_score.with_single_imputer(score_table, label)
    order = _order_by_score(score_table, total, methods)
    gaps = gaps_to_leader(score_table, total, order, protocol)
    return (*order[:1], *(name for name, gap in gaps.items() if not gap.is_worse))


def concordances(table: bootstrap.Floats) -> bootstrap.Floats:
    """Kendall's W of many tables at once, as `ranking.kendall_w`.

    Args:
        table: ``(tables, metrics, methods)``, higher always better.

    Returns:
        ``(tables,)``; NaN where there is nothing to agree on: fewer than two metrics or methods, or ties alone.
    """
    n_tables, n_metrics, n_methods = table.shape
    if min(n_metrics, n_methods) < 2:
        return np.full(n_tables, np.nan)
    ranks = ranking.rank_rows(table.reshape(-1, n_methods), higher_is_better=True).reshape(table.shape)
    centred = ranks - (n_methods + 1) / 2
    between = np.square(centred.mean(axis=1)).sum(axis=1) * n_metrics
    total = np.square(centred).sum(axis=(1, 2))
    concordance: bootstrap.Floats = np.divide(between, total, out=np.full(n_tables, np.nan), where=total > 0)
    return concordance


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
