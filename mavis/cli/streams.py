"""Standard streams that take any text: whatever the console's encoding and width, closed, full, or no longer read."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from mavis.core.printable import encodable

MIN_WIDTH = 40
"""Columns; a console that says it has fewer is taken to have these."""

SIZE_VARIABLES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")


class CarefulStream:
    """A text stream on which writing never fails.

    What the encoding lacks is written with substitutes. A stream that is closed, or that nobody reads any more, takes
    the rest in silence, so that the command ends with its own exit code.

    Attributes:
        failure: the error after which nothing more was written, e.g. of a full disk; None where all is well.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.failure: OSError | None = None
        self._stream = stream

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes a text, as much of it as can be shown."""
        stream = self._stream
        if stream is not None:
            self._attempt(lambda: stream.write(encodable(text, self.encoding)))
        return len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        if self._stream is not None:
            self._attempt(self._stream.flush)

    def isatty(self) -> bool:
        """True for a terminal."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except BrokenPipeError:
            self._silence()
        except OSError as error:
            self.failure = error
            self._silence()
        except ValueError:  # closed in this process
            self._stream = None

    def _silence(self) -> None:
        """Leads the stream to nowhere; otherwise Python tries to write the rest at its end, and fails."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, cast("TextIO", self._stream).fileno())
            os.close(nowhere)
        self._stream = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def careful_streams() -> Iterator[CarefulStream]:
    """Standard output and standard error as careful streams, and sizes of the console that can be believed.

    Yields:
        Standard output.
    """
    _occupy_standard_files()
    streams, sizes = (sys.stdout, sys.stderr), {name: os.environ.get(name) for name in SIZE_VARIABLES}
    output, errors = CarefulStream(sys.stdout), CarefulStream(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", errors)
    _set_sizes({name: _believable_size(text) for name, text in sizes.items()})
    try:
        yield output
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = streams
        _set_sizes(sizes)


def _occupy_standard_files() -> None:
    """Leads closed standard files to nowhere, so that no file of a run gets their numbers and what is printed there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _believable_size(text: str | None) -> str | None:
    """The size, at least `MIN_WIDTH`; None for what is no size, so that the terminal is asked, or 80 columns taken."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 4 or int(text) == 0:
        return None
    return str(max(int(text), MIN_WIDTH))


def _set_sizes(sizes: dict[str, str | None]) -> None:
    for name, text in sizes.items():
        if text is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = text
