"""mavis check: a regression gate for continuous integration."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.core.errors import MavisError

if TYPE_CHECKING:
    from mavis.analysis.regression import Baseline, ScoreChange
    from mavis.engine.store import Store
    from mavis.report.console.terminal import Printer

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
    """Compare a run with a baseline, paired per image.

    Exit code 1: a metric got worse, or is missing, or there is nothing to compare.

    Worse means: the whole interval of the mean paired difference lies beyond the margin, in the metric's bad direction.
    """
    from mavis.analysis import regression
    from mavis.analysis.score_origin import origin_of_run
    from mavis.engine.store import Store
    from mavis.report.console.terminal import open_printer
    from mavis.report.wording import baselines

    printer, store = open_printer(), Store.open_existing(folder)
    if save_baseline is not None:
        regression.write_baseline(store.scores(), save_baseline, origin_of_run(store.identity()))
        command = f"mavis check RUN --baseline {printer.quote(save_baseline)}"
        printer.print_line(f"Wrote {save_baseline}; compare with: {command}")
        return
    if baseline is None:
        raise MavisError("mavis check needs --baseline FILE, or --save-baseline FILE to make one from this run.")
    if not math.isfinite(margin):
        raise MavisError(f"--margin must be a number of at least 0, got {margin}.")
    reference = _read_baseline(baseline)
    if regression.comparable_scores(reference.scores).empty:
        printer.print_text(baselines.nothing_compares_sentence(set(reference.scores["metric"])), "red")
        raise typer.Exit(EXIT_REGRESSION)
    _check_origins(printer, reference, store)
    changes = _compare(reference, store, margin)
    _print_changes(printer, changes, set(store.identity()["models"]), margin)
    if any(change.verdict in ("worse", "missing") for change in changes):
        raise typer.Exit(EXIT_REGRESSION)


def _read_baseline(path: Path) -> "Baseline":
    """The baseline in a file, or the scores of a run directory."""
    from mavis.analysis import regression
    from mavis.analysis.score_origin import origin_of_run
    from mavis.engine.store import Store

    if not path.is_dir():
        return regression.read_baseline(path)
    store = Store.open_existing(path)
    return regression.Baseline(store.scores(), origin_of_run(store.identity()))


def _check_origins(printer: "Printer", baseline: "Baseline", store: "Store") -> None:
    """Refuses scores of other settings, and prints what else differs between the baseline and the run."""
    from mavis.analysis import score_origin
    from mavis.report.wording import baselines

    if baseline.origin is None:
        printer.print_text(
            "This baseline was saved by an older MAVIS and does not name its settings, data and weights; it is "
            "compared as it is. --save-baseline makes one that does.",
            "yellow",
        )
        return
    now = score_origin.origin_of_run(store.identity())
    compared = {
        "metrics": set(baseline.scores["metric"]) & set(now.metrics),
        "explainers": set(baseline.scores["explainer"]) & set(now.explainers),
    }
    score_origin.check_same_rules(baseline.origin, now, compared=compared)
    for remark in baselines.origin_remarks(baseline.origin, now):
        printer.print_text(remark, "yellow")


def _compare(baseline: "Baseline", store: "Store", margin: float) -> "list[ScoreChange]":
    from mavis.analysis import regression
    from mavis.analysis.groups import bootstrap_settings
    from mavis.protocol import loading

    settings = bootstrap_settings(loading.parse_protocol(store.identity()["protocol"], str(store.folder)))
    return regression.compare_to_baseline(
        baseline.scores, store.scores(), store.images(), margin=margin, settings=settings
    )


def _print_changes(
    printer: "Printer", changes: "Sequence[ScoreChange]", models: Collection[str], margin: float
) -> None:
    """A table of everything that changed, a line per model that is gone, and the number of comparisons per verdict."""
    from mavis.report.console.terminal import Listing

    rows = [_change_cells(change) for change in changes if change.verdict != "same" and change.model in models]
    if rows:
        headings = ("verdict", "model", "explainer", "metric", "n", "baseline", "difference", "interval")
        title = f"{len(changes)} comparisons, margin {margin:g}; positive is better"
        printer.print_listing(Listing(headings, rows, title=title, numeric=frozenset({"n", "baseline", "difference"})))
    for model in sorted({change.model for change in changes} - set(models)):
        n = sum(change.model == model for change in changes)
        printer.print_text(f"missing: {model} is in the baseline and not in this run ({n} comparisons).", "red")
    counts = {verdict: sum(change.verdict == verdict for change in changes) for verdict in VERDICTS}
    printer.print_line(", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".")


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
