"""Model parameter randomisation (MPRT): all layers at once, or cascading from the output or the input."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from mavis.core import seeding
from mavis.core.errors import BadParameter
from mavis.core.objects.network_copy import copy_network
from mavis.core.objects.network_state import name_if_registered

Order = Literal["full", "top_down", "bottom_up"]
"""``full``: all layers; ``top_down``: from the last layer towards the input; ``bottom_up``: from the first one."""

_WEIGHT_LAYER_TYPES = (_ConvNd, nn.Linear, nn.Bilinear, nn.MultiheadAttention)


@dataclass(frozen=True)
class WeightLayer:
    """A step of randomisation: a weight layer with all parameters used between it and the next one.

    Attributes:
        name: name of the module that holds the weights; empty if that is the net itself.
        parameters: names of the parameters, as in ``net.named_parameters()``.
        norms: names of the batch normalisations whose running statistics belong to the step.
    """

    name: str
    parameters: tuple[str, ...]
    norms: tuple[str, ...]


_WEIGHT_LAYER_CACHE: WeakKeyDictionary[nn.Module, dict[int, list[WeightLayer]]] = WeakKeyDictionary()
"""Results of `weight_layers` per net and size, for as long as the net exists: a cascade needs them at every step."""


def randomise_weights(net: nn.Module, seed: int, size: int, *, order: Order = "full", n_layers: int = 0) -> nn.Module:
    """Returns a copy with some or all parameters randomised.

    Tensors of two or more dimensions are drawn from a normal distribution with mean 0 and the trained tensor's
    standard deviation (the root of its mean square if all its values are equal), and so are single values; vectors
    (biases, and the scales and shifts of normalisation layers) are permuted. Each tensor has its own random stream, the
    same in every order. A tensor of zeros stays zero. The running statistics of the batch normalisations among them are
    recomputed on random images: the trained ones, kept or permuted, would blow up the signal of the new weights.

    Args:
        net: images ``(B,3,size,size)`` in [0,1] -> logits; unchanged.
        seed: seed of the draws.
        size: side of the random images, in pixels.
        order: ``full`` for all parameters; ``top_down`` for the last ``n_layers`` steps, ``bottom_up`` for the first.
        n_layers: number of randomised steps, from 1 to the net's number of steps; ignored with ``full``.

    Raises:
        BadParameter: ``n_layers`` is 0, which would compare the trained net with itself, or above the number of steps.

    Source: Adebayo et al. 2018, section 3 (cascading randomisation; ``full`` is its last step).
    Differs: Quantus calls ``reset_parameters``, which sets normalisation layers to the identity and re-seeds every
    layer alike; it goes in order of registration, and counts the trained net as a step.
    """
    steps = _select_layers(net, size, order, n_layers)
    net = copy_network(net)
    parameters, norms = dict(net.named_parameters()), _batch_norms(net)
    with torch.no_grad():
        for name in (name for step in steps for name in step.parameters):
            _redraw(parameters[name], seeding.make_generator(seed, name_if_registered(net, name)))
    _recompute_running_statistics(net, [norms[name] for step in steps for name in step.norms], seed, size)
    return net


def weight_layers(net: nn.Module, size: int) -> list[WeightLayer]:
    """The steps in which a net is randomised, from input to output; every parameter belongs to exactly one.

    A step is a convolution, a linear, attention or other layer with a weight matrix, with the parameters used between
    it and the next one: normalisation, class tokens, position embeddings, scales. Parameters used before the first
    weight layer belong to the first step.

    The order is that in which one forward on a random image first uses the parameters. A shared parameter belongs to
    its first use. An unused one (an auxiliary head) joins the parameter registered before it; if no use can be seen
    (a scripted net), the order is that of registration.

    Args:
        net: images ``(B,3,size,size)`` in [0,1] -> logits; unchanged.
        size: side of the random image, in pixels.
    """
    cached_layers = _WEIGHT_LAYER_CACHE.setdefault(net, {})
    if size not in cached_layers:
        cached_layers[size] = _find_layers(copy_network(net), size)
    return cached_layers[size]


def _find_layers(net: nn.Module, size: int) -> list[WeightLayer]:
    net.eval()
    names, weights = _tensor_names(net), _weight_names(net)
    steps = _group_into_layers(weights, _usage_order(net, names, size) or [[name] for name in names.values()])
    _assign_unused(steps, names.values())
    return [layer for step in steps if (layer := _make_layer(net, weights, step)).parameters]


def _select_layers(net: nn.Module, size: int, order: Order, n_layers: int) -> list[WeightLayer]:
    """The steps to randomise; with ``full`` one step of all parameters and norms."""
    if order == "full":
        return [WeightLayer("", tuple(dict(net.named_parameters())), tuple(_batch_norms(net)))]
    steps = weight_layers(net, size)
    if not 1 <= n_layers <= len(steps):
        raise BadParameter(f"{order}: this net has {len(steps)} layers; choose from 1 to {len(steps)}, got {n_layers}.")
    return steps[-n_layers:] if order == "top_down" else steps[:n_layers]


def _redraw(tensor: Tensor, generator: torch.Generator) -> None:
    if not tensor.is_floating_point() or tensor.layout != torch.strided:
        return
    if tensor.dim() >= 2 or tensor.numel() == 1:
        scale = tensor.std(correction=0).item() or tensor.square().mean().sqrt().item()
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
    else:
        tensor.copy_(tensor[_non_identity_permutation(len(tensor), generator).to(tensor.device)])


def _non_identity_permutation(n_values: int, generator: torch.Generator) -> Tensor:
    """A permutation of 0…n−1 other than the identity, which a plain draw would give half of all vectors of two."""
    order = torch.randperm(n_values, generator=generator)
    return order.roll(1) if order.equal(torch.arange(n_values)) else order


def _recompute_running_statistics(net: nn.Module, norms: list[_BatchNorm], seed: int, size: int) -> None:
    """Sets running statistics of batch normalisation to those of 32 random images, half smooth, half noise."""
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    stream = seeding.make_generator(seed, "statistics")
    smooth = nn.functional.interpolate(torch.rand((16, 3, 8, 8), generator=stream), size=size, mode="bilinear")
    images = torch.cat([smooth, torch.rand((16, 3, size, size), generator=stream)])
    with torch.no_grad():
        net(_like_weights(net, images))
    for norm in norms:
        norm.eval()


def _as_written() -> AbstractContextManager[Any]:
    """A compiled network calls none of torch's functions; here it runs as it was before it was compiled."""
    is_compiler_loaded = "torch._dynamo" in sys.modules  # asking for it would load it, which takes seconds
    return torch.compiler.set_stance("force_eager") if is_compiler_loaded else nullcontext()


def _like_weights(net: nn.Module, images: Tensor) -> Tensor:
    """Images on the device and of the type of a network's weights."""
    return images.to(next((parameter for parameter in net.parameters() if parameter.is_floating_point()), images))


class _UsageRecorder(TorchFunctionMode):
    """Records the order in which torch calls first read the named tensors, one list of names per call."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__()
        self.unread = dict(names)
        self.calls: list[list[str]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        computes = any(True for _ in _iter_tensors(result))  # asking for a shape or a device is no use of the values
        if computes:
            read = [id(tensor) for tensor in _iter_tensors((*args, *kwargs.values()))]
            self.calls.append([self.unread.pop(key) for key in read if key in self.unread])
        return result


def _iter_tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _iter_tensors(item)


def _tensor_names(net: nn.Module) -> dict[int, str]:
    """Names of parameters and buffers by identity, in order of registration; a shared one has its first name."""
    names: dict[int, str] = {}
    for prefix, module in net.named_modules():
        tensors = (*module.named_parameters(prefix, recurse=False), *module.named_buffers(prefix, recurse=False))
        for name, tensor in tensors:
            names.setdefault(id(tensor), name)
    return names


def _usage_order(net: nn.Module, names: Mapping[int, str], size: int) -> list[list[str]]:
    """Names of tensors by the calls that read them first; empty if no call can be seen."""
    image = _like_weights(net, torch.rand((1, 3, size, size), generator=seeding.make_generator(0, "order of layers")))
    with _as_written(), torch.no_grad(), _UsageRecorder(names) as recorder:
        net(image)
    return [call for call in recorder.calls if call]


def _group_into_layers(weights: Iterable[str], uses: Iterable[list[str]]) -> list[list[str]]:
    """Names of tensors by step: a weight layer's first use begins a step; earlier names belong to the first."""
    weight_modules = {_module_name(name) for name in weights}
    step_of_module: dict[str, list[str]] = {}
    steps: list[list[str]] = [[]]
    for names in uses:
        new_modules = ({_module_name(name) for name in names} & weight_modules) - step_of_module.keys()
        if new_modules and step_of_module:
            steps.append([])
        step_of_module |= dict.fromkeys(new_modules, steps[-1])
        for name in names:
            step_of_module.get(_module_name(name), steps[-1]).append(name)
    return steps


def _module_name(name: str) -> str:
    """Name of the module that a tensor belongs to; a parametrised weight belongs to the module that uses it."""
    owner, parametrised, _ = name.partition(".parametrizations.")
    return owner if parametrised else name.rpartition(".")[0]


def _weight_names(net: nn.Module) -> set[str]:
    """Names of the parameters that make their module a weight layer."""
    modules = dict(net.named_modules())
    return {name for name, tensor in net.named_parameters() if _is_weight(modules[_module_name(name)], tensor)}


def _is_weight(module: nn.Module, parameter: Tensor) -> bool:
    """True for a matrix that its module multiplies with; false for scales of norms and tables of containers."""
    if isinstance(module, _WEIGHT_LAYER_TYPES):
        return parameter.dim() >= 2
    container = len([*module.parameters()]) > len([*module.parameters(recurse=False)])
    matrix = sum(side > 1 for side in parameter.shape) >= 2
    return matrix and not container and not isinstance(module, nn.LayerNorm | nn.RMSNorm)


def _batch_norms(net: nn.Module) -> dict[str, _BatchNorm]:
    return {name: module for name, module in net.named_modules() if isinstance(module, _BatchNorm)}


def _assign_unused(steps: list[list[str]], names: Iterable[str]) -> None:
    """Adds every name without a step to the step of the name before it."""
    step_of = {name: step for step in steps for name in step}
    step = steps[0]
    for name in names:
        step = step_of.get(name, step)
        if name not in step_of:
            step.append(name)


def _make_layer(net: nn.Module, weights: set[str], step: list[str]) -> WeightLayer:
    known_parameters = dict(net.named_parameters())
    parameters = tuple(name for name in step if name in known_parameters)
    norms = tuple(name for name in _batch_norms(net) if f"{name}.running_mean" in step)
    return WeightLayer(next((_module_name(name) for name in step if name in weights), ""), parameters, norms)
