"""Calibration of thresholds: chance concordance in closed form, and spreads of planted scores."""

import numpy as np
import pytest

from mavis.workflows.meta_evaluation import fixtures, results, threshold_calibration

from .helpers import planted_scores


def test_random_rankings_concord_as_theory_says() -> None:
    """Kendall's W of m random rankings of k has mean 1/m and variance 2 (m − 1) / (m³ (k − 1))."""
    values = threshold_calibration.random_concordances(8, 6, seed=0)
    assert values.mean() == pytest.approx(1 / 8, abs=0.005)
    assert values.var() == pytest.approx(2 * 7 / (8**3 * 5), rel=0.05)


def test_the_spread_of_differences_leaves_out_what_methods_share(bench: fixtures.Bench) -> None:
    """Scores share their images' difficulty, which paired differences do not have."""
    difficulty, noise = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.1, -0.1, 0.1, -0.1])
    first, second = bench.sizes.methods
    bench.__dict__["faces"] = planted_scores({(first, "nsrg"): difficulty, (second, "nsrg"): difficulty + noise})
    paired, single = threshold_calibration.score_spread(bench)
    assert paired == pytest.approx(noise.std(ddof=1))
    assert single == pytest.approx(np.median([difficulty.std(ddof=1), (difficulty + noise).std(ddof=1)]))


def test_taus_below_the_limit_are_named(bench: fixtures.Bench) -> None:
    """The row reads Kendall's tau from the checks of M7; a tau without a value counts as below."""
    statistic = "mean Kendall tau of the methods"
    checks = tuple(
        results.criterion_check("M7", "t", metric, "faces", statistic, value=tau, criterion="≥ 0.7", passed=tau >= 0.7)
        for metric, tau in (("nsrg", 0.9), ("road_gap", 0.5), ("gini", float("nan")))
    )
    name, limit, measured, verdict = threshold_calibration._tau_row(bench, checks)
    assert (name, limit, verdict) == ("sensitivity.min_tau", 0.7, "below it: road_gap, gini")
    assert measured["road_gap"] == 0.5
