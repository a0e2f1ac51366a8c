"""Every two groups of an attribute: raw, matched and adjusted gaps, and which of them are found or absent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.disparity import estimators, hypothesis_tests
from mavis.analysis.disparity.estimators import NullRange, PairGaps
from mavis.analysis.disparity.matching import Matching
from mavis.analysis.findings import Estimate, PairGap
from mavis.analysis.groups import BootstrapSettings, to_estimate
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.analysis.statistics.bootstrap import Floats
from mavis.protocol.schema import DisparityRules

MAX_CHUNK_DRAWS = 2**22
"""Draws of pairs and columns that are held at once."""


@dataclass(frozen=True)
class PairwiseRequest:
    """A column whose pairs are asked for.

    Attributes:
        subject: what it holds, e.g. "nsrg of saliency".
        unit: (zero, span) of its skill, or None where it has no such scale: then the margins apply to raw scores.
        null_range: the range of its group means beside what shuffled labels give.
        imputer_gaps: ``(I,P)`` raw gaps of the same score by each imputer alone; two of them must agree. Empty where
            not
            asked.
    """

    subject: str
    unit: tuple[float, float] | None
    null_range: NullRange
    imputer_gaps: Floats

    @property
    def span(self) -> float:
        """What one unit is in raw scores; negative for a score whose lower values are better."""
        return 1.0 if self.unit is None else self.unit[1]


@dataclass(frozen=True)
class PairwiseResult:
    """What is found of one column.

    Attributes:
        pairs: every two groups; p is not corrected for their number yet.
        signs: ``(P,)`` 1 where the first group is found to be higher, −1 where the second is, else 0.
        n_sufficient: ``(P,)`` whether both groups have the images that a claim needs.
        has_columns: whether the table has what the groups are to be compared at equal values of.
        equivalent: every pair is shown to be equivalent, and may be claimed.
    """

    pairs: tuple[PairGap, ...]
    signs: NDArray[np.int64]
    n_sufficient: NDArray[np.bool_]
    has_columns: bool
    equivalent: bool


@dataclass(frozen=True)
class GroupComparison:
    """The images with a score whose groups are compared.

    Attributes:
        table: one row per image.
        groups: each image's.
        matching: what is held equal.
        settings: of these images.
        limits: when a gap is found or absent.
        min_claim: images that a group needs for a claim.
    """

    table: pd.DataFrame
    groups: tuple[str, ...]
    matching: Matching
    settings: BootstrapSettings
    limits: DisparityRules
    min_claim: int

    def group_counts(self) -> dict[str, int]:
        """Images per group, in the order of their names."""
        names, counts = np.unique(self.groups, return_counts=True)
        return {str(name): int(n) for name, n in zip(names, counts, strict=True)}


def compare_pairs(
    values: Floats, requests: Sequence[PairwiseRequest], comparison: GroupComparison
) -> list[PairwiseResult]:
    """What is found of each column.

    Args:
        values: ``(n,c)`` without NaN.
        requests: what is known of the c columns.
        comparison: the images.
    """
    weights = bootstrap.bootstrap_weights(
        comparison.groups, comparison.settings.identities, comparison.settings.n_bootstrap, comparison.settings.seed
    )
    stratum, held = comparison.matching.strata(comparison.table), comparison.matching.covariates(comparison.table)
    number = len(comparison.group_counts()) * (len(comparison.group_counts()) - 1) // 2
    at_once, found = max(1, MAX_CHUNK_DRAWS // (comparison.settings.n_bootstrap * number)), []
    for start in range(0, len(requests), at_once):
        part = values[:, start : start + at_once]
        raw = estimators.raw_gaps(part, comparison.groups, weights)
        matched = estimators.stratum_matched_gaps(part, comparison.groups, stratum, weights)
        adjusted = estimators.covariate_adjusted_gaps(part, comparison.groups, held, weights)
        for place, one in enumerate(requests[start : start + at_once]):
            three = (raw.column(place, one.span), matched.column(place, one.span), adjusted.column(place, one.span))
            found.append(_compare_column(*three, one, comparison))
    return found


def correct_p_values(pairs: Sequence[tuple[PairGap, ...]], *, use_holm: bool) -> list[tuple[PairGap, ...]]:
    """The same pairs with p corrected for the number of all of them.

    Args:
        pairs: of one attribute or of several, of one metric or of several: one family.
        use_holm: by Holm, else by Benjamini and Hochberg.
    """
    given = [np.nan if pair.p is None else pair.p for some in pairs for pair in some]
    p = iter(multiple_testing.holm(given) if use_holm else multiple_testing.benjamini_hochberg(given))
    return [
        tuple(pair.model_copy(update={"p": None if np.isnan(one := next(p)) else float(one)}) for pair in some)
        for some in pairs
    ]


def _compare_column(
    raw: PairGaps, matched: PairGaps, adjusted: PairGaps, request: PairwiseRequest, comparison: GroupComparison
) -> PairwiseResult:
    can_match, can_adjust = not comparison.matching.missing_matching, not comparison.matching.missing_covariates
    counts, confidence = comparison.group_counts(), comparison.settings.confidence
    both = np.array([counts[a] + counts[b] for a, b in raw.pairs])
    enough = np.array([min(counts[a], counts[b]) >= comparison.min_claim for a, b in raw.pairs])
    three = (
        _pair_estimates(raw, both, confidence),
        _pair_estimates(matched, both * matched.matched_share * can_match, confidence),
        _pair_estimates(adjusted, both * adjusted.matched_share * can_adjust, confidence),
    )
    p = np.where(can_adjust, hypothesis_tests.p_values(adjusted), np.nan)
    equivalent = hypothesis_tests.is_equivalent(adjusted, comparison.limits.equivalence) & can_adjust
    pairs = tuple(
        PairGap(
            first=pair[0],
            second=pair[1],
            raw=three[0][place],
            matched=three[1][place],
            adjusted=three[2][place],
            matched_share=float(matched.matched_share[place] * can_match),
            p=None if np.isnan(p[place]) else float(p[place]),
            equivalent=bool(equivalent[place]),
        )
        for place, pair in enumerate(raw.pairs)
    )
    known = can_match and can_adjust
    signs = _significant_signs(matched, adjusted, request, comparison, enough & known)
    return PairwiseResult(pairs, signs, enough, known, bool(equivalent.all() and enough.all() and known))


def _significant_signs(
    matched: PairGaps,
    adjusted: PairGaps,
    request: PairwiseRequest,
    comparison: GroupComparison,
    testable: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """See `PairwiseResult`; pairs that are too small for a claim are not tested, and do not count in the correction."""
    signs = np.zeros(len(testable), dtype=np.int64)
    if testable.any():
        both = [replace(gap, gap=gap.gap[testable], draws=gap.draws[:, testable]) for gap in (matched, adjusted)]
        confirm = request.imputer_gaps / request.span if len(request.imputer_gaps) else adjusted.gap[None]
        signs[testable] = hypothesis_tests.significant_gaps(
            request.null_range,
            both[0],
            both[1],
            confirm[:, testable],
            rope=comparison.limits.claim,
            confidence=comparison.settings.confidence,
        )
    return signs


def _pair_estimates(gaps: PairGaps, n: Floats, confidence: float) -> list[Estimate]:
    """Of every pair; nothing where no image is left to compare or where the estimate is unknown."""
    ends = np.stack([gaps.gap, *bootstrap.percentile_interval(gaps.draws, confidence)])
    mean, low, high = np.where(np.isnan(gaps.gap) | (n == 0), np.nan, ends)
    return [to_estimate(*one) for one in zip(mean, low, high, np.rint(n), strict=True)]
