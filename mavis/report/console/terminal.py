"""Console output of texts and tables, without markup, since names are untrusted; any width, with or without colour."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

ASCII_SUBSTITUTES = str.maketrans(
    {"★": "*", "✗": "x", "↑": "^", "↓": "v", "–": "-", "−": "-", "±": "+", "×": "x", "·": "-", "≥": ">", "\u202f": " "}
)
ASCII_BOX = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
CONTROL_CHARACTERS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
GUTTER = 2
"""Blank columns between two columns: one of padding, one of the box."""


@dataclass(frozen=True)
class ConsoleColumn:
    """A column of a printed table.

    Attributes:
        header: its header; breaks at spaces only.
        cells: one text per row.
    """

    header: str
    cells: tuple[str, ...]

    def min_width(self) -> int:
        """Characters that no line break may divide."""
        return max(len(word) for word in (*self.header.split("\n"), *self.cells))


@dataclass(frozen=True)
class ConsoleTable:
    """A printed table, before it is cut to the width of the console.

    Attributes:
        title: what it shows; may be empty.
        names: the first column, repeated where the table is cut.
        columns: the other columns.
        row_styles: a style per row.
        section_ends: indices of rows with a line under them.
    """

    title: str
    names: ConsoleColumn
    columns: tuple[ConsoleColumn, ...]
    row_styles: tuple[str, ...] = ()
    section_ends: frozenset[int] = field(default_factory=frozenset)


class Printer:
    """Prints texts and tables to a console, in ASCII where the stream holds nothing else."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ascii = console.options.ascii_only

    def to_plain(self, text: str) -> str:
        """The text without control characters, and in ASCII where the stream holds nothing else."""
        text = CONTROL_CHARACTERS.sub(" ", text)
        if not self.ascii:
            return text
        return text.translate(ASCII_SUBSTITUTES).encode("ascii", "replace").decode("ascii")

    def print_text(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Prints a paragraph."""
        paragraph = Text(self.to_plain(text), style=style)
        self.console.print(Padding(paragraph, (0, 0, 0, indent), expand=False) if indent else paragraph)

    def print_heading(self, text: str) -> None:
        """Prints a line across the page that opens a section."""
        self.console.print()
        line = "-" if self.ascii else "─"
        self.console.print(Rule(Text(self.to_plain(text), style="bold"), align="left", characters=line, style="dim"))

    def print_table(self, table: ConsoleTable) -> None:
        """Prints as many columns as fit beside the names, and further columns below."""
        for part, columns in enumerate(split_columns(table, self.console.width)):
            title = f"{table.title} (continued)" if part and table.title else table.title
            self.console.print()
            if title:
                self.print_text(title, "bold")
            self.console.print(self._build_table(table, columns))

    def _build_table(self, rows: ConsoleTable, columns: Sequence[ConsoleColumn]) -> Table:
        box = ASCII_BOX if self.ascii else SIMPLE_HEAD
        table = Table(box=box, padding=(0, GUTTER - 1, 0, 0), show_edge=False)
        table.add_column(Text(self.to_plain(rows.names.header)), overflow="fold")
        for column in columns:
            head = Text(self.to_plain(column.header), justify="right")
            table.add_column(head, justify="right", vertical="bottom", no_wrap=True)
        for index, name in enumerate(rows.names.cells):
            style = rows.row_styles[index] if rows.row_styles else ""
            cells = [Text(self.to_plain(column.cells[index]), style=style) for column in columns]
            table.add_row(Text(self.to_plain(name), style=style), *cells, end_section=index in rows.section_ends)
        return table


def split_columns(table: ConsoleTable, width: int) -> Iterator[list[ConsoleColumn]]:
    """Columns in chunks that fit the width; every chunk has at least one column."""
    room = width - min(table.names.min_width(), width // 2) - GUTTER
    chunk: list[ConsoleColumn] = []
    for column in table.columns:
        used = sum(member.min_width() + GUTTER for member in (*chunk, column))
        if chunk and used > room:
            yield chunk
            chunk = []
        chunk.append(column)
    yield chunk
