"""The leaderboard that the summary prints: one table a model, short enough to be read."""

from collections.abc import Iterator, Sequence

from mavis.analysis.findings import ExplainerEntry, Findings, Gate, MetricSummary, ModelFindings
from mavis.report import layout, numbers
from mavis.report.console.terminal import Column, Page, Rows, chunks

MOST_ELIGIBLE = 12
"""Eligible methods in the table where there are too many for all."""

MOST_NAMED = 6
"""Methods named per gate; the rest is counted."""

BROKEN = {
    "faithfulness": "faithful-\nness",
    "localisation": "locali-\nsation",
    "robustness": "robust-\nness",
    "complexity": "complex-\nity",
}
"""Category names over two lines, since names are longer than numbers."""


def leaderboard(page: Page, findings: Findings, model: ModelFindings, *, everything: bool) -> None:
    """Who leads, by how much, and who was stopped by which gate.

    Args:
        page: where to.
        findings: what the run found.
        model: whose explainers are shown.
        everything: every method and every metric, however long.
    """
    page.heading(f"Leaderboard · {model.model}")
    entries = layout.ordered(model)
    if not entries:
        page.say("No explainer was run.")
        return
    shown = entries if everything or not layout.is_long(model) else _short(model)
    page.table(_board(findings, model, shown))
    page.say(_key(findings, shown), "dim")
    for line in (*_hidden(entries, shown), *_dominated(shown)):
        page.say(line)
    if everything:
        _raw(page, model, shown)
    elif layout.skill_categories(model) and (rows := _imputers(findings, model)):
        page.table(rows)


def _short(model: ModelFindings) -> list[ExplainerEntry]:
    methods = [entry for entry in layout.ordered(model) if entry.role == "method"]
    eligible = [entry for entry in methods if entry.eligible]
    scored = [entry for entry in layout.aside(model) if entry.overall or not layout.skill_categories(model)]
    return [*(eligible or methods)[:MOST_ELIGIBLE], *scored]


def _board(findings: Findings, model: ModelFindings, entries: Sequence[ExplainerEntry]) -> Rows:
    longest = max(len(_rank(entry)) for entry in entries)
    names = Column("", tuple(_name(model, entry, longest) for entry in entries))
    categories = layout.skill_categories(model)
    if categories:
        overall = tuple(numbers.DASH if e.overall is None else numbers.plus_minus(e.overall) for e in entries)
        columns = [Column("overall", overall), *(_category(name, entries) for name in categories)]
    else:
        columns = [_metric(column, entries) for column in layout.whole_and_parts(model, findings.protocol.primary)]
    last_eligible = sum(entry.eligible for entry in entries) - 1
    last_method = sum(entry.role == "method" for entry in entries) - 1
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    return Rows("", names, tuple(columns), styles, frozenset({last_eligible, last_method} - {-1, len(entries) - 1}))


def _rank(entry: ExplainerEntry) -> str:
    return layout.rank(entry) if entry.rank is not None else ""


def _name(model: ModelFindings, entry: ExplainerEntry, longest: int) -> str:
    star = "★" if entry.explainer in model.recommendation.set else " "
    return f"{star} {_rank(entry):<{longest}} {layout.name(entry)} {layout.stops(entry)}".rstrip()


def _category(name: str, entries: Sequence[ExplainerEntry]) -> Column:
    cells = (entry.categories[name].mean if name in entry.categories else None for entry in entries)
    return Column(BROKEN.get(name, name.replace("_", "\n")), tuple(numbers.number(value) for value in cells))


def _key(findings: Findings, entries: Sequence[ExplainerEntry]) -> str:
    by = findings.protocol.primary
    if any(entry.overall is not None for entry in entries):
        by = "overall, the weighted skill; skill 0: the protocol's zero, 1: its reference"
    gates = {gate.id: gate for entry in entries for gate in entry.gates if gate.passed is False}
    failed = "".join(f" · ✗ {gate.id} not passed: {gate.title}" for gate in gates.values())
    unknown = " · ? not assessed" if any(layout.open_gates(entry) for entry in entries) else ""
    interval = " [its interval]" if any(entry.rank_low is not None for entry in entries) else ""
    return f"★ recommended set · rank{interval} by {by} · {numbers.DASH} no value{failed}{unknown}"


def _hidden(entries: Sequence[ExplainerEntry], shown: Sequence[ExplainerEntry]) -> Iterator[str]:
    """What the table leaves out: by the gate that stopped it, and how many more."""
    left = [entry for entry in entries if entry not in shown and entry.role == "method"]
    stopped: dict[str, tuple[Gate, list[str]]] = {}
    for entry in (entry for entry in left if not entry.missing):
        for gate in entry.gates:
            if not entry.eligible and (gate.passed is False or (gate.passed is None and not gate.impossible)):
                stopped.setdefault(gate.id, (gate, []))[1].append(entry.explainer)
    for name, (gate, names) in sorted(stopped.items()):
        how = "stops" if gate.passed is False else "not passed or not assessed:"
        yield f"✗ {name} {how} {some(names, MOST_NAMED)} ({gate.title})"
    if left:
        eligible = sum(entry.eligible for entry in left)
        some_are = f", {eligible} of them eligible" if eligible else ""
        yield f"{len(left)} methods are left out here{some_are}. The report has them, and everything; so has --all."


def _dominated(entries: Sequence[ExplainerEntry]) -> Iterator[str]:
    pairs = [f"{entry.explainer} by {entry.dominated_by}" for entry in entries if entry.dominated_by]
    if pairs:
        yield f"Dominated, as good in no category and worse in one: {some(pairs, MOST_NAMED)}."


def _imputers(findings: Findings, model: ModelFindings) -> Rows | None:
    """The primary metric of the leading methods, whole and by what removed cells show."""
    primary = findings.protocol.primary
    entries = [*layout.leading(model), *layout.yardstick(model)]
    columns = layout.whole_and_parts(model, primary)
    if not entries or not columns:
        return None
    title = f"{primary} of the first {len(layout.leading(model))}, and by what removed cells show"
    names = Column("", tuple(layout.name(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    return Rows(title, names, tuple(_metric(column, entries) for column in columns), styles)


def _raw(page: Page, model: ModelFindings, entries: Sequence[ExplainerEntry]) -> None:
    """Every metric, neighbouring categories side by side while they fit."""
    names = Column("", tuple(layout.name(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    every = {title: [_metric(c, entries) for c in columns] for title, columns in layout.categories(model).items()}
    for title, columns in _packed(names, every, page.console.width):
        page.table(Rows(title, names, tuple(columns), styles))


def _metric(column: layout.Column, entries: Sequence[ExplainerEntry]) -> Column:
    return Column(_head(column), tuple(_score(layout.summary(entry, column.metric)) for entry in entries))


def _head(column: layout.Column) -> str:
    """The metric's name over several lines, since names are longer than numbers."""
    unit = f"\n{column.unit}" if column.unit else ""
    return f"{column.metric.replace('_', chr(10))} {layout.arrow(column)}{unit}"


def _score(one: MetricSummary | None) -> str:
    return numbers.DASH if one is None else numbers.plus_minus(one.estimate)


def _packed(names: Column, categories: dict[str, list[Column]], width: int) -> Iterator[tuple[str, list[Column]]]:
    titles: list[str] = []
    packed: list[Column] = []
    for category, columns in categories.items():
        together = [*packed, *columns]
        if packed and len(list(chunks(Rows("", names, tuple(together)), width))) > 1:
            yield " · ".join(titles), packed
            titles, together = [], columns
        titles, packed = [*titles, category], together
    if packed:
        yield " · ".join(titles), packed


def some(names: Sequence[str], many: int) -> str:
    """The first names, and how many more.

    Args:
        names: to be listed.
        many: how many at most.
    """
    more = f" and {len(names) - many} more" if len(names) > many else ""
    return ", ".join(names[:many]) + more
