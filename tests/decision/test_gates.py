"""What a method must pass: each gate passes, fails and abstains on planted tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from mavis.analysis.findings import Gate
from mavis.analysis.groups import pivot_scores, summarise_scores
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.decision.gates import GateInput, evaluate_gates
from mavis.protocol.schema import Protocol
from mavis.report import wording

from ..tables import BOOTSTRAP, METRICS, make_images, make_protocol, score_columns, score_rows, values_with_mean

TABLE = make_images()
MEANS = {"saliency": 0.3, "random": 0.0, "sobel": 0.1}
METHOD = ExplainerTraits("-")
WHITE = {"mprt": replace(METRICS["mprt"], needs=frozenset({"weights"}))}


def judged(
    planted: dict, rules: Protocol | None = None, traits: ExplainerTraits = METHOD, **more: Any
) -> dict[str, Gate]:
    """The gates of the method by id; ``more`` is what else is known of it."""
    rows = score_rows(TABLE, planted)
    summary = summarise_scores(rows, TABLE, BOOTSTRAP)
    means = dict(zip(summary.columns, summary.macro, strict=True))
    table: pd.DataFrame = pivot_scores(rows, TABLE)
    more = {"metrics": METRICS, "n_classes": 3, **more}
    case = GateInput("saliency", traits, table, TABLE, means, **more)
    gates = evaluate_gates(case, BOOTSTRAP, (rules or make_protocol()).gates)
    assert all(wording.gate_title(gate) and wording.gate_reason(gate) for gate in gates)
    return {gate.id: gate for gate in gates}


def with_metrics(**fixed: float) -> dict:
    """The planted scores, and of the method one value of each further metric on every image."""
    return score_columns(TABLE, MEANS) | {
        ("saliency", name): np.full(len(TABLE), value) for name, value in fixed.items()
    }


def test_a_good_method_passes_every_gate() -> None:
    """Valid maps that change with the weights and beat the control."""
    found = judged(score_columns(TABLE, MEANS))
    assert {name: gate.passed for name, gate in found.items()} == {"G0": True, "G3": True, "G5": True}
    assert [gate.code for gate in found.values()] == ["G0.valid", "G3.changed", "G5.lead"]


def test_too_many_broken_maps_fail() -> None:
    """A tenth of the maps constant is more than the twentieth allowed."""
    planted = score_columns(TABLE, MEANS)
    planted["saliency", "valid"] = np.where(np.arange(len(TABLE)) % 10 == 0, 0.0, 1.0)
    gate = judged(planted)["G0"]
    assert (gate.passed, gate.value, gate.threshold) == (False, 0.9, 0.95)
    assert gate.code == "G0.valid"


def test_maps_that_outlive_the_weights_fail() -> None:
    """A mean similarity above the threshold fails."""
    planted = score_columns(TABLE, MEANS)
    planted["saliency", "mprt"] = values_with_mean(TABLE, 0.55, seed=1, spread=0.01)
    gate = judged(planted)["G3"]
    assert (gate.passed, gate.code) == (False, "G3.partly_changed")
    planted["saliency", "mprt"] = values_with_mean(TABLE, 0.85, seed=1, spread=0.01)
    assert judged(planted)["G3"].code == "G3.hardly_changed"


def test_an_uncertain_similarity_fails() -> None:
    """A mean below the threshold does not pass while its interval reaches the upper limit."""
    planted = score_columns(TABLE, MEANS)
    planted["saliency", "mprt"] = values_with_mean(TABLE, 0.45, seed=1, spread=0.01)
    assert judged(planted)["G3"].passed is True
    few = np.where(np.arange(len(TABLE)) % 10 == 0, values_with_mean(TABLE, 0.45, seed=1, spread=0.6), np.nan)
    few += 0.45 - np.nanmean(few)
    planted["saliency", "mprt"] = few
    gate = judged(planted)["G3"]
    assert gate.value < 0.5
    assert gate.passed is False


def test_a_method_no_better_than_a_control_fails() -> None:
    """A lead inside the margin is none."""
    gate = judged(score_columns(TABLE, MEANS | {"saliency": 0.03}, spread=0.1))["G5"]
    assert gate.passed is False
    assert gate.value < gate.threshold
    assert (gate.values["metric"], gate.values["against"], gate.values["hardest"]) == ("nsrg", ["random"], "random")
    assert gate.values["mean"] == pytest.approx(0.03, abs=1e-9)


def test_every_named_control_must_be_beaten() -> None:
    """One control that is as good fails the gate, and is named as the hardest."""
    rules = make_protocol(gates__controls={"metric": "nsrg", "against": ["random", "sobel"], "margin": 0.02})
    assert judged(score_columns(TABLE, MEANS), rules)["G5"].passed is True
    gate = judged(score_columns(TABLE, MEANS | {"sobel": 0.3}), rules)["G5"]
    assert gate.passed is False
    assert gate.values["hardest"] == "sobel"


def test_several_controls_are_judged_at_one_error_rate() -> None:
    """A lead that is shown against one control alone is not enough when two are to be beaten (Holm)."""
    planted = score_columns(TABLE, {"saliency": 0.0, "random": 0.0})
    error = pd.Series(planted["saliency", "nsrg"] - planted["random", "nsrg"]).std() / np.sqrt(len(TABLE))
    planted["saliency", "nsrg"] += 0.02 + 1.8 * error  # between the normal quantiles of .05 and .025, 1.64 and 1.96
    planted["sobel", "nsrg"] = planted["random", "nsrg"]
    pair = {"metric": "nsrg", "against": ["random", "sobel"], "margin": 0.02}
    assert judged(planted)["G5"].passed is True
    assert judged(planted, make_protocol(gates__controls=pair))["G5"].passed is False


def test_a_metric_where_lower_is_better_is_read_that_way_round() -> None:
    """Smaller scores than the control's beat it."""
    rules = make_protocol(gates__controls={"metric": "deletion", "against": ["random"], "margin": 0.02})
    low = score_columns(TABLE, {"saliency": 0.1, "random": 0.4}, metric="deletion")
    assert judged(low, rules)["G5"].passed is True
    turned = {"deletion": replace(METRICS["deletion"], higher_is_better=True)}
    assert judged(low, rules, metrics=turned)["G5"].passed is False


def test_what_was_not_run_is_not_assessed() -> None:
    """Without its metric or its control a gate neither passes nor fails, and says why."""
    planted = {pair: column for pair, column in score_columns(TABLE, MEANS).items() if pair[1] == "nsrg"}
    found = judged(planted)
    assert (found["G0"].passed, found["G3"].passed, found["G5"].passed) == (None, None, True)
    assert (found["G0"].code, found["G0"].values) == ("open.no_values", {"metric": "valid", "explainers": []})
    del planted["random", "nsrg"]
    assert judged(planted)["G5"].values == {"metric": "nsrg", "explainers": ["random"], "against": ["random"]}
    planted["random", "nsrg"] = np.full(len(TABLE), np.nan)
    assert judged(planted)["G5"].passed is None


def test_images_without_a_score_are_left_out() -> None:
    """A few missing scores do not change the verdict; no common image leaves the gate open."""
    planted = score_columns(TABLE, MEANS)
    planted["saliency", "nsrg"][::7] = np.nan
    planted["random", "nsrg"][1::9] = np.nan
    assert judged(planted)["G5"].passed is True
    planted["saliency", "nsrg"][: len(TABLE) // 2] = np.nan
    planted["random", "nsrg"][len(TABLE) // 2 :] = np.nan
    gate = judged(planted)["G5"]
    assert (gate.passed, gate.code) == (None, "open.no_common_image")


def test_a_few_broken_maps_are_remarked_on() -> None:
    """97.5 % of the maps pass, with a remark; 100 % without."""
    planted = score_columns(TABLE, MEANS)
    assert judged(planted)["G0"].code == "G0.valid"
    planted["saliency", "valid"] = np.where(np.arange(len(TABLE)) % 40 == 0, 0.0, 1.0)
    gate = judged(planted)["G0"]
    assert (gate.passed, gate.value) == (True, 0.975)
    assert (gate.code, gate.values) == ("G0.some_invalid", {"remark_below": 0.99})


DETERMINISM = make_protocol(gates__determinism={})
STOCHASTIC = replace(METHOD, stochastic=True)


def test_a_map_that_comes_back_passes() -> None:
    """The same map under the same seed is enough for a method that draws nothing; the other asks another seed too."""
    assert judged(with_metrics(repeatability=1e-6), DETERMINISM)["G1"].passed is True
    both = with_metrics(repeatability=0.0, replicate_agreement=0.9)
    gate = judged(both, DETERMINISM, STOCHASTIC)["G1"]
    assert (gate.passed, gate.value, gate.threshold) == (True, 0.9, 0.8)


def test_a_map_that_does_not_come_back_fails() -> None:
    """Whether or not two seeds agree."""
    planted = with_metrics(repeatability=1e-3, replicate_agreement=0.9)
    for traits in (METHOD, STOCHASTIC):
        gate = judged(planted, DETERMINISM, traits)["G1"]
        assert (gate.passed, gate.value) == (False, pytest.approx(1e-3))


def test_a_map_of_its_seed_fails_and_says_what_to_raise() -> None:
    """The median counts, not the mean, and the parameter is named where the method has one of that kind."""
    planted = with_metrics(repeatability=0.0)
    planted["saliency", "replicate_agreement"] = np.where(np.arange(len(TABLE)) % 5 < 3, 0.75, 1.0)
    gate = judged(planted, DETERMINISM, STOCHASTIC, parameter_names=("noise", "samples"))["G1"]
    assert (gate.passed, gate.value) == (False, 0.75)
    assert planted["saliency", "replicate_agreement"].mean() > 0.8
    assert (gate.code, gate.values["explainer"], gate.values["parameter"]) == ("G1.seeds_differ", "saliency", "samples")
    assert judged(planted, DETERMINISM, STOCHASTIC)["G1"].values["parameter"] is None


def test_determinism_that_was_not_measured_is_not_assessed() -> None:
    """Without either metric where it is needed; and there is no such gate unless the protocol asks."""
    assert judged(score_columns(TABLE, MEANS), DETERMINISM)["G1"].passed is None
    gate = judged(with_metrics(repeatability=0.0), DETERMINISM, STOCHASTIC)["G1"]
    assert (gate.passed, gate.impossible) == (None, False)
    assert (gate.code, gate.values["metric"]) == ("open.no_values", "replicate_agreement")
    assert "G1" not in judged(with_metrics(repeatability=0.0))


COMPLETE = make_protocol(gates__completeness={})
CLAIMS = replace(METHOD, complete=True)


def test_only_what_claims_to_be_complete_must_be() -> None:
    """An error of 4 % passes and of 6 % fails a method that claims it; another is not asked."""
    assert judged(with_metrics(completeness=0.04), COMPLETE, CLAIMS)["G2"].passed is True
    assert judged(with_metrics(completeness=0.06), COMPLETE, CLAIMS)["G2"].passed is False
    assert "G2" not in judged(with_metrics(completeness=0.06), COMPLETE)
    assert "G2" not in judged(with_metrics(completeness=0.06), None, CLAIMS)
    assert judged(score_columns(TABLE, MEANS), COMPLETE, CLAIMS)["G2"].passed is None


def test_completeness_is_that_of_the_median_image() -> None:
    """A few images with nearly no change of the logit, and so a huge relative error, do not decide."""
    planted = with_metrics(completeness=0.01)
    planted["saliency", "completeness"][::4] = 50.0
    gate = judged(planted, COMPLETE, CLAIMS)["G2"]
    assert (gate.passed, gate.value) == (True, pytest.approx(0.01))


CLASSES = make_protocol(gates__classes={})


def test_a_map_of_its_class_passes_and_one_for_all_classes_fails() -> None:
    """A similarity of .7 passes, of .9 fails as class-agnostic."""
    assert judged(with_metrics(random_logit=0.7), CLASSES)["G4"].passed is True
    gate = judged(with_metrics(random_logit=0.9), CLASSES)["G4"]
    assert (gate.passed, gate.threshold) == (False, 0.8)
    assert (gate.code, gate.values) == ("G4.class_agnostic", {"unsigned": False})
    assert judged(score_columns(TABLE, MEANS), CLASSES)["G4"].passed is None


def test_two_classes_are_not_compared() -> None:
    """Below the protocol's number of classes the gate is not there."""
    planted = with_metrics(random_logit=0.9)
    assert "G4" not in judged(planted, CLASSES, n_classes=2)
    two = make_protocol(gates__classes={"min_classes": 2})
    assert judged(planted, two, n_classes=2)["G4"].passed is False


@pytest.mark.parametrize("traits", [replace(METHOD, pooling="l2"), replace(METHOD, magnitude=True)])
def test_maps_without_sign_need_only_not_be_the_same(traits: ExplainerTraits) -> None:
    """Sizes of gradients are alike for all classes, .93 on average; only one and the same map fails."""
    assert judged(with_metrics(random_logit=0.93), CLASSES, traits)["G4"].passed is True
    assert judged(with_metrics(random_logit=1.0), CLASSES, traits)["G4"].passed is False


GROUPS = make_protocol(gates__groups={})


def test_every_group_must_be_served() -> None:
    """A method that is good on average and no better than random for one group fails, and the group is named."""
    assert judged(score_columns(TABLE, MEANS), GROUPS)["G6"].passed is True
    planted = score_columns(TABLE, MEANS)
    planted["saliency", "nsrg"] -= np.where(TABLE["race"] == "birch", 0.3, 0.0)
    found = judged(planted, GROUPS)
    assert (found["G5"].passed, found["G6"].passed) == (True, False)
    assert (found["G6"].values["failing"], found["G6"].values["worst"]) == (["birch"], "birch")


def test_the_bound_of_a_group_is_one_sided() -> None:
    """The lower bound is the mean minus 1.645 standard errors, as a normal approximation has it."""
    planted = score_columns(TABLE, {"saliency": 0.3, "random": 0.0})
    lead = pd.Series(planted["saliency", "nsrg"] - planted["random", "nsrg"], TABLE.index)
    by = lead.groupby(TABLE["race"])
    expected = (by.mean() - scipy_stats.norm.ppf(0.95) * by.std(ddof=0) / np.sqrt(by.size())).min()
    assert judged(planted, GROUPS)["G6"].value == pytest.approx(expected, abs=0.004)


def test_a_group_that_is_not_reported_is_not_judged() -> None:
    """A group of nine images with a score is named as too small; with no other the gate is open."""
    planted = score_columns(TABLE, MEANS)
    birch = np.flatnonzero(TABLE["race"] == "birch")
    planted["saliency", "nsrg"][birch] = -1.0
    planted["saliency", "nsrg"][birch[9:]] = np.nan
    gate = judged(planted, GROUPS)["G6"]
    assert gate.passed is True
    assert gate.values["too_small"] == ["birch"]
    for race in ("alder", "birch", "cedar"):
        planted["saliency", "nsrg"][np.flatnonzero(TABLE["race"] == race)[9:]] = np.nan
    gate = judged(planted, GROUPS)["G6"]
    assert (gate.passed, gate.code, gate.values["min_report"]) == (None, "open.small_groups", 10)
    del planted["random", "nsrg"]
    assert judged(planted, GROUPS)["G6"].values["explainers"] == ["random"]


def test_what_the_model_does_not_give_is_told_from_what_was_not_run() -> None:
    """Weights that the model keeps to itself make the gate impossible; a metric that was left out does not."""
    planted = score_columns(TABLE, MEANS)
    del planted["saliency", "mprt"]
    why = "needs weights, which api does not give"
    gate = judged(planted, metrics=METRICS | WHITE, missing={("saliency", "mprt"): why})["G3"]
    assert (gate.passed, gate.impossible) == (None, True)
    assert (gate.code, gate.values) == ("open.unavailable", {"metric": "mprt", "reason": why})
    assert judged(planted, metrics=METRICS | WHITE)["G3"].impossible is False
    truth = {"mprt": MetricTraits("-", "randomisation", higher_is_better=False, truth=True)}
    assert judged(planted, metrics=truth, missing={("saliency", "mprt"): "needs truth"})["G3"].impossible is False
    gone = {("saliency", "mprt"): why, ("saliency", ""): why}
    assert judged(planted, metrics=METRICS | WHITE, missing=gone)["G3"].impossible is False


def test_controls_that_the_model_cannot_make_are_left_out_and_named() -> None:
    """The others must be beaten all the same, and the method stays provisional."""
    rules = make_protocol(gates__controls={"metric": "nsrg", "against": ["random", "mean_map"], "margin": 0.02})
    missing = {("mean_map", ""): "needs gradient, which api does not give"}
    gate = judged(score_columns(TABLE, MEANS), rules, missing=missing)["G5"]
    assert (gate.passed, gate.impossible) == (True, True)
    assert gate.values["unavailable"] == {"mean_map": "needs gradient, which api does not give"}
    assert judged(score_columns(TABLE, MEANS | {"saliency": 0.0}), rules, missing=missing)["G5"].passed is False
    only = make_protocol(gates__controls={"metric": "nsrg", "against": ["mean_map"], "margin": 0.02})
    assert judged(score_columns(TABLE, MEANS), only, missing=missing)["G5"].passed is None
