"""The command line as a user types it."""

from pathlib import Path

from typer.testing import CliRunner, Result

from mavis.cli import app


def call(*arguments: object, width: int | str = 80) -> Result:
    """One command in this process; its exit code, standard output and standard error."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": str(width)})


def error_line(*arguments: object) -> str:
    """The one line that a command with bad input prints; its exit code is 2 and it writes nothing."""
    files = set(Path.cwd().rglob("*"))
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert set(Path.cwd().rglob("*")) == files
    (line,) = result.stderr.strip().splitlines()
    return line


def joined(text: str) -> str:
    """Printed text without its line breaks and padding."""
    return " ".join(text.split())
