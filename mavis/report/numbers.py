"""How numbers are written: three decimals without the leading zero, a dash where there is none."""

import math

from mavis.analysis.findings import Estimate

DASH = "–"


def number(value: float | None) -> str:
    """``.412``, ``-1.250``, ``12.3``, ``256``, ``.000`` for what rounds to it, ``0`` for zero itself; else a dash."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    if abs(value) < 0.0005:
        return ".000"
    return _fixed(value, _decimals(value))


def _decimals(value: float) -> int:
    """Three significant places or so; none for a count."""
    size = abs(value)
    if size >= 999.95 or (size >= 9.9995 and value == round(value)):
        return 0
    return 1 if size >= 9.9995 else 3


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def ends(estimate: Estimate) -> str:
    """``[.380, .444]``, or nothing where there is no interval."""
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return ""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def with_interval(estimate: Estimate) -> str:
    """``.412 [.380, .444]``; the mean alone where there is no interval; a dash without a mean."""
    return f"{number(estimate.mean)} {ends(estimate)}".rstrip()


def plus_minus(estimate: Estimate, *, sign: str = "±") -> str:
    """``.412 ±.032``: short, with the longer arm of the interval, so that it never looks narrower than it is.

    Args:
        estimate: what to write.
        sign: what stands before the arm.
    """
    if estimate.mean is None or estimate.low is None or estimate.high is None:
        return number(estimate.mean)
    arm = max(estimate.high - estimate.mean, estimate.mean - estimate.low)
    return f"{number(estimate.mean)} {sign}{_fixed(arm, _decimals(estimate.mean)) if arm > 0 else 0}"


def count(many: int) -> str:
    """``1 234 567``, with narrow no-break spaces."""
    return f"{many:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """``12.3 s``, ``2 min 51 s`` or ``3 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
