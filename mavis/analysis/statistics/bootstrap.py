"""Bootstrap of means and weights, with strata and clusters; percentile and Wilson intervals. Pure."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

Floats = NDArray[np.float64]


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share.

    Source: Wilson 1927; Brown, Cai, DasGupta 2001, equation 4.

    Returns:
        Lower and upper end in [0,1]; (0, 1) for n = 0.
    """
    if n == 0:
        return 0.0, 1.0
    interval = scipy_stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def percentile_interval(draws: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Ends of the percentile interval along the first axis, without NaN draws; NaN if all draws are."""
    tail = (1 - confidence) / 2
    ends, missing = np.full((2, *draws.shape[1:]), np.nan), np.isnan(draws)
    has_missing, all_missing = missing.any(axis=0), missing.all(axis=0)
    ends[:, ~has_missing] = np.quantile(draws[:, ~has_missing], [tail, 1 - tail], axis=0)
    ends[:, has_missing & ~all_missing] = np.nanquantile(
        draws[:, has_missing & ~all_missing], [tail, 1 - tail], axis=0
    )  # slow: by column
    return ends[0], ends[1]


def bootstrap_standard_error(draws: Floats) -> Floats:
    """Standard deviation along the first axis, without NaN draws; NaN if all draws are."""
    is_present = ~np.isnan(draws)
    count = is_present.sum(axis=0)
    mean = np.where(is_present, draws, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(is_present, np.square(draws - mean), 0.0).sum(axis=0)
    return np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)), np.nan)


def bootstrap_means(values: Floats, strata: Sequence[str], n_draws: int, seed: int) -> dict[str, Floats]:
    """Bootstrap means per stratum: its rows are resampled with replacement.

    Columns with values in the same rows are resampled alike, so that their differences are paired. The number of times
    that a row is drawn depends on its position, so callers sort the rows by image id.

    Args:
        values: ``(n,c)``, NaN for a missing value.
        strata: n names.
        n_draws: number of resamples.
        seed: equal seeds give equal draws.

    Returns:
        Per stratum ``(draws,c)``; NaN for a column without any value in that stratum.
    """
    names = np.asarray(strata, dtype=str)
    means_by_stratum = {}
    for name in sorted(set(names.tolist())):
        rows = values[names == name]
        means = np.full((n_draws, values.shape[1]), np.nan)
        present = ~np.isnan(rows)
        for pattern in np.unique(present.T, axis=0):
            if pattern.any():
                columns = (pattern == present.T).all(axis=1)
                weights = _resampling_weights(int(pattern.sum()), n_draws, seed, name, pattern.tobytes())
                means[:, columns] = weights @ rows[pattern][:, columns]
        means_by_stratum[name] = means
    return means_by_stratum


def _resampling_weights(n: int, n_draws: int, seed: int, *names: str | bytes) -> Floats:
    """``(draws,n)`` bootstrap weights: number of times that each of n rows was drawn, divided by n."""
    return generator_for(seed, *names).multinomial(n, np.full(n, 1 / n), size=n_draws) / n


def generator_for(seed: int, *names: str | bytes) -> np.random.Generator:
    """A generator seeded by the run's seed and names of its use."""
    text = b"\x1f".join(name if isinstance(name, bytes) else name.encode() for name in names)
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(text).digest()[:8], "big")])


def bootstrap_weights(strata: Sequence[str], clusters: Sequence[str] | None, n_draws: int, seed: int) -> Floats:
    """Bootstrap weights of rows: clusters are drawn with replacement within strata.

    For estimates that are more than a mean per stratum: any estimate with weights can be repeated on each row of the
    result. Without clusters the draws depend on a row's position, so callers sort the rows by image id.

    Args:
        strata: n names, e.g. groups; each keeps its number of clusters in every draw.
        clusters: n names, e.g. identities, whose rows are drawn together; None draws every row by itself.
        n_draws: number of resamples.
        seed: equal seeds give equal draws.

    Returns:
        ``(draws,n)`` whole numbers from 0.

    Source: Davison and Hinkley 1997, sections 3.2 (strata) and 3.8 (clusters).
    Differs: clusters that lie in several strata, as a person photographed at several ages, form a stratum of their own.
    """
    names, stratum_codes = np.unique(np.asarray(strata, dtype=str), return_inverse=True)
    cluster_codes = np.arange(len(stratum_codes)) if clusters is None else integer_codes(clusters)
    cluster_strata = stratum_codes[np.unique(cluster_codes, return_index=True)[1]]
    cluster_strata[np.bincount(cluster_codes, stratum_codes != cluster_strata[cluster_codes]) > 0] = -1
    counts = np.empty((n_draws, len(cluster_strata)))
    for stratum in np.unique(cluster_strata):
        in_stratum, stream = (
            cluster_strata == stratum,
            ("clusters", str(names[stratum])) if stratum >= 0 else ("several strata",),
        )
        counts[:, in_stratum] = _draw_counts(int(in_stratum.sum()), n_draws, generator_for(seed, *stream))
    return counts[:, cluster_codes]


def _draw_counts(n: int, n_draws: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """``(draws,n)``: number of times that each of n items was drawn in n draws with replacement."""
    drawn = generator.integers(0, n, (n_draws, n)) + n * np.arange(n_draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_draws * n).reshape(n_draws, n)


def integer_codes(names: Sequence[str]) -> NDArray[np.intp]:
    """Codes ``(n,)`` of names: whole numbers from 0 in sorted order."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1]
