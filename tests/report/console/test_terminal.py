"""Texts and tables on a console of any width, with any encoding."""

import io

import pytest
from rich.console import Console

from mavis.report.console.terminal import ConsoleColumn, ConsoleTable, Printer, split_columns

NAMES = ConsoleColumn("", ("saliency", "lime"))


def _column(header: str, *cells: str) -> ConsoleColumn:
    return ConsoleColumn(header, cells)


def _printer(width: int, *, encoding: str = "utf-8") -> tuple[Printer, io.BytesIO]:
    stream = io.BytesIO()
    return Printer(Console(file=io.TextIOWrapper(stream, encoding=encoding, write_through=True), width=width)), stream


def test_a_column_is_as_wide_as_its_longest_unbroken_text():
    """A header breaks at line ends only; 12.345 is the longest text here."""
    assert _column("a\nbcd", "12.345", "1").min_width() == 6
    assert _column("longest\nh", "1").min_width() == 7


@pytest.mark.parametrize(("width", "sizes"), [(40, [3]), (30, [2, 1]), (12, [1, 1, 1])])
def test_columns_are_cut_to_the_width(width, sizes):
    """Names take 8 and 2 blanks of the width, each column 6 and 2; a chunk has at least one column."""
    columns = tuple(_column("head", "12.345", "1.2") for _ in range(3))
    chunks = list(split_columns(ConsoleTable("", NAMES, columns), width))
    assert [len(chunk) for chunk in chunks] == sizes
    assert [column for chunk in chunks for column in chunk] == list(columns)


def test_a_cut_table_repeats_names_and_title():
    """Each part has the names, and says that it goes on."""
    printer, stream = _printer(30)
    columns = tuple(_column(f"head{k}", "12.345", "1.2") for k in range(3))
    printer.print_table(ConsoleTable("Scores", NAMES, columns))
    text = stream.getvalue().decode()
    assert text.count("saliency") == 2
    assert "Scores (continued)" in text
    assert max(map(len, text.splitlines())) <= 30


def test_names_are_text_and_not_markup():
    """Brackets are printed, control characters become blanks."""
    printer, stream = _printer(60)
    printer.print_text("[red]x[/red]\x1b[2J")
    assert stream.getvalue().decode().rstrip() == "[red]x[/red] [2J"


def test_other_letters_have_ascii_substitutes():
    """Where the stream holds ASCII alone, signs are replaced and everything else becomes a question mark."""
    printer, stream = _printer(40, encoding="ascii")
    printer.print_heading("✗ G3 · 0.5 ± 0.1")
    printer.print_text("é")
    text = stream.getvalue().decode("ascii")
    assert "x G3 - 0.5 + 0.1 ---" in text
    assert text.rstrip().endswith("?")
    assert _printer(40)[0].to_plain("✗ é") == "✗ é"
