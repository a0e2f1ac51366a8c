"""Dispersion of group means: worst-to-best ratio, shortfall, mean gap, noise-corrected spread, pooled means. Pure."""

import numpy as np
from numpy.typing import ArrayLike

from mavis.analysis.statistics.bootstrap import Floats


def worst_to_best_ratio(means: ArrayLike) -> Floats:
    """Worst over best group mean; NaN if the best is not above 0.

    Args:
        means: ``(…,K)`` in skill units, higher always better.

    Returns:
        ``(…,)``, at most 1; negative if the worst group is below chance.

    Source: protocol S10, D2.
    """
    values = np.asarray(means, dtype=np.float64)
    best = values.max(axis=-1)
    ratio: Floats = np.divide(values.min(axis=-1), best, out=np.full(best.shape, np.nan), where=best > 0)
    return ratio


def shortfall(means: ArrayLike, overall: ArrayLike | None = None) -> Floats:
    """Difference between the overall mean and the worst group's mean.

    Args:
        means: ``(…,K)``, higher always better.
        overall: ``(…,)``, the overall mean; by default the mean of the groups with equal weights.

    Returns:
        ``(…,)``; not negative with the default.

    Source: Balagopalan et al. 2022, maximum gap from the average; protocol S10, D3.
    """
    values = np.asarray(means, dtype=np.float64)
    overall_mean = values.mean(axis=-1) if overall is None else np.asarray(overall, dtype=np.float64)
    return np.asarray(overall_mean - values.min(axis=-1), dtype=np.float64)


def mean_pairwise_difference(means: ArrayLike) -> Floats:
    """Mean absolute difference over all pairs of groups.

    Args:
        means: ``(…,K)``, K ≥ 2.

    Returns:
        ``(…,)``, ≥ 0.

    Source: Balagopalan et al. 2022, mean fidelity gap amongst subgroups; protocol S10, D4.
    """
    values = np.asarray(means, dtype=np.float64)
    first, second = np.triu_indices(values.shape[-1], 1)
    return np.asarray(np.abs(values[..., first] - values[..., second]).mean(axis=-1), dtype=np.float64)


def noise_corrected_variance(means: ArrayLike, errors: ArrayLike, *, is_bootstrap: bool = False) -> Floats:
    """Variance between the groups' true means: variance of the observed means minus that of their noise.

    Args:
        means: ``(…,K)``, K ≥ 2.
        errors: ``(K,)`` or ``(…,K)`` standard errors of the observed means.
        is_bootstrap: true if the means are bootstrap draws, which contain the noise twice.

    Returns:
        ``(…,)``, unbiased and therefore sometimes negative.

    Source: Lum, Zhang and Bower 2022, FAccT: the corrected and, for draws, the double-corrected estimator.
    Differs: standard errors of means of any scores, not of shares; twice SE² for draws, without the 1/n of it.
    """
    noise = np.square(np.asarray(errors, dtype=np.float64)).mean(axis=-1)
    observed = np.asarray(means, dtype=np.float64).var(axis=-1, ddof=1)
    return np.asarray(observed - (2 if is_bootstrap else 1) * noise, dtype=np.float64)


def noise_corrected_sd(means: ArrayLike, errors: ArrayLike, *, is_bootstrap: bool = False) -> Floats:
    """Standard deviation between the groups' true means; 0 if the observed ones scatter no more than their noise.

    Args:
        means: ``(…,K)``, K ≥ 2.
        errors: ``(K,)`` or ``(…,K)`` standard errors of the observed means.
        is_bootstrap: true if the means are bootstrap draws, which contain the noise twice.

    Returns:
        ``(…,)``, ≥ 0.

    Source: Lum, Zhang and Bower 2022; protocol S10, D5.
    """
    return np.asarray(np.sqrt(np.maximum(0.0, noise_corrected_variance(means, errors, is_bootstrap=is_bootstrap))))


def partial_pooled_means(means: ArrayLike, errors: ArrayLike) -> Floats:
    """Partially pooled group means: shrunk towards the pooled mean, more for noisier groups; for small intersections.

    Args:
        means: ``(K,)``, K ≥ 2.
        errors: ``(K,)`` standard errors, above 0.

    Returns:
        ``(K,)``, between each group's mean and the precision-weighted mean of all.

    Source: Efron and Morris 1975; protocol 2.14. The variance between groups is that of `noise_corrected_variance`.
    """
    values, noise = np.asarray(means, dtype=np.float64), np.square(np.asarray(errors, dtype=np.float64))
    between = np.square(noise_corrected_sd(values, errors))
    pooled_mean = np.average(values, weights=1 / (between + noise))
    own_weight = between / (between + noise)
    return np.asarray(own_weight * values + (1 - own_weight) * pooled_mean, dtype=np.float64)
