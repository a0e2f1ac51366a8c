"""Promises of MAVIS that a network must keep: the same answer for an image alone, among others, and each time.

Scores are the same for every batch size, order, shard and resume only if the network's answer for an image depends on
that image alone. It is asked in batches as the engine makes them (`mavis.core.compute.BatchPadding`).
"""

import torch
from torch import Tensor, nn

from mavis.core import devices
from mavis.core.compute import BatchPadding, Meter
from mavis.core.errors import ModelError
from mavis.core.types import Model
from mavis.models.preparation.answers import TOLERANCE, evaluate_network

NOTED = 1e-3
"""Largest difference, as a share of the largest output, that is noted; above it the model is refused."""

SMALLEST_SCALE = 1e-2
"""Outputs smaller than this are compared as if they were this large."""

ASKED_ALONE = 6
"""Row that is asked in a batch of its own; not the first, which a cached batch would answer rightly."""


def check_promises(model: Model, net: nn.Module, images: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Outputs for images, after the network was asked the same in another batch, and a note on small differences.

    Args:
        model: names the network in messages.
        net: images ``(B,3,H,W)`` -> outputs ``(B,K)``.
        images: ``(N,3,H,W)``, at least 16, neighbours different from each other.

    Returns:
        The outputs ``(N,K)``, and notes.

    Raises:
        ModelError: an answer changes from call to call, or with the other images of the batch, by more than
            `NOTED` of the largest output or, where outputs are of half precision, four of their steps.
    """
    padded = BatchPadding(net, Meter(), devices.batch_multiple())

    def ask(rows: Tensor) -> Tensor:
        return evaluate_network(model, padded, images[rows.to(images.device)])

    n_images = len(images)
    first_half, second_half = torch.arange(n_images // 2), torch.arange(n_images // 2, n_images)
    halves = torch.cat([ask(first_half), ask(second_half)])
    alone = ask(torch.tensor([ASKED_ALONE]))
    reordered = ask(torch.arange(n_images).flip(0)).flip(0)
    repeated = ask(first_half)
    comparison = _Comparison(model, reordered)
    comparison.check(halves[first_half], repeated, _CHANGING)
    comparison.check(halves[ASKED_ALONE, None], alone, _DEPENDENT)
    comparison.check(halves, reordered, _DEPENDENT)
    return reordered, comparison.notes


_CHANGING = (
    "gives another answer each time: asked twice about the same images, its outputs differ",
    "switch off what is random in it, or what it remembers from call to call",
)
_DEPENDENT = (
    "answers an image differently alone and among others: its outputs differ",
    "scores would depend on --batch-size; take no minimum, mean, statistics or attention over the batch in its forward",
)


class _Comparison:
    """Comparisons of two answers for the same images; keeps a note on each small difference.

    Attributes:
        notes: one for each kind of difference.
    """

    def __init__(self, model: Model, outputs: Tensor) -> None:
        finite = outputs[outputs.isfinite()].abs()
        self._model = model
        self._scale = max(float(finite.max()) if len(finite) else 0.0, SMALLEST_SCALE)
        self._bound = max(NOTED, 4 * _step(outputs)) * self._scale
        self._notes: dict[str, str] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes.values())

    def check(self, first: Tensor, second: Tensor, texts: tuple[str, str]) -> None:
        """Raises ModelError for a large difference, notes a small one."""
        fact, remedy = texts
        difference = _largest_difference(first, second)
        if difference <= TOLERANCE * self._scale:
            return
        size = f"by up to {difference:.2g} (largest output {self._scale:.3g})"
        if difference > self._bound:
            raise ModelError(f"'{self._model.name}' {fact} {size}; {remedy}.")
        self._notes.setdefault(fact, f"it {fact} {size}, and scores by about as much")


def _largest_difference(first: Tensor, second: Tensor) -> float:
    """Infinite where only one of two numbers is finite."""
    if first.shape != second.shape or not torch.equal(first.isfinite(), second.isfinite()):
        return float("inf")
    differences = (first - second)[first.isfinite()].abs()
    return float(differences.max()) if len(differences) else 0.0


def _step(outputs: Tensor) -> float:
    """Relative step of numbers of half precision, 0 for others: kernels round these differently in other batches."""
    finite = outputs[outputs.isfinite()]
    if torch.equal(finite, finite.round()):
        return 0.0
    for dtype in (torch.float16, torch.bfloat16):
        if torch.equal(finite, finite.to(dtype).to(finite.dtype)):
            return torch.finfo(dtype).eps
    return 0.0
