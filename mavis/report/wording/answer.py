"""The answer in words: headline, sentence, reasons, and what it does not rest on."""

from collections.abc import Iterator

from mavis.analysis.findings import Estimate, GapToLeader, GroupLead, Note, Recommendation
from mavis.report import layout, numbers
from mavis.report.wording.cross_checks import cross_check_phrases, top_text
from mavis.report.wording.notes import note_text
from mavis.report.wording.phrases import join_and
from mavis.report.wording.refusals import refusal_sentence

HEADLINES = {
    "recommended": "★ Recommended",
    "tied": "★ Recommended set, no single best",
    "refused": "✗ No recommendation",
}
REFUSAL_CODES_DOC = "docs/decision.md"
"""Page on which the refusal codes are explained."""

MAX_NAMED_METHODS = 6
"""Methods that are named one by one behind the leader; the rest is counted."""

AGGREGATIONS = {
    "borda": "by Borda points",
    "mean_rank": "by mean rank over the metrics",
    "smaa": "under most weightings of the categories",
}
PICK_WORDS = {
    "pick.cheapest": "cheapest of the tied methods",
    "pick.cheapest_deterministic": "cheapest of the tied methods that draw no random numbers",
    "pick.only_deterministic": "only tied method that gives the same map every time",
    "pick.none": "none of the tied methods is at least twice as cheap as the next",
}
"""Code of the reason for the default, or for having none -> a phrase."""
COST_TEMPLATE = ": {cost:.0f} model samples an image, the next {next_cost:.0f}"


def recommendation_headline(recommendation: Recommendation) -> str:
    """The status in a few words, with its provisional standing."""
    if recommendation.provisional and recommendation.status != "refused":
        return f"{HEADLINES[recommendation.status]}, provisionally"
    return HEADLINES[recommendation.status]


def answer_sentence(recommendation: Recommendation) -> str:
    """The answer, as a practitioner can use it; of a refusal its first reason."""
    if recommendation.refusals:
        return refusal_sentence(recommendation.refusals[0])
    sentences = [
        _set_sentence(recommendation) if len(recommendation.set) > 1 else _single_sentence(recommendation),
        *_default_sentence(recommendation),
        *group_lead_sentences(recommendation),
    ]
    if recommendation.provisional:
        sentences.append(f"Provisional, since not assessed: {'; '.join(map(note_text, recommendation.provisional))}.")
    return " ".join(sentences)


def _single_sentence(recommendation: Recommendation) -> str:
    (name,) = recommendation.set
    n_others = len(recommendation.overall) - 1
    opponents = "the other method" if n_others == 1 else f"each of the other {n_others} methods"
    ahead = f", ahead of {opponents} that passed by more than {recommendation.rope:g}"
    return (
        f"Use {name} on this model and data like these: overall score {_mean(recommendation, name):.2f} "
        f"({scale_text(recommendation)}){ahead if n_others else ''}."
    )


def _set_sentence(recommendation: Recommendation) -> str:
    tied = recommendation.set
    first, last = (_mean(recommendation, name) for name in (tied[0], tied[-1]))
    return (
        f"{join_and(tied)} are statistically tied: none is shown to be worse by more than {recommendation.rope:g} "
        f"(ROPE). Overall score {first:.2f} {'and' if len(tied) == 2 else 'to'} {last:.2f} "
        f"({scale_text(recommendation)})."
    )


def scale_text(recommendation: Recommendation) -> str:
    """``normalised score: 0 = random, 1 = cell_occlusion or a perfect map``."""
    return f"normalised score: 0 = {recommendation.floor}, 1 = {recommendation.ceiling} or a perfect map"


def _mean(recommendation: Recommendation, name: str) -> float:
    mean = recommendation.overall[name].mean
    return float("nan") if mean is None else mean


def _default_sentence(recommendation: Recommendation) -> Iterator[str]:
    """``Default: deeplift (cheapest of the tied methods).``, where tied methods have a default."""
    if recommendation.pick is not None and recommendation.pick_reason is not None:
        yield f"Default: {recommendation.pick} ({PICK_WORDS[recommendation.pick_reason.code]})."


def group_lead_sentences(recommendation: Recommendation) -> list[str]:
    """A sentence on each group for which another method is better than the leader."""
    return [_group_lead_sentence(lead, recommendation.leader or "") for lead in recommendation.group_leads]


def _group_lead_sentence(lead: GroupLead, leader: str) -> str:
    return (
        f"On images labelled {lead.group}, {lead.explainer} is better than {leader} by {lead.mean:.3f}, at least "
        f"{lead.lower_bound:.3f}."
    )


def answer_reasons(recommendation: Recommendation) -> list[str]:
    """The numbers behind the set, a sentence each; none where no method could lead."""
    if recommendation.leader is None:
        return []
    gaps = recommendation.gaps_to_leader
    reasons = [_leader_reason(recommendation, recommendation.leader)]
    reasons += [_gap_reason(gap, recommendation.rope) for gap in gaps[:MAX_NAMED_METHODS]]
    if len(gaps) > MAX_NAMED_METHODS:
        reasons.append(f"{len(gaps) - MAX_NAMED_METHODS} further methods are behind these.")
    if recommendation.leader_categories:
        reasons.append(_category_reason(recommendation, recommendation.leader))
    reasons += _other_leaders_reason(recommendation)
    if recommendation.pick_reason is not None:
        reasons.append(_pick_sentence(recommendation.pick, recommendation.pick_reason))
    return reasons


def _leader_reason(recommendation: Recommendation, leader: str) -> str:
    score = f"overall score {_three_decimals(recommendation.overall[leader])}"
    n_methods = len(recommendation.overall)
    if n_methods == 1:
        return f"{leader} alone passed every gate, {score}."
    return f"{leader} leads the {n_methods} methods that passed every gate, {score}."


def _three_decimals(estimate: Estimate) -> str:
    ends = [f"{end:.3f}" for end in (estimate.low, estimate.high) if end is not None]
    interval = f" [{', '.join(ends)}]" if ends else ""
    return f"{estimate.mean:.3f}{interval}"


def _gap_reason(gap: GapToLeader, rope: float) -> str:
    if gap.dominated_by and not gap.is_worse:
        return f"{gap.explainer} is dominated by {gap.dominated_by}: better in no category and worse in one."
    if gap.mean is None or gap.lower_bound is None:
        return f"{gap.explainer} is behind; by how much is not known, since no draw scores all methods."
    verdict = "worse" if gap.is_worse else "statistically tied"
    return f"{gap.explainer} is {verdict}: {gap.mean:.3f} behind, lower bound {gap.lower_bound:.3f} (ROPE {rope:g})."


def _category_reason(recommendation: Recommendation, leader: str) -> str:
    parts = [
        f"{layout.category_label(category)} {score:.2f} × {recommendation.weights[category]:.2f}"
        for category, score in recommendation.leader_categories.items()
    ]
    return f"Overall score of {leader}: {' + '.join(parts)}."


def _other_leaders_reason(recommendation: Recommendation) -> Iterator[str]:
    leaders = [f"{AGGREGATIONS[check]} {name}" for check, name in recommendation.other_leaders.items()]
    if leaders:
        yield f"Under alternative aggregations another method leads: {', '.join(leaders)}."


def _pick_sentence(pick: str | None, reason: Note) -> str:
    phrase, cost = PICK_WORDS[reason.code], ""
    if pick is None:
        return f"No default: {phrase}."
    if "cost" in reason.values:
        cost = COST_TEMPLATE.format(**reason.values)
    return f"{pick} is the {phrase}{cost}."


def not_assessed_lines(recommendation: Recommendation) -> list[str]:
    """Phrases on what the answer does not rest on; those that make it provisional come first."""
    return [note_text(note) for note in (*recommendation.provisional, *recommendation.not_assessed)]


def weights_text(recommendation: Recommendation) -> str:
    """``faithfulness .625, robustness .250``: weights of the overall score; empty where there is none."""
    heaviest = sorted(recommendation.weights.items(), key=lambda item: -item[1])
    return ", ".join(f"{layout.category_label(name)} {numbers.format_number(share)}" for name, share in heaviest)


def supporting_lines(recommendation: Recommendation) -> list[tuple[str, str]]:
    """Lines beside the decision, each with its head: weights, cross-checks, shares; only what was computed."""
    checks = recommendation.cross_checks
    lines = [
        ("weights", weights_text(recommendation)),
        ("alternative aggregations, leading", " · ".join(cross_check_phrases(checks)) if checks is not None else ""),
        ("share of bootstrap draws in which a method leads", top_text(recommendation.prob_best)),
    ]
    return [(head, text) for head, text in lines if text]
