"""mavis plan: checks a run and estimates its cost, without running it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mavis.cli import options

if TYPE_CHECKING:
    from mavis.core.compute import Cost
    from mavis.engine.planning.cost_estimate import CostEstimate
    from mavis.engine.planning.plan import Cell
    from mavis.engine.planning.setup import RunPlan
    from mavis.report.console.terminal import Listing

SecondsPerSample = tuple[float, float]
"""Seconds of one model sample, forward and backward."""


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
    include_faulty: options.IncludeFaulty = False,
) -> None:
    """Check every name and parameter, and estimate the cost of the run, without running it."""
    from mavis.engine.planning import setup

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
    )
    _print_plan(setup.plan_run(request))


def _print_plan(plan: "RunPlan") -> None:
    """Per model a table of costs and the skipped explainers and metrics; last the estimated time of the whole run."""
    from mavis.engine.planning import cost_estimate
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    total_seconds = 0.0
    side = plan.sample.data.load(plan.sample.ids[:1]).images.shape[2]
    for name, model_plan in plan.by_model.items():
        per_sample = cost_estimate.seconds_per_sample(plan.models[name][0], side, plan.chunk)
        total_seconds += _seconds(model_plan.cost.total, per_sample)
        printer.print_listing(_cost_listing(name, model_plan.cost, per_sample))
        for explainer, error in model_plan.cost.unknown.items():
            printer.print_text(f"cost not known: {explainer}: {error}")
        for reason, skipped in _skips_by_reason(model_plan.cells).items():
            printer.print_text(f"skipped: {', '.join(skipped)}: {reason.removesuffix('.')}.")
    printer.print_text(
        f"{len(plan.blocks)} blocks; about {total_seconds:.0f} s of model time on {plan.device}, if nothing is shared "
        "between explainers."
    )


def _cost_listing(model: str, estimate: "CostEstimate", per_sample: SecondsPerSample) -> "Listing":
    """Forwards, backwards and seconds per explainer, of the work that all explainers share, and in total."""
    from mavis.report.console.terminal import Listing

    n_images, n_variant_images = estimate.n_images
    costs = {explainer: estimate.for_explainer(explainer) for explainer in estimate.maps}
    rows = [(name, *_cost_cells(cost, per_sample)) for name, cost in costs.items()]
    rows.append(("shared by all", *_cost_cells(estimate.shared, per_sample)))
    rows.append(("total", *_cost_cells(estimate.total, per_sample)))
    return Listing(
        ("explainer", "forwards", "backwards", "seconds"),
        rows,
        title=f"{model}: {n_images} images, {n_variant_images} of them also under variants",
        numeric=frozenset({"forwards", "backwards", "seconds"}),
        section_ends=frozenset({len(costs) - 1, len(costs)}),
    )


def _cost_cells(cost: "Cost", per_sample: SecondsPerSample) -> tuple[str, str, str]:
    return f"{cost.forwards:,}", f"{cost.backwards:,}", f"{_seconds(cost, per_sample):.1f}"


def _seconds(cost: "Cost", per_sample: SecondsPerSample) -> float:
    forward, backward = per_sample
    return cost.forwards * forward + cost.backwards * backward


def _skips_by_reason(cells: "Iterable[Cell]") -> dict[str, list[str]]:
    """Per reason the explainers that are skipped, or the metrics of explainers that have other scores."""
    scored_explainers = {cell.explainer for cell in cells if not cell.skipped}
    skips: dict[str, list[str]] = {}
    for cell in cells:
        name = cell.metric if cell.explainer in scored_explainers else cell.explainer
        if cell.skipped and name not in skips.setdefault(cell.skipped, []):
            skips[cell.skipped].append(name)
    return skips
