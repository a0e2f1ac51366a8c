"""Each ground on which nothing is recommended: a table that triggers it alone, and its values."""

from dataclasses import replace
from typing import Any

import pytest

from mavis.analysis import groups
from mavis.analysis.findings import Gate, GroupAccuracy, GroupValue, Leak, MetricSummary, Refusal, Reliability
from mavis.core.traits import MetricTraits
from mavis.decision import comparison, refusals
from mavis.decision.refusals import Evidence
from mavis.protocol.schema import LeakRules, Protocol
from mavis.report import wording
from mavis.workflows.meta_evaluation.simulated_leaderboards import (
    METRICS,
    VALIDITY,
    SimulatedLeaderboard,
    build_protocol,
    simulate_evidence,
)

RULES = build_protocol()
CLEAR = SimulatedLeaderboard({"a": 0.6, "b": 0.45, "c": 0.3, "d": 0.2})
GOOD = simulate_evidence(CLEAR, 0, RULES)
NOTHING = groups.to_estimate(float("nan"), float("nan"), float("nan"), 0)


def refused(found: Evidence, protocol: Protocol = RULES) -> list[Refusal]:
    """The grounds."""
    held = comparison.compare_eligible(found.score_table, found.eligible, dict(found.group_counts), protocol)
    return refusals.find_refusals(found, held, protocol)


def only(kind: str, found: Evidence, protocol: Protocol = RULES) -> dict[str, Any]:
    """The values of the one ground that there is; they suffice for its words."""
    (ground,) = refused(found, protocol)
    assert (ground.code, ground.kind) == (kind.partition(".")[0], kind)
    assert wording.refusal_reason(ground)
    return ground.values


def test_a_clear_answer_has_no_ground_against_it() -> None:
    """The tables below differ from this one in one thing."""
    assert refused(GOOD) == []


def test_r1_a_model_no_better_than_chance() -> None:
    """Explanations of a guess are not ranked into a recommendation."""
    guess = VALIDITY.model_copy(
        update={"better_than_chance": False, "balanced_accuracy": groups.to_estimate(0.52, 0.48, 0.56, 300)}
    )
    assert only("R1.model", replace(GOOD, validity=guess)) == {"mean": 0.52, "low": 0.48, "chance": 0.5}


def test_r1_a_model_worse_than_chance_is_read_wrongly() -> None:
    """Its whole interval lies below chance."""
    below = VALIDITY.model_copy(
        update={"better_than_chance": False, "balanced_accuracy": groups.to_estimate(0.2, 0.16, 0.24, 300)}
    )
    assert only("R1.below_chance", replace(GOOD, validity=below)) == {"mean": 0.2, "high": 0.24, "chance": 0.5}


def test_r1_in_a_group() -> None:
    """A group of the first attribute has equal weight in every mean, so the model must know it too; others are said."""
    weak = [
        GroupAccuracy(
            attribute=attribute, group=name, correct=40, estimate=groups.to_estimate(0.4, 0.3, 0.5, 100), weak=True
        )
        for attribute, name in (("race", "g1"), ("gender", "form_a"))
    ]
    valid = VALIDITY.model_copy(update={"groups": tuple(weak)})
    assert only("R1.groups", replace(GOOD, validity=valid)) == {
        "attribute": "race",
        "groups": [{"group": "g1", "correct": 40, "n": 100}],
    }
    strong = weak[0].model_copy(update={"weak": False})
    same_name = weak[1].model_copy(update={"group": "g1"})
    other = VALIDITY.model_copy(update={"groups": (strong, weak[1], same_name)})
    assert refused(replace(GOOD, validity=other)) == []


def test_r2_a_group_below_the_minimum() -> None:
    """The group and its number are named."""
    assert only("R2.groups", replace(GOOD, group_counts={"g0": 100, "g1": 29, "g2": 100})) == {
        "attribute": "race",
        "groups": [{"group": "g1", "n": 29}],
        "min_report": 30,
    }


def test_r3_nobody_passes() -> None:
    """The gates at which the methods ended are named."""
    gate = Gate(id="G3", code="G3.hardly_changed", passed=False, value=0.9, threshold=0.5)
    stopped = tuple(e.model_copy(update={"eligible": False, "gates": (gate,)}) for e in GOOD.entries)
    methods = tuple(e for e in stopped if e.role == "method")
    stops = {"gate": "G3", "open": False, "explainers": ["a", "b", "c", "d"]}
    assert only("R3.gates", replace(GOOD, entries=methods)) == {"gates": [stops]}
    opened = gate.model_copy(update={"passed": None})
    both = (methods[0], *(entry.model_copy(update={"gates": (opened,)}) for entry in methods[1:]))
    assert only("R3.gates", replace(GOOD, entries=both))["gates"] == [
        {"gate": "G3", "open": True, "explainers": ["b", "c", "d"]},
        {"gate": "G3", "open": False, "explainers": ["a"]},
    ]


def test_r4_a_control_as_good_as_the_leader() -> None:
    """A control that the leader is not shown to beat on the primary metric refuses; one that it beats does not."""
    close = SimulatedLeaderboard({**CLEAR.quality, "sobel": 0.58})
    values = only("R4.control", simulate_evidence(close, 0, RULES, {"sobel": "control"}))
    assert (values["control"], values["leader"], values["metric"], values["rope"]) == ("sobel", "a", "nsrg", 0.02)
    assert values["lower_bound"] < 0.02
    assert values["lower_bound"] < values["mean"] < 0.1
    assert (
        refused(
            simulate_evidence(SimulatedLeaderboard({**CLEAR.quality, "sobel": 0.5}), 0, RULES, {"sobel": "control"})
        )
        == []
    )


def test_r4_looks_at_the_primary_metric_alone() -> None:
    """A map that ignores the image is perfectly robust; that refuses nothing."""
    blob = SimulatedLeaderboard({**CLEAR.quality, "blob": 0.3}, shifts={("blob", "flip_equivariance", ""): 5.0})
    found = simulate_evidence(blob, 0, RULES, {"blob": "control"})
    overall = found.score_table.total.overall[0]
    assert overall[found.score_table.index_of("blob")] > overall[found.score_table.index_of("a")]
    assert refused(found) == []


def test_r4_a_control_beats_the_oracle() -> None:
    """Where the truth is planted the metric must not prefer a map that knows nothing; near it is borne."""
    roles = {"oracle": "oracle", "sobel": "control"}
    known = {"a": 0.9, "b": 0.7, "c": 0.5, "d": 0.3}
    worse = simulate_evidence(SimulatedLeaderboard({**known, "oracle": 0.5, "sobel": 0.7}), 0, RULES, roles)
    values = only("R4.control_beats_oracle", worse)
    assert (values["control"], values["oracle"], values["metric"]) == ("sobel", "oracle", "nsrg")
    assert values["mean"] == pytest.approx(0.2, abs=0.05)
    assert (
        refused(simulate_evidence(SimulatedLeaderboard({**known, "oracle": 0.6, "sobel": 0.61}), 0, RULES, roles)) == []
    )
    assert refused(simulate_evidence(SimulatedLeaderboard({**known, "oracle": 0.5}), 0, RULES, roles)) == []


def test_r4_the_oracle_is_not_before_its_opposite() -> None:
    """The anti-oracle must come out worse than the oracle."""
    roles = {"oracle": "oracle", "anti_oracle": "oracle"}
    known = {"a": 0.9, "b": 0.7, "c": 0.5, "d": 0.3, "oracle": 0.5}
    assert refused(simulate_evidence(SimulatedLeaderboard({**known, "anti_oracle": -0.5}), 0, RULES, roles)) == []
    same = simulate_evidence(SimulatedLeaderboard({**known, "anti_oracle": 0.5}), 0, RULES, roles)
    values = only("R4.oracle", same)
    assert (values["metric"], values["oracle"], values["other"]) == ("nsrg", "oracle", "anti_oracle")


def test_r4_the_reference_is_no_better_than_nothing() -> None:
    """Then there is no scale on which anybody could lead."""
    measured = {**METRICS, "nsrg": MetricTraits("-", "faithfulness", higher_is_better=True)}
    found = simulate_evidence(
        SimulatedLeaderboard({**CLEAR.quality, "oracle": 0.0}), 0, RULES, {"oracle": "oracle"}, measured
    )
    values = only("R4.scale", found)
    assert (values["metric"], values["floor"], values["ceiling"]) == ("nsrg", "random", "oracle")


def test_r5_the_metrics_contradict_each_other() -> None:
    """Faithfulness metrics that surely order the methods in opposite ways measure different things."""
    turned = {"a": -0.45, "b": -0.15, "c": 0.15, "d": 0.45}
    moved = {(name, "single_deletion", ""): by for name, by in turned.items()}
    moved |= {(name, "road_gap", ""): by / 4 for name, by in {"a": 0, "b": -1, "c": 1, "d": 0}.items()}
    field = SimulatedLeaderboard({"a": 0.9, "b": 0.6, "c": 0.5, "d": 0.4}, shifts=moved)
    values = only("R5.metrics", simulate_evidence(field, 0, RULES))
    assert values["metric"] == "nsrg"
    assert values["within"] <= values["upper"] < values["minimum"]


def test_r5_does_not_ask_categories_to_agree() -> None:
    """That the most faithful method is the least robust is what the weights are for."""
    moved = {("a", "flip_equivariance", ""): -0.5, ("d", "flip_equivariance", ""): 0.3}
    assert refused(simulate_evidence(SimulatedLeaderboard({**CLEAR.quality, "a": 0.8}, shifts=moved), 0, RULES)) == []


def test_r5_the_imputers_contradict_each_other() -> None:
    """Where nobody is among the first under every imputer, the answer is the imputer's."""
    moved = {("b", "nsrg@blur", ""): 1.5, ("c", "nsrg@mean", ""): 1.5}
    found = simulate_evidence(SimulatedLeaderboard(CLEAR.quality, shifts=moved), 0, RULES)
    assert only("R5.imputers", found) == {"leaders": {"nsrg@mean": ["c"], "nsrg@blur": ["b"]}}
    one = simulate_evidence(SimulatedLeaderboard(CLEAR.quality, shifts={("b", "nsrg@blur", ""): 1.5}), 0, RULES)
    assert only("R5.imputers", one)
    assert refused(replace(one, reliability=(imputer("mean", 0.9), imputer("blur", 0.5)))) == []


def test_r6_no_basis_to_prefer() -> None:
    """More than half of the methods in the set and none ahead in half of the draws."""
    found = simulate_evidence(SimulatedLeaderboard(dict.fromkeys("abcd", 0.5)), 0, RULES)
    assert only("R6.tied", found) == {"n_tied": 4, "n_methods": 4}


def imputer(name: str, kept: float) -> Reliability:
    """One row at the first fraction."""
    share = groups.to_estimate(kept, kept - 0.05, kept + 0.05, 300)
    return Reliability(imputer=name, fraction=0.1, kept=share, groups=(), reliable=kept >= 0.7, uneven=())


def test_r7_no_reliable_imputer() -> None:
    """Of those that the primary metric rests on; another one that is reliable does not help."""
    bad = (imputer("mean", 0.5), imputer("blur", 0.61), imputer("render", 0.99))
    assert only("R7.imputers", replace(GOOD, reliability=bad)) == {
        "fraction": 0.1,
        "shares": {"mean": 0.5, "blur": 0.61},
    }
    assert refused(replace(GOOD, reliability=(imputer("mean", 0.9), imputer("blur", 0.5)))) == []


def test_r8_images_were_trained_on() -> None:
    """Too many evaluation images are training images; unknown training images refuse nothing."""
    protocol = RULES.model_copy(update={"data": RULES.data.model_copy(update={"leak": LeakRules()})})
    leak = Leak(known=True, exact=3, near=1, rate=4 / 300, groups={}, excessive=True)
    found = replace(GOOD, validity=VALIDITY.model_copy(update={"leak": leak}))
    assert only("R8.leak", found, protocol) == {"rate": 4 / 300, "exact": 3, "near": 1, "max_rate": 0.001}
    unknown = leak.model_copy(update={"known": False, "rate": None, "excessive": False})
    assert refused(replace(GOOD, validity=VALIDITY.model_copy(update={"leak": unknown})), protocol) == []


def test_r9_the_best_method_differs_between_groups() -> None:
    """Behind over all images and ahead in one group: no answer for all."""
    moved = {("b", metric, "g2"): 0.3 for metric in ("nsrg", "road_gap", "single_deletion", "flip_equivariance")}
    values = only("R9.groups", simulate_evidence(SimulatedLeaderboard(CLEAR.quality, shifts=moved), 0, RULES))
    assert (values["attribute"], values["leader"]) == ("race", "a")
    (lead,) = values["leads"]
    assert (lead["explainer"], lead["group"], lead["mean"]) == ("b", "g2", pytest.approx(0.15, abs=0.06))


def summary(lost: dict[str, tuple[int, int]]) -> MetricSummary:
    """The primary metric, with what is undefined and failed per group of 100."""
    values = tuple(
        GroupValue(
            attribute="race",
            group=name,
            estimate=groups.to_estimate(0.5, 0.4, 0.6, 100 - undefined - failed),
            undefined=undefined,
            failed=failed,
            suppressed=False,
        )
        for name, (undefined, failed) in lost.items()
    )
    return MetricSummary(
        metric="nsrg",
        category="faithfulness",
        higher_is_better=True,
        unit="",
        chance=0.0,
        estimate=NOTHING,
        weighted_mean=None,
        undefined=0,
        failed=0,
        rank=None,
        groups=values,
        gaps=(),
        missing=None,
    )


def lacking(name: str, **lost: tuple[int, int]) -> Evidence:
    """The good table, one of whose methods lacks scores."""
    entries = [e.model_copy(update={"metrics": (summary(lost),)}) if e.explainer == name else e for e in GOOD.entries]
    return replace(GOOD, entries=tuple(entries))


def test_r10_scores_missing_too_often() -> None:
    """More than 5 % undefined or failed in one group is too many, 5 % is not; those of methods behind do not matter."""
    assert only("R10.missing", lacking("a", g0=(0, 0), g1=(4, 2), g2=(1, 0))) == {
        "explainer": "a",
        "metric": "nsrg",
        "groups": [{"group": "g1", "missing": 6, "n": 100}],
        "max_share": 0.05,
    }
    assert refused(lacking("a", g0=(2, 0), g1=(4, 1), g2=(1, 0))) == []
    assert refused(lacking("d", g0=(50, 0), g1=(0, 0), g2=(0, 0))) == []


def test_r10_far_more_missing_in_one_group_than_in_another() -> None:
    """With a narrower limit on the difference, 5 % against 1 % is too much."""
    narrow = build_protocol(max_undefined_gap=0.03)
    assert only("R10.uneven", lacking("a", g0=(1, 0), g1=(5, 0), g2=(2, 0)), narrow) == {
        "explainer": "a",
        "metric": "nsrg",
        "low": 0.01,
        "low_group": "g0",
        "high": 0.05,
        "high_group": "g1",
        "max_gap": 0.03,
    }


def test_r10_nothing_to_compare() -> None:
    """Without any value of the primary metric there is no score."""
    found = simulate_evidence(
        CLEAR, 0, RULES, metrics={**METRICS, "nsrg": MetricTraits("-", "faithfulness", higher_is_better=True)}
    )
    assert only("R10.scale", found) == {"metric": "nsrg", "explainers": ["random", "cell_occlusion"]}


@pytest.mark.parametrize("status", ["preview", "draft"])
def test_r11_a_changed_protocol(status: str) -> None:
    """What carries the name of a frozen protocol must follow it; one that is not frozen may be changed."""
    changed = {"status": "frozen", "overrides": ("limit = 70",)}
    values = only("R11.overrides", GOOD, RULES.model_copy(update=changed))
    assert values == {"protocol": "simulated", "overrides": ["limit = 70"]}
    assert refused(GOOD, RULES.model_copy(update={**changed, "status": status})) == []
    assert refused(GOOD, RULES.model_copy(update={"status": "frozen"})) == []


def test_r12_two_methods_are_a_comparison() -> None:
    """Fewer eligible methods than asked for are compared, not recommended."""
    found = simulate_evidence(SimulatedLeaderboard({"a": 0.6, "b": 0.3}), 0, RULES)
    assert only("R12.methods", found) == {"n_methods": 2, "min_methods": 3}


def test_every_ground_is_listed() -> None:
    """A refusal names all its grounds, the weightiest first."""
    found = simulate_evidence(SimulatedLeaderboard({"a": 0.6, "b": 0.3, "sobel": 0.6}), 0, RULES, {"sobel": "control"})
    guess = VALIDITY.model_copy(update={"better_than_chance": False})
    found = replace(found, group_counts={"g0": 9}, validity=guess, reliability=(imputer("mean", 0.1),))
    assert [ground.code for ground in refused(found)] == ["R1", "R2", "R7", "R4", "R12"]
