"""Compute cost: samples that pass a network, seconds; and padding, so that scores do not depend on the batch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Cost:
    """Samples that passed the model forward and backward, and seconds."""

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
    """Counts every sample that passes a network, forward and backward."""

    def __init__(self) -> None:
        self.forwards = 0
        self.backwards = 0
        self._attached: set[int] = set()  # identities: a network is copied with its hooks, and must not bring others

    @contextmanager
    def attach(self, net: nn.Module) -> Iterator["Meter"]:
        """Counts while the context is open; leaves no hook behind. A network that is counted already adds nothing."""
        if any(id(module) in self._attached for module in net.modules()):
            yield self
            return
        handle = net.register_forward_hook(self._count)
        self._attached.add(id(net))
        try:
            yield self
        finally:
            self._attached.remove(id(net))
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
        """Subtracts samples that only padded a batch, and their backward when it comes, while the meter is attached."""
        if not self._attached:
            return
        self.forwards -= n_samples
        if output.requires_grad:
            output.register_hook(lambda _: self._count_backward(-n_samples))

    def _count_backward(self, n_samples: int) -> None:
        self.backwards += n_samples


class BatchPadding(nn.Module):
    """A network whose batches are padded to a multiple of a size with copies of the last image.

    Convolution kernels for small or odd batches round differently in the last bit; where two cells of a map are nearly
    equal, that bit changes their order and so a score. Padded, the convolutions that were measured (see
    `devices.batch_multiple`) give the same output in any batch, bit for bit. The padding is neither returned nor
    counted.

    Args:
        net: images ``(B,3,H,W)`` -> logits ``(B,K)``.
        meter: counts the samples of ``net``; the padding is subtracted from it.
        multiple: batch sizes are padded to a multiple of this.
    """

    def __init__(self, net: nn.Module, meter: Meter, multiple: int) -> None:
        super().__init__()
        self.net, self.meter, self.multiple = net, meter, multiple

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``; layers inside see up to ``multiple − 1`` more images."""
        n_padding = -len(images) % self.multiple
        if not n_padding:
            return self.net(images)  # type: ignore[no-any-return]
        output: Tensor = self.net(torch.cat([images, images[-1:].expand(n_padding, -1, -1, -1)]))
        self.meter.subtract_padding(n_padding, output)
        return output[: len(images)]
