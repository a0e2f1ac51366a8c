"""Group gap estimators: raw, matched on strata, adjusted for covariates. Pure.

Every gap is the first group's mean minus the second's, in the unit of the scores. The raw gap is the total difference;
the matched and the adjusted gap compare images with equal confidence, correctness and other covariates. Low confidence
may itself be the harm, so neither replaces the raw gap. Intervals come from weights that resample images or identities
within groups (`bootstrap.bootstrap_weights`); every estimate is repeated in full under each draw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.errors import BadParameter

MIN_EIGENVALUE_SHARE = 1e-10
"""Share of the largest eigenvalue below which a direction of the covariates is treated as absent."""

MAX_CHUNK_VALUES = 2**21
"""Maximum number of values per estimate that are held at once."""


@dataclass(frozen=True)
class PairGaps:
    """Differences between the means of every two groups, of one column of scores or of several.

    Attributes:
        pairs: P pairs of group names, in order of names within and between pairs.
        gap: ``(P,)`` or ``(P,c)``, NaN if the two groups cannot be compared.
        draws: ``(draws,P)`` or ``(draws,P,c)`` under the bootstrap, NaN if a draw does not allow the comparison.
        matched_share: ``(P,)`` share of the two groups' images that the gap is based on, [0,1].
    """

    pairs: tuple[tuple[str, str], ...]
    gap: Floats
    draws: Floats
    matched_share: Floats

    def column(self, index: int, unit: float = 1.0) -> "PairGaps":
        """Gaps of one column, divided by ``unit``."""
        return PairGaps(self.pairs, self.gap[:, index] / unit, self.draws[:, :, index] / unit, self.matched_share)


@dataclass(frozen=True)
class NullRange:
    """The range of the group means and its null distribution under shuffled labels.

    Attributes:
        range: highest minus lowest group mean.
        null_mean: mean range under shuffled labels.
        excess: range minus its null mean; may be negative.
        p: share of shuffles, the observed table among them, with at least this range.
    """

    range: float
    null_mean: float
    excess: float
    p: float


def assign_strata(
    table: pd.DataFrame, *, exact: Sequence[str] = (), coarsened: Mapping[str, int] | None = None
) -> NDArray[np.intp]:
    """Assigns images to strata: images of one stratum are alike in the named columns.

    Args:
        table: one row per image.
        exact: columns that must be equal, e.g. ``predicted``, ``correct``.
        coarsened: columns that must fall into the same bin, with the number of bins of equal counts, e.g.
            ``{"confidence": 5}``; equal values share a bin.

    Returns:
        ``(n,)`` whole numbers from 0; all 0 without columns.

    Raises:
        BadParameter: a value is missing.

    Source: Iacus, King and Porro 2012, coarsened exact matching; protocol 2.13c.
    """
    coarsened = coarsened or {}
    _check_no_missing(table[[*exact, *coarsened]])
    strata = np.zeros(len(table), dtype=np.intp)
    for column in (
        *(table[name].to_numpy() for name in exact),
        *(_quantile_bins(table[name], n_bins) for name, n_bins in coarsened.items()),
    ):
        column_codes = np.unique(column, return_inverse=True)[1]
        strata = np.unique(strata * (int(column_codes.max(initial=0)) + 1) + column_codes, return_inverse=True)[1]
    return strata


def covariate_matrix(
    table: pd.DataFrame, *, numeric: Sequence[str] = (), squared: Sequence[str] = (), categorical: Sequence[str] = ()
) -> Floats:
    """Covariates for `covariate_adjusted_gaps`: columns of mean 0 and standard deviation 1; a constant column is 0.

    Args:
        table: one row per image.
        numeric: columns that enter unchanged.
        squared: columns that enter as the square of their distance from the mean, beside ``numeric``.
        categorical: columns with one indicator for every value but the first.

    Returns:
        ``(n,p)``.

    Raises:
        BadParameter: a value is missing.

    Source: protocol 2.13b.
    """
    _check_no_missing(table[[*dict.fromkeys([*numeric, *squared, *categorical])]])
    columns = [table[name].to_numpy(dtype=np.float64) for name in numeric]
    columns += [np.square(_standardise(table[name].to_numpy(dtype=np.float64))) for name in squared]
    columns += [
        (table[name] == value).to_numpy(dtype=np.float64)
        for name in categorical
        for value in sorted(table[name].unique())[1:]
    ]
    return np.stack([_standardise(column) for column in columns], axis=1) if columns else np.empty((len(table), 0))


def group_means(scores: Floats, groups: Sequence[str], weights: Floats) -> tuple[tuple[str, ...], Floats]:
    """Mean score of every group under each row of weights.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names.
        weights: ``(draws,n)``, e.g. of `bootstrap.bootstrap_weights`, or ones for the means themselves.

    Returns:
        The K names in order, and ``(draws,K)`` or ``(draws,K,c)``; NaN if no row of a group has a weight.
    """
    names, group_codes = _group_codes(scores, groups)
    columns = scores.reshape(len(scores), -1)
    means = np.full((len(weights), len(names), columns.shape[1]), np.nan)
    for group in range(len(names)):
        group_weights = weights[:, group_codes == group]
        count = group_weights.sum(axis=1)[:, None]
        np.divide(group_weights @ columns[group_codes == group], count, out=means[:, group], where=count > 0)
    return names, means.reshape(*means.shape[:2], *scores.shape[1:])


def raw_gaps(scores: Floats, groups: Sequence[str], weights: Floats) -> PairGaps:
    """Raw gaps: differences of plain group means.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names, at least two different ones.
        weights: ``(draws,n)`` bootstrap weights.
    """
    names, _ = _group_codes(scores, groups)
    first, second = np.triu_indices(len(names), 1)

    def estimate(draw_weights: Floats) -> tuple[Floats, Floats]:
        _, means = group_means(scores, groups, draw_weights)
        return means[:, first] - means[:, second], np.ones((len(draw_weights), len(first)))

    return _bootstrap_gaps(names, estimate, weights)


def stratum_matched_gaps(scores: Floats, groups: Sequence[str], strata: NDArray[np.intp], weights: Floats) -> PairGaps:
    """Matched gaps: differences of group means within strata, every stratum weighted by its share of all images.

    A pair is compared in strata in which both groups occur; these hold the share `matched_share` of its images.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names, at least two different ones.
        strata: ``(n,)``, see `assign_strata`.
        weights: ``(draws,n)`` bootstrap weights.

    Source: Iacus, King and Porro 2012, section 2; protocol 2.13c.
    Differs: strata are weighted by all compared groups together instead of by one of them, so that no group is the
    norm.
    """
    names, group_codes = _group_codes(scores, groups)
    n_strata = int(strata.max(initial=0)) + 1
    cell_codes = strata * len(names) + group_codes
    columns, pairs = scores.reshape(len(scores), -1), list(combinations(range(len(names)), 2))

    def estimate(draw_weights: Floats) -> tuple[Floats, Floats]:
        counts = _cell_counts(cell_codes, n_strata * len(names), draw_weights).reshape(-1, n_strata, len(names))
        gaps, matched_share = (
            np.empty((len(draw_weights), len(pairs), columns.shape[1])),
            np.empty((len(draw_weights), len(pairs))),
        )
        for index, (a, b) in enumerate(pairs):
            shares, matched_share[:, index] = _standardisation_weights(counts, a, b)
            rows = np.flatnonzero((group_codes == a) | (group_codes == b))
            gaps[:, index] = (
                draw_weights[:, rows] * shares[:, strata[rows], (group_codes[rows] == b).astype(int)]
            ) @ columns[rows]
        gaps[matched_share == 0] = np.nan
        return gaps.reshape(*gaps.shape[:2], *scores.shape[1:]), matched_share

    return _bootstrap_gaps(names, estimate, weights)


def covariate_adjusted_gaps(scores: Floats, groups: Sequence[str], covariates: Floats, weights: Floats) -> PairGaps:
    """Adjusted gaps: differences of group means at equal covariates, under a linear model of group and covariates.

    Mean predicted score if every image were of the first group, minus that if it were of the second. The model has no
    interaction of group and covariates, so this is the difference of the groups' coefficients.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names, at least two different ones.
        covariates: ``(n,p)``, see `covariate_matrix`.
        weights: ``(draws,n)`` bootstrap weights.

    Returns:
        The gaps; NaN, with matched share 0, for two groups that the covariates separate completely, as the predicted
        class does if each group has its own.

    Source: Robins 1986, g-computation; protocol 2.13b.
    """
    names, group_codes = _group_codes(scores, groups)
    design = np.concatenate([np.eye(len(names))[group_codes], covariates], axis=1)
    columns = scores.reshape(len(scores), -1)
    first, second = np.triu_indices(len(names), 1)
    contrasts = np.eye(design.shape[1])[:, first] - np.eye(design.shape[1])[:, second]

    def estimate(draw_weights: Floats) -> tuple[Floats, Floats]:
        inverse, projection = _gram_inverse(design, draw_weights)
        image_weights = (inverse[:, : len(names)] @ design.T) * draw_weights[:, None]
        effects = (image_weights.reshape(-1, len(columns)) @ columns).reshape(len(draw_weights), len(names), -1)
        is_estimable = np.abs(projection @ contrasts - contrasts).max(axis=1) < 1e-6
        gaps = np.where(is_estimable[..., None], effects[:, first] - effects[:, second], np.nan)
        return gaps.reshape(*gaps.shape[:2], *scores.shape[1:]), is_estimable.astype(np.float64)

    return _bootstrap_gaps(names, estimate, weights)


def _standardisation_weights(counts: Floats, a: int, b: int) -> tuple[Floats, Floats]:
    """Weight of one image in the gap of two groups ``(draws,strata,2)``, and the share of images with a weight.

    An image of a stratum weighs the stratum's share of all images in shared strata, divided by its group's images
    there; the second group's weights are negative. Summed over images this is the difference of standardised means.

    Args:
        counts: ``(draws,strata,K)``, images per stratum and group.
        a: index of the first group.
        b: index of the second.
    """
    pair_counts = counts[:, :, [a, b]]
    has_both = pair_counts.min(axis=2) > 0
    stratum_weights = counts.sum(axis=2) * has_both
    total_weight = stratum_weights.sum(axis=1, keepdims=True)
    stratum_weights = np.divide(
        stratum_weights, total_weight, out=np.zeros_like(stratum_weights), where=total_weight > 0
    )
    image_weights = np.divide(
        stratum_weights[..., None], pair_counts, out=np.zeros_like(pair_counts), where=has_both[..., None]
    ) * (1.0, -1.0)
    n_pair = pair_counts.sum(axis=2)
    n_total = n_pair.sum(axis=1)
    return image_weights, np.divide(
        (n_pair * has_both).sum(axis=1), n_total, out=np.zeros_like(n_total), where=n_total > 0
    )


def _gram_inverse(design: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Inverse of the normal equations and projection on the row space, per draw, ``(draws,q,q)``.

    A pseudo-inverse, because covariates may be collinear with groups or with each other in a draw: a contrast of
    coefficients that the projection leaves unchanged is still estimable, any other is not.
    """
    q = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), q * q)
    gram = (weights @ products).reshape(-1, q, q)
    inverse = np.asarray(np.linalg.pinv(gram, rcond=MIN_EIGENVALUE_SHARE, hermitian=True), dtype=np.float64)
    return inverse, inverse @ gram


def _bootstrap_gaps(
    names: tuple[str, ...], estimate: Callable[[Floats], tuple[Floats, Floats]], weights: Floats
) -> PairGaps:
    """Computes an estimate on the table itself and on every draw, a chunk of draws at a time."""
    gap, matched_share = estimate(np.ones((1, weights.shape[1])))
    chunk_size = max(1, MAX_CHUNK_VALUES // (len(names) * weights.shape[1]))
    draws = [estimate(weights[start : start + chunk_size])[0] for start in range(0, len(weights), chunk_size)]
    return PairGaps(tuple(combinations(names, 2)), gap[0], np.concatenate(draws), matched_share[0])


def _group_codes(scores: Floats, groups: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Group names in order, and the index of each image's group."""
    if np.isnan(scores).any():
        raise BadParameter(f"Gaps need a score for every image, {int(np.isnan(scores).sum())} have none; drop them.")
    names, group_codes = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise BadParameter(f"A gap needs at least two groups, got {names.tolist()}; choose another attribute.")
    return tuple(names.tolist()), group_codes


def _cell_counts(cell_codes: NDArray[np.intp], n_cells: int, weights: Floats) -> Floats:
    """Sums of the weights per cell (stratum and group), ``(draws,cells)``."""
    rows = np.arange(len(cell_codes))
    membership = sparse.csr_array((np.ones(len(cell_codes)), (cell_codes, rows)), shape=(n_cells, len(cell_codes)))
    counts: Floats = (membership @ np.ascontiguousarray(weights.T)).T
    return counts


def _quantile_bins(column: pd.Series, bins: int) -> NDArray[np.intp]:
    values = column.to_numpy(dtype=np.float64)
    return np.searchsorted(np.quantile(values, np.arange(1, bins) / bins), values, side="right")


def _standardise(column: Floats) -> Floats:
    """Scales a column to mean 0 and standard deviation 1; a constant column becomes 0."""
    centred = column - column.mean()
    spread = float(centred.std())
    return np.zeros_like(centred) if spread < 1e-12 * max(1.0, float(np.abs(column).max())) else centred / spread


def _check_no_missing(table: pd.DataFrame) -> None:
    missing = {str(name): int(count) for name, count in table.isna().sum().items() if count}
    if missing:
        raise BadParameter(f"Every image needs a value in each column, missing: {missing}; drop these images.")
