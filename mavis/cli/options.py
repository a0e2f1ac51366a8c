"""Options that several commands share, and their conversion to a request."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mavis.core.errors import MavisError

if TYPE_CHECKING:
    from mavis.engine.planning.request import Request

MAX_BATCH_SIZE = 65536
MAX_SHOWN = 40
"""Characters of a wrong value that its error line shows."""

Models = Annotated[
    list[str],
    typer.Option("--model", "-m", help="Model: registered name, folder or spec; repeat to compare models."),
]
Data = Annotated[str, typer.Option(help="Data set: NAME or NAME:FOLDER, e.g. fairface:/data/FairFace.")]
Target = Annotated[
    str | None, typer.Option(help="Label to predict, e.g. race, gender or age (default: from the model).")
]
Split = Annotated[str | None, typer.Option(help="Split of the data, e.g. val (default: the evaluation split).")]
Explainers = Annotated[
    str, typer.Option("--explainers", "-e", help="Explainers, comma-separated, or 'all'; controls are always added.")
]
Metrics = Annotated[str | None, typer.Option(help="Metrics, comma-separated (default: from the protocol).")]
Groups = Annotated[
    str | None,
    typer.Option(
        help="Group attributes, comma-separated; race*gender is an intersection (default: from the protocol)."
    ),
]
ProtocolName = Annotated[str, typer.Option("--protocol", help="Shipped protocol, or a YAML file.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Maximum number of images, split evenly over groups.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Random seed (default: from the protocol).")]
Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")]
IncludeFaulty = Annotated[
    bool,
    typer.Option(
        "--include-faulty",
        "--allow-known-faulty",
        help="Also run metrics that are known to be faulty; 'mavis list metrics' names them.",
    ),
]
Full = Annotated[bool, typer.Option("--full", "--all", help="Print the full tables: every method and every metric.")]
BlockTimeout = Annotated[
    float,
    typer.Option(min=1, help="Seconds that a plug-in may take for one block of images before it is given up."),
]
BatchSize = Annotated[str, typer.Option(help="Images per model call: 'auto' or a number; scores do not depend on it.")]


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
    include_faulty: bool = False,
    block_timeout: float = 3600.0,
) -> "Request":
    """The request that the options of the command line describe."""
    from mavis.engine.planning.request import Request

    return Request(
        models=tuple(models),
        data=data,
        target=target,
        split=split,
        explainers=split_names("--explainers", explainers),
        metrics=None if metrics is None else split_names("--metrics", metrics),
        groups=None if groups is None else split_names("--groups", groups),
        protocol=protocol,
        limit=limit,
        seed=seed,
        device=device,
        batch_size=_parse_batch_size(batch_size),
        shard=_parse_shard(shard),
        allow_known_faulty=include_faulty,
        block_timeout=block_timeout,
    )


def split_names(option: str, text: str) -> tuple[str, ...]:
    """Names of a comma-separated list.

    Raises:
        MavisError: there is no name in it.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise MavisError(f"{option} must be names separated by commas, got '{text}'; name one, or leave it out.")
    return names


def default_folder(models: list[str], data: str, protocol: str) -> Path:
    """The default run directory. It is named after model, data and protocol, so the same command continues the run."""
    names = [*map(_folder_name, models), data.partition(":")[0], Path(protocol).stem]
    return Path("mavis-runs") / "_".join(names)


def _folder_name(model: str) -> str:
    """The last part of a model's name; of ``.`` and ``..`` that of the folder that they stand for."""
    name = Path(model).name
    return Path(model).resolve().name if name in ("", "..") else name


def _parse_batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    size = _parse_count(text)
    if size is None or size > MAX_BATCH_SIZE:
        expected = f"'auto' or a number from 1 to {MAX_BATCH_SIZE}"
        raise MavisError(f"--batch-size must be {expected}, got '{text[:MAX_SHOWN]}'.")
    return size


def _parse_shard(text: str) -> tuple[int, int]:
    shard, slash, n_shards = text.partition("/")
    k, n = _parse_count(shard), _parse_count(n_shards)
    if not slash or k is None or n is None or k > n:
        raise MavisError(f"--shard must be K/N with 1 <= K <= N, e.g. 1/2, got '{text[:MAX_SHOWN]}'.")
    return k, n


def _parse_count(text: str) -> int | None:
    """A number from 1 in plain digits; None for anything else, such as ``²``."""
    is_count = text.isascii() and text.isdigit() and len(text) <= MAX_SHOWN and int(text) > 0
    return int(text) if is_count else None
