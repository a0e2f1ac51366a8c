"""How numbers are written."""

import pytest

from mavis.analysis.findings import Estimate
from mavis.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (float("nan"), "–"), (0.0, "0"), (0.4124, ".412"), (-0.4126, "-.413"), (0.9996, "1.000"),
        (1.25, "1.250"), (9.9999, "10.0"), (12.34, "12.3"), (256.0, "256"), (999.96, "1000"), (1812.4, "1812"),
        (0.00002, ".000"), (0.0005, ".001"), (-10.5, "-10.5"),
    ],
)  # fmt: skip
def test_number(value, text):
    """Numbers have three decimals or three places, and what does not exist is a dash."""
    assert numbers.format_number(value) == text


def test_plus_minus_is_never_narrower_than_the_interval():
    """The arm is the longer one, with the mean's decimals."""
    assert numbers.format_plus_minus(Estimate(mean=0.4, low=0.35, high=0.42, n=9)) == ".400 ±.050"
    assert numbers.format_plus_minus(Estimate(mean=1800.0, low=1790.0, high=1823.4, n=9)) == "1800 ±23"
    assert numbers.format_plus_minus(Estimate(mean=256.0, low=256.0, high=256.0, n=9)) == "256 ±0"


def test_no_interval_without_ends():
    """Without an interval the mean stands alone; without a mean there is a dash."""
    assert numbers.format_estimate(Estimate(mean=0.4, low=None, high=None, n=2)) == ".400"
    assert numbers.format_estimate(Estimate(mean=0.4, low=0.3, high=0.5, n=2)) == ".400 [.300, .500]"
    assert numbers.format_estimate(Estimate(mean=None, low=None, high=None, n=0)) == "–"


@pytest.mark.parametrize(("seconds", "text"), [(12.34, "12.3 s"), (171.4, "2 min 51 s"), (11100, "3 h 05 min")])
def test_duration(seconds, text):
    """Durations use the unit that fits."""
    assert numbers.format_duration(seconds) == text
