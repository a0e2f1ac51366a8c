"""The command ``mavis``: one file per command, which parses options, calls a workflow and prints its result.

`options` are the options that several commands share, `progress` shows a run while it goes on. `entry` is the door:
it looks at the arguments and makes every error one line; `streams` takes care of the console. Everything is printed by
`mavis.report.console.terminal.Printer`. torch is imported inside the commands only, so that ``mavis --help`` is quick.
Open `run` first.
"""

import typer

from mavis.cli import check, doctor, list_, plan, protocol, register, report, run, sensitivity, train, verify
from mavis.cli.entry import CommandGroup

app = typer.Typer(
    cls=CommandGroup,
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
