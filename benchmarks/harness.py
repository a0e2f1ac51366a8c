"""Shared by all benchmarks: counts of model samples, sides run in turn, the floor, and a table of ratios.

Seconds are CPU seconds of this process at one thread, so that other work on the machine hardly counts. Everything that
is compared runs in one process, in turn, and the median over the rounds is taken.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

BATCHES = (4, 8, 16, 32, 64, 128)
"""Batch sizes among which the floor takes the best."""

LONG, ENOUGH = 3.0, 20.0
"""CPU seconds of a run that needs no warm-up, and CPU seconds after which a side is measured well enough."""

PEERS = ("quantus", "captum", "grad-cam", "pnpxai")

Work = Callable[[], object]


@dataclass
class Count:
    """Model samples pushed through a network since `clear`, whoever sent them."""

    forwards: int = 0
    backwards: int = 0

    def clear(self) -> None:
        self.forwards = self.backwards = 0

    def hook(self, net: nn.Module) -> RemovableHandle:
        """Counts until the handle is removed; copies of the network count too, for a closure is copied as it is."""

        def backward(samples: int) -> None:
            self.backwards += samples

        def forward(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            samples = len(inputs[0])
            self.forwards += samples
            if output.requires_grad:
                output.register_hook(lambda _: backward(samples))

        return net.register_forward_hook(forward)


@contextmanager
def counting(*nets: nn.Module) -> Iterator[Count]:
    """Counts what passes the networks while the context is open."""
    count = Count()
    handles = [count.hook(net) for net in nets]
    try:
        yield count
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class Reading:
    """One side of a comparison: CPU seconds per round, and model samples, equal in every round."""

    seconds: list[float] = field(default_factory=list)
    forwards: int = 0
    backwards: int = 0
    failure: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else float("nan")


def measured(work: Work, count: Count) -> Reading:
    """Measures one run: CPU seconds, and model samples."""
    count.clear()
    start = time.process_time()
    work()
    return Reading([time.process_time() - start], count.forwards, count.backwards)


def in_turn(sides: Mapping[str, Work], count: Count, rounds: int, warm: bool = True) -> dict[str, Reading]:
    """Runs each side once per round.

    The first round is a warm-up and is discarded, unless it is `LONG`. A side that has taken `ENOUGH` is not run again;
    nor is one that raises: its message is kept.
    """
    readings = {name: Reading() for name in sides}
    for number in range(rounds + warm):
        for name, work in sides.items():
            reading = readings[name]
            if not reading.failure and len(reading.seconds) < rounds and sum(reading.seconds) < ENOUGH:
                _add(reading, work, count, min_seconds=LONG if number < warm else 0.0)
    return readings


def _add(reading: Reading, work: Work, count: Count, *, min_seconds: float) -> None:
    try:
        run = measured(work, count)
    except Exception as error:
        reading.failure = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:120]
        return
    if run.median >= min_seconds:
        reading.seconds += run.seconds
        reading.forwards, reading.backwards = run.forwards, run.backwards


@dataclass
class Floor:
    """Cost of one model sample at its best batch size; measured again in every round.

    Attributes:
        net: frozen.
        images: some of the job's images ``(B,3,H,W)``; repeated to fill a batch.
        n_samples: samples per measurement.
    """

    net: nn.Module
    images: Tensor
    n_samples: int = 128
    forward_ms: list[float] = field(default_factory=list)
    both_ms: list[float] = field(default_factory=list)
    batch: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        pool = self.images.repeat(-(-self.n_samples // len(self.images)), 1, 1, 1)[: self.n_samples]
        self._pool = pool
        sizes = [size for size in BATCHES if size <= self.n_samples]
        for work in (self._forward, self._backward):
            work(sizes[0])
        forward = min(sizes, key=lambda size: min(self._forward(size) for _ in range(2)))
        self.batch = (forward, min(sizes, key=lambda size: min(self._backward(size) for _ in range(2))))

    def measure(self) -> None:
        """One more measurement of both directions, in milliseconds per sample."""
        self.forward_ms.append(self._forward(self.batch[0]))
        self.both_ms.append(self._backward(self.batch[1]))

    def seconds(self, forwards: int, backwards: int) -> float:
        """Seconds of a number of samples; every backward comes with one of the forwards."""
        forward, forward_backward = statistics.median(self.forward_ms), statistics.median(self.both_ms)
        return ((forwards - backwards) * forward + backwards * forward_backward) / 1000

    def _forward(self, size: int) -> float:
        with torch.no_grad():
            return self._timed(size, self.net)

    def _backward(self, size: int) -> float:
        def backpropagate(images: Tensor) -> None:
            leaf = images.clone().requires_grad_()
            torch.autograd.grad(self.net(leaf).amax(1).sum(), leaf)

        return self._timed(size, backpropagate)

    def _timed(self, size: int, work: Callable[[Tensor], object]) -> float:
        start = time.process_time()
        for part in self._pool.split(size):
            work(part)
        return (time.process_time() - start) / len(self._pool) * 1000


def missing(package: str) -> str:
    """The reason that a peer is not compared; empty if it is installed."""
    try:
        version(package)
    except PackageNotFoundError:
        return f"{package} is not installed (pip install 'mavis-xai[bench]')"
    return ""


def circumstances() -> dict[str, object]:
    """Versions and machine, on which the figures depend besides the code."""
    versions = {name: version(name) for name in (*PEERS, "torch", "numpy", "scipy") if not missing(name)}
    return {
        "python": platform.python_version(),
        "machine": _processor(),
        "threads": torch.get_num_threads(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def write(path: Path | None, name: str, body: Mapping[str, object]) -> None:
    """The figures as JSON, with the circumstances; nothing without a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"benchmark": name, **circumstances(), **body}, indent=1, default=_plain) + "\n")


def _plain(value: object) -> object:
    return asdict(value)  # type: ignore[call-overload]


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def figure(value: float, digits: int = 2) -> str:
    """A ratio or seconds; a dash where there is none."""
    return "–" if value != value else f"{value:.{digits}f}"


def one_thread() -> None:
    """CPU seconds mean the work only at one thread."""
    torch.set_num_threads(1)
