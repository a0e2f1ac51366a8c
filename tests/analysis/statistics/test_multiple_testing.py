"""Corrected p-values and bounds: the example of 1995, agreement with statsmodels, Holm by hand, missing tests."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from mavis.analysis.statistics import bootstrap, multiple_testing

BENJAMINI_HOCHBERG = (
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000),
)  # 1995, section 3.1


def test_benjamini_and_hochbergs_example() -> None:
    """Of the fifteen p-values of 1995 their procedure rejects four at .05, Holm's three."""
    assert (multiple_testing.benjamini_hochberg(BENJAMINI_HOCHBERG) <= 0.05).sum() == 4
    assert (multiple_testing.holm(BENJAMINI_HOCHBERG) <= 0.05).sum() == 3


@pytest.mark.parametrize(
    ("correct", "method"), [(multiple_testing.holm, "holm"), (multiple_testing.benjamini_hochberg, "fdr_bh")]
)
def test_corrections_are_statsmodels(correct, method: str) -> None:
    """Corrected p-values, ties among them, are those of an independent implementation, in any order."""
    p = np.random.default_rng(3).choice([1e-5, 0.003, 0.003, 0.02, 0.04, 0.2, 0.7], 12)
    np.testing.assert_allclose(correct(p), multipletests(p, method=method)[1], rtol=1e-12)


@pytest.mark.parametrize("correct", [multiple_testing.holm, multiple_testing.benjamini_hochberg])
def test_a_missing_p_value_is_no_test(correct) -> None:
    """NaN stays and does not count among the tests; nothing is corrected to nothing."""
    p = np.array([0.01, np.nan, 0.04])
    np.testing.assert_array_equal(correct(p)[[0, 2]], correct(p[[0, 2]]))
    assert np.isnan(correct(p)[1])
    assert np.isnan(correct([np.nan])).all()


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


def test_holm_is_demsars() -> None:
    """Against C4.5 the printed p-values of Demšar 2006, section 3.2.2: Holm rejects the first two, as he does."""
    corrected = multiple_testing.holm([np.nan, 0.019, 0.607, 0.016])
    np.testing.assert_allclose(corrected, [np.nan, 0.048, 0.607, 0.048])
