"""Options that several verbs share, and how their texts become a request."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.core.errors import MavisError

if TYPE_CHECKING:
    from mavis.engine.planning.request import Request

Models = Annotated[
    list[str],
    typer.Option("--model", "-m", help="Registered name or model folder; repeat to compare models side by side."),
]
Data = Annotated[str, typer.Option(help="Data set: NAME or NAME:FOLDER, e.g. fairface:/data/FairFace.")]
Target = Annotated[str | None, typer.Option(help="The label, e.g. race, gender, age. Default: the model's own.")]
Split = Annotated[str | None, typer.Option(help="Part of the data, e.g. val. Default: the part for evaluation.")]
Explainers = Annotated[
    str, typer.Option("--explainers", "-e", help="'all' or names with commas; controls always join.")
]
Metrics = Annotated[str | None, typer.Option(help="Names with commas. Default: those of the protocol.")]
Groups = Annotated[str | None, typer.Option(help="Attributes with commas; race*gender is an intersection.")]
ProtocolName = Annotated[str, typer.Option("--protocol", help="Name of a shipped protocol, or a YAML file.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Most images, shared equally between the groups.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of every draw. Default: the protocol's.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
AllowKnownFaulty = Annotated[
    bool, typer.Option("--allow-known-faulty", help="Run metrics that are known to be wrong; see 'mavis list metrics'.")
]
Full = Annotated[
    bool, typer.Option("--all", help="Print every method and every metric, not only what a first look needs.")
]
BatchSize = Annotated[str, typer.Option(help="Model samples per call: 'auto' or a number. Scores do not depend on it.")]


def build_request(
    *,
    models: list[str],
    data: str,
    target: str | None,
    split: str | None,
    explainers: str,
    metrics: str | None,
    groups: str | None,
    protocol: str,
    limit: int | None,
    seed: int | None,
    device: str,
    batch_size: str,
    shard: str = "1/1",
    allow_known_faulty: bool = False,
) -> "Request":
    """A request from the texts of the command line."""
    from mavis.engine.planning.request import Request

    return Request(
        models=tuple(models),
        data=data,
        target=target,
        split=split,
        explainers=split_names(explainers) or ("all",),
        metrics=split_names(metrics),
        groups=split_names(groups),
        protocol=protocol,
        limit=limit,
        seed=seed,
        device=device,
        batch_size=_parse_batch_size(batch_size),
        shard=_parse_shard(shard),
        allow_known_faulty=allow_known_faulty,
    )


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Names between commas; None for no text."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def default_folder(models: list[str], data: str, protocol: str) -> Path:
    """Where a run goes unless told: named after what it is, so that the same command continues it."""
    parts = [*(Path(model).name for model in models), data.partition(":")[0], Path(protocol).stem]
    return Path("mavis-runs") / "_".join(parts)


def _parse_batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise MavisError(f"--batch-size must be 'auto' or a number from 1 on, got '{text}'.")
    return int(text)


def _parse_shard(text: str) -> tuple[int, int]:
    first, slash, count = text.partition("/")
    if not (slash and first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise MavisError(f"--shard must be K/N with 1 <= K <= N, e.g. 1/2, got '{text}'.")
    return int(first), int(count)
