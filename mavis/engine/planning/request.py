"""Request."""

from dataclasses import dataclass

from mavis.datasets.loading.open import DEFAULT_DATA
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class Request:
    """What the user asked for; None leaves a thing to the protocol or to the machine."""

    models: tuple[str, ...]
    data: str = DEFAULT_DATA
    target: str | None = None
    split: str | None = None
    explainers: tuple[str, ...] = ("all",)
    metrics: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    protocol: str | Protocol = "quick"
    limit: int | None = None
    seed: int | None = None
    device: str = "auto"
    batch_size: int | None = None
    shard: tuple[int, int] = (1, 1)
    allow_known_faulty: bool = False
