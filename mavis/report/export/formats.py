"""The leaderboard as Markdown, LaTeX and JSON, and the JSON's schema."""

import re
from collections.abc import Sequence
from typing import Any

from mavis.analysis.findings import SCHEMA_VERSION, Findings, ModelFindings
from mavis.report import layout, model_summary, numbers, wording
from mavis.report.text_tables import Grid, across, grids, twins


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
    for between in (across(findings), twins(findings)):
        lines += ["", *_markdown_table(between)] if between else []
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
    found = model.recommendation
    name = markdown_escape
    headline = f"**{name(wording.headline(found))}.** {name(found.sentence)}"
    lines = [f"- **{name(one.code)}** {name(one.reason)}" for one in found.refusals]
    lines += [f"{number}. {name(reason)}" for number, reason in enumerate(found.reasons, start=1)]
    lines += ["", *(f"- By group: {name(statement)}" for statement in found.by_group)]
    lines += [f"- Not assessed: {name(missing)}" for missing in found.not_assessed]
    lines += [f"- {name(head.capitalize())}: {name(words)}" for head, words in wording.beside(found)]
    lines += [f"- {name(line)}" for line in model_summary.details(model.validity)]
    return [headline, "", *lines]


def _markdown_table(grid: Grid) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(markdown_escape(cell) for cell in cells)} |"

    rest = range(1, len(grid.header))
    rule = f"| --- |{''.join(' --- |' if place in grid.words else ' ---: |' for place in rest)}"
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
        found = model.recommendation
        lines += ["", rf"\noindent {name(wording.headline(found))}. {name(found.sentence)}"]
    between = across(findings)
    lines += ["", *_latex_table(between)] if between else []
    return "\n".join(lines) + "\n"


def _latex_table(grid: Grid) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"{' & '.join(latex_escape(cell) for cell in cells)} \\\\"

    return [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escape(grid.caption)}}}",
        rf"\begin{{tabular}}{{{_alignment(grid)}}}",
        r"\toprule",
        row(grid.header),
        r"\midrule",
        *(row(cells) for cells in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _alignment(grid: Grid) -> str:
    return "".join("l" if place == 0 or place in grid.words else "r" for place in range(len(grid.header)))


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
