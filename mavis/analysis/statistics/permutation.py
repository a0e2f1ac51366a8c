"""Permutation."""

from collections.abc import Sequence

import numpy as np

from mavis.analysis.statistics.bootstrap import Floats, _codes, _generator

SHUFFLED = 2**23
"""Numbers that are held at once while labels are shuffled."""


def range_of_means(values: Floats, labels: Sequence[str]) -> float:
    """Largest minus smallest group mean; NaN with fewer than two groups."""
    frame = [values[np.asarray(labels) == name] for name in sorted(set(labels))]
    means = [float(np.mean(part)) for part in frame if len(part)]
    return max(means) - min(means) if len(means) > 1 else float("nan")


def permuted_ranges(values: Floats, labels: Sequence[str], draws: int, seed: int) -> Floats:
    """Ranges of group means when the labels are shuffled: what no gap looks like.

    Args:
        values: ``(n,)`` without NaN.
        labels: n group names.
        draws: shuffles.
        seed: equal seeds give equal shuffles.

    Returns:
        ``(draws,)``.
    """
    names, codes = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    member = np.eye(len(names))[codes]
    generator = _generator(seed, "permutation")
    order = np.argsort(generator.random((draws, len(values))), axis=1)
    means = values[order] @ (member / member.sum(axis=0))
    return np.asarray(means.max(axis=1) - means.min(axis=1), dtype=np.float64)


def p_value(observed: float, null: Floats) -> float:
    """(1 + number at least as large) / (1 + draws); equal up to rounding counts as large."""
    return float((1 + np.sum(null >= observed - 1e-12)) / (1 + len(null)))


def permuted_ranges_within(
    values: Floats, labels: Sequence[str], strata: Sequence[str], draws: int, seed: int, sizes: Floats | None = None
) -> Floats:
    """Ranges of group means when the labels are shuffled among rows of one stratum only.

    What no gap looks like where groups differ in the strata that they fall into: a range that comes from this
    difference alone is in every draw.

    Args:
        values: ``(n,)`` or ``(n,c)`` without NaN; all columns are shuffled alike.
        labels: n group names.
        strata: n names; rows of one stratum are alike but for their group.
        draws: shuffles.
        seed: equal seeds give equal shuffles.
        sizes: ``(n,)`` how much each row counts, e.g. the images of a person whose mean it is; equally by default.

    Returns:
        ``(draws,)`` or ``(draws,c)``.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, restricted randomisation.
    """
    codes, stratum = _codes(labels), _codes(strata)
    sizes = np.ones(len(codes)) if sizes is None else sizes
    sums = np.concatenate([sizes[:, None] * values.reshape(len(codes), -1), sizes[:, None]], axis=1)
    groups, sorted_codes = int(codes.max()) + 1, codes[np.argsort(stratum, kind="stable")]
    generator, found = _generator(seed, "permutation within strata"), []
    for part in np.array_split(np.arange(draws), -(-draws * groups * sum(sums.shape) // SHUFFLED)):
        order = np.argsort(stratum + generator.random((len(part), len(codes))), axis=1)
        given = np.empty_like(order)
        np.put_along_axis(given, order, np.broadcast_to(sorted_codes, order.shape), axis=1)
        member = (given[:, None] == np.arange(groups)[:, None]).astype(np.float64)
        totals = (member.reshape(-1, len(codes)) @ sums).reshape(len(part), groups, -1)
        means = totals[..., :-1] / totals[..., -1:]
        found.append(means.max(axis=1) - means.min(axis=1))
    return np.concatenate(found).reshape(draws, *values.shape[1:])
