"""Checks of a protocol before a run: names and parameters of gates and the decision, weights, and faulty metrics."""

from typing import Any

import pytest

from mavis.core.errors import BadParameter, MavisError, UnknownName
from mavis.protocol import checks
from mavis.protocol.loading import load_protocol, shipped_protocols, with_overrides
from mavis.protocol.schema import CompletenessGate, DeterminismGate, Protocol

QUICK = load_protocol("quick")
TWO_METRICS = {
    "decide__metrics": {"nsrg": "always", "gini": "always"},
    "decide__weights": {"faithfulness": 1, "complexity": 1},
    "decide__alike": [],
}


def changed(**changes: Any) -> Protocol:
    """The quick protocol with some values changed."""
    return with_overrides(QUICK, **changes)


@pytest.mark.parametrize("name", sorted(shipped_protocols()))
def test_shipped_protocols_pass(name: str) -> None:
    """Every name is registered and every weight has its place."""
    checks.check_protocol(load_protocol(name))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"explainers__settings": {"salienzy": {}}}, UnknownName, "explainer is named 'salienzy'; did you mean"),
        ({"explainers__settings": {"rise": {"mask": 3}}}, BadParameter, "'rise' has no parameter 'mask'"),
        ({"gates__controls__against": ["randon"]}, UnknownName, "did you mean 'random'"),
        ({"gates__groups__against": "randon"}, UnknownName, "did you mean 'random'"),
        ({"gates__randomisation__metric": "mptr"}, UnknownName, "did you mean 'mprt'"),
        ({"gates__determinism__replicate": "nsgr"}, UnknownName, "did you mean 'nsrg'"),
        ({"explainers__reference__zero": "randon"}, UnknownName, "did you mean 'random'"),
        ({"explainers__reference__otherwise": "occlusionn"}, UnknownName, "did you mean 'occlusion'"),
        ({"decide__primary": "deletion"}, BadParameter, "decide.metrics must hold decide.primary, 'deletion'"),
        ({"decide__imputers": ["nsgr@mean"]}, UnknownName, "metric is named 'nsgr'"),
    ],
)
def test_a_name_that_is_not_registered_is_refused(changes: dict[str, Any], error: type, message: str) -> None:
    """Of explainers, controls, references, gates and the decision, with the nearest name."""
    with pytest.raises(error, match=message):
        checks.check_protocol(changed(**changes))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"nsrg": "always", "cue_mass": "always"}, "'cue_mass' only describes; choose metrics with a direction"),
        ({"nsrg": "always", "seconds": "always"}, "decide.weights has no 'cost', the category of 'seconds'"),
    ],
)
def test_a_deciding_metric_has_a_direction_and_a_weight(metrics: dict[str, str], message: str) -> None:
    """What only describes cannot decide, and its category must have a share of the score."""
    with pytest.raises(BadParameter, match=message):
        checks.check_protocol(changed(decide__metrics=metrics, decide__alike=[]))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({"faithfulness": 1, "complexity": 1, "worst": 1}, UnknownName, "category of decide.weights is named 'worst'"),
        ({"faithfulness": 1, "complexity": -0.5}, BadParameter, "expected numbers from 0, got complexity: -0.5"),
        ({"faithfulness": 0, "complexity": 1}, BadParameter, "the category of decide.primary needs a weight above 0"),
    ],
)
def test_weights_belong_to_categories(weights: dict[str, float], error: type, message: str) -> None:
    """Known categories, no negative weight, and a share for the primary metric's own category."""
    with pytest.raises(error, match=message):
        checks.check_protocol(changed(**TWO_METRICS | {"decide__weights": weights}))


@pytest.mark.parametrize(
    ("alike", "error", "message"),
    [
        ([["nsrg", "nsgr"]], UnknownName, "metric of decide.alike is named 'nsgr'"),
        ([["nsrg"], ["nsrg"]], BadParameter, "expected every metric once, got 'nsrg' 2 times"),
        ([["nsrg", "gini"]], BadParameter, "nsrg, gini are of complexity and faithfulness"),
    ],
)
def test_a_weight_is_shared_within_a_category(alike: list[list[str]], error: type, message: str) -> None:
    """Among metrics that decide, and each metric in one set only."""
    with pytest.raises(error, match=message):
        checks.check_protocol(changed(**TWO_METRICS | {"decide__alike": alike}))


def test_worst_group_and_a_weight_of_zero_are_valid() -> None:
    """The worst group is a category without metrics of its own; a category may be switched off."""
    weights = {"faithfulness": 1, "complexity": 0, "worst_group": 0.5}
    checks.check_protocol(changed(**TWO_METRICS | {"decide__weights": weights}))


def test_gates_name_their_metrics_and_controls() -> None:
    """Each once, those of optional gates only where the gate is there."""
    gates = QUICK.gates.model_copy(update={"determinism": None, "completeness": None, "classes": None, "groups": None})
    assert list(checks.gate_metrics(gates)) == ["valid", gates.randomisation.metric, gates.controls.metric]
    assert list(checks.gate_controls(gates)) == list(dict.fromkeys(gates.controls.against))
    more = gates.model_copy(
        update={
            "determinism": DeterminismGate(metric="repeatability", replicate="valid"),
            "completeness": CompletenessGate(metric="completeness"),
        }
    )
    added = set(checks.gate_metrics(more)) - set(checks.gate_metrics(gates))
    assert added == {"repeatability", "completeness"}


def test_faulty_metrics_are_named_by_their_label() -> None:
    """A label after @ does not hide the metric."""
    protocol = changed(metrics={"nsrg": {}, "quantus:PointingGame@mine": {}})
    assert checks.faulty_metrics(protocol) == ("quantus:PointingGame@mine",)
    assert checks.faulty_metrics(QUICK) == ()


def test_a_faulty_metric_is_refused_with_its_fault() -> None:
    """The message says what to use instead and how to run it all the same; without one nothing is raised."""
    with pytest.raises(MavisError, match=r"'quantus:PointingGame': .*use 'pointing_game', or .* --include-faulty"):
        checks.refuse_faulty(("quantus:PointingGame",))
    checks.refuse_faulty(())
