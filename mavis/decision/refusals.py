"""Refusals R1 to R12: the grounds on which nothing is recommended, each with its numbers. Pure.

docs/refusals/ has a page for every code: what it means and what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mavis.analysis.findings import ExplainerEntry, MetricSummary, Refusal, Reliability, Validity
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.decision.comparison import Comparison
from mavis.decision.overall_score import ScoreTable
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class Evidence:
    """Basis of the decision, for one model.

    Attributes:
        entries: its leaderboard.
        score_table: skills and overall scores of all explainers.
        validity: of the model.
        group_counts: images per group of the first attribute.
        reliability: of the imputers; empty where it was not measured.
        stochastic: explainers that draw random numbers.
        n_models: how many models are in the run.
    """

    entries: tuple[ExplainerEntry, ...]
    score_table: ScoreTable
    validity: Validity
    group_counts: Mapping[str, int]
    reliability: tuple[Reliability, ...] = ()
    stochastic: frozenset[str] = frozenset()
    n_models: int = 1

    @property
    def eligible(self) -> list[str]:
        """Methods that passed every gate."""
        return [entry.explainer for entry in self.entries if entry.eligible]


def find_refusals(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> list[Refusal]:
    """Every ground on which nothing may be recommended, the weightiest first.

    Args:
        evidence: see `Evidence`.
        comparison: of the eligible methods.
        protocol: the rules.

    Source: protocol S13.
    """
    before = [
        *_weak_model(evidence.validity, protocol),
        *_small_groups(evidence.group_counts, protocol),
        *_no_reliable_imputer(evidence.reliability, protocol),
        *_training_leakage(evidence.validity, protocol),
        *_protocol_overrides(protocol),
    ]
    if not evidence.eligible:
        return [*before, _refusal(code="R3", kind="R3.gates", gates=_gate_failures(evidence.entries))]
    if not comparison.leading_set:
        return [*before, _no_score(evidence, protocol)]
    return [
        *before,
        *_unbeaten_controls(evidence, comparison, protocol),
        *_oracle_order(evidence, protocol),
        *_low_concordance(comparison, protocol),
        *_imputer_disagreement(evidence, comparison, protocol),
        *_group_reversal(comparison, protocol),
        *_missing_scores(evidence, comparison, protocol),
        *_too_few_or_tied(comparison, protocol),
    ]


def _refusal(*, code: str, kind: str, **values: Any) -> Refusal:
    return Refusal(code=code, kind=kind, values=values)


def _weak_model(validity: Validity, protocol: Protocol) -> Iterator[Refusal]:
    """R1: overall, or in a group of the first attribute."""
    balanced, attribute = validity.balanced_accuracy, protocol.data.groups[0]
    if balanced.high is not None and balanced.high < validity.chance:
        yield _refusal(
            code="R1", kind="R1.below_chance", mean=balanced.mean, high=balanced.high, chance=validity.chance
        )
        return
    if not validity.better_than_chance:
        yield _refusal(code="R1", kind="R1.model", mean=balanced.mean, low=balanced.low, chance=validity.chance)
        return
    weak = [
        {"group": group.group, "correct": group.correct, "n": group.estimate.n}
        for group in validity.groups
        if group.attribute == attribute and group.weak
    ]
    if weak:
        yield _refusal(code="R1", kind="R1.groups", attribute=attribute, groups=weak)


def _small_groups(counts: Mapping[str, int], protocol: Protocol) -> Iterator[Refusal]:
    """R2: groups with too few images."""
    minimum = protocol.data.n_per_group.min_report
    small = [{"group": name, "n": n} for name, n in sorted(counts.items()) if n < minimum]
    if small:
        attribute = protocol.data.groups[0]
        yield _refusal(code="R2", kind="R2.groups", attribute=attribute, groups=small, min_report=minimum)


def unreliable_imputers(reliability: Sequence[Reliability]) -> set[str]:
    """Imputers under which the model keeps its prediction for too few images."""
    return {row.imputer for row in reliability if row.reliable is False}


def _no_reliable_imputer(reliability: Sequence[Reliability], protocol: Protocol) -> Iterator[Refusal]:
    """R7: none of the imputers that the primary metric rests on is reliable."""
    used = protocol.metrics.get(protocol.decide.primary, {}).get("imputers")
    judged = [row for row in reliability if row.reliable is not None and (used is None or row.imputer in used)]
    if judged and not any(row.reliable for row in judged):
        shares = {row.imputer: row.kept.mean for row in judged}
        yield _refusal(code="R7", kind="R7.imputers", fraction=judged[0].fraction, shares=shares)


def _training_leakage(validity: Validity, protocol: Protocol) -> Iterator[Refusal]:
    """R8: images that the model was trained on."""
    leak = validity.leak
    if leak is not None and leak.excessive and leak.rate is not None and protocol.data.leak is not None:
        counts = {"rate": leak.rate, "exact": leak.exact, "near": leak.near}
        yield _refusal(code="R8", kind="R8.leak", **counts, max_rate=protocol.data.leak.max_rate)


def _protocol_overrides(protocol: Protocol) -> Iterator[Refusal]:
    """R11: a frozen protocol is followed, or it is not that protocol."""
    if protocol.status == "frozen" and protocol.overrides:
        overrides = [*protocol.overrides]
        yield _refusal(code="R11", kind="R11.overrides", protocol=protocol.protocol, overrides=overrides)


def _gate_failures(entries: Sequence[ExplainerEntry]) -> list[dict[str, Any]]:
    """Per gate the methods that it stops, and those for which it could not be assessed."""
    stopped: dict[tuple[str, bool], list[str]] = {}
    for entry in entries:
        for gate in entry.gates:
            if not gate.passed:
                stopped.setdefault((gate.id, gate.passed is None), []).append(entry.explainer)
    # Of one gate, "not assessed" comes first.
    order = sorted(stopped, key=lambda key: (key[0], not key[1]))
    return [{"gate": gate, "open": is_open, "explainers": stopped[gate, is_open]} for gate, is_open in order]


def _no_score(evidence: Evidence, protocol: Protocol) -> Refusal:
    """No eligible method has an overall score: the primary metric has no unit (R4), or it has no values (R10)."""
    skills, primary = evidence.score_table.skills, protocol.decide.primary
    reason = skills.unscaled_reasons.get(primary)
    if reason is not None and primary in skills.flat_metrics:
        return _refusal(code="R4", kind="R4.scale", **reason.values)
    if reason is not None:
        return _refusal(code="R10", kind="R10.scale", **reason.values)
    return _refusal(code="R10", kind="R10.methods", metric=primary)


def _unbeaten_controls(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R4: a control that the leader is not shown to beat on the primary metric.

    On that metric alone, since a map that ignores the image is perfectly robust.
    """
    leader, primary, rope = comparison.leading_set[0], protocol.decide.primary, protocol.decide.rope
    controls = [entry.explainer for entry in evidence.entries if entry.role == "control"]
    ahead = _skill_leads(evidence.score_table, primary, leader, controls)
    for name, lead in _leads_within_margin(ahead, rope, protocol):
        numbers = {"mean": lead.mean, "lower_bound": lead.lower_bound, "rope": rope}
        yield _refusal(code="R4", kind="R4.control", control=name, leader=leader, metric=primary, **numbers)


def _oracle_order(evidence: Evidence, protocol: Protocol) -> Iterator[Refusal]:
    """R4: with planted truth, a control shown to beat the oracle, or another oracle not shown to be worse."""
    score_table, primary, rope = evidence.score_table, protocol.decide.primary, protocol.decide.rope
    oracle = score_table.skills.scale.ceiling
    roles = {entry.explainer: entry.role for entry in evidence.entries}
    if roles.get(oracle) != "oracle":
        return
    controls = [name for name, role in roles.items() if role == "control"]
    behind = {name: -column for name, column in _skill_leads(score_table, primary, oracle, controls).items()}
    shown = behind.keys() - {name for name, _ in _leads_within_margin(behind, rope, protocol)}
    for name in sorted(shown):
        names = {"control": name, "oracle": oracle, "metric": primary}
        yield _refusal(code="R4", kind="R4.control_beats_oracle", **names, mean=float(behind[name][0]))
    oracles = [name for name, role in roles.items() if role == "oracle" and name != oracle]
    for name, bounded in _leads_within_margin(_skill_leads(score_table, primary, oracle, oracles), rope, protocol):
        numbers = {"mean": bounded.mean, "lower_bound": bounded.lower_bound}
        yield _refusal(code="R4", kind="R4.oracle", metric=primary, oracle=oracle, other=name, **numbers)


@dataclass(frozen=True)
class _SkillLead:
    mean: float
    lower_bound: float


def _skill_leads(
    score_table: ScoreTable, metric: str, leader: str, opponents: Sequence[str]
) -> dict[str, bootstrap.Floats]:
    """``(1+draws,)``: one explainer's skill minus that of each opponent that has one."""
    skills = score_table.skills
    if metric not in skills.metrics or leader not in skills.explainers:
        return {}
    rows = skills.macro[:, skills.metrics.index(metric)]
    leads = {
        name: rows[:, score_table.index_of(leader)] - rows[:, score_table.index_of(name)]
        for name in opponents
        if name in skills.explainers
    }
    return {name: column for name, column in leads.items() if not np.isnan(column).any()}


def _leads_within_margin(
    columns: Mapping[str, bootstrap.Floats], margin: float, protocol: Protocol
) -> list[tuple[str, _SkillLead]]:
    """Those of the leads that are not shown to be larger than the margin."""
    if not columns:
        return []
    draws = np.stack([column[1:] for column in columns.values()], axis=1)
    larger, bounds = multiple_testing.holm_exceeds(draws, margin, protocol.aggregate.confidence)
    return [
        (name, _SkillLead(float(column[0]), float(bound)))
        for (name, column), is_larger, bound in zip(columns.items(), larger, bounds, strict=True)
        if not is_larger
    ]


def _low_concordance(comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R5: the metrics of the primary one's category are shown to contradict each other."""
    checks, minimum = comparison.cross_checks, protocol.decide.min_concordance
    upper = checks.concordance_upper if checks else None
    if checks is not None and upper is not None and len(comparison.order) > 2 and upper < minimum:
        numbers = {"within": checks.concordance_within, "upper": upper, "minimum": minimum}
        yield _refusal(code="R5", kind="R5.metrics", metric=protocol.decide.primary, **numbers)


def _imputer_disagreement(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R5: the imputer decides who leads."""
    if comparison.cross_checks is None:
        return
    unreliable = unreliable_imputers(evidence.reliability)
    leaders = {
        label: names
        for label, names in comparison.cross_checks.leaders.items()
        if names and not unreliable & set(protocol.metrics.get(label, {}).get("imputers", ()))
    }
    if leaders and not set(comparison.leading_set).intersection(*leaders.values()):
        yield _refusal(code="R5", kind="R5.imputers", leaders={label: [*names] for label, names in leaders.items()})


def _group_reversal(comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R9: a method that is shown to be worse over all images is shown to be better in a group."""
    leads = [
        {"explainer": lead.explainer, "group": lead.group, "mean": lead.mean}
        for lead in comparison.group_leads
        if lead.explainer not in comparison.leading_set
    ]
    if leads:
        names = {"attribute": protocol.data.groups[0], "leader": comparison.leading_set[0]}
        yield _refusal(code="R9", kind="R9.groups", **names, leads=leads)


def _missing_scores(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R10: too many scores are missing in a group, or far more in one group than in another."""
    for entry in evidence.entries:
        summary = next((summary for summary in entry.metrics if summary.metric == protocol.decide.primary), None)
        if entry.explainer in comparison.leading_set and summary is not None:
            refusal = _missing_share_refusal(entry.explainer, summary, protocol)
            if refusal is not None:
                yield refusal
                return


def _missing_share_refusal(explainer: str, summary: MetricSummary, protocol: Protocol) -> Refusal | None:
    """The groups of the first attribute that lack too many scores; None where that is few enough."""
    rules = protocol.decide
    counts: dict[str, dict[str, Any]] = {}
    for group in summary.groups:
        n_missing = group.undefined + group.failed
        n = group.estimate.n + n_missing
        if group.attribute == protocol.data.groups[0] and n:
            counts[group.group] = {"group": group.group, "missing": n_missing, "n": n}
    shares = sorted((count["missing"] / count["n"], name) for name, count in counts.items())
    above = [counts[name] for share, name in shares if share > rules.max_undefined]
    names = {"explainer": explainer, "metric": summary.metric}
    if above:
        return _refusal(code="R10", kind="R10.missing", **names, groups=above, max_share=rules.max_undefined)
    if shares and shares[-1][0] - shares[0][0] > rules.max_undefined_gap:
        (low, best), (high, worst) = shares[0], shares[-1]
        ends = {"low": low, "low_group": best, "high": high, "high_group": worst}
        return _refusal(code="R10", kind="R10.uneven", **names, **ends, max_gap=rules.max_undefined_gap)
    return None


def _too_few_or_tied(comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R12, or else R6: too few methods to choose from, or no basis to prefer one."""
    n_methods, n_tied = len(comparison.order), len(comparison.leading_set)
    if n_methods < protocol.decide.min_candidates:
        minimum = protocol.decide.min_candidates
        yield _refusal(code="R12", kind="R12.methods", n_methods=n_methods, min_methods=minimum)
    elif n_tied * 2 > n_methods and max(comparison.prob_best.values(), default=0.0) < 0.5:
        yield _refusal(code="R6", kind="R6.tied", n_tied=n_tied, n_methods=n_methods)
