"""The leaderboard as CSV, Markdown, LaTeX and JSON, and the JSON's schema."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mavis.findings import (
    SCHEMA_VERSION,
    Estimate,
    ExplainerEntry,
    Findings,
    GroupValue,
    MetricSummary,
    ModelFindings,
    Reliability,
)  # fmt: skip
from mavis.report import layout, numbers

CSV_COLUMNS = (
    "model",
    "explainer",
    "role",
    "metric",
    "category",
    "direction",
    "attribute",
    "group",
    "n",
    "mean",
    "low",
    "high",
    "undefined",
    "failed",
    "rank",
    "missing",
)

Escape = Callable[[str], str]


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``leaderboard.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mavis:leaderboard:{SCHEMA_VERSION}",
        **Findings.model_json_schema(mode="serialization"),
        "title": "MAVIS leaderboard",
    }


def as_json(findings: Findings) -> str:
    """Everything, unrounded."""
    return findings.model_dump_json(indent=2) + "\n"


def as_csv(findings: Findings) -> str:
    """One line per model, explainer, metric and group, unrounded; an empty attribute and group are all images.

    An explainer without any map has one line, with an empty metric.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CSV_COLUMNS)
    for model in findings.models:
        for entry in layout.ordered(model):
            table.writerows([model.model, entry.explainer, entry.role, *row] for row in _csv_rows(findings, entry))
    return text.getvalue()


def _csv_rows(findings: Findings, entry: ExplainerEntry) -> Iterator[list[Any]]:
    if not entry.metrics:
        yield ["", "", "", "", "", 0, None, None, None, None, None, None, entry.missing]
    for one in entry.metrics:
        direction = {True: "higher", False: "lower", None: ""}[one.higher_is_better]
        head = [one.metric, one.category, direction]
        reason = layout.absence(entry, one.metric)
        yield [*head, "", "", *_csv_estimate(one.estimate), one.undefined, one.failed, one.rank, reason]
        for value in one.groups:
            why = layout.group_absence(value, minimum=findings.protocol.min_report)
            place = [value.attribute, value.group]
            yield [*head, *place, *_csv_estimate(value.estimate), value.undefined, value.failed, None, why]


def _csv_estimate(estimate: Estimate) -> list[Any]:
    return [estimate.n, estimate.mean, estimate.low, estimate.high]


@dataclass(frozen=True)
class Grid:
    """A table of plain text, not yet escaped.

    Attributes:
        caption: what it shows.
        header: one text per column; the first column holds names.
        rows: as many texts per row as the header has.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def leaderboards(model: ModelFindings) -> list[Grid]:
    """One grid per category: explainers by metrics, with intervals."""
    return [
        Grid(
            f"{model.model}: {category}",
            ("explainer", "rank", "gates", *(f"{column.metric} {layout.arrow(column)}" for column in columns)),
            tuple((*_name_cells(model, entry), *_scores(entry, columns)) for entry in layout.ordered(model)),
        )
        for category, columns in layout.categories(model).items()
    ]


def _name_cells(model: ModelFindings, entry: ExplainerEntry) -> tuple[str, str, str]:
    star = "★ " if entry.explainer in model.recommendation.set else ""
    rank = numbers.DASH if entry.rank is None else f"{entry.rank:g}"
    failed = layout.failed_gates(entry)
    return f"{star}{layout.name(entry)}", rank, f"✗ {' '.join(failed)}" if failed else ""


def _scores(entry: ExplainerEntry, columns: Sequence[layout.Column]) -> Iterator[str]:
    for column in columns:
        one = layout.summary(entry, column.metric)
        yield numbers.DASH if one is None else numbers.with_interval(one.estimate)


def by_group(findings: Findings, model: ModelFindings) -> Grid | None:
    """The primary metric per group of the first attribute, and its gap; None without groups."""
    attribute = layout.first_attribute(findings)
    if attribute is None:
        return None
    sizes = findings.data.groups[attribute]
    primary = findings.protocol.primary
    return Grid(
        f"{model.model}: {primary} by {layout.spoken(attribute)}, as labelled",
        ("explainer", *(f"{layout.spoken(group)} (n={n})" for group, n in sizes.items()), "gap", "null", "worst"),
        tuple(
            (
                _name_cells(model, entry)[0],
                *(_group_cell(findings, layout.summary(entry, primary), attribute, group) for group in sizes),
                *_gap_cells(layout.summary(entry, primary), attribute),
            )
            for entry in layout.ordered(model)
        ),
    )


def reliability(findings: Findings, model: ModelFindings) -> Grid | None:
    """Share of predictions kept without random cells, over all images and from lowest to highest group."""
    if not model.reliability:
        return None
    attribute = layout.first_attribute(findings)
    return Grid(
        f"{model.model}: how often the prediction stays when random cells are removed",
        ("removed cells show", "share removed", "all images", "lowest to highest group", "reliable", "uneven over"),
        tuple(
            (
                one.imputer,
                f"{one.fraction:.0%}",
                numbers.with_interval(one.kept),
                _spread(one, attribute, findings.protocol.min_report),
                {True: "yes", False: "no", None: ""}[one.reliable],
                ", ".join(layout.spoken(name) for name in one.uneven),
            )
            for one in model.reliability
        ),
    )


def _spread(one: Reliability, attribute: str | None, least: int) -> str:
    groups = [g for g in one.groups if g.attribute == attribute and g.estimate.n >= least]
    shares = sorted((g.estimate.mean, layout.spoken(g.group)) for g in groups if g.estimate.mean is not None)
    if not shares:
        return numbers.DASH
    (low, first), (high, last) = shares[0], shares[-1]
    return f"{numbers.number(low)} ({first}) to {numbers.number(high)} ({last})"


def agreement(findings: Findings, model: ModelFindings) -> Grid | None:
    """How far every two methods agree."""
    del findings
    if not model.agreement:
        return None
    measures = tuple(model.agreement[0].measures)
    return Grid(
        f"{model.model}: how far methods agree (macro means; agreement is no quality)",
        ("methods", *measures, "images"),
        tuple(
            (f"{one.first}, {one.second}", *(numbers.number(one.measures[m]) for m in measures), str(one.n))
            for one in sorted(model.agreement, key=lambda one: -one.measures["spearman"])
        ),
    )


def twins(findings: Findings) -> Grid | None:
    """How well each explainer tells a model that leans on a cue from one that does not."""
    if not findings.twins:
        return None
    return Grid(
        "Telling the model that leans on the cue from the other, by the mass on the cue "
        "(area under the ROC curve; .5 is chance)",
        ("explainer", "leaning model", "other model", "area", "images"),
        tuple(
            (one.explainer, one.leaning, one.other, numbers.with_interval(one.auroc), str(one.auroc.n))
            for one in sorted(findings.twins, key=lambda one: (one.leaning, one.other, -(one.auroc.mean or 0)))
        ),
    )


def grids(findings: Findings, model: ModelFindings) -> list[Grid]:
    """Every table of one model."""
    more = [part(findings, model) for part in (by_group, reliability, agreement)]
    return [*leaderboards(model), *(grid for grid in more if grid is not None)]


def _group_cell(findings: Findings, one: MetricSummary | None, attribute: str, group: str) -> str:
    value = layout.group_value(one, attribute, group)
    return group_text(value, numbers.with_interval, minimum=findings.protocol.min_report)


def group_text(value: GroupValue | None, write: Callable[[Estimate], str], *, minimum: int) -> str:
    """A group's mean as ``write`` writes it, ``n<30`` where it is suppressed, a dash where there is none."""
    if value is None:
        return numbers.DASH
    return f"n<{minimum}" if value.suppressed else write(value.estimate)


def _gap_cells(one: MetricSummary | None, attribute: str) -> tuple[str, str, str]:
    gap = layout.gap(one, attribute)
    if gap is None:
        return (numbers.DASH,) * 3
    return numbers.with_interval(gap.range), numbers.number(gap.null_mean), layout.spoken(gap.worst_group)


def as_markdown(findings: Findings) -> str:
    """Per model the recommendation, a table per category and the primary metric per group."""
    name = markdown_escape
    lines = [f"# MAVIS leaderboard: {name(layout.title(findings))}", ""]
    lines += [f"- {name(line)}" for line in layout.standing(findings)]
    data = findings.data
    images = f"{data.images} images of {data.name}, target {data.target}."
    lines += ["", name(f"{images} {data.provenance} {legend(findings)}")]
    for model in findings.models:
        lines += ["", f"## {name(model.model)}", "", *_markdown_answer(model)]
        for grid in grids(findings, model):
            lines += ["", *_markdown_table(grid)]
    pairs = twins(findings)
    lines += ["", *_markdown_table(pairs)] if pairs else []
    lines += ["", *(f"- {name(caveat)}" for caveat in findings.caveats)]
    return "\n".join(lines) + "\n"


def legend(findings: Findings) -> str:
    """How to read the tables, in one breath."""
    share = f"{findings.protocol.confidence * 100:g} %"
    return (
        f"Macro means over groups with {share} intervals; ↑ higher is better, ↓ lower is better, ★ recommended set, "
        f"✗ failed gates, {numbers.DASH} no value."
    )


def _markdown_answer(model: ModelFindings) -> list[str]:
    answer = model.recommendation
    refusals = [f"- **{markdown_escape(one.code)}** {markdown_escape(one.reason)}" for one in answer.refusals]
    reasons = [f"- {markdown_escape(reason)}" for reason in answer.reasons]
    return [f"**{answer.status.capitalize()}.** {markdown_escape(answer.sentence)}", "", *refusals, *reasons]


def _markdown_table(grid: Grid) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(markdown_escape(cell) for cell in cells)} |"

    rule = f"| --- |{' ---: |' * (len(grid.header) - 1)}"
    return [f"**{markdown_escape(grid.caption)}**", "", row(grid.header), rule, *(row(cells) for cells in grid.rows)]


def as_latex(findings: Findings) -> str:
    """Per model a booktabs tabular per category and one for the groups."""
    name = latex_escape
    lines = [
        f"% MAVIS leaderboard: {_one_line(layout.title(findings))}",
        r"% needs \usepackage{booktabs} and, with pdfLaTeX, \usepackage[T1]{fontenc}",
        *(f"% {_one_line(line)}" for line in layout.standing(findings)),
        f"% {_one_line(legend(findings))}",
    ]
    for model in findings.models:
        for grid in grids(findings, model):
            lines += ["", *_latex_table(grid)]
        lines += ["", rf"\noindent {name(model.recommendation.sentence)}"]
    return "\n".join(lines) + "\n"


def _latex_table(grid: Grid) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"{' & '.join(latex_escape(cell) for cell in cells)} \\\\"

    return [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escape(grid.caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
        r"\toprule",
        row(grid.header),
        r"\midrule",
        *(row(cells) for cells in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _one_line(text: str) -> str:
    """For a comment, which must not end early."""
    return " ".join(text.split())


def markdown_escape(text: str) -> str:
    """The text as Markdown and the HTML inside it show it literally, on one line."""
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#!])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$",
    "≥": r"$\ge$", "≤": r"$\le$", "ρ": r"$\rho$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "★": r"$\star$",
    "✗": r"$\times$", "\u202f": r"\,",
}  # fmt: skip


def latex_escape(text: str) -> str:
    """The text as LaTeX prints it literally, on one line; square brackets too, since they open arguments."""
    return "".join(LATEX.get(letter, letter) for letter in _one_line(text))
