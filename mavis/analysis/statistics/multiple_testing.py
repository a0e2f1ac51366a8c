"""p-values of several tests, corrected for their number. Pure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from mavis.analysis.statistics.bootstrap import Floats


def holm(p: ArrayLike) -> Floats:
    """p-values corrected so that any false finding among all of them is as rare as the level says.

    Args:
        p: ``(m,)`` in [0,1]; NaN is no test and stays.

    Returns:
        ``(m,)``, to be compared with the level of the family.

    Source: Holm 1979.
    """
    given = np.asarray(p, dtype=np.float64)
    there = np.flatnonzero(~np.isnan(given))
    order = there[np.argsort(given[there], kind="stable")]
    found = np.full_like(given, np.nan)
    found[order] = np.minimum(1, np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)))
    return found


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """p-values corrected so that the expected share of false findings among the findings is what the level says.

    Args:
        p: ``(m,)`` in [0,1]; NaN is no test and stays.

    Returns:
        ``(m,)``, to be compared with the false discovery rate.

    Source: Benjamini and Hochberg 1995.
    """
    found = np.array(p, dtype=np.float64)
    there = ~np.isnan(found)
    if there.any():
        found[there] = scipy_stats.false_discovery_control(found[there], method="bh")
    return found


def holm_exceeds(draws: Floats, threshold: float, confidence: float) -> tuple[NDArray[np.bool_], Floats]:
    """Which of several differences are shown to lie above a threshold, at one error rate for all of them.

    Differences are taken in the order of their evidence; the i-th of m is judged by a one-sided percentile bound at
    level (1 − confidence) / 2 / (m − i), and the first that fails ends the excluding.

    Source: Holm 1979, on bootstrap bounds (the lower ends of two-sided Holm intervals).

    Args:
        draws: ``(draws,m)`` bootstrap differences.
        threshold: what a difference must exceed.
        confidence: of the family, e.g. .95.

    Returns:
        ``(m,)`` bool, and the lower bounds ``(m,)`` at the levels used.
    """
    m = draws.shape[1]
    by_evidence = np.lexsort((-draws.mean(axis=0), (draws <= threshold).mean(axis=0)))
    excluded, bounds = np.zeros(m, dtype=bool), np.full(m, np.nan)
    going = True
    for place, column in enumerate(by_evidence):
        bounds[column] = np.quantile(draws[:, column], (1 - confidence) / 2 / (m - place))
        going = going and bool(bounds[column] > threshold)
        excluded[column] = going
    return excluded, bounds
