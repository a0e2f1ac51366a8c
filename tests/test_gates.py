"""What a method must pass: each gate passes, fails and abstains on planted tables."""

import numpy as np
import pandas as pd

from mavis.findings import Gate
from mavis.gates import judge
from mavis.groups import summarise, wide
from mavis.rules import Protocol

from .tables import RULES, columns, images, protocol, scores, values

TABLE = images()
MEANS = {"saliency": 0.3, "random": 0.0, "sobel": 0.1}


def judged(planted: dict, rules: Protocol | None = None, *, higher_is_better: bool = True) -> dict[str, Gate]:
    """The gates of the method by id."""
    rows = scores(TABLE, planted)
    summary = summarise(rows, TABLE, RULES)
    means = dict(zip(summary.columns, summary.macro, strict=True))
    table: pd.DataFrame = wide(rows, TABLE)
    gates = (rules or protocol()).gates
    return {
        gate.id: gate
        for gate in judge(
            "saliency", table, TABLE, means=means, rules=RULES, gates=gates, higher_is_better=higher_is_better
        )
    }


def test_a_good_method_passes_every_gate() -> None:
    """Valid maps that change with the weights and beat the control."""
    found = judged(columns(TABLE, MEANS))
    assert {name: gate.passed for name, gate in found.items()} == {"G0": True, "G3": True, "G5": True}
    assert all("not assessed" not in gate.reason for gate in found.values())


def test_too_many_broken_maps_fail() -> None:
    """A tenth of the maps constant is more than the twentieth allowed; the numbers are in the reason."""
    planted = columns(TABLE, MEANS)
    planted["saliency", "valid"] = np.where(np.arange(len(TABLE)) % 10 == 0, 0.0, 1.0)
    gate = judged(planted)["G0"]
    assert (gate.passed, gate.value, gate.threshold) == (False, 0.9, 0.95)
    assert "90.0%" in gate.reason


def test_maps_that_outlive_the_weights_fail() -> None:
    """A mean similarity above the threshold fails."""
    planted = columns(TABLE, MEANS)
    planted["saliency", "mprt"] = values(TABLE, 0.55, seed=1, spread=0.01)
    assert judged(planted)["G3"].passed is False


def test_an_uncertain_similarity_fails() -> None:
    """A mean below the threshold does not pass while its interval reaches the upper limit."""
    planted = columns(TABLE, MEANS)
    planted["saliency", "mprt"] = values(TABLE, 0.45, seed=1, spread=0.01)
    assert judged(planted)["G3"].passed is True
    few = np.where(np.arange(len(TABLE)) % 10 == 0, values(TABLE, 0.45, seed=1, spread=0.6), np.nan)
    few += 0.45 - np.nanmean(few)
    planted["saliency", "mprt"] = few
    gate = judged(planted)["G3"]
    assert gate.value < 0.5
    assert gate.passed is False


def test_a_method_no_better_than_a_control_fails() -> None:
    """A lead inside the margin is none."""
    gate = judged(columns(TABLE, MEANS | {"saliency": 0.03}, spread=0.1))["G5"]
    assert gate.passed is False
    assert gate.value < gate.threshold
    assert "random" in gate.reason


def test_every_named_control_must_be_beaten() -> None:
    """One control that is as good fails the gate, and is named as the hardest."""
    rules = protocol(gates__controls={"metric": "nsrg", "against": ["random", "sobel"], "margin": 0.02})
    assert judged(columns(TABLE, MEANS), rules)["G5"].passed is True
    gate = judged(columns(TABLE, MEANS | {"sobel": 0.3}), rules)["G5"]
    assert gate.passed is False
    assert "that of sobel" in gate.reason


def test_several_controls_are_judged_at_one_error_rate() -> None:
    """A lead that is shown against one control alone is not enough when two are to be beaten (Holm)."""
    planted = columns(TABLE, {"saliency": 0.0, "random": 0.0})
    error = pd.Series(planted["saliency", "nsrg"] - planted["random", "nsrg"]).std() / np.sqrt(len(TABLE))
    planted["saliency", "nsrg"] += 0.02 + 1.8 * error  # between the normal quantiles of .05 and .025, 1.64 and 1.96
    planted["sobel", "nsrg"] = planted["random", "nsrg"]
    pair = {"metric": "nsrg", "against": ["random", "sobel"], "margin": 0.02}
    assert judged(planted)["G5"].passed is True
    assert judged(planted, protocol(gates__controls=pair))["G5"].passed is False


def test_a_metric_where_lower_is_better_is_read_that_way_round() -> None:
    """Smaller scores than the control's beat it."""
    rules = protocol(gates__controls={"metric": "deletion", "against": ["random"], "margin": 0.02})
    low = columns(TABLE, {"saliency": 0.1, "random": 0.4}, metric="deletion")
    assert judged(low, rules, higher_is_better=False)["G5"].passed is True
    assert judged(low, rules, higher_is_better=True)["G5"].passed is False


def test_what_was_not_run_is_not_assessed() -> None:
    """Without its metric or its control a gate neither passes nor fails, and says why."""
    planted = {pair: column for pair, column in columns(TABLE, MEANS).items() if pair[1] == "nsrg"}
    found = judged(planted)
    assert (found["G0"].passed, found["G3"].passed, found["G5"].passed) == (None, None, True)
    assert "'valid'" in found["G0"].reason
    del planted["random", "nsrg"]
    assert "no nsrg of random" in judged(planted)["G5"].reason
    planted["random", "nsrg"] = np.full(len(TABLE), np.nan)
    assert judged(planted)["G5"].passed is None


def test_images_without_a_score_are_left_out() -> None:
    """A few missing scores do not change the verdict; no common image leaves the gate open."""
    planted = columns(TABLE, MEANS)
    planted["saliency", "nsrg"][::7] = np.nan
    planted["random", "nsrg"][1::9] = np.nan
    assert judged(planted)["G5"].passed is True
    planted["saliency", "nsrg"][: len(TABLE) // 2] = np.nan
    planted["random", "nsrg"][len(TABLE) // 2 :] = np.nan
    assert judged(planted)["G5"].passed is None
