"""The request: what the user asked for, as names and values."""

from dataclasses import dataclass

from mavis.datasets.loading.open import DEFAULT_DATA
from mavis.protocol.schema import Protocol


@dataclass(frozen=True)
class Request:
    """A request for a run; None leaves a choice to the protocol or to the machine.

    Attributes:
        models: names, folders or specs.
        data: ``NAME`` or ``NAME:PATH``.
        target: the label.
        split: which part of the data.
        explainers: names, or ``("all",)``.
        metrics: names; by default the protocol's.
        groups: attributes; ``race*gender`` is an intersection.
        protocol: a name, a file or a protocol.
        limit: maximum number of images.
        seed: random seed.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        batch_size: maximum number of samples in one model call.
        shard: this process's share of the blocks, ``(k, n)`` with k from 1.
        allow_known_faulty: run metrics of other libraries that are known to be wrong.
        block_timeout: seconds that a plug-in with a process of its own may take for one block.
    """

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
    block_timeout: float = 3600.0
