"""Words live in one place: every code has them, none is left over, and the decision holds no sentence."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import mavis
from mavis.report.wording import answer, gaps, gates, notes, refusals

ROOT = Path(mavis.__file__).parent
SUMMARISE = ROOT / "workflows" / "summarise.py"
SOURCES = sorted([*(ROOT / "decision").rglob("*.py"), *(ROOT / "analysis").rglob("*.py"), SUMMARISE])
CODE = re.compile(r"(?:[RG]\d+|[a-z]+(?:_[a-z]+)*)\.[a-z]+(?:_[a-z]+)*")
TABLES = (
    answer.PICK_WORDS, notes.NOTE_WORDS, gates.GATE_WORDS, refusals.REFUSAL_WORDS, gaps.GAP_WORDS,
)  # fmt: skip


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each literal of a module that is no docstring, error message or field description."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    described = (
        keyword
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "description"
    )
    parents = [
        *described,
        *(node for node in ast.walk(tree) if isinstance(node, ast.Raise)),
        *(node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)),
    ]
    exempt = {id(node) for parent in parents for node in ast.walk(parent)}
    for node in ast.walk(tree):
        if id(node) in exempt:
            continue
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def test_every_code_has_words_and_no_words_are_left_over():
    """The codes in the sources are the keys of the tables, each in one table."""
    codes = {text for path in SOURCES for _, text in _texts(path) if CODE.fullmatch(text)}
    words = [code for table in TABLES for code in table]
    assert len(words) == len(set(words))
    assert codes == set(words)
    assert len(codes) > 60


def test_every_gate_has_a_title():
    """G0 to G6."""
    assert {code.partition(".")[0] for code in gates.GATE_WORDS} - {"open"} == set(gates.TITLES)


def test_decision_and_analysis_hold_no_sentence():
    """No text with three or more blanks outside docstrings, errors and descriptions."""
    sentences = [
        f"{path.relative_to(ROOT)}:{line} {text!r}"
        for path in SOURCES
        for line, text in _texts(path)
        if len(re.findall(r"\S +(?=\S)", text)) >= 3
    ]
    assert sentences == []
