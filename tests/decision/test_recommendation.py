"""Recommendations: the recommended method, ties, defaults, and the codes of what was not assessed."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.findings import Leak, Note, Recommendation, make_note
from mavis.decision.recommendation import recommend
from mavis.decision.refusals import Evidence
from mavis.protocol.schema import Protocol
from mavis.report import wording

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
    found = recommend(made(means, planted, table, rules), rules or make_protocol())
    assert wording.answer_sentence(found)
    assert all((*wording.answer_reasons(found), *wording.not_assessed_lines(found)))
    return found


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
    assert (found.leader, found.floor, found.ceiling, found.rope) == ("rise", "random", "cell_occlusion", 0.02)
    assert {name: estimate.mean for name, estimate in found.overall.items()} == pytest.approx(
        {"rise": 0.6, "gradcam": 0.4, "saliency": 0.3}
    )
    assert found.prob_best == {"rise": 1.0, "gradcam": 0.0, "saliency": 0.0}
    first, second = found.gaps_to_leader
    assert (first.explainer, first.mean, first.is_worse) == ("gradcam", pytest.approx(0.2), True)
    assert 0.02 < first.lower_bound < first.mean < second.mean


def test_indistinguishable_methods_are_tied() -> None:
    """Two methods closer than matters stand together; cost is equal, so none is picked."""
    found = decided(TIED)
    assert (found.status, found.set, found.pick) == ("tied", ("rise", "gradcam"), None)
    assert found.pick_reason == make_note("pick.none")
    gap = found.gaps_to_leader[0]
    assert (gap.explainer, gap.mean, gap.is_worse) == ("gradcam", pytest.approx(0.002), False)
    assert gap.lower_bound < 0
    assert sum(found.prob_best.values()) == pytest.approx(1)
    assert found.prob_best["saliency"] == 0


def test_a_difference_that_does_not_matter_is_a_tie() -> None:
    """A lead that is certain but smaller than the region of equivalence excludes nobody."""
    planted = score_columns(TABLE, TIED)
    planted["gradcam", "nsrg"] = planted["rise", "nsrg"] - 0.015
    found = decided(planted=planted)
    assert found.set == ("rise", "gradcam")
    assert found.prob_best["rise"] == 1.0
    gap = found.gaps_to_leader[0]
    assert (gap.mean, gap.lower_bound, gap.is_worse) == (pytest.approx(0.015), pytest.approx(0.015, abs=5e-4), False)


def test_a_tie_is_picked_by_clearly_lower_cost() -> None:
    """Half the other's samples are enough, a little more than half are not; a backward counts as two."""
    planted = score_columns(TABLE, TIED)
    planted["gradcam", "forwards"], planted["gradcam", "backwards"] = np.full((2, len(TABLE)), 1.0)
    planted["rise", "forwards"] = np.full(len(TABLE), 6.0)
    found = decided(planted=planted)
    assert (found.status, found.pick) == ("tied", "gradcam")
    assert found.pick_reason == make_note("pick.cheapest", cost=3.0, next_cost=6.0)
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
    """Where one is enough, there is no gap to others."""
    found = decided({"rise": 0.6, "random": 0.0, "sobel": 0.1}, rules=make_protocol(decide__min_candidates=2))
    assert [refusal.code for refusal in found.refusals] == ["R12"]
    assert (found.leader, found.set, found.gaps_to_leader) == ("rise", (), ())
    assert found.overall["rise"].mean == pytest.approx(0.6)


def test_the_weights_and_what_the_score_is_made_of() -> None:
    """Categories that were there, with weights that sum to 1, and the leader's score in each."""
    found = decided()
    assert found.weights == {"faithfulness": 1}
    assert found.leader_categories == pytest.approx({"faithfulness": 0.6})


def test_a_tie_goes_to_the_only_one_that_draws_no_random_numbers() -> None:
    """Equal cost, and one of the two gives the same map every time."""
    before = made(TIED)
    found = recommend(replace(before, stochastic=frozenset({"rise"})), make_protocol())
    assert (found.status, found.pick) == ("tied", "gradcam")
    assert found.pick_reason == make_note("pick.only_deterministic")
    assert recommend(replace(before, stochastic=frozenset({"rise", "gradcam"})), make_protocol()).pick is None


def test_what_was_not_assessed_is_said() -> None:
    """Metrics that do not count, changed rules, and that other models may differ."""
    rules = make_protocol(
        decide__metrics={"nsrg": "always", "deletion": "drop_augmented", "gini": "always"},
        decide__weights={"faithfulness": 0.8, "complexity": 0.2},
    )
    found = decided(rules=rules)
    assert found.not_assessed == (
        make_note("metric.no_drop_augmentation", metric="deletion"),
        make_note("scale.no_image", metric="gini", explainers=["random", "cell_occlusion"]),
        make_note("left_out.categories", categories=["complexity"]),
        make_note("left_out.protocol", protocol="made_up", overrides=[*rules.overrides]),
        make_note("left_out.other_models", n_models=1, min_models=6),
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
        make_note("left_out.methods", explainers=["lime", "rollout"], reason="has no attention"),
        make_note("left_out.methods_without_score", explainers=["shap"]),
    )


def test_a_gate_that_could_not_be_assessed_makes_it_provisional() -> None:
    """A gate of a recommended method does, one of another method does not."""
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

    assert opened("rise").provisional == (make_note("provisional.gate", gate="G3", explainers=["rise"]),)
    assert not opened("gradcam").provisional
    assert opened("rise", passed=True, impossible=True).provisional
    assert not opened("rise", passed=True).provisional
    leak = Leak(known=False, exact=0, near=0, rate=None, groups={}, excessive=False)
    unknown = recommend(replace(before, validity=before.validity.model_copy(update={"leak": leak})), make_protocol())
    assert (unknown.status, unknown.provisional) == ("recommended", (Note(code="provisional.training_images"),))


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
    (lead,) = found.group_leads
    assert (lead.group, lead.explainer) == ("cedar", "gradcam")
    assert lead.mean == pytest.approx(0.09, abs=0.005)
    assert 0.02 < lead.lower_bound < lead.mean
