"""Groups on the console: scores by labelled group, gaps in sentences, and the models side by side."""

from collections.abc import Sequence

from mavis.analysis.findings import Estimate, ExplainerEntry, Findings, Gap, MetricSummary, ModelFindings
from mavis.report import layout, numbers, text_tables, wording
from mavis.report.console.terminal import ConsoleColumn, ConsoleTable, Printer


def print_groups(printer: Printer, findings: Findings, *, full: bool) -> None:
    """Prints the primary metric of the leading methods by the first attribute, and the statements on their gaps.

    Args:
        printer: where the text is printed.
        findings: what the run found.
        full: every explainer, not only those that lead and a control.
    """
    attribute = layout.first_attribute(findings)
    if attribute is None:
        printer.print_text("The data name no groups, so no difference between groups can be shown.")
        return
    printer.print_heading(f"By {layout.display_name(attribute)}, as labelled")
    if len(findings.models) > 1:
        _print_accuracies(printer, findings, attribute)
    for model in findings.models:
        entries = (
            layout.entries_by_rank(model) if full else [*layout.leading_methods(model), *layout.baseline_control(model)]
        )
        _print_scores(printer, findings, model, entries)
        for line in wording.gap_statements(entries, findings.protocol.primary, attribute):
            printer.print_text(line, indent=2)
    if len(findings.models) > 1:
        _print_side_by_side(printer, findings, attribute, full=full)


def _print_accuracies(printer: Printer, findings: Findings, attribute: str) -> None:
    columns = []
    for group, n in findings.data.groups[attribute].items():
        cells = tuple(_accuracy_text(model, attribute, group) for model in findings.models)
        columns.append(ConsoleColumn(f"{layout.group_name(attribute, group)}\nn={n}", cells))
    names = ConsoleColumn("", tuple(model.model for model in findings.models))
    printer.print_table(ConsoleTable("Accuracy", names, tuple(columns)))


def _accuracy_text(model: ModelFindings, attribute: str, group: str) -> str:
    groups = model.validity.groups
    estimate = next((row.estimate for row in groups if (row.attribute, row.group) == (attribute, group)), None)
    return numbers.DASH if estimate is None else numbers.format_number(estimate.mean)


def _print_scores(
    printer: Printer, findings: Findings, model: ModelFindings, entries: Sequence[ExplainerEntry]
) -> None:
    primary = findings.protocol.primary
    attribute = next(iter(findings.data.groups))
    entries = [entry for entry in entries if layout.find_summary(entry, primary)]
    if not entries:
        printer.print_text(f"{model.model}: no explainer has a value for {primary}.")
        return
    scores = [layout.find_summary(entry, primary) for entry in entries]
    gaps = [layout.find_gap(score, attribute) for score in scores]
    columns = []
    for group, n in findings.data.groups[attribute].items():
        values = (layout.find_group_value(score, attribute, group) for score in scores)
        minimum = findings.protocol.min_report
        cells = tuple(text_tables.group_value_text(value, _mean_text, min_images=minimum) for value in values)
        columns.append(ConsoleColumn(f"{layout.group_name(attribute, group)}\nn={n}", cells))
    columns.append(ConsoleColumn("gap\n(null)", tuple(_gap_text(gap) for gap in gaps)))
    columns.append(ConsoleColumn("worst\nlabelled", tuple(_worst_group_text(gap) for gap in gaps)))
    names = ConsoleColumn("", tuple(layout.entry_label(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    printer.print_table(ConsoleTable(f"{primary} · {model.model}", names, tuple(columns), styles))
    printer.print_text(
        f"gap: highest minus lowest mean; null: the gap when labels are shuffled{_claim_note(findings, gaps)}", "dim"
    )


def _claim_note(findings: Findings, gaps: Sequence[Gap | None]) -> str:
    doubtful = any(gap is not None and not gap.n_sufficient for gap in gaps)
    return f"; ? a compared group has fewer than {findings.protocol.min_claim} images" if doubtful else ""


def _mean_text(estimate: Estimate) -> str:
    return numbers.format_number(estimate.mean)


def _gap_text(gap: Gap | None) -> str:
    if gap is None:
        return numbers.DASH
    span, null_mean = numbers.format_number(gap.range.mean), numbers.format_number(gap.null_mean)
    return f"{span} ({null_mean}){'' if gap.n_sufficient else '?'}"


def _worst_group_text(gap: Gap | None) -> str:
    return numbers.DASH if gap is None else layout.group_name(gap.attribute, gap.worst_group)


def _print_side_by_side(printer: Printer, findings: Findings, attribute: str, *, full: bool) -> None:
    """Prints a row per explainer and model, to show whether the answer depends on the model."""
    primary = findings.protocol.primary
    pairs = [(name, model) for name in _explainers_to_compare(findings, full=full) for model in findings.models]
    pairs = [(name, model) for name, model in pairs if _find_summary(model, name, primary)]
    if not pairs:
        return
    scores = [_find_summary(model, name, primary) for name, model in pairs]
    cues = [_find_summary(model, name, layout.CUE_METRIC) for name, model in pairs]
    gaps = [layout.find_gap(score, attribute) for score in scores]
    columns = [
        ConsoleColumn("model", tuple(model.model for _, model in pairs)),
        ConsoleColumn(primary, tuple(_score_text(score) for score in scores)),
        ConsoleColumn("gap\n(null)", tuple(_gap_text(gap) for gap in gaps)),
        ConsoleColumn("worst\nlabelled", tuple(_worst_group_text(gap) for gap in gaps)),
    ]
    if any(cues):
        columns.append(ConsoleColumn("cue\nmass", tuple(_score_text(score) for score in cues)))
    repeats = [name == pairs[index - 1][0] if index else False for index, (name, _) in enumerate(pairs)]
    names = tuple("" if repeat else name for repeat, (name, _) in zip(repeats, pairs, strict=True))
    printer.print_table(ConsoleTable("The models side by side", ConsoleColumn("", names), tuple(columns)))


def _explainers_to_compare(findings: Findings, *, full: bool) -> list[str]:
    """All explainers; of many, those that lead on any model and those that are not methods."""
    if full or not any(layout.has_many_methods(model) for model in findings.models):
        return layout.explainer_names(findings.models)
    leading = {
        e.explainer for model in findings.models for e in (*layout.leading_methods(model), *layout.non_methods(model))
    }
    return [name for name in layout.explainer_names(findings.models) if name in leading]


def _find_summary(model: ModelFindings, explainer: str, metric: str) -> MetricSummary | None:
    entry = layout.find_entry(model, explainer)
    return None if entry is None else layout.find_summary(entry, metric)


def _score_text(summary: MetricSummary | None) -> str:
    return numbers.DASH if summary is None else numbers.format_plus_minus(summary.estimate)
