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
    def forward_equivalents(self) -> float:
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
        self._n_attached = 0

    @contextmanager
    def attach(self, net: nn.Module) -> Iterator["Meter"]:
        """Counts while the context is open; leaves no hook behind."""
        handle = net.register_forward_hook(self._count)
        self._n_attached += 1
        try:
            yield self
        finally:
            self._n_attached -= 1
            handle.remove()

    def read(self) -> Cost:
        """The counts so far, with the clock."""
        return Cost(self.forwards, self.backwards, time.perf_counter())

    def _count(self, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        n_samples = len(inputs[0])
        self.forwards += n_samples
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self._count_backward(n_samples))

    def subtract_padding(self, n_samples: int, output: Tensor) -> None:
        """Takes back samples that only filled up a batch, and their backward when it comes; nothing if none counted."""
        if not self._n_attached:
            return
        self.forwards -= n_samples
        if output.requires_grad:
            output.register_hook(lambda _: self._count_backward(-n_samples))

    def _count_backward(self, n_samples: int) -> None:
        self.backwards += n_samples


class BatchPadding(nn.Module):
    """A network that is only sent batches whose size is a multiple of a grain, filled up with copies of the last image.

    Convolution kernels for small or odd batches round differently, in the last bit; where two cells of a map are
    nearly equal that bit changes their order and so a score. Filled up, the convolutions that were measured (see
    `devices.batch_multiple`) answer alike in any batch, bit for bit. What fills up is neither returned nor counted.
    """

    def __init__(self, net: nn.Module, meter: Meter, multiple: int) -> None:
        super().__init__()
        self.net, self.meter, self.multiple = net, meter, multiple

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``; layers inside see up to ``multiple − 1`` more images."""
        spare = -len(images) % self.multiple
        if not spare:
            return self.net(images)  # type: ignore[no-any-return]
        output: Tensor = self.net(torch.cat([images, images[-1:].expand(spare, -1, -1, -1)]))
        self.meter.subtract_padding(spare, output)
        return output[: len(images)]
