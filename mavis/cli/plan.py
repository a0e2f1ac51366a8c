"""mavis plan: what a run would do and cost, before it does."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from mavis.cli import options

if TYPE_CHECKING:
    from mavis.engine.planning.plan import Cell
    from mavis.engine.planning.setup import RunPlan


def plan_command(
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
) -> None:
    """Check every name and parameter, and say what the run would cost, without running it."""
    from mavis.engine.planning import setup

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
    )
    _print_plan(setup.plan_run(asked))


def _print_plan(run_plan: "RunPlan") -> None:
    from rich.console import Console
    from rich.table import Table

    from mavis.engine.planning import cost_estimate

    console = Console()
    total = 0.0
    for name, of_model in run_plan.by_model.items():
        estimate = of_model.cost
        model = run_plan.models[name][0]
        side = run_plan.sample.data.load(run_plan.sample.ids[:1]).images.shape[2]
        forward, backward = cost_estimate.seconds_per_sample(model, side, run_plan.chunk)
        table = Table(
            title=f"{name}: {estimate.n_images[0]} images, {estimate.n_images[1]} of them also under variants"
        )
        for heading in ("explainer", "forwards", "backwards", "seconds"):
            table.add_column(heading, justify="left" if heading == "explainer" else "right")
        for explainer in estimate.maps:
            cost = estimate.for_explainer(explainer)
            took = cost.forwards * forward + cost.backwards * backward
            table.add_row(explainer, f"{cost.forwards:,}", f"{cost.backwards:,}", f"{took:.1f}")
        once = estimate.shared.forwards
        table.add_section()
        table.add_row("once for all", f"{once:,}", "0", f"{once * forward:.1f}")
        whole = estimate.total
        took = whole.forwards * forward + whole.backwards * backward
        total += took
        table.add_section()
        table.add_row("all", f"{whole.forwards:,}", f"{whole.backwards:,}", f"{took:.1f}")
        console.print(table)
        for why, names in _skips_by_reason(of_model.cells).items():
            console.print(f"skipped: {', '.join(names)}: {why.removesuffix('.')}.", highlight=False)
    typer.echo(
        f"{len(run_plan.blocks)} blocks; about {total:.0f} s of model time on {run_plan.device}, before sharing."
    )


def _skips_by_reason(cells: "Iterable[Cell]") -> dict[str, list[str]]:
    """Per reason what is left out: explainers, or metrics of explainers that have other scores."""
    scored = {cell.explainer for cell in cells if not cell.skipped}
    found: dict[str, list[str]] = {}
    for cell in cells:
        name = cell.metric if cell.explainer in scored else cell.explainer
        if cell.skipped and name not in found.setdefault(cell.skipped, []):
            found[cell.skipped].append(name)
    return found
