"""The layer that CAM methods read: choice of one, and check of a named one.

A CAM layer is a module whose output has positions: a map ``(B,C,h,w)``, or the tokens of a transformer. The choice is
made on one forward and backward pass over noise, because the definition of a network does not tell it: which modules
run, in which order, and through which of them the logits depend on the image. A second forward pass, over an image in
which a strip moves, tells which axes are places of the image (`image_places`).
"""

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.preparation import image_places
from mavis.models.preparation.graph_rewriting import is_scripted
from mavis.models.preparation.module_outputs import TensorTap, first_tensor, replace_tensor

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
        is_item: the module returns several things, of which this is the first tensor.
    """

    name: str
    layout: Layout
    n_prefix_tokens: int = 0
    is_item: bool = False

    def maps(self, output: Tensor) -> Tensor:
        """The module's output as maps ``(B,C,h,w)``."""
        if self.layout == "maps":
            return output
        if self.layout == "channels last":
            return output.movedim(-1, 1)
        tokens = output[:, self.n_prefix_tokens :]
        side = math.isqrt(tokens.shape[1])
        grid: Tensor = tokens.movedim(-1, 1).unflatten(2, (side, side))
        return grid


@dataclass(frozen=True)
class LayerOutput:
    """Output of a module; ``has_gradient``: the gradient of the logits reaches its positions."""

    layer: CamLayer
    tensor: Tensor
    has_gradient: bool


def layer_outputs(net: nn.Module, images: Tensor) -> list[LayerOutput]:
    """Outputs of all modules that are called once and whose axes are places of the image, in the order of their return.

    Args:
        net: images -> logits, in evaluation mode, its weights frozen and nothing in place, as `prepare` makes it.
        images: two images of noise ``(2,3,S,S)``.
    """
    outputs = _outputs_with_positions(net, images)
    measured = _measure_places(net, images, [output.layer for output in outputs])
    return [output for output in outputs if output.layer.name in measured]


def choose_layer(net: nn.Module, images: Tensor, outputs: list[LayerOutput], n_classes: int) -> CamLayer | None:
    """The last layer with more than one position through which the logits are computed; None where there is none.

    Of modules that return the same tensor it is the outermost. Maps with as many channels as there are classes are
    class scores already; the layer before them is preferred. In a transformer with a class token this is the last layer
    from which attention still reads the patches: after it, the logits do not depend on them.

    Args:
        net: as for `layer_outputs`.
        images: ``(N,3,S,S)`` for the forward passes.
        outputs: of `layer_outputs`.
        n_classes: number of logits.
    """
    outputs = [output for output in outputs if not _is_inside_torch_layer(net, output.layer.name)]
    connected = [output for output in outputs if output.has_gradient] or outputs
    candidates = [output for output in connected if _n_channels(output) != n_classes] or connected
    if not candidates:
        return None
    has_tokens = candidates[-1].layer.layout == "tokens"
    last = _last_token_layer(outputs, candidates) if has_tokens else _last_map_layer(net, images, candidates)
    same_tensor = [output for output in outputs if output.tensor is last.tensor]
    return min(same_tensor, key=lambda output: (output.layer.is_item, output.layer.name.count("."))).layer


def tap_layer(net: nn.Module, layer: CamLayer) -> str:
    """Makes a layer readable by a hook: one that returns several things is put into a `TensorTap`. Returns its name."""
    if not layer.is_item:
        return layer.name
    owner, _, attribute = layer.name.rpartition(".")
    setattr(net.get_submodule(owner), attribute, TensorTap(net.get_submodule(layer.name)))
    return f"{layer.name}.tap"


def _last_token_layer(outputs: list[LayerOutput], candidates: list[LayerOutput]) -> LayerOutput:
    """The last candidate as wide as the final tokens: not the keys, the values or the inner layer of an MLP."""
    width = next(_n_channels(output) for output in reversed(outputs) if output.layer.layout == "tokens")
    same_width = (o for o in reversed(candidates) if o.layer.layout == "tokens" and _n_channels(o) == width)
    return next(same_width, candidates[-1])


def _last_map_layer(net: nn.Module, images: Tensor, candidates: list[LayerOutput]) -> LayerOutput:
    """The last candidate through which all dependence on the image passes; else the last one."""
    recent = candidates[-MAX_LAYERS_TESTED:]
    bottlenecks = (output for output in reversed(recent) if _is_bottleneck(net, images, output))
    return next(bottlenecks, candidates[-1])


def _is_bottleneck(net: nn.Module, images: Tensor, output: LayerOutput) -> bool:
    """True where the logits depend on the image through this layer only; False for one of parallel branches."""
    module = net.get_submodule(output.layer.name)
    # With this output detached, logits that still require a gradient got it along another path.
    handle = module.register_forward_hook(lambda _, __, result: replace_tensor(result, Tensor.detach))
    try:
        with torch.enable_grad():
            return not net(images.clone().requires_grad_()).requires_grad
    finally:
        handle.remove()


def check_layer(net: nn.Module, outputs: list[LayerOutput], name: str, model_name: str) -> CamLayer:
    """The named layer, if CAM methods can read it.

    Raises:
        ModelError: there is no such module, it is not called exactly once, or its output has no places of the image.
    """
    names = [module_name for module_name, _ in net.named_modules()]
    if name not in names:
        raise ModelError(f"'{model_name}' has no module '{name}' for CAM; its last ones: {names[-3:]}.")
    for output in outputs:
        if output.layer.name == name:
            return output.layer
    raise ModelError(
        f"The CAM layer '{name}' of '{model_name}' must be called once for each image and return (B,C,h,w), "
        "(B,h,w,C) or tokens (B,N,C) with more than one place, which answer to the same places of the image; name "
        "another layer, or none."
    )


def _outputs_with_positions(net: nn.Module, images: Tensor) -> list[LayerOutput]:
    """Outputs whose shape has positions, of all modules that were called once."""
    returned, logits = _record_outputs(net, images)
    gradients = _output_gradients(logits, [tensor for _, tensor, _ in returned])
    n_calls, outputs = Counter(name for name, _, _ in returned), []
    map_sizes = {tensor.shape[2] * tensor.shape[3] for _, tensor, _ in returned if _map_layout(tensor) == "maps"}
    for (name, tensor, is_item), gradient in zip(returned, gradients, strict=True):
        layer = _infer_layer(name, tensor, map_sizes) if n_calls[name] == 1 else None
        if layer is not None and len(tensor) == len(images):
            has_gradient = gradient is not None and bool(gradient[:, layer.n_prefix_tokens :].any())
            outputs.append(LayerOutput(replace(layer, is_item=is_item), tensor, has_gradient))
    return outputs


def _measure_places(net: nn.Module, images: Tensor, layers: list[CamLayer]) -> set[str]:
    """Names of the layers whose positions are places of the image."""
    strips, measured = image_places.exchange_strips(images), set()

    def measure(layer: CamLayer, result: object) -> None:
        tensor = first_tensor(result)
        if tensor is not None and len(tensor) == len(strips) and image_places.has_image_axes(layer.maps(tensor)):
            measured.add(layer.name)

    handles = [
        net.get_submodule(layer.name).register_forward_hook(lambda _, __, result, layer=layer: measure(layer, result))
        for layer in layers
    ]
    try:
        with torch.no_grad():
            net(strips)
    finally:
        for handle in handles:
            handle.remove()
    return measured


def _record_outputs(net: nn.Module, images: Tensor) -> tuple[list[tuple[str, Tensor, bool]], Tensor]:
    """Each tensor that a module returned, with the module's name and True for the first of several; and the logits."""
    returned: list[tuple[str, Tensor, bool]] = []

    def record(name: str, module: nn.Module, result: object) -> None:
        tensor = first_tensor(result)
        is_item = tensor is not result
        if tensor is not None and not (is_item and type(module).__module__.startswith("torch.nn.")):
            returned.append((name, tensor, is_item))

    handles = [
        module.register_forward_hook(lambda module, _, result, name=name: record(name, module, result))
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


def _n_channels(output: LayerOutput) -> int:
    return output.tensor.shape[1 if output.layer.layout == "maps" else -1]


def _is_inside_torch_layer(net: nn.Module, name: str) -> bool:
    """True for a part of one of torch's own layers, which may compute without calling it."""
    owner = net.get_submodule(name.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.nn.") and not isinstance(owner, CONTAINERS)
