"""Leaderboard as Markdown, LaTeX and JSON, with the JSON's schema."""

import re
from collections.abc import Sequence
from typing import Any

from mavis.analysis.findings import SCHEMA_VERSION, Findings, ModelFindings
from mavis.report import model_summary, numbers, wording
from mavis.report.text_tables import TextTable, cue_detection_table, mean_rank_table, model_tables


def leaderboard_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``leaderboard.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:mavis:leaderboard:{SCHEMA_VERSION}",
        **Findings.model_json_schema(mode="serialization"),
        "title": "MAVIS leaderboard",
    }


def as_json(findings: Findings) -> str:
    """The whole document as JSON, unrounded."""
    return findings.model_dump_json(indent=2) + "\n"


def as_markdown(findings: Findings) -> str:
    """Per model the recommendation, a table per category and the primary metric per group."""
    name = escape_markdown
    lines = [f"# MAVIS leaderboard: {name(wording.protocol_title(findings))}", ""]
    lines += [f"- {name(line)}" for line in wording.status_notices(findings)]
    data = findings.data
    images = f"{data.images} images of {data.name}, target {data.target}."
    lines += ["", name(f"{images} {data.provenance} {legend(findings)}")]
    for model in findings.models:
        lines += ["", f"## {name(model.model)}", "", *_markdown_recommendation(model)]
        for grid in model_tables(findings, model):
            lines += ["", *_markdown_table(grid)]
    cue_lines = wording.cue_lines(findings)
    lines += ["", "## The planted cue", "", *(name(line) for line in cue_lines)] if cue_lines else []
    for between in (mean_rank_table(findings), cue_detection_table(findings)):
        lines += ["", *_markdown_table(between)] if between else []
    lines += ["", *(f"- {name(wording.note_text(caveat))}" for caveat in findings.caveats)]
    return "\n".join(lines) + "\n"


def legend(findings: Findings) -> str:
    """Legend of the tables in one line."""
    share = f"{findings.protocol.confidence * 100:g} %"
    return (
        f"Primary metric: {wording.metric_title(findings.protocol.primary)}. Macro means over groups with {share} "
        "intervals; ↑ higher is better, ↓ lower is better, ★ recommended set, "
        f"✗ failed gates, {numbers.DASH} no value."
    )


def _markdown_recommendation(model: ModelFindings) -> list[str]:
    answer = model.recommendation
    name = escape_markdown
    headline = f"**{name(wording.recommendation_headline(answer))}.** {name(wording.answer_sentence(answer))}"
    lines = [f"- **{name(refusal.code)}** {name(wording.refusal_reason(refusal))}" for refusal in answer.refusals]
    lines += [f"{number}. {name(reason)}" for number, reason in enumerate(wording.answer_reasons(answer), start=1)]
    lines += ["", *(f"- By group: {name(sentence)}" for sentence in wording.group_lead_sentences(answer))]
    lines += [f"- Not assessed: {name(line)}" for line in wording.not_assessed_lines(answer)]
    lines += [f"- {name(head.capitalize())}: {name(text)}" for head, text in wording.supporting_lines(answer)]
    lines += [f"- {name(line)}" for line in model_summary.validity_details(model.validity)]
    return [headline, "", *lines]


def _markdown_table(table: TextTable) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"

    columns = range(1, len(table.header))
    rule = f"| --- |{''.join(' --- |' if column in table.text_columns else ' ---: |' for column in columns)}"
    return [f"**{escape_markdown(table.caption)}**", "", row(table.header), rule, *(row(cells) for cells in table.rows)]


def as_latex(findings: Findings) -> str:
    """Per model a booktabs tabular per category and one for the groups."""
    name = escape_latex
    lines = [
        f"% MAVIS leaderboard: {_one_line(wording.protocol_title(findings))}",
        r"% needs \usepackage{booktabs} and, with pdfLaTeX, \usepackage[T1]{fontenc}",
        *(f"% {_one_line(line)}" for line in wording.status_notices(findings)),
        f"% {_one_line(legend(findings))}",
    ]
    for model in findings.models:
        for grid in model_tables(findings, model):
            lines += ["", *_latex_table(grid)]
        answer = model.recommendation
        lines += [
            "",
            rf"\noindent {name(wording.recommendation_headline(answer))}. {name(wording.answer_sentence(answer))}",
        ]
    between = mean_rank_table(findings)
    lines += ["", *_latex_table(between)] if between else []
    return "\n".join(lines) + "\n"


def _latex_table(table: TextTable) -> list[str]:
    def row(cells: Sequence[str]) -> str:
        return f"{' & '.join(escape_latex(cell) for cell in cells)} \\\\"

    return [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{{_column_alignment(table)}}}",
        r"\toprule",
        row(table.header),
        r"\midrule",
        *(row(cells) for cells in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]


def _column_alignment(table: TextTable) -> str:
    return "".join("l" if column == 0 or column in table.text_columns else "r" for column in range(len(table.header)))


def _one_line(text: str) -> str:
    """For a comment, which must not end early."""
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    """The text as Markdown and the HTML inside it show it literally, on one line."""
    text = _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|~$#!])", r"\\\1", text)


LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "–": "--", "−": "$-$", "±": r"$\pm$", "×": r"$\times$",
    "≥": r"$\ge$", "≤": r"$\le$", "ρ": r"$\rho$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "★": r"$\star$",
    "✗": r"$\times$", "\u202f": r"\,",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """The text as LaTeX prints it literally, on one line; square brackets too, since they open arguments."""
    return "".join(LATEX_ESCAPES.get(letter, letter) for letter in _one_line(text))
