"""Sentences on gaps: one per outcome, with the ground."""

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.disparity.estimators import NullRange
from mavis.analysis.disparity.matching import choose_matching
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, PairwiseResult
from mavis.analysis.disparity.wording import gap_statement, group_label
from mavis.analysis.findings import Estimate, PairGap
from mavis.protocol.schema import DisparityRules

from ...tables import BOOTSTRAP

CASE_RULES = DisparityRules(adjust=("probability", "imputation_contrast"))


def case(n: int = 4, drop: tuple[str, ...] = ()) -> GroupComparison:
    """Two groups of so many images that differ in nothing."""
    columns = ("probability", "correct", "predicted", "label", "imputation_contrast")
    table = pd.DataFrame({name: [0] * (n + 4) for name in columns}).drop(columns=list(drop))
    groups = ("cedar*form_a",) * n + ("rowan",) * 4
    return GroupComparison(table, groups, choose_matching(table, groups, "race", CASE_RULES), BOOTSTRAP, CASE_RULES, 4)


def verdict(
    sign: int = 0, *, enough: bool = True, known: bool = True, absent: bool = False, retained: float = 1.0
) -> PairwiseResult:
    """Of one pair whose adjusted gap is −.08 [−.13, −.03]."""
    gap = Estimate(mean=-0.08, low=-0.13, high=-0.03, n=8)
    pair = PairGap(
        first="cedar*form_a",
        second="rowan",
        raw=gap,
        matched=gap,
        adjusted=gap,
        matched_share=retained,
        p=0.01,
        equivalent=False,
    )
    return PairwiseResult((pair,), np.array([sign]), np.array([enough]), known, absent)


def asked(p: float = 0.01, unit: tuple[float, float] | None = (0.0, 0.5), confirm: int = 0) -> PairwiseRequest:
    """A column whose raw range is .1 beside a null of .025."""
    return PairwiseRequest("nsrg of saliency", unit, NullRange(0.1, 0.025, 0.075, p), np.zeros((confirm, 1)))


def test_a_gap_that_is_found() -> None:
    """Who is lower than whom, by how much, in which unit, at what equal, and what chance gives in that unit."""
    assert gap_statement(verdict(-1), asked(), case()) == (
        "nsrg of saliency, in skill units, is lower for images labelled cedar × form_a than for images labelled rowan "
        "by 0.080 [0.030, 0.130] at equal probability, imputation contrast and predicted class; shuffled labels give a "
        "range of 0.050."
    )


OUTCOMES = {
    "absent": (verdict(absent=True), asked(), case(), "no material gap: every two groups are shown to lie within 0.05"),
    "p": (verdict(), asked(0.3), case(), "is 0.200, and shuffled labels give 0.050 (p = 0.30); nor"),
    "apart": (verdict(), asked(), case(), "two groups are shown to differ in nsrg of saliency by more than 0.02"),
    "imputers": (verdict(), asked(confirm=2), case(), "matched and adjusted and by two imputers; nor"),
    "raw": (verdict(), asked(unit=None), case(), "nor that every gap lies within 0.05 in raw scores."),
    "alike": (verdict(retained=0), asked(), case(), "no two groups have images alike in predicted class, correct and"),
    "few": (verdict(enough=False), asked(), case(3), "too few images for a claim: cedar × form_a (3); two groups"),
    "some few": (verdict(-1), asked(), case(3), "0.050; too few images for a claim: cedar × form_a (3)."),
    "old run": (verdict(known=False), asked(), case(drop=("probability",)), "has no probability for every image"),
}  # fmt: skip


@pytest.mark.parametrize(("found", "column", "images", "said"), OUTCOMES.values(), ids=OUTCOMES)
def test_why_no_gap_is_found(
    found: PairwiseResult, column: PairwiseRequest, images: GroupComparison, said: str
) -> None:
    """Every ground has its words and its numbers."""
    assert said in gap_statement(found, column, images)


def test_many_small_groups_are_counted() -> None:
    """Three are named, the smallest first."""
    groups = tuple("abbcccddddeeeee")
    table = pd.DataFrame({name: [0] * 15 for name in ("probability", "correct", "predicted", "imputation_contrast")})
    five = GroupComparison(table, groups, choose_matching(table, groups, "race", CASE_RULES), BOOTSTRAP, CASE_RULES, 9)
    said = gap_statement(verdict(enough=False), asked(), five)
    assert said == "too few images for a claim: a (1), b (2), c (3) and 2 more; two groups need 9 each."


def test_intersections_are_spoken() -> None:
    """With a × between their parts."""
    assert group_label("cedar*form_a") == "cedar × form_a"
