"""mavis list: what there is."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    explainers = "explainers"
    metrics = "metrics"
    imputers = "imputers"
    protocols = "protocols"


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every parameter and declared trait.")] = False,
) -> None:
    """List models, datasets, explainers, metrics, imputers or protocols, built in and registered."""
    from rich.console import Console
    from rich.table import Table

    rows = _protocols() if kind is Kind.protocols else _plugins(kind)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    foreign = any(row.get("from", "mavis") != "mavis" for row in rows)
    hidden = ("parameters", "traits") if foreign else ("parameters", "traits", "from")
    columns = [name for name in rows[0] if name not in hidden] if rows else []
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != "about")
    for row in rows:
        table.add_row(*(str(row[column]) for column in columns))
    Console().print(table)


def _plugins(kind: Kind) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from mavis import registry

    found = []
    for entry in registry.REGISTRIES[kind.value.removesuffix("s")]:
        traits = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(entry.traits).items()}
        parameters = {name: None if p.default is p.empty else p.default for name, p in entry.parameters().items()}
        found.append(
            {
                "name": entry.name,
                **_brief(kind, traits),
                "about": traits.get("about") or entry.summary,
                "from": entry.origin,
                "parameters": json.loads(json.dumps(parameters, default=str)),
                "traits": traits,
            }
        )
    return found


def _brief(kind: Kind, traits: dict[str, Any]) -> dict[str, str]:
    """The traits that the table shows."""
    if kind is Kind.explainers:
        return {"role": traits["role"], "needs": ", ".join(traits["needs"]) or "nothing"}
    if kind is Kind.metrics:
        low, high = ("" if end is None else f"{end:g}" for end in traits["range"])
        return {
            "category": traits["category"],
            "better": "↑" if traits["higher_is_better"] else "↓",
            "range": f"{low}…{high}",
            "chance": "" if traits["chance"] is None else f"{traits['chance']:g}",
        }
    return {}


def _protocols() -> list[dict[str, Any]]:
    from mavis import protocol

    found = []
    for name in protocol.shipped():
        rules = protocol.load(name)
        found.append({"name": name, "status": rules.status, "about": rules.about, "sha256": rules.sha256()[:12]})
    return found
