"""mavis doctor: checks the installation and, if named, models."""

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mavis.engine.planning.compatibility import CompatibilityMatrix
    from mavis.report.console.terminal import Printer

PACKAGES = ("mavis-xai", "torch", "torchvision", "captum", "quantus", "numpy", "pandas", "scipy")


def doctor_command(
    models: Annotated[list[str] | None, typer.Option("--model", "-m", help="Model to check as well; repeat.")] = None,
) -> None:
    """Check the installation, the devices and, if named, models; exit code 1 if there is a problem."""
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    problems = _environment_problems(printer)
    for name in models or []:
        problems += _model_problems(printer, name)
    for problem in problems:
        printer.print_line(f"wrong: {problem}", "red")
    if problems:
        raise typer.Exit(1)
    printer.print_line("Everything is in order.")


def _environment_problems(printer: "Printer") -> list[str]:
    """Packages that are missing or do not fit each other; prints versions, devices, disk space and plug-ins."""
    from mavis.core import registry

    printer.print_line(f"python      {sys.version.split()[0]} on {platform.platform()}")
    problems = [*_package_problems(printer), *_torchvision_problems()]
    _print_devices(printer)
    printer.print_line(f"disk        {shutil.disk_usage('.').free / 2**30:.1f} GiB free in the working folder")
    counts = ", ".join(f"{len(r.names())} {kind}s" for kind, r in registry.REGISTRIES.items())
    printer.print_line(f"plug-ins    {counts}")
    return problems


def _package_problems(printer: "Printer") -> list[str]:
    problems = []
    for name in PACKAGES:
        try:
            printer.print_line(f"{name:<11} {version(name)}")
        except PackageNotFoundError:
            problems.append(f"{name} is not installed; pip install {name}")
    return problems


def _torchvision_problems() -> list[str]:
    """The error of importing torchvision; its compiled operators fail where it was built for another torch."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        return [f"torchvision does not import beside this torch: {error}"]
    return []


def _print_devices(printer: "Printer") -> None:
    import torch

    is_available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    devices = ", ".join(name for name, available in is_available.items() if available)
    printer.print_line(f"devices     {devices}; {torch.get_num_threads()} threads")


def _model_problems(printer: "Printer", name: str) -> list[str]:
    """The reason why a model cannot be evaluated, if any; prints its preparation and its compatible explainers."""
    import torch

    from mavis.core.errors import MavisError
    from mavis.engine.planning.compatibility import compatibility_matrix

    try:
        matrix = compatibility_matrix(name, device=torch.device("cpu"))
    except MavisError as error:
        return [str(error)]
    _print_compatibility(printer, matrix)
    return []


def _print_compatibility(printer: "Printer", matrix: "CompatibilityMatrix") -> None:
    from mavis.cli.list_ import compatibility_listing

    model, cost = matrix.model, matrix.report.cost
    n_parameters = sum(parameter.numel() for parameter in model.net.parameters())
    printer.print_line()
    printer.print_line(
        f"{model.name}: {len(model.classes)} classes, {n_parameters:,} parameters, {model.size or 'any'} px"
    )
    printer.print_line(f"  provides    {', '.join(sorted(model.capabilities))}")
    printer.print_line(f"  CAM layer   {model.cam_layer or 'none'}")
    for number, change in enumerate(matrix.preparation or ("nothing to change",)):
        printer.print_line(f"  {'' if number else 'preparation':<11} {change}")
    printer.print_line(f"  explainers  tried with {cost.forwards:,} forwards and {cost.backwards:,} backwards")
    printer.print_line()
    printer.print_listing(compatibility_listing(matrix.report))
