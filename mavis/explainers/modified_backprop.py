"""Explainers that change what a backward pass hands down, or read it at every layer.

They change it by hooks on modules, which are there only while the method runs: what a network computes without
modules passes as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import upsample
from mavis.core.devices import upcast
from mavis.core.errors import ModelError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer
from mavis.explainers.gradient import check_at_least

ForwardHook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]

ELEMENTWISE_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
"""Activations of one value each, for which the rescale rule is defined."""

RESCALE_MODULES = (*ELEMENTWISE_ACTIVATIONS, nn.MaxPool2d)

AFFINE_MODULES = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.BatchNorm1d)

MIN_DIFFERENCE = 1e-7
"""Differences below this count as none: the slope is the gradient there."""

COMPLETENESS_TOLERANCE = 1e-3
"""How far terms may miss what they must add up to, as a part of their absolute sum."""


@explainer(
    "guided_backprop",
    source="Springenberg et al. 2015, section 3.4, arXiv 1412.6806",
    pooling="l2",
    same_as="saliency",
)
def guided_backprop() -> Explainer:
    """Gradient in which every ReLU passes only positive signals back, where it fired."""
    return lambda model_pass, targets: model_pass.compute_once(
        ("guided gradient", *targets.tolist()), lambda: (_gradient_with_relu_hook(model_pass, targets, _guide),)
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
    return lambda model_pass, targets: _gradient_with_relu_hook(model_pass, targets, _deconvolve)


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

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        return _deeplift(model_pass, targets, model_pass.mean[None, :, None, None].expand_as(model_pass.images[:1]))

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
    check_at_least("deeplift_shap", "baselines", baselines, 1)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        starts = _baseline_images(model_pass, baselines)
        return torch.stack([_deeplift(model_pass, targets, start[None]) for start in starts]).mean(0)

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

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        parts = zip(model_pass.images.split(model_pass.chunk), targets.split(model_pass.chunk), strict=True)
        return torch.cat([_full_gradient_map(model_pass, images, target) for images, target in parts])

    return explain


@contextmanager
def _forward_hooks(net: nn.Module, module_types: tuple[type[nn.Module], ...], hook: ForwardHook) -> Iterator[None]:
    """A forward hook on every module of some kinds while the context is open."""
    handles = [module.register_forward_hook(hook) for module in net.modules() if isinstance(module, module_types)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _logits_and_gradients(model_pass: Pass, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Target logits ``(n,)`` and their gradients ``(n,3,H,W)`` of images for which one model call is enough."""
    leaf = images.detach().requires_grad_()
    chosen = model_pass.net(leaf).gather(1, targets[:, None])[:, 0]
    gradient: Tensor = torch.autograd.grad(chosen.sum(), leaf)[0]
    return chosen.detach(), gradient


def _replace_gradient(values: Tensor, source: Tensor, slope: Tensor | float = 1.0) -> Tensor:
    """The values, but as a function of ``source`` with a slope."""
    return values.detach() + slope * (source - source.detach())


def _check_completeness(model_pass: Pass, method: str, total: Tensor, expected: Tensor, magnitude: Tensor) -> None:
    """Raises ModelError where the terms of an image, of a size in all, do not add up to what is due; ``(n,)`` each."""
    if ((total - expected).abs() > COMPLETENESS_TOLERANCE * magnitude).any():
        raise ModelError(
            f"'{model_pass.model.name}' has parts for which {method} has no rule: its values miss the logit by "
            "more than "
            f"{COMPLETENESS_TOLERANCE:g} of their size. Leave it out for this model, or give activations as modules."
        )


# Rectified signals.


def _gradient_with_relu_hook(model_pass: Pass, targets: Tensor, hook: ForwardHook) -> Tensor:
    """The gradient of the target logits under a hook on every ReLU; once in a pass."""

    def compute() -> tuple[Tensor, ...]:
        with _forward_hooks(model_pass.model.net, (nn.ReLU,), hook):
            return (model_pass.gradient(model_pass.images, targets),)

    return model_pass.compute_once(("gradient under", hook, tuple(targets.tolist())), compute)[0]


def _guide(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.relu)


def _deconvolve(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The same values, with the gradient of the identity, its negative part cut."""
    passed = _replace_gradient(output, inputs[0])
    if passed.requires_grad:
        passed.register_hook(torch.relu)
    return passed


# Rescaled differences.


def _deeplift(model_pass: Pass, targets: Tensor, baseline: Tensor) -> Tensor:
    """DeepLIFT's values ``(B,3,H,W)`` from one baseline ``(1,3,H,W)``."""
    met, logits = _baseline_activations(model_pass, baseline)

    def values(images: Tensor, targets: Tensor) -> Tensor:
        left = iter(met)

        def rescale(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return _rescale(module, inputs[0], output, *next(left))

        with _forward_hooks(model_pass.model.net, RESCALE_MODULES, rescale):
            chosen, slopes = _logits_and_gradients(model_pass, images, targets)
        found, before = slopes * (images - baseline), logits[0, targets]
        size = upcast(found).abs().sum((1, 2, 3)) + chosen.abs() + before.abs()
        _check_completeness(model_pass, "DeepLIFT", upcast(found).sum((1, 2, 3)), chosen - before, size)
        return found

    parts = zip(model_pass.images.split(model_pass.chunk), targets.split(model_pass.chunk), strict=True)
    return torch.cat([values(images, target) for images, target in parts])


def _baseline_activations(model_pass: Pass, baseline: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """What each nonlinear module is given for the baseline and answers, in the order of the calls; the logits."""
    met: list[tuple[Tensor, Tensor]] = []

    def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        met.append((inputs[0][:1], output[:1]))

    with _forward_hooks(model_pass.model.net, RESCALE_MODULES, note):
        logits = model_pass.predict(baseline)
    model_pass.meter.subtract_padding(1, logits)
    return met, logits


def _baseline_images(model_pass: Pass, n_baselines: int) -> Tensor:
    """``(R,3,H,W)``, R = ``n_baselines`` or fewer: reference images, or the mean colour."""
    if model_pass.reference is None:
        return model_pass.mean[None, :, None, None].expand_as(model_pass.images[:1])
    images = model_pass.reference.images
    places = torch.linspace(0, len(images) - 1, min(n_baselines, len(images)), device=images.device)
    return images[places.round().long()]


def _rescale(module: nn.Module, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    """The output of a nonlinear module, as a function of its input with the slope between the two images."""
    if isinstance(module, nn.MaxPool2d):
        return _rescale_max_pool(module, x, y, x0, y0)
    change, answer = x.detach() - x0, y.detach() - y0
    far = change.abs() > MIN_DIFFERENCE
    slope = torch.where(far, answer / change, 0.0)
    return torch.where(far, _replace_gradient(y, x, slope), y)


def _rescale_max_pool(module: nn.MaxPool2d, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    """A rise of the maximum is due to where the image has it, a fall to where the baseline had it."""
    change, top = x.detach() - x0, torch.maximum(y.detach(), y0)
    shares = []
    for highest, answer, flat in ((x.detach(), top - y0, 1.0), (x0, y.detach() - top, 0.0)):
        at = _max_indices(module, highest).expand_as(y)
        moved = _gather_pixels(change, at)
        slope = torch.where(moved.abs() > MIN_DIFFERENCE, answer / moved, flat)
        shares.append(slope * _gather_pixels(x, at))
    return _replace_gradient(y, shares[0] + shares[1])


def _max_indices(module: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Where in its row-by-row image each maximum stands: ``(n,C,h,w)`` int64."""
    shape = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    found: Tensor = nn.functional.max_pool2d(x, *shape, return_indices=True)[1]
    return found


def _gather_pixels(values: Tensor, indices: Tensor) -> Tensor:
    """``values (n,C,H,W)`` at places ``(n,C,h,w)``."""
    found: Tensor = values.flatten(2).gather(2, indices.flatten(2)).view_as(indices)
    return found


# Full gradients.


def _full_gradient_map(model_pass: Pass, images: Tensor, targets: Tensor) -> Tensor:
    terms = FullGradTerms(images)
    with _forward_hooks(model_pass.model.net, AFFINE_MODULES, terms.hook):
        chosen, _ = _logits_and_gradients(model_pass, images, targets)
    if not terms.has_spatial_bias:
        raise ModelError(
            f"'{model_pass.model.name}' has no convolution or batch norm with a bias; use input_x_gradient."
        )
    _check_completeness(model_pass, "FullGrad", terms.total, chosen, terms.magnitude + chosen.abs())
    return terms.map


class FullGradTerms:
    """FullGrad's terms of some images, added up as the backward pass comes by.

    Attributes:
        map: ``(n,1,H,W)``, absolute values of the terms that have a place.
        total: ``(n,)`` double, sum of all signed terms.
        magnitude: ``(n,)`` double, sum of their absolute values.
        has_spatial_bias: whether any bias has a place in the image.
    """

    def __init__(self, images: Tensor) -> None:
        self.map = torch.zeros_like(images[:, :1])
        self.total = upcast(torch.zeros_like(images[:, 0, 0, 0]))
        self.magnitude = torch.zeros_like(self.total)
        self.has_spatial_bias = False
        self._has_seen_input = False

    def hook(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """The hook of an affine layer."""
        if not self._has_seen_input:
            self._has_seen_input = True
            self._on_gradient(inputs[0], inputs[0].detach()[: len(self.map)], is_spatial=inputs[0].ndim == 4)
        bias = _effective_bias(module)
        if bias is not None:
            last = isinstance(module, nn.Linear)
            placed = output.ndim == 4 and not last
            self._on_gradient(output, bias if last else bias.view(-1, *(1,) * (output.ndim - 2)), is_spatial=placed)
            self.has_spatial_bias |= placed

    def _on_gradient(self, tensor: Tensor, factor: Tensor, *, is_spatial: bool) -> None:
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: self._add(gradient[: len(self.map)] * factor, is_spatial=is_spatial))

    def _add(self, term: Tensor, *, is_spatial: bool) -> None:
        self.total += term.flatten(1).sum(1)
        self.magnitude += term.abs().flatten(1).sum(1)
        if is_spatial:
            self.map += upsample(term.abs().sum(1, keepdim=True), (self.map.shape[2], self.map.shape[3]))


def _effective_bias(module: Any) -> Tensor | None:
    """What an affine layer answers to zero, ``(C,)``; None for nothing."""
    bias: Tensor | None = module.bias
    if getattr(module, "running_mean", None) is None:
        return bias
    slope = (module.running_var + module.eps).rsqrt() * (1.0 if module.weight is None else module.weight)
    shift: Tensor = -module.running_mean * slope + (0.0 if bias is None else bias)
    return shift
