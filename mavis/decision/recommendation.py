"""Whether a method can be recommended, which, and why, in words. Pure: evidence in, a recommendation out.

Gates first, then rank: the leader is the eligible method with the highest overall score; the set holds every eligible
method that is not shown to be worse than the leader by more than the region of practical equivalence. Nothing is
recommended on one of the stated grounds R1 to R12; the tables are shown anyway.
"""

from collections.abc import Sequence

import numpy as np

from mavis.analysis.findings import ExplainerEntry, Recommendation
from mavis.decision import comparison, overall_score, refusals
from mavis.decision.comparison import Comparison, GroupLead
from mavis.decision.refusals import Evidence
from mavis.protocol.schema import Protocol

MAX_NAMED_METHODS = 6
"""Methods that are named one by one behind the leader; the rest is counted."""


def recommend(evidence: Evidence, protocol: Protocol) -> Recommendation:
    """The recommendation for one model.

    Args:
        evidence: see `Evidence`.
        protocol: the rules.
    """
    held = comparison.compare_eligible(evidence.score_table, evidence.eligible, dict(evidence.group_counts), protocol)
    grounds = refusals.find_refusals(evidence, held, protocol)
    pick, why = _choose_default(evidence, held.leading_set)
    provisional = _provisional_reasons(evidence, held)
    tied = len(held.leading_set) > 1
    total = evidence.score_table.total
    return Recommendation(
        status="refused" if grounds else "tied" if tied else "recommended",
        set=() if grounds else held.leading_set,
        pick=None if grounds else pick,
        sentence=_refusal_sentence(evidence, grounds[0].reason)
        if grounds
        else _answer_sentence(evidence, held, pick, provisional, protocol),
        reasons=(*_reasons(evidence, held, protocol), *([] if grounds else why)),
        refusals=tuple(grounds),
        prob_best=held.prob_best,
        provisional=bool(provisional),
        weights=dict(zip(total.categories, total.weights.tolist(), strict=True)),
        by_group=tuple(_group_sentence(lead, held.leading_set[0]) for lead in held.group_leads),
        not_assessed=(*provisional, *_not_assessed(evidence, protocol)),
        cross_checks=held.cross_checks,
    )


def _refusal_sentence(evidence: Evidence, reason: str) -> str:
    """The first ground as a sentence; a name that it begins with stays as it is."""
    names = {*(entry.explainer for entry in evidence.entries), evidence.score_table.primary}
    return reason if reason.partition(" ")[0] in names else reason[:1].upper() + reason[1:]


def _choose_default(evidence: Evidence, chosen: Sequence[str]) -> tuple[str | None, list[str]]:
    """The default inside a tie set: clearly the cheapest, else the one that draws no random numbers; else none."""
    if len(chosen) < 2:
        return (chosen[0], []) if chosen else (None, [])
    steady = [name for name in chosen if name not in evidence.stochastic]
    for names, which in ((chosen, ""), (steady, " of those that draw no random numbers")):
        cost = sorted((_model_samples(e), e.explainer) for e in evidence.entries if e.explainer in names)
        if len(cost) > 1 and cost[1][0] >= 2 * cost[0][0] > 0:
            (least, name), (more, _) = cost[:2]
            return name, [f"{name} is the default{which}: {least:.0f} model samples an image, the next {more:.0f}."]
    if len(steady) == 1:
        return steady[0], [f"{steady[0]} is the default: it alone gives the same map every time."]
    return None, ["None of them is at least twice as cheap as the next, so no default is named."]


def _model_samples(entry: ExplainerEntry) -> float:
    """Forwards and backwards an image; a backward counts as two forwards."""
    cost = {m.metric: m.estimate.mean or 0.0 for m in entry.metrics}
    return cost.get("forwards", 0.0) + 2 * cost.get("backwards", 0.0)


def _provisional_reasons(evidence: Evidence, held: Comparison) -> list[str]:
    """What could not be looked at and could have changed the answer."""
    gates: dict[str, list[str]] = {}
    for entry in evidence.entries:
        for gate in entry.gates:
            if entry.explainer in held.leading_set and (gate.passed is None or gate.impossible):
                gates.setdefault(gate.id, []).append(entry.explainer)
    found = [f"gate {gate} for {', '.join(names)}" for gate, names in sorted(gates.items())]
    if evidence.validity.leak is not None and not evidence.validity.leak.known:
        found.append("whether images were trained on: the training images are not known")
    return found


def _answer_sentence(
    evidence: Evidence, held: Comparison, pick: str | None, provisional: Sequence[str], protocol: Protocol
) -> str:
    """The answer, as a practitioner can use it."""
    chosen, scale = held.leading_set, evidence.score_table.skills.scale
    scores = [_overall_text(evidence, name) for name in chosen]
    unit = f"where {scale.floor} has 0 and {scale.ceiling}, or a perfect map, has 1"
    if len(chosen) == 1:
        others = len(held.order) - 1
        ahead = f", ahead of each of the other {others} methods that passed by more than {protocol.decide.rope:g}"
        words = f"Use {chosen[0]} on this model and data like these: overall skill {scores[0]}, {unit}"
        words += f"{ahead if others else ''}."
    else:
        names = f"{', '.join(chosen[:-1])} and {chosen[-1]}"
        span = f"{scores[0]} {'and' if len(chosen) == 2 else 'to'} {scores[-1]}"
        tail = f" Take {pick} unless something else speaks for another." if pick else ""
        words = f"{names} are not shown to differ by more than the {protocol.decide.rope:g} that matters"
        words += f": overall skill {span}, {unit}.{tail}"
    elsewhere = "".join(f" {_group_sentence(lead, chosen[0])}" for lead in held.group_leads)
    until = f" Provisional: not assessed was {'; '.join(provisional)}." if provisional else ""
    return f"{words}{elsewhere}{until}"


def _overall_text(evidence: Evidence, name: str) -> str:
    standing = evidence.score_table
    return f"{standing.total.overall[0, standing.index_of(name)]:.2f}"


def _group_sentence(lead: GroupLead, leader: str) -> str:
    """A statement on one group."""
    return (
        f"On images labelled {lead.group}, {lead.explainer} is better than {leader} by {lead.mean:.3f}, at least "
        f"{lead.lower_bound:.3f}."
    )


def _reasons(evidence: Evidence, held: Comparison, protocol: Protocol) -> list[str]:
    """The numbers behind the set."""
    if not held.leading_set:
        return []
    leader, confidence = held.leading_set[0], protocol.aggregate.confidence
    found = overall_score.explainer_overall(evidence.score_table, leader, confidence)
    score = f"overall skill {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" if found else "no overall skill"
    if len(held.order) == 1:
        reasons = [f"{leader} alone passed every gate, {score}."]
    else:
        reasons = [f"{leader} leads the {len(held.order)} methods that passed every gate, {score}."]
    for name, one in list(held.gaps_to_leader.items())[:MAX_NAMED_METHODS]:
        if name in held.dominated_by and not one.is_worse:
            other = held.dominated_by[name]
            reasons.append(f"{name} is dominated by {other}: better in no category and worse in one.")
        elif one.is_worse:
            matters = f"(more than {protocol.decide.rope:g} matters)"
            reasons.append(f"{name} is worse by {one.mean:.3f}, at least {one.lower_bound:.3f} {matters}.")
        else:
            reasons.append(
                f"{name} is {one.mean:.3f} behind, {_lower_bound_text(one.lower_bound, protocol.decide.rope)}."
            )
    more = len(held.gaps_to_leader) - MAX_NAMED_METHODS
    if more > 0:
        reasons.append(f"{more} further methods are behind these.")
    return [*reasons, *_category_lines(evidence, leader), *_alternative_leaders(held)]


def _lower_bound_text(bound: float, rope: float) -> str:
    """What the lower end of a lead that is not shown to matter says."""
    if np.isnan(bound) or bound <= 0:
        return "perhaps not at all"
    return f"at least {bound:.3f}: not shown to be more than {rope:g}"


def _category_lines(evidence: Evidence, leader: str) -> list[str]:
    """What the overall score is made of."""
    total, place = evidence.score_table.total, evidence.score_table.index_of(leader)
    parts = [
        f"{category.replace('_', ' ')} {score:.2f} × {weight:.2f}"
        for category, score, weight in zip(
            total.categories, total.category_scores[0, :, place], total.weights, strict=True
        )
    ]
    return [f"Overall skill of {leader}: {' + '.join(parts)}."]


def _alternative_leaders(held: Comparison) -> list[str]:
    """Who leads under other ways to sum up, where it is somebody outside the set."""
    checks = held.cross_checks
    if checks is None or len(held.order) < 2:
        return []
    firsts = {
        "by Borda points": max(held.order, key=checks.borda.__getitem__),
        "by mean rank over the metrics": min(held.order, key=checks.mean_rank.__getitem__),
        "under most weightings of the categories": max(held.order, key=checks.smaa.__getitem__),
    }
    other = [f"{how} {name}" for how, name in firsts.items() if name not in held.leading_set]
    return [f"Summed up otherwise another method leads: {', '.join(other)}."] if other else []


def _methods_without_score(evidence: Evidence) -> dict[str, list[str]]:
    """Reason -> methods without an overall score."""
    found: dict[str, list[str]] = {}
    for entry in evidence.entries:
        if entry.role == "method" and not evidence.score_table.has_score(entry.explainer):
            why = entry.missing or "no overall score, since a metric that decides has no value"
            found.setdefault(why.rstrip("."), []).append(entry.explainer)
    return found


def _not_assessed(evidence: Evidence, protocol: Protocol) -> list[str]:
    """What the answer does not rest on, and why."""
    standing = evidence.score_table
    lines = [*standing.deciding.reasons]
    lines += [f"{m}: {why}" for m, why in standing.skills.unscaled_reasons.items() if m in standing.deciding.metrics]
    absent = [c.replace("_", " ") for c in protocol.decide.weights if c not in standing.total.categories]
    if absent and standing.total.categories:
        lines.append(f"no score for {', '.join(absent)}: the other categories share the weight")
    if standing.total.categories:
        lines += [f"{', '.join(names)}: {why}" for why, names in _methods_without_score(evidence).items()]
    bad = sorted(refusals.unreliable_imputers(evidence.reliability))
    if bad:
        lines.append(f"who leads under {', '.join(bad)}: the model knows too little where cells are removed so")
    if protocol.overrides:
        changed = ", ".join(protocol.overrides)
        lines.append(f"{protocol.protocol} as it stands: this run is a custom protocol ({changed})")
    least = protocol.aggregate.min_blocks
    if evidence.n_models < least:
        lines.append(
            f"other models: the answer is conditional on this one ({evidence.n_models} of {least} that it takes)"
        )
    return lines
