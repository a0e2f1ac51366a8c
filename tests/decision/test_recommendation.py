"""Who is recommended, who is tied, and in what words."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.findings import Leak, Recommendation
from mavis.decision.recommendation import recommend
from mavis.decision.refusals import Evidence
from mavis.protocol.schema import Protocol

from ..tables import make_evidence, make_images, make_participants, make_protocol, score_columns, score_rows

TABLE = make_images()
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
    return recommend(made(means, planted, table, rules), rules or make_protocol())


def made(
    means: dict[str, float] | None = None,
    planted: dict[tuple[str, str], Any] | None = None,
    table: pd.DataFrame = TABLE,
    rules: Protocol | None = None,
) -> Evidence:
    """The evidence of these scores; everybody but the controls and the oracle is a method."""
    found = planted or score_columns(table, means or CLEAR)
    methods = list(dict.fromkeys(e for e, _ in found if e not in (*CONTROLS, "oracle")))
    who = make_participants(methods, CONTROLS, ["oracle"] if ("oracle", "nsrg") in found else [])
    return make_evidence(table, score_rows(table, found), who, rules or make_protocol())


def test_a_clear_leader_is_recommended() -> None:
    """One method ahead of all others by more than matters is the answer."""
    found = decided()
    assert (found.status, found.set, found.pick, found.refusals) == ("recommended", ("rise",), "rise", ())
    assert found.sentence == (
        "Use rise on this model and data like these: overall skill 0.60, where random has 0 and cell_occlusion, or a "
        "perfect map, has 1, ahead of each of the other 2 methods that passed by more than 0.02."
    )
    assert found.prob_best == {"rise": 1.0, "gradcam": 0.0, "saliency": 0.0}
    assert "gradcam is worse by 0.2" in found.reasons[1]


def test_indistinguishable_methods_are_tied() -> None:
    """Two methods closer than matters stand together; cost is equal, so none is picked."""
    found = decided(TIED)
    assert (found.status, found.set, found.pick) == ("tied", ("rise", "gradcam"), None)
    assert found.sentence.startswith("rise and gradcam are not shown to differ by more than the 0.02 that matters: ")
    assert found.reasons[1] == "gradcam is 0.002 behind, perhaps not at all."
    assert sum(found.prob_best.values()) == pytest.approx(1)
    assert found.prob_best["saliency"] == 0


def test_a_difference_that_does_not_matter_is_a_tie() -> None:
    """A lead that is certain but smaller than the region of equivalence excludes nobody."""
    planted = score_columns(TABLE, TIED)
    planted["gradcam", "nsrg"] = planted["rise", "nsrg"] - 0.015
    found = decided(planted=planted)
    assert found.set == ("rise", "gradcam")
    assert found.prob_best["rise"] == 1.0
    assert found.reasons[1] == "gradcam is 0.015 behind, at least 0.015: not shown to be more than 0.02."


def test_a_tie_is_picked_by_clearly_lower_cost() -> None:
    """Half the other's samples are enough, a little more than half are not; a backward counts as two."""
    planted = score_columns(TABLE, TIED)
    planted["gradcam", "forwards"], planted["gradcam", "backwards"] = np.full((2, len(TABLE)), 1.0)
    planted["rise", "forwards"] = np.full(len(TABLE), 6.0)
    found = decided(planted=planted)
    assert (found.status, found.pick) == ("tied", "gradcam")
    assert "3 model samples an image, the next 6" in found.reasons[-1]
    planted["rise", "forwards"] = np.full(len(TABLE), 5.9)
    assert decided(planted=planted).pick is None


def test_shared_draws_share_the_lead() -> None:
    """Two methods with the same scores lead in half of the draws each."""
    planted = score_columns(TABLE, TIED)
    planted["gradcam", "nsrg"] = planted["rise", "nsrg"].copy()
    assert decided(planted=planted).prob_best == {"gradcam": 0.5, "rise": 0.5, "saliency": 0, "deeplift": 0, "lime": 0}


def test_controls_and_the_oracle_are_never_recommended() -> None:
    """An oracle far ahead changes nothing; its name is nowhere in the answer."""
    found = decided(CLEAR | {"oracle": 0.95})
    assert found.set == ("rise",)
    assert set(found.prob_best) == {"rise", "gradcam", "saliency"}


def test_an_ineligible_leader_is_passed_over() -> None:
    """The first of those that passed every gate is recommended, not the first of all."""
    planted = score_columns(TABLE, CLEAR | {"lime": 0.2})
    planted["rise", "mprt"] = np.full(len(TABLE), 0.9)
    found = decided(planted=planted)
    assert found.set == ("gradcam",)
    assert "rise" not in found.prob_best


def test_lower_is_better_is_decided_that_way_round() -> None:
    """With such a primary metric the lowest is recommended, and a control that is as low refuses."""
    rules = make_protocol(
        decide__primary="deletion",
        decide__metrics={"deletion": "always"},
        gates__controls={"metric": "deletion", "against": ["random"], "margin": 0.02},
    )
    low = {"rise": 0.1, "gradcam": 0.3, "saliency": 0.4, "random": 0.6, "sobel": 0.55}
    for control, status in ((0.55, "recommended"), (0.11, "refused")):
        planted = score_columns(TABLE, low | {"sobel": control}, metric="deletion")
        found = recommend(made(planted=planted, rules=rules), rules)
        assert found.status == status
        assert found.prob_best["rise"] == 1.0


@pytest.mark.parametrize("means", [CLEAR, TIED])
def test_the_order_of_rows_and_explainers_changes_nothing(means: dict[str, float]) -> None:
    """Shuffled scores, images and explainers give the same recommendation."""
    planted = score_columns(TABLE, means)
    who = make_participants([name for name in means if name not in CONTROLS], CONTROLS)
    turned = make_participants([name for name in reversed(means) if name not in CONTROLS], CONTROLS)
    rows = score_rows(TABLE, dict(reversed(planted.items()))).sample(frac=1, random_state=0)
    one = recommend(make_evidence(TABLE, score_rows(TABLE, planted), who, make_protocol()), make_protocol())
    other = recommend(
        make_evidence(TABLE.sample(frac=1, random_state=1), rows, turned, make_protocol()), make_protocol()
    )
    assert one == other


def test_a_single_method_that_passed_has_no_others_to_be_ahead_of() -> None:
    """Where one is enough, the sentence says nothing of others."""
    found = decided({"rise": 0.6, "random": 0.0, "sobel": 0.1}, rules=make_protocol(decide__min_candidates=2))
    assert [refusal.code for refusal in found.refusals] == ["R12"]
    assert found.sentence.startswith("Methods that passed every gate and have a score: 1")
    assert found.reasons[0].startswith("rise alone passed every gate, overall skill 0.600")


def test_the_weights_and_what_the_score_is_made_of() -> None:
    """Categories that were there, with weights that sum to 1, and the sum in words."""
    found = decided()
    assert found.weights == {"faithfulness": 1}
    assert "Overall skill of rise: faithfulness 0.60 × 1.00." in found.reasons


def test_a_tie_goes_to_the_only_one_that_draws_no_random_numbers() -> None:
    """Equal cost, and one of the two gives the same map every time."""
    before = made(TIED)
    found = recommend(replace(before, stochastic=frozenset({"rise"})), make_protocol())
    assert (found.status, found.pick) == ("tied", "gradcam")
    assert found.reasons[-1] == "gradcam is the default: it alone gives the same map every time."
    assert recommend(replace(before, stochastic=frozenset({"rise", "gradcam"})), make_protocol()).pick is None


def test_what_was_not_assessed_is_said() -> None:
    """Metrics that do not count, changed rules, and that other models may differ."""
    rules = make_protocol(
        decide__metrics={"nsrg": "always", "deletion": "drop_augmented", "gini": "always"},
        decide__weights={"faithfulness": 0.8, "complexity": 0.2},
    )
    found = decided(rules=rules)
    assert found.not_assessed == (
        "deletion: the model is not known to be trained on images with holes",
        "gini: no image has gini of random and cell_occlusion",
        "no score for complexity: the other categories share the weight",
        f"made_up as it stands: this run is a custom protocol ({', '.join(rules.overrides)})",
        "other models: the answer is conditional on this one (1 of 6 that it takes)",
    )
    assert found.weights == {"faithfulness": 1}


def test_methods_without_an_overall_score_are_named_with_the_reason() -> None:
    """What does not work on the model, or else what has no value; methods with the same reason stand together."""
    there = made(CLEAR | {"lime": 0.2, "shap": 0.2, "rollout": 0.2})
    entries = tuple(
        entry.model_copy(update={"missing": "has no attention."}) if entry.explainer in ("lime", "rollout") else entry
        for entry in there.entries
    )
    without = replace(
        there.score_table, total=replace(there.score_table.total, overall=there.score_table.total.overall.copy())
    )
    for name in ("lime", "shap", "rollout"):
        without.total.overall[:, without.index_of(name)] = np.nan
    found = recommend(replace(there, entries=entries, score_table=without), make_protocol())
    assert found.not_assessed[:2] == (
        "lime, rollout: has no attention",
        "shap: no overall score, since a metric that decides has no value",
    )


def test_a_gate_that_could_not_be_assessed_makes_it_provisional() -> None:
    """Said in the answer; a gate of a method that is not recommended is not."""
    before = made(CLEAR)

    def opened(name: str, **changes: bool | None) -> Recommendation:
        gate = changes or {"passed": None}
        entries = [
            e.model_copy(update={"gates": tuple(g.model_copy(update=gate) for g in e.gates[1:2])})
            if e.explainer == name
            else e
            for e in before.entries
        ]
        return recommend(replace(before, entries=tuple(entries)), make_protocol())

    assert opened("rise").provisional
    assert opened("rise").sentence.endswith("Provisional: not assessed was gate G3 for rise.")
    assert not opened("gradcam").provisional
    assert opened("rise", passed=True, impossible=True).provisional
    assert not opened("rise", passed=True).provisional
    leak = Leak(known=False, exact=0, near=0, rate=None, groups={}, excessive=False)
    unknown = recommend(replace(before, validity=before.validity.model_copy(update={"leak": leak})), make_protocol())
    assert (unknown.status, unknown.provisional) == ("recommended", True)
    assert "the training images are not known" in unknown.sentence


def test_a_group_with_a_better_member_of_the_set_is_said_and_refuses_nothing() -> None:
    """Two that are tied over all images may still differ in a group."""
    table = make_images({"alder": 120, "birch": 120, "cedar": 120})
    planted = score_columns(table, {**TIED, "rise": 0.41, "gradcam": 0.4})
    for name, by in (("rise", 0.05), ("gradcam", -0.05)):
        planted[name, "nsrg"] = (
            planted[name, "nsrg"] + by * (table["race"] == "alder") - by * (table["race"] == "cedar")
        )
    found = decided(planted=planted, table=table, rules=make_protocol(data__n_per_group__min_claim=100))
    assert found.set == ("rise", "gradcam")
    assert len(found.by_group) == 1
    assert found.by_group[0].startswith("On images labelled cedar, gradcam is better than rise by 0.09")
    assert found.by_group[0] in found.sentence
