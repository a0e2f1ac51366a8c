"""A console that is told texts and tables, never markup: names are untrusted. Any width, with or without colour."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

ASCII = str.maketrans(
    {"★": "*", "✗": "x", "↑": "^", "↓": "v", "–": "-", "−": "-", "±": "+", "×": "x", "·": "-", "≥": ">", "\u202f": " "}
)
ASCII_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
GUTTER = 2
"""Blank columns between two columns: one of padding, one of the box."""


@dataclass(frozen=True)
class Column:
    """A column of a printed table.

    Attributes:
        head: its header; breaks at spaces only.
        cells: one text per row.
    """

    head: str
    cells: tuple[str, ...]

    def width(self) -> int:
        """Characters that no line break may divide."""
        return max(len(word) for word in (*self.head.split("\n"), *self.cells))


@dataclass(frozen=True)
class Rows:
    """A printed table, before it is cut to the width of the console.

    Attributes:
        title: what it shows; may be empty.
        names: the first column, repeated where the table is cut.
        columns: the rest.
        styles: a style per row.
        breaks: indices of rows with a line under them.
    """

    title: str
    names: Column
    columns: tuple[Column, ...]
    styles: tuple[str, ...] = ()
    breaks: frozenset[int] = field(default_factory=frozenset)


class Page:
    """Where the summary is written, and what its letters may be."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ascii = console.options.ascii_only

    def plain(self, text: str) -> str:
        """The text without control characters, and in ASCII where the stream holds nothing else."""
        text = CONTROL.sub(" ", text)
        if not self.ascii:
            return text
        return text.translate(ASCII).encode("ascii", "replace").decode("ascii")

    def say(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """A paragraph."""
        words = Text(self.plain(text), style=style)
        self.console.print(Padding(words, (0, 0, 0, indent), expand=False) if indent else words)

    def heading(self, text: str) -> None:
        """A line across the page that opens a section."""
        self.console.print()
        line = "-" if self.ascii else "─"
        self.console.print(Rule(Text(self.plain(text), style="bold"), align="left", characters=line, style="dim"))

    def table(self, rows: Rows) -> None:
        """As many columns as fit beside the names, then the others below."""
        for part, columns in enumerate(chunks(rows, self.console.width)):
            title = f"{rows.title} (continued)" if part and rows.title else rows.title
            self.console.print()
            if title:
                self.say(title, "bold")
            self.console.print(self._table(rows, columns))

    def _table(self, rows: Rows, columns: Sequence[Column]) -> Table:
        box = ASCII_HEAD if self.ascii else SIMPLE_HEAD
        table = Table(box=box, padding=(0, GUTTER - 1, 0, 0), show_edge=False)
        table.add_column(Text(self.plain(rows.names.head)), overflow="fold")
        for column in columns:
            head = Text(self.plain(column.head), justify="right")
            table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
        for index, name in enumerate(rows.names.cells):
            style = rows.styles[index] if rows.styles else ""
            cells = [Text(self.plain(column.cells[index]), style=style) for column in columns]
            table.add_row(Text(self.plain(name), style=style), *cells, end_section=index in rows.breaks)
        return table


def chunks(rows: Rows, width: int) -> Iterator[list[Column]]:
    """Columns by the tableful; every tableful has at least one."""
    room = width - min(rows.names.width(), width // 2) - GUTTER
    chunk: list[Column] = []
    for column in rows.columns:
        used = sum(one.width() + GUTTER for one in (*chunk, column))
        if chunk and used > room:
            yield chunk
            chunk = []
        chunk.append(column)
    yield chunk
