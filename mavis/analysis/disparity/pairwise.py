"""Pairwise comparison of groups: raw, matched and adjusted gaps, significance and equivalence of each. Pure."""

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
"""Maximum number of draws of pairs and columns that are held at once."""


@dataclass(frozen=True)
class PairwiseRequest:
    """A column whose pairs of groups are compared.

    Attributes:
        subject: name of the score in sentences, e.g. "nsrg of saliency".
        unit: (floor, span) of its skill, or None without such a scale: then the margins apply to raw scores.
        null_range: range of its group means, with the null.
        imputer_gaps: ``(I,P)`` raw gaps of the same score by each imputer alone; two of them must agree. Empty if
            there are no such columns.
    """

    subject: str
    unit: tuple[float, float] | None
    null_range: NullRange
    imputer_gaps: Floats

    @property
    def span(self) -> float:
        """Size of one unit in raw scores; negative for a score whose lower values are better."""
        return 1.0 if self.unit is None else self.unit[1]


@dataclass(frozen=True)
class PairwiseResult:
    """Comparisons of all pairs on one column.

    Attributes:
        pairs: every two groups; p is not yet corrected for their number.
        signs: ``(P,)``, 1 if the first group is significantly higher, −1 if the second is, else 0.
        n_sufficient: ``(P,)``, true if both groups have enough images for a claim.
        has_columns: true if the table has all columns that are held equal.
        equivalent: true if every pair is equivalent and large enough for a claim.
    """

    pairs: tuple[PairGap, ...]
    signs: NDArray[np.int64]
    n_sufficient: NDArray[np.bool_]
    has_columns: bool
    equivalent: bool


@dataclass(frozen=True)
class GroupComparison:
    """The images with a score, their groups, and the rules of the comparison.

    Attributes:
        table: one row per image.
        groups: group of each image.
        matching: covariates that are held equal.
        settings: settings of means for these images.
        limits: margins of significance and equivalence.
        min_claim: number of images that a group needs for a claim.
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
    """Compares every two groups on each column.

    Args:
        values: ``(n,c)`` without NaN.
        requests: descriptions of the c columns.
        comparison: the images, their groups and the rules.
    """
    weights = bootstrap.bootstrap_weights(
        comparison.groups, comparison.settings.identities, comparison.settings.n_bootstrap, comparison.settings.seed
    )
    strata, covariates = comparison.matching.strata(comparison.table), comparison.matching.covariates(comparison.table)
    n_pairs = len(comparison.group_counts()) * (len(comparison.group_counts()) - 1) // 2
    chunk_size, results = max(1, MAX_CHUNK_DRAWS // (comparison.settings.n_bootstrap * n_pairs)), []
    for start in range(0, len(requests), chunk_size):
        chunk = values[:, start : start + chunk_size]
        raw = estimators.raw_gaps(chunk, comparison.groups, weights)
        matched = estimators.stratum_matched_gaps(chunk, comparison.groups, strata, weights)
        adjusted = estimators.covariate_adjusted_gaps(chunk, comparison.groups, covariates, weights)
        for index, request in enumerate(requests[start : start + chunk_size]):
            gaps = (
                raw.column(index, request.span),
                matched.column(index, request.span),
                adjusted.column(index, request.span),
            )
            results.append(_compare_column(*gaps, request, comparison))
    return results


def correct_p_values(pairs: Sequence[tuple[PairGap, ...]], *, use_holm: bool) -> list[tuple[PairGap, ...]]:
    """Corrects the p-values of all pairs for their number.

    Args:
        pairs: per column its pairs; all of them are one family.
        use_holm: true for Holm's correction, false for Benjamini and Hochberg's.
    """
    p_values = [np.nan if pair.p is None else pair.p for column_pairs in pairs for pair in column_pairs]
    corrected = iter(multiple_testing.holm(p_values) if use_holm else multiple_testing.benjamini_hochberg(p_values))
    return [
        tuple(
            pair.model_copy(update={"p": None if np.isnan(value := next(corrected)) else float(value)})
            for pair in column_pairs
        )
        for column_pairs in pairs
    ]


def _compare_column(
    raw: PairGaps, matched: PairGaps, adjusted: PairGaps, request: PairwiseRequest, comparison: GroupComparison
) -> PairwiseResult:
    can_match, can_adjust = not comparison.matching.missing_matching, not comparison.matching.missing_covariates
    counts, confidence = comparison.group_counts(), comparison.settings.confidence
    n_images = np.array([counts[a] + counts[b] for a, b in raw.pairs])
    n_sufficient = np.array([min(counts[a], counts[b]) >= comparison.min_claim for a, b in raw.pairs])
    estimates = (
        _pair_estimates(raw, n_images, confidence),
        _pair_estimates(matched, n_images * matched.matched_share * can_match, confidence),
        _pair_estimates(adjusted, n_images * adjusted.matched_share * can_adjust, confidence),
    )
    p = np.where(can_adjust, hypothesis_tests.p_values(adjusted), np.nan)
    equivalent = hypothesis_tests.is_equivalent(adjusted, comparison.limits.equivalence) & can_adjust
    pairs = tuple(
        PairGap(
            first=pair[0],
            second=pair[1],
            raw=estimates[0][index],
            matched=estimates[1][index],
            adjusted=estimates[2][index],
            matched_share=float(matched.matched_share[index] * can_match),
            p=None if np.isnan(p[index]) else float(p[index]),
            equivalent=bool(equivalent[index]),
        )
        for index, pair in enumerate(raw.pairs)
    )
    has_columns = can_match and can_adjust
    signs = _significant_signs(matched, adjusted, request, comparison, n_sufficient & has_columns)
    return PairwiseResult(
        pairs, signs, n_sufficient, has_columns, bool(equivalent.all() and n_sufficient.all() and has_columns)
    )


def _significant_signs(
    matched: PairGaps,
    adjusted: PairGaps,
    request: PairwiseRequest,
    comparison: GroupComparison,
    testable: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Signs as in `PairwiseResult`; pairs too small for a claim are not tested and not counted in the correction."""
    signs = np.zeros(len(testable), dtype=np.int64)
    if testable.any():
        testable_gaps = [
            replace(gap, gap=gap.gap[testable], draws=gap.draws[:, testable]) for gap in (matched, adjusted)
        ]
        imputer_gaps = request.imputer_gaps / request.span if len(request.imputer_gaps) else adjusted.gap[None]
        signs[testable] = hypothesis_tests.significant_gaps(
            request.null_range,
            testable_gaps[0],
            testable_gaps[1],
            imputer_gaps[:, testable],
            rope=comparison.limits.claim,
            confidence=comparison.settings.confidence,
        )
    return signs


def _pair_estimates(gaps: PairGaps, n: Floats, confidence: float) -> list[Estimate]:
    """Estimate of every pair; empty if no image is left to compare or the gap is unknown."""
    ends = np.stack([gaps.gap, *bootstrap.percentile_interval(gaps.draws, confidence)])
    mean, low, high = np.where(np.isnan(gaps.gap) | (n == 0), np.nan, ends)
    return [to_estimate(*row) for row in zip(mean, low, high, np.rint(n), strict=True)]
