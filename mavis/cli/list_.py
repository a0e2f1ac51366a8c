"""mavis list: what there is."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mavis.core.registry import Entry
    from mavis.engine.planning.compatibility import CompatibilityReport

Row = dict[str, Any]


class Kind(StrEnum):
    """What can be listed."""

    models = "models"
    datasets = "datasets"
    explainers = "explainers"
    metrics = "metrics"
    imputers = "imputers"
    protocols = "protocols"


def list_command(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every parameter and declared trait.")] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Explainers only: which of them work on this model; each is tried."),
    ] = None,
) -> None:
    """List models, datasets, explainers, metrics, imputers or protocols, built in and registered."""
    from rich.console import Console

    if model is not None:
        _print_compatibility(kind, model, as_json=as_json)
        return
    rows = _protocol_rows() if kind is Kind.protocols else _plugin_rows(kind)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    console = Console()
    if kind is Kind.metrics:
        _print_metrics(console, rows)
    else:
        foreign = any(row.get("from", "mavis") != "mavis" for row in rows)
        console.print(_plugin_table(rows, () if foreign else ("from",)))


def _print_compatibility(kind: Kind, model: str, *, as_json: bool) -> None:
    import torch
    from rich.console import Console

    from mavis.core.errors import BadParameter
    from mavis.engine.planning.compatibility import compatibility_matrix

    if kind is not Kind.explainers:
        raise BadParameter(f"--model goes with explainers: mavis list explainers --model {model}.")
    tried = compatibility_matrix(model, device=torch.device("cpu")).report
    if as_json:
        typer.echo(json.dumps(tried.as_json(), indent=2))
        return
    Console().print(compatibility_table(tried))


def compatibility_table(compatibility: "CompatibilityReport") -> "Table":
    """Which explainers work on a model; why, where one does not."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("explainer", "status", "completeness\nerror", "reason"):
        table.add_column(column, overflow="fold", no_wrap=column in ("explainer", "status"))
    for name, found in compatibility.explainers.items():
        error = found.figures.get("completeness")
        table.add_row(name, found.status, "" if error is None else f"{error:g}", Text(found.reason))
    return table


def _print_metrics(console: "Console", rows: Sequence[Row]) -> None:
    """By leaderboard, ours before those of Quantus: a line of facts and one of words for each."""
    from rich.padding import Padding

    for quantus in (False, True):
        for category in dict.fromkeys(row["category"] for row in rows):
            here = [row for row in rows if row["category"] == category and _is_quantus(row) == quantus]
            if here:
                console.rule(f"{category}{', of Quantus' if quantus else ''}", align="left", style="dim")
            for row in here:
                console.print(f"{row['name']} {row['better']}", style="bold", highlight=False, end="")
                console.print(f"  {_facts_line(row)}", highlight=False, markup=False, soft_wrap=True)
                console.print(Padding(_about_text(row), (0, 0, 0, 4)), highlight=False, markup=False)
    console.print("\nRefused metrics run only with --allow-known-faulty. Parameters: --json.", highlight=False)


def _facts_line(row: Row) -> str:
    chance = f"chance {row['chance']}" if row["chance"] else ""
    needs = f"needs {row['needs']}" if row["needs"] else ""
    origin = f"from {row['from']}" if row["from"] not in ("mavis", "Quantus") else ""
    asks = f"asks {row['asks']}" if row["asks"] != "nothing" else ""
    return " · ".join(filter(None, (row["range"], chance, needs, asks, origin)))


def _about_text(row: Row) -> "Text":
    """What it is and its source; where it is known to be wrong, how."""
    from rich.text import Text

    traits = row["traits"]
    if traits["faulty"]:
        return Text(f"refused: {traits['faulty']}")
    return Text(f"{row['about']} [{traits['source']}]")


def _plugin_table(rows: Sequence[Row], hidden: Sequence[str]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    columns = [name for name in rows[0] if name not in ("parameters", "traits", *hidden)] if rows else []
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != "about")
    for row in rows:
        table.add_row(*(Text(str(row[column])) for column in columns))
    return table


def _is_quantus(row: Row) -> bool:
    return row.get("from") == "Quantus"


def _plugin_rows(kind: Kind) -> list[Row]:
    """One row per plug-in, those of Quantus last."""
    from dataclasses import asdict

    from mavis.core import registry

    found = []
    for entry in registry.REGISTRIES[kind.value.removesuffix("s")]:
        traits = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(entry.traits).items()}
        parameters = {
            f"**{name}" if p.kind is p.VAR_KEYWORD else name: None if p.default is p.empty else p.default
            for name, p in entry.parameters().items()
        }
        found.append(
            {
                "name": entry.name,
                **_trait_cells(kind, traits),
                **_cost_cells(kind, entry),
                "about": traits.get("about") or entry.summary,
                "from": entry.origin,
                "parameters": json.loads(json.dumps(parameters, default=str)),
                "traits": traits,
            }
        )
    return sorted(found, key=_is_quantus)


def _trait_cells(kind: Kind, traits: dict[str, Any]) -> dict[str, str]:
    """The traits that the table shows."""
    if kind is Kind.explainers:
        return {"role": traits["role"], "needs": ", ".join(traits["needs"]) or "nothing"}
    if kind is Kind.metrics:
        low, high = ("" if end is None else f"{end:g}" for end in traits["range"])
        return {
            "category": traits["category"],
            "better": {True: "↑", False: "↓", None: ""}[traits["higher_is_better"]],
            "range": f"{low}…{high}",
            "chance": "" if traits["chance"] is None else f"{traits['chance']:g}",
            "needs": ", ".join([*traits["needs"], *(word for word in ("truth", "rerender") if traits[word])]),
        }
    if kind is Kind.datasets:
        return {"options": ", ".join(traits["options"]) or "none"}
    return {}


def _cost_cells(kind: Kind, entry: "Entry") -> dict[str, str]:
    """What a metric asks of the model with its defaults; one of Quantus is not made for it, which takes seconds."""
    if kind is not Kind.metrics:
        return {}
    from mavis.engine.planning import cost_estimate

    return {"asks": "its own, not shared" if entry.origin == "Quantus" else cost_estimate.describe_cost(entry.create())}


def _protocol_rows() -> list[Row]:
    from mavis.protocol import loading

    found = []
    for name in loading.shipped_protocols():
        rules = loading.load_protocol(name)
        found.append({"name": name, "status": rules.status, "about": rules.about, "sha256": rules.sha256()[:12]})
    return found
