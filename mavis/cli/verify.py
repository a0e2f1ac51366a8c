"""mavis verify: meta-evaluation, tests of the deciding metrics on models and maps whose truth is known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.cli import options
from mavis.core.printable import one_line

if TYPE_CHECKING:
    from mavis.report.console.terminal import Printer
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
    from rich.text import Text

    from mavis.core import files
    from mavis.core.errors import MavisError
    from mavis.protocol.loading import load_protocol
    from mavis.report.console.terminal import open_printer
    from mavis.workflows import meta_evaluation

    if quick and save is not None:
        raise MavisError("--save needs the full form: the reduced form demotes nothing; leave out --quick.")
    tested_protocol = load_protocol(protocol)
    printer = open_printer()
    with open_printer(stderr=True).console.status("") as status:
        result = meta_evaluation.meta_evaluate(
            tested_protocol,
            quick=quick,
            retrained_model=retrained_model,
            notify=lambda text: status.update(Text(one_line(text))),
        )
    _print_result(printer, result)
    for path in filter(None, (json, save)):
        files.write_text(path, result.model_dump_json(indent=1) + "\n")
    failures = meta_evaluation.new_failures(result, tested_protocol)
    for check in failures:
        printer.print_text(f"failed: {check.id} {check.metric or ''} on {check.subject}: {check.test}")
    if failures:
        raise typer.Exit(EXIT_FAILED)


def _print_result(printer: "Printer", result: "MetaEvaluation") -> None:
    """A row per test; then the thresholds, and the demoted and the verified metrics."""
    from mavis.report.console.terminal import Listing

    rows = []
    for check in result.checks:
        value = "–" if check.value is None else f"{check.value:.3g}"
        cells = (check.id, check.test, check.metric or "", check.subject, check.statistic, value, check.criterion)
        rows.append((*cells, check.verdict))
    printer.print_listing(
        Listing(
            ("id", "test", "metric", "on", "statistic", "value", "required", "verdict"),
            rows,
            title=f"{result.protocol}: {len(result.checks)} tests, {len(result.failures())} failed",
            numeric=frozenset({"value"}),
            row_styles=["red" if check.has_failed else "" for check in result.checks],
        )
    )
    for threshold in result.thresholds:
        printer.print_text(f"{threshold.threshold} = {threshold.value:g}: {threshold.verdict}")
    for metric, reason in result.demoted.items():
        printer.print_text(f"demoted: {metric}: {reason}")
    printer.print_text(f"verified: {', '.join(result.verified) or 'not assessed by the reduced form'}")
