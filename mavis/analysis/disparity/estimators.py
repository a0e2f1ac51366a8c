"""How far groups of images lie apart: raw, among alike images, at equal covariates, beyond noise; or nowhere. Pure.

Every gap is the first group's mean minus the second's, in the unit of the scores. The raw gap is the total; the matched
and the adjusted one say what is left of it among images on which the model is equally confident, right and so on. Low
confidence may itself be the harm, so neither replaces the raw gap. Intervals come from weights that resample images or
identities within groups (`bootstrap.bootstrap_weights`); every estimate is repeated as a whole under each draw.
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
"""Share of the largest eigenvalue below which a direction of the covariates counts as not there."""

MAX_CHUNK_VALUES = 2**21
"""Numbers per estimate that are held at once."""


@dataclass(frozen=True)
class PairGaps:
    """Differences between the means of every two groups, of one column of scores or of several.

    Attributes:
        pairs: P pairs of group names, each and all of them in order.
        gap: ``(P,)`` or ``(P,c)``, NaN where the two cannot be compared.
        draws: ``(draws,P)`` or ``(draws,P,c)`` under the bootstrap, NaN where a draw does not allow the comparison.
        matched_share: ``(P,)`` share of the two groups' images that the gap rests on, [0,1].
    """

    pairs: tuple[tuple[str, str], ...]
    gap: Floats
    draws: Floats
    matched_share: Floats

    def column(self, index: int, unit: float = 1.0) -> "PairGaps":
        """One column's, in units of so many."""
        return PairGaps(self.pairs, self.gap[:, index] / unit, self.draws[:, :, index] / unit, self.matched_share)


@dataclass(frozen=True)
class NullRange:
    """The range of the group means beside what shuffled labels give.

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
    """In which stratum each image lies: images of one stratum are alike in the named columns.

    Args:
        table: one row per image.
        exact: columns that must be equal, e.g. ``predicted``, ``correct``.
        coarsened: columns that must fall into the same of so many bins of equal counts, e.g. ``{"confidence": 5}``;
            equal values share a bin.

    Returns:
        ``(n,)`` whole numbers from 0; all 0 without columns.

    Raises:
        BadParameter: a value is missing.

    Source: Iacus, King and Porro 2012, coarsened exact matching; protocol 2.13c.
    """
    coarsened = coarsened or {}
    _check_no_missing(table[[*exact, *coarsened]])
    code = np.zeros(len(table), dtype=np.intp)
    for column in (
        *(table[name].to_numpy() for name in exact),
        *(_quantile_bins(table[n], b) for n, b in coarsened.items()),
    ):
        places = np.unique(column, return_inverse=True)[1]
        code = np.unique(code * (int(places.max(initial=0)) + 1) + places, return_inverse=True)[1]
    return code


def covariate_matrix(
    table: pd.DataFrame, *, numeric: Sequence[str] = (), squared: Sequence[str] = (), categorical: Sequence[str] = ()
) -> Floats:
    """What `covariate_adjusted_gaps` holds equal, as columns of mean 0 and, where they vary, standard deviation 1.

    Args:
        table: one row per image.
        numeric: columns that enter as they are.
        squared: columns that enter as the square of their distance from the mean, beside ``numeric``.
        categorical: columns of which every value but the first gets a column.

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
        The K names in order, and ``(draws,K)`` or ``(draws,K,c)``; NaN where no row of a group has a weight.
    """
    names, member = _group_codes(scores, groups)
    columns = scores.reshape(len(scores), -1)
    means = np.full((len(weights), len(names), columns.shape[1]), np.nan)
    for group in range(len(names)):
        own = weights[:, member == group]
        count = own.sum(axis=1)[:, None]
        np.divide(own @ columns[member == group], count, out=means[:, group], where=count > 0)
    return names, means.reshape(*means.shape[:2], *scores.shape[1:])


def raw_gaps(scores: Floats, groups: Sequence[str], weights: Floats) -> PairGaps:
    """Differences of plain group means: the total.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names, at least two different ones.
        weights: ``(draws,n)`` bootstrap weights.
    """
    names, _ = _group_codes(scores, groups)
    first, second = np.triu_indices(len(names), 1)

    def estimate(some: Floats) -> tuple[Floats, Floats]:
        _, means = group_means(scores, groups, some)
        return means[:, first] - means[:, second], np.ones((len(some), len(first)))

    return _bootstrap_gaps(names, estimate, weights)


def stratum_matched_gaps(scores: Floats, groups: Sequence[str], strata: NDArray[np.intp], weights: Floats) -> PairGaps:
    """Differences of group means among images of the same stratum, every stratum weighing as in the whole table.

    Only strata in which both groups of a pair occur count for it; what share of its images they hold is
    `matched_share`.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names, at least two different ones.
        strata: ``(n,)``, see `assign_strata`.
        weights: ``(draws,n)`` bootstrap weights.

    Source: Iacus, King and Porro 2012, section 2; protocol 2.13c.
    Differs: strata weigh as in all compared groups together, not as in one of them, so that no group is the norm.
    """
    names, member = _group_codes(scores, groups)
    size = int(strata.max(initial=0)) + 1
    cell = strata * len(names) + member
    columns, pairs = scores.reshape(len(scores), -1), list(combinations(range(len(names)), 2))

    def estimate(some: Floats) -> tuple[Floats, Floats]:
        counts = _cell_counts(cell, size * len(names), some).reshape(-1, size, len(names))
        gaps, retained = np.empty((len(some), len(pairs), columns.shape[1])), np.empty((len(some), len(pairs)))
        for place, (a, b) in enumerate(pairs):
            shares, retained[:, place] = _standardisation_weights(counts, a, b)
            rows = np.flatnonzero((member == a) | (member == b))
            gaps[:, place] = (some[:, rows] * shares[:, strata[rows], (member[rows] == b).astype(int)]) @ columns[rows]
        gaps[retained == 0] = np.nan
        return gaps.reshape(*gaps.shape[:2], *scores.shape[1:]), retained

    return _bootstrap_gaps(names, estimate, weights)


def covariate_adjusted_gaps(scores: Floats, groups: Sequence[str], covariates: Floats, weights: Floats) -> PairGaps:
    """Differences of group means at equal covariates, under a linear model of group and covariates.

    Mean predicted score if every image were of the first group, minus that if it were of the second. The model has no
    interaction of group and covariates, so this is the difference of the groups' coefficients.

    Args:
        scores: ``(n,)`` or ``(n,c)`` without NaN.
        groups: n names, at least two different ones.
        covariates: ``(n,p)``, see `covariate_matrix`.
        weights: ``(draws,n)`` bootstrap weights.

    Returns:
        NaN, with nothing retained, for two groups that the covariates tell apart with certainty, as predicted class
        does where each group has its own.

    Source: Robins 1986, g-computation; protocol 2.13b.
    """
    names, member = _group_codes(scores, groups)
    design = np.concatenate([np.eye(len(names))[member], covariates], axis=1)
    columns = scores.reshape(len(scores), -1)
    first, second = np.triu_indices(len(names), 1)
    wanted = np.eye(design.shape[1])[:, first] - np.eye(design.shape[1])[:, second]

    def estimate(some: Floats) -> tuple[Floats, Floats]:
        inverse, reached = _gram_inverse(design, some)
        per_image = (inverse[:, : len(names)] @ design.T) * some[:, None]
        effects = (per_image.reshape(-1, len(columns)) @ columns).reshape(len(some), len(names), -1)
        known = np.abs(reached @ wanted - wanted).max(axis=1) < 1e-6
        gaps = np.where(known[..., None], effects[:, first] - effects[:, second], np.nan)
        return gaps.reshape(*gaps.shape[:2], *scores.shape[1:]), known.astype(np.float64)

    return _bootstrap_gaps(names, estimate, weights)


def _standardisation_weights(counts: Floats, a: int, b: int) -> tuple[Floats, Floats]:
    """What one image counts in the gap of two groups ``(draws,strata,2)``, and the share of images that count at all.

    Args:
        counts: ``(draws,strata,K)``, images per stratum and group.
        a: place of the first group.
        b: place of the second.
    """
    own = counts[:, :, [a, b]]
    both = own.min(axis=2) > 0
    weight = counts.sum(axis=2) * both
    total = weight.sum(axis=1, keepdims=True)
    weight = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    each = np.divide(weight[..., None], own, out=np.zeros_like(own), where=both[..., None]) * (1.0, -1.0)
    of_both = own.sum(axis=2)
    whole = of_both.sum(axis=1)
    return each, np.divide((of_both * both).sum(axis=1), whole, out=np.zeros_like(whole), where=whole > 0)


def _gram_inverse(design: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Per draw the inverse of the normal equations and the projection on what the rows can tell, ``(draws,q,q)``."""
    q = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), q * q)
    gram = (weights @ products).reshape(-1, q, q)
    inverse = np.asarray(np.linalg.pinv(gram, rcond=MIN_EIGENVALUE_SHARE, hermitian=True), dtype=np.float64)
    return inverse, inverse @ gram


def _bootstrap_gaps(
    names: tuple[str, ...], estimate: Callable[[Floats], tuple[Floats, Floats]], weights: Floats
) -> PairGaps:
    """The estimate on the table as it is, and on every draw, a few draws at a time."""
    gap, retained = estimate(np.ones((1, weights.shape[1])))
    at_once = max(1, MAX_CHUNK_VALUES // (len(names) * weights.shape[1]))
    drawn = [estimate(weights[k : k + at_once])[0] for k in range(0, len(weights), at_once)]
    return PairGaps(tuple(combinations(names, 2)), gap[0], np.concatenate(drawn), retained[0])


def _group_codes(scores: Floats, groups: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Group names in order, and each image's place among them."""
    if np.isnan(scores).any():
        raise BadParameter(f"Gaps need a score for every image, {int(np.isnan(scores).sum())} have none; drop them.")
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < 2:
        raise BadParameter(f"A gap needs at least two groups, got {names.tolist()}; choose another attribute.")
    return tuple(names.tolist()), member


def _cell_counts(cell: NDArray[np.intp], cells: int, weights: Floats) -> Floats:
    """Sums of the weights per cell, ``(draws,cells)``."""
    rows = np.arange(len(cell))
    inside = sparse.csr_array((np.ones(len(cell)), (cell, rows)), shape=(cells, len(cell)))
    counts: Floats = (inside @ np.ascontiguousarray(weights.T)).T
    return counts


def _quantile_bins(column: pd.Series, bins: int) -> NDArray[np.intp]:
    values = column.to_numpy(dtype=np.float64)
    return np.searchsorted(np.quantile(values, np.arange(1, bins) / bins), values, side="right")


def _standardise(column: Floats) -> Floats:
    """Mean 0 and standard deviation 1; zeros where it does not vary."""
    centred = column - column.mean()
    spread = float(centred.std())
    return np.zeros_like(centred) if spread < 1e-12 * max(1.0, float(np.abs(column).max())) else centred / spread


def _check_no_missing(table: pd.DataFrame) -> None:
    missing = {str(name): int(count) for name, count in table.isna().sum().items() if count}
    if missing:
        raise BadParameter(f"Every image needs a value in each column, missing: {missing}; drop these images.")
