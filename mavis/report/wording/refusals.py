"""Refusals in words: one reason per kind, with its numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mavis.analysis.findings import Refusal
from mavis.report import layout
from mavis.report.wording.phrases import abbreviate, count_noun

MAX_NAMES = 3
"""Groups that a reason names; of more it gives the number."""


def refusal_reason(refusal: Refusal) -> str:
    """The reason, in lower case unless it begins with a name."""
    return REFUSAL_WORDS[refusal.kind](**refusal.values)


def refusal_sentence(refusal: Refusal) -> str:
    """The reason with a capital; a name that it begins with stays as it is."""
    reason = refusal_reason(refusal)
    return reason if reason.partition(" ")[0] in refusal.values.values() else reason[:1].upper() + reason[1:]


def _weak_model(mean: float, low: float, chance: float) -> str:
    return (
        f"the model is not better than chance: balanced accuracy {mean:.2f}, lower end {low:.2f}, chance {chance:.2f}."
    )


def _below_chance(mean: float, high: float, chance: float) -> str:
    return (
        f"the model is worse than chance, so it is read wrongly rather than weak: balanced accuracy {mean:.2f}, upper "
        f"end {high:.2f}, chance {chance:.2f}. Its classes may stand in another order, its images have another scale "
        "than [0,1], or its outputs another meaning (output=)."
    )


def _weak_groups(attribute: str, groups: Sequence[Mapping[str, Any]]) -> str:
    names = [
        f"{layout.group_name(attribute, group['group'])} ({group['correct']} of {group['n']} right)" for group in groups
    ]
    return (
        f"the model is not shown to be better than chance on images of {attribute} labelled "
        f"{abbreviate(names, MAX_NAMES)}."
    )


def _small_groups(attribute: str, groups: Sequence[Mapping[str, Any]], min_report: int) -> str:
    names = [f"{layout.group_name(attribute, group['group'])} ({group['n']})" for group in groups]
    return f"too few images in {attribute} labelled {abbreviate(names, MAX_NAMES)}; at least {min_report} are needed."


def _gate_failures(gates: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"{gate['gate']} {'is not assessed for' if gate['open'] else 'stops'} {', '.join(gate['explainers'])}"
        for gate in gates
    ]
    return f"no method passed every gate: {'; '.join(lines) or 'no method was run'}."


def _no_scale(metric: str, floor: str, ceiling: str | None, span: float) -> str:
    top = ceiling or "a perfect map"
    return (
        f"{top} is not shown to be better than {floor} on {metric} (by {span:+.3f}): a map that knows nothing does as "
        "well."
    )


def _no_scale_images(metric: str, explainers: Sequence[str]) -> str:
    return f"no image has {metric} of {' and '.join(explainers)}."


def _imputers(fraction: float, shares: Mapping[str, float]) -> str:
    imputers = ", ".join(f"{imputer} {share:.0%}" for imputer, share in shares.items())
    return (
        f"no imputer is reliable: with {fraction:.0%} of the cells removed the model keeps its prediction for too few "
        f"images ({imputers}), so removing parts of an image says little."
    )


def _imputer_leaders(leaders: Mapping[str, Sequence[str]]) -> str:
    names = "; ".join(f"{label}: {', '.join(methods)}" for label, methods in leaders.items())
    return f"the leader depends on the imputer, and no method is tied for the lead under every imputer ({names})."


def _leak(rate: float, exact: int, near: int, max_rate: float) -> str:
    counts = f"{exact} the same, {count_noun(near, 'near duplicate')}"
    return f"{rate:.1%} of the images are, or look like, training images ({counts}); at most {max_rate:.1%} may be."


def _group_reversal(attribute: str, leader: str, leads: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(f"{lead['explainer']} for {lead['group']} (by {lead['mean']:.3f})" for lead in leads)
    return (
        f"the best method differs between groups of {attribute}: {leader} leads over all, but is beaten by {names}, as "
        "labelled."
    )


def _missing(explainer: str, metric: str, groups: Sequence[Mapping[str, Any]], max_share: float) -> str:
    names = ", ".join(f"{group['missing']} of {group['n']} labelled {group['group']}" for group in groups)
    return (
        f"{explainer} has no {metric} for too many images: {names}; at most {max_share:.0%} of a group may be missing."
    )


def _overrides(protocol: str, overrides: Sequence[str]) -> str:
    return (
        f"the protocol {protocol} is frozen and this run changed it ({', '.join(overrides)}), so the result may not "
        "bear its name."
    )


REFUSAL_WORDS: Mapping[str, Callable[..., str]] = {
    "R1.model": _weak_model,
    "R1.below_chance": _below_chance,
    "R1.groups": _weak_groups,
    "R2.groups": _small_groups,
    "R3.gates": _gate_failures,
    "R4.scale": _no_scale,
    "R4.control": (
        "the control {control} does as well as the leader {leader} on {metric}: {leader} is ahead by {mean:.3f} in "
        "normalised score, lower bound {lower_bound:.3f} (more than {rope:g} matters)."
    ).format,
    "R4.control_beats_oracle": (
        "the control {control} beats the {oracle} on {metric}, by {mean:.3f} in normalised score."
    ).format,
    "R4.oracle": (
        "{metric} does not put the {oracle} before {other}: ahead by {mean:.3f}, lower bound {lower_bound:.3f}."
    ).format,
    "R5.metrics": (
        "the metrics that should measure the same as {metric} order the methods differently: Kendall's W {within:.2f}, "
        "at most {upper:.2f}; at least {minimum:.2f} is needed."
    ).format,
    "R5.imputers": _imputer_leaders,
    "R6.tied": (
        "{n_tied} of {n_methods} eligible methods are statistically tied and none leads in half of the draws: no basis "
        "to prefer."
    ).format,
    "R7.imputers": _imputers,
    "R8.leak": _leak,
    "R9.groups": _group_reversal,
    "R10.scale": _no_scale_images,
    "R10.methods": "no eligible method has {metric} and all that decides with it.".format,
    "R10.missing": _missing,
    "R10.uneven": (
        "{explainer} has no {metric} for {high:.1%} of the images labelled {high_group} and {low:.1%} of those "
        "labelled {low_group}; these shares may differ by at most {max_gap:.0%}."
    ).format,
    "R11.overrides": _overrides,
    "R12.methods": (
        "methods that passed every gate and have a score: {n_methods}; fewer than {min_methods} are a comparison, "
        "not a recommendation."
    ).format,
}
"""Kind -> the reason, as a function of the refusal's values."""
