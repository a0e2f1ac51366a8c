"""Statistics on plain arrays. Pure; knows nothing of models, maps or groups of people."""

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
    """Ends of the percentile interval along the first axis, NaN draws left out; NaN where all are."""
    tail = (1 - confidence) / 2
    ends, missing = np.full((2, *draws.shape[1:]), np.nan), np.isnan(draws)
    partly, none = missing.any(axis=0), missing.all(axis=0)
    ends[:, ~partly] = np.quantile(draws[:, ~partly], [tail, 1 - tail], axis=0)
    ends[:, partly & ~none] = np.nanquantile(draws[:, partly & ~none], [tail, 1 - tail], axis=0)  # slow: by column
    return ends[0], ends[1]


def bootstrap_standard_error(draws: Floats) -> Floats:
    """Standard deviation along the first axis, NaN draws left out; NaN where all are."""
    there = ~np.isnan(draws)
    count = there.sum(axis=0)
    mean = np.where(there, draws, 0.0).sum(axis=0) / np.maximum(count, 1)
    square = np.where(there, np.square(draws - mean), 0.0).sum(axis=0)
    return np.where(count > 0, np.sqrt(square / np.maximum(count, 1)), np.nan)


def bootstrap_means(values: Floats, strata: Sequence[str], n_draws: int, seed: int) -> dict[str, Floats]:
    """Means per stratum under resampling of its rows with replacement.

    Columns whose values are present in the same rows are resampled alike, so that their differences are paired. Which
    row is drawn how often depends on its place, so callers bring the rows into an order of their own: by image id.

    Args:
        values: ``(n,c)``, NaN where there is no value.
        strata: n names.
        n_draws: resamples.
        seed: equal seeds give equal draws.

    Returns:
        Per stratum ``(draws,c)``; NaN in a column without any value in that stratum.
    """
    names = np.asarray(strata, dtype=str)
    found = {}
    for name in sorted(set(names.tolist())):
        rows = values[names == name]
        means = np.full((n_draws, values.shape[1]), np.nan)
        present = ~np.isnan(rows)
        for pattern in np.unique(present.T, axis=0):
            if pattern.any():
                columns = (pattern == present.T).all(axis=1)
                weights = _resampling_weights(int(pattern.sum()), n_draws, seed, name, pattern.tobytes())
                means[:, columns] = weights @ rows[pattern][:, columns]
        found[name] = means
    return found


def _resampling_weights(n: int, n_draws: int, seed: int, *names: str | bytes) -> Floats:
    """``(draws,n)`` weights of a bootstrap: how often each of n rows was drawn, divided by n."""
    return generator_for(seed, *names).multinomial(n, np.full(n, 1 / n), size=n_draws) / n


def generator_for(seed: int, *names: str | bytes) -> np.random.Generator:
    """A generator seeded by the run's seed and the names of what it is for."""
    text = b"\x1f".join(name if isinstance(name, bytes) else name.encode() for name in names)
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(text).digest()[:8], "big")])


def bootstrap_weights(strata: Sequence[str], clusters: Sequence[str] | None, n_draws: int, seed: int) -> Floats:
    """How often each row counts when whole clusters are drawn with replacement within strata.

    For estimates that are more than a mean per stratum: every one that takes weights can be repeated on each row of
    the result. Without clusters, what is drawn depends on a row's place, so callers bring the rows into an order of
    their own: by image id.

    Args:
        strata: n names, e.g. groups; none of them is lost in a draw.
        clusters: n names, e.g. identities, whose rows are drawn together; None draws every row by itself.
        n_draws: resamples.
        seed: equal seeds give equal draws.

    Returns:
        ``(draws,n)`` whole numbers from 0.

    Source: Davison and Hinkley 1997, sections 3.2 (strata) and 3.8 (clusters).
    Differs: clusters that lie in several strata, as a person photographed at several ages, form a stratum of their own.
    """
    names, homes = np.unique(np.asarray(strata, dtype=str), return_inverse=True)
    code = np.arange(len(homes)) if clusters is None else integer_codes(clusters)
    home = homes[np.unique(code, return_index=True)[1]]
    home[np.bincount(code, homes != home[code]) > 0] = -1
    counts = np.empty((n_draws, len(home)))
    for stratum in np.unique(home):
        inside, name = home == stratum, ("clusters", str(names[stratum])) if stratum >= 0 else ("several strata",)
        counts[:, inside] = _draw_counts(int(inside.sum()), n_draws, generator_for(seed, *name))
    return counts[:, code]


def _draw_counts(n: int, n_draws: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """``(draws,n)``: how often each of n was drawn in n drawings with replacement."""
    places = generator.integers(0, n, (n_draws, n)) + n * np.arange(n_draws)[:, None]
    return np.bincount(places.ravel(), minlength=n_draws * n).reshape(n_draws, n)


def integer_codes(names: Sequence[str]) -> NDArray[np.intp]:
    """Whole numbers from 0 in the order of the names."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1]
