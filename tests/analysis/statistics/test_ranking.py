"""Demšar's table to its printed digits, agreement with scipy and statsmodels, posteriors with known moments."""

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mavis.analysis.statistics import ranking
from mavis.core.errors import BadParameter

# Demšar 2006, table 6: C4.5, C4.5+m, C4.5+cf, C4.5+m+cf. The last two of "voting" are printed as .975, ranked 2 and 3.
AUC = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
)
DEMSAR = ranking.friedman(ranking.rank_rows(AUC, higher_is_better=True), correct_ties=False)
NEMENYI_Q = {
    0.05: (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164),
    0.10: (1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920),
}


def test_ranks_of_each_row_share_ties() -> None:
    """Two on places 2 and 3 get 2.5 each, rounding noise is a tie, NaN has no rank; rows do not mind each other."""
    scores = [[0.9, 0.7, 0.7 + 1e-14, np.nan, 0.1], [1.0, 2.0, 3.0, 4.0, 5.0]]
    np.testing.assert_array_equal(
        ranking.rank_rows(scores, higher_is_better=True), [[1, 2.5, 2.5, np.nan, 4], [5, 4, 3, 2, 1]]
    )
    np.testing.assert_array_equal(ranking.rank_rows(scores, higher_is_better=False)[0], [4, 2.5, 2.5, np.nan, 1])


def test_mean_ranks_are_demsars() -> None:
    """The four variants have the printed average ranks over 14 data sets."""
    assert DEMSAR.mean_ranks.round(3).tolist() == [3.143, 2.000, 2.893, 1.964]


def test_friedman_and_iman_davenport_are_demsars() -> None:
    """Chi-squared is 9.28 and F 3.69, beyond the critical 2.85 of F(3,39) at .05."""
    assert (round(DEMSAR.statistic, 2), round(DEMSAR.f_statistic, 2)) == (9.28, 3.69)
    assert DEMSAR.f_p_value < 0.05
    assert scipy_stats.f.isf(DEMSAR.f_p_value, 3, 39) == pytest.approx(DEMSAR.f_statistic)


@pytest.mark.parametrize("alpha", [0.05, 0.10])
def test_critical_values_are_demsars(alpha: float) -> None:
    """Over the standard error of a difference stand the printed values of table 5."""
    for k, q in enumerate(NEMENYI_Q[alpha], start=2):
        error = np.sqrt(k * (k + 1) / 84)
        assert ranking.nemenyi_critical_difference(k, 14, alpha) / error == pytest.approx(q, abs=1e-3)


def test_nemenyi_is_demsars() -> None:
    """The critical differences are 1.25 and 1.12; at .10 C4.5 differs from the two that tune m, at .05 nothing does."""
    assert round(ranking.nemenyi_critical_difference(4, 14, 0.05), 2) == 1.25
    assert round(ranking.nemenyi_critical_difference(4, 14, 0.10), 2) == 1.12
    apart = np.abs(DEMSAR.mean_ranks[:, None] - DEMSAR.mean_ranks)
    assert np.argwhere(np.triu(apart > ranking.nemenyi_critical_difference(4, 14, 0.10))).tolist() == [[0, 1], [0, 3]]
    assert not (apart > ranking.nemenyi_critical_difference(4, 14, 0.05)).any()


@pytest.mark.parametrize("seed", range(3))
def test_friedman_with_ties_is_scipys(seed: int) -> None:
    """Corrected for ties, statistic and p are scipy's; without, the statistic is less."""
    scores = np.random.default_rng(seed).integers(0, 4, (9, 5)).astype(float)
    table = ranking.rank_rows(scores, higher_is_better=True)
    expected = scipy_stats.friedmanchisquare(*scores.T)
    result = ranking.friedman(table, correct_ties=True)
    assert (result.statistic, result.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert ranking.friedman(table, correct_ties=False).statistic < result.statistic


def test_full_agreement_is_certain() -> None:
    """Where all blocks rank alike chi-squared is N(k − 1), F infinite and its p 0."""
    result = ranking.friedman(np.tile([1.0, 2.0, 3.0], (6, 1)), correct_ties=False)
    assert (result.statistic, result.f_statistic, result.f_p_value) == (pytest.approx(12), np.inf, 0.0)


def test_full_ties_say_nothing() -> None:
    """Where all blocks tie all there is no difference, and none to correct."""
    tied = np.full((6, 3), 2.0)
    assert ranking.friedman(tied, correct_ties=False).p_value == 1.0
    assert np.isnan(ranking.friedman(tied, correct_ties=True).statistic)
    assert np.isnan(ranking.kendall_w(tied))


def test_incomplete_blocks_are_refused() -> None:
    """A missing rank or a single block is an error that says what to do."""
    with pytest.raises(BadParameter, match="1 missing; leave incomplete blocks out"):
        ranking.friedman(np.array([[1.0, 2.0], [1.0, np.nan]]), correct_ties=True)
    with pytest.raises(BadParameter, match="got 1 × 2"):
        ranking.kendall_w(np.array([[1.0, 2.0]]))


def test_friedman_holds_its_level() -> None:
    """Over 2000 tables of nothing, F is below .05 in a twentieth of them."""
    generator = np.random.default_rng(0)
    tables = (ranking.rank_rows(generator.normal(size=(10, 5)), higher_is_better=True) for _ in range(2000))
    share = np.mean([ranking.friedman(table, correct_ties=False).f_p_value < 0.05 for table in tables])
    assert share == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))


def test_kendalls_w_is_the_mean_spearman_correlation() -> None:
    """Without ties W = (1 + (N − 1) ρ) / N with ρ the mean over all pairs of blocks."""
    scores = np.random.default_rng(1).normal(size=(5, 7)) + np.arange(7) / 2
    rho = [scipy_stats.spearmanr(a, b).statistic for a, b in itertools.combinations(scores, 2)]
    w = ranking.kendall_w(ranking.rank_rows(scores, higher_is_better=True))
    assert w == pytest.approx((1 + 4 * np.mean(rho)) / 5)


def test_kendalls_w_of_opposite_and_equal_rankings() -> None:
    """Two opposite rankings cancel to 0; equal ones are 1, with ties too."""
    assert ranking.kendall_w(np.array([[1.0, 2, 3], [3, 2, 1]])) == pytest.approx(0)
    assert ranking.kendall_w(np.array([[1.0, 2.5, 2.5]] * 3)) == pytest.approx(1)


def test_weights_of_absent_criteria_fall_to_the_others() -> None:
    """Weights 5, 2, 2 without the second are 5/7 and 2/7."""
    scores = [[0.7, 0.0], [np.nan, np.nan], [0.0, 0.7]]
    assert ranking.weighted_mean(scores, [0.5, 0.2, 0.2]) == pytest.approx([0.5, 0.2])


@pytest.mark.parametrize("scores", [[[1.0, np.nan], [1, 2]], [[np.nan, np.nan]]])
def test_a_criterion_of_some_is_refused(scores: list[list[float]]) -> None:
    """A contestant without a criterion is neither last in it nor spared it."""
    with pytest.raises(BadParameter, match="compare only methods that have them"):
        ranking.weighted_mean(scores, np.ones(len(scores)))


def test_borda_counts_who_is_beaten() -> None:
    """Three methods under weights 3:1: points 2, 1, 0 and .5, .5, 2; they order as the mean ranks do."""
    scores = [[0.9, 0.5, 0.1], [0.2, 0.2, 0.8]]
    points = ranking.borda_points(scores, [3, 1])
    assert points == pytest.approx([(3 * 2 + 0.5) / 4, (3 * 1 + 0.5) / 4, 2 / 4])
    mean_ranks = ranking.weighted_mean(ranking.rank_rows(scores, higher_is_better=True), [3, 1])
    assert points == pytest.approx(3 - mean_ranks)


def test_smaa_is_the_share_of_the_simplex() -> None:
    """With weights (w, 1 − w), specialists at 1 lead above .6 and below .4 and the all-rounder at .6 between."""
    shares = ranking.smaa_acceptability([[1, 0, 0.6], [0, 1, 0.6]], n_draws=20_000, seed=0)
    assert shares == pytest.approx([0.4, 0.4, 0.2], abs=0.012)
    assert shares.sum() == pytest.approx(1)


def test_smaa_leaves_the_dominated_out_and_shares_ties() -> None:
    """Who is worse everywhere never leads; two alike lead half and half; an absent criterion does not count."""
    shares = ranking.smaa_acceptability([[1, 1, 0], [2, 2, 1], [np.nan] * 3], n_draws=100, seed=0)
    assert shares.tolist() == [0.5, 0.5, 0]


def test_first_shares_by_hand() -> None:
    """Of four draws one leads in two and shares a third."""
    draws = np.array([[3.0, 1, 2], [1, 1 + 1e-14, 0], [5, 0, 0], [0, 0, 9]])
    assert ranking.leader_shares(draws).tolist() == [2.5 / 4, 0.5 / 4, 1 / 4]


def test_rank_intervals_hold_the_ranks_of_the_draws() -> None:
    """A clear winner is first at both ends; two that swap span both places."""
    swapping = np.tile([[9.0, 1.0, 2.0], [9.0, 2.0, 1.0]], (50, 1))
    low, high = ranking.rank_intervals(swapping, 0.95)
    assert (low.tolist(), high.tolist()) == ([1, 2, 2], [1, 3, 3])


def test_dominance_by_hand() -> None:
    """Better beyond .02 in one category and nowhere worse by more than .02: in the first of two draws only."""
    draws = np.array([[[0.5, 0.4], [0.31, 0.3]], [[0.5, 0.4], [0.2, 0.3]]])
    np.testing.assert_array_equal(ranking.dominance_shares(draws, 0.02), [[0, 0.5], [0, 0]])


DIFFERENCES = (0.031, 0.012, -0.004, 0.025, 0.043, 0.018, 0.007, 0.029, -0.011, 0.036)


def test_posterior_shares_have_the_moments_of_the_dirichlet_process() -> None:
    """The mean shares are sums of E[w_i w_j] = a_i a_j / (A (A + 1)) and E[w_i²] = a_i (a_i + 1) / (A (A + 1))."""
    z, a = np.append(DIFFERENCES, 0.0), np.append(np.ones(10), 0.5)
    moments = (np.outer(a, a) + np.diag(a)) / (a.sum() * (a.sum() + 1))
    sums = z[:, None] + z
    expected = [moments[sums < -0.03].sum(), moments[np.abs(sums) <= 0.03].sum(), moments[sums > 0.03].sum()]
    shares = ranking.posterior_region_shares(DIFFERENCES, rope=0.015, n_draws=40_000, seed=0)
    np.testing.assert_allclose(shares.mean(axis=0), expected, atol=4 * shares.std(axis=0).max() / 200)
    np.testing.assert_allclose(shares.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("differences", "rope", "expected"),
    [
        (DIFFERENCES, 0.0152, (0.0, 0.297, 0.703)),
        ((-0.06, 0.01, 0.02, -0.03, 0.05, -0.01), 0.0152, (0.261, 0.595, 0.144)),
    ],
)
def test_signed_rank_is_baycomps(differences: tuple[float, ...], rope: float, expected: tuple[float, ...]) -> None:
    """The probabilities are those of baycomp 1.0.3 with 50 000 draws, to the error of both."""
    posterior = ranking.bayesian_signed_rank(differences, rope=rope, seed=1)
    assert (posterior.below, posterior.within, posterior.above) == pytest.approx(expected, abs=0.01)


def test_signed_rank_mirrors() -> None:
    """Swapping the methods swaps the sides; symmetric differences favour none."""
    first, second = (ranking.bayesian_signed_rank(sign * np.array(DIFFERENCES), rope=0.015, seed=2) for sign in (1, -1))
    assert (first.below, first.within, first.above) == pytest.approx((second.above, second.within, second.below))
    even = ranking.bayesian_signed_rank([-0.1, -0.05, 0.05, 0.1, -0.2, 0.2], rope=0.01, seed=0)
    assert even.below == pytest.approx(even.above, abs=0.015)
    assert even.below + even.within + even.above == pytest.approx(1)


def test_signed_rank_of_clear_cases() -> None:
    """Ten large gains are better almost surely, ten small ones equivalent surely, and the ROPE holds its ends."""
    assert ranking.bayesian_signed_rank([0.5] * 10, rope=0.02, seed=0).above > 0.995
    assert ranking.bayesian_signed_rank([-0.5] * 10, rope=0.02, seed=0).below > 0.995
    assert ranking.bayesian_signed_rank([0.001] * 10, rope=0.02, seed=0).within == 1
    assert ranking.bayesian_signed_rank([0.02] * 10, rope=0.02, seed=0).within == 1


def test_draws_are_seeded() -> None:
    """Equal seeds repeat and other seeds differ."""
    first, repeated, other_seed = (
        ranking.posterior_region_shares(DIFFERENCES, rope=0.01, n_draws=9, seed=s) for s in (4, 4, 5)
    )
    assert np.array_equal(first, repeated)
    assert not np.array_equal(first, other_seed)
    criteria = np.random.default_rng(0).normal(size=(3, 4))
    assert np.array_equal(
        ranking.smaa_acceptability(criteria, n_draws=50, seed=1),
        ranking.smaa_acceptability(criteria, n_draws=50, seed=1),
    )


def test_average_ranks_agree_with_scipy() -> None:
    """Ranks, ties shared, are those of an independent implementation."""
    numbers = np.random.default_rng(8).integers(0, 5, 20).astype(float)
    assert ranking.average_ranks(numbers.tolist(), higher_is_better=False) == scipy_stats.rankdata(numbers).tolist()
    assert ranking.average_ranks(numbers.tolist(), higher_is_better=True) == scipy_stats.rankdata(-numbers).tolist()


def test_ties_share_their_ranks() -> None:
    """As in Demšar 2006: two on places 2 and 3 get 2.5 each; rounding noise is a tie; NaN has no rank."""
    numbers = [0.9, 0.7, 0.7 + 1e-14, float("nan"), 0.1]
    assert ranking.average_ranks(numbers, higher_is_better=True) == [1.0, 2.5, 2.5, None, 4.0]
    assert ranking.average_ranks(numbers, higher_is_better=False) == [4.0, 2.5, 2.5, None, 1.0]
