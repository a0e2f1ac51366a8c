"""Gap statements: which claim the results support, as a code with its values. Pure."""

from typing import Any

import numpy as np

from mavis.analysis.disparity.hypothesis_tests import ALPHA
from mavis.analysis.disparity.matching import PREDICTED, Matching
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, PairwiseResult
from mavis.analysis.findings import Note, make_note


def gap_statement(result: PairwiseResult, request: PairwiseRequest, comparison: GroupComparison) -> Note:
    """The statement on one column: the gap that is found, or the ground on which none is claimed.

    Args:
        result: of the column's pairs.
        request: the column.
        comparison: the images.
    """
    if not result.has_columns:
        return make_note("gap.missing_columns", columns=_missing_columns(comparison.matching))
    small = _small_groups(comparison)
    if not result.n_sufficient.any():
        return make_note("gap.too_few_images", groups=small, min_claim=comparison.min_claim)
    limits: dict[str, Any] = {
        "subject": request.subject,
        "unit": "skill" if request.unit else "raw",
        "too_small": small,
        "prediction_separates": comparison.matching.prediction_separates,
    }
    if result.signs.any():
        covariates = _covariates(comparison.matching)
        return make_note("gap.found", **_largest_gap(result, request), covariates=covariates, **limits)
    limits["margin"] = comparison.limits.equivalence
    if result.equivalent:
        return make_note("gap.equivalent", covariates=_covariates(comparison.matching), **limits)
    return _no_gap_statement(result, request, comparison, limits)


def _no_gap_statement(
    result: PairwiseResult, request: PairwiseRequest, comparison: GroupComparison, limits: dict[str, Any]
) -> Note:
    """The first of the grounds on which no gap is found."""
    if request.null_range.p >= ALPHA:
        return make_note("gap.range_not_significant", **_null_range(request), p=request.null_range.p, **limits)
    if not any(pair.matched_share for pair in result.pairs):
        matched = [*comparison.matching.exact, *comparison.matching.quantiles]
        return make_note("gap.no_alike_images", covariates=matched, **limits)
    confirmed = {"claim": comparison.limits.claim, "by_imputers": len(request.imputer_gaps) > 0}
    return make_note("gap.pairs_not_significant", **confirmed, **limits)


def _small_groups(comparison: GroupComparison) -> list[dict[str, Any]]:
    """Groups below the minimum for a claim with their n, the smallest first."""
    small = sorted((n, name) for name, n in comparison.group_counts().items() if n < comparison.min_claim)
    return [{"group": name, "n": n} for n, name in small]


def _largest_gap(result: PairwiseResult, request: PairwiseRequest) -> dict[str, Any]:
    """The largest of the gaps that are found, and how many others are."""
    sizes = [abs(pair.adjusted.mean or 0.0) for pair in result.pairs] * np.abs(result.signs)
    index = int(np.argmax(sizes))
    pair, sign = result.pairs[index], int(result.signs[index])
    lower, higher = (pair.first, pair.second) if sign < 0 else (pair.second, pair.first)
    return {
        "lower": lower,
        "higher": higher,
        "size": float(sizes[index]),
        "interval": sorted(sign * end for end in (pair.adjusted.low, pair.adjusted.high) if end is not None),
        "n_other_pairs": int(np.count_nonzero(result.signs)) - 1,
        "null_mean": _null_range(request)["null_mean"],
    }


def _null_range(request: PairwiseRequest) -> dict[str, float]:
    """The range and its null mean in the unit of the statement."""
    span = abs(request.span)
    return {"observed": request.null_range.range / span, "null_mean": request.null_range.null_mean / span}


def _missing_columns(matching: Matching) -> list[str]:
    return [*dict.fromkeys([*matching.missing_matching, *matching.missing_covariates])]


def _covariates(matching: Matching) -> list[str]:
    """Columns that the adjusted gap holds equal."""
    return [*matching.adjust, *([PREDICTED] if matching.holds_prediction else [])]
