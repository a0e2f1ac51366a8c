"""mavis sensitivity: compares the rankings of the methods under other settings of the metrics."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.cli import options

if TYPE_CHECKING:
    from mavis.report.console.terminal import Printer
    from mavis.workflows.sensitivity import Stability


def sensitivity_command(
    models: options.Models,
    data: options.Data = "synthetic_faces",
    target: options.Target = None,
    split: options.Split = None,
    explainers: options.Explainers = "all",
    groups: options.Groups = None,
    protocol: options.ProtocolName = "quick",
    limit: options.Limit = 70,
    seed: options.Seed = None,
    device: options.Device = "auto",
    batch_size: options.BatchSize = "auto",
    block_timeout: options.BlockTimeout = 3600.0,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the runs (default: mavis-runs/MODEL_DATA_PROTOCOL_sensitivity).")
    ] = None,
) -> None:
    """Run the protocol's metrics under other settings (imputers, steps, cells), and compare the rankings.

    The result shows how stable a ranking is. Do not use it to choose a setting: a metric must not be tuned on the
    methods that it ranks.

    Repeat the command to continue after an interruption.
    """
    from mavis.cli.progress import progress_display
    from mavis.report.console.terminal import open_printer
    from mavis.workflows.sensitivity import run_sensitivity

    request = options.build_request(
        models=models, data=data, target=target, split=split, explainers=explainers, metrics=None, groups=groups,
        protocol=protocol, limit=limit, seed=seed, device=device, batch_size=batch_size,
        block_timeout=block_timeout,
    )  # fmt: skip
    folder = out or options.default_folder(models, data, protocol).with_name(
        f"{options.default_folder(models, data, protocol).name}_sensitivity"
    )
    with progress_display(open_printer(stderr=True)) as progress:
        stabilities = run_sensitivity(request, folder, progress)
    printer = open_printer()
    for stability in stabilities:
        _print_stability(printer, stability)
    printer.print_line()
    printer.print_line(f"All means: {folder / 'sensitivity.json'}")


def _value_text(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _print_stability(printer: "Printer", stability: "Stability") -> None:
    """A row per setting with its two best methods, under the mean Kendall tau over all pairs of settings."""
    from mavis.report.console.terminal import Listing

    tau = "unknown" if stability.tau is None else f"{stability.tau:.2f}"
    verdict = {True: "stable", False: "not stable: report it, do not decide by it", None: "not assessed"}[
        stability.stable
    ]
    rows = []
    for setting in stability.settings:
        means = {name: mean for name, mean in setting.means.items() if mean is not None}
        top_two = sorted(means, key=means.__getitem__, reverse=stability.higher_is_better)[:2]
        params = ", ".join(f"{name} {_value_text(value)}" for name, value in setting.params.items())
        leaders = [f"{name} {means[name]:.3f}" for name in top_two]
        rows.append([f"{setting.grid} × {setting.grid}", params, *leaders, *[""] * (2 - len(leaders))])
    title = f"{stability.model}, {stability.metric}: mean Kendall tau {tau}, {verdict}"
    printer.print_listing(Listing(("cells", "settings", "leader", "runner-up"), rows, title=title))
    printer.print_text(f"Leads under some setting: {', '.join(stability.winners) or 'none'}")
