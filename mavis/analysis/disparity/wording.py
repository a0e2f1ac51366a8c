"""What may be said of the gaps between groups, in a sentence. Pure."""

from collections.abc import Sequence

import numpy as np

from mavis.analysis.disparity.hypothesis_tests import ALPHA
from mavis.analysis.disparity.matching import PREDICTED, Matching
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, PairwiseResult

MAX_NAMED_GROUPS = 3
"""So many groups that are too small for a claim are named in a sentence; the tables have them all."""


def gap_statement(result: PairwiseResult, request: PairwiseRequest, comparison: GroupComparison) -> str:
    """One plain sentence on one column: the gap that is found, or why none is.

    Args:
        result: what is found.
        request: the column.
        comparison: the images.
    """
    if not result.has_columns:
        return _missing_columns_sentence(comparison.matching)
    small = _small_groups(comparison)
    if not result.n_sufficient.any():
        return f"too few images for a claim: {small}; two groups need {comparison.min_claim} each."
    if result.signs.any():
        said = _largest_gap_text(result, request, comparison)
    elif result.equivalent:
        said = (
            f"{request.subject} has no material gap: every two groups are shown to lie within "
            f"{_margin_text(request, comparison)} at "
            f"equal {_covariates_text(comparison.matching)}"
        )
    else:
        reason, margin = _not_significant_text(result, request, comparison), _margin_text(request, comparison)
        said = f"no gap is shown: {reason}; nor that every gap lies within {margin}"
    unheld = (
        "; the predicted class is not held equal: it tells these groups apart"
        if comparison.matching.prediction_separates
        else ""
    )
    left_out = f"; too few images for a claim: {small}" if small else ""
    return f"{said}{unheld}{left_out}."


def group_label(group: str) -> str:
    """A group of an intersection with a × between its parts."""
    return group.replace("*", " × ")


def _small_groups(comparison: GroupComparison) -> str:
    """The smallest groups below the minimum for a claim with their n, and how many more there are."""
    small = sorted((n, name) for name, n in comparison.group_counts().items() if n < comparison.min_claim)
    named = [f"{group_label(name)} ({n})" for n, name in small[:MAX_NAMED_GROUPS]]
    return ", ".join(named) + (f" and {len(small) - MAX_NAMED_GROUPS} more" if len(small) > MAX_NAMED_GROUPS else "")


def _largest_gap_text(result: PairwiseResult, request: PairwiseRequest, comparison: GroupComparison) -> str:
    """The largest of the gaps that are found."""
    sizes = [abs(pair.adjusted.mean or 0.0) for pair in result.pairs] * np.abs(result.signs)
    place = int(np.argmax(sizes))
    pair, sign = result.pairs[place], int(result.signs[place])
    lower, higher = (pair.first, pair.second) if sign < 0 else (pair.second, pair.first)
    ends = sorted(sign * end for end in (pair.adjusted.low, pair.adjusted.high) if end is not None)
    others = int(np.count_nonzero(result.signs)) - 1
    more = f"; {others} other pair{'s' if others > 1 else ''} of groups differ{'' if others > 1 else 's'} too"
    return (
        f"{request.subject}, in {'skill units' if request.unit else 'raw scores'}, is lower for images labelled "
        f"{group_label(lower)} than for images labelled {group_label(higher)} by {sizes[place]:.3f} "
        f"[{', '.join(f'{end:.3f}' for end in ends)}] at equal {_covariates_text(comparison.matching)}; shuffled "
        "labels give a range of "
        f"{request.null_range.null_mean / abs(request.span):.3f}{more if others else ''}"
    )


def _not_significant_text(result: PairwiseResult, request: PairwiseRequest, comparison: GroupComparison) -> str:
    """The first of the grounds on which nothing is found."""
    if request.null_range.p >= ALPHA:
        return (
            f"the range of {request.subject} is {request.null_range.range / abs(request.span):.3f}, and shuffled "
            "labels give "
            f"{request.null_range.null_mean / abs(request.span):.3f} (p = {request.null_range.p:.2f})"
        )
    if not any(pair.matched_share for pair in result.pairs):
        covariates = _join_names([*comparison.matching.exact, *comparison.matching.quantiles])
        return f"no two groups have images alike in {covariates}"
    return (
        f"no two groups are shown to differ in {request.subject} by more than {comparison.limits.claim:g}, matched "
        "and adjusted"
        f"{' and by two imputers' if len(request.imputer_gaps) else ''}"
    )


def _missing_columns_sentence(matching: Matching) -> str:
    lacking = dict.fromkeys([*matching.missing_matching, *matching.missing_covariates])
    return (
        f"gaps at equal covariates are not known: the run's table of images has no {_join_names(list(lacking))} "
        "for every "
        f"image; repeat the run in another folder to have them."
    )


def _margin_text(request: PairwiseRequest, comparison: GroupComparison) -> str:
    return f"{comparison.limits.equivalence:g}{'' if request.unit else ' in raw scores'}"


def _covariates_text(matching: Matching) -> str:
    """What the adjusted gap is equal in."""
    return _join_names([*matching.adjust, *([PREDICTED] if matching.holds_prediction else [])]) or "nothing"


def _join_names(names: Sequence[str]) -> str:
    """Names as a list in words, underscores as spaces."""
    said = [{PREDICTED: "predicted class"}.get(name, name.replace("_", " ")) for name in names]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
