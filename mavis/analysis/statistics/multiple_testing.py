"""Multiple testing: p-values and bootstrap bounds corrected for the number of tests. Pure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from mavis.analysis.statistics.bootstrap import Floats


def holm(p: ArrayLike) -> Floats:
    """Holm's correction: controls the probability of any false finding among all tests.

    Args:
        p: ``(m,)`` in [0,1]; NaN is no test and stays NaN.

    Returns:
        ``(m,)``, to be compared with the level of the family.

    Source: Holm 1979.
    """
    p_values = np.asarray(p, dtype=np.float64)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    corrected = np.full_like(p_values, np.nan)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p_values[order] * np.arange(len(order), 0, -1)))
    return corrected


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Benjamini and Hochberg's correction: controls the expected share of false findings among the findings.

    Args:
        p: ``(m,)`` in [0,1]; NaN is no test and stays NaN.

    Returns:
        ``(m,)``, to be compared with the false discovery rate.

    Source: Benjamini and Hochberg 1995.
    """
    corrected = np.array(p, dtype=np.float64)
    is_test = ~np.isnan(corrected)
    if is_test.any():
        corrected[is_test] = scipy_stats.false_discovery_control(corrected[is_test], method="bh")
    return corrected


def holm_exceeds(draws: Floats, threshold: float, confidence: float) -> tuple[NDArray[np.bool_], Floats]:
    """Tests which differences exceed a threshold, at one error rate for all of them.

    Differences are tested in the order of their evidence; the i-th of m by a one-sided percentile bound at level
    (1 − confidence) / 2 / (m − i). From the first that fails on, none is shown to exceed the threshold.

    Source: Holm 1979, on bootstrap bounds (the lower ends of two-sided Holm intervals).

    Args:
        draws: ``(draws,m)`` bootstrap differences.
        threshold: value that a difference must exceed.
        confidence: confidence of the family, e.g. .95.

    Returns:
        ``(m,)`` bool, and the lower bounds ``(m,)`` at the levels used.
    """
    m = draws.shape[1]
    by_evidence = np.lexsort((-draws.mean(axis=0), (draws <= threshold).mean(axis=0)))
    exceeds, bounds = np.zeros(m, dtype=bool), np.full(m, np.nan)
    all_shown = True
    for rank, column in enumerate(by_evidence):
        bounds[column] = np.quantile(draws[:, column], (1 - confidence) / 2 / (m - rank))
        all_shown = all_shown and bool(bounds[column] > threshold)
        exceeds[column] = all_shown
    return exceeds, bounds
