"""mavis check: a regression gate for continuous integration."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.core.errors import MavisError

if TYPE_CHECKING:
    import pandas as pd

    from mavis.analysis.regression import ScoreChange

EXIT_REGRESSION = 1
VERDICTS = ("worse", "missing", "better", "same")


def check_command(
    folder: Annotated[Path, typer.Argument(help="Run directory.")],
    baseline: Annotated[Path | None, typer.Option(help="Baseline file, or another run directory.")] = None,
    margin: Annotated[float, typer.Option(min=0, help="Largest difference that does not count.")] = 0.02,
    save_baseline: Annotated[
        Path | None,
        typer.Option("--save-baseline", "--write", help="Save this run's scores as a baseline file and stop."),
    ] = None,
) -> None:
    """Compare a run with a baseline, paired per image; exit code 1 if a metric got worse or is missing.

    Worse means: the whole interval of the mean paired difference lies beyond the margin, in the metric's bad direction.
    """
    from mavis.analysis import regression
    from mavis.analysis.groups import bootstrap_settings
    from mavis.engine.store import Store
    from mavis.protocol import loading

    store = Store.open_existing(folder)
    if save_baseline is not None:
        regression.write_baseline(store.scores(), save_baseline)
        typer.echo(f"Wrote {save_baseline}; compare with: mavis check RUN --baseline {save_baseline}")
        return
    if baseline is None:
        raise MavisError("mavis check needs --baseline FILE, or --save-baseline FILE to make one from this run.")
    baseline_scores, scores = _read_scores(baseline), store.scores()
    settings = bootstrap_settings(loading.parse_protocol(store.identity()["protocol"], str(folder)))
    for model in sorted(set(baseline_scores["model"]) - set(scores["model"])):
        typer.echo(f"{model} is not in this run and is not compared.")
    changes = regression.compare_to_baseline(baseline_scores, scores, store.images(), margin=margin, settings=settings)
    _print_changes(changes, margin)
    if any(change.verdict in ("worse", "missing") for change in changes):
        raise typer.Exit(EXIT_REGRESSION)


def _read_scores(baseline: Path) -> "pd.DataFrame":
    """Scores of a baseline file or of a run directory; only images that have a value."""
    from mavis.analysis import regression
    from mavis.engine.store import Store

    if not baseline.is_dir():
        return regression.read_baseline(baseline)
    table = Store.open_existing(baseline).scores()
    return table[table["status"] == "ok"]


def _print_changes(changes: "Sequence[ScoreChange]", margin: float) -> None:
    """A table of everything that changed, and a line with the number of comparisons per verdict."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(changes)} comparisons, margin {margin:g}; positive is better")
    for heading in ("verdict", "model", "explainer", "metric", "n", "baseline", "difference", "interval"):
        table.add_column(heading, justify="right" if heading in ("n", "baseline", "difference") else "left")
    for change in changes:
        if change.verdict != "same":
            table.add_row(*_change_cells(change))
    if table.row_count:
        Console().print(table)
    counts = {verdict: sum(change.verdict == verdict for change in changes) for verdict in VERDICTS}
    typer.echo(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".")


def _change_cells(change: "ScoreChange") -> tuple[str, ...]:
    """The table row of a change; one that is missing from the run has neither difference nor interval."""
    is_missing = change.n == 0
    return (
        change.verdict,
        change.model,
        change.explainer,
        change.metric,
        str(change.n),
        f"{change.baseline_mean:.3f}",
        "–" if is_missing else f"{change.difference:+.3f}",
        "–" if is_missing else f"[{change.low:+.3f}, {change.high:+.3f}]",
    )
