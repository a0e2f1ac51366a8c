"""Compute."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Cost:
    """Model samples pushed forward and backward, and seconds."""

    forwards: int = 0
    backwards: int = 0
    seconds: float = 0.0

    @property
    def work(self) -> float:
        """In forwards; a backward counts as two."""
        return self.forwards + 2 * self.backwards

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.forwards + other.forwards, self.backwards + other.backwards, self.seconds + other.seconds)

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.forwards - other.forwards, self.backwards - other.backwards, self.seconds - other.seconds)


class Meter:
    """Counts every sample that passes a network, forward and backward, whoever sends it."""

    def __init__(self) -> None:
        self.forwards = 0
        self.backwards = 0
        self._open = 0

    @contextmanager
    def on(self, net: nn.Module) -> Iterator["Meter"]:
        """Counts while the context is open; leaves no hook behind."""
        handle = net.register_forward_hook(self._count)
        self._open += 1
        try:
            yield self
        finally:
            self._open -= 1
            handle.remove()

    def read(self) -> Cost:
        """The counts so far, with the clock."""
        return Cost(self.forwards, self.backwards, time.perf_counter())

    def _count(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        samples = len(inputs[0])
        self.forwards += samples
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(samples))

    def discount(self, samples: int, output: Tensor) -> None:
        """Takes back samples that only filled up a batch, and their backward when it comes; nothing if none counted."""
        if not self._open:
            return
        self.forwards -= samples
        if output.requires_grad:
            output.register_hook(lambda _: self._count_backward(-samples))

    def _count_backward(self, samples: int) -> None:
        self.backwards += samples


class EvenBatches(nn.Module):
    """A network that is only sent batches whose size is a multiple of a grain, filled up with copies of the last image.

    Convolution kernels for small or odd batches round differently, in the last bit; where two cells of a map are
    nearly equal that bit changes their order and so a score. Filled up, the convolutions that were measured (see
    `mavis.core.devices.grain`) answer alike in any batch, bit for bit. What fills up is neither returned nor counted.
    """

    def __init__(self, net: nn.Module, meter: Meter, grain: int) -> None:
        super().__init__()
        self.net, self.meter, self.grain = net, meter, grain

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``; layers inside see up to ``grain − 1`` more images."""
        spare = -len(images) % self.grain
        if not spare:
            return self.net(images)  # type: ignore[no-any-return]
        output: Tensor = self.net(torch.cat([images, images[-1:].expand(spare, -1, -1, -1)]))
        self.meter.discount(spare, output)
        return output[: len(images)]
