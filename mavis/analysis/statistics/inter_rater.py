"""Do raters agree on units? Images rate explainers: does a metric tell them apart, and how many images does it take.

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
    """Krippendorff's alpha: 1 for perfect agreement, 0 for what chance gives, negative for disagreement.

    Raw scores ask for equal values; to ask for equal rankings, as Tomsett et al. do, give the ranks of the explainers
    on each image (`ranking.rank_rows`).

    Args:
        ratings: ``(raters, units)``, NaN where there is none; e.g. images × explainers.
        level: what a difference means: ``nominal`` other or not, ``ordinal`` how many values lie between,
            ``interval`` the squared difference.

    Returns:
        In (−1, 1]; NaN where no unit has two ratings, or all ratings are the same.

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
    """ICC(2,m): how much of the scatter of units' scores, means over m random raters, is between the units.

    Args:
        ratings: ``(raters, units)``, at least 2 × 2, e.g. images × explainers; raters with a NaN are left out.
        n_raters: m; 1 gives ICC(2,1), the number in the table ICC(2,k).

    Returns:
        At most 1; negative where units differ less than their noise; NaN where nothing differs.

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
    units, judges = table.mean(axis=0), table.mean(axis=1)
    between = k * np.square(units - mean).sum() / (n - 1)
    of_judges = n * np.square(judges - mean).sum() / (k - 1)
    error = np.square(table - units - judges[:, None] + mean).sum() / ((n - 1) * (k - 1))
    signal, noise = (between - error) / k, (error + (of_judges - error) / n) / n_raters
    return float(signal / (signal + noise)) if signal + noise != 0 else float("nan")


def raters_needed(single_rater_icc: float, target: float = 0.9) -> int | None:
    """How many raters' mean reaches a reliability, e.g. how many images an explainer's mean score takes.

    Args:
        single_rater_icc: ICC(2,1), at most 1.
        target: ICC(2,m) to be reached, in (0,1).

    Returns:
        m ≥ 1; None where a single rater tells nothing, so that no number helps.

    Source: Spearman 1910; Brown 1910; Shrout and Fleiss 1979, page 426.
    """
    if not single_rater_icc > 0:
        return None
    return max(1, int(np.ceil(target * (1 - single_rater_icc) / (single_rater_icc * (1 - target)) - 1e-9)))


def split_half_correlation(ratings: ArrayLike, *, n_splits: int, seed: int) -> Floats:
    """Spearman correlation of the units' means over two random halves of the raters.

    Args:
        ratings: ``(raters, units)``, NaN where there is none; e.g. images × explainers; at least two raters.
        n_splits: ways to halve.
        seed: equal seeds give equal halves.

    Returns:
        ``(draws,)`` in [−1,1]; NaN where a half ties all units, or lacks one.

    Source: Spearman 1910; protocol M5.
    Differs: not stepped up to the full number of raters.
    """
    table = np.asarray(ratings, dtype=np.float64)
    order = np.argsort(np.random.default_rng(seed).random((n_splits, len(table))), axis=1)
    half = len(table) // 2
    one, other = (_centred_mean_ranks(table[order[:, part]]) for part in (slice(half), slice(half, 2 * half)))
    size = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1))
    found: Floats = np.divide((one * other).sum(axis=1), size, out=np.full(n_splits, np.nan), where=size > 0)
    return found


def _centred_mean_ranks(halves: Floats) -> Floats:
    """``(draws, raters, units)`` -> centred ranks of the units' means ``(draws, units)``."""
    there = ~np.isnan(halves)
    count = there.sum(axis=1)
    total = np.where(there, halves, 0.0).sum(axis=1)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    ranks = rank_rows(means, higher_is_better=True)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True), dtype=np.float64)


def _squared_difference_sums(table: Floats) -> Floats:
    """Per row the sum of squared differences over ordered pairs, NaN left out: 2 m times the sum of squares."""
    there = ~np.isnan(table)
    count = there.sum(axis=1)
    mean = np.where(there, table, 0.0).sum(axis=1) / count
    return np.asarray(2 * count * np.square(np.where(there, table - mean[:, None], 0.0)).sum(axis=1), dtype=np.float64)


def _unequal_pair_counts(table: Floats) -> Floats:
    """Per row the number of ordered pairs of unequal values, NaN left out."""
    values = [row[~np.isnan(row)] for row in table]
    return np.array([len(v) ** 2 - np.square(np.unique(v, return_counts=True)[1]).sum() for v in values], dtype=float)


def _mid_ranks(table: Floats) -> Floats:
    """Ranks among all values: their squared differences are Krippendorff's ordinal metric."""
    ranks = scipy_stats.rankdata(table.reshape(1, -1), axis=1, nan_policy="omit")
    return np.asarray(ranks, dtype=np.float64).reshape(table.shape)
