"""Inter-rater reliability: Krippendorff's alpha, intraclass correlation, split halves. Images rate explainers.

Source: Tomsett et al. 2020, AAAI 34(04): reliability of saliency metrics; protocol M5.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from mavis.analysis.statistics.bootstrap import Floats
from mavis.analysis.statistics.ranking import rank_rows
from mavis.core.errors import BadParameter

MeasurementLevel = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(ratings: ArrayLike, level: MeasurementLevel) -> float:
    """Krippendorff's alpha: 1 for perfect agreement, 0 for agreement by chance, negative for disagreement.

    Raw scores measure agreement on values; for agreement on rankings, as in Tomsett et al., pass the ranks of the
    explainers on each image (`ranking.rank_rows`).

    Args:
        ratings: ``(raters, units)``, NaN for a missing rating; e.g. images × explainers.
        level: measure of difference: ``nominal`` equal or not, ``ordinal`` the number of values between,
            ``interval`` the squared difference.

    Returns:
        In (−1, 1]; NaN if no unit has two ratings, or all ratings are the same.

    Source: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability; 2019, chapter 12.
    """
    table = np.asarray(ratings, dtype=np.float64).T
    table = table[(~np.isnan(table)).sum(axis=1) > 1]
    counts = (~np.isnan(table)).sum(axis=1)
    if not len(table):
        return float("nan")
    if level == "nominal":
        observed, expected = _unequal_pair_counts(table), _unequal_pair_counts(table.reshape(1, -1))
    else:
        values = _mid_ranks(table) if level == "ordinal" else table
        observed, expected = _squared_difference_sums(values), _squared_difference_sums(values.reshape(1, -1))
    total = int(counts.sum())
    by_chance = float(expected[0]) / (total - 1)
    return 1 - float((observed / (counts - 1)).sum()) / by_chance if by_chance > 0 else float("nan")


def icc(ratings: ArrayLike, n_raters: int = 1) -> float:
    """ICC(2,m): share of the variance of units' scores, means over m random raters, that is between units.

    Args:
        ratings: ``(raters, units)``, at least 2 × 2, e.g. images × explainers; raters with a NaN are left out.
        n_raters: m; 1 gives ICC(2,1), the number in the table ICC(2,k).

    Returns:
        At most 1; negative if units differ less than their noise; NaN if all ratings are equal.

    Raises:
        BadParameter: fewer than two complete raters, or than two units.

    Source: Shrout and Fleiss 1979, case 2, absolute agreement; other m by Spearman and Brown, which is exact here.
    """
    table = np.asarray(ratings, dtype=np.float64)
    table = table[~np.isnan(table).any(axis=1)]
    k, n = table.shape
    if k < 2 or n < 2:
        raise BadParameter(f"ICC needs two complete raters and two units, got {k} and {n}; score more images.")
    mean = table.mean()
    unit_means, rater_means = table.mean(axis=0), table.mean(axis=1)
    between_units = k * np.square(unit_means - mean).sum() / (n - 1)
    between_raters = n * np.square(rater_means - mean).sum() / (k - 1)
    error = np.square(table - unit_means - rater_means[:, None] + mean).sum() / ((n - 1) * (k - 1))
    signal, noise = (between_units - error) / k, (error + (between_raters - error) / n) / n_raters
    return float(signal / (signal + noise)) if signal + noise != 0 else float("nan")


def raters_needed(single_rater_icc: float, target: float = 0.9) -> int | None:
    """Number of raters whose mean reaches a reliability, e.g. number of images for an explainer's mean score.

    Args:
        single_rater_icc: ICC(2,1), at most 1.
        target: ICC(2,m) to reach, in (0,1).

    Returns:
        m ≥ 1; None if a single rater has no reliability, so that no number suffices.

    Source: Spearman 1910; Brown 1910; Shrout and Fleiss 1979, page 426.
    """
    if not single_rater_icc > 0:
        return None
    return max(1, int(np.ceil(target * (1 - single_rater_icc) / (single_rater_icc * (1 - target)) - 1e-9)))


def split_half_correlation(ratings: ArrayLike, *, n_splits: int, seed: int) -> Floats:
    """Spearman correlation of the units' means over two random halves of the raters.

    Args:
        ratings: ``(raters, units)``, NaN for a missing rating; e.g. images × explainers; at least two raters.
        n_splits: number of random splits.
        seed: equal seeds give equal halves.

    Returns:
        ``(draws,)`` in [−1,1]; NaN if a half ties all units, or has no rating of one.

    Source: Spearman 1910; protocol M5.
    Differs: not stepped up to the full number of raters.
    """
    table = np.asarray(ratings, dtype=np.float64)
    order = np.argsort(np.random.default_rng(seed).random((n_splits, len(table))), axis=1)
    half = len(table) // 2
    first, second = (
        _centred_mean_ranks(table[order[:, half_columns]]) for half_columns in (slice(half), slice(half, 2 * half))
    )
    size = np.sqrt(np.square(first).sum(axis=1) * np.square(second).sum(axis=1))
    correlations: Floats = np.divide((first * second).sum(axis=1), size, out=np.full(n_splits, np.nan), where=size > 0)
    return correlations


def _centred_mean_ranks(halves: Floats) -> Floats:
    """``(draws, raters, units)`` -> centred ranks of the units' means ``(draws, units)``."""
    is_present = ~np.isnan(halves)
    count = is_present.sum(axis=1)
    total = np.where(is_present, halves, 0.0).sum(axis=1)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    ranks = rank_rows(means, higher_is_better=True)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True), dtype=np.float64)


def _squared_difference_sums(table: Floats) -> Floats:
    """Sum of squared differences over ordered pairs of each row, without NaN: 2 m times the sum of squares."""
    is_present = ~np.isnan(table)
    count = is_present.sum(axis=1)
    mean = np.where(is_present, table, 0.0).sum(axis=1) / count
    return np.asarray(
        2 * count * np.square(np.where(is_present, table - mean[:, None], 0.0)).sum(axis=1), dtype=np.float64
    )


def _unequal_pair_counts(table: Floats) -> Floats:
    """Number of ordered pairs of unequal values in each row, without NaN."""
    values = [row[~np.isnan(row)] for row in table]
    return np.array([len(v) ** 2 - np.square(np.unique(v, return_counts=True)[1]).sum() for v in values], dtype=float)


def _mid_ranks(table: Floats) -> Floats:
    """Ranks among all values: their squared differences are Krippendorff's ordinal metric."""
    ranks = scipy_stats.rankdata(table.reshape(1, -1), axis=1, nan_policy="omit")
    return np.asarray(ranks, dtype=np.float64).reshape(table.shape)
