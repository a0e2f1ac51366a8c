"""Every two groups of an attribute: raw, matched and adjusted gaps, and which of them are found or absent. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.disparity import estimators, hypothesis_tests
from mavis.analysis.disparity.estimators import NullRange, PairGaps
from mavis.analysis.disparity.matching import Alike
from mavis.analysis.findings import Estimate, PairGap
from mavis.analysis.groups import Rules, estimate
from mavis.analysis.statistics import bootstrap, multiple_testing
from mavis.analysis.statistics.bootstrap import Floats
from mavis.protocol.schema import DisparityRules

AT_ONCE = 2**22
"""Draws of pairs and columns that are held at once."""


@dataclass(frozen=True)
class Asked:
    """A column whose pairs are asked for.

    Attributes:
        subject: what it holds, e.g. "nsrg of saliency".
        unit: (zero, span) of its skill, or None where it has no such scale: then the margins apply to raw scores.
        null: the range of its group means beside what shuffled labels give.
        confirm: ``(I,P)`` raw gaps of the same score by each imputer alone; two of them must agree. Empty where not
            asked.
    """

    subject: str
    unit: tuple[float, float] | None
    null: NullRange
    confirm: Floats

    @property
    def span(self) -> float:
        """What one unit is in raw scores; negative for a score whose lower values are better."""
        return 1.0 if self.unit is None else self.unit[1]


@dataclass(frozen=True)
class Verdict:
    """What is found of one column.

    Attributes:
        pairs: every two groups; p is not corrected for their number yet.
        signs: ``(P,)`` 1 where the first group is found to be higher, −1 where the second is, else 0.
        enough: ``(P,)`` whether both groups have the images that a claim needs.
        known: whether the table has what the groups are to be compared at equal values of.
        absent: every pair is shown to be equivalent, and may be claimed.
    """

    pairs: tuple[PairGap, ...]
    signs: NDArray[np.int64]
    enough: NDArray[np.bool_]
    known: bool
    absent: bool


@dataclass(frozen=True)
class Case:
    """The images with a score whose groups are compared.

    Attributes:
        table: one row per image.
        groups: each image's.
        alike: what is held equal.
        rules: of these images.
        limits: when a gap is found or absent.
        min_claim: images that a group needs for a claim.
    """

    table: pd.DataFrame
    groups: tuple[str, ...]
    alike: Alike
    rules: Rules
    limits: DisparityRules
    min_claim: int

    def counts(self) -> dict[str, int]:
        """Images per group, in the order of their names."""
        names, counts = np.unique(self.groups, return_counts=True)
        return {str(name): int(n) for name, n in zip(names, counts, strict=True)}


def compare(values: Floats, asked: Sequence[Asked], case: Case) -> list[Verdict]:
    """What is found of each column.

    Args:
        values: ``(n,c)`` without NaN.
        asked: what is known of the c columns.
        case: the images.
    """
    weights = bootstrap.bootstrap_weights(case.groups, case.rules.people, case.rules.bootstrap, case.rules.seed)
    stratum, held = case.alike.strata(case.table), case.alike.covariates(case.table)
    number = len(case.counts()) * (len(case.counts()) - 1) // 2
    at_once, found = max(1, AT_ONCE // (case.rules.bootstrap * number)), []
    for start in range(0, len(asked), at_once):
        part = values[:, start : start + at_once]
        raw = estimators.raw_gaps(part, case.groups, weights)
        matched = estimators.matched_gaps(part, case.groups, stratum, weights)
        adjusted = estimators.adjusted_gaps(part, case.groups, held, weights)
        for place, one in enumerate(asked[start : start + at_once]):
            three = (raw.column(place, one.span), matched.column(place, one.span), adjusted.column(place, one.span))
            found.append(_verdict(*three, one, case))
    return found


def corrected(pairs: Sequence[tuple[PairGap, ...]], *, holm: bool) -> list[tuple[PairGap, ...]]:
    """The same pairs with p corrected for the number of all of them.

    Args:
        pairs: of one attribute or of several, of one metric or of several: one family.
        holm: by Holm, else by Benjamini and Hochberg.
    """
    given = [np.nan if pair.p is None else pair.p for some in pairs for pair in some]
    p = iter(multiple_testing.holm(given) if holm else multiple_testing.benjamini_hochberg(given))
    return [
        tuple(pair.model_copy(update={"p": None if np.isnan(one := next(p)) else float(one)}) for pair in some)
        for some in pairs
    ]


def _verdict(raw: PairGaps, matched: PairGaps, adjusted: PairGaps, one: Asked, case: Case) -> Verdict:
    can_match, can_adjust = not case.alike.unmatched, not case.alike.unadjusted
    counts, confidence = case.counts(), case.rules.confidence
    both = np.array([counts[a] + counts[b] for a, b in raw.pairs])
    enough = np.array([min(counts[a], counts[b]) >= case.min_claim for a, b in raw.pairs])
    three = (
        _estimates(raw, both, confidence),
        _estimates(matched, both * matched.retained * can_match, confidence),
        _estimates(adjusted, both * adjusted.retained * can_adjust, confidence),
    )
    p = np.where(can_adjust, hypothesis_tests.p_values(adjusted), np.nan)
    equivalent = hypothesis_tests.equivalent(adjusted, case.limits.equivalence) & can_adjust
    pairs = tuple(
        PairGap(
            first=pair[0],
            second=pair[1],
            raw=three[0][place],
            matched=three[1][place],
            adjusted=three[2][place],
            retained=float(matched.retained[place] * can_match),
            p=None if np.isnan(p[place]) else float(p[place]),
            equivalent=bool(equivalent[place]),
        )
        for place, pair in enumerate(raw.pairs)
    )
    known = can_match and can_adjust
    signs = _signs(matched, adjusted, one, case, enough & known)
    return Verdict(pairs, signs, enough, known, bool(equivalent.all() and enough.all() and known))


def _signs(
    matched: PairGaps, adjusted: PairGaps, one: Asked, case: Case, asked: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """See `Verdict`. Pairs that are too small for a claim are not asked about: they do not make the others harder."""
    signs = np.zeros(len(asked), dtype=np.int64)
    if asked.any():
        both = [replace(gap, gap=gap.gap[asked], draws=gap.draws[:, asked]) for gap in (matched, adjusted)]
        confirm = one.confirm / one.span if len(one.confirm) else adjusted.gap[None]
        signs[asked] = hypothesis_tests.found(
            one.null,
            both[0],
            both[1],
            confirm[:, asked],
            rope=case.limits.claim,
            confidence=case.rules.confidence,
        )
    return signs


def _estimates(some: PairGaps, n: Floats, confidence: float) -> list[Estimate]:
    """Of every pair; nothing where no image is left to compare or where the estimate is unknown."""
    ends = np.stack([some.gap, *bootstrap.percentiles(some.draws, confidence)])
    mean, low, high = np.where(np.isnan(some.gap) | (n == 0), np.nan, ends)
    return [estimate(*one) for one in zip(mean, low, high, np.rint(n), strict=True)]
