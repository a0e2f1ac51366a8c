"""Errors: everything that MAVIS raises on purpose.

MavisError            expected, got, what to do; the command line prints it as one line, exit code 2
├── UnknownName       a name that is not registered; suggests the nearest
├── BadParameter      a parameter that a factory does not take, or of the wrong kind
├── ProtocolError     a protocol file that is not valid, with the field's path
├── DataError         data that cannot be read or do not fit
│   └── UnreadableImage   an image that cannot be loaded
├── ModelError        a model that cannot be loaded or evaluated
├── ContractError     a plug-in that breaks its contract, by what it returns, changes or raises
├── PluginError       a plug-in that is not run on a model, or did not come back
├── FileError         a file or folder that the system does not let us read or write
└── StoreError        a run directory that belongs to another run, or is damaged
"""

import difflib
from collections.abc import Iterable

from mavis.core.printable import one_line

MAX_LETTERS = 500
"""Of a foreign error's message; some hold a whole array."""


class MavisError(Exception):
    """Base class of all errors of MAVIS; its message is one line for the user, whatever names it quotes."""

    def __init__(self, message: object = "") -> None:
        super().__init__(" ".join(str(message).splitlines()))


def exception_text(error: BaseException) -> str:
    """The message of an exception of strangers' code, whose ``__str__`` may raise too; empty then."""
    try:
        return str(error)
    except Exception:
        return ""


class UnknownName(MavisError):  # noqa: N818 (the root's name says that it is an error)
    """A name that is not registered.

    Args:
        kind: kind of thing that was looked up, e.g. ``"explainer"``.
        name: the unknown name.
        choices: the registered names.
    """

    def __init__(self, kind: str, name: str, choices: Iterable[str]) -> None:
        names = sorted(choices)
        suggestions = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean '{suggestions[0]}'?" if suggestions else f"there are: {', '.join(names) or 'none'}."
        super().__init__(f"No {kind} is named '{name}'; {hint}")


class BadParameter(MavisError):  # noqa: N818
    """A parameter that a factory does not take, or of the wrong kind."""


class ProtocolError(MavisError):
    """A protocol file that is not valid."""


class DataError(MavisError):
    """Data that cannot be read or do not fit."""


class UnreadableImage(DataError):  # noqa: N818
    """An image that cannot be loaded."""


class ModelError(MavisError):
    """A model that cannot be loaded or evaluated."""


class ContractError(MavisError):
    """A plug-in that breaks its contract, by what it returns, changes or raises."""


class PluginError(MavisError):
    """A plug-in that is not run on a model, or did not come back."""


class FileError(MavisError):
    """A file or folder that the system does not let MAVIS read or write."""


class StoreError(MavisError):
    """A run directory that belongs to another run, or is damaged."""


def describe_error(error: BaseException) -> str:
    """Kind and message on one line, without what exceeds `MAX_LETTERS`; the kind alone where there is no message."""
    text = " ".join(exception_text(error).split())
    text = text if len(text) <= MAX_LETTERS or isinstance(error, MavisError) else f"{text[:MAX_LETTERS]}…"
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__)
