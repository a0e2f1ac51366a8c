"""Who is recommended, who is tied, and each ground on which nobody is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mavis.decide import Evidence, recommend
from mavis.findings import Recommendation
from mavis.rules import Protocol

from .tables import cast, columns, evidence, images, protocol, scores

TABLE = images()
CLEAR = {"rise": 0.6, "gradcam": 0.4, "saliency": 0.3, "random": 0.0, "sobel": 0.1}
TIED = {"rise": 0.402, "gradcam": 0.4, "saliency": 0.2, "deeplift": 0.2, "lime": 0.2, "random": 0.0, "sobel": 0.1}
CONTROLS = ("random", "sobel")


def decided(
    means: dict[str, float] | None = None,
    *,
    planted: dict[tuple[str, str], Any] | None = None,
    table: pd.DataFrame = TABLE,
    rules: Protocol | None = None,
) -> Recommendation:
    """What is recommended on these scores."""
    return recommend(made(means, planted, table, rules), rules or protocol(), higher_is_better=True)


def made(
    means: dict[str, float] | None = None,
    planted: dict[tuple[str, str], Any] | None = None,
    table: pd.DataFrame = TABLE,
    rules: Protocol | None = None,
) -> Evidence:
    """The evidence of these scores; everybody but the controls and the oracle is a method."""
    found = planted or columns(table, means or CLEAR)
    methods = list(dict.fromkeys(e for e, _ in found if e not in (*CONTROLS, "oracle")))
    who = cast(methods, CONTROLS, ["oracle"] if ("oracle", "nsrg") in found else [])
    return evidence(table, scores(table, found), who, rules or protocol())


def codes(found: Recommendation) -> list[str]:
    """The grounds of a refusal."""
    assert (found.status, found.set, found.pick) == ("refused", (), None)
    assert found.sentence.lower() == found.refusals[0].reason.lower()
    return [refusal.code for refusal in found.refusals]


def test_a_clear_leader_is_recommended() -> None:
    """One method ahead of all others by more than matters is the answer."""
    found = decided()
    assert (found.status, found.set, found.pick, found.refusals) == ("recommended", ("rise",), "rise", ())
    assert found.sentence == "Use rise on this model and these data."
    assert found.p_best == {"rise": 1.0, "gradcam": 0.0, "saliency": 0.0}
    assert "gradcam is worse by 0.2" in found.reasons[1]


def test_indistinguishable_methods_are_tied() -> None:
    """Two methods closer than matters stand together; cost is equal, so none is picked."""
    found = decided(TIED)
    assert (found.status, found.set, found.pick) == ("tied", ("rise", "gradcam"), None)
    assert "statistically indistinguishable" in found.sentence
    assert sum(found.p_best.values()) == pytest.approx(1)
    assert found.p_best["saliency"] == 0


def test_a_difference_that_does_not_matter_is_a_tie() -> None:
    """A lead that is certain but smaller than the region of equivalence excludes nobody."""
    planted = columns(TABLE, TIED)
    planted["gradcam", "nsrg"] = planted["rise", "nsrg"] - 0.015
    found = decided(planted=planted)
    assert found.set == ("rise", "gradcam")
    assert found.p_best["rise"] == 1.0


def test_a_tie_is_picked_by_clearly_lower_cost() -> None:
    """Half the other's samples are enough, a little more than half are not; a backward counts as two."""
    planted = columns(TABLE, TIED)
    planted["gradcam", "forwards"], planted["gradcam", "backwards"] = np.full((2, len(TABLE)), 1.0)
    planted["rise", "forwards"] = np.full(len(TABLE), 6.0)
    found = decided(planted=planted)
    assert (found.status, found.pick) == ("tied", "gradcam")
    assert "3 model samples an image, the next 6" in found.reasons[-1]
    planted["rise", "forwards"] = np.full(len(TABLE), 5.9)
    assert decided(planted=planted).pick is None


def test_shared_draws_share_the_lead() -> None:
    """Two methods with the same scores lead in half of the draws each."""
    planted = columns(TABLE, TIED)
    planted["gradcam", "nsrg"] = planted["rise", "nsrg"].copy()
    assert decided(planted=planted).p_best == {"gradcam": 0.5, "rise": 0.5, "saliency": 0, "deeplift": 0, "lime": 0}


def test_controls_and_the_oracle_are_never_recommended() -> None:
    """An oracle far ahead changes nothing; its name is nowhere in the answer."""
    found = decided(CLEAR | {"oracle": 0.95})
    assert found.set == ("rise",)
    assert set(found.p_best) == {"rise", "gradcam", "saliency"}


def test_an_ineligible_leader_is_passed_over() -> None:
    """The first of those that passed every gate is recommended, not the first of all."""
    planted = columns(TABLE, CLEAR | {"lime": 0.2})
    planted["rise", "mprt"] = np.full(len(TABLE), 0.9)
    found = decided(planted=planted)
    assert found.set == ("gradcam",)
    assert "rise" not in found.p_best


def test_r1_a_model_no_better_than_chance() -> None:
    """Explanations of a guess are not ranked into a recommendation."""
    table = images(accuracy=0.3)
    found = decided(planted=columns(table, CLEAR), table=table)
    assert codes(found) == ["R1"]
    assert "chance 0.33" in found.sentence


def test_r2_a_group_below_the_minimum() -> None:
    """The group and its number are named."""
    table = images({"alder": 40, "birch": 40, "cedar": 9})
    found = decided(planted=columns(table, CLEAR), table=table)
    assert codes(found) == ["R2"]
    assert "cedar (9)" in found.sentence


def test_r3_nobody_passes() -> None:
    """Without an eligible method there is nothing to recommend, and no leader in any draw."""
    found = decided({"rise": 0.0, "gradcam": 0.01, "random": 0.0, "sobel": 0.0})
    assert codes(found) == ["R3"]
    assert " stops " in found.sentence
    assert found.p_best == {}


def test_r4_a_control_as_good_as_the_leader() -> None:
    """A control within what matters of the leader says that the metric cannot tell."""
    found = decided(CLEAR | {"sobel": 0.585})
    assert codes(found) == ["R4"]
    assert "control sobel scores 0.585" in found.sentence
    assert decided(CLEAR | {"sobel": 0.575}).status == "recommended"


def test_r6_no_basis_to_prefer() -> None:
    """More than half of the methods in the set and none ahead in half of the draws."""
    found = decided({"a": 0.4, "b": 0.4, "c": 0.4, "d": 0.4, "random": 0.0, "sobel": 0.0})
    assert codes(found) == ["R6"]
    assert "4 of 4 eligible" in found.sentence


def test_r10_scores_missing_too_often() -> None:
    """More than 5 % undefined in one group is too many: 3 of 40, where 2 are borne."""
    planted = columns(TABLE, CLEAR)
    for pair in planted:
        if pair[1] == "nsrg":
            planted[pair][TABLE.index.isin(["birch/000", "birch/001", "birch/002"])] = np.nan
    found = decided(planted=planted)
    assert codes(found) == ["R10"]
    assert "3 of 40 labelled birch" in found.sentence
    fewer = columns(TABLE, CLEAR)
    fewer["rise", "nsrg"][TABLE.index.isin(["birch/000", "birch/001"])] = np.nan
    assert decided(planted=fewer).status == "recommended"


def test_r10_no_image_in_common() -> None:
    """Methods that were never scored on the same image cannot be compared."""
    rules = protocol(gates__controls={"metric": "deletion", "against": ["random"], "margin": 0.0})
    planted = columns(TABLE, CLEAR) | columns(TABLE, {n: 0.5 - m for n, m in CLEAR.items()}, metric="deletion")
    planted["rise", "nsrg"][::2] = np.nan
    planted["gradcam", "nsrg"][1::2] = np.nan
    assert codes(decided(planted=planted, rules=rules)) == ["R10"]
    for pair in [pair for pair in planted if pair[1] == "nsrg"]:
        del planted[pair]
    assert codes(decided(planted=planted, rules=rules)) == ["R10"]


def test_r12_two_methods_are_a_comparison() -> None:
    """Fewer eligible methods than asked for are compared, not recommended."""
    found = decided({name: mean for name, mean in CLEAR.items() if name != "saliency"})
    assert codes(found) == ["R12"]
    assert found.p_best["rise"] == 1.0


def test_every_ground_is_listed() -> None:
    """A refusal names all its grounds, the weightiest first."""
    table = images({"alder": 40, "birch": 40, "cedar": 9}, accuracy=0.3)
    planted = columns(table, {"rise": 0.5, "gradcam": 0.1, "random": 0.0, "sobel": 0.5})
    assert codes(decided(planted=planted, table=table)) == ["R1", "R2", "R4", "R12"]


def test_lower_is_better_is_decided_that_way_round() -> None:
    """With such a primary metric the lowest is recommended, and a control that is as low refuses."""
    rules = protocol(
        decide__primary="deletion", gates__controls={"metric": "deletion", "against": ["random"], "margin": 0.02}
    )
    low = {"rise": 0.1, "gradcam": 0.3, "saliency": 0.4, "random": 0.6, "sobel": 0.55}
    for control, status in ((0.55, "recommended"), (0.11, "refused")):
        planted = columns(TABLE, low | {"sobel": control}, metric="deletion")
        found = recommend(made(planted=planted, rules=rules), rules, higher_is_better=False)
        assert found.status == status
        assert found.p_best["rise"] == 1.0


@pytest.mark.parametrize("means", [CLEAR, TIED])
def test_the_order_of_rows_and_explainers_changes_nothing(means: dict[str, float]) -> None:
    """Shuffled scores, images and explainers give the same recommendation, number for number."""
    before = made(means)
    again = made(planted=dict(reversed(columns(TABLE, means).items())))
    after = replace(
        again,
        scores=again.scores.sample(frac=1, random_state=0),
        images=again.images.sample(frac=1, random_state=1),
    )
    one, other = (recommend(e, protocol(), higher_is_better=True) for e in (before, after))
    assert one == other
