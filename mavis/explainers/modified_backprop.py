"""Explainers that modify the backward pass, or read it at every layer: guided backpropagation, DeepLIFT, FullGrad.

They use hooks on modules, which exist only while the method runs. Nonlinear operations outside of modules cannot be
modified: a model that has them is refused, by `rectifiers` or because the terms do not add up.
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
from mavis.explainers.rectifiers import require_relu_modules

ForwardHook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]

ELEMENTWISE_ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.LogSigmoid, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)
"""Element-wise activations, for which the rescale rule is defined."""

RESCALE_MODULES = (*ELEMENTWISE_ACTIVATIONS, nn.MaxPool2d)

AFFINE_MODULES = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.BatchNorm1d)

MIN_DIFFERENCE = 1e-7
"""Differences below this count as none: the slope is the gradient there."""

COMPLETENESS_TOLERANCE = 1e-3
"""Largest error of a sum of terms that must equal the logit, as a part of the terms' absolute sum."""


@explainer(
    "guided_backprop",
    source="Springenberg et al. 2015, section 3.4, arXiv 1412.6806",
    pooling="l2",
    same_as="saliency",
)
def guided_backprop() -> Explainer:
    """Gradient in which every ReLU passes only positive signals back, where it fired.

    Differs: activations of torch other than ReLU keep their gradient, as in Captum. Captum is silent where a ReLU is no
    module and keeps its gradient too; here such a model is refused.

    Raises:
        ModelError: the model rectifies signals outside of modules.
    """
    return lambda model_pass, targets: model_pass.compute_once(
        ("guided gradient", *targets.tolist()),
        lambda: (_gradient_with_relu_hook(model_pass, targets, "guided backpropagation", _guide),),
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

    Raises:
        ModelError: as `guided_backprop`.
    """
    return lambda model_pass, targets: _gradient_with_relu_hook(model_pass, targets, "deconvnet", _deconvolve)


@explainer("deeplift", source="Shrikumar et al. 2017, section 3.5.1 (rescale), arXiv 1704.02685", complete=True)
def deeplift() -> Explainer:
    """Contributions of the differences from the data set's mean colour, by the rescale rule.

    In the backward pass the gradient of each activation is replaced by its slope between the two images.

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
    """Mean of `deeplift` over several other images of the data set as baselines.

    Without reference images it is `deeplift`.

    Args:
        baselines: number of the run's reference images, evenly spaced among them; all where there are fewer.

    Raises:
        ModelError: as `deeplift`.
    """
    check_at_least("deeplift_shap", "baselines", baselines, 1)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        references = _baseline_images(model_pass, baselines)
        return torch.stack([_deeplift(model_pass, targets, reference[None]) for reference in references]).mean(0)

    return explain


@explainer(
    "fullgrad",
    source="Srinivas and Fleuret 2019, definition 2 and equation 4, arXiv 1905.00780",
    needs={"gradient", "weights"},
    signed=False,
    magnitude=True,
)
def fullgrad() -> Explainer:
    """Input times gradient, and bias times gradient of every convolution and batch norm: sum of absolute values.

    The input is that of the first layer, the normalised image. The biases' maps are enlarged bilinearly. With the
    biases of linear layers, which have no position in the image, the signed terms add up to the logit.

    Differs: the paper scales each layer's map to [0,1] before it adds them up, so that a layer's size is lost; here
    nothing is scaled.

    Raises:
        ModelError: no convolution and no batch norm has a bias, or the terms do not add up to the logit: the model is
            not piecewise linear, or adds constants outside of such layers.
    """

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        chunks = zip(model_pass.images.split(model_pass.chunk), targets.split(model_pass.chunk), strict=True)
        return torch.cat([_full_gradient_map(model_pass, images, target) for images, target in chunks])

    return explain


@contextmanager
def _forward_hooks(net: nn.Module, module_types: tuple[type[nn.Module], ...], hook: ForwardHook) -> Iterator[None]:
    """A forward hook on every module of the given types while the context is open."""
    handles = [module.register_forward_hook(hook) for module in net.modules() if isinstance(module, module_types)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _logits_and_gradients(model_pass: Pass, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Target logits ``(n,)`` and their gradients ``(n,3,H,W)`` of images for which one model call is enough."""
    leaf = images.detach().requires_grad_()
    logits = model_pass.net(leaf).gather(1, targets[:, None])[:, 0]
    gradient: Tensor = torch.autograd.grad(logits.sum(), leaf)[0]
    return logits.detach(), gradient


def _replace_gradient(values: Tensor, source: Tensor, slope: Tensor | float = 1.0) -> Tensor:
    """The same values, as a function of ``source`` with the given slope."""
    return values.detach() + slope * (source - source.detach())


def _check_completeness(model_pass: Pass, method: str, total: Tensor, expected: Tensor, magnitude: Tensor) -> None:
    """Checks that the terms of each image add up.

    Args:
        model_pass: the pass.
        method: name, for the message.
        total: ``(n,)``, sum of the terms.
        expected: ``(n,)``, the value that they must add up to.
        magnitude: ``(n,)``, absolute size of the terms, to which the tolerance is relative.

    Raises:
        ModelError: they do not.
    """
    if ((total - expected).abs() > COMPLETENESS_TOLERANCE * magnitude).any():
        raise ModelError(
            f"'{model_pass.model.name}' has parts for which {method} has no rule: its values miss the logit by "
            f"more than {COMPLETENESS_TOLERANCE:g} of their size. Leave it out for this model, or give activations as "
            "modules."
        )


# Rectified signals.


def _gradient_with_relu_hook(model_pass: Pass, targets: Tensor, method: str, hook: ForwardHook) -> Tensor:
    """The gradient of the target logits under a hook on every ReLU; computed once per pass."""

    def compute() -> tuple[Tensor, ...]:
        net = model_pass.model.net
        with _forward_hooks(net, (nn.ReLU,), hook), require_relu_modules(net, method):
            return (model_pass.gradient(model_pass.images, targets),)

    return model_pass.compute_once(("gradient under", hook, tuple(targets.tolist())), compute)[0]


def _guide(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
    if output.requires_grad:
        output.register_hook(torch.relu)


def _deconvolve(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The same values, with the gradient of the identity, its negative part cut."""
    values = _replace_gradient(output, inputs[0])
    if values.requires_grad:
        values.register_hook(torch.relu)
    return values


# Rescaled differences.


def _deeplift(model_pass: Pass, targets: Tensor, baseline: Tensor) -> Tensor:
    """DeepLIFT attributions ``(B,3,H,W)`` from one baseline ``(1,3,H,W)``."""
    activations, baseline_logits = _baseline_activations(model_pass, baseline)

    def attribute(images: Tensor, targets: Tensor) -> Tensor:
        remaining = iter(activations)

        def rescale(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return _rescale(module, inputs[0], output, *next(remaining))

        with _forward_hooks(model_pass.model.net, RESCALE_MODULES, rescale):
            logits, slopes = _logits_and_gradients(model_pass, images, targets)
        attributions, baseline_logit = slopes * (images - baseline), baseline_logits[0, targets]
        magnitude = upcast(attributions).abs().sum((1, 2, 3)) + logits.abs() + baseline_logit.abs()
        _check_completeness(
            model_pass, "DeepLIFT", upcast(attributions).sum((1, 2, 3)), logits - baseline_logit, magnitude
        )
        return attributions

    chunks = zip(model_pass.images.split(model_pass.chunk), targets.split(model_pass.chunk), strict=True)
    return torch.cat([attribute(images, target) for images, target in chunks])


def _baseline_activations(model_pass: Pass, baseline: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Input and output of each nonlinear module for the baseline, in the order of the calls; and the logits."""
    activations: list[tuple[Tensor, Tensor]] = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        activations.append((inputs[0][:1], output[:1]))

    with _forward_hooks(model_pass.model.net, RESCALE_MODULES, record):
        logits = model_pass.predict(baseline)
    model_pass.meter.subtract_padding(1, logits)
    return activations, logits


def _baseline_images(model_pass: Pass, n_baselines: int) -> Tensor:
    """``(R,3,H,W)``, R = ``n_baselines`` or fewer: reference images, or the mean colour."""
    if model_pass.reference is None:
        return model_pass.mean[None, :, None, None].expand_as(model_pass.images[:1])
    images = model_pass.reference.images
    indices = torch.linspace(0, len(images) - 1, min(n_baselines, len(images)), device=images.device)
    return images[indices.round().long()]


def _rescale(module: nn.Module, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    """The output of a nonlinear module, as a function of its input with the slope between image and baseline."""
    if isinstance(module, nn.MaxPool2d):
        return _rescale_max_pool(module, x, y, x0, y0)
    # Where input and baseline agree the slope is 0/0: there its limit is used, the module's own gradient.
    input_change, output_change = x.detach() - x0, y.detach() - y0
    is_different = input_change.abs() > MIN_DIFFERENCE
    slope = torch.where(is_different, output_change / input_change, 0.0)
    return torch.where(is_different, _replace_gradient(y, x, slope), y)


def _rescale_max_pool(module: nn.MaxPool2d, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    """The rescale rule for max pooling: a rise is due to the image's maximum, a fall to the baseline's.

    The change y − y0 is split at the larger of the two maxima: the part above y0 (≥ 0) is attributed to the pixel where
    the image has its maximum, the part from there down to y (≤ 0) to the pixel where the baseline has its own. So the
    two terms add up to the change also where the maximum moves, and windows may overlap.
    """
    change, joint_max = x.detach() - x0, torch.maximum(y.detach(), y0)
    terms = []
    for source, output_change, flat_slope in ((x.detach(), joint_max - y0, 1.0), (x0, y.detach() - joint_max, 0.0)):
        indices = _max_indices(module, source).expand_as(y)
        input_change = _gather_pixels(change, indices)
        slope = torch.where(input_change.abs() > MIN_DIFFERENCE, output_change / input_change, flat_slope)
        terms.append(slope * _gather_pixels(x, indices))
    return _replace_gradient(y, terms[0] + terms[1])


def _max_indices(module: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Row-by-row index of each maximum in its channel: ``(n,C,h,w)`` int64."""
    shape = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    indices: Tensor = nn.functional.max_pool2d(x, *shape, return_indices=True)[1]
    return indices


def _gather_pixels(values: Tensor, indices: Tensor) -> Tensor:
    """``values (n,C,H,W)`` at row-by-row indices ``(n,C,h,w)``."""
    pixels: Tensor = values.flatten(2).gather(2, indices.flatten(2)).view_as(indices)
    return pixels


# Full gradients.


def _full_gradient_map(model_pass: Pass, images: Tensor, targets: Tensor) -> Tensor:
    terms = FullGradTerms(images)
    with _forward_hooks(model_pass.model.net, AFFINE_MODULES, terms.hook):
        logits, _ = _logits_and_gradients(model_pass, images, targets)
    if not terms.has_spatial_bias:
        raise ModelError(
            f"'{model_pass.model.name}' has no convolution or batch norm with a bias; use input_x_gradient."
        )
    _check_completeness(model_pass, "FullGrad", terms.total, logits, terms.magnitude + logits.abs())
    return terms.map


class FullGradTerms:
    """FullGrad's terms of some images, added up during the backward pass.

    Attributes:
        map: ``(n,1,H,W)``, absolute values of the terms that have a position in the image.
        total: ``(n,)`` double, sum of all signed terms.
        magnitude: ``(n,)`` double, sum of their absolute values.
        has_spatial_bias: whether any bias has a position in the image.
    """

    def __init__(self, images: Tensor) -> None:
        self.map = torch.zeros_like(images[:, :1])
        self.total = upcast(torch.zeros_like(images[:, 0, 0, 0]))
        self.magnitude = torch.zeros_like(self.total)
        self.has_spatial_bias = False
        self._has_seen_input = False

    def hook(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Forward hook of an affine layer: registers hooks that add its terms during the backward pass."""
        if not self._has_seen_input:
            self._has_seen_input = True
            self._on_gradient(inputs[0], inputs[0].detach()[: len(self.map)], is_spatial=inputs[0].ndim == 4)
        bias = _effective_bias(module)
        if bias is not None:
            is_linear = isinstance(module, nn.Linear)
            is_spatial = output.ndim == 4 and not is_linear
            self._on_gradient(
                output, bias if is_linear else bias.view(-1, *(1,) * (output.ndim - 2)), is_spatial=is_spatial
            )
            self.has_spatial_bias |= is_spatial

    def _on_gradient(self, tensor: Tensor, factor: Tensor, *, is_spatial: bool) -> None:
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: self._add(gradient[: len(self.map)] * factor, is_spatial=is_spatial))

    def _add(self, term: Tensor, *, is_spatial: bool) -> None:
        self.total += term.flatten(1).sum(1)
        self.magnitude += term.abs().flatten(1).sum(1)
        if is_spatial:
            self.map += upsample(term.abs().sum(1, keepdim=True), (self.map.shape[2], self.map.shape[3]))


def _effective_bias(module: Any) -> Tensor | None:
    """Output of an affine layer for a zero input, ``(C,)``; None for a layer without bias."""
    bias: Tensor | None = module.bias
    if getattr(module, "running_mean", None) is None:
        return bias
    slope = (module.running_var + module.eps).rsqrt() * (1.0 if module.weight is None else module.weight)
    shift: Tensor = -module.running_mean * slope + (0.0 if bias is None else bias)
    return shift
