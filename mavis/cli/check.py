"""mavis check: a gate for continuous integration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.core.errors import MavisError

if TYPE_CHECKING:
    import pandas as pd

    from mavis.analysis.regression import ScoreChange

EXIT_REGRESSION = 1


def check_command(
    folder: Annotated[Path, typer.Argument(help="Run directory.")],
    baseline: Annotated[Path | None, typer.Option(help="Baseline file, or another run directory.")] = None,
    margin: Annotated[float, typer.Option(min=0, help="Differences up to this size do not matter.")] = 0.02,
    write: Annotated[Path | None, typer.Option(help="Keep this run's scores as a baseline FILE and stop.")] = None,
) -> None:
    """Compare a run with a baseline, paired per image; exit code 1 if anything got worse or is gone.

    Worse means: the whole interval of the mean paired difference lies beyond the margin, in the metric's bad direction.
    """
    from mavis.analysis import regression
    from mavis.analysis.groups import bootstrap_settings
    from mavis.engine.store import Store
    from mavis.protocol import loading

    store = Store.open_existing(folder)
    if write is not None:
        regression.write_baseline(store.scores(), write)
        typer.echo(f"Wrote {write}; compare with: mavis check RUN --baseline {write}")
        return
    if baseline is None:
        raise MavisError("mavis check needs --baseline FILE, or --write FILE to make one from this run.")
    before = _read_scores(baseline)
    rules = bootstrap_settings(loading.parse_protocol(store.identity()["protocol"], str(folder)))
    scores = store.scores()
    for model in sorted(set(before["model"]) - set(scores["model"])):
        typer.echo(f"{model} is not in this run and is not compared.")
    changes = regression.compare_to_baseline(before, scores, store.images(), margin=margin, settings=rules)
    _print_changes(changes, margin)
    if any(change.verdict in ("worse", "missing") for change in changes):
        raise typer.Exit(EXIT_REGRESSION)


def _read_scores(baseline: Path) -> "pd.DataFrame":
    from mavis.analysis import regression
    from mavis.engine.store import Store

    if not baseline.is_dir():
        return regression.read_baseline(baseline)
    table = Store.open_existing(baseline).scores()
    return table[table["status"] == "ok"]


def _print_changes(changes: "list[ScoreChange]", margin: float) -> None:
    from rich.console import Console
    from rich.table import Table

    told = [change for change in changes if change.verdict != "same"]
    table = Table(title=f"{len(changes)} comparisons, margin {margin:g}; positive is better")
    for heading in ("verdict", "model", "explainer", "metric", "n", "before", "difference", "interval"):
        table.add_column(heading, justify="right" if heading in ("n", "before", "difference") else "left")
    for c in told:
        table.add_row(
            c.verdict,
            c.model,
            c.explainer,
            c.metric,
            str(c.n),
            f"{c.baseline_mean:.3f}",
            "–" if c.n == 0 else f"{c.difference:+.3f}",
            "–" if c.n == 0 else f"[{c.low:+.3f}, {c.high:+.3f}]",
        )
    if told:
        Console().print(table)
    count = {verdict: sum(c.verdict == verdict for c in changes) for verdict in ("worse", "missing", "better", "same")}
    typer.echo(", ".join(f"{number} {verdict}" for verdict, number in count.items()) + ".")
