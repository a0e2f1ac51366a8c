"""Summary that ``mavis run`` prints: model validity, leaderboard, groups, missing results, and the answer."""

from collections.abc import Iterator

from rich.console import Console

from mavis.analysis.findings import AcrossModels, Findings, ModelFindings
from mavis.report import layout, model_summary, numbers, wording
from mavis.report.console.groups import print_groups
from mavis.report.console.leaderboard import print_leaderboard
from mavis.report.console.terminal import Printer

MAX_LINES = 8
"""Lines of failures and of skipped work; further lines are counted."""

MAX_REASONS = 10
"""Sentences of evidence."""

MAX_NAMES = 3
"""Names in such a line."""


def print_summary(console: Console, findings: Findings, *, full: bool = False) -> None:
    """Prints the whole summary; fits any width from 60 columns, with or without colour, on a terminal or not.

    Args:
        console: the console to print to.
        findings: what the run found.
        full: every method and every metric, not only what a first look needs.
    """
    printer = Printer(console)
    printer.print_text(f"MAVIS · {wording.protocol_title(findings)}", "bold")
    printer.print_text(_data_line(findings), "dim")
    for line in wording.status_notices(findings):
        printer.print_text(line, "yellow")
    if not findings.models:
        printer.print_text("No model was evaluated, so there is nothing to rank.", "bold")
    else:
        _print_models(printer, findings)
        for model in findings.models:
            print_leaderboard(printer, findings, model, full=full)
        print_groups(printer, findings, full=full)
    if findings.across_models is not None:
        _print_across_models(printer, findings.across_models)
    _print_missing_results(printer, findings)
    for model in findings.models:
        _print_recommendation(printer, model, full=full)
    _print_cues(printer, findings)


def _data_line(findings: Findings) -> str:
    data = findings.data
    share = f"{findings.protocol.confidence * 100:g} %"
    images = f"{numbers.format_count(data.images)} images of {data.name} · target {data.target}"
    primary = wording.metric_title(findings.protocol.primary)
    return f"{images} · primary metric {primary} · ± is the longer arm of the {share} interval"


def _print_models(printer: Printer, findings: Findings) -> None:
    printer.print_heading("Model validity")
    for model in findings.models:
        printer.print_text(model_summary.model_headline(model), "" if model.validity.better_than_chance else "red")
        for line in model_summary.validity_details(model.validity):
            printer.print_text(line, indent=2)


def _print_cues(printer: Printer, findings: Findings) -> None:
    lines = wording.cue_lines(findings)
    if lines:
        printer.print_heading("Answer · the planted cue")
    for line in lines:
        printer.print_text(line)


def _print_across_models(printer: Printer, across_models: AcrossModels) -> None:
    printer.print_heading(f"Across {across_models.blocks} models")
    for line in wording.across_models_lines(across_models):
        printer.print_text(line)


def _print_missing_results(printer: Printer, findings: Findings) -> None:
    """Prints a few lines on what failed, was skipped or has no value, and counts the other lines."""
    lines = [*_failure_lines(findings), *_skip_lines(findings), *_missing_lines(findings)]
    if not lines:
        return
    printer.print_heading("Missing results")
    for line in lines[:MAX_LINES]:
        printer.print_text(line, indent=2)
    if len(lines) > MAX_LINES:
        printer.print_text(f"and {len(lines) - MAX_LINES} more kinds, listed in the report", "dim", indent=2)


def _failure_lines(findings: Findings) -> Iterator[str]:
    for group in layout.group_failures(findings.failures):
        failure = group.failure
        cell = " / ".join(part for part in (failure.model, failure.explainer, failure.metric) if part)
        times = f"{group.n_failures} times, " if group.n_failures > 1 else ""
        message = failure.message.splitlines()[0] if failure.message else ""
        yield f"✗ failed: {cell} ({failure.stage}; {times}{group.n_images} images): {failure.type}: {message}"


def _skip_lines(findings: Findings) -> Iterator[str]:
    for reason, labels in wording.skips_by_reason(findings):
        yield f"skipped: {wording.abbreviate(labels, MAX_NAMES)}: {reason}"


def _missing_lines(findings: Findings) -> Iterator[str]:
    """Lines on missing values; those with the reason of a skip are left out, since that has its own line."""
    skip_reasons = {reason for reason, _ in wording.skips_by_reason(findings)}
    for model in findings.models:
        for reason, labels in wording.missing_by_reason(model):
            if reason not in skip_reasons:
                yield f"no value: {model.model}: {wording.abbreviate(labels, MAX_NAMES)}: {reason}"


STATUS_STYLES = {"recommended": "bold green", "tied": "bold green", "refused": "bold yellow"}


def _print_recommendation(printer: Printer, model: ModelFindings, *, full: bool) -> None:
    recommendation = model.recommendation
    printer.print_heading(f"Answer · {model.model}")
    printer.print_text(
        f"{wording.recommendation_headline(recommendation)}. {wording.answer_sentence(recommendation)}",
        STATUS_STYLES[recommendation.status],
    )
    for refusal in recommendation.refusals:
        printer.print_text(f"{refusal.code}  {wording.refusal_reason(refusal)}", indent=2)
    if recommendation.refusals:
        printer.print_text(f"What each code means, and what to do: {wording.REFUSAL_CODES_DOC}", "dim", indent=2)
    reasons = wording.answer_reasons(recommendation)
    shown = reasons if full else reasons[:MAX_REASONS]
    for number, reason in enumerate(shown, start=1):
        printer.print_text(f"{number}. {reason}", indent=2)
    if len(shown) < len(reasons):
        printer.print_text(f"and {len(reasons) - len(shown)} more, in the report; --full prints them", "dim", indent=2)
    for sentence in wording.group_lead_sentences(recommendation):
        printer.print_text(f"by group: {sentence}", indent=2)
    for line in wording.not_assessed_lines(recommendation):
        printer.print_text(f"not assessed: {line}", indent=2)
    for head, text in wording.supporting_lines(recommendation):
        printer.print_text(f"{head}: {text}", "dim", indent=2)
