"""Names of users as one line, in a console's letters, as a word of a shell, as a cell of a spreadsheet."""

import csv
import io
import shlex
import subprocess

import pytest

from mavis.core.printable import encodable, one_line, shell_quote, spreadsheet_cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[bold]x[/old]", "[bold]x[/old]"),
        ("a\nb\r\nc\td", "a b  c d"),
        ("\x1b[2Jx\x07\x9b", " [2Jx  "),
        ("a\u2028b\u2029c", "a b c"),
        ("ab\u202egnp.exe", "ab\ufffdgnp.exe"),
        ("a\u200bb\ufeff\u00ad", "a\ufffdb\ufffd\ufffd"),
        ("d\udcff", "d\ufffd"),
        ("a\u200db", "a\ufffdb"),
    ],
)
def test_what_breaks_a_line_is_replaced(text: str, shown: str) -> None:
    """Line ends and control characters become blanks; invisible letters and broken bytes become a sign that shows."""
    assert one_line(text) == shown


@pytest.mark.parametrize("name", ["$5_$10", "東アジア", "👩🏾‍🦱 =1+1", "می‌خواهم", "*y*", "ñ — «x»"])
def test_names_of_all_scripts_stay_as_they_are(name: str) -> None:
    """Emoji and letters that are joined by an invisible one keep it."""
    assert one_line(name) == name


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "★ é ± 東"), ("latin-1", "* é ± ?"), ("cp1252", "* é ± ?"), ("ascii", "* ? + ?")],
)
def test_letters_that_an_encoding_lacks_have_a_substitute(encoding: str, shown: str) -> None:
    """One letter for one letter, so that tables stay in line."""
    assert encodable("★ é ± 東", encoding) == shown
    assert encodable("a\udcff", encoding) == "a?"


WORDS = ["plain", "my model", "it's", "a;rm -rf", "$HOME", "[v2]", "x\ny", "\x1b[2J\\'", "é", "-"]
FORMULAS = ["=1+1", "+cmd", "-cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1+1", "- 3"]


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_quoted_word_is_the_word_in_a_shell(text: str, encoding: str) -> None:
    """What is copied into bash is the same path, on one line of letters that the console has."""
    quoted = shell_quote(text, encoding)
    assert quoted.isprintable()
    assert quoted == encodable(quoted, encoding)
    done = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert done.stdout.decode() == text
    if text.isprintable():
        assert shell_quote(text) == shlex.quote(text)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_a_text(text: str) -> None:
    """A spreadsheet shows it instead of running it; the cell survives CSV."""
    table = io.StringIO()
    csv.writer(table).writerow([spreadsheet_cell(text)])
    assert next(csv.reader(io.StringIO(table.getvalue(), newline=""))) == [f"'{text}"]


@pytest.mark.parametrize("value", [-0.5, 3, None, True, "", "alder", "a=1", "-3", "+0.5", "-1e-3", "–", "x-y"])
def test_numbers_and_names_stay_as_they_are(value: object) -> None:
    """Numbers, also as texts, and signs within a name are no formulas."""
    assert spreadsheet_cell(value) == value
