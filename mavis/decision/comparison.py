"""Who leads, and who cannot be told from the leader: over all images, under every imputer, in every group. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mavis.analysis.findings import CrossChecks
from mavis.analysis.statistics import bootstrap, multiple_testing, ranking
from mavis.decision import overall_score
from mavis.decision.overall_score import Standing, Total
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class Behind:
    """How far a method is behind the leader.

    Attributes:
        mean: difference of the overall scores.
        bound: lower end of its interval, corrected by Holm over all methods that are compared.
        worse: shown to be worse by more than matters.
    """

    mean: float
    bound: float
    worse: bool


@dataclass(frozen=True)
class Lead:
    """A method that is better than the leader on the images of one group.

    Attributes:
        group: its name.
        explainer: the method.
        mean: by how much.
        bound: lower end, corrected by Holm over all groups and methods.
    """

    group: str
    explainer: str
    mean: float
    bound: float


@dataclass(frozen=True)
class Contest:
    """What the scores say of the eligible methods.

    Attributes:
        order: those that have an overall score, the best first.
        chosen: those that cannot be told from the leader; the leader first, empty without one.
        behind: the others, compared with the leader.
        dominated: methods that are nowhere better than another and somewhere worse; and that other one.
        p_best: share of the draws in which each leads.
        by_group: who is better than the leader in a group large enough for a claim.
        checks: who leads otherwise; None where nobody leads.
    """

    order: tuple[str, ...]
    chosen: tuple[str, ...]
    behind: dict[str, Behind]
    dominated: dict[str, str]
    p_best: dict[str, float]
    by_group: tuple[Lead, ...]
    checks: CrossChecks | None


def hold(standing: Standing, eligible: Sequence[str], counts: dict[str, int], protocol: Protocol) -> Contest:
    """Compares the eligible methods.

    Args:
        standing: of all explainers.
        eligible: methods that passed every gate.
        counts: images per group of the first attribute.
        protocol: the rules.

    Source: protocol S12.
    """
    order = _ordered(standing, standing.total, eligible)
    if not order:
        return Contest((), (), {}, {}, {}, (), None)
    behind = compared(standing, standing.total, order, protocol)
    dominated = overall_score.dominated(standing, order, protocol.decide.rope)
    chosen = (order[0], *(name for name, one in behind.items() if not one.worse and name not in dominated))
    return Contest(
        order=tuple(order),
        chosen=chosen,
        behind=behind,
        dominated=dominated,
        p_best=_p_best(standing, order),
        by_group=tuple(_leads(standing, order, counts, protocol)),
        checks=_cross_checks(standing, order, protocol),
    )


def compared(standing: Standing, total: Total, order: Sequence[str], protocol: Protocol) -> dict[str, Behind]:
    """How far each of the others is behind the first."""
    if len(order) < 2:
        return {}
    rows = total.overall[:, [standing.place(name) for name in order]]
    lead = _known(rows[:, :1] - rows[:, 1:])
    if len(lead) < 2:
        return {name: Behind(float("nan"), float("nan"), worse=False) for name in order[1:]}
    worse, bounds = multiple_testing.holm_excluded(lead[1:], protocol.decide.rope, protocol.aggregate.confidence)
    return {
        name: Behind(float(mean), float(bound), bool(w))
        for name, mean, bound, w in zip(order[1:], lead[0], bounds, worse, strict=True)
    }


def _ordered(standing: Standing, total: Total, names: Sequence[str]) -> list[str]:
    """Those that have a score, the best first; equal ones by name."""
    scored = [(-total.overall[0, standing.place(n)], n) for n in names if n in standing.skills.explainers]
    return [name for score, name in sorted(scored) if not np.isnan(score)]


def _known(rows: bootstrap.Floats) -> bootstrap.Floats:
    """Rows in which every column has a value."""
    return rows[~np.isnan(rows).any(axis=1)]


def _p_best(standing: Standing, order: Sequence[str]) -> dict[str, float]:
    draws = _known(standing.total.overall[1:, [standing.place(name) for name in order]])
    return dict(zip(order, ranking.first_shares(draws).tolist(), strict=True)) if len(draws) else {}


def _leads(standing: Standing, order: Sequence[str], counts: dict[str, int], protocol: Protocol) -> list[Lead]:
    """Per group the method that leads there, where it is shown to be better than the leader by more than matters."""
    pairs, columns = [], []
    for group in standing.skills.groups:
        if counts.get(group, 0) < protocol.data.n_per_group.min_claim:
            continue
        overall = overall_score.within(standing, group).overall
        first = overall[:, standing.place(order[0])]
        for name in order[1:]:
            ahead = overall[:, standing.place(name)] - first
            if not np.isnan(ahead).any():
                pairs.append((group, name))
                columns.append(ahead)
    if not columns:
        return []
    ahead = np.stack(columns, axis=1)
    better, bounds = multiple_testing.holm_excluded(ahead[1:], protocol.decide.rope, protocol.aggregate.confidence)
    shown = [Lead(*pair, float(ahead[0, k]), float(bounds[k])) for k, pair in enumerate(pairs) if better[k]]
    best: dict[str, Lead] = {}
    for lead in shown:
        if lead.group not in best or lead.mean > best[lead.group].mean:
            best[lead.group] = lead
    return list(best.values())


def _cross_checks(standing: Standing, order: Sequence[str], protocol: Protocol) -> CrossChecks:
    """Who leads under other ways to sum up, among the eligible methods."""
    places = [standing.place(name) for name in order]
    scores, weights = standing.total.scores[0][:, places], standing.total.weights
    skills, category = standing.skills, standing.category
    rows = [skills.metrics.index(metric) for metric in standing.counting.metrics if metric in skills.metrics]
    inside = [row for row in rows if category[skills.metrics[row]] == category[standing.primary]]
    table = skills.macro[:, :, places]
    points = ranking.borda(scores, weights) / max(1, len(order) - 1)
    mean_rank = ranking.rank_rows(table[0, rows], higher_is_better=True).mean(axis=0)
    alike = concordances(table[:, inside])
    smaa = ranking.smaa(scores, draws=protocol.aggregate.smaa, seed=protocol.seed)
    return CrossChecks(
        borda=dict(zip(order, points.tolist(), strict=True)),
        mean_rank=dict(zip(order, mean_rank.tolist(), strict=True)),
        smaa=dict(zip(order, smaa.tolist(), strict=True)),
        concordance=_number(concordances(table[:1, rows])[0]),
        concordance_within=_number(alike[0]),
        concordance_upper=_number(bootstrap.percentiles(alike[1:, None], protocol.aggregate.confidence)[1][0]),
        leaders={label: leaders(standing, label, order, protocol) for label in imputers(standing, protocol)},
    )


def imputers(standing: Standing, protocol: Protocol) -> list[str]:
    """The primary metric once for every imputer, as far as it was run and has a unit."""
    return [label for label in protocol.decide.imputers if label in standing.skills.metrics]


def leaders(standing: Standing, label: str, methods: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Those that cannot be told from the leader if the primary metric rests on one imputer alone."""
    total = overall_score.under(standing, label)
    order = _ordered(standing, total, methods)
    behind = compared(standing, total, order, protocol)
    return (*order[:1], *(name for name, one in behind.items() if not one.worse))


def concordances(table: bootstrap.Floats) -> bootstrap.Floats:
    """Kendall's W of many tables at once, as `ranks.kendall_w`.

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


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
