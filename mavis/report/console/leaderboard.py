"""Leaderboard on the console: one table per model, short enough to be read."""

from collections.abc import Iterator, Sequence

from mavis.analysis.findings import ExplainerEntry, Findings, Gate, MetricSummary, ModelFindings
from mavis.report import layout, numbers, wording
from mavis.report.console.terminal import ConsoleColumn, ConsoleTable, Printer, split_columns

MAX_ELIGIBLE = 12
"""Eligible methods in the table where there are too many for all."""

MAX_NAMES = 6
"""Methods named per gate; the rest is counted."""

CATEGORY_HEADERS = {
    "faithfulness": "faithful-\nness",
    "localisation": "locali-\nsation",
    "robustness": "robust-\nness",
    "complexity": "complex-\nity",
}
"""Category names over two lines, since names are longer than numbers."""


def print_leaderboard(printer: Printer, findings: Findings, model: ModelFindings, *, full: bool) -> None:
    """Prints the ranked methods with their scores, and the methods that a gate stopped.

    Args:
        printer: where the text is printed.
        findings: what the run found.
        model: whose explainers are shown.
        full: every method and every metric, however long.
    """
    printer.print_heading(f"Leaderboard · {model.model}")
    entries = layout.entries_by_rank(model)
    if not entries:
        printer.print_text("No explainer was run.")
        return
    shown = entries if full or not layout.has_many_methods(model) else _shortlist(model)
    printer.print_table(_leaderboard_table(findings, model, shown))
    printer.print_text(_legend(findings, model, shown), "dim")
    for line in (*_omission_lines(entries, shown), *_dominance_lines(shown)):
        printer.print_text(line)
    if full:
        _print_all_metrics(printer, model, shown)
    elif layout.skill_categories(model) and (rows := _imputer_table(findings, model)):
        printer.print_table(rows)


def _shortlist(model: ModelFindings) -> list[ExplainerEntry]:
    methods = [entry for entry in layout.entries_by_rank(model) if entry.role == "method"]
    eligible = [entry for entry in methods if entry.eligible]
    scored = [entry for entry in layout.non_methods(model) if entry.overall or not layout.skill_categories(model)]
    return [*(eligible or methods)[:MAX_ELIGIBLE], *scored]


def _leaderboard_table(findings: Findings, model: ModelFindings, entries: Sequence[ExplainerEntry]) -> ConsoleTable:
    longest = max(len(_rank_text(entry)) for entry in entries)
    names = ConsoleColumn("", tuple(_row_name(model, entry, longest) for entry in entries))
    categories = layout.skill_categories(model)
    if categories:
        overall = tuple(numbers.DASH if e.overall is None else numbers.format_plus_minus(e.overall) for e in entries)
        columns = [ConsoleColumn("overall", overall), *(_category_column(name, entries) for name in categories)]
    else:
        columns = [
            _metric_column(column, entries) for column in layout.imputer_columns(model, findings.protocol.primary)
        ]
    last_eligible = sum(entry.eligible for entry in entries) - 1
    last_method = sum(entry.role == "method" for entry in entries) - 1
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    return ConsoleTable(
        "", names, tuple(columns), styles, frozenset({last_eligible, last_method} - {-1, len(entries) - 1})
    )


def _rank_text(entry: ExplainerEntry) -> str:
    return layout.rank_text(entry) if entry.rank is not None else ""


def _row_name(model: ModelFindings, entry: ExplainerEntry, rank_width: int) -> str:
    star = "★" if entry.explainer in model.recommendation.set else " "
    return f"{star} {_rank_text(entry):<{rank_width}} {layout.entry_label(entry)} {layout.gate_marks(entry)}".rstrip()


def _category_column(name: str, entries: Sequence[ExplainerEntry]) -> ConsoleColumn:
    cells = (entry.categories[name].mean if name in entry.categories else None for entry in entries)
    return ConsoleColumn(
        CATEGORY_HEADERS.get(name, name.replace("_", "\n")), tuple(numbers.format_number(value) for value in cells)
    )


def _legend(findings: Findings, model: ModelFindings, entries: Sequence[ExplainerEntry]) -> str:
    by = findings.protocol.primary
    if any(entry.overall is not None for entry in entries):
        by = f"overall score, the weighted mean ({wording.scale_text(model.recommendation)})"
    gates = {gate.id: gate for entry in entries for gate in entry.gates if gate.passed is False}
    failed = "".join(f" · ✗ {gate.id} not passed: {wording.gate_title(gate)}" for gate in gates.values())
    unknown = " · ? not assessed" if any(layout.gates_not_assessed(entry) for entry in entries) else ""
    interval = " [its interval]" if any(entry.rank_low is not None for entry in entries) else ""
    return f"★ recommended set · rank{interval} by {by} · {numbers.DASH} no value{failed}{unknown}"


def _omission_lines(entries: Sequence[ExplainerEntry], shown: Sequence[ExplainerEntry]) -> Iterator[str]:
    """Lines on the methods that the table leaves out: by the gate that stopped them, and their number."""
    left = [entry for entry in entries if entry not in shown and entry.role == "method"]
    stopped: dict[str, tuple[Gate, list[str]]] = {}
    for entry in (entry for entry in left if not entry.missing):
        for gate in entry.gates:
            if not entry.eligible and (gate.passed is False or (gate.passed is None and not gate.impossible)):
                stopped.setdefault(gate.id, (gate, []))[1].append(entry.explainer)
    for name, (gate, names) in sorted(stopped.items()):
        verb = "stops" if gate.passed is False else "not passed or not assessed:"
        yield f"✗ {name} {verb} {wording.abbreviate(names, MAX_NAMES)} ({wording.gate_title(gate)})"
    if left:
        eligible = sum(entry.eligible for entry in left)
        some_are = f", {eligible} of them eligible" if eligible else ""
        yield f"{len(left)} methods are left out here{some_are}. The report has them, and everything; so has --full."


def _dominance_lines(entries: Sequence[ExplainerEntry]) -> Iterator[str]:
    pairs = [f"{entry.explainer} by {entry.dominated_by}" for entry in entries if entry.dominated_by]
    if pairs:
        yield f"Dominated, as good in no category and worse in one: {wording.abbreviate(pairs, MAX_NAMES)}."


def _imputer_table(findings: Findings, model: ModelFindings) -> ConsoleTable | None:
    """The primary metric of the leading methods, over all imputers and by each."""
    primary = findings.protocol.primary
    entries = [*layout.leading_methods(model), *layout.baseline_control(model)]
    columns = layout.imputer_columns(model, primary)
    if not entries or not columns:
        return None
    title = f"{primary} of the first {len(layout.leading_methods(model))} methods, and by imputer"
    names = ConsoleColumn("", tuple(layout.entry_label(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    return ConsoleTable(title, names, tuple(_metric_column(column, entries) for column in columns), styles)


def _print_all_metrics(printer: Printer, model: ModelFindings, entries: Sequence[ExplainerEntry]) -> None:
    """Every metric, neighbouring categories side by side while they fit."""
    names = ConsoleColumn("", tuple(layout.entry_label(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    categories = {
        title: [_metric_column(c, entries) for c in columns]
        for title, columns in layout.columns_by_category(model).items()
    }
    for title, columns in _pack_categories(names, categories, printer.console.width):
        printer.print_table(ConsoleTable(title, names, tuple(columns), styles))


def _metric_column(column: layout.MetricColumn, entries: Sequence[ExplainerEntry]) -> ConsoleColumn:
    return ConsoleColumn(
        _metric_header(column), tuple(_score_text(layout.find_summary(entry, column.metric)) for entry in entries)
    )


def _metric_header(column: layout.MetricColumn) -> str:
    """The metric's name over several lines, since names are longer than numbers."""
    unit = f"\n{column.unit}" if column.unit else ""
    return f"{column.metric.replace('_', chr(10))} {layout.direction_arrow(column)}{unit}"


def _score_text(summary: MetricSummary | None) -> str:
    return numbers.DASH if summary is None else numbers.format_plus_minus(summary.estimate)


def _pack_categories(
    names: ConsoleColumn, categories: dict[str, list[ConsoleColumn]], width: int
) -> Iterator[tuple[str, list[ConsoleColumn]]]:
    titles: list[str] = []
    packed: list[ConsoleColumn] = []
    for category, columns in categories.items():
        together = [*packed, *columns]
        if packed and len(list(split_columns(ConsoleTable("", names, tuple(together)), width))) > 1:
            yield " · ".join(titles), packed
            titles, together = [], columns
        titles, packed = [*titles, category], together
    if packed:
        yield " · ".join(titles), packed
