"""mavis register: adds a plug-in to mavis.toml of the working folder, without a package."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mavis.core.errors import MavisError


def register_command(
    kind: Annotated[str, typer.Argument(help="Kind: model, dataset, explainer, metric or imputer.")],
    name: Annotated[str, typer.Argument(help="Name to register it under.")],
    factory: Annotated[
        str, typer.Option(help="Import path, package.module:function; the working folder is searched as well.")
    ],
    trait: Annotated[
        list[str] | None,
        typer.Option(help="Declared trait NAME=VALUE, e.g. category=faithfulness or higher_is_better=true; repeat."),
    ] = None,
) -> None:
    """Register a model, dataset, explainer, metric or imputer under a name, in the working folder."""
    from mavis.core import files, registry
    from mavis.report.console.terminal import open_printer

    traits = dict(_parse_trait(text) for text in trait or [])
    registry.load_plugins()
    if name in registry.REGISTRIES.get(kind, registry.models):
        raise MavisError(f"The {kind} name '{name}' is taken; choose another.")
    registry.register_plugin(kind, name, factory, traits)
    path = Path.cwd() / registry.USER_FILE
    lines = [f"[{kind}.{name}]", f"factory = {json.dumps(factory)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in traits.items()]
    content = files.read_text(path) if path.is_file() else ""
    files.write_text(path, content + ("\n" if content else "") + "\n".join(lines) + "\n")
    open_printer().print_line(f"Registered the {kind} '{name}' in {path.name}; mavis list {kind}s shows it.")


def _parse_trait(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise MavisError(f"--trait must be NAME=VALUE, got '{text}'.")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value.split(",") if key == "needs" else value
