"""Number formats: three decimals without the leading zero, a dash for a missing number."""

import math

from mavis.analysis.findings import Estimate

DASH = "–"


def format_number(value: float | None) -> str:
    """``.412``, ``-1.250``, ``12.3``, ``256``, ``.000`` for what rounds to it, ``0`` for zero itself; else a dash."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return ".000"
    return _to_fixed_point(value, _n_decimals(value))


def _n_decimals(value: float) -> int:
    """Three significant places or so; none for a count."""
    size = abs(value)
    if size >= 999.95 or (size >= 9.9995 and value == round(value)):
        return 0
    return 1 if size >= 9.9995 else 3


def _to_fixed_point(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def format_interval(estimate: Estimate) -> str:
    """``[.380, .444]``, or nothing where there is no interval."""
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{format_number(estimate.low)}, {format_number(estimate.high)}]"


def format_estimate(estimate: Estimate) -> str:
    """``.412 [.380, .444]``; the mean alone where there is no interval; a dash without a mean."""
    return f"{format_number(estimate.mean)} {format_interval(estimate)}".rstrip()


def format_plus_minus(estimate: Estimate, *, sign: str = "±") -> str:
    """``.412 ±.032``: short, with the longer arm of the interval, so that it never looks narrower than it is.

    Args:
        estimate: what to write.
        sign: what stands before the arm.
    """
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return format_number(estimate.mean)
    arm = max(estimate.high - estimate.mean, estimate.mean - estimate.low)
    return f"{format_number(estimate.mean)} {sign}{_to_fixed_point(arm, _n_decimals(estimate.mean)) if arm > 0 else 0}"


def format_count(value: int) -> str:
    """``1 234 567``, with narrow no-break spaces."""
    return f"{value:,}".replace(",", "\u202f")


def format_duration(seconds: float) -> str:
    """``12.3 s``, ``2 min 51 s`` or ``3 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, remainder = divmod(round(seconds), 60)
    return f"{minutes} min {remainder:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
