"""Gates in words: title, outcome and reason."""

from collections.abc import Callable, Mapping, Sequence

from mavis.analysis.findings import Gate


def gate_title(gate: Gate) -> str:
    """The condition that the gate states."""
    return TITLES[gate.id](**gate.values)


def gate_status(gate: Gate) -> str:
    """``✓ passed``, ``✗ not passed``, or that neither can be said."""
    if gate.passed is None:
        return "could not be assessed" if gate.impossible else "not assessed"
    return "✓ passed" if gate.passed else "✗ not passed"


def gate_reason(gate: Gate) -> str:
    """The outcome with its numbers."""
    return GATE_WORDS[gate.code](gate, **gate.values)


def _determinism_title(*, other_seed: bool = False, **_: object) -> str:
    return f"the same seed gives the same map{', another seed a similar one' if other_seed else ''}"


def _control_title(metric: str, against: Sequence[str], **_: object) -> str:
    return f"beats {' and '.join(against)} on {metric}"


def _group_title(metric: str, against: str, attribute: str, **_: object) -> str:
    return f"beats {against} on {metric} in every group of {attribute}"


TITLES: Mapping[str, Callable[..., str]] = {
    "G0": "maps are finite and not constant".format,
    "G1": _determinism_title,
    "G2": "adds up to the change of the logit, as it claims".format,
    "G3": "maps change when the weights are randomised".format,
    "G4": "another class gets another map".format,
    "G5": _control_title,
    "G6": _group_title,
}
"""Gate -> its title, as a function of its values."""


def _valid_share(gate: Gate, **_: object) -> str:
    return f"{gate.value:.1%} of the maps are finite and not constant; {gate.threshold:.0%} are needed"


def _some_invalid(gate: Gate, remark_below: float) -> str:
    return f"{_valid_share(gate)}; below {remark_below:.0%} the invalid maps are worth a look"


def _repeatability(difference: float | None, limit: float | None) -> str:
    return f"made again, values differ by {difference:.1g} of the largest; at most {limit:.0e} is allowed"


def _seeds_agree(gate: Gate, difference: float, max_difference: float, **_: object) -> str:
    agreement = f"maps of two seeds agree to {gate.value:.2f} in the median, at least {gate.threshold:.2f} is needed"
    return f"{_repeatability(difference, max_difference)}; {agreement}"


def _seeds_differ(
    gate: Gate, difference: float, max_difference: float, explainer: str, parameter: str | None, **_: object
) -> str:
    setting = f"explainers.settings.{explainer}.{parameter}" if parameter else "the number of its draws"
    return f"{_seeds_agree(gate, difference, max_difference)}; raise {setting}"


def _completeness_error(gate: Gate) -> str:
    return (
        f"the sum misses the change of the logit by {gate.value:.1%} of it in the median; "
        f"{gate.threshold:.0%} is allowed"
    )


def _randomisation(outcome: str) -> Callable[..., str]:
    def text(gate: Gate, high: float, max_upper: float) -> str:
        return (
            f"similarity to the maps of randomised weights is {gate.value:.2f} (upper end {high:.2f}); "
            f"at most {gate.threshold:.2f} (upper end below {max_upper:.2f}) is allowed{outcome}"
        )

    return text


def _class_similarity(gate: Gate, *, unsigned: bool) -> str:
    limit = f"at most {gate.threshold:.2f} is allowed{' to maps without sign' if unsigned else ''}"
    return f"similarity to the maps of another class is {gate.value:.2f}; {limit}"


def _class_agnostic(gate: Gate, *, unsigned: bool) -> str:
    return f"{_class_similarity(gate, unsigned=unsigned)}; it is class-agnostic: it cannot tell why this class"


def _control_lead(
    gate: Gate, metric: str, hardest: str, mean: float, unavailable: Mapping[str, str], **_: object
) -> str:
    lead = (
        f"{metric} is better than that of {hardest} by {mean:+.3f}, lower bound {gate.value:+.3f}; "
        f"the bound must exceed {gate.threshold:+.3f}"
    )
    return lead + "".join(f"; not compared with {name}: {reason}" for name, reason in unavailable.items())


def _group_leads(
    gate: Gate, against: str, worst: str, failing: Sequence[str], too_small: Sequence[str], **_: object
) -> str:
    text = f"the smallest lower bound is {gate.value:+.3f}, labelled {worst}; it must exceed {gate.threshold:+.3f}"
    if failing:
        text += f"; not shown to be better than {against} where labelled {', '.join(failing)}"
    return text + (f"; too few images to judge labelled {', '.join(too_small)}" if too_small else "")


def _no_values(_: Gate, metric: str, explainers: Sequence[str], **__: object) -> str:
    owners = f" of {', '.join(explainers)}" if explainers else ""
    return f"not assessed: there are no values of '{metric}'{owners}"


def _open(template: str) -> Callable[..., str]:
    """A reason for which a gate was not assessed."""

    def text(_: Gate, **values: object) -> str:
        return f"not assessed: {template.format(**values)}"

    return text


GATE_WORDS: Mapping[str, Callable[..., str]] = {
    "G0.valid": _valid_share,
    "G0.some_invalid": _some_invalid,
    "G1.repeatability": lambda gate: _repeatability(gate.value, gate.threshold),
    "G1.seeds_agree": _seeds_agree,
    "G1.seeds_differ": _seeds_differ,
    "G2.error": _completeness_error,
    "G3.changed": _randomisation(""),
    "G3.partly_changed": _randomisation("; they change, but not enough"),
    "G3.hardly_changed": _randomisation("; they hardly change"),
    "G4.class_specific": _class_similarity,
    "G4.class_agnostic": _class_agnostic,
    "G5.lead": _control_lead,
    "G6.leads": _group_leads,
    "open.no_values": _no_values,
    "open.unavailable": _open("'{metric}' {reason}"),
    "open.no_common_image": _open("no image has {metric} of all of them"),
    "open.small_groups": _open("no group has {min_report} images with {metric} of both"),
}
"""Code -> the reason, as a function of the gate and its values."""
