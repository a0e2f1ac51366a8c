"""The leaderboard as CSV, Markdown, LaTeX and JSON."""

import json
import re

import jsonschema
import pytest

from mavis.analysis.findings import Findings
from mavis.report import leaderboard_schema
from mavis.report.export import formats


def test_json_fits_its_schema_and_comes_back(findings):
    """The JSON holds the whole document, unrounded, and fits the published schema."""
    text = formats.as_json(findings)
    jsonschema.Draft202012Validator.check_schema(leaderboard_schema())
    jsonschema.validate(json.loads(text), leaderboard_schema(), cls=jsonschema.Draft202012Validator)
    assert Findings.model_validate_json(text) == findings


def test_schema_refuses_what_does_not_belong(findings):
    """An unknown field and a missing one are refused."""
    document = json.loads(formats.as_json(findings)) | {"models": []}
    jsonschema.validate(document, leaderboard_schema())
    for spoilt in (document | {"surprise": 1}, {key: value for key, value in document.items() if key != "run"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoilt, leaderboard_schema())


def test_schema_says_what_it_is():
    """The schema has an identity that carries the version."""
    assert leaderboard_schema()["$id"] == "urn:mavis:leaderboard:2"
    assert leaderboard_schema()["title"] == "MAVIS leaderboard"


def test_markdown_shows_names_literally(hostile):
    """No name can open a tag, a link or a table cell."""
    text = formats.as_markdown(hostile)
    assert "<script" not in text
    assert "<img" not in text
    assert r"\${\\rm x}\$ \`q\` \[u\](v)" in text
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    widths = {len(re.findall(r"(?<!\\)\|", line)) - 1 for line in rows if "gap" in line or "(control)" in line}
    assert 12 in widths


def test_markdown_has_answer_leaderboard_and_groups(findings):
    """Per model there is the answer, the intervals, the gap and what is not shown."""
    text = formats.as_markdown(findings)
    for part in (
        "**★ Recommended set, no single best, provisionally.**",
        "**✗ No recommendation.**",
        "1. integrated\\_gradients leads the 2 methods",
        "- By group: On images labelled birch",
        "- Not assessed: gate G3",
        "- Weights: faithfulness .588",
        "- relies on eyes 3.417",
        "| rank | gates | overall | faithfulness (.588) |",
        "Mean ranks over 6 models",
        "is lower for images labelled birch",
        "no material gap",
        "- **R1** ",
        "n&lt;30",
        "✗ G3",
        r"★ integrated\_gradients",
        "as labelled",
    ):
        assert part in text
    assert not re.search(r"\b(nan|None)\b", text)


def test_latex_is_balanced_and_escaped(hostile):
    """Outside commands no character that LaTeX gives a meaning is left bare."""
    text = formats.as_latex(hostile)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count(r"\begin{tabular}") == body.count(r"\end{tabular}") == 16 + 13 + 1
    assert r"\textless{}script\textgreater{}" in body
    assert r"R\&D" in body
    assert r"100\%" in body
    assert r"a\_b" in body
    assert r"\#1\textbar{}" in body
    assert r"\$\{\textbackslash{}rm x\}\$" in body
    assert not re.search(r"(?<!\\)[%#_]", body)
    bare = re.sub(r"\\[{}]", "", body)
    assert bare.count("{") == bare.count("}")
    for block in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        columns, rows = block
        for row in (line for line in rows.splitlines() if line.endswith(r"\\")):
            assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1


def test_escapes_keep_to_one_line():
    """A line break in a name ends neither a table row nor a comment."""
    assert formats.escape_latex("a\nb") == "a b"
    assert formats.escape_markdown("a\r\nb") == "a b"
