"""mavis run: the main job."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from mavis.cli import options

EXIT_FAILED_CELLS = 3


def run_command(
    models: options.Models,
    data: options.Data = "synthetic_faces",
    target: options.Target = None,
    split: options.Split = None,
    explainers: options.Explainers = "all",
    metrics: options.Metrics = None,
    groups: options.Groups = None,
    protocol: options.ProtocolName = "quick",
    limit: options.Limit = None,
    seed: options.Seed = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = "auto",
    allow_known_faulty: options.AllowKnownFaulty = False,
    out: Annotated[Path | None, typer.Option(help="Run directory. Default: mavis-runs/MODEL_DATA_PROTOCOL.")] = None,
    shard: Annotated[
        str, typer.Option(help="K/N: only every N-th block from the K-th; run all N into one --out.")
    ] = "1/1",
    full: options.Full = False,
) -> None:
    """Explain, measure, compare per group, and recommend a method, or refuse to, with reasons.

    The run directory is the state: repeat the command to continue after an interruption.
    Exit code 3: some cells failed; they are listed, and everything else is there.
    """
    from rich.console import Console

    from mavis.cli.progress import progress_display
    from mavis.report.console.summary import print_summary
    from mavis.workflows import run as pipeline

    asked = options.build_request(
        models=models,
        data=data,
        target=target,
        split=split,
        explainers=explainers,
        metrics=metrics,
        groups=groups,
        protocol=protocol,
        limit=limit,
        seed=seed,
        device=device,
        batch_size=batch_size,
        allow_known_faulty=allow_known_faulty,
        shard=shard,
    )
    folder = out or options.default_folder(models, data, protocol)
    console = Console()
    with progress_display(Console(stderr=True)) as progress:
        found = pipeline.run_benchmark(asked, folder, progress)
    print_summary(console, found, full=full)
    console.print(f"\nReport: {folder / 'report' / 'index.html'}", soft_wrap=True, highlight=False)
    console.print(f"Next:   {_next_command(found.protocol.name, folder)}", soft_wrap=True, highlight=False)
    if found.failures:
        raise typer.Exit(EXIT_FAILED_CELLS)


def _next_command(protocol: str, folder: Path) -> str:
    """What to do now: confirm a preview with the full protocol, else guard it."""
    if protocol == "quick":
        arguments = _arguments_to_repeat(sys.argv[2:])
        return f"mavis run {arguments} --protocol best_practices_v1   (confirms this preview; hours, resumable)"
    return f"mavis check {shlex.quote(str(folder))} --baseline {shlex.quote(str(folder))}"


def _arguments_to_repeat(arguments: list[str]) -> str:
    """The command's own arguments without those that name the protocol, the folder or a part."""
    kept, skip = [], False
    for argument in arguments:
        if skip or argument.partition("=")[0] in ("--protocol", "--out", "--limit", "--shard"):
            skip = not skip and "=" not in argument
        else:
            kept.append(argument)
    return shlex.join(kept)
