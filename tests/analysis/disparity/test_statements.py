"""Gap statements: one code per outcome, with its values."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.disparity.estimators import NullRange
from mavis.analysis.disparity.matching import choose_matching
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, PairwiseResult
from mavis.analysis.disparity.statements import gap_statement
from mavis.analysis.findings import Estimate, PairGap
from mavis.protocol.schema import DisparityRules
from mavis.report import wording

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


LIMITS = {"subject": "nsrg of saliency", "unit": "skill", "too_small": [], "prediction_separates": False}
COVARIATES = ["probability", "imputation_contrast", "predicted"]


def test_a_gap_that_is_found() -> None:
    """The lower and the higher group, the size with its interval, covariates, and the null range in the same unit."""
    statement = gap_statement(verdict(-1), asked(), case())
    assert (statement.code, statement.values) == (
        "gap.found",
        {
            "lower": "cedar*form_a",
            "higher": "rowan",
            "size": 0.08,
            "interval": [0.03, 0.13],
            "n_other_pairs": 0,
            "null_mean": 0.05,
            "covariates": COVARIATES,
            **LIMITS,
        },
    )


OUTCOMES = {
    "absent": (verdict(absent=True), asked(), case(), "gap.equivalent", {"margin": 0.05, "covariates": COVARIATES}),
    "p": (verdict(), asked(0.3), case(), "gap.range_not_significant", {"observed": 0.2, "null_mean": 0.05, "p": 0.3}),
    "apart": (verdict(), asked(), case(), "gap.pairs_not_significant", {"claim": 0.02, "by_imputers": False}),
    "imputers": (verdict(), asked(confirm=2), case(), "gap.pairs_not_significant", {"by_imputers": True}),
    "raw": (verdict(), asked(unit=None), case(), "gap.pairs_not_significant", {"unit": "raw", "margin": 0.05}),
    "alike": (verdict(retained=0), asked(), case(), "gap.no_alike_images", {"margin": 0.05}),
    "few": (verdict(enough=False), asked(), case(3), "gap.too_few_images", {"min_claim": 4}),
    "some few": (verdict(-1), asked(), case(3), "gap.found", {"too_small": [{"group": "cedar*form_a", "n": 3}]}),
    "old run": (verdict(known=False), asked(), case(drop=("probability",)), "gap.missing_columns",
                {"columns": ["probability"]}),
}  # fmt: skip


@pytest.mark.parametrize(("found", "column", "images", "code", "values"), OUTCOMES.values(), ids=OUTCOMES)
def test_why_no_gap_is_found(
    found: PairwiseResult, column: PairwiseRequest, images: GroupComparison, code: str, values: dict[str, Any]
) -> None:
    """Every ground has its code and its numbers, which suffice for its words."""
    statement = gap_statement(found, column, images)
    assert statement.code == code
    assert {name: statement.values[name] for name in values} == values
    assert wording.gap_sentence(statement, "race").endswith(".")


def test_small_groups_are_listed_by_size() -> None:
    """All of them, the smallest first."""
    groups = tuple("abbcccddddeeeee")
    table = pd.DataFrame({name: [0] * 15 for name in ("probability", "correct", "predicted", "imputation_contrast")})
    five = GroupComparison(table, groups, choose_matching(table, groups, "race", CASE_RULES), BOOTSTRAP, CASE_RULES, 9)
    statement = gap_statement(verdict(enough=False), asked(), five)
    assert statement.values["groups"] == [{"group": name, "n": n} for n, name in enumerate("abcde", start=1)]
