"""Simulated leaderboards hold the planted quality."""

import pytest

from mavis.workflows.meta_evaluation import simulated_leaderboards
from mavis.workflows.meta_evaluation.simulated_leaderboards import METRICS, SimulatedLeaderboard

QUALITY = {"a": 0.6, "b": 0.3}


def test_mean_scores_are_the_planted_quality() -> None:
    """Means over 9 000 images; a shift counts for its method, metric and group alone."""
    leaderboard = SimulatedLeaderboard(QUALITY, images_per_group=3000, shifts={("b", "nsrg", "g2"): 0.5})
    scores = leaderboard.scores(0).merge(leaderboard.table, left_on="image", right_index=True)
    means = scores.groupby(["explainer", "metric", "race"])["value"].mean()
    for name, quality in leaderboard.quality_with_control.items():
        for metric in METRICS:
            for group in ("g0", "g1", "g2"):
                shift = 0.5 if (name, metric, group) == ("b", "nsrg", "g2") else 0.0
                assert means[name, metric, group] == pytest.approx(quality + shift, abs=0.03)


def test_difficulty_is_shared_by_the_methods() -> None:
    """Paired differences of two methods have only their own noise: variance 2 × .25²."""
    scores = SimulatedLeaderboard(QUALITY, images_per_group=3000, difficulty=5.0).scores(0)
    table = scores[scores["metric"] == "nsrg"].pivot(index="image", columns="explainer", values="value")
    assert (table["a"] - table["b"]).var() == pytest.approx(2 * 0.25**2, rel=0.05)
    assert table["random"].std() == pytest.approx(0.25, rel=0.05)


def test_the_best_method_leads_and_roles_are_taken_over() -> None:
    """A lead of .3 is seen on 90 images; a method that is declared a control is not eligible."""
    protocol = simulated_leaderboards.build_protocol()
    leaderboard = SimulatedLeaderboard({**QUALITY, "sobel": 0.1}, images_per_group=30)
    assert simulated_leaderboards.simulate_comparison(leaderboard, 0, protocol).leading_set == ("a",)
    evidence = simulated_leaderboards.simulate_evidence(leaderboard, 0, protocol, {"sobel": "control"})
    assert sorted(evidence.eligible) == ["a", "b"]
    assert evidence.group_counts == {"g0": 30, "g1": 30, "g2": 30}
