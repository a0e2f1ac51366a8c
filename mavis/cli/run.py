"""mavis run: explains, measures and recommends; the main command."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.cli import options

if TYPE_CHECKING:
    from mavis.report.console.terminal import Printer

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
    include_faulty: options.IncludeFaulty = False,
    out: Annotated[Path | None, typer.Option(help="Run directory (default: mavis-runs/MODEL_DATA_PROTOCOL).")] = None,
    shard: Annotated[
        str, typer.Option(help="Shard K/N: every N-th block from the K-th on; run all N shards into the same --out.")
    ] = "1/1",
    block_timeout: options.BlockTimeout = 3600.0,
    full: options.Full = False,
) -> None:
    """Explain, measure, compare per group, and recommend a method, or state why none can be recommended.

    Results are stored block by block: repeat the command to continue after an interruption.
    Exit code 3: some cells failed; they are listed, and all other results are complete.
    """
    from mavis.cli.progress import progress_display
    from mavis.report.console.summary import print_summary
    from mavis.report.console.terminal import open_printer
    from mavis.workflows import run as pipeline

    request = options.build_request(
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
        include_faulty=include_faulty,
        shard=shard,
        block_timeout=block_timeout,
    )
    folder = out or options.default_folder(models, data, protocol)
    printer = open_printer()
    with progress_display(open_printer(stderr=True)) as progress:
        findings = pipeline.run_benchmark(request, folder, progress)
    print_summary(printer.console, findings, full=full)
    printer.print_line()
    printer.print_line(f"Report: {folder / 'report' / 'index.html'}")
    printer.print_line(f"Next:   {_next_command(printer, findings.protocol.name, folder)}")
    if findings.failures:
        raise typer.Exit(EXIT_FAILED_CELLS)


def _next_command(printer: "Printer", protocol: str, folder: Path) -> str:
    """The command to run next: the full protocol after a preview, else `mavis check`."""
    if protocol == "quick":
        arguments = " ".join(map(printer.quote, _arguments_to_repeat(sys.argv[2:])))
        return f"mavis run {arguments} --protocol best_practices_v1   (confirms this preview; hours, resumable)"
    return f"mavis check {printer.quote(folder)} --baseline {printer.quote(folder)}"


def _arguments_to_repeat(arguments: list[str]) -> list[str]:
    """The arguments of this run without those that set the protocol, the folder, the number of images or the shard."""
    repeated: list[str] = []
    is_value = False  # of an option that is left out
    for argument in arguments:
        if is_value:
            is_value = False
        elif argument.partition("=")[0] in ("--protocol", "--out", "--limit", "--shard"):
            is_value = "=" not in argument
        else:
            repeated.append(argument)
    return repeated
