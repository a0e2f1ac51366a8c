"""The command ``mavis``: one file per command, which parses options, calls a workflow and prints its result.

`options` are the options that several commands share, `progress` shows a run while it goes on. torch is imported
inside the commands only, so that ``mavis --help`` is quick. Open `run` first.
"""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from mavis.cli import check, doctor, list_, plan, protocol, register, report, run, sensitivity, train, verify
from mavis.core.errors import MavisError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


class _OneLineErrors(TyperGroup):
    """Command group that prints a MavisError as one line (exit code 2), and a hint on Ctrl-C (exit code 130)."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MavisError as error:
            typer.secho(f"mavis: {error}", err=True, fg=typer.colors.RED)
            sys.exit(EXIT_BAD_INPUT)
        except KeyboardInterrupt:
            typer.echo("mavis: interrupted; repeat the command to go on where it stopped.", err=True)
            sys.exit(EXIT_INTERRUPTED)


app = typer.Typer(
    cls=_OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=(
        "Which explanation method can be trusted on this face-attribute classifier, and is it as good for every group?"
        "\n\nBegin with: [bold]mavis run --model race_resnet --explainers all[/bold]"
    ),
)
app.command("run")(run.run_command)
app.command("report")(report.report_command)
app.command("check")(check.check_command)
app.command("plan")(plan.plan_command)
app.command("sensitivity")(sensitivity.sensitivity_command)
app.command("verify")(verify.verify_command)
app.command("list")(list_.list_command)
app.add_typer(protocol.app, name="protocol")
app.command("register")(register.register_command)
app.command("train")(train.train_command)
app.command("doctor")(doctor.doctor_command)
