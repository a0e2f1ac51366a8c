"""Who leads and who is tied in leaderboards whose truth is planted."""

import numpy as np
import pytest

from mavis.analysis.statistics import ranking
from mavis.decision import comparison
from mavis.workflows.meta_evaluation.simulated_leaderboards import Field, evidence, held, rules

RULES = rules()
CLEAR = {"a": 0.6, "b": 0.45, "c": 0.3, "d": 0.3}


def test_a_clear_leader_stands_alone() -> None:
    """The others are behind by about what was planted, and shown to be."""
    found = held(Field(CLEAR), 0, RULES)
    assert (found.order[0], found.chosen) == ("a", ("a",))
    assert found.behind["b"].mean == pytest.approx(0.15, abs=0.04)
    assert 0.02 < found.behind["b"].bound < found.behind["b"].mean
    assert found.p_best["a"] == 1


def test_the_best_is_in_the_set_nearly_always() -> None:
    """In 40 leaderboards with a close second the true best is left out at most twice; the far ones are never in."""
    field, missed, sizes = Field({"a": 0.5, "b": 0.485, "c": 0.47, "d": 0.3}, images=60), 0, []
    for run in range(40):
        found = held(field, run, RULES)
        missed += "a" not in found.chosen
        sizes.append(len(found.chosen))
        assert "d" not in found.chosen
    assert missed <= 2
    assert 1 < np.mean(sizes) < 3


def test_an_equal_method_is_hardly_ever_left_out() -> None:
    """Of four equal methods a given one is excluded in at most 2 of 40 leaderboards."""
    field = Field(dict.fromkeys("abcd", 0.5), images=60)
    assert sum("a" not in held(field, run, RULES).chosen for run in range(40)) <= 2


def test_a_dominated_method_leaves_the_set() -> None:
    """Nowhere better and somewhere worse, by little enough overall to be tied."""
    field = Field({"a": 0.5, "b": 0.3}, noise=0.0, moved={("c", "flip_equivariance", ""): -0.03})
    field = Field({**field.quality, "c": 0.5}, noise=0.0, moved=field.moved)
    found = held(field, 0, RULES)
    assert not found.behind["c"].worse
    assert (found.dominated["c"], found.chosen) == ("a", ("a",))


def test_leaders_under_each_imputer() -> None:
    """Where one imputer favours another method, it leads there and nowhere else."""
    moved = {("b", "nsrg@blur", ""): 1.5}
    found = held(Field(CLEAR, moved=moved), 0, RULES)
    assert found.checks.leaders == {"nsrg@mean": ("a",), "nsrg@blur": ("b",)}
    assert found.chosen == ("a",)


def test_a_group_with_another_leader_is_named() -> None:
    """Only where it is shown, and where the group is large enough for a claim."""
    moved = {("b", metric, "g2"): 0.3 for metric in ("nsrg", "road_gap", "single_deletion", "flip_equivariance")}
    (lead,) = held(Field(CLEAR, moved=moved), 0, RULES).by_group
    assert (lead.group, lead.explainer) == ("g2", "b")
    assert lead.mean == pytest.approx(0.15, abs=0.06)
    assert lead.bound > 0.02
    assert held(Field(CLEAR), 0, RULES).by_group == ()
    assert held(Field(CLEAR, images=99, moved=moved), 0, RULES).by_group == ()


def test_cross_checks_by_hand() -> None:
    """Methods in one order on everything: Borda from 1 to 0, mean ranks 1 to 4, W 1, and one leads all weightings."""
    checks = held(Field({"a": 0.7, "b": 0.5, "c": 0.3, "d": 0.1}), 0, RULES).checks
    assert checks.borda == pytest.approx({"a": 1, "b": 2 / 3, "c": 1 / 3, "d": 0})
    assert checks.mean_rank == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert checks.smaa == {"a": 1, "b": 0, "c": 0, "d": 0}
    assert (checks.concordance, checks.concordance_within, checks.concordance_upper) == (1, 1, 1)


def test_concordances_are_kendall_s() -> None:
    """Table by table the coefficient that is tested against its published examples; none where all is tied."""
    tables = np.random.default_rng(0).normal(size=(50, 4, 6)).round(0)
    expected = [ranking.kendall_w(ranking.rank_rows(table, higher_is_better=True)) for table in tables]
    assert comparison.concordances(tables) == pytest.approx(expected)
    assert np.isnan(comparison.concordances(np.zeros((1, 3, 4)))).all()
    assert np.isnan(comparison.concordances(tables[:, :1])).all()


def test_another_candidate_far_behind_changes_no_lead() -> None:
    """The others' differences stay what they were."""
    one, other = (held(Field(quality), 0, RULES) for quality in (CLEAR, {**CLEAR, "e": 0.1}))
    assert other.behind["b"].mean == pytest.approx(one.behind["b"].mean, rel=1e-9)
    assert other.chosen == one.chosen


def test_nobody_leads_where_nobody_is_eligible() -> None:
    """There is no set, and nothing to check."""
    found = evidence(Field(CLEAR), 0, RULES)
    empty = comparison.hold(found.standing, [], {}, RULES)
    assert (empty.order, empty.chosen, empty.checks, empty.p_best) == ((), (), None, {})
