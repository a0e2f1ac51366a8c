"""The command group: help, exit codes of bad input and interruption, and the commands that there are."""

import subprocess
import sys

import pytest

from mavis.core.errors import MavisError
from mavis.workflows import run

from .commands import call

COMMANDS = (
    "run",
    "report",
    "check",
    "plan",
    "sensitivity",
    "verify",
    "list",
    "register",
    "train",
    "doctor",
    "protocol",
)


def test_help_is_fast_and_without_torch() -> None:
    """mavis --help does not import torch."""
    code = "import sys, mavis.cli\ntry: mavis.cli.app(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Commands" in shown
    assert shown.strip().endswith("False")


def test_help_names_every_command_and_the_first_one_to_try() -> None:
    """The commands in one order, groups of commands last, under the line to begin with."""
    shown = call("--help").stdout
    assert "Begin with: mavis run --model race_resnet --explainers all" in shown
    places = [shown.index(f"│ {command} ") for command in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    """No option is shown by its name and type alone."""
    import typer

    from mavis.cli import app

    described = typer.main.get_command(app).commands[command]
    assert described.help
    assert [option.opts for option in described.params if option.name != "help" and not option.help] == []


@pytest.mark.usefixtures("working_folder")
def test_bad_input_is_one_line_with_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A MavisError is printed on standard error, without a traceback."""

    def fail(*_: object, **__: object) -> None:
        raise MavisError("Expected a better model.")

    monkeypatch.setattr(run, "run_benchmark", fail)
    result = call("run", "--model", "race_resnet")
    assert (result.exit_code, result.stderr.strip()) == (2, "mavis: Expected a better model.")


@pytest.mark.usefixtures("working_folder")
def test_an_interruption_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and the hint to repeat the command."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_benchmark", interrupt)
    result = call("run", "--model", "race_resnet")
    assert (result.exit_code, "repeat the command" in result.stderr) == (130, True)
