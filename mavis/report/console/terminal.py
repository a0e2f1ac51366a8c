"""Console output: the one place that prints. Texts and tables, of any width and encoding, with or without colour.

Names, paths and messages come from users and strangers, so nothing here is markup: a text is printed as it stands, on
one line, without control characters, in letters that the stream has.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD, Box
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mavis.core.printable import encodable, one_line, shell_quote

ASCII_BOX = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
GUTTER = 2
"""Blank columns between two columns: one of padding, one of the box."""

MAX_PARTS = 8
"""Parts of a table that is cut; beyond these the first ones and the last one are printed."""

MIN_FOLDED = 8
MAX_UNBROKEN = 30
"""Letters on a line of a folded cell at least, and of a cell that is folded last at most."""


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


@dataclass(frozen=True)
class Listing:
    """A printed table whose texts are folded where they are too long; it is never cut.

    Attributes:
        headings: one per column.
        rows: one text per column.
        title: what it shows; may be empty.
        numeric: headings of columns that are aligned to the right.
        unbroken: headings of columns that are folded last.
        row_styles: a style per row.
        section_ends: indices of rows with a line under them.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    numeric: frozenset[str] = frozenset()
    unbroken: frozenset[str] = frozenset()
    row_styles: Sequence[str] = ()
    section_ends: frozenset[int] = frozenset()

    def min_width(self) -> int:
        """Columns that the table needs, so that a folded text has some letters on each line."""
        total = 0
        for index, heading in enumerate(self.headings):
            longest = max(map(len, (*heading.split("\n"), *(row[index] for row in self.rows))))
            total += GUTTER + min(longest, MAX_UNBROKEN if heading in self.unbroken else MIN_FOLDED)
        return total


def open_printer(*, stderr: bool = False) -> "Printer":
    """A printer on standard output, or on standard error."""
    return Printer(Console(stderr=stderr))


class Printer:
    """Prints texts and tables to a console, in the letters that its stream has."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ascii = console.options.ascii_only

    def to_plain(self, text: str) -> str:
        """The text on one line, without control characters, with substitutes for letters that the stream lacks."""
        return encodable(one_line(text), self.console.encoding)

    def quote(self, text: object) -> str:
        """A path or an argument as one word of a shell, in a command that is shown."""
        return shell_quote(str(text), self.console.encoding)

    def styled(self, text: str, style: str = "") -> Text:
        """The plain text as rich prints it; each line of a heading over several lines on its own."""
        return Text("\n".join(map(self.to_plain, text.split("\n"))), style=style)

    def print_text(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """Prints a paragraph, wrapped to the width."""
        paragraph = Text(self.to_plain(text), style=style)
        self.console.print(Padding(paragraph, (0, 0, 0, indent), expand=False) if indent else paragraph)

    def print_line(self, text: str = "", style: str = "", *, end: str = "\n") -> None:
        """Prints one line as it is, however long: a path, a command, an error."""
        self.console.print(Text(self.to_plain(text), style=style), soft_wrap=True, end=end)

    def print_document(self, text: str) -> None:
        """Prints a file's text, JSON or YAML, as it is, for other programs."""
        self.console.file.write(f"{encodable(text, self.console.encoding)}\n")

    def print_listing(self, listing: Listing) -> None:
        """Prints a table of texts; on a console that is too narrow for it, a line per cell."""
        if listing.title:
            self.print_text(listing.title, "bold")
        if listing.min_width() <= self.console.width:
            self.console.print(self._build_listing(listing))
            return
        for row in listing.rows:
            for heading, cell in zip(listing.headings, row, strict=True):
                self.print_text(f"{heading}: {cell}")
            self.print_line()

    def _build_listing(self, listing: Listing) -> Table:
        table = Table(
            box=ASCII_BOX if self.ascii else SIMPLE_HEAD, padding=(0, GUTTER - 1, 0, 0), show_edge=False, title=None
        )
        for heading in listing.headings:
            table.add_column(
                self.styled(heading),
                justify="right" if heading in listing.numeric else "left",
                overflow="fold",
                no_wrap=heading in listing.unbroken,
            )
        for index, row in enumerate(listing.rows):
            style = listing.row_styles[index] if listing.row_styles else ""
            cells = (Text(self.to_plain(cell)) for cell in row)
            table.add_row(*cells, style=style, end_section=index in listing.section_ends)
        return table

    def print_heading(self, text: str) -> None:
        """Prints a line across the page that opens a section."""
        self.console.print()
        line = "-" if self.ascii else "─"
        self.console.print(Rule(Text(self.to_plain(text), style="bold"), align="left", characters=line, style="dim"))

    def print_table(self, table: ConsoleTable) -> None:
        """Prints as many columns as fit beside the names, and further columns below; of very many some are counted."""
        parts = list(split_columns(table, self.console.width))
        left_out = parts[MAX_PARTS - 1 : -1]
        for part, columns in enumerate(part for part in parts if part not in left_out):
            title = f"{table.title} (continued)" if part and table.title else table.title
            self.console.print()
            if title:
                self.print_text(title, "bold")
            self.console.print(self._build_table(table, columns))
        if left_out:
            self.print_text(f"{sum(map(len, left_out))} further columns are left out here; the report has them.", "dim")

    def _build_table(self, rows: ConsoleTable, columns: Sequence[ConsoleColumn]) -> Table:
        box = ASCII_BOX if self.ascii else SIMPLE_HEAD
        table = Table(box=box, padding=(0, GUTTER - 1, 0, 0), show_edge=False)
        table.add_column(self.styled(rows.names.header), overflow="fold")
        for column in columns:
            head = self.styled(column.header)
            head.justify = "right"
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
