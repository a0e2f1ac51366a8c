"""One model on one batch: logits, gradients and activations that explainers share, each computed once and counted.

A `Pass` holds at most one forward with its graph and one backward per target vector. A second explainer gets the stored
tensor, and is charged as if it had computed it, so that a method's cost does not depend on the order of methods.
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
    """Tensors that this pass has computed, with their cost."""

    values: tuple[Tensor, ...]
    cost: Cost


@dataclass
class Pass:
    """One model on one batch.

    Attributes:
        model: the model that is explained.
        batch: B images on the model's device.
        mean: ``(3,)``, the data set's mean colour, on the device.
        seed: the run's seed.
        chunk: maximum number of samples in one call of the model.
        variant_name: name of the perturbed input or model, empty for the original.
        input_requires_grad: true if the graph reaches the input; otherwise a backward ends at the CAM layer.
        meter: counts the samples that pass the network.
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
        """The network in `BatchPadding`, which explainers call. Autograd goes through it."""
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
        """Pass of one image, with the same meter; for explainers whose memory would grow with the batch."""
        return replace(self, batch=self.batch.single_image(row), _computed={}, _used=set())

    def predict(self, images: Tensor) -> Tensor:
        """Logits ``(N,K)`` of any images ``(N,3,H,W)``, at most `chunk` at a time, without graph."""
        with torch.no_grad():
            return torch.cat([self.net(chunk) for chunk in images.split(self.chunk)])

    def gradient(self, images: Tensor, targets: Tensor) -> Tensor:
        """Gradient ``(N,3,H,W)`` of the target logits ``(N,)`` at any images, at most `chunk` at a time."""
        gradients = []
        for chunk, chunk_targets in zip(images.split(self.chunk), targets.split(self.chunk), strict=True):
            leaf = chunk.detach().requires_grad_()
            target_logits = self.net(leaf).gather(1, chunk_targets[:, None]).sum()
            gradients.append(torch.autograd.grad(target_logits, leaf)[0])
        return torch.cat(gradients)

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
            stream: name of the use of the numbers.
            sampler: takes a generator, returns a tensor of one fixed shape.
            per_variant: draws other numbers in every variant of the input or the model. By default all variants get
                the same numbers, so that two maps differ only by the variant's change.
            ids: draws for these images only; by default for all B.
        """
        name = f"{stream}@{self.variant_name}" if per_variant else stream
        return seeding.draw_per_image(self.seed, self.ids if ids is None else ids, name, sampler, self.images.device)

    def compute_once(self, key: tuple[object, ...], compute: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Returns shared tensors: computed at the first call, charged to every caller.

        Args:
            key: a name and everything else that the tensors depend on.
            compute: may call the model, but must not use other shared tensors of this pass.
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
        """Cost of the enclosed work alone: of the tensors that it computes, and of stored ones that it uses."""
        total = Cost()
        self._used = set()
        before, computed_before = self.meter.read(), set(self._computed)
        yield total
        devices.synchronise(self.images.device)
        new_cost = self.meter.read() - before
        shared_cost = sum((self._computed[key].cost for key in self._used & computed_before), Cost())
        sum_cost = new_cost + shared_cost
        total.forwards, total.backwards, total.seconds = sum_cost.forwards, sum_cost.backwards, sum_cost.seconds

    def _forward(self, input_requires_grad: bool) -> tuple[Tensor, ...]:
        """Image, logits and CAM-layer activations, with the graph from the image or from the CAM layer on."""
        return self.compute_once(("forward", input_requires_grad), lambda: self._compute_forward(input_requires_grad))

    def _compute_forward(self, input_requires_grad: bool) -> tuple[Tensor, ...]:
        needs_graph = "gradient" in self.model.capabilities
        image = self.images.detach().requires_grad_(input_requires_grad and needs_graph)
        activations: list[Tensor] = []

        def record_activations(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
            activations.append(output if input_requires_grad else output.detach().requires_grad_(needs_graph))
            return activations[-1]

        handle = self._cam_module().register_forward_hook(record_activations) if self.model.cam_layer else None
        try:
            with torch.set_grad_enabled(needs_graph):
                logits = self.net(image)
        finally:
            if handle:
                handle.remove()
        return (image, logits, *activations[-1:])

    def _backward(self, targets: Tensor) -> tuple[Tensor, ...]:
        """Gradients with respect to the image (where the graph reaches it) and to the CAM layer's output."""
        input_requires_grad = self.input_requires_grad
        image, logits, *activations = self._forward(input_requires_grad)
        key = ("backward", input_requires_grad, tuple(targets.tolist()))
        inputs = [image, *activations] if input_requires_grad else activations
        sum_target_logits = logits.gather(1, targets[:, None]).sum
        return self.compute_once(key, lambda: torch.autograd.grad(sum_target_logits(), inputs, retain_graph=True))

    def _cam_module(self) -> nn.Module:
        if not self.model.cam_layer:
            raise ModelError(f"'{self.model.name}' has no CAM layer; leave out the explainers that read activations.")
        try:
            return self.model.net.get_submodule(self.model.cam_layer)
        except AttributeError as error:
            raise ModelError(f"'{self.model.name}' has no module '{self.model.cam_layer}' for CAM.") from error
