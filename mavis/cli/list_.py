"""mavis list: lists models, data sets, explainers, metrics, imputers and protocols."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mavis.core.registry import Entry
    from mavis.engine.planning.compatibility import CompatibilityReport
    from mavis.report.console.terminal import Listing, Printer

Row = dict[str, Any]


class Kind(StrEnum):
    """The kinds of things that can be listed."""

    models = "models"
    datasets = "datasets"
    explainers = "explainers"
    metrics = "metrics"
    imputers = "imputers"
    protocols = "protocols"


def list_command(
    kind: Annotated[Kind, typer.Argument(help="Kind to list.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with every parameter and declared trait.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Explainers only: try each on this model and list whether it works."),
    ] = None,
) -> None:
    """List models, datasets, explainers, metrics, imputers or protocols, built in and registered."""
    from mavis.report.console.terminal import open_printer

    printer = open_printer()
    if model is not None:
        _print_compatibility(printer, kind, model, as_json=as_json)
        return
    rows = _protocol_rows() if kind is Kind.protocols else _plugin_rows(kind)
    if as_json:
        printer.print_document(json.dumps(rows, indent=2))
    elif kind is Kind.metrics:
        _print_metrics(printer, rows)
    else:
        has_external = any(row.get("from", "mavis") != "mavis" for row in rows)
        printer.print_listing(_plugin_listing(rows, hidden_columns=() if has_external else ("from",)))


def _print_compatibility(printer: "Printer", kind: Kind, model: str, *, as_json: bool) -> None:
    import torch

    from mavis.core.errors import BadParameter
    from mavis.engine.planning.compatibility import compatibility_matrix

    if kind is not Kind.explainers:
        raise BadParameter(f"--model goes with explainers: mavis list explainers --model {printer.quote(model)}.")
    report = compatibility_matrix(model, device=torch.device("cpu")).report
    if as_json:
        printer.print_document(json.dumps(report.as_json(), indent=2))
        return
    printer.print_listing(compatibility_listing(report))


def compatibility_listing(report: "CompatibilityReport") -> "Listing":
    """Explainers with their status on a model, and the reason where one does not work."""
    from mavis.report.console.terminal import Listing

    rows = []
    for name, compatibility in report.explainers.items():
        error = compatibility.figures.get("completeness")
        rows.append((name, compatibility.status, "" if error is None else f"{error:g}", compatibility.reason))
    headings = ("explainer", "status", "completeness\nerror", "reason")
    return Listing(headings, rows, unbroken=frozenset({"explainer", "status"}))


def _print_metrics(printer: "Printer", rows: Sequence[Row]) -> None:
    """Metrics by category, those of Quantus last: name and direction, a line of traits, and a description."""
    for is_quantus in (False, True):
        for category in dict.fromkeys(row["category"] for row in rows):
            members = [row for row in rows if row["category"] == category and _is_quantus(row) == is_quantus]
            if members:
                printer.print_heading(f"{category}{', of Quantus' if is_quantus else ''}")
            for row in members:
                printer.print_line(f"{row['name']} {row['better']}", "bold", end="")
                printer.print_line(f"  {_traits_line(row)}")
                printer.print_text(_description(row), indent=4)
    printer.print_line()
    printer.print_text("Refused metrics run only with --include-faulty. Parameters: --json.")


def _traits_line(row: Row) -> str:
    chance = f"chance {row['chance']}" if row["chance"] else ""
    needs = f"needs {row['needs']}" if row["needs"] else ""
    origin = f"from {row['from']}" if row["from"] not in ("mavis", "Quantus") else ""
    cost = f"cost: {row['cost']}" if row["cost"] != "nothing" else ""
    return " · ".join(filter(None, (row["range"], chance, needs, cost, origin)))


def _description(row: Row) -> str:
    """One line on a metric and its source; of a faulty one its fault and a replacement."""
    traits = row["traits"]
    if traits["faulty"]:
        return f"refused: {traits['faulty']}"
    return f"{row['about']} [{traits['source']}]"


def _plugin_listing(rows: Sequence[Row], hidden_columns: Sequence[str]) -> "Listing":
    from mavis.report.console.terminal import Listing

    columns = [name for name in rows[0] if name not in ("parameters", "traits", *hidden_columns)] if rows else []
    cells = [[str(row[column]) for column in columns] for row in rows]
    return Listing(columns, cells, unbroken=frozenset(columns) - {"about"})


def _is_quantus(row: Row) -> bool:
    return row.get("from") == "Quantus"


def _plugin_rows(kind: Kind) -> list[Row]:
    """One row per registered plug-in, those of Quantus last."""
    from dataclasses import asdict

    from mavis.core import registry

    rows = []
    for entry in registry.REGISTRIES[kind.value.removesuffix("s")]:
        traits = {k: sorted(v) if isinstance(v, frozenset) else v for k, v in asdict(entry.traits).items()}
        rows.append(
            {
                "name": entry.name,
                **_trait_cells(kind, traits),
                **_cost_cells(kind, entry),
                "about": traits.get("about") or entry.summary,
                "from": entry.origin,
                "parameters": json.loads(json.dumps(_parameter_defaults(entry), default=str)),
                "traits": traits,
            }
        )
    return sorted(rows, key=_is_quantus)


def _parameter_defaults(entry: "Entry") -> dict[str, Any]:
    """A plug-in's parameters with their defaults; None for a required one and for open keyword arguments (``**``)."""
    return {
        f"**{name}" if p.kind is p.VAR_KEYWORD else name: None if p.default is p.empty else p.default
        for name, p in entry.parameters().items()
    }


def _trait_cells(kind: Kind, traits: dict[str, Any]) -> dict[str, str]:
    """The traits that the table shows, as text."""
    if kind is Kind.explainers:
        return {"role": traits["role"], "needs": ", ".join(traits["needs"]) or "nothing"}
    if kind is Kind.metrics:
        low, high = ("" if end is None else f"{end:g}" for end in traits["range"])
        return {
            "category": traits["category"],
            "better": {True: "↑", False: "↓", None: ""}[traits["higher_is_better"]],
            "range": f"{low}…{high}",
            "chance": "" if traits["chance"] is None else f"{traits['chance']:g}",
            "needs": ", ".join([*traits["needs"], *(name for name in ("truth", "rerender") if traits[name])]),
        }
    if kind is Kind.datasets:
        return {"options": ", ".join(traits["options"]) or "none"}
    return {}


def _cost_cells(kind: Kind, entry: "Entry") -> dict[str, str]:
    """Model calls of a metric with its defaults. Metrics of Quantus are not created for it: that takes seconds."""
    if kind is not Kind.metrics:
        return {}
    from mavis.engine.planning import cost_estimate

    return {"cost": "its own, not shared" if entry.origin == "Quantus" else cost_estimate.describe_cost(entry.create())}


def _protocol_rows() -> list[Row]:
    from mavis.protocol import loading

    protocols = {name: loading.load_protocol(name) for name in loading.shipped_protocols()}
    return [
        {"name": name, "status": protocol.status, "about": protocol.about, "sha256": protocol.sha256()[:12]}
        for name, protocol in protocols.items()
    ]
