"""What may be claimed of gaps: that one lies beyond a margin, that none does, or nothing. Pure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from mavis.analysis.disparity.estimators import NullRange, PairGaps
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.analysis.statistics.bootstrap import Floats

ALPHA = 0.05
"""Largest p of a range that may be called a disparity."""


def is_equivalent(gaps: PairGaps, margin: float, confidence: float = 0.9) -> NDArray[np.bool_]:
    """Which pairs are shown to have no material gap: their interval lies within ±margin.

    There is no material gap at all where every pair is shown to have none; that needs no correction for their number.

    Args:
        gaps: adjusted ones, as a rule.
        margin: the largest difference that does not matter, above 0.
        confidence: .9 is two one-sided tests at .05.

    Returns:
        ``(P,)``; False where the pair cannot be compared.

    Source: Schuirmann 1987; protocol S10, D8.
    """
    low, high = bootstrap.percentile_interval(gaps.draws, confidence)
    return np.asarray((low > -margin) & (high < margin) & ~np.isnan(gaps.gap), dtype=np.bool_)


def p_values(gaps: PairGaps) -> Floats:
    """Two-sided p-value of every gap of one column, from the scatter of its draws; not corrected for their number.

    A normal approximation: shares of draws would stop at one over their number, too coarse to be corrected for many
    tests. A draw that does not allow the comparison counts as 0.

    Returns:
        ``(P,)``, NaN where the pair cannot be compared.
    """
    apart = np.abs(gaps.gap)
    error = np.sqrt(np.square(np.nan_to_num(gaps.draws) - np.nan_to_num(gaps.gap)).mean(axis=0))
    z = np.divide(apart, error, out=np.where(apart > 0, np.inf, 0.0), where=error > 0)
    return np.where(np.isnan(apart), np.nan, 2 * scipy_stats.norm.sf(z))


def signs_beyond_rope(gaps: PairGaps, rope: float, confidence: float = 0.95) -> NDArray[np.int64]:
    """Which pairs are shown to lie apart by more than a margin, and in which direction.

    Args:
        gaps: of all pairs that are asked about; the error rate is that of the family (Holm).
        rope: what a gap must exceed, ≥ 0.
        confidence: of the two-sided intervals of the family.

    Returns:
        ``(P,)``: 1 where the first group is higher, −1 where the second is, 0 where neither is shown. A draw that does
        not allow the comparison speaks against it.

    Source: Holm 1979, on percentile bounds; protocol S10.
    """
    sign = np.sign(np.nan_to_num(gaps.gap))
    shown, _ = multiple_testing.holm_exceeds(np.nan_to_num(gaps.draws) * sign, rope, confidence)
    return np.where(shown, sign, 0).astype(np.int64)


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
    """Which pairs may be reported as a disparity.

    The range must be larger than shuffled labels explain; the matched and the adjusted gap must both lie beyond the
    ROPE in one direction; and enough imputers, each by itself, must show that direction.

    Args:
        null: of the scores.
        matched: of the scores.
        adjusted: of the scores.
        per_imputer: ``(I,P)`` gaps of the scores by each imputer alone; the gap itself as one row where there is none.
        rope: what a gap must exceed.
        alpha: largest p of the range.
        confidence: of the family of pairs.
        min_agreeing: of the I imputers, or all where there are fewer.

    Returns:
        ``(P,)``: 1 where the first group is higher, −1 where the second is, 0 where nothing is found.

    Source: protocol S10.
    """
    sign = signs_beyond_rope(matched, rope, confidence)
    signs = np.sign(np.atleast_2d(np.asarray(per_imputer, dtype=np.float64)))
    same = (signs == sign).sum(axis=0) >= min(min_agreeing, len(signs))
    holds = (sign == signs_beyond_rope(adjusted, rope, confidence)) & same & (null.p < alpha)
    return np.where(holds, sign, 0).astype(np.int64)
