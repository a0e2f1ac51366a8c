"""What may be said of the gaps between groups, in a sentence. Pure."""

from collections.abc import Sequence

import numpy as np

from mavis.analysis.disparity.hypothesis_tests import ALPHA
from mavis.analysis.disparity.matching import PREDICTED, Alike
from mavis.analysis.disparity.pairwise import Asked, Case, Verdict

NAMED = 3
"""So many groups that are too small for a claim are named in a sentence; the tables have them all."""


def statement(verdict: Verdict, one: Asked, case: Case) -> str:
    """One plain sentence on one column: the gap that is found, or why none is.

    Args:
        verdict: what is found.
        one: the column.
        case: the images.
    """
    if not verdict.known:
        return _unknown(case.alike)
    small = _small(case)
    if not verdict.enough.any():
        return f"too few images for a claim: {small}; two groups need {case.min_claim} each."
    if verdict.signs.any():
        said = _difference(verdict, one, case)
    elif verdict.absent:
        said = (
            f"{one.subject} has no material gap: every two groups are shown to lie within {_margin(one, case)} at "
            f"equal {_held(case.alike)}"
        )
    else:
        said = f"no gap is shown: {_why_not(verdict, one, case)}; nor that every gap lies within {_margin(one, case)}"
    unheld = "; the predicted class is not held equal: it tells these groups apart" if case.alike.apart else ""
    left_out = f"; too few images for a claim: {small}" if small else ""
    return f"{said}{unheld}{left_out}."


def spoken(group: str) -> str:
    """A group of an intersection with a × between its parts."""
    return group.replace("*", " × ")


def _small(case: Case) -> str:
    """The smallest groups below the minimum for a claim with their n, and how many more there are."""
    small = sorted((n, name) for name, n in case.counts().items() if n < case.min_claim)
    named = [f"{spoken(name)} ({n})" for n, name in small[:NAMED]]
    return ", ".join(named) + (f" and {len(small) - NAMED} more" if len(small) > NAMED else "")


def _difference(verdict: Verdict, one: Asked, case: Case) -> str:
    """The largest of the gaps that are found."""
    sizes = [abs(pair.adjusted.mean or 0.0) for pair in verdict.pairs] * np.abs(verdict.signs)
    place = int(np.argmax(sizes))
    pair, sign = verdict.pairs[place], int(verdict.signs[place])
    lower, higher = (pair.first, pair.second) if sign < 0 else (pair.second, pair.first)
    ends = sorted(sign * end for end in (pair.adjusted.low, pair.adjusted.high) if end is not None)
    others = int(np.count_nonzero(verdict.signs)) - 1
    more = f"; {others} other pair{'s' if others > 1 else ''} of groups differ{'' if others > 1 else 's'} too"
    return (
        f"{one.subject}, in {'skill units' if one.unit else 'raw scores'}, is lower for images labelled "
        f"{spoken(lower)} than for images labelled {spoken(higher)} by {sizes[place]:.3f} "
        f"[{', '.join(f'{end:.3f}' for end in ends)}] at equal {_held(case.alike)}; shuffled labels give a range of "
        f"{one.null.null_mean / abs(one.span):.3f}{more if others else ''}"
    )


def _why_not(verdict: Verdict, one: Asked, case: Case) -> str:
    """The first of the grounds on which nothing is found."""
    if one.null.p >= ALPHA:
        return (
            f"the range of {one.subject} is {one.null.range / abs(one.span):.3f}, and shuffled labels give "
            f"{one.null.null_mean / abs(one.span):.3f} (p = {one.null.p:.2f})"
        )
    if not any(pair.retained for pair in verdict.pairs):
        return f"no two groups have images alike in {_words([*case.alike.exact, *case.alike.quantiles])}"
    return (
        f"no two groups are shown to differ in {one.subject} by more than {case.limits.claim:g}, matched and adjusted"
        f"{' and by two imputers' if len(one.confirm) else ''}"
    )


def _unknown(alike: Alike) -> str:
    lacking = dict.fromkeys([*alike.unmatched, *alike.unadjusted])
    return (
        f"gaps at equal covariates are not known: the run's table of images has no {_words(list(lacking))} for every "
        f"image; repeat the run in another folder to have them."
    )


def _margin(one: Asked, case: Case) -> str:
    return f"{case.limits.equivalence:g}{'' if one.unit else ' in raw scores'}"


def _held(alike: Alike) -> str:
    """What the adjusted gap is equal in."""
    return _words([*alike.adjust, *([PREDICTED] if alike.by_prediction else [])]) or "nothing"


def _words(names: Sequence[str]) -> str:
    """Names as a list in words, underscores as spaces."""
    said = [{PREDICTED: "predicted class"}.get(name, name.replace("_", " ")) for name in names]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
