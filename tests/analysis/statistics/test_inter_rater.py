"""Published tables to their printed digits, brute force on missing ratings, and planted variances."""

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from mavis.analysis.statistics import ranking
from mavis.analysis.statistics.inter_rater import icc, krippendorff_alpha, raters_needed, split_half_correlation
from mavis.core.errors import BadParameter

NA = np.nan
# Krippendorff 2011, section D: four observers, twelve units.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NA, NA, NA],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NA, 3],
        [NA, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NA],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NA],
    ]
)
# Shrout and Fleiss 1979, table 2: six targets, four judges.
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float).T
LEVELS = ("nominal", "ordinal", "interval")


def by_coincidences(ratings: np.ndarray, level: str) -> float:
    """Alpha from the matrix of coincidences and the published difference functions, pair by pair."""
    values = np.unique(ratings[~np.isnan(ratings)])
    coincidences = np.zeros((len(values), len(values)))
    for unit in ratings.T:
        present = unit[~np.isnan(unit)]
        for a, b in itertools.permutations(range(len(present)), 2):
            cell = np.searchsorted(values, [present[a], present[b]])
            coincidences[cell[0], cell[1]] += 1 / (len(present) - 1)
    n = coincidences.sum(axis=0)
    difference = np.zeros_like(coincidences)
    for c, k in itertools.combinations(range(len(values)), 2):
        between = n[c : k + 1].sum() - (n[c] + n[k]) / 2
        d = {"nominal": 1.0, "ordinal": between**2, "interval": (values[c] - values[k]) ** 2}[level]
        difference[c, k] = difference[k, c] = d
    observed = (coincidences * difference).sum()
    return 1 - (n.sum() - 1) * observed / (np.outer(n, n) * difference).sum()


@pytest.mark.parametrize(("level", "printed"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_krippendorffs(level: str, printed: float) -> None:
    """Four observers, twelve units and seven missing ratings give the printed values."""
    assert round(krippendorff_alpha(OBSERVERS, level), 3) == printed


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(3))
def test_alpha_is_that_of_all_coincidences(level: str, seed: int) -> None:
    """On ratings with ties and a fifth missing it is what counting every pair gives."""
    generator = np.random.default_rng(seed)
    ratings = np.round(generator.normal(size=(9, 6)) + np.arange(6) / 2, 1)
    ratings[generator.random(ratings.shape) < 0.2] = NA
    ratings[1:, 0] = NA  # a unit with one rating pairs with nothing
    paired = ratings[:, (~np.isnan(ratings)).sum(axis=0) > 1]
    assert krippendorff_alpha(ratings, level) == pytest.approx(by_coincidences(paired, level), abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
def test_alpha_of_agreement_and_of_chance(level: str) -> None:
    """Raters alike are 1; ratings at random are 0 on average."""
    assert krippendorff_alpha(np.tile([1.0, 5, 2, 2], (3, 1)), level) == 1
    generator = np.random.default_rng(0)
    alphas = [krippendorff_alpha(generator.integers(0, 4, (10, 8)), level) for _ in range(300)]
    assert np.mean(alphas) == pytest.approx(0, abs=3 * np.std(alphas) / np.sqrt(300))


def test_alpha_knows_its_level() -> None:
    """A monotone change of scale leaves the ordinal alpha, a linear one the interval alpha, any other the nominal."""
    ordinal, interval, nominal = (krippendorff_alpha(OBSERVERS, level) for level in ("ordinal", "interval", "nominal"))
    assert krippendorff_alpha(np.exp(OBSERVERS), "ordinal") == pytest.approx(ordinal)
    assert krippendorff_alpha(3 * OBSERVERS - 7, "interval") == pytest.approx(interval)
    assert krippendorff_alpha(np.sin(OBSERVERS), "nominal") == pytest.approx(nominal)
    assert krippendorff_alpha(np.exp(OBSERVERS), "interval") != pytest.approx(interval, abs=0.01)


def test_alpha_of_ranks_asks_for_equal_order_only() -> None:
    """Images on which all explainers score higher disagree in their scores and not in their ranks."""
    scores = np.arange(5.0) + 10 * np.arange(4.0)[:, None]
    assert krippendorff_alpha(scores, "interval") < 0.1
    assert krippendorff_alpha(ranking.rank_rows(scores, higher_is_better=True), "ordinal") == 1


def test_alpha_without_anything_to_tell_is_nan() -> None:
    """All ratings the same, or no unit with two of them."""
    assert np.isnan(krippendorff_alpha(np.ones((3, 4)), "interval"))
    assert np.isnan(krippendorff_alpha([[1.0, NA], [NA, 2.0]], "ordinal"))


def test_icc_is_shrout_and_fleisss() -> None:
    """Six targets and four judges: ICC(2,1) is .29 and ICC(2,4) .62."""
    assert round(icc(JUDGES), 2) == 0.29
    assert round(icc(JUDGES, 4), 2) == 0.62


def test_icc_finds_planted_variances() -> None:
    """Units of variance 4, raters of 1 and noise of 3 give 4 / 8 for one rater and 4 / 4.4 for ten."""
    generator = np.random.default_rng(1)
    estimates = []
    for _ in range(200):
        units, raters = generator.normal(0, 2, 60), generator.normal(0, 1, (40, 1))
        ratings = units + raters + generator.normal(0, np.sqrt(3), (40, 60))
        estimates.append((icc(ratings), icc(ratings, 10)))
    assert np.mean(estimates, axis=0) == pytest.approx([0.5, 4 / 4.4], abs=0.015)


def test_icc_leaves_incomplete_raters_out() -> None:
    """A rater with a missing rating changes nothing."""
    more = np.vstack([JUDGES, [1.0, 2, NA, 4, 5, 6]])
    assert icc(more) == icc(JUDGES)
    with pytest.raises(BadParameter, match="two complete raters and two units, got 1 and 6"):
        icc(more[3:])


def test_icc_of_equal_ratings() -> None:
    """Raters alike are 1; where nothing differs there is nothing to say."""
    assert icc(np.tile([1.0, 2, 5], (4, 1))) == 1
    assert np.isnan(icc(np.ones((3, 3))))


def test_raters_needed_reach_the_target_and_one_fewer_does_not() -> None:
    """For the six targets 23 judges' means reach .9: 9 × .7102 / .2898 = 22.06."""
    needed = raters_needed(icc(JUDGES), 0.9)
    assert needed == 23
    assert icc(JUDGES, 23) >= 0.9 > icc(JUDGES, 22)


def test_raters_needed_at_the_ends() -> None:
    """Raters that agree fully suffice alone; exactly enough is enough; no number helps where one tells nothing."""
    assert raters_needed(1.0) == 1
    assert raters_needed(0.5, 0.9) == 9
    assert [raters_needed(single) for single in (0.0, -0.2, NA)] == [None, None, None]


def test_halves_of_two_raters_are_the_raters() -> None:
    """Every split compares the one with the other, by scipy's Spearman correlation, with ties."""
    ratings = np.array([[1.0, 2, 2, 4, 5], [3.0, 1, 2, 5, 5]])
    expected = scipy_stats.spearmanr(*ratings).statistic
    np.testing.assert_allclose(split_half_correlation(ratings, n_splits=5, seed=0), expected)


def test_halves_agree_as_far_as_the_units_differ() -> None:
    """Clear units rank alike in all halves, an odd rater left out and missing ratings skipped; noise averages to 0."""
    clear = np.arange(6.0) + np.random.default_rng(0).normal(0, 0.1, (21, 6))
    clear[0, 0] = NA
    assert (split_half_correlation(clear, n_splits=50, seed=0) == pytest.approx(1)) is True
    noise = np.random.default_rng(1).normal(size=(200, 20, 6))
    correlations = [split_half_correlation(ratings, n_splits=1, seed=k)[0] for k, ratings in enumerate(noise)]
    assert np.mean(correlations) == pytest.approx(0, abs=3 * np.std(correlations) / np.sqrt(200))


def test_halves_that_tie_all_units_are_nan() -> None:
    """There is no correlation with a constant."""
    assert np.isnan(split_half_correlation(np.ones((4, 3)), n_splits=3, seed=0)).all()
