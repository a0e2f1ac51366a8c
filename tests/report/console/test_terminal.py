"""Texts and tables on a console of any width, with any encoding."""

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

import mavis
from mavis.report.console.terminal import ConsoleColumn, ConsoleTable, Listing, Printer, split_columns

PRINTS = ("Console", "echo", "secho", "print", "from_markup", "render_str")
"""Functions that print, and such as read markup, beside the methods of a `Printer`."""

EXCEPTIONS = {
    "report/console/terminal.py": "is the one place that prints",
    "workflows/evaluate.py": "prints into a text",
    "models/training/shipped_models.py": "trains the shipped models; no command calls it",
}

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


def test_nothing_else_prints():
    """No other file opens a console, prints by itself or reads markup."""
    package = Path(mavis.__file__).parent
    calls = {
        (str(path.relative_to(package)), node.lineno)
        for path in package.rglob("*.py")
        if str(path.relative_to(package)) not in EXCEPTIONS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _is_print(node.func)
    }
    assert calls == set()


def _is_print(function):
    """True for ``Console``, ``print``, ``typer.echo``, ``console.print`` and their like."""
    if isinstance(function, ast.Name):
        return function.id in PRINTS
    owner = ast.unparse(function.value) if isinstance(function, ast.Attribute) else ""
    return bool(owner) and function.attr in PRINTS


NAMES_OF_STRANGERS = ("[/old]", "[bold]x[/bold]", ":smile:", "a\nb", "x\x1b[31m", "r\u202ex", "$5_$10", "東", "\udcff")


@pytest.mark.parametrize("name", NAMES_OF_STRANGERS)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_a_name_is_a_text_everywhere(name, encoding):
    """In a paragraph, a line, a heading, a table and a listing: no markup, no control characters, no error."""
    printer, stream = _printer(60, encoding=encoding)
    printer.print_text(name)
    printer.print_line(name)
    printer.print_heading(name)
    printer.print_table(ConsoleTable(name, ConsoleColumn("", (name,)), (ConsoleColumn("n", (name,)),)))
    printer.print_listing(Listing(("n",), [(name,)], title=name))
    text = stream.getvalue().decode(encoding)
    assert text.count(printer.to_plain(name)) == 8
    assert all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("width", [10, 30, 40, 60, 100])
def test_a_listing_loses_nothing_on_a_narrow_console(width):
    """Where the columns do not fit, each cell has a line of its own."""
    printer, stream = _printer(width)
    row = ("best_practices_v1", "frozen", "All rules of the decision", "a062b56b1924")
    headings = ("name", "status", "about", "sha256")
    printer.print_listing(Listing(headings, [row], unbroken=frozenset({"name", "status", "sha256"})))
    shown = stream.getvalue().decode().replace("\n", "").replace(" ", "")
    assert all(word in shown for word in ("frozen", "a062b56b1924", "best_practices_v1"))


def test_a_path_is_never_wrapped():
    """Neither a path nor a command is broken into lines."""
    printer, stream = _printer(40)
    printer.print_line("mavis run --model " + "x" * 100)
    assert stream.getvalue().decode() == "mavis run --model " + "x" * 100 + "\n"


def test_a_table_of_a_thousand_groups_is_cut():
    """The first parts and the last one are printed, the others counted."""
    printer, stream = _printer(80)
    columns = tuple(_column(f"group {k}\nn=3", ".125", ".25") for k in range(1000))
    printer.print_table(ConsoleTable("Scores", NAMES, columns))
    text = stream.getvalue().decode()
    assert "group 0" in text
    assert "group 999" in text
    assert len(text.splitlines()) < 80
    assert "further columns are left out here; the report has them." in text
