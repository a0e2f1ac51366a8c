"""mavis report: writes and prints the report of a run directory, finished or not."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mavis.cli import options


def report_command(
    folder: Annotated[Path | None, typer.Argument(help="Run directory.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of leaderboard.json and stop.")
    ] = False,
    full: options.Full = False,
) -> None:
    """Write index.html, leaderboard.csv, .md, .json, .tex, skills.csv, gaps.csv and pairs.csv into FOLDER/report.

    Short tables are printed; the files hold the full ones.
    """
    from mavis.core.errors import MavisError
    from mavis.report import leaderboard_schema
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    if schema:
        printer.print_document(json.dumps(leaderboard_schema(), indent=2))
        return
    if folder is None:
        raise MavisError("mavis report needs a run directory, e.g. mavis report mavis-runs/…; mavis run writes one.")
    from mavis.report.console.summary import print_summary
    from mavis.workflows import run

    print_summary(printer.console, run.write_report(folder), full=full)
    printer.print_line()
    printer.print_line(f"Report: {folder / 'report' / 'index.html'}")
