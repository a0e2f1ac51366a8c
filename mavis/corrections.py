"""p-values of several tests, corrected for their number. Pure."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from mavis.stats import Floats


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
