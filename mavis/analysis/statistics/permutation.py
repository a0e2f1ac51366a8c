"""Permutation."""

from collections.abc import Sequence

import numpy as np

from mavis.analysis.statistics.bootstrap import Floats, generator_for, integer_codes

MAX_CHUNK_VALUES = 2**23
"""Numbers that are held at once while labels are shuffled."""


def permutation_p_value(observed: float, null: Floats) -> float:
    """(1 + number at least as large) / (1 + draws); equal up to rounding counts as large."""
    return float((1 + np.sum(null >= observed - 1e-12)) / (1 + len(null)))


def stratified_null_ranges(
    values: Floats,
    labels: Sequence[str],
    strata: Sequence[str],
    n_permutations: int,
    seed: int,
    row_weights: Floats | None = None,
) -> Floats:
    """Ranges of group means when the labels are shuffled among rows of one stratum only.

    What no gap looks like where groups differ in the strata that they fall into: a range that comes from this
    difference alone is in every draw.

    Args:
        values: ``(n,)`` or ``(n,c)`` without NaN; all columns are shuffled alike.
        labels: n group names.
        strata: n names; rows of one stratum are alike but for their group.
        n_permutations: shuffles.
        seed: equal seeds give equal shuffles.
        row_weights: ``(n,)`` how much each row counts, e.g. the images of a person whose mean it is; equally by
            default.

    Returns:
        ``(draws,)`` or ``(draws,c)``.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, restricted randomisation.
    """
    codes, stratum = integer_codes(labels), integer_codes(strata)
    row_weights = np.ones(len(codes)) if row_weights is None else row_weights
    sums = np.concatenate([row_weights[:, None] * values.reshape(len(codes), -1), row_weights[:, None]], axis=1)
    groups, sorted_codes = int(codes.max()) + 1, codes[np.argsort(stratum, kind="stable")]
    generator, found = generator_for(seed, "permutation within strata"), []
    for part in np.array_split(
        np.arange(n_permutations), -(-n_permutations * groups * sum(sums.shape) // MAX_CHUNK_VALUES)
    ):
        order = np.argsort(stratum + generator.random((len(part), len(codes))), axis=1)
        given = np.empty_like(order)
        np.put_along_axis(given, order, np.broadcast_to(sorted_codes, order.shape), axis=1)
        member = (given[:, None] == np.arange(groups)[:, None]).astype(np.float64)
        totals = (member.reshape(-1, len(codes)) @ sums).reshape(len(part), groups, -1)
        means = totals[..., :-1] / totals[..., -1:]
        found.append(means.max(axis=1) - means.min(axis=1))
    return np.concatenate(found).reshape(n_permutations, *values.shape[1:])
