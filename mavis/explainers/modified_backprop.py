"""Explainers that change what a backward pass hands down, or read it at every layer.

They change it by hooks on modules, which are there only while the method runs: what a network computes without
modules passes as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import upsampled
from mavis.core.devices import precise
from mavis.core.errors import ModelError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer
from mavis.explainers.gradient import at_least

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]

ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
"""Activations of one value each, for which the rescale rule is defined."""

RESCALED = (*ELEMENTWISE, nn.MaxPool2d)

AFFINE = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.BatchNorm1d)

NEAR = 1e-7
"""Differences below this count as none: the slope is the gradient there."""

TOLERANCE = 1e-3
"""How far terms may miss what they must add up to, as a part of their absolute sum."""


@explainer(
    "guided_backprop",
    source="Springenberg et al. 2015, section 3.4, arXiv 1412.6806",
    pooling="l2",
    same_as="saliency",
)
def guided_backprop() -> Explainer:
    """Gradient in which every ReLU passes only positive signals back, where it fired."""
    return lambda run, targets: run.once(
        ("guided gradient", *targets.tolist()), lambda: (_gradient_under(run, targets, _guide),)
    )[0]


@explainer(
    "deconvnet",
    source="Zeiler and Fergus 2014, section 2.1, arXiv 1311.2901",
    pooling="l2",
    same_as="saliency",
)
def deconvnet() -> Explainer:
    """Gradient in which every ReLU passes only positive signals back, whether it fired or not.

    Differs: starts from the target logit, as Captum does; the paper starts from one activation of an inner layer.
    """
    return lambda run, targets: _gradient_under(run, targets, _deconvolve)


@explainer("deeplift", source="Shrikumar et al. 2017, section 3.5.1 (rescale), arXiv 1704.02685", complete=True)
def deeplift() -> Explainer:
    """Differences from the data set's mean colour, handed down with each activation's slope between the two.

    Differs: the rescale rule alone, as in Captum. Captum fails where a module is used twice, takes GELU, SiLU and
    others for linear, and its max pooling misses the logit where windows overlap or a ReLU comes before it, and mixes
    images where nothing changes (its issue 1276); here the values add up, and a model for which they do not is
    refused. The mean colour goes through the model once for a whole batch and is not counted.

    Raises:
        ModelError: the values do not add up: the model multiplies signals, or is nonlinear outside of modules.
    """

    def explain(run: Pass, targets: Tensor) -> Tensor:
        return _against(run, targets, run.mean[None, :, None, None].expand_as(run.images[:1]))

    return explain


@explainer(
    "deeplift_shap",
    source="Lundberg and Lee 2017, section 4.2, arXiv 1705.07874; baselines as Captum's DeepLiftShap",
    reference=True,
)
def deeplift_shap(baselines: int = 5) -> Explainer:
    """`deeplift` from several other images of the data set, averaged.

    Without reference images it is `deeplift`.

    Args:
        baselines: how many of the run's reference images, evenly spaced among them; all where there are fewer.

    Raises:
        ModelError: as `deeplift`.
    """
    at_least("deeplift_shap", "baselines", baselines, 1)

    def explain(run: Pass, targets: Tensor) -> Tensor:
        starts = _starts(run, baselines)
        return torch.stack([_against(run, targets, start[None]) for start in starts]).mean(0)

    return explain


@explainer(
    "fullgrad",
    source="Srinivas and Fleuret 2019, definition 2 and equation 4, arXiv 1905.00780",
    needs={"gradient", "weights"},
    signed=False,
    magnitude=True,
)
def fullgrad() -> Explainer:
    """Input times gradient, and bias times gradient of every convolution and batch norm: absolute values, added up.

    The input is what the first layer sees, the normalised image. The biases' maps are enlarged bilinearly. With the
    biases of linear layers, which have no place in the image, the signed terms add up to the logit.

    Differs: the paper scales each layer's map to [0,1] before it adds them up, so that a layer's size is lost; here
    nothing is scaled.

    Raises:
        ModelError: no convolution and no batch norm has a bias, or the terms do not add up to the logit: the model is
            not piecewise linear, or adds constants outside of such layers.
    """

    def explain(run: Pass, targets: Tensor) -> Tensor:
        parts = zip(run.images.split(run.chunk), targets.split(run.chunk), strict=True)
        return torch.cat([_full_gradient(run, images, target) for images, target in parts])

    return explain


@contextmanager
def _hooked(net: nn.Module, kinds: tuple[type[nn.Module], ...], hook: Hook) -> Iterator[None]:
    """A forward hook on every module of some kinds while the context is open."""
    handles = [module.register_forward_hook(hook) for module in net.modules() if isinstance(module, kinds)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _answered(run: Pass, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Target logits ``(n,)`` and their gradients ``(n,3,H,W)`` of images for which one model call is enough."""
    leaf = images.detach().requires_grad_()
    chosen = run.net(leaf).gather(1, targets[:, None])[:, 0]
    gradient: Tensor = torch.autograd.grad(chosen.sum(), leaf)[0]
    return chosen.detach(), gradient


def _same_with_gradient(values: Tensor, source: Tensor, slope: Tensor | float = 1.0) -> Tensor:
    """The values, but as a function of ``source`` with a slope."""
    return values.detach() + slope * (source - source.detach())


def _check_sum(run: Pass, method: str, total: Tensor, due: Tensor, size: Tensor) -> None:
    """Raises ModelError where the terms of an image, of a size in all, do not add up to what is due; ``(n,)`` each."""
    if ((total - due).abs() > TOLERANCE * size).any():
        raise ModelError(
            f"'{run.model.name}' has parts for which {method} has no rule: its values miss the logit by more than "
            f"{TOLERANCE:g} of their size. Leave it out for this model, or give activations as modules."
        )


# Rectified signals.


def _gradient_under(run: Pass, targets: Tensor, hook: Hook) -> Tensor:
    """The gradient of the target logits under a hook on every ReLU; once in a pass."""

    def compute() -> tuple[Tensor, ...]:
        with _hooked(run.model.net, (nn.ReLU,), hook):
            return (run.gradient(run.images, targets),)

    return run.once(("gradient under", hook, tuple(targets.tolist())), compute)[0]


def _guide(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.relu)


def _deconvolve(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The same values, with the gradient of the identity, its negative part cut."""
    passed = _same_with_gradient(output, inputs[0])
    if passed.requires_grad:
        passed.register_hook(torch.relu)
    return passed


# Rescaled differences.


def _against(run: Pass, targets: Tensor, start: Tensor) -> Tensor:
    """DeepLIFT's values ``(B,3,H,W)`` from one baseline ``(1,3,H,W)``."""
    met, logits = _met(run, start)

    def values(images: Tensor, targets: Tensor) -> Tensor:
        left = iter(met)

        def rescale(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return _rescaled(module, inputs[0], output, *next(left))

        with _hooked(run.model.net, RESCALED, rescale):
            chosen, slopes = _answered(run, images, targets)
        found, before = slopes * (images - start), logits[0, targets]
        size = precise(found).abs().sum((1, 2, 3)) + chosen.abs() + before.abs()
        _check_sum(run, "DeepLIFT", precise(found).sum((1, 2, 3)), chosen - before, size)
        return found

    parts = zip(run.images.split(run.chunk), targets.split(run.chunk), strict=True)
    return torch.cat([values(images, target) for images, target in parts])


def _met(run: Pass, start: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """What each nonlinear module is given for the baseline and answers, in the order of the calls; the logits."""
    met: list[tuple[Tensor, Tensor]] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        met.append((inputs[0][:1], output[:1]))

    with _hooked(run.model.net, RESCALED, note):
        logits = run.predict(start)
    run.meter.discount(1, logits)
    return met, logits


def _starts(run: Pass, count: int) -> Tensor:
    """``(R,3,H,W)``, R = ``count`` or fewer: reference images, or the mean colour."""
    if run.reference is None:
        return run.mean[None, :, None, None].expand_as(run.images[:1])
    images = run.reference.images
    places = torch.linspace(0, len(images) - 1, min(count, len(images)), device=images.device)
    return images[places.round().long()]


def _rescaled(module: nn.Module, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    """The output of a nonlinear module, as a function of its input with the slope between the two images."""
    if isinstance(module, nn.MaxPool2d):
        return _rescaled_pool(module, x, y, x0, y0)
    change, answer = x.detach() - x0, y.detach() - y0
    far = change.abs() > NEAR
    slope = torch.where(far, answer / change, 0.0)
    return torch.where(far, _same_with_gradient(y, x, slope), y)


def _rescaled_pool(module: nn.MaxPool2d, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    """A rise of the maximum is due to where the image has it, a fall to where the baseline had it."""
    change, top = x.detach() - x0, torch.maximum(y.detach(), y0)
    shares = []
    for highest, answer, flat in ((x.detach(), top - y0, 1.0), (x0, y.detach() - top, 0.0)):
        at = _places(module, highest).expand_as(y)
        moved = _taken(change, at)
        slope = torch.where(moved.abs() > NEAR, answer / moved, flat)
        shares.append(slope * _taken(x, at))
    return _same_with_gradient(y, shares[0] + shares[1])


def _places(module: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Where in its row-by-row image each maximum stands: ``(n,C,h,w)`` int64."""
    shape = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    found: Tensor = nn.functional.max_pool2d(x, *shape, return_indices=True)[1]
    return found


def _taken(values: Tensor, at: Tensor) -> Tensor:
    """``values (n,C,H,W)`` at places ``(n,C,h,w)``."""
    found: Tensor = values.flatten(2).gather(2, at.flatten(2)).view_as(at)
    return found


# Full gradients.


def _full_gradient(run: Pass, images: Tensor, targets: Tensor) -> Tensor:
    terms = Terms(images)
    with _hooked(run.model.net, AFFINE, terms.visit):
        chosen, _ = _answered(run, images, targets)
    if not terms.placed:
        raise ModelError(f"'{run.model.name}' has no convolution or batch norm with a bias; use input_x_gradient.")
    _check_sum(run, "FullGrad", terms.total, chosen, terms.size + chosen.abs())
    return terms.map


class Terms:
    """FullGrad's terms of some images, added up as the backward pass comes by.

    Attributes:
        map: ``(n,1,H,W)``, absolute values of the terms that have a place.
        total: ``(n,)`` double, sum of all signed terms.
        size: ``(n,)`` double, sum of their absolute values.
        placed: whether any bias has a place in the image.
    """

    def __init__(self, images: Tensor) -> None:
        self.map = torch.zeros_like(images[:, :1])
        self.total = precise(torch.zeros_like(images[:, 0, 0, 0]))
        self.size = torch.zeros_like(self.total)
        self.placed = False
        self._begun = False

    def visit(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The hook of an affine layer."""
        if not self._begun:
            self._begun = True
            self._await(inputs[0], inputs[0].detach()[: len(self.map)], placed=inputs[0].ndim == 4)
        bias = _bias(module)
        if bias is not None:
            last = isinstance(module, nn.Linear)
            placed = output.ndim == 4 and not last
            self._await(output, bias if last else bias.view(-1, *(1,) * (output.ndim - 2)), placed=placed)
            self.placed |= placed

    def _await(self, tensor: Tensor, factor: Tensor, *, placed: bool) -> None:
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: self._add(gradient[: len(self.map)] * factor, placed=placed))

    def _add(self, term: Tensor, *, placed: bool) -> None:
        self.total += term.flatten(1).sum(1)
        self.size += term.abs().flatten(1).sum(1)
        if placed:
            self.map += upsampled(term.abs().sum(1, keepdim=True), (self.map.shape[2], self.map.shape[3]))


def _bias(module: Any) -> Tensor | None:
    """What an affine layer answers to zero, ``(C,)``; None for nothing."""
    bias: Tensor | None = module.bias
    if getattr(module, "running_mean", None) is None:
        return bias
    slope = (module.running_var + module.eps).rsqrt() * (1.0 if module.weight is None else module.weight)
    shift: Tensor = -module.running_mean * slope + (0.0 if bias is None else bias)
    return shift
