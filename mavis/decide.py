"""Whether a method can be recommended, which, and why. Pure: tables in, a recommendation out.

Gates first, then rank: the leader is the eligible method with the highest primary score; the set holds every eligible
method that is not shown to be worse than the leader by more than the region of practical equivalence. Nothing is
recommended on one of the stated grounds R1 to R12; the tables are shown anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mavis import stats
from mavis.findings import ExplainerEntry, MetricSummary, Recommendation, Refusal, Validity
from mavis.groups import macro_draws, wide
from mavis.leaderboard import rules_of
from mavis.rules import Protocol
from mavis.sampling import joined


@dataclass(frozen=True)
class Evidence:
    """What the decision rests on, for one model.

    Attributes:
        scores: its rows: ``image, explainer, metric, value, status``.
        images: index image id; attributes as columns.
        entries: its leaderboard.
        validity: of the model.
    """

    scores: pd.DataFrame
    images: pd.DataFrame
    entries: tuple[ExplainerEntry, ...]
    validity: Validity


def recommend(evidence: Evidence, protocol: Protocol, *, higher_is_better: bool) -> Recommendation:
    """The recommendation for one model.

    Args:
        evidence: see `Evidence`.
        protocol: the rules.
        higher_is_better: direction of the primary metric.
    """
    evidence = replace(evidence, images=evidence.images.sort_index())
    eligible = [e.explainer for e in evidence.entries if e.eligible]
    draws = _draws(evidence, protocol, eligible, 1 if higher_is_better else -1)
    chosen, reasons = _tie_set(evidence, draws, eligible, protocol)
    refusals = _refusals(evidence, protocol, eligible, chosen, draws)
    p_best = _p_best(draws, eligible)
    if refusals:
        sentence = refusals[0].reason[:1].upper() + refusals[0].reason[1:]
        return Recommendation(
            status="refused",
            set=(),
            pick=None,
            sentence=sentence,
            reasons=tuple(reasons),
            refusals=tuple(refusals),
            p_best=p_best,
        )
    pick, why = _pick(evidence.entries, chosen)
    return Recommendation(
        status="recommended" if len(chosen) == 1 else "tied",
        set=tuple(chosen),
        pick=pick,
        sentence=_sentence(chosen, pick, protocol),
        reasons=(*reasons, *why),
        refusals=(),
        p_best=p_best,
    )


def _draws(evidence: Evidence, protocol: Protocol, methods: Sequence[str], sign: int) -> stats.Floats:
    """``(bootstrap, methods)``: paired draws of the primary score, higher always better, over the images that all have.

    Empty where there is no method or no such image.
    """
    table = wide(evidence.scores, evidence.images)
    wanted = [(name, protocol.decide.primary) for name in methods]
    if not wanted or any(pair not in table.columns for pair in wanted):
        return np.empty((0, len(wanted)))
    values = np.stack([table[pair].to_numpy(dtype=np.float64) for pair in wanted], axis=1)
    values = np.where(np.isnan(values).any(axis=1, keepdims=True), np.nan, values)
    rules = rules_of(protocol, evidence.images)
    draws = sign * macro_draws(values, joined(evidence.images, rules.attributes[0]).tolist(), rules)
    return draws[~np.isnan(draws).any(axis=1)]


def _tie_set(
    evidence: Evidence, draws: stats.Floats, eligible: Sequence[str], protocol: Protocol
) -> tuple[list[str], list[str]]:
    """Methods that are not shown to be worse than the leader, with the numbers as sentences."""
    if not len(draws):
        return [], []
    order = [e.explainer for e in evidence.entries if e.explainer in eligible]
    leader = order[0]
    primary, rope = protocol.decide.primary, protocol.decide.rope
    if len(order) == 1:
        return [leader], [f"{leader} alone passed every gate, {_score(evidence, leader, primary)}."]
    reasons = [f"{leader} leads the {len(order)} methods that passed every gate, {_score(evidence, leader, primary)}."]
    lead = draws[:, [eligible.index(leader)]] - draws[:, [eligible.index(n) for n in order[1:]]]
    worse, bounds = stats.holm_excluded(lead, rope, protocol.aggregate.confidence)
    chosen = [leader]
    for name, excluded, bound, mean in zip(order[1:], worse, bounds, lead.mean(axis=0), strict=True):
        if excluded:
            reasons.append(f"{name} is worse by {mean:.3f}, at least {bound:.3f} (more than {rope:.2f} matters).")
        else:
            chosen.append(name)
            reasons.append(f"{name} is {mean:.3f} behind, perhaps only {bound:.3f}: not distinguishable.")
    return chosen, reasons


def _score(evidence: Evidence, name: str, metric: str) -> str:
    for entry in evidence.entries:
        for found in entry.metrics:
            if entry.explainer == name and found.metric == metric and found.estimate.mean is not None:
                e = found.estimate
                return f"{metric} {e.mean:.3f} [{e.low:.3f}, {e.high:.3f}]" if e.low is not None else f"{e.mean:.3f}"
    return f"{metric} unknown"


def _refusals(
    evidence: Evidence, protocol: Protocol, eligible: Sequence[str], chosen: Sequence[str], draws: stats.Floats
) -> list[Refusal]:
    """Every ground on which nothing may be recommended, the weightiest first."""
    found = [*_model_grounds(evidence.validity), *_sample_grounds(evidence, protocol)]
    if not eligible:
        found.append(Refusal(code="R3", reason=f"no method passed every gate: {_stopped(evidence.entries)}."))
        return found
    if not chosen:
        words = f"no image has {protocol.decide.primary} for every method that passed the gates."
        found.append(Refusal(code="R10", reason=words))
        return found
    found += _score_grounds(evidence, protocol, chosen)
    best = max(_p_best(draws, eligible).values(), default=0.0)
    if len(eligible) < protocol.decide.min_candidates:
        words = (
            f"methods that passed every gate: {len(eligible)}; fewer than {protocol.decide.min_candidates} are a "
            f"comparison, not a recommendation."
        )
        found.append(Refusal(code="R12", reason=words))
    elif len(chosen) * 2 > len(eligible) and best < 0.5:
        words = (
            f"{len(chosen)} of {len(eligible)} eligible methods are indistinguishable and none leads in half of the "
            f"draws: no basis to prefer."
        )
        found.append(Refusal(code="R6", reason=words))
    return found


def _stopped(entries: tuple[ExplainerEntry, ...]) -> str:
    """At which gates the methods ended, e.g. "G3 stops saliency; G5 is not assessed for gradcam"."""
    said: dict[str, list[str]] = {}
    for entry in entries:
        for gate in entry.gates:
            if not gate.passed:
                how = "stops" if gate.passed is False else "is not assessed for"
                said.setdefault(f"{gate.id} {how}", []).append(entry.explainer)
    return "; ".join(f"{gate} {', '.join(names)}" for gate, names in sorted(said.items())) or "no method was run"


def _model_grounds(validity: Validity) -> list[Refusal]:
    if validity.better_than_chance:
        return []
    found = validity.balanced_accuracy
    words = (
        f"the model is not better than chance: balanced accuracy {found.mean:.2f}, lower end {found.low:.2f}, "
        f"chance {validity.chance:.2f}."
    )
    return [Refusal(code="R1", reason=words)]


def _sample_grounds(evidence: Evidence, protocol: Protocol) -> list[Refusal]:
    least = protocol.data.n_per_group.min_report
    counts = joined(evidence.images, protocol.data.groups[0]).value_counts()
    small = [f"{name} ({n})" for name, n in counts.sort_index().items() if n < least]
    if not small:
        return []
    words = f"too few images in {protocol.data.groups[0]} labelled {', '.join(small)}; at least {least} are needed."
    return [Refusal(code="R2", reason=words)]


def _score_grounds(evidence: Evidence, protocol: Protocol, chosen: Sequence[str]) -> list[Refusal]:
    """R4: a control as good as the leader; and R10."""
    found = []
    primary = {e.explainer: next(m for m in e.metrics if m.metric == protocol.decide.primary) for e in evidence.entries}
    leader = primary[chosen[0]]
    for entry in evidence.entries:
        own = primary[entry.explainer].estimate
        if entry.role == "control" and own.mean is not None and leader.estimate.mean is not None:
            behind = (leader.estimate.mean - own.mean) * (1 if leader.higher_is_better else -1)
            if behind <= protocol.decide.rope:
                words = (
                    f"the control {entry.explainer} scores {own.mean:.3f}, as well as the leader "
                    f"({leader.estimate.mean:.3f})."
                )
                found.append(Refusal(code="R4", reason=words))
    return [*found, *_missing_grounds(leader, chosen[0], protocol)]


def _missing_grounds(leader: MetricSummary, name: str, protocol: Protocol) -> list[Refusal]:
    """R10: groups of the first attribute in which too many of the leader's scores are missing."""
    lacking = []
    for group in leader.groups:
        lost, whole = group.undefined + group.failed, group.estimate.n + group.undefined + group.failed
        if group.attribute == protocol.data.groups[0] and whole and lost / whole > protocol.decide.max_undefined:
            lacking.append(f"{lost} of {whole} labelled {group.group}")
    if not lacking:
        return []
    words = (
        f"{name} has no {leader.metric} for too many images: {', '.join(lacking)}; "
        f"at most {protocol.decide.max_undefined:.0%} of a group may be missing."
    )
    return [Refusal(code="R10", reason=words)]


def _p_best(draws: stats.Floats, methods: Sequence[str]) -> dict[str, float]:
    """Share of draws in which each method leads; draws that tie are shared."""
    if not len(draws):
        return {}
    best = draws >= draws.max(axis=1, keepdims=True) - 1e-12
    shares = (best / best.sum(axis=1, keepdims=True)).mean(axis=0)
    return dict(zip(methods, (float(s) for s in shares), strict=True))


def _pick(entries: tuple[ExplainerEntry, ...], chosen: Sequence[str]) -> tuple[str | None, list[str]]:
    """The default inside a tie set: clearly the cheapest, by counted samples; else none."""
    if len(chosen) == 1:
        return chosen[0], []
    cost = sorted((_samples(e), e.explainer) for e in entries if e.explainer in chosen)
    cheapest, next_one = cost[0], cost[1]
    if next_one[0] >= 2 * cheapest[0] > 0:
        return cheapest[1], [
            f"{cheapest[1]} is the default: {cheapest[0]:.0f} model samples an image, the next {next_one[0]:.0f}."
        ]
    return None, ["None of them is at least twice as cheap as the next, so no default is named."]


def _samples(entry: ExplainerEntry) -> float:
    """Forwards and backwards an image; a backward counts as two forwards."""
    cost = {m.metric: m.estimate.mean or 0.0 for m in entry.metrics}
    return cost.get("forwards", 0.0) + 2 * cost.get("backwards", 0.0)


def _sentence(chosen: Sequence[str], pick: str | None, protocol: Protocol) -> str:
    if len(chosen) == 1:
        return f"Use {chosen[0]} on this model and these data."
    names = f"{', '.join(chosen[:-1])} and {chosen[-1]}"
    tail = f"; {pick} is the cheapest by far" if pick else ""
    return f"{names} are statistically indistinguishable on {protocol.decide.primary}{tail}."
