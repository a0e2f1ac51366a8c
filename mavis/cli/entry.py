"""The door of the command line: arguments are looked at first, every error becomes one line and an exit code."""

import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from mavis.cli.streams import CarefulStream, careful_streams
from mavis.core.errors import MavisError
from mavis.core.files import describe_os_error
from mavis.core.printable import one_line, shell_quote

EXIT_FAULT = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class CommandGroup(TyperGroup):
    """Command group that prints every error as one line.

    Exit codes: 2 for bad input and for output that could not be written, 130 after Ctrl-C, 1 for a fault of MAVIS,
    whose traceback goes to a file.
    """

    def main(self, args: Sequence[str] | None = None, *positional: Any, **extra: Any) -> Any:
        """Runs the command that the arguments name, and ends the program."""
        arguments = list(sys.argv[1:] if args is None else args)
        with careful_streams() as output:
            code = self._exit_code(arguments, *positional, **extra)
            output.flush()
            code = _code_of_output(output, code)
        sys.exit(code)

    def _exit_code(self, arguments: list[str], *positional: Any, **extra: Any) -> int:
        try:
            check_arguments(arguments)
            code = super().main(arguments, *positional, **{**extra, "standalone_mode": False})
        except MavisError as error:
            print_error(str(error))
            return EXIT_BAD_INPUT
        except typer.Abort:
            return EXIT_INTERRUPTED
        except Exception as error:
            return _code_of_usage_error(error) if hasattr(error, "format_message") else _code_of_fault(error)
        return code if isinstance(code, int) else 0

    def invoke(self, ctx: Any) -> Any:
        """Runs the command, and says after Ctrl-C how to go on."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print_error("interrupted; repeat the command to go on where it stopped.")
            sys.exit(EXIT_INTERRUPTED)


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuses arguments that no command can use.

    Raises:
        MavisError: an argument is empty, or holds a NUL or bytes that are not UTF-8.
    """
    for number, argument in enumerate(arguments):
        option, equals, value = argument.partition("=")
        if not argument or (argument.startswith("--") and equals and not value):
            before = arguments[number - 1] if number else ""
            name = option or (before if before.startswith("-") and before != "--" else f"Argument {number + 1}")
            raise MavisError(f"{name} is empty; give a value, or leave it out.")
        if "\0" in argument:
            raise MavisError(f"The argument {shell_quote(argument)} holds a NUL; leave it out.")
        try:
            argument.encode()
        except UnicodeEncodeError:
            text = f"The argument {shell_quote(argument)} holds bytes that are not UTF-8"
            raise MavisError(f"{text}; rename the file or folder.") from None


def print_error(message: str) -> None:
    """Prints an error as one line on standard error."""
    from mavis.report.console.terminal import open_printer

    open_printer(stderr=True).print_line(f"mavis: {message}", "red")


def _code_of_usage_error(error: Any) -> int:
    """Prints an unknown option, a missing value or the like; without arguments the help was printed already."""
    message, context = one_line(error.format_message()).strip(), getattr(error, "ctx", None)
    if message:
        command = context.command_path if context else "mavis"
        print_error(f"{message.removesuffix('.')}; '{command} --help' lists what there is.")
    return int(error.exit_code)


def _code_of_fault(error: Exception) -> int:
    """Saves the traceback of an error that MAVIS did not raise on purpose, and says where."""
    text = f"{type(error).__name__}: {error}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="mavis-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.writelines(traceback.format_exception(error))
        attachment = f"with {file.name}"
    except OSError as failure:
        attachment = f"with its traceback, which could not be saved ({failure.strerror})"
    print_error(f"unexpected {text[:300].rstrip('.')}. This is a fault of MAVIS: please report it {attachment}.")
    return EXIT_FAULT


def _code_of_output(output: CarefulStream, code: int) -> int:
    """The exit code; that of bad input where the result could not be printed and nothing else went wrong."""
    if output.failure is None:
        return code
    print_error(
        f"Cannot write the output: {describe_os_error(output.failure)}; what the command wrote into files is complete."
    )
    return code or EXIT_BAD_INPUT
