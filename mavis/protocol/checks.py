"""Checks."""

from collections.abc import Sequence

from mavis.core.errors import BadParameter, UnknownName
from mavis.core.registry import explainers, metric_name, metrics
from mavis.core.traits import CATEGORIES
from mavis.protocol.schema import WORST_GROUP, DecisionRules, Gates, Protocol


def faulty_metrics(protocol: Protocol) -> tuple[str, ...]:
    """The protocol's metrics, by label, that are known to be wrong."""
    return tuple(label for label in protocol.metrics if metrics[metric_name(label)].traits.faulty)


def check_protocol(protocol: Protocol) -> None:
    """Looks up every name in the protocol that is not made below, so that no run ends in a typing error."""
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
    """Every metric that decides has a direction and a category with a weight, and the primary one decides."""
    if decision.primary not in decision.metrics:
        given = ", ".join(decision.metrics)
        raise BadParameter(f"decide.metrics must hold decide.primary, '{decision.primary}'; got {given}.")
    for label in (*decision.metrics, *decision.imputers):
        traits = metrics[metric_name(label)].traits
        if traits.higher_is_better is None:
            raise BadParameter(f"decide.metrics: '{label}' only describes; choose metrics with a direction.")
        if traits.category not in decision.weights:
            raise BadParameter(
                f"decide.weights has no '{traits.category}', the category of '{label}'; give it one, 0 at least."
            )
    _check_shared_weights(decision)
    known = (*CATEGORIES, WORST_GROUP)
    for category, weight in decision.weights.items():
        if category not in known:
            raise UnknownName("category of decide.weights", category, known)
        if weight < 0:
            raise BadParameter(f"decide.weights: expected numbers from 0, got {category}: {weight:g}.")
    if decision.weights[metrics[metric_name(decision.primary)].traits.category] == 0:
        raise BadParameter("decide.weights: the category of decide.primary needs a weight above 0.")


def _check_shared_weights(decision: DecisionRules) -> None:
    """Metrics that share a weight decide, are of one category, and share it once."""
    every = [label for names in decision.alike for label in names]
    for label in every:
        if label not in decision.metrics:
            raise UnknownName("metric of decide.alike", label, decision.metrics)
        if every.count(label) > 1:
            raise BadParameter(f"decide.alike: expected every metric once, got '{label}' {every.count(label)} times.")
    for names in decision.alike:
        found = sorted({metrics[metric_name(label)].traits.category for label in names})
        if len(found) > 1:
            raise BadParameter(
                f"decide.alike: only metrics of one category share a weight; {', '.join(names)} are of "
                f"{' and '.join(found)}."
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
    """Raises BadParameter for the first metric that is known to be wrong."""
    for label in labels:
        why = metrics[metric_name(label)].traits.faulty
        raise BadParameter(
            f"Expected metrics that measure what they say, got '{label}': {why}, or run it all the same with "
            "--allow-known-faulty."
        )
