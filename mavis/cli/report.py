"""mavis report: the part after execution, on any run, finished or not."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mavis.cli import options


def report(
    folder: Annotated[Path | None, typer.Argument(help="Run directory.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of leaderboard.json and stop.")
    ] = False,
    everything: options.Everything = False,
) -> None:
    """Write index.html, leaderboard.csv, .md, .json, .tex, skills.csv, gaps.csv and pairs.csv into DIR/report.

    A short form of the tables is printed; the files have everything.
    """
    from mavis import report as pages
    from mavis.core.errors import MavisError

    if schema:
        typer.echo(json.dumps(pages.schema(), indent=2))
        return
    if folder is None:
        raise MavisError("mavis report needs a run directory, e.g. mavis report mavis-runs/…; mavis run writes one.")
    from rich.console import Console

    from mavis.report.console import summary as tables
    from mavis.workflows import run

    console = Console()
    tables.show(console, run.report_on(folder), everything=everything)
    console.print(f"\nReport: {folder / 'report' / 'index.html'}", soft_wrap=True, highlight=False)
