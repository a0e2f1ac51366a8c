"""Who leads and who is tied in leaderboards whose truth is planted."""

import numpy as np
import pytest

from mavis.analysis.statistics import ranking
from mavis.decision import comparison
from mavis.workflows.meta_evaluation.simulated_leaderboards import (
    SimulatedLeaderboard,
    build_protocol,
    simulate_comparison,
    simulate_evidence,
)

RULES = build_protocol()
CLEAR = {"a": 0.6, "b": 0.45, "c": 0.3, "d": 0.3}


def test_a_clear_leader_stands_alone() -> None:
    """The others are behind by about what was planted, and shown to be."""
    found = simulate_comparison(SimulatedLeaderboard(CLEAR), 0, RULES)
    assert (found.order[0], found.leading_set) == ("a", ("a",))
    assert found.gaps_to_leader["b"].mean == pytest.approx(0.15, abs=0.04)
    assert 0.02 < found.gaps_to_leader["b"].lower_bound < found.gaps_to_leader["b"].mean
    assert found.prob_best["a"] == 1


def test_the_best_is_in_the_set_nearly_always() -> None:
    """In 40 leaderboards with a close second the true best is left out at most twice; the far ones are never in."""
    field, missed, sizes = SimulatedLeaderboard({"a": 0.5, "b": 0.485, "c": 0.47, "d": 0.3}, images_per_group=60), 0, []
    for run in range(40):
        found = simulate_comparison(field, run, RULES)
        missed += "a" not in found.leading_set
        sizes.append(len(found.leading_set))
        assert "d" not in found.leading_set
    assert missed <= 2
    assert 1 < np.mean(sizes) < 3


def test_an_equal_method_is_hardly_ever_left_out() -> None:
    """Of four equal methods a given one is excluded in at most 2 of 40 leaderboards."""
    field = SimulatedLeaderboard(dict.fromkeys("abcd", 0.5), images_per_group=60)
    assert sum("a" not in simulate_comparison(field, run, RULES).leading_set for run in range(40)) <= 2


def test_a_dominated_method_leaves_the_set() -> None:
    """Nowhere better and somewhere worse, by little enough overall to be tied."""
    field = SimulatedLeaderboard({"a": 0.5, "b": 0.3}, noise=0.0, shifts={("c", "flip_equivariance", ""): -0.03})
    field = SimulatedLeaderboard({**field.quality, "c": 0.5}, noise=0.0, shifts=field.shifts)
    found = simulate_comparison(field, 0, RULES)
    assert not found.gaps_to_leader["c"].is_worse
    assert (found.gaps_to_leader["c"].dominated_by, found.leading_set) == ("a", ("a",))


def test_leaders_under_each_imputer() -> None:
    """Where one imputer favours another method, it leads there and nowhere else."""
    moved = {("b", "nsrg@blur", ""): 1.5}
    found = simulate_comparison(SimulatedLeaderboard(CLEAR, shifts=moved), 0, RULES)
    assert found.cross_checks.leaders == {"nsrg@mean": ("a",), "nsrg@blur": ("b",)}
    assert found.leading_set == ("a",)


def test_a_group_with_another_leader_is_named() -> None:
    """Only where it is shown, and where the group is large enough for a claim."""
    moved = {("b", metric, "g2"): 0.3 for metric in ("nsrg", "road_gap", "single_deletion", "flip_equivariance")}
    (lead,) = simulate_comparison(SimulatedLeaderboard(CLEAR, shifts=moved), 0, RULES).group_leads
    assert (lead.group, lead.explainer) == ("g2", "b")
    assert lead.mean == pytest.approx(0.15, abs=0.06)
    assert lead.lower_bound > 0.02
    assert simulate_comparison(SimulatedLeaderboard(CLEAR), 0, RULES).group_leads == ()
    assert (
        simulate_comparison(SimulatedLeaderboard(CLEAR, images_per_group=99, shifts=moved), 0, RULES).group_leads == ()
    )


def test_cross_checks_by_hand() -> None:
    """Methods in one order on everything: Borda from 1 to 0, mean ranks 1 to 4, W 1, and one leads all weightings."""
    checks = simulate_comparison(SimulatedLeaderboard({"a": 0.7, "b": 0.5, "c": 0.3, "d": 0.1}), 0, RULES).cross_checks
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
    one, other = (
        simulate_comparison(SimulatedLeaderboard(quality), 0, RULES) for quality in (CLEAR, {**CLEAR, "e": 0.1})
    )
    assert other.gaps_to_leader["b"].mean == pytest.approx(one.gaps_to_leader["b"].mean, rel=1e-9)
    assert other.leading_set == one.leading_set


def test_nobody_leads_where_nobody_is_eligible() -> None:
    """There is no set, and nothing to check."""
    found = simulate_evidence(SimulatedLeaderboard(CLEAR), 0, RULES)
    empty = comparison.compare_eligible(found.score_table, [], {}, RULES)
    assert (empty.order, empty.leading_set, empty.cross_checks, empty.prob_best) == ((), (), None, {})
