"""mavis verify: meta-evaluation, tests of the deciding metrics on models and maps whose truth is known."""

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
    quick: Annotated[
        bool, typer.Option("--quick", help="Reduced form, about half a minute; it demotes no metric.")
    ] = False,
    retrained_model: Annotated[
        Path | None,
        typer.Option(
            "--retrained-model", "--twin", help="Folder of race_resnet trained with another seed: mavis train --seed 1."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result to this file.")] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", "--write", help="Save the result for decisions: PROTOCOL.meta.json in the protocol's folder."
        ),
    ] = None,
) -> None:
    """Meta-evaluation: test the deciding metrics on models and maps whose truth is known (M0 to M13).

    A metric that fails a required test is demoted: it takes no part in decisions.
    Exit code 1: a required test failed that is not recorded as a demotion yet.
    """
    from rich.console import Console

    from mavis.core.errors import MavisError
    from mavis.protocol.loading import load_protocol
    from mavis.workflows import meta_evaluation

    if quick and save is not None:
        raise MavisError("--save needs the full form: the reduced form demotes nothing; leave out --quick.")
    tested_protocol = load_protocol(protocol)
    with Console(stderr=True).status("") as status:
        result = meta_evaluation.meta_evaluate(
            tested_protocol, quick=quick, retrained_model=retrained_model, notify=status.update
        )
    _print_result(Console(), result)
    for path in filter(None, (json, save)):
        path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    failures = meta_evaluation.new_failures(result, tested_protocol)
    for check in failures:
        typer.echo(f"failed: {check.id} {check.metric or ''} on {check.subject}: {check.test}")
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _print_result(console: "Console", result: "MetaEvaluation") -> None:
    """A row per test; then the thresholds, and the demoted and the verified metrics."""
    from rich.table import Table

    table = Table(title=f"{result.protocol}: {len(result.checks)} tests, {len(result.failures())} failed")
    for heading in ("id", "test", "metric", "on", "statistic", "value", "required", "verdict"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for check in result.checks:
        value = "–" if check.value is None else f"{check.value:.3g}"
        cells = (check.id, check.test, check.metric or "", check.subject, check.statistic, value, check.criterion)
        table.add_row(*cells, check.verdict, style="red" if check.has_failed else None)
    console.print(table)
    for threshold in result.thresholds:
        console.print(f"{threshold.threshold} = {threshold.value:g}: {threshold.verdict}", highlight=False)
    for metric, reason in result.demoted.items():
        console.print(f"demoted: {metric}: {reason}", highlight=False)
    console.print(f"verified: {', '.join(result.verified) or 'not assessed by the reduced form'}", highlight=False)
