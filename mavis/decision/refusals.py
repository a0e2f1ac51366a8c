"""On which grounds nothing is recommended, R1 to R12, each with its numbers. Pure.

docs/refusals/ has a page for every code: what it means and what to do.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mavis.analysis.findings import ExplainerEntry, MetricSummary, Refusal, Reliability, Validity
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.decision.comparison import Comparison
from mavis.decision.overall_score import ScoreTable
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class Evidence:
    """What the decision rests on, for one model.

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
        comparison: what the scores say of the eligible methods.
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
        words = f"no method passed every gate: {_gate_failures(evidence.entries)}."
        return [*before, Refusal(code="R3", reason=words)]
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


def _weak_model(validity: Validity, protocol: Protocol) -> Iterator[Refusal]:
    """R1: overall, or in a group of the first attribute."""
    found = validity.balanced_accuracy
    if not validity.better_than_chance:
        words = (
            f"the model is not better than chance: balanced accuracy {found.mean:.2f}, lower end {found.low:.2f}, "
            f"chance {validity.chance:.2f}."
        )
        yield Refusal(code="R1", reason=words)
        return
    first = protocol.data.groups[0]
    weak = [
        f"{one.group} ({one.correct} of {one.estimate.n} right)"
        for one in validity.groups
        if one.attribute == first and one.group in validity.weak_groups
    ]
    if weak:
        words = f"the model is not shown to be better than chance on images of {first} labelled {', '.join(weak)}."
        yield Refusal(code="R1", reason=words)


def _small_groups(counts: Mapping[str, int], protocol: Protocol) -> Iterator[Refusal]:
    """R2: groups with too few images."""
    least = protocol.data.n_per_group.min_report
    small = [f"{name} ({n})" for name, n in sorted(counts.items()) if n < least]
    if small:
        words = f"too few images in {protocol.data.groups[0]} labelled {', '.join(small)}; at least {least} are needed."
        yield Refusal(code="R2", reason=words)


def unreliable_imputers(reliability: Sequence[Reliability]) -> set[str]:
    """Imputers under which the model does not know enough images any more."""
    return {one.imputer for one in reliability if one.reliable is False}


def _no_reliable_imputer(reliability: Sequence[Reliability], protocol: Protocol) -> Iterator[Refusal]:
    """R7: none of the imputers that the primary metric rests on is reliable."""
    used = protocol.metrics.get(protocol.decide.primary, {}).get("imputers")
    judged = [one for one in reliability if one.reliable is not None and (used is None or one.imputer in used)]
    if judged and not any(one.reliable for one in judged):
        kept = ", ".join(f"{one.imputer} {one.kept.mean:.0%}" for one in judged)
        words = (
            f"no imputer is reliable: with {judged[0].fraction:.0%} of the cells removed the model keeps its "
            f"prediction for too few images ({kept}), so removing parts of an image says little."
        )
        yield Refusal(code="R7", reason=words)


def _training_leakage(validity: Validity, protocol: Protocol) -> Iterator[Refusal]:
    """R8: images that the model was trained on."""
    leak = validity.leak
    if leak is not None and leak.excessive and leak.rate is not None and protocol.data.leak is not None:
        words = (
            f"{leak.rate:.1%} of the images are, or look like, training images ({leak.exact} the same, {leak.near} "
            f"nearly the same); at most {protocol.data.leak.max_rate:.1%} may be."
        )
        yield Refusal(code="R8", reason=words)


def _protocol_overrides(protocol: Protocol) -> Iterator[Refusal]:
    """R11: a frozen protocol is followed, or it is not that protocol."""
    if protocol.status == "frozen" and protocol.overrides:
        changed = ", ".join(protocol.overrides)
        words = (
            f"the protocol {protocol.protocol} is frozen and this run changed it ({changed}): its name would promise "
            f"what was not done."
        )
        yield Refusal(code="R11", reason=words)


def _gate_failures(entries: Sequence[ExplainerEntry]) -> str:
    """At which gates the methods ended, e.g. "G3 stops saliency; G5 is not assessed for gradcam"."""
    said: dict[str, list[str]] = {}
    for entry in entries:
        for gate in entry.gates:
            if not gate.passed:
                how = "stops" if gate.passed is False else "is not assessed for"
                said.setdefault(f"{gate.id} {how}", []).append(entry.explainer)
    return "; ".join(f"{gate} {', '.join(names)}" for gate, names in sorted(said.items())) or "no method was run"


def _no_score(evidence: Evidence, protocol: Protocol) -> Refusal:
    """Why no eligible method has an overall score: the primary metric has no unit (R4), or it has no values (R10)."""
    skills, primary = evidence.score_table.skills, protocol.decide.primary
    why = skills.unscaled_reasons.get(primary)
    if primary in skills.flat_metrics:
        return Refusal(code="R4", reason=f"{why}: a map that knows nothing does as well.")
    return Refusal(code="R10", reason=f"{why or f'no eligible method has {primary} and all that decides with it'}.")


def _unbeaten_controls(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R4: a control that the leader is not shown to beat on the primary metric.

    On that metric alone, since a map that ignores the image is perfectly robust.
    """
    leader, primary = comparison.leading_set[0], protocol.decide.primary
    controls = [e.explainer for e in evidence.entries if e.role == "control"]
    ahead = _skill_leads(evidence.score_table, primary, leader, controls)
    for name, lead in _leads_within_margin(ahead, protocol.decide.rope, protocol):
        words = (
            f"the control {name} does as well as the leader {leader} on {primary}: {leader} is ahead by "
            f"{lead.mean:.3f} of the scale, perhaps only {lead.lower_bound:.3f} (more than "
            f"{protocol.decide.rope:g} matters)."
        )
        yield Refusal(code="R4", reason=words)


def _oracle_order(evidence: Evidence, protocol: Protocol) -> Iterator[Refusal]:
    """R4: with planted truth, a control shown to beat the oracle, or another oracle not shown to be worse."""
    standing, primary, rope = evidence.score_table, protocol.decide.primary, protocol.decide.rope
    known = standing.skills.scale.ceiling
    others = {e.explainer: e.role for e in evidence.entries if e.role in ("control", "oracle") and e.explainer != known}
    if known not in {e.explainer for e in evidence.entries if e.role == "oracle"}:
        return
    controls = [name for name, role in others.items() if role == "control"]
    behind = {name: -column for name, column in _skill_leads(standing, primary, known, controls).items()}
    shown = behind.keys() - {name for name, _ in _leads_within_margin(behind, rope, protocol)}
    for name in sorted(shown):
        words = f"the control {name} beats the {known} on {primary}, by {behind[name][0]:.3f} of the scale."
        yield Refusal(code="R4", reason=words)
    oracles = [name for name, role in others.items() if role == "oracle"]
    for name, lead in _leads_within_margin(_skill_leads(standing, primary, known, oracles), rope, protocol):
        words = (
            f"{primary} does not put the {known} before {name}: ahead by {lead.mean:.3f}, "
            f"perhaps {lead.lower_bound:.3f}."
        )
        yield Refusal(code="R4", reason=words)


@dataclass(frozen=True)
class _SkillLead:
    mean: float
    lower_bound: float


def _skill_leads(
    score_table: ScoreTable, metric: str, leader: str, opponents: Sequence[str]
) -> dict[str, bootstrap.Floats]:
    """``(1+draws,)`` by which one explainer's skill is above that of others that have one."""
    skills = score_table.skills
    if metric not in skills.metrics or leader not in skills.explainers:
        return {}
    rows = skills.macro[:, skills.metrics.index(metric)]
    found = {
        n: rows[:, score_table.index_of(leader)] - rows[:, score_table.index_of(n)]
        for n in opponents
        if n in skills.explainers
    }
    return {n: column for n, column in found.items() if not np.isnan(column).any()}


def _leads_within_margin(
    columns: Mapping[str, bootstrap.Floats], margin: float, protocol: Protocol
) -> list[tuple[str, _SkillLead]]:
    """Those of the leads that are not shown to be larger than the margin."""
    if not columns:
        return []
    draws = np.stack([column[1:] for column in columns.values()], axis=1)
    larger, bounds = multiple_testing.holm_exceeds(draws, margin, protocol.aggregate.confidence)
    found = zip(columns.items(), larger, bounds, strict=True)
    return [(name, _SkillLead(float(column[0]), float(bound))) for (name, column), large, bound in found if not large]


def _low_concordance(comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R5: the metrics of the primary one's category are shown to contradict each other."""
    checks, least = comparison.cross_checks, protocol.decide.min_concordance
    upper = checks.concordance_upper if checks else None
    if checks is not None and upper is not None and len(comparison.order) > 2 and upper < least:
        words = (
            f"the metrics that should measure the same as {protocol.decide.primary} order the methods differently: "
            f"Kendall's W {checks.concordance_within:.2f}, at most {upper:.2f}; at least {least:.2f} is asked for."
        )
        yield Refusal(code="R5", reason=words)


def _imputer_disagreement(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R5: what removed cells show decides who leads."""
    if comparison.cross_checks is None:
        return
    bad = unreliable_imputers(evidence.reliability)
    trusted = {
        label: names
        for label, names in comparison.cross_checks.leaders.items()
        if names and not bad & set(protocol.metrics.get(label, {}).get("imputers", ()))
    }
    if trusted and not set(comparison.leading_set).intersection(*trusted.values()):
        said = "; ".join(f"{label}: {', '.join(names)}" for label, names in trusted.items())
        words = f"who leads depends on what removed parts show, and nobody is among the first every time ({said})."
        yield Refusal(code="R5", reason=words)


def _group_reversal(comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R9: who is shown to be worse over all images is shown to be better in a group."""
    other = [lead for lead in comparison.group_leads if lead.explainer not in comparison.leading_set]
    if other:
        said = ", ".join(f"{lead.explainer} for {lead.group} (by {lead.mean:.3f})" for lead in other)
        words = (
            f"the best method differs between groups of {protocol.data.groups[0]}: {comparison.leading_set[0]} "
            "leads over all, "
            f"but is beaten by {said}, as labelled."
        )
        yield Refusal(code="R9", reason=words)


def _missing_scores(evidence: Evidence, comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R10: too many scores are missing in a group, or far more in one group than in another."""
    for entry in evidence.entries:
        summary = next((m for m in entry.metrics if m.metric == protocol.decide.primary), None)
        if entry.explainer in comparison.leading_set and summary is not None:
            words = _missing_scores_text(summary, protocol)
            if words:
                yield Refusal(code="R10", reason=f"{entry.explainer} has no {summary.metric} for {words}")
                return


def _missing_scores_text(summary: MetricSummary, protocol: Protocol) -> str | None:
    """Which groups of the first attribute lack how many scores, where that is too many."""
    rules, found = protocol.decide, {}
    for group in summary.groups:
        lost, whole = group.undefined + group.failed, group.estimate.n + group.undefined + group.failed
        if group.attribute == protocol.data.groups[0] and whole:
            found[group.group] = (lost, whole)
    shares = sorted((lost / whole, name) for name, (lost, whole) in found.items())
    many = [
        f"{found[name][0]} of {found[name][1]} labelled {name}" for share, name in shares if share > rules.max_undefined
    ]
    if many:
        return f"too many images: {', '.join(many)}; at most {rules.max_undefined:.0%} of a group may be missing."
    if shares and shares[-1][0] - shares[0][0] > rules.max_undefined_gap:
        (low, least), (high, most) = shares[0], shares[-1]
        return (
            f"{high:.1%} of the images labelled {most} and {low:.1%} of those labelled {least}; these shares may "
            f"differ by at most {rules.max_undefined_gap:.0%}."
        )
    return None


def _too_few_or_tied(comparison: Comparison, protocol: Protocol) -> Iterator[Refusal]:
    """R12, or else R6: too few methods to choose from, or no basis to prefer one."""
    number, best = len(comparison.order), max(comparison.prob_best.values(), default=0.0)
    if number < protocol.decide.min_candidates:
        words = (
            f"methods that passed every gate and have a score: {number}; fewer than {protocol.decide.min_candidates} "
            f"are a comparison, not a recommendation."
        )
        yield Refusal(code="R12", reason=words)
    elif len(comparison.leading_set) * 2 > number and best < 0.5:
        words = (
            f"{len(comparison.leading_set)} of {number} eligible methods are not shown to differ and none leads in "
            "half of the "
            f"draws: no basis to prefer."
        )
        yield Refusal(code="R6", reason=words)
