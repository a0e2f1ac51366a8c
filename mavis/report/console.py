"""What ``mavis run`` prints at the end: is the model worth explaining, who leads, for which groups, what is missing."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mavis.findings import Estimate, ExplainerEntry, Findings, Gap, MetricSummary, ModelFindings, Recommendation
from mavis.report import layout, numbers, tables

MOST_LISTED = 8
"""Lines of failures and of skipped work; the rest is counted."""

ASCII = str.maketrans(
    {"★": "*", "✗": "x", "↑": "^", "↓": "v", "–": "-", "−": "-", "±": "+", "×": "x", "·": "-", "≥": ">", "\u202f": " "}
)
ASCII_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
GUTTER = 2
"""Blank columns between two columns: one of padding, one of the box."""


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Attributes:
        head: its header; breaks at spaces only.
        cells: one text per row.
    """

    head: str
    cells: tuple[str, ...]

    def width(self) -> int:
        """Characters that no line break may divide."""
        return max(len(word) for word in (*self.head.split("\n"), *self.cells))


@dataclass(frozen=True)
class Rows:
    """A printed table, before it is cut to the width of the console.

    Attributes:
        title: what it shows; may be empty.
        names: the first column, repeated where the table is cut.
        columns: the rest.
        styles: a style per row.
        breaks: indices of rows with a line under them.
    """

    title: str
    names: Column
    columns: tuple[Column, ...]
    styles: tuple[str, ...] = ()
    breaks: frozenset[int] = field(default_factory=frozenset)


def show(console: Console, findings: Findings) -> None:
    """Prints the whole summary; fits any width from 60 columns, with or without colour, on a terminal or not.

    Args:
        console: where to.
        findings: what the run found.
    """
    page = _Page(console)
    page.say(f"MAVIS · {layout.title(findings)}", "bold")
    page.say(_data_line(findings), "dim")
    for line in layout.standing(findings):
        page.say(line, "yellow")
    if not findings.models:
        page.say("No model was evaluated, so there is nothing to rank.", "bold")
    else:
        _models(page, findings)
        for model in findings.models:
            _leaderboard(page, findings, model)
        _groups(page, findings)
    _trouble(page, findings)
    for model in findings.models:
        _answer(page, model)


class _Page:
    """A console that is told texts and tables, never markup: names are untrusted."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ascii = console.options.ascii_only

    def plain(self, text: str) -> str:
        text = CONTROL.sub(" ", text)
        if not self.ascii:
            return text
        return text.translate(ASCII).encode("ascii", "replace").decode("ascii")

    def say(self, text: str, style: str = "", *, indent: int = 0) -> None:
        words = Text(self.plain(text), style=style)
        self.console.print(Padding(words, (0, 0, 0, indent), expand=False) if indent else words)

    def heading(self, text: str) -> None:
        self.console.print()
        line = "-" if self.ascii else "─"
        self.console.print(Rule(Text(self.plain(text), style="bold"), align="left", characters=line, style="dim"))

    def table(self, rows: Rows) -> None:
        """As many columns as fit beside the names, then the others below."""
        for part, columns in enumerate(_chunks(rows, self.console.width)):
            title = f"{rows.title} (continued)" if part and rows.title else rows.title
            self.console.print()
            if title:
                self.say(title, "bold")
            self.console.print(self._table(rows, columns))

    def _table(self, rows: Rows, columns: Sequence[Column]) -> Table:
        box = ASCII_HEAD if self.ascii else SIMPLE_HEAD
        table = Table(box=box, padding=(0, GUTTER - 1, 0, 0), show_edge=False)
        table.add_column(Text(self.plain(rows.names.head)), overflow="fold")
        for column in columns:
            head = Text(self.plain(column.head), justify="right")
            table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
        for index, name in enumerate(rows.names.cells):
            style = rows.styles[index] if rows.styles else ""
            cells = [Text(self.plain(column.cells[index]), style=style) for column in columns]
            table.add_row(Text(self.plain(name), style=style), *cells, end_section=index in rows.breaks)
        return table


def _chunks(rows: Rows, width: int) -> Iterator[list[Column]]:
    """Columns by the tableful; every tableful has at least one."""
    room = width - min(rows.names.width(), width // 2) - GUTTER
    chunk: list[Column] = []
    for column in rows.columns:
        used = sum(one.width() + GUTTER for one in (*chunk, column))
        if chunk and used > room:
            yield chunk
            chunk = []
        chunk.append(column)
    yield chunk


def _data_line(findings: Findings) -> str:
    data = findings.data
    share = f"{findings.protocol.confidence * 100:g} %"
    what = f"{numbers.count(data.images)} images of {data.name} · target {data.target}"
    return f"{what} · ± is the longer arm of the {share} interval"


def _models(page: _Page, findings: Findings) -> None:
    page.heading("Is the model worth explaining?")
    for model in findings.models:
        page.say(_validity_line(model), "" if model.validity.better_than_chance else "red")


def _validity_line(model: ModelFindings) -> str:
    found = model.validity
    verdict = "better than chance" if found.better_than_chance else "✗ not shown to be better than chance"
    parts = [
        f"{model.model}: accuracy {numbers.plus_minus(found.accuracy)}",
        f"balanced {numbers.plus_minus(found.balanced_accuracy)}, chance {numbers.number(found.chance)}: {verdict}",
    ]
    if found.weak_groups:
        parts.append(f"weak on images labelled {', '.join(layout.spoken(group) for group in found.weak_groups)}")
    parts.extend(found.remarks)
    if found.cue:
        parts.append("cue " + ", ".join(f"{which} {numbers.number(value)}" for which, value in found.cue.items()))
    return " · ".join(part.replace(" ±", "±") for part in parts)


def _leaderboard(page: _Page, findings: Findings, model: ModelFindings) -> None:
    page.heading(f"Leaderboard · {model.model}")
    entries = layout.ordered(model)
    if not entries:
        page.say("No explainer was run.")
        return
    names = Column("", tuple(_name(model, entry) for entry in entries))
    methods = sum(entry.role == "method" for entry in entries)
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    every = _metric_columns(entries, model)
    shown = {category: _first(names, columns, page.console.width) for category, columns in every.items()}
    for title, columns in _packed(names, shown, page.console.width):
        page.table(Rows(title, names, tuple(columns), styles, frozenset({methods - 1})))
    page.say(_key(findings, entries), "dim")
    left = [c.metric for name, columns in layout.categories(model).items() for c in columns[len(shown[name]) :]]
    if left:
        page.say(f"In the report also: {', '.join(left)}.", "dim")


def _first(names: Column, columns: list[Column], width: int) -> list[Column]:
    """The columns that fit one table; the others are in the report."""
    return next(_chunks(Rows("", names, tuple(columns)), width))


def _name(model: ModelFindings, entry: ExplainerEntry) -> str:
    star = "★" if entry.explainer in model.recommendation.set else " "
    rank = f"{entry.rank:g}" if entry.rank is not None else ""
    failed = layout.failed_gates(entry)
    return f"{star} {rank:<3} {layout.name(entry)}{f' ✗ {chr(32).join(failed)}' if failed else ''}"


def _key(findings: Findings, entries: Sequence[ExplainerEntry]) -> str:
    titles = {gate.id: gate.title for entry in entries for gate in entry.gates if gate.passed is False}
    failed = "".join(f" · ✗ {name} not passed: {title}" for name, title in titles.items())
    return f"★ recommended set · number: rank by {findings.protocol.primary} · {numbers.DASH} no value{failed}"


def _metric_columns(entries: Sequence[ExplainerEntry], model: ModelFindings) -> dict[str, list[Column]]:
    return {
        category: [
            Column(_head(column), tuple(_score(layout.summary(entry, column.metric)) for entry in entries))
            for column in columns
        ]
        for category, columns in layout.categories(model).items()
    }


def _head(column: layout.Column) -> str:
    """The metric's name over several lines, since names are longer than numbers."""
    unit = f"\n{column.unit}" if column.unit else ""
    return f"{column.metric.replace('_', chr(10))} {layout.arrow(column)}{unit}"


def _score(one: MetricSummary | None) -> str:
    return numbers.DASH if one is None else numbers.plus_minus(one.estimate)


def _packed(names: Column, categories: dict[str, list[Column]], width: int) -> Iterator[tuple[str, list[Column]]]:
    """Neighbouring categories side by side while they fit."""
    titles: list[str] = []
    packed: list[Column] = []
    for category, columns in categories.items():
        together = [*packed, *columns]
        if packed and len(list(_chunks(Rows("", names, tuple(together)), width))) > 1:
            yield " · ".join(titles), packed
            titles, together = [], columns
        titles, packed = [*titles, category], together
    if packed:
        yield " · ".join(titles), packed


def _groups(page: _Page, findings: Findings) -> None:
    attribute = layout.first_attribute(findings)
    if attribute is None:
        page.say("The data name no groups, so no difference between groups can be shown.")
        return
    page.heading(f"By {layout.spoken(attribute)}, as labelled")
    if len(findings.models) > 1:
        _models_by_group(page, findings, attribute)
    for model in findings.models:
        _scores_by_group(page, findings, model, attribute)
    if len(findings.models) > 1:
        _side_by_side(page, findings, attribute)


def _models_by_group(page: _Page, findings: Findings, attribute: str) -> None:
    columns = []
    for group, n in findings.data.groups[attribute].items():
        cells = tuple(_accuracy(model, attribute, group) for model in findings.models)
        columns.append(Column(f"{layout.spoken(group)}\nn={n}", cells))
    names = Column("", tuple(model.model for model in findings.models))
    page.table(Rows("Accuracy", names, tuple(columns)))


def _accuracy(model: ModelFindings, attribute: str, group: str) -> str:
    found = (one for one in model.validity.groups if (one.attribute, one.group) == (attribute, group))
    one = next(found, None)
    return numbers.DASH if one is None else numbers.number(one.estimate.mean)


def _scores_by_group(page: _Page, findings: Findings, model: ModelFindings, attribute: str) -> None:
    primary = findings.protocol.primary
    entries = [entry for entry in layout.ordered(model) if layout.summary(entry, primary)]
    if not entries:
        page.say(f"{model.model}: no explainer has a value for {primary}.")
        return
    scores = [layout.summary(entry, primary) for entry in entries]
    gaps = [layout.gap(one, attribute) for one in scores]
    columns = []
    for group, n in findings.data.groups[attribute].items():
        values = (layout.group_value(one, attribute, group) for one in scores)
        minimum = findings.protocol.min_report
        cells = tuple(tables.group_text(value, _mean, minimum=minimum) for value in values)
        columns.append(Column(f"{layout.spoken(group)}\nn={n}", cells))
    columns.append(Column("gap\n(null)", tuple(_gap_text(gap) for gap in gaps)))
    columns.append(Column("worst\nlabelled", tuple(_worst(gap) for gap in gaps)))
    names = Column("", tuple(layout.name(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    page.table(Rows(f"{primary} · {model.model}", names, tuple(columns), styles))
    page.say(
        f"gap: highest minus lowest mean; null: the gap when labels are shuffled{_claim_note(findings, gaps)}", "dim"
    )


def _claim_note(findings: Findings, gaps: Sequence[Gap | None]) -> str:
    doubtful = any(gap is not None and not gap.claimable for gap in gaps)
    return f"; ? a compared group has fewer than {findings.protocol.min_claim} images" if doubtful else ""


def _mean(estimate: Estimate) -> str:
    return numbers.number(estimate.mean)


def _gap_text(gap: Gap | None) -> str:
    if gap is None:
        return numbers.DASH
    return f"{numbers.number(gap.range.mean)} ({numbers.number(gap.null_mean)}){'' if gap.claimable else '?'}"


def _worst(gap: Gap | None) -> str:
    return numbers.DASH if gap is None else layout.spoken(gap.worst_group)


def _side_by_side(page: _Page, findings: Findings, attribute: str) -> None:
    """A row per explainer and model: does the answer depend on the model?"""
    primary = findings.protocol.primary
    pairs = [(name, model) for name in layout.explainers(findings.models) for model in findings.models]
    pairs = [(name, model) for name, model in pairs if _primary(model, name, primary)]
    if not pairs:
        return
    scores = [_primary(model, name, primary) for name, model in pairs]
    cues = [_primary(model, name, layout.CUE) for name, model in pairs]
    gaps = [layout.gap(one, attribute) for one in scores]
    columns = [
        Column("model", tuple(model.model for _, model in pairs)),
        Column(primary, tuple(_score(one) for one in scores)),
        Column("gap\n(null)", tuple(_gap_text(gap) for gap in gaps)),
        Column("worst\nlabelled", tuple(_worst(gap) for gap in gaps)),
    ]
    if any(cues):
        columns.append(Column("cue\nmass", tuple(_score(one) for one in cues)))
    repeats = [name == pairs[index - 1][0] if index else False for index, (name, _) in enumerate(pairs)]
    names = tuple("" if repeat else name for repeat, (name, _) in zip(repeats, pairs, strict=True))
    page.table(Rows("The models side by side", Column("", names), tuple(columns)))


def _primary(model: ModelFindings, explainer: str, metric: str) -> MetricSummary | None:
    entry = layout.entry_of(model, explainer)
    return None if entry is None else layout.summary(entry, metric)


def _trouble(page: _Page, findings: Findings) -> None:
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
        yield f"skipped: {_some(what)}: {reason}"


def _missing_lines(findings: Findings) -> Iterator[str]:
    for model in findings.models:
        for reason, what in layout.missing(model):
            yield f"no value: {model.model}: {_some(what)}: {reason}"


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


HEADLINES = {
    "recommended": ("★ Recommended", "bold green"),
    "tied": ("★ Recommended set, no leader", "bold green"),
    "refused": ("✗ No recommendation", "bold yellow"),
}


def _answer(page: _Page, model: ModelFindings) -> None:
    answer = model.recommendation
    headline, style = HEADLINES[answer.status]
    page.heading(f"Answer · {model.model}")
    page.say(f"{headline}. {answer.sentence}", style)
    for refusal in answer.refusals:
        page.say(f"{refusal.code}  {refusal.reason} (docs/refusals/{refusal.code}.md)", indent=2)
    for reason in (*answer.by_group, *answer.reasons):
        page.say(f"· {reason}", indent=2)
    if answer.not_assessed:
        page.say(f"not assessed: {'; '.join(answer.not_assessed)}", "dim", indent=2)
    if line := _p_best(answer):
        page.say(line, "dim", indent=2)


def _p_best(answer: Recommendation) -> str:
    leaders = sorted(answer.p_best.items(), key=lambda item: -item[1])[:3]
    shares = ", ".join(f"{name} {numbers.number(share)}" for name, share in leaders if share > 0)
    return f"share of bootstrap draws in which a method leads: {shares}" if shares else ""
