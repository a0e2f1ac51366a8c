"""Which layer CAM methods can read, and which one they should."""

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
"""Class tokens and registers before the patches' tokens, at most."""
MAX_LAYERS_TESTED = 64
"""Layers, from the last one, that are looked at."""


@dataclass(frozen=True)
class CamLayer:
    """A module whose output has places.

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
    """What a module returned, and whether a gradient of the answer reaches its places."""

    layer: CamLayer
    tensor: Tensor
    has_gradient: bool


def choose_layer(net: nn.Module, images: Tensor, n_classes: int) -> CamLayer | None:
    """The last layer with more than one place through which the answer passes; None where there is none.

    Of modules that return the same tensor it is the outermost. Maps of as many channels as there are classes are the
    answer already; the layer before them is preferred. In a transformer with a class token this is the last layer from
    which attention still reads the patches: after it, the answer does not depend on them.

    Args:
        net: images -> logits.
        images: ``(N,3,S,S)`` to try it on.
        n_classes: number of logits.
    """
    found = [output for output in _layer_outputs(net, images) if not _is_inside_torch_layer(net, output.layer.name)]
    alive = [output for output in found if output.has_gradient] or found
    best = [output for output in alive if _n_channels(output) != n_classes] or alive
    if not best:
        return None
    last = _last_token_layer(found, best) if best[-1].layer.layout == "tokens" else _last_map_layer(net, images, best)
    same = [output for output in found if output.tensor is last.tensor]
    return min(same, key=lambda output: output.layer.name.count(".")).layer


def _last_token_layer(outputs: list[_LayerOutput], candidates: list[_LayerOutput]) -> _LayerOutput:
    """The last with as many channels as the tokens have at the end: no keys or values, nor what is between."""
    width = next(_n_channels(output) for output in reversed(outputs) if output.layer.layout == "tokens")
    fitting = (o for o in reversed(candidates) if o.layer.layout == "tokens" and _n_channels(o) == width)
    return next(fitting, candidates[-1])


def _last_map_layer(net: nn.Module, images: Tensor, candidates: list[_LayerOutput]) -> _LayerOutput:
    """The last that the whole answer passes."""
    whole = (output for output in reversed(candidates[-MAX_LAYERS_TESTED:]) if _is_bottleneck(net, images, output))
    return next(whole, candidates[-1])


def _is_bottleneck(net: nn.Module, images: Tensor, output: _LayerOutput) -> bool:
    """Whether the answer depends on the image through this layer only: a branch beside others is passed by."""
    module = net.get_submodule(output.layer.name)
    handle = module.register_forward_hook(lambda _, __, found: found.detach())
    try:
        with torch.enable_grad():
            return not net(images.clone().requires_grad_()).requires_grad
    finally:
        handle.remove()


def check_layer(net: nn.Module, images: Tensor, name: str, model_name: str) -> CamLayer:
    """The named layer, if CAM methods can read it.

    Raises:
        ModelError: there is no such module, it is not called exactly once, or its output has no places.
    """
    names = [known for known, _ in net.named_modules()]
    if name not in names:
        raise ModelError(f"'{model_name}' has no module '{name}' for CAM; its last ones: {names[-3:]}.")
    for output in _layer_outputs(net, images):
        if output.layer.name == name:
            return output.layer
    raise ModelError(
        f"The CAM layer '{name}' of '{model_name}' must be called once for each image and return (B,C,h,w), "
        "(B,h,w,C) or "
        f"tokens (B,N,C) with more than one place; name another layer, or none."
    )


def _layer_outputs(net: nn.Module, images: Tensor) -> list[_LayerOutput]:
    """Every module that was called once and returned places, in the order in which they were done."""
    returned, logits = _record_outputs(net, images)
    gradients = _output_gradients(logits, [tensor for _, tensor in returned])
    calls, found = Counter(name for name, _ in returned), []
    grids = {tensor.shape[2] * tensor.shape[3] for _, tensor in returned if _map_layout(tensor) == "maps"}
    for (name, tensor), gradient in zip(returned, gradients, strict=True):
        layer = _infer_layer(name, tensor, grids) if calls[name] == 1 else None
        if layer is not None and len(tensor) == len(images):
            found.append(
                _LayerOutput(layer, tensor, gradient is not None and bool(gradient[:, layer.n_prefix_tokens :].any()))
            )
    return found


def _record_outputs(net: nn.Module, images: Tensor) -> tuple[list[tuple[str, Tensor]], Tensor]:
    """Every tensor that a module returned, with its name, and the logits."""
    returned: list[tuple[str, Tensor]] = []

    def keep(name: str, output: object) -> None:
        if isinstance(output, Tensor):
            returned.append((name, output))

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
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
    """Of a random sum of the logits, so that nothing cancels, with respect to each tensor that it depends on."""
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    if not logits.requires_grad or not wanted:
        return [None] * len(tensors)
    weights = torch.rand(logits.shape, generator=torch.Generator().manual_seed(0)).to(logits)
    try:
        found = iter(torch.autograd.grad((logits * weights).sum(), wanted, allow_unused=True))
    except RuntimeError:  # a step without a backward; preflight says so
        return [None] * len(tensors)
    return [next(found) if tensor.requires_grad else None for tensor in tensors]


def _infer_layer(name: str, tensor: Tensor, map_sizes: set[int]) -> CamLayer | None:
    if tensor.dim() == 4:
        layout = _map_layout(tensor)
        return CamLayer(name, layout) if layout else None
    if tensor.dim() != 3:
        return None
    count = tensor.shape[1]
    places = [grid for grid in map_sizes or {math.isqrt(count) ** 2} if 0 <= count - grid <= MAX_PREFIX_TOKENS]
    square = [grid for grid in places if grid > 1 and math.isqrt(grid) ** 2 == grid]
    return CamLayer(name, "tokens", count - max(square)) if square else None


def _map_layout(tensor: Tensor) -> Layout | None:
    """How maps of square images lie; None where there is one place only."""
    if tensor.dim() != 4:
        return None
    _, second, third, fourth = tensor.shape
    if second == third != fourth:
        return "channels last" if second > 1 else None
    return "maps" if third * fourth > 1 else None


def _n_channels(output: _LayerOutput) -> int:
    return output.tensor.shape[1 if output.layer.layout == "maps" else -1]


def _is_inside_torch_layer(net: nn.Module, name: str) -> bool:
    """Whether it is a part of one of torch's own layers, which may compute without calling it."""
    owner = net.get_submodule(name.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.nn.") and not isinstance(owner, CONTAINERS)
