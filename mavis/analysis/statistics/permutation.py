"""Permutation tests: ranges of group means under shuffled labels, and their p-values. Pure."""

from collections.abc import Sequence

import numpy as np

from mavis.analysis.statistics.bootstrap import Floats, generator_for, integer_codes

MAX_CHUNK_VALUES = 2**23
"""Maximum number of values held at once while labels are shuffled."""


def permutation_p_value(observed: float, null: Floats) -> float:
    """(1 + number of null values at least as large as the observed) / (1 + draws), up to rounding errors of 1e-12."""
    return float((1 + np.sum(null >= observed - 1e-12)) / (1 + len(null)))


def stratified_null_ranges(
    values: Floats,
    labels: Sequence[str],
    strata: Sequence[str],
    n_permutations: int,
    seed: int,
    row_weights: Floats | None = None,
) -> Floats:
    """Ranges of group means when labels are shuffled within strata: the null distribution of no gap.

    Groups may differ in the strata that their rows belong to; a range that results from this difference alone is
    contained in every draw. With a single stratum all labels are shuffled.

    Args:
        values: ``(n,)`` or ``(n,c)`` without NaN; all columns are shuffled alike.
        labels: n group names.
        strata: n names; rows of one stratum are exchangeable under the null hypothesis.
        n_permutations: number of shuffles.
        seed: equal seeds give equal shuffles.
        row_weights: ``(n,)``, weight of each row, e.g. the number of images of a person whose mean it is; equal by
            default.

    Returns:
        ``(draws,)`` or ``(draws,c)``.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, restricted randomisation.
    """
    codes, stratum_codes = integer_codes(labels), integer_codes(strata)
    row_weights = np.ones(len(codes)) if row_weights is None else row_weights
    sums = np.concatenate([row_weights[:, None] * values.reshape(len(codes), -1), row_weights[:, None]], axis=1)
    n_groups, sorted_codes = int(codes.max()) + 1, codes[np.argsort(stratum_codes, kind="stable")]
    generator, ranges = generator_for(seed, "permutation within strata"), []
    for chunk in np.array_split(
        np.arange(n_permutations), -(-n_permutations * n_groups * sum(sums.shape) // MAX_CHUNK_VALUES)
    ):
        # A random number in [0,1) on top of the stratum's code shuffles rows within strata and keeps strata in order.
        order = np.argsort(stratum_codes + generator.random((len(chunk), len(codes))), axis=1)
        shuffled_codes = np.empty_like(order)
        np.put_along_axis(shuffled_codes, order, np.broadcast_to(sorted_codes, order.shape), axis=1)
        is_member = (shuffled_codes[:, None] == np.arange(n_groups)[:, None]).astype(np.float64)
        totals = (is_member.reshape(-1, len(codes)) @ sums).reshape(len(chunk), n_groups, -1)
        means = totals[..., :-1] / totals[..., -1:]
        ranges.append(means.max(axis=1) - means.min(axis=1))
    return np.concatenate(ranges).reshape(n_permutations, *values.shape[1:])
