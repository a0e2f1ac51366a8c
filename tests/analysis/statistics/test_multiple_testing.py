"""Corrected p-values: the example of 1995, agreement with statsmodels, tests that are missing."""

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from mavis.analysis.statistics import multiple_testing

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
