"""mavis doctor: is this machine, and this model, ready?"""

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer


def doctor_command(
    models: Annotated[list[str] | None, typer.Option("--model", "-m", help="Also check this model; repeat.")] = None,
) -> None:
    """Check the installation, the devices and, if named, models; exit code 1 if something is wrong."""
    problems = [*_environment_problems(), *(line for name in models or [] for line in _model_problems(name))]
    for problem in problems:
        typer.secho(f"wrong: {problem}", fg=typer.colors.RED)
    if problems:
        raise typer.Exit(1)
    typer.echo("Everything is in order.")


def _environment_problems() -> list[str]:
    import torch

    from mavis.core import registry

    typer.echo(f"python      {sys.version.split()[0]} on {platform.platform()}")
    problems = []
    for name in ("mavis-xai", "torch", "torchvision", "captum", "quantus", "numpy", "pandas", "scipy"):
        try:
            typer.echo(f"{name:<11} {version(name)}")
        except PackageNotFoundError:
            problems.append(f"{name} is not installed; pip install {name}")
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        problems.append(f"torchvision does not import beside this torch: {error}")
    found = [
        "cpu",
        *(["cuda"] if torch.cuda.is_available() else []),
        *(["mps"] if torch.backends.mps.is_available() else []),
    ]
    typer.echo(f"devices     {', '.join(found)}; {torch.get_num_threads()} threads")
    typer.echo(f"disk        {shutil.disk_usage('.').free / 2**30:.1f} GiB free here")
    counts = ", ".join(f"{len(r.names())} {kind}s" for kind, r in registry.REGISTRIES.items())
    typer.echo(f"plug-ins    {counts}")
    return problems


def _model_problems(name: str) -> list[str]:
    """What is wrong with a model; what preflight did and which explainers work on it is printed."""
    import torch
    from rich.console import Console

    from mavis.cli.list_ import compatibility_table
    from mavis.core.errors import MavisError
    from mavis.engine.planning.compatibility import compatibility_matrix

    try:
        found = compatibility_matrix(name, device=torch.device("cpu"))
    except MavisError as error:
        return [str(error)]
    model, tried = found.model, found.report
    parameters = sum(p.numel() for p in model.net.parameters())
    typer.echo(f"\n{model.name}: {len(model.classes)} classes, {parameters:,} parameters, {model.size or 'any'} px")
    typer.echo(f"  can give    {', '.join(sorted(model.capabilities))}")
    typer.echo(f"  CAM layer   {model.cam_layer or 'none'}")
    for number, change in enumerate(found.preparation or ("nothing to change",)):
        typer.echo(f"  {'' if number else 'preflight':<11} {change}")
    typer.echo(f"  explainers  tried with {tried.cost.forwards:,} forwards and {tried.cost.backwards:,} backwards\n")
    Console().print(compatibility_table(tried))
    return []
