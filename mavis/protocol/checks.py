"""Checks of a protocol's names and parameters that run when it is planned, not when it is read."""

from collections.abc import Sequence

from mavis.core.errors import BadParameter, UnknownName
from mavis.core.registry import explainers, metric_name, metrics
from mavis.core.traits import CATEGORIES
from mavis.protocol.schema import WORST_GROUP, DecisionRules, Gates, Protocol


def faulty_metrics(protocol: Protocol) -> tuple[str, ...]:
    """Labels of the protocol's metrics that are known to be faulty."""
    return tuple(label for label in protocol.metrics if metrics[metric_name(label)].traits.faulty)


def check_protocol(protocol: Protocol) -> None:
    """Checks every name and parameter that a run would only need after its metrics, so that no run ends in a typo.

    Raises:
        MavisError: a name is not registered, a parameter is not taken, or the decision contradicts itself.
    """
    for name, params in protocol.explainers.settings.items():
        explainers[name].check(params)
    for name in gate_controls(protocol.gates):
        explainers[name]
    for name in (*gate_metrics(protocol.gates), protocol.decide.primary):
        metrics[metric_name(name)]
    reference = protocol.explainers.reference
    for name in (reference.zero, reference.truth, reference.otherwise):
        explainers[name]
    _check_decision(protocol.decide)


def _check_decision(decision: DecisionRules) -> None:
    """Checks that every deciding metric has a direction and a weighted category, and that the primary one decides."""
    if decision.primary not in decision.metrics:
        labels = ", ".join(decision.metrics)
        raise BadParameter(f"decide.metrics must hold decide.primary, '{decision.primary}'; got {labels}.")
    for label in (*decision.metrics, *decision.imputers):
        traits = metrics[metric_name(label)].traits
        if traits.higher_is_better is None:
            raise BadParameter(f"decide.metrics: '{label}' only describes; choose metrics with a direction.")
        if traits.category not in decision.weights:
            raise BadParameter(
                f"decide.weights has no '{traits.category}', the category of '{label}'; give it one, 0 at least."
            )
    _check_shared_weights(decision)
    _check_weights(decision)


def _check_weights(decision: DecisionRules) -> None:
    """Checks that weights belong to categories, are not negative, and give the primary metric's category a share."""
    categories = (*CATEGORIES, WORST_GROUP)
    for category, weight in decision.weights.items():
        if category not in categories:
            raise UnknownName("category of decide.weights", category, categories)
        if weight < 0:
            raise BadParameter(f"decide.weights: expected numbers from 0, got {category}: {weight:g}.")
    if decision.weights[metrics[metric_name(decision.primary)].traits.category] == 0:
        raise BadParameter("decide.weights: the category of decide.primary needs a weight above 0.")


def _check_shared_weights(decision: DecisionRules) -> None:
    """Checks that metrics that share a weight decide, are of one category, and stand in one set only."""
    labels = [label for sharing in decision.alike for label in sharing]
    for label in labels:
        if label not in decision.metrics:
            raise UnknownName("metric of decide.alike", label, decision.metrics)
        if labels.count(label) > 1:
            raise BadParameter(f"decide.alike: expected every metric once, got '{label}' {labels.count(label)} times.")
    for sharing in decision.alike:
        categories = sorted({metrics[metric_name(label)].traits.category for label in sharing})
        if len(categories) > 1:
            raise BadParameter(
                f"decide.alike: only metrics of one category share a weight; {', '.join(sharing)} are of "
                f"{' and '.join(categories)}."
            )


def gate_metrics(gates: Gates) -> dict[str, None]:
    """Labels of the metrics that the gates read, each once."""
    labels = ["valid", gates.randomisation.metric, gates.controls.metric]
    labels += [gates.determinism.metric, gates.determinism.replicate] if gates.determinism else []
    labels += [rule.metric for rule in (gates.completeness, gates.classes, gates.groups) if rule]
    return dict.fromkeys(labels)


def gate_controls(gates: Gates) -> dict[str, None]:
    """Names of the controls that the gates read, each once."""
    return dict.fromkeys([*gates.controls.against, *([gates.groups.against] if gates.groups else [])])


def refuse_faulty(labels: Sequence[str]) -> None:
    """Refuses metrics that are known to be faulty.

    Args:
        labels: those of `faulty_metrics`.

    Raises:
        BadParameter: there is one; the message names its fault and a replacement.
    """
    for label in labels:
        fault = metrics[metric_name(label)].traits.faulty
        raise BadParameter(
            f"Expected metrics that measure what they say, got '{label}': {fault}, or run it all the same with "
            "--include-faulty (in Python: allow_known_faulty=True)."
        )
