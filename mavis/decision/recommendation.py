"""The recommendation: which method, or why none. Pure: evidence in, codes and values out.

Gates first, then rank: the leader is the eligible method with the highest overall score; the set holds every eligible
method that is not shown to be worse than the leader by more than the region of practical equivalence. Nothing is
recommended on one of the stated grounds R1 to R12; the tables are shown anyway.
"""

from collections.abc import Iterator, Sequence

from mavis.analysis.findings import CrossChecks, Estimate, ExplainerEntry, Note, Recommendation, make_note
from mavis.decision import comparison, overall_score, refusals
from mavis.decision.comparison import Comparison
from mavis.decision.overall_score import ScoreTable
from mavis.decision.refusals import Evidence
from mavis.protocol.schema import Protocol


def recommend(evidence: Evidence, protocol: Protocol) -> Recommendation:
    """The recommendation for one model.

    Args:
        evidence: see `Evidence`.
        protocol: the rules.
    """
    score_table, counts = evidence.score_table, dict(evidence.group_counts)
    compared = comparison.compare_eligible(score_table, evidence.eligible, counts, protocol)
    grounds = refusals.find_refusals(evidence, compared, protocol)
    tied = compared.leading_set
    pick, pick_reason = (None, None) if grounds else _choose_default(evidence, tied)
    return Recommendation(
        status="refused" if grounds else "tied" if len(tied) > 1 else "recommended",
        leader=tied[0] if tied else None,
        set=() if grounds else tied,
        pick=pick,
        pick_reason=pick_reason,
        refusals=tuple(grounds),
        overall=_overall_estimates(score_table, compared.order, protocol.aggregate.confidence),
        leader_categories=_category_scores(score_table, tied[0]) if tied else {},
        gaps_to_leader=tuple(compared.gaps_to_leader.values()),
        group_leads=compared.group_leads,
        other_leaders=_other_leaders(compared.cross_checks, tied),
        prob_best=compared.prob_best,
        weights=dict(zip(score_table.total.categories, score_table.total.weights.tolist(), strict=True)),
        floor=score_table.skills.scale.floor,
        ceiling=score_table.skills.scale.ceiling,
        rope=protocol.decide.rope,
        provisional=tuple(_provisional_notes(evidence, compared)),
        not_assessed=tuple(_not_assessed(evidence, protocol)),
        cross_checks=compared.cross_checks,
    )


def _choose_default(evidence: Evidence, tied: Sequence[str]) -> tuple[str | None, Note | None]:
    """The default inside a tie set: clearly the cheapest, else the one that draws no random numbers; else none."""
    if len(tied) < 2:
        return tied[0], None
    deterministic = [name for name in tied if name not in evidence.stochastic]
    for names, code in ((tied, "pick.cheapest"), (deterministic, "pick.cheapest_deterministic")):
        costs = sorted((_model_samples(e), e.explainer) for e in evidence.entries if e.explainer in names)
        if len(costs) > 1 and costs[1][0] >= 2 * costs[0][0] > 0:
            (cost, name), (next_cost, _) = costs[:2]
            return name, make_note(code, cost=cost, next_cost=next_cost)
    if len(deterministic) == 1:
        return deterministic[0], make_note("pick.only_deterministic")
    return None, make_note("pick.none")


def _model_samples(entry: ExplainerEntry) -> float:
    """Forwards and backwards an image; a backward counts as two forwards."""
    cost = {summary.metric: summary.estimate.mean or 0.0 for summary in entry.metrics}
    return cost.get("forwards", 0.0) + 2 * cost.get("backwards", 0.0)


def _overall_estimates(score_table: ScoreTable, order: Sequence[str], confidence: float) -> dict[str, Estimate]:
    """Overall scores of the compared methods; each has one, or it would not be compared."""
    estimates = {name: overall_score.explainer_overall(score_table, name, confidence) for name in order}
    return {name: estimate for name, estimate in estimates.items() if estimate is not None}


def _category_scores(score_table: ScoreTable, explainer: str) -> dict[str, float]:
    scores = score_table.total.category_scores[0, :, score_table.index_of(explainer)]
    return dict(zip(score_table.total.categories, scores.tolist(), strict=True))


def _other_leaders(checks: CrossChecks | None, tied: Sequence[str]) -> dict[str, str]:
    """Leaders under the alternative aggregations, where they are outside the tied methods."""
    if checks is None or len(checks.borda) < 2:
        return {}
    leaders = {
        "borda": max(checks.borda, key=checks.borda.__getitem__),
        "mean_rank": min(checks.mean_rank, key=checks.mean_rank.__getitem__),
        "smaa": max(checks.smaa, key=checks.smaa.__getitem__),
    }
    return {check: name for check, name in leaders.items() if name not in tied}


def _provisional_notes(evidence: Evidence, compared: Comparison) -> Iterator[Note]:
    """Notes on what could not be assessed and could have changed the answer."""
    gates: dict[str, list[str]] = {}
    for entry in evidence.entries:
        for gate in entry.gates:
            if entry.explainer in compared.leading_set and (gate.passed is None or gate.impossible):
                gates.setdefault(gate.id, []).append(entry.explainer)
    for gate_id, names in sorted(gates.items()):
        yield make_note("provisional.gate", gate=gate_id, explainers=names)
    if evidence.validity.leak is not None and not evidence.validity.leak.known:
        yield make_note("provisional.training_images")


def _not_assessed(evidence: Evidence, protocol: Protocol) -> Iterator[Note]:
    """Notes on what the answer does not rest on."""
    score_table = evidence.score_table
    yield from score_table.deciding.reasons
    unscaled = score_table.skills.unscaled_reasons
    yield from (note for metric, note in unscaled.items() if metric in score_table.deciding.metrics)
    present = score_table.total.categories
    absent = [category for category in protocol.decide.weights if category not in present]
    if absent and present:
        yield make_note("left_out.categories", categories=absent)
    if present:
        yield from _methods_without_score(evidence)
    unreliable = sorted(refusals.unreliable_imputers(evidence.reliability))
    if unreliable:
        yield make_note("left_out.imputers", imputers=unreliable)
    if protocol.overrides:
        yield make_note("left_out.protocol", protocol=protocol.protocol, overrides=[*protocol.overrides])
    min_models = protocol.aggregate.min_blocks
    if evidence.n_models < min_models:
        yield make_note("left_out.other_models", n_models=evidence.n_models, min_models=min_models)


def _methods_without_score(evidence: Evidence) -> Iterator[Note]:
    """A note per reason for which methods have no overall score."""
    names_by_reason: dict[str, list[str]] = {}
    for entry in evidence.entries:
        if entry.role == "method" and not evidence.score_table.has_score(entry.explainer):
            names_by_reason.setdefault((entry.missing or "").rstrip("."), []).append(entry.explainer)
    for reason, names in names_by_reason.items():
        if reason:
            yield make_note("left_out.methods", explainers=names, reason=reason)
        else:
            yield make_note("left_out.methods_without_score", explainers=names)
