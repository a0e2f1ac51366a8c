"""How unequal the means of groups are: ratio, shortfall, mean gap, spread beyond noise, means drawn together. Pure."""

import numpy as np
from numpy.typing import ArrayLike

from mavis.analysis.statistics.bootstrap import Floats


def worst_to_best_ratio(means: ArrayLike) -> Floats:
    """Worst over best group mean; NaN where the best is not above 0.

    Args:
        means: ``(…,K)`` in skill units, higher always better.

    Returns:
        ``(…,)``, at most 1; negative where the worst group is below chance.

    Source: protocol S10, D2.
    """
    values = np.asarray(means, dtype=np.float64)
    best = values.max(axis=-1)
    share: Floats = np.divide(values.min(axis=-1), best, out=np.full(best.shape, np.nan), where=best > 0)
    return share


def shortfall(means: ArrayLike, overall: ArrayLike | None = None) -> Floats:
    """How far the worst group lies below the whole.

    Args:
        means: ``(…,K)``, higher always better.
        overall: ``(…,)``; the mean of the groups, all weighing the same, unless given.

    Returns:
        ``(…,)``; not negative with the default.

    Source: Balagopalan et al. 2022, maximum gap from the average; protocol S10, D3.
    """
    values = np.asarray(means, dtype=np.float64)
    whole = values.mean(axis=-1) if overall is None else np.asarray(overall, dtype=np.float64)
    return np.asarray(whole - values.min(axis=-1), dtype=np.float64)


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
    """Variance between the groups' true means: that of the observed means less what their noise adds.

    Args:
        means: ``(…,K)``, K ≥ 2.
        errors: ``(K,)`` or ``(…,K)`` standard errors of the observed means.
        is_bootstrap: whether the means are bootstrap draws, which carry the noise twice.

    Returns:
        ``(…,)``, unbiased and therefore negative at times.

    Source: Lum, Zhang and Bower 2022, FAccT: the corrected and, for draws, the double-corrected estimator.
    Differs: standard errors of means of any scores, not of shares; twice SE² for draws, without the 1/n of it.
    """
    noise = np.square(np.asarray(errors, dtype=np.float64)).mean(axis=-1)
    observed = np.asarray(means, dtype=np.float64).var(axis=-1, ddof=1)
    return np.asarray(observed - (2 if is_bootstrap else 1) * noise, dtype=np.float64)


def noise_corrected_sd(means: ArrayLike, errors: ArrayLike, *, is_bootstrap: bool = False) -> Floats:
    """Standard deviation between the groups' true means; 0 where the observed ones scatter no more than their noise.

    Args:
        means: ``(…,K)``, K ≥ 2.
        errors: ``(K,)`` or ``(…,K)`` standard errors of the observed means.
        is_bootstrap: whether the means are bootstrap draws, which carry the noise twice.

    Returns:
        ``(…,)``, ≥ 0.

    Source: Lum, Zhang and Bower 2022; protocol S10, D5.
    """
    return np.asarray(np.sqrt(np.maximum(0.0, noise_corrected_variance(means, errors, is_bootstrap=is_bootstrap))))


def partial_pooled_means(means: ArrayLike, errors: ArrayLike) -> Floats:
    """Group means drawn towards the whole as far as noise explains their scatter, for small intersections.

    Args:
        means: ``(K,)``, K ≥ 2.
        errors: ``(K,)`` standard errors, above 0.

    Returns:
        ``(K,)``, between each group's mean and the precision-weighted mean of all.

    Source: Efron and Morris 1975; protocol 2.14. The variance between groups is that of `noise_corrected_variance`.
    """
    values, noise = np.asarray(means, dtype=np.float64), np.square(np.asarray(errors, dtype=np.float64))
    between = np.square(noise_corrected_sd(values, errors))
    whole = np.average(values, weights=1 / (between + noise))
    own = between / (between + noise)
    return np.asarray(own * values + (1 - own) * whole, dtype=np.float64)
