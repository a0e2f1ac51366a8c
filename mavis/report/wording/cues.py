"""The planted cue in words: which of two models relies on it, and which methods show that."""

from collections.abc import Sequence
from itertools import groupby

from mavis.analysis.findings import CueDetection, Estimate, Findings
from mavis.report import numbers
from mavis.report.wording.phrases import abbreviate, count_noun

MAX_NAMES = 6
"""Methods that are named one by one."""


def cue_lines(findings: Findings) -> list[str]:
    """A line per pair of models on their reliance, and for a shown difference one on the methods; none without cue."""
    roles = {entry.explainer: entry.role for model in findings.models for entry in model.explainers}
    lines = []
    for _, rows in groupby(findings.twins, key=lambda row: (row.leaning, row.other)):
        pair = [row for row in rows if roles.get(row.explainer) == "method"]
        lines += [_reliance_line(row) for row in pair[:1]]
        if pair and _is_above(pair[0].more_reliance, 0.0):
            lines += _method_lines(pair)
    return lines


def _reliance_line(row: CueDetection) -> str:
    """Difference between accuracy with an agreeing and a disagreeing cue, of both models."""
    first, second = map(numbers.format_number, row.reliance)
    facts = (
        f"accuracy where the cue agrees with the label minus where it disagrees is {first} for {row.leaning} and "
        f"{second} for {row.other}, difference {_interval(row.more_reliance)}"
    )
    if _is_above(row.more_reliance, 0.0):
        return f"{row.leaning} relies on the planted cue more than {row.other}: {facts}."
    return f"Neither of {row.leaning} and {row.other} is shown to rely on the planted cue more: {facts}."


def _method_lines(rows: Sequence[CueDetection]) -> list[str]:
    """The methods that show the reliance, those that do not, and those that point the other way."""
    n_images = count_noun(rows[0].higher.n, "image")
    showing = [row.explainer for row in rows if _is_above(row.higher, 0.5)]
    contrary = [row.explainer for row in rows if row.higher.high is not None and row.higher.high < 0.5]
    silent = [row.explainer for row in rows if row.explainer not in {*showing, *contrary}]
    where = f"On the {n_images} whose cue speaks for the class explained on {rows[0].leaning}"
    lines = [f"{where}, more mass lies on the cue than for {rows[0].other} by {_names(showing)}."] if showing else []
    if silent:
        lines.append(f"{'Not shown' if showing else f'{where}, not shown'} by {_names(silent)}.")
    if contrary:
        lines.append(f"Shown the wrong way round by {_names(contrary)}: less mass on the cue.")
    return lines


def _names(names: Sequence[str]) -> str:
    return abbreviate(names, MAX_NAMES)


def _is_above(estimate: Estimate, value: float) -> bool:
    return estimate.low is not None and estimate.low > value


def _interval(estimate: Estimate) -> str:
    return numbers.format_number(estimate.mean) + (
        ""
        if estimate.low is None or estimate.high is None
        else f" [{numbers.format_number(estimate.low)}, {numbers.format_number(estimate.high)}]"
    )
