"""What ``mavis run`` prints at the end: is the model worth explaining, who leads, for which groups, what is missing."""

from collections.abc import Iterator

from rich.console import Console

from mavis.analysis.findings import AcrossModels, Findings, ModelFindings
from mavis.report import layout, model_summary, numbers, wording
from mavis.report.console.groups import by_group
from mavis.report.console.leaderboard import leaderboard, some
from mavis.report.console.terminal import Page

MOST_LISTED = 8
"""Lines of failures and of skipped work; the rest is counted."""

MOST_EVIDENCE = 10
"""Sentences of evidence."""

MOST_NAMED = 3
"""Names in such a line."""


def show(console: Console, findings: Findings, *, everything: bool = False) -> None:
    """Prints the whole summary; fits any width from 60 columns, with or without colour, on a terminal or not.

    Args:
        console: where to.
        findings: what the run found.
        everything: every method and every metric, not only what a first look needs.
    """
    page = Page(console)
    page.say(f"MAVIS · {layout.title(findings)}", "bold")
    page.say(_data_line(findings), "dim")
    for line in layout.standing(findings):
        page.say(line, "yellow")
    if not findings.models:
        page.say("No model was evaluated, so there is nothing to rank.", "bold")
    else:
        _models(page, findings)
        for model in findings.models:
            leaderboard(page, findings, model, everything=everything)
        by_group(page, findings, everything=everything)
    if findings.across_models is not None:
        _across(page, findings.across_models)
    _trouble(page, findings)
    for model in findings.models:
        _answer(page, model, everything=everything)


def _data_line(findings: Findings) -> str:
    data = findings.data
    share = f"{findings.protocol.confidence * 100:g} %"
    what = f"{numbers.count(data.images)} images of {data.name} · target {data.target}"
    return f"{what} · ± is the longer arm of the {share} interval"


def _models(page: Page, findings: Findings) -> None:
    page.heading("Is the model worth explaining?")
    for model in findings.models:
        page.say(model_summary.headline(model), "" if model.validity.better_than_chance else "red")
        for line in model_summary.details(model.validity):
            page.say(line, indent=2)


def _across(page: Page, across: AcrossModels) -> None:
    page.heading(f"Across {across.blocks} models")
    for line in wording.across(across):
        page.say(line)


def _trouble(page: Page, findings: Findings) -> None:
    """What failed, was skipped or has no value; a few lines, the rest counted."""
    lines = [*_failure_lines(findings), *_skip_lines(findings), *_missing_lines(findings)]
    if not lines:
        return
    page.heading("Not in the tables")
    for line in lines[:MOST_LISTED]:
        page.say(line, indent=2)
    if len(lines) > MOST_LISTED:
        page.say(f"and {len(lines) - MOST_LISTED} more kinds, listed in the report", "dim", indent=2)


def _failure_lines(findings: Findings) -> Iterator[str]:
    for group in layout.grouped(findings.failures):
        one = group.failure
        where = " / ".join(part for part in (one.model, one.explainer, one.metric) if part)
        times = f"{group.times} times, " if group.times > 1 else ""
        message = one.message.splitlines()[0] if one.message else ""
        yield f"✗ failed: {where} ({one.stage}; {times}{group.images} images): {one.type}: {message}"


def _skip_lines(findings: Findings) -> Iterator[str]:
    for reason, what in layout.skipped(findings):
        yield f"skipped: {some(what, MOST_NAMED)}: {reason}"


def _missing_lines(findings: Findings) -> Iterator[str]:
    said = {reason for reason, _ in layout.skipped(findings)}
    for model in findings.models:
        for reason, what in (one for one in layout.missing(model) if one[0] not in said):
            yield f"no value: {model.model}: {some(what, MOST_NAMED)}: {reason}"


STYLES = {"recommended": "bold green", "tied": "bold green", "refused": "bold yellow"}


def _answer(page: Page, model: ModelFindings, *, everything: bool) -> None:
    found = model.recommendation
    page.heading(f"Answer · {model.model}")
    page.say(f"{wording.headline(found)}. {found.sentence}", STYLES[found.status])
    for refusal in found.refusals:
        page.say(f"{refusal.code}  {refusal.reason}", indent=2)
    if found.refusals:
        page.say(f"What each code means, and what to do: {wording.CODES}", "dim", indent=2)
    shown = found.reasons if everything else found.reasons[:MOST_EVIDENCE]
    for number, reason in enumerate(shown, start=1):
        page.say(f"{number}. {reason}", indent=2)
    if len(shown) < len(found.reasons):
        page.say(f"and {len(found.reasons) - len(shown)} more, in the report; --all prints them", "dim", indent=2)
    for statement in found.by_group:
        page.say(f"by group: {statement}", indent=2)
    for missing in found.not_assessed:
        page.say(f"not assessed: {missing}", indent=2)
    for head, words in wording.beside(found):
        page.say(f"{head}: {words}", "dim", indent=2)
