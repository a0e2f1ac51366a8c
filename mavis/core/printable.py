"""Printable text: names and paths of users as one line of a console, a word of a shell, a cell of a spreadsheet."""

import os
import shlex
import unicodedata
from typing import Any

SUBSTITUTES = {
    "★": "*", "✗": "x", "↑": "^", "↓": "v", "→": ">", "–": "-", "—": "-", "−": "-", "±": "+", "×": "x", "·": "-",
    "≥": ">", "≤": "<", "…": ".", "\u202f": " ", "─": "-", "│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+",
    "━": "-", "╸": "-", "╺": "-",
}  # fmt: skip
"""One letter for each sign that many encodings lack."""

BLANKS = ("Cc", "Zl", "Zp")
"""Unicode categories of control characters and line ends."""

INVISIBLE = ("Cf", "Cs")
"""Unicode categories of letters without a shape (writing direction, zero width), and of bytes that are no UTF-8."""

JOINERS = "\u200c\u200d"
"""Invisible letters that join emoji and the letters of some scripts; there they belong to the name."""

REPLACEMENT = "\ufffd"
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def one_line(text: str) -> str:
    r"""The text on one line: control characters become blanks; invisible letters become ``\ufffd``, which shows."""
    if text.isprintable():
        return text
    return "".join(_visible(letter, text[index - 1 : index]) for index, letter in enumerate(text))


def _visible(letter: str, previous: str) -> str:
    category = unicodedata.category(letter)
    if category in BLANKS:
        return " "
    joins = letter in JOINERS and previous and not previous.isascii()
    return REPLACEMENT if category in INVISIBLE and not joins else letter


def encodable(text: str, encoding: str) -> str:
    """The text with a substitute of one letter for each that an encoding lacks; ``?`` where there is no better one."""
    if _fits(text, encoding):
        return text
    return "".join(letter if _fits(letter, encoding) else SUBSTITUTES.get(letter, "?") for letter in text)


def _fits(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def shell_quote(text: str | os.PathLike[str], encoding: str = "utf-8") -> str:
    r"""The text as one word of a POSIX shell, on one line; ``$'\x1b'`` for what the console cannot show."""
    text = os.fspath(text)
    if text.isprintable() and _fits(text, encoding):
        return shlex.quote(text)
    escaped = (
        chr(byte) if 0x20 <= byte < 0x7F and chr(byte) not in "\\'" else f"\\x{byte:02x}" for byte in os.fsencode(text)
    )
    return f"$'{''.join(escaped)}'"


def spreadsheet_cell(value: Any) -> Any:
    """The value of a CSV cell; a text that a spreadsheet would run as a formula gets an apostrophe in front.

    Numbers stay as they are, and so do texts that are numbers, such as ``-3``.
    """
    if not isinstance(value, str) or not value.lstrip(" ").startswith(FORMULA_SIGNS) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
