"""Intervals that cover, null ranges that match their expectation, Holm by hand."""

import numpy as np
import pytest
from scipy.stats import kstest, rankdata
from statsmodels.stats.proportion import proportion_confint

from mavis.analysis.statistics import bootstrap, multiple_testing, permutation, ranking


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
    one, again, other = (bootstrap.bootstrap_means(values, strata, 50, seed) for seed in (1, 1, 2))
    assert np.array_equal(one["a"], again["a"])
    assert not np.array_equal(one["a"], other["a"])
    assert not np.array_equal(one["a"], one["b"])


def test_a_stratum_without_a_value_is_nan_there_only() -> None:
    """A column that is empty in one stratum keeps its draws in the others."""
    draws = bootstrap.bootstrap_means(np.array([[np.nan], [1.0], [2.0]]), ["a", "b", "b"], 20, 0)
    assert np.isnan(draws["a"]).all()
    assert np.isfinite(draws["b"]).all()


def test_range_of_means_by_hand() -> None:
    """Means 1, 4 and 2 lie 3 apart; one group has no range."""
    assert permutation.range_of_means(np.array([0.0, 2, 4, 4, 2]), ["a", "a", "b", "b", "c"]) == 3
    assert np.isnan(permutation.range_of_means(np.array([1.0, 2]), ["a", "a"]))


def test_null_range_matches_its_expectation() -> None:
    """For seven equal groups the mean range is 2.704 standard errors, the control charts' constant d₂."""
    values = np.random.default_rng(4).normal(size=7 * 50)
    values = (values - values.mean()) / values.std()
    null = permutation.null_ranges(values, [f"g{k % 7}" for k in range(350)], 1000, 0)
    assert null.mean() * np.sqrt(50) == pytest.approx(2.704, abs=0.1)


def test_null_range_of_unequal_groups_is_exact() -> None:
    """Shuffling three labels over three values gives each range with its known frequency."""
    null = permutation.null_ranges(np.array([0.0, 0, 3]), ["a", "b", "b"], 3000, 0)
    assert set(np.round(null, 9)) == {1.5, 3.0}
    assert np.isclose(null, 3.0).mean() == pytest.approx(1 / 3, abs=0.03)


def test_p_value_counts_the_observed_table() -> None:
    """Two of four draws are as large as the observed: (1 + 2) / (1 + 4)."""
    assert permutation.permutation_p_value(3.0, np.array([1.0, 3.0, 4.0, 2.0])) == pytest.approx(0.6)
    assert permutation.permutation_p_value(9.0, np.zeros(99)) == pytest.approx(0.01)


def test_p_values_are_uniform_without_a_gap() -> None:
    """Over 1000 tables without a gap the p-values pass for uniform ones."""
    generator, labels = np.random.default_rng(11), [f"g{k % 3}" for k in range(45)]
    found = []
    for seed in range(1000):
        values = generator.normal(size=45)
        null = permutation.null_ranges(values, labels, 199, seed)
        found.append(permutation.permutation_p_value(permutation.range_of_means(values, labels), null))
    assert kstest(found, "uniform").pvalue > 0.05


def _lines(*centres: float) -> np.ndarray:
    """Draws spread evenly over centre ± 1, so that the bound at level a is centre − 1 + 2a."""
    return np.linspace(-1, 1, 20001)[:, None] + np.array(centres)


def test_holm_grants_what_bonferroni_would_not() -> None:
    """Levels rise from .025/3 to .025/2 to .025; all three bounds stay above 0."""
    excluded, bounds = multiple_testing.holm_exceeds(_lines(0.96, 1.5, 0.98), 0.0, 0.95)
    np.testing.assert_allclose(bounds, [0.01, 0.5 + 0.05 / 3, 0.005], atol=1e-9)
    assert excluded.tolist() == [True, True, True]


def test_holm_stops_at_the_first_failure() -> None:
    """The third is above 0 at its level, but the second was not, so neither is shown."""
    excluded, bounds = multiple_testing.holm_exceeds(_lines(0.96, 1.5, 0.9625), 0.0, 0.95)
    assert bounds[2] < 0
    np.testing.assert_allclose(bounds[[2, 0]], [-0.0125, 0.01], atol=1e-9)
    assert excluded.tolist() == [False, True, False]


def test_holm_holds_its_error_rate() -> None:
    """With four true nulls at the threshold, about 2.5 % of tables show any as above."""
    generator = np.random.default_rng(6)
    wrong = 0
    for seed in range(300):
        draws = bootstrap.bootstrap_means(generator.normal(0, 1, (80, 4)), ["a"] * 80, 400, seed)["a"]
        wrong += bool(multiple_testing.holm_exceeds(draws, 0.0, 0.95)[0].any())
    assert wrong / 300 < 0.025 + 3 * np.sqrt(0.025 * 0.975 / 300)


def test_average_ranks_agree_with_scipy() -> None:
    """Ranks, ties shared, are those of an independent implementation."""
    numbers = np.random.default_rng(8).integers(0, 5, 20).astype(float)
    assert ranking.average_ranks(numbers.tolist(), higher_is_better=False) == rankdata(numbers).tolist()
    assert ranking.average_ranks(numbers.tolist(), higher_is_better=True) == rankdata(-numbers).tolist()


def test_ties_share_their_ranks() -> None:
    """As in Demšar 2006: two on places 2 and 3 get 2.5 each; rounding noise is a tie; NaN has no rank."""
    numbers = [0.9, 0.7, 0.7 + 1e-14, float("nan"), 0.1]
    assert ranking.average_ranks(numbers, higher_is_better=True) == [1.0, 2.5, 2.5, None, 4.0]
    assert ranking.average_ranks(numbers, higher_is_better=False) == [4.0, 2.5, 2.5, None, 1.0]


def test_spread_and_percentiles_leave_missing_draws_out() -> None:
    """Columns with some, all and no missing draws are those of numpy without them."""
    draws = np.random.default_rng(0).normal(size=(50, 3))
    draws[:9, 1], draws[:, 2] = np.nan, np.nan
    expected = [draws[:, 0].std(), draws[9:, 1].std(), np.nan]
    np.testing.assert_allclose(bootstrap.bootstrap_standard_error(draws), expected)
    low, high = bootstrap.percentile_interval(draws, 0.9)
    np.testing.assert_allclose(low[:2], [np.quantile(draws[:, 0], 0.05), np.quantile(draws[9:, 1], 0.05)])
    assert np.isnan([low[2], high[2]]).all()
