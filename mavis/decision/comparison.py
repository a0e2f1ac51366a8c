"""Who leads, and who cannot be told from the leader: over all images, under every imputer, in every group. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mavis.analysis.findings import CrossChecks
from mavis.analysis.statistics import bootstrap, multiple_testing, ranking
from mavis.decision import overall_score
from mavis.decision.overall_score import OverallScores, ScoreTable
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class GapToLeader:
    """How far a method is behind the leader.

    Attributes:
        mean: difference of the overall scores.
        lower_bound: lower end of its interval, corrected by Holm over all methods that are compared.
        is_worse: shown to be worse by more than matters.
    """

    mean: float
    lower_bound: float
    is_worse: bool


@dataclass(frozen=True)
class GroupLead:
    """A method that is better than the leader on the images of one group.

    Attributes:
        group: its name.
        explainer: the method.
        mean: by how much.
        lower_bound: lower end, corrected by Holm over all groups and methods.
    """

    group: str
    explainer: str
    mean: float
    lower_bound: float


@dataclass(frozen=True)
class Comparison:
    """What the scores say of the eligible methods.

    Attributes:
        order: those that have an overall score, the best first.
        leading_set: those that cannot be told from the leader; the leader first, empty without one.
        gaps_to_leader: the others, compared with the leader.
        dominated_by: methods that are nowhere better than another and somewhere worse; and that other one.
        prob_best: share of the draws in which each leads.
        group_leads: who is better than the leader in a group large enough for a claim.
        cross_checks: who leads otherwise; None where nobody leads.
    """

    order: tuple[str, ...]
    leading_set: tuple[str, ...]
    gaps_to_leader: dict[str, GapToLeader]
    dominated_by: dict[str, str]
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
        return Comparison((), (), {}, {}, {}, (), None)
    behind = gaps_to_leader(score_table, score_table.total, order, protocol)
    dominated = overall_score.find_dominated(score_table, order, protocol.decide.rope)
    chosen = (order[0], *(name for name, one in behind.items() if not one.is_worse and name not in dominated))
    return Comparison(
        order=tuple(order),
        leading_set=chosen,
        gaps_to_leader=behind,
        dominated_by=dominated,
        prob_best=_prob_best(score_table, order),
        group_leads=tuple(_group_leads(score_table, order, counts, protocol)),
        cross_checks=_cross_checks(score_table, order, protocol),
    )


def gaps_to_leader(
    score_table: ScoreTable, total: OverallScores, order: Sequence[str], protocol: Protocol
) -> dict[str, GapToLeader]:
    """How far each of the others is behind the first."""
    if len(order) < 2:
        return {}
    rows = total.overall[:, [score_table.index_of(name) for name in order]]
    lead = _complete_rows(rows[:, :1] - rows[:, 1:])
    if len(lead) < 2:
        return {name: GapToLeader(float("nan"), float("nan"), is_worse=False) for name in order[1:]}
    worse, bounds = multiple_testing.holm_exceeds(lead[1:], protocol.decide.rope, protocol.aggregate.confidence)
    return {
        name: GapToLeader(float(mean), float(bound), bool(w))
        for name, mean, bound, w in zip(order[1:], lead[0], bounds, worse, strict=True)
    }


def _order_by_score(score_table: ScoreTable, total: OverallScores, names: Sequence[str]) -> list[str]:
    """Those that have a score, the best first; equal ones by name."""
    scored = [(-total.overall[0, score_table.index_of(n)], n) for n in names if n in score_table.skills.explainers]
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
        first = overall[:, score_table.index_of(order[0])]
        for name in order[1:]:
            ahead = overall[:, score_table.index_of(name)] - first
            if not np.isnan(ahead).any():
                pairs.append((group, name))
                columns.append(ahead)
    if not columns:
        return []
    ahead = np.stack(columns, axis=1)
    better, bounds = multiple_testing.holm_exceeds(ahead[1:], protocol.decide.rope, protocol.aggregate.confidence)
    shown = [GroupLead(*pair, float(ahead[0, k]), float(bounds[k])) for k, pair in enumerate(pairs) if better[k]]
    best: dict[str, GroupLead] = {}
    for lead in shown:
        if lead.group not in best or lead.mean > best[lead.group].mean:
            best[lead.group] = lead
    return list(best.values())


def _cross_checks(score_table: ScoreTable, order: Sequence[str], protocol: Protocol) -> CrossChecks:
    """Who leads under other ways to sum up, among the eligible methods."""
    places = [score_table.index_of(name) for name in order]
    scores, weights = score_table.total.category_scores[0][:, places], score_table.total.weights
    skills, category = score_table.skills, score_table.category
    rows = [skills.metrics.index(metric) for metric in score_table.deciding.metrics if metric in skills.metrics]
    inside = [row for row in rows if category[skills.metrics[row]] == category[score_table.primary]]
    table = skills.macro[:, :, places]
    points = ranking.borda_points(scores, weights) / max(1, len(order) - 1)
    mean_rank = ranking.rank_rows(table[0, rows], higher_is_better=True).mean(axis=0)
    alike = concordances(table[:, inside])
    smaa = ranking.smaa_acceptability(scores, n_draws=protocol.aggregate.smaa, seed=protocol.seed)
    return CrossChecks(
        borda=dict(zip(order, points.tolist(), strict=True)),
        mean_rank=dict(zip(order, mean_rank.tolist(), strict=True)),
        smaa=dict(zip(order, smaa.tolist(), strict=True)),
        concordance=_none_if_nan(concordances(table[:1, rows])[0]),
        concordance_within=_none_if_nan(alike[0]),
        concordance_upper=_none_if_nan(
            bootstrap.percentile_interval(alike[1:, None], protocol.aggregate.confidence)[1][0]
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
    """Those that cannot be told from the leader if the primary metric rests on one imputer alone."""
    total = overall_score.with_single_imputer(score_table, label)
    order = _order_by_score(score_table, total, methods)
    behind = gaps_to_leader(score_table, total, order, protocol)
    return (*order[:1], *(name for name, one in behind.items() if not one.is_worse))


def concordances(table: bootstrap.Floats) -> bootstrap.Floats:
    """Kendall's W of many tables at once, as `ranking.kendall_w`.

    Args:
        table: ``(tables, metrics, methods)``, higher always better.

    Returns:
        ``(tables,)``; NaN where there is nothing to agree on: fewer than two metrics or methods, or ties alone.
    """
    many, metrics, methods = table.shape
    if min(metrics, methods) < 2:
        return np.full(many, np.nan)
    rows = ranking.rank_rows(table.reshape(-1, methods), higher_is_better=True).reshape(table.shape) - (methods + 1) / 2
    agreed, whole = np.square(rows.mean(axis=1)).sum(axis=1) * metrics, np.square(rows).sum(axis=(1, 2))
    found: bootstrap.Floats = np.divide(agreed, whole, out=np.full(many, np.nan), where=whole > 0)
    return found


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
