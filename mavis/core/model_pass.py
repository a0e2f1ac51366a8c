"""One model on one batch: everything that explainers share is computed here, at most once, and counted.

A `Pass` holds at most one forward with its graph and one backward per target vector. Whoever asks second gets the
tensor; what it would have cost them alone is still written to their account, so a method's cost does not depend on
who ran before it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from mavis.core import devices, seeding
from mavis.core.compute import BatchPadding, Cost, Meter
from mavis.core.errors import ModelError
from mavis.core.types import Batch, Model, ReferenceImages


@dataclass
class _CachedResult:
    """Something this pass has computed, with what it cost."""

    values: tuple[Tensor, ...]
    cost: Cost


@dataclass
class Pass:
    """One model on one batch.

    Attributes:
        model: what is explained.
        batch: B images on the model's device.
        mean: ``(3,)``, the data set's mean colour, on the device.
        seed: the run's seed.
        chunk: most samples in one call of the model.
        variant_name: name of the changed input or model that this pass is, empty for the original.
        input_requires_grad: whether the graph reaches the input; without it a backward ends at the CAM layer.
        meter: counts what passes the network.
        reference: other images of the data set, on the device; None where there are none.
    """

    model: Model
    batch: Batch
    mean: Tensor
    seed: int
    chunk: int
    variant_name: str = ""
    input_requires_grad: bool = True
    meter: Meter = field(default_factory=Meter)
    reference: ReferenceImages | None = None
    _computed: dict[tuple[object, ...], _CachedResult] = field(default_factory=dict, repr=False)
    _used: set[tuple[object, ...]] = field(default_factory=set, repr=False)

    @property
    def images(self) -> Tensor:
        """``(B,3,H,W)`` float32 in [0,1]."""
        return self.batch.images

    @property
    def ids(self) -> tuple[str, ...]:
        """B image ids."""
        return self.batch.ids

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def net(self) -> nn.Module:
        """What explainers call: the network in `BatchPadding`. Autograd goes through it."""
        return BatchPadding(self.model.net, self.meter, devices.batch_multiple())

    @property
    def logits(self) -> Tensor:
        """``(B,K)`` float32, without graph."""
        return self._forward(self.input_requires_grad)[1].detach()

    @property
    def activations(self) -> Tensor:
        """``(B,C,h,w)``, the output of the CAM layer, without graph."""
        self._cam_module()
        return self._forward(self.input_requires_grad)[2].detach()[: len(self)]

    def input_gradient(self, targets: Tensor) -> Tensor:
        """``(B,3,H,W)``: gradient of each image's target logit with respect to the image."""
        self.input_requires_grad = True
        return self._backward(targets)[0]

    def activation_gradients(self, targets: Tensor) -> Tensor:
        """``(B,C,h,w)``: gradient of each image's target logit with respect to the CAM layer's output."""
        self._cam_module()
        return self._backward(targets)[-1][: len(self)]

    def single_image(self, row: int) -> "Pass":
        """The pass of one of its images, on the same account; for explainers whose memory would grow with the batch."""
        return replace(self, batch=self.batch.single_image(row), _computed={}, _used=set())

    def predict(self, images: Tensor) -> Tensor:
        """Logits ``(N,K)`` of any images ``(N,3,H,W)``, at most `chunk` at a time, without graph."""
        with torch.no_grad():
            return torch.cat([self.net(part) for part in images.split(self.chunk)])

    def gradient(self, images: Tensor, targets: Tensor) -> Tensor:
        """Gradient ``(N,3,H,W)`` of the target logits ``(N,)`` at any images, at most `chunk` at a time."""
        parts = []
        for part, target in zip(images.split(self.chunk), targets.split(self.chunk), strict=True):
            leaf = part.detach().requires_grad_()
            chosen = self.net(leaf).gather(1, target[:, None]).sum()
            parts.append(torch.autograd.grad(chosen, leaf)[0])
        return torch.cat(parts)

    def draw(
        self,
        stream: str,
        sampler: Callable[[torch.Generator], Tensor],
        *,
        per_variant: bool = False,
        ids: tuple[str, ...] | None = None,
    ) -> Tensor:
        """One draw per image, ``(B, …)`` on the device.

        Args:
            stream: what the numbers are for.
            sampler: takes a generator, returns a tensor of one fixed shape.
            per_variant: other numbers in every variant of the input or the model. By default a variant gets the same
                ones, so that what changes between two maps is what the variant changed.
            ids: for these images only; by default for all B.
        """
        name = f"{stream}@{self.variant_name}" if per_variant else stream
        return seeding.draw_per_image(self.seed, self.ids if ids is None else ids, name, sampler, self.images.device)

    def compute_once(self, key: tuple[object, ...], compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """What several explainers share: computed for the first who asks, charged to everyone who does.

        Args:
            key: a name and everything else that the tensors depend on.
            compute: may call the model, but asks this pass for nothing that is shared itself.
        """
        self._used.add(key)
        if key not in self._computed:
            before = self.meter.read()
            values = compute()
            devices.synchronise(self.images.device)
            self._computed[key] = _CachedResult(values, self.meter.read() - before)
        return self._computed[key].values

    @contextmanager
    def measure_cost(self) -> Iterator[Cost]:
        """What the enclosed work costs alone: what it computes, and what it uses that was computed before."""
        total = Cost()
        self._used = set()
        before, known = self.meter.read(), set(self._computed)
        yield total
        devices.synchronise(self.images.device)
        spent = self.meter.read() - before
        shared = sum((self._computed[key].cost for key in self._used & known), Cost())
        whole = spent + shared
        total.forwards, total.backwards, total.seconds = whole.forwards, whole.backwards, whole.seconds

    def _forward(self, input_requires_grad: bool) -> tuple[Tensor, ...]:
        """Image, logits and CAM-layer activations, with the graph from the image or from the CAM layer on."""
        return self.compute_once(("forward", input_requires_grad), lambda: self._compute_forward(input_requires_grad))

    def _compute_forward(self, input_requires_grad: bool) -> tuple[Tensor, ...]:
        needs_graph = "gradient" in self.model.capabilities
        image = self.images.detach().requires_grad_(input_requires_grad and needs_graph)
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
            kept.append(output if input_requires_grad else output.detach().requires_grad_(needs_graph))
            return kept[-1]

        handle = self._cam_module().register_forward_hook(keep) if self.model.cam_layer else None
        try:
            with torch.set_grad_enabled(needs_graph):
                logits = self.net(image)
        finally:
            if handle:
                handle.remove()
        return (image, logits, *kept[-1:])

    def _backward(self, targets: Tensor) -> tuple[Tensor, ...]:
        """Gradients with respect to the image (where the graph reaches it) and to the CAM layer's output."""
        through = self.input_requires_grad
        image, logits, *kept = self._forward(through)
        key = ("backward", through, tuple(targets.tolist()))
        wanted = [image, *kept] if through else kept
        chosen = logits.gather(1, targets[:, None]).sum
        return self.compute_once(key, lambda: torch.autograd.grad(chosen(), wanted, retain_graph=True))

    def _cam_module(self) -> nn.Module:
        if not self.model.cam_layer:
            raise ModelError(f"'{self.model.name}' has no CAM layer; leave out the explainers that read activations.")
        try:
            return self.model.net.get_submodule(self.model.cam_layer)
        except AttributeError as error:
            raise ModelError(f"'{self.model.name}' has no module '{self.model.cam_layer}' for CAM.") from error
