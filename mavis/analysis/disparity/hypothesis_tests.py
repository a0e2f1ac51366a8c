"""Tests of group gaps: equivalence within a margin, p-values, gaps beyond a margin. Pure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from mavis.analysis.disparity.estimators import NullRange, PairGaps
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.analysis.statistics.bootstrap import Floats

ALPHA = 0.05
"""Significance level of the range of group means."""


def is_equivalent(gaps: PairGaps, margin: float, confidence: float = 0.9) -> NDArray[np.bool_]:
    """Equivalence test (TOST) of every pair: true if its interval lies within ±margin.

    All groups are equivalent if every pair is; this intersection of tests needs no correction for their number.

    Args:
        gaps: usually the adjusted gaps.
        margin: largest difference that does not matter, above 0.
        confidence: .9 gives two one-sided tests at .05.

    Returns:
        ``(P,)``; False if the pair cannot be compared.

    Source: Schuirmann 1987; protocol S10, D8.
    """
    low, high = bootstrap.percentile_interval(gaps.draws, confidence)
    return np.asarray((low > -margin) & (high < margin) & ~np.isnan(gaps.gap), dtype=np.bool_)


def p_values(gaps: PairGaps) -> Floats:
    """Two-sided p-value of every gap of one column, from the standard error of its draws; not corrected.

    A normal approximation: a share of draws cannot be below one over their number, too coarse to be corrected for many
    tests. A draw that does not allow the comparison counts as 0.

    Returns:
        ``(P,)``, NaN if the pair cannot be compared.
    """
    size = np.abs(gaps.gap)
    error = np.sqrt(np.square(np.nan_to_num(gaps.draws) - np.nan_to_num(gaps.gap)).mean(axis=0))
    z = np.divide(size, error, out=np.where(size > 0, np.inf, 0.0), where=error > 0)
    return np.where(np.isnan(size), np.nan, 2 * scipy_stats.norm.sf(z))


def signs_beyond_rope(gaps: PairGaps, rope: float, confidence: float = 0.95) -> NDArray[np.int64]:
    """Signs of the gaps that exceed a margin, at the error rate of the family (Holm).

    Args:
        gaps: gaps of all pairs of the family.
        rope: margin that a gap must exceed, ≥ 0.
        confidence: confidence of the family's two-sided intervals.

    Returns:
        ``(P,)``: 1 if the first group is higher, −1 if the second is, 0 if neither is shown. A draw that does not
        allow the comparison counts as a gap of 0.

    Source: Holm 1979, on percentile bounds; protocol S10.
    """
    sign = np.sign(np.nan_to_num(gaps.gap))
    is_beyond, _ = multiple_testing.holm_exceeds(np.nan_to_num(gaps.draws) * sign, rope, confidence)
    return np.where(is_beyond, sign, 0).astype(np.int64)


def significant_gaps(
    null: NullRange,
    matched: PairGaps,
    adjusted: PairGaps,
    per_imputer: ArrayLike,
    *,
    rope: float = 0.02,
    alpha: float = ALPHA,
    confidence: float = 0.95,
    min_agreeing: int = 2,
) -> NDArray[np.int64]:
    """Signs of the gaps that may be reported as a disparity.

    The range must be larger than under shuffled labels; the matched and the adjusted gap must both exceed the ROPE in
    the same direction; and enough imputers, each by itself, must show that direction.

    Args:
        null: range of the group means and its null.
        matched: matched gaps.
        adjusted: adjusted gaps.
        per_imputer: ``(I,P)`` gaps of the scores by each imputer alone; the adjusted gap as one row without imputers.
        rope: margin that a gap must exceed.
        alpha: significance level of the range.
        confidence: confidence of the family of pairs.
        min_agreeing: number of imputers that must agree, or all if there are fewer.

    Returns:
        ``(P,)``: 1 if the first group is higher, −1 if the second is, 0 if the gap is not significant.

    Source: protocol S10.
    """
    sign = signs_beyond_rope(matched, rope, confidence)
    signs = np.sign(np.atleast_2d(np.asarray(per_imputer, dtype=np.float64)))
    is_confirmed = (signs == sign).sum(axis=0) >= min(min_agreeing, len(signs))
    is_significant = (sign == signs_beyond_rope(adjusted, rope, confidence)) & is_confirmed & (null.p < alpha)
    return np.where(is_significant, sign, 0).astype(np.int64)
