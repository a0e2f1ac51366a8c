"""Null ranges that match their expectation, p-values that are uniform without a gap, shuffles within strata."""

import numpy as np
import pytest
from scipy.stats import kstest

from mavis.analysis.statistics import permutation


def null_ranges(values: np.ndarray, labels: list[str], n_permutations: int, seed: int) -> np.ndarray:
    """Ranges of group means when all labels are shuffled: one stratum."""
    return permutation.stratified_null_ranges(values, labels, ["all"] * len(labels), n_permutations, seed)


def range_of_means(values: np.ndarray, labels: list[str]) -> float:
    """Largest minus smallest group mean."""
    return float(np.ptp([values[np.asarray(labels) == name].mean() for name in set(labels)]))


def test_null_range_matches_its_expectation() -> None:
    """For seven equal groups the mean range is 2.704 standard errors, the control charts' constant d₂."""
    values = np.random.default_rng(4).normal(size=7 * 50)
    values = (values - values.mean()) / values.std()
    null = null_ranges(values, [f"g{k % 7}" for k in range(350)], 1000, 0)
    assert null.mean() * np.sqrt(50) == pytest.approx(2.704, abs=0.1)


def test_null_range_of_unequal_groups_is_exact() -> None:
    """Shuffling three labels over three values gives each range with its known frequency."""
    null = null_ranges(np.array([0.0, 0, 3]), ["a", "b", "b"], 3000, 0)
    assert set(np.round(null, 9)) == {1.5, 3.0}
    assert np.isclose(null, 3.0).mean() == pytest.approx(1 / 3, abs=0.03)


def test_p_value_counts_the_observed_table() -> None:
    """Two of four draws are as large as the observed: (1 + 2) / (1 + 4)."""
    assert permutation.permutation_p_value(3.0, np.array([1.0, 3.0, 4.0, 2.0])) == pytest.approx(0.6)
    assert permutation.permutation_p_value(9.0, np.zeros(99)) == pytest.approx(0.01)


def test_p_values_are_uniform_without_a_gap() -> None:
    """Over 1000 tables without a gap the p-values pass for uniform ones."""
    generator, labels = np.random.default_rng(11), [f"g{k % 3}" for k in range(45)]
    p_values = []
    for seed in range(1000):
        values = generator.normal(size=45)
        null = null_ranges(values, labels, 199, seed)
        p_values.append(permutation.permutation_p_value(range_of_means(values, labels), null))
    assert kstest(p_values, "uniform").pvalue > 0.05


def test_shuffles_stay_within_their_stratum() -> None:
    """Two strata of two, values 0, 1 and 10, 11: group means differ by 0 or 1, never by 10."""
    null = permutation.stratified_null_ranges(
        np.array([0.0, 10, 1, 11]), ["a", "a", "b", "b"], ["low", "high"] * 2, n_permutations=400, seed=0
    )
    assert set(np.round(null, 9)) == {0.0, 1.0}
    assert null.mean() == pytest.approx(0.5, abs=0.08)


def test_one_stratum_is_the_plain_null() -> None:
    """Shuffling within a single stratum has the distribution of shuffling all labels, done here one by one."""
    generator = np.random.default_rng(0)
    values, labels = generator.normal(size=40), [f"g{k % 4}" for k in range(40)]
    plain = [range_of_means(values, generator.permutation(labels).tolist()) for _ in range(2000)]
    assert kstest(null_ranges(values, labels, 2000, 0), plain).pvalue > 0.01


def test_shuffles_of_columns_and_of_rows_that_stand_for_several() -> None:
    """All columns are shuffled alike; a row that counts thrice is three rows that stay together."""
    values = np.random.default_rng(0).normal(size=(12, 2))
    labels, strata = ["a", "b", "c"] * 4, ["x"] * 6 + ["y"] * 6
    ranges = permutation.stratified_null_ranges(values, labels, strata, 50, 0)
    np.testing.assert_allclose(ranges[:, 1], permutation.stratified_null_ranges(values[:, 1], labels, strata, 50, 0))
    heavy = permutation.stratified_null_ranges(
        np.array([0.0, 6.0, 0.0]), list("aab"), ["x"] * 3, 900, 0, np.array([1.0, 3, 1])
    )
    assert set(np.round(heavy, 9)) == {4.5, 6.0}  # 18/4 beside 0, or 0 beside 6
    assert (heavy == 6).mean() == pytest.approx(1 / 3, abs=0.06)


def test_the_null_holds_what_strata_explain() -> None:
    """Groups whose scores differ by their strata only have a range and no excess; shuffling all would call it a gap."""
    strata = np.repeat([0, 0, 1, 1], [80, 20, 20, 80])
    groups = np.repeat(["a", "b", "a", "b"], [80, 20, 20, 80]).tolist()
    scores = strata + np.random.default_rng(0).normal(0, 0.1, 200)
    observed = range_of_means(scores, groups)
    within = permutation.stratified_null_ranges(scores, groups, strata.astype(str).tolist(), 500, 0)
    assert observed == pytest.approx(0.6, abs=0.05)
    assert observed - within.mean() == pytest.approx(0, abs=0.04)
    assert permutation.permutation_p_value(observed, within) > 0.05
    assert permutation.permutation_p_value(observed, null_ranges(scores, groups, 500, 0)) < 0.01
