"""Bootstrap intervals that cover, weights of strata and clusters, Wilson intervals as statsmodels has them."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from mavis.analysis.statistics import bootstrap


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (57, 130)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_wilson_agrees_with_statsmodels(successes: int, n: int, confidence: float) -> None:
    """The interval is that of an independent implementation."""
    expected = proportion_confint(successes, n, alpha=1 - confidence, method="wilson")
    assert bootstrap.wilson_interval(successes, n, confidence) == pytest.approx(expected, abs=1e-12)


def test_wilson_of_nothing_is_everything() -> None:
    """Without a trial any share is possible."""
    assert bootstrap.wilson_interval(0, 0) == (0.0, 1.0)


def test_percentiles_leave_nan_draws_out() -> None:
    """A column's interval is that of its draws with a value, and NaN where there is none."""
    draws = np.stack([np.arange(101.0), np.full(101, np.nan), np.r_[np.full(50, np.nan), np.arange(51.0)]], axis=1)
    low, high = bootstrap.percentile_interval(draws, 0.9)
    np.testing.assert_allclose(low, [5, np.nan, 2.5])
    np.testing.assert_allclose(high, [95, np.nan, 47.5])


def test_percentiles_of_one_column_are_numbers() -> None:
    """One-dimensional draws give one interval."""
    assert [float(end) for end in bootstrap.percentile_interval(np.arange(101.0), 0.9)] == pytest.approx([5, 95])


def test_bootstrap_intervals_cover_the_mean() -> None:
    """Ninety-five per cent intervals hold the true mean in about that share of 300 tables."""
    generator = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        draws = bootstrap.bootstrap_means(generator.normal(3, 2, (60, 1)), ["a"] * 60, 400, seed)
        low, high = bootstrap.percentile_interval(draws["a"], 0.95)
        hits += bool(low[0] <= 3 <= high[0])
    assert hits / 300 == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 300))


def test_bootstrap_spread_is_the_standard_error() -> None:
    """Draws scatter as σ/√n around the sample's mean."""
    values = np.random.default_rng(1).normal(5, 2, (400, 1))
    draws = bootstrap.bootstrap_means(values, ["a"] * 400, 4000, 0)["a"]
    assert draws.mean() == pytest.approx(values.mean(), abs=0.01)
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.05)


def test_no_draw_loses_a_small_group() -> None:
    """Each stratum is resampled by itself, so that one with two rows is in every draw."""
    draws = bootstrap.bootstrap_means(np.arange(102.0)[:, None], ["big"] * 100 + ["small"] * 2, 500, 0)
    assert np.isfinite(draws["small"]).all()
    assert set(np.unique(draws["small"])) == {100.0, 100.5, 101.0}


def test_columns_with_the_same_gaps_are_paired() -> None:
    """The difference of two columns that differ by a constant has no width; another column does not disturb them."""
    first = np.random.default_rng(2).normal(size=30)
    first[[3, 9]] = np.nan
    draws = bootstrap.bootstrap_means(np.stack([first, first + 1, np.arange(30.0)], axis=1), ["a"] * 30, 200, 0)["a"]
    np.testing.assert_allclose(draws[:, 1] - draws[:, 0], 1, atol=1e-12)
    assert draws[:, 2].mean() == pytest.approx(14.5, abs=0.5)
    alone = bootstrap.bootstrap_means(first[:, None], ["a"] * 30, 200, 0)["a"]
    np.testing.assert_allclose(draws[:, 0], alone[:, 0], rtol=1e-12)


def test_bootstrap_is_seeded_by_seed_and_stratum() -> None:
    """Equal seeds repeat, other seeds differ, and two equal strata do not share their draws."""
    values = np.tile(np.random.default_rng(3).normal(size=20), 2)[:, None]
    strata = ["a"] * 20 + ["b"] * 20
    draws, repeated, other_seed = (bootstrap.bootstrap_means(values, strata, 50, seed) for seed in (1, 1, 2))
    assert np.array_equal(draws["a"], repeated["a"])
    assert not np.array_equal(draws["a"], other_seed["a"])
    assert not np.array_equal(draws["a"], draws["b"])


def test_a_stratum_without_a_value_is_nan_there_only() -> None:
    """A column that is empty in one stratum keeps its draws in the others."""
    draws = bootstrap.bootstrap_means(np.array([[np.nan], [1.0], [2.0]]), ["a", "b", "b"], 20, 0)
    assert np.isnan(draws["a"]).all()
    assert np.isfinite(draws["b"]).all()


def test_spread_and_percentiles_leave_missing_draws_out() -> None:
    """Columns with some, all and no missing draws are those of numpy without them."""
    draws = np.random.default_rng(0).normal(size=(50, 3))
    draws[:9, 1], draws[:, 2] = np.nan, np.nan
    expected = [draws[:, 0].std(), draws[9:, 1].std(), np.nan]
    np.testing.assert_allclose(bootstrap.bootstrap_standard_error(draws), expected)
    low, high = bootstrap.percentile_interval(draws, 0.9)
    np.testing.assert_allclose(low[:2], [np.quantile(draws[:, 0], 0.05), np.quantile(draws[9:, 1], 0.05)])
    assert np.isnan([low[2], high[2]]).all()


def test_rows_of_a_cluster_are_drawn_together() -> None:
    """They have one weight, and clusters of equal size leave the groups' sizes as they are."""
    groups, people = ["a"] * 6 + ["b"] * 4, [f"p{k // 2}" for k in range(10)]
    weights = bootstrap.bootstrap_weights(groups, people, 300, 0)
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    assert (weights[:, :6].sum(axis=1) == 6).all()
    assert (weights[:, 6:].sum(axis=1) == 4).all()
    assert set(np.unique(weights)) <= set(range(6))


def test_clusters_widen_the_interval_as_they_should() -> None:
    """With four equal rows to a cluster the mean's standard error is that of the clusters, not of the rows."""
    values = np.random.default_rng(0).normal(size=100)
    people = [f"p{k // 4}" for k in range(400)]
    weights = bootstrap.bootstrap_weights(["a"] * 400, people, 4000, 0)
    assert (weights @ np.repeat(values, 4) / 400).std() == pytest.approx(values.std() / 10, rel=0.05)
    alone = bootstrap.bootstrap_weights(["a"] * 400, None, 4000, 0)
    assert (alone @ np.repeat(values, 4) / 400).std() == pytest.approx(values.std() / 20, rel=0.05)


def test_clusters_across_groups_stay_whole() -> None:
    """A person in two groups is drawn in both at once, among the persons of several groups only."""
    groups, people = ["a", "a", "b", "a", "b", "b"], ["p", "q", "q", "r", "r", "s"]
    weights = bootstrap.bootstrap_weights(groups, people, 500, 0)
    np.testing.assert_array_equal(weights[:, 1], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 4])
    assert (weights[:, [0, 5]] == 1).all()  # alone in their strata
    assert (weights[:, 1] + weights[:, 3] == 2).all()
    assert set(np.unique(weights[:, 1])) == {0, 1, 2}


def test_weights_are_seeded_and_follow_names_of_clusters() -> None:
    """Equal seeds repeat, other seeds differ, and with clusters the order of the rows does not matter."""
    groups, people = ["a", "a", "a", "b", "b"], ["p", "q", "r", "s", "t"]
    weights, other_seed = (bootstrap.bootstrap_weights(groups, people, 50, seed) for seed in (1, 2))
    assert not np.array_equal(weights, other_seed)
    turned = bootstrap.bootstrap_weights(groups[::-1], people[::-1], 50, 1)
    np.testing.assert_array_equal(turned, weights[:, ::-1])
