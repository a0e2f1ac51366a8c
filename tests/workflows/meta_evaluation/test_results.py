"""The typed result: verdicts, rounding, and the reasons of demotions."""

import math

import pytest

from mavis.workflows.meta_evaluation import results


def test_demotions_name_the_test_and_its_numbers() -> None:
    """A failure of a required test of a deciding metric demotes it; a report, or another metric's, does not."""
    rows = (
        results.criterion_check("M7", "t", "nsrg", "faces", "tau", value=0.5, criterion="≥ 0.7", passed=False),
        results.criterion_check("M7", "t", "gini", "faces", "tau", value=0.9, criterion="≥ 0.7", passed=True),
        results.criterion_check("M9", "t", None, "faces", "share", value=0.5, criterion="≤ 0.08", passed=False),
        results.criterion_check("M13", "t", "deletion", "faces", "gap", value=-1, criterion="> 0", passed=False),
        results.descriptive_check("M4", "t", "gini", "faces", "share", value=0.1),
    )
    assert results.demotion_reasons(rows, ("nsrg", "gini")) == {"nsrg": "M7 on faces: tau 0.5, asked ≥ 0.7"}


@pytest.mark.parametrize(
    ("value", "stored"), [(1 / 3, 0.333333), (123456789.0, 123457000.0), (math.nan, None), (-math.inf, None)]
)
def test_values_are_stored_with_six_digits_or_null(value: float, stored: float | None) -> None:
    """JSON has neither NaN nor infinity."""
    assert results.finite_or_none(value) == stored
    assert results.finite_values({"x": value}) == {"x": stored}


def test_only_failed_checks_have_failed() -> None:
    """A reported figure has no criterion to fail."""
    failed = results.criterion_check("M1", "t", "nsrg", "s", "gap", value=-1, criterion="> 0", passed=False)
    assert failed.has_failed
    assert not results.descriptive_check("M1", "t", "nsrg", "s", "gap", value=-1).has_failed
