"""mavis verify: do the metrics deserve trust? Tests with known truth, and what follows for the decision."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from mavis.workflows.meta_evaluation import MetaEvaluation

EXIT_FAILED = 1


def verify_command(
    protocol: options.ProtocolName = "best_practices_v1",
    quick: Annotated[bool, typer.Option("--quick", help="A reduced form in seconds; it demotes nothing.")] = False,
    twin: Annotated[
        Path | None, typer.Option(help="Folder of race_resnet trained from another seed: mavis train --seed 1.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result to FILE.")] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write it to FILE, to lie beside the protocol: PROTOCOL.meta.json.")
    ] = None,
) -> None:
    """Test the metrics that decide on models and maps whose truth is known (M0 to M13).

    Exit code 1: a required test failed that is not on record as a demotion.
    """
    from rich.console import Console

    from mavis.core.errors import MavisError
    from mavis.protocol import loading as protocols
    from mavis.workflows import meta_evaluation as meta

    if quick and write is not None:
        raise MavisError("The reduced form demotes nothing: leave out --quick to --write what decisions will read.")
    rules = protocols.load_protocol(protocol)
    with Console(stderr=True).status("") as status:
        found = meta.meta_evaluate(rules, quick=quick, retrained_model=twin, notify=status.update)
    _print_verification(Console(), found)
    for path in filter(None, (json, write)):
        path.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    failed = meta.new_failures(found, rules)
    for check in failed:
        typer.echo(f"failed: {check.id} {check.metric or ''} on {check.subject}: {check.test}")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def _print_verification(console: "Console", verification: "MetaEvaluation") -> None:
    from rich.table import Table

    table = Table(
        title=f"{verification.protocol}: {len(verification.checks)} tests, {len(verification.failures())} failed"
    )
    for heading in ("id", "test", "metric", "on", "statistic", "value", "asked", "verdict"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for check in verification.checks:
        value = "–" if check.value is None else f"{check.value:.3g}"
        cells = (check.id, check.test, check.metric or "", check.subject, check.statistic, value, check.criterion)
        table.add_row(*cells, check.verdict, style="red" if check.has_failed else None)
    console.print(table)
    for threshold in verification.thresholds:
        console.print(f"{threshold.threshold} = {threshold.value:g}: {threshold.verdict}", highlight=False)
    for metric, why in verification.demoted.items():
        console.print(f"demoted: {metric}: {why}", highlight=False)
    console.print(f"verified: {', '.join(verification.verified) or 'not said by the reduced form'}", highlight=False)
