"""The layer that CAM methods read: choice of one, and check of a named one.

A CAM layer is a module whose output has positions: a map ``(B,C,h,w)``, or the tokens of a transformer. The choice is
made on one forward and backward pass over noise, because the definition of a network does not tell it: which modules
run, in which order, and through which of them the logits depend on the image.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.preparation.graph_rewriting import is_scripted

Layout = Literal["maps", "channels last", "tokens"]
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
MAX_PREFIX_TOKENS = 8
"""Maximum number of class tokens and registers before the patches' tokens."""
MAX_LAYERS_TESTED = 64
"""Maximum number of layers, from the last one, that are tested by a forward pass each."""


@dataclass(frozen=True)
class CamLayer:
    """A module whose output has positions.

    Attributes:
        name: dotted.
        layout: ``maps`` (B,C,h,w), ``channels last`` (B,h,w,C) or ``tokens`` (B,N,C).
        n_prefix_tokens: tokens before those of the patches.
    """

    name: str
    layout: Layout
    n_prefix_tokens: int = 0


@dataclass(frozen=True)
class _LayerOutput:
    """Output of a module; ``has_gradient``: the gradient of the logits reaches its positions."""

    layer: CamLayer
    tensor: Tensor
    has_gradient: bool


def choose_layer(net: nn.Module, images: Tensor, n_classes: int) -> CamLayer | None:
    """The last layer with more than one position through which the logits are computed; None where there is none.

    Of modules that return the same tensor it is the outermost. Maps with as many channels as there are classes are
    class scores already; the layer before them is preferred. In a transformer with a class token this is the last layer
    from which attention still reads the patches: after it, the logits do not depend on them.

    Args:
        net: images -> logits, in evaluation mode, its weights frozen and nothing in place, as `prepare` makes it.
        images: ``(N,3,S,S)`` for the forward passes.
        n_classes: number of logits.
    """
    outputs = [output for output in _layer_outputs(net, images) if not _is_inside_torch_layer(net, output.layer.name)]
    connected = [output for output in outputs if output.has_gradient] or outputs
    candidates = [output for output in connected if _n_channels(output) != n_classes] or connected
    if not candidates:
        return None
    has_tokens = candidates[-1].layer.layout == "tokens"
    last = _last_token_layer(outputs, candidates) if has_tokens else _last_map_layer(net, images, candidates)
    same_tensor = [output for output in outputs if output.tensor is last.tensor]
    return min(same_tensor, key=lambda output: output.layer.name.count(".")).layer


def _last_token_layer(outputs: list[_LayerOutput], candidates: list[_LayerOutput]) -> _LayerOutput:
    """The last candidate as wide as the final tokens: not the keys, the values or the inner layer of an MLP."""
    width = next(_n_channels(output) for output in reversed(outputs) if output.layer.layout == "tokens")
    same_width = (o for o in reversed(candidates) if o.layer.layout == "tokens" and _n_channels(o) == width)
    return next(same_width, candidates[-1])


def _last_map_layer(net: nn.Module, images: Tensor, candidates: list[_LayerOutput]) -> _LayerOutput:
    """The last candidate through which all dependence on the image passes; else the last one."""
    recent = candidates[-MAX_LAYERS_TESTED:]
    bottlenecks = (output for output in reversed(recent) if _is_bottleneck(net, images, output))
    return next(bottlenecks, candidates[-1])


def _is_bottleneck(net: nn.Module, images: Tensor, output: _LayerOutput) -> bool:
    """True where the logits depend on the image through this layer only; False for one of parallel branches."""
    module = net.get_submodule(output.layer.name)
    # With this output detached, logits that still require a gradient got it along another path.
    handle = module.register_forward_hook(lambda _, __, tensor: tensor.detach())
    try:
        with torch.enable_grad():
            return not net(images.clone().requires_grad_()).requires_grad
    finally:
        handle.remove()


def check_layer(net: nn.Module, images: Tensor, name: str, model_name: str) -> CamLayer:
    """The named layer, if CAM methods can read it.

    Raises:
        ModelError: there is no such module, it is not called exactly once, or its output has no positions.
    """
    names = [module_name for module_name, _ in net.named_modules()]
    if name not in names:
        raise ModelError(f"'{model_name}' has no module '{name}' for CAM; its last ones: {names[-3:]}.")
    for output in _layer_outputs(net, images):
        if output.layer.name == name:
            return output.layer
    raise ModelError(
        f"The CAM layer '{name}' of '{model_name}' must be called once for each image and return (B,C,h,w), "
        "(B,h,w,C) or tokens (B,N,C) with more than one place; name another layer, or none."
    )


def _layer_outputs(net: nn.Module, images: Tensor) -> list[_LayerOutput]:
    """Outputs with positions of all modules that were called once, in the order of their return."""
    returned, logits = _record_outputs(net, images)
    gradients = _output_gradients(logits, [tensor for _, tensor in returned])
    n_calls, outputs = Counter(name for name, _ in returned), []
    map_sizes = {tensor.shape[2] * tensor.shape[3] for _, tensor in returned if _map_layout(tensor) == "maps"}
    for (name, tensor), gradient in zip(returned, gradients, strict=True):
        layer = _infer_layer(name, tensor, map_sizes) if n_calls[name] == 1 else None
        if layer is not None and len(tensor) == len(images):
            has_gradient = gradient is not None and bool(gradient[:, layer.n_prefix_tokens :].any())
            outputs.append(_LayerOutput(layer, tensor, has_gradient))
    return outputs


def _record_outputs(net: nn.Module, images: Tensor) -> tuple[list[tuple[str, Tensor]], Tensor]:
    """Each tensor that a module returned, with the module's name, and the logits."""
    returned: list[tuple[str, Tensor]] = []

    def record(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            returned.append((name, output))

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: record(name, output))
        for name, module in net.named_modules()
        if name and not is_scripted(module)
    ]
    try:
        with torch.enable_grad():
            logits: Tensor = net(images.clone().requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    return returned, logits


def _output_gradients(logits: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
    """Gradient of a randomly weighted sum of the logits with respect to each tensor; None where there is none."""
    inputs = [tensor for tensor in tensors if tensor.requires_grad]
    if not logits.requires_grad or not inputs:
        return [None] * len(tensors)
    # A plain sum would not do: behind a softmax it is constant, and its gradients cancel.
    weights = torch.rand(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
    try:
        gradients = iter(torch.autograd.grad((logits * weights).sum(), inputs, allow_unused=True))
    except RuntimeError:  # a step without a backward; `prepare` reports it
        return [None] * len(tensors)
    return [next(gradients) if tensor.requires_grad else None for tensor in tensors]


def _infer_layer(name: str, tensor: Tensor, map_sizes: set[int]) -> CamLayer | None:
    """The layer with this output; None where it has no positions.

    Tokens do not tell their grid. Their number is that of a map elsewhere in the network (the patch embedding) or else
    a square, plus at most `MAX_PREFIX_TOKENS`.
    """
    if tensor.dim() == 4:
        layout = _map_layout(tensor)
        return CamLayer(name, layout) if layout else None
    if tensor.dim() != 3:
        return None
    count = tensor.shape[1]
    grids = [size for size in map_sizes or {math.isqrt(count) ** 2} if 0 <= count - size <= MAX_PREFIX_TOKENS]
    squares = [size for size in grids if size > 1 and math.isqrt(size) ** 2 == size]
    return CamLayer(name, "tokens", count - max(squares)) if squares else None


def _map_layout(tensor: Tensor) -> Layout | None:
    """Layout of the maps of square images; None where there is one position only."""
    if tensor.dim() != 4:
        return None
    _, second, third, fourth = tensor.shape
    if second == third != fourth:
        return "channels last" if second > 1 else None
    return "maps" if third * fourth > 1 else None


def _n_channels(output: _LayerOutput) -> int:
    return output.tensor.shape[1 if output.layer.layout == "maps" else -1]


def _is_inside_torch_layer(net: nn.Module, name: str) -> bool:
    """True for a part of one of torch's own layers, which may compute without calling it."""
    owner = net.get_submodule(name.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.nn.") and not isinstance(owner, CONTAINERS)
