"""State of a network that torch's registry does not know, found by walking the object and registered on a copy.

Torch knows what is assigned to a module as a parameter, a buffer or a module. A member of a list, tuple, dict, set,
dataclass or other object, a tensor in a plain attribute or an attribute of the class, a module in a closure, a partial
function or a bound method are state all the same: they compute the answers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.objects import graph

NETWORK, UNREGISTERED = "net", "unregistered"
"""Names of the children of `CompleteNetwork`."""


@dataclass(frozen=True)
class UnregisteredState:
    """State that torch does not know, by the names that lead to it from the network.

    Attributes:
        modules: outermost modules; what is registered in them belongs to them.
        tensors: parameters and plain tensors that no module registers.
        global_names: globals of the user's file that hold modules or trainable tensors and are used by the network.
    """

    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    global_names: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.modules or self.tensors)


class CompleteNetwork(nn.Module):
    """A network with what torch does not know of it registered beside it; its answers are the network's.

    Args:
        net: any network.
        state: of this network, found by `find_unregistered`; modules and tensors are registered, not copied.
    """

    def __init__(self, net: nn.Module, state: UnregisteredState) -> None:
        super().__init__()
        self.net = net
        self.unregistered = _Register(state)

    def forward(self, images: Tensor) -> Any:
        """Images ``(B,3,H,W)`` -> what the network returns."""
        return self.net(images)


class _Register(nn.Module):
    """Modules and tensors under numbers, with the names that they have in the network.

    A plain tensor is moved in place, so that the object that holds it sees the move. It counts as a parameter where it
    is trainable or a matrix, and else as a buffer, like the constants of a normalisation.
    """

    def __init__(self, state: UnregisteredState) -> None:
        super().__init__()
        self.paths: dict[str, str] = {}
        for index, (path, module) in enumerate(state.modules.items()):
            self.add_module(f"module{index}", module)
            self.paths[f"module{index}"] = path
        for index, (path, tensor) in enumerate(state.tensors.items()):
            self._register_tensor(f"tensor{index}", tensor)
            self.paths[f"tensor{index}"] = path

    def _register_tensor(self, name: str, tensor: Tensor) -> None:
        is_dense = tensor.is_floating_point() and tensor.layout == torch.strided
        is_matrix = is_dense and sum(side > 1 for side in tensor.shape) >= 2
        if tensor.requires_grad or is_matrix:
            self._parameters[name] = tensor  # type: ignore[assignment] # torch asks for its own class, and works with any
        else:
            self.register_buffer(name, tensor, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        originals = {name: tensor for name, tensor in self._buffers.items() if tensor is not None}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, tensor in originals.items():
            tensor.data = self.get_buffer(name)
            self._buffers[name] = tensor
        return self


def find_unregistered(net: nn.Module) -> UnregisteredState:
    """The state of a network that torch's registry does not know.

    Tensors that were computed in a forward and kept with their graph are no state.

    Args:
        net: is not changed.

    Raises:
        ModelError: it holds more objects than can be looked at.
    """
    registered = _list_registered(net)
    modules: dict[str, nn.Module] = {}
    tensors: dict[str, Tensor] = {}
    global_names: dict[str, None] = {}
    for path, value in graph.walk_objects(net):
        is_state = isinstance(value, nn.Module) or (isinstance(value, Tensor) and value.grad_fn is None)
        if not is_state or id(value) in registered:
            continue
        outside = next((name for name in path if name.startswith(graph.GLOBAL_PREFIX)), None)
        if outside is not None:
            if _has_weights(value):
                global_names[outside.removeprefix(graph.GLOBAL_PREFIX)] = None
        elif isinstance(value, nn.Module):
            modules[".".join(path)] = value
            registered |= _list_registered(value)
        else:
            tensors[".".join(path)] = value
    return UnregisteredState(modules, tensors, tuple(global_names))


def name_if_registered(net: nn.Module, name: str) -> str:
    """The name that a parameter of a `CompleteNetwork` would have if torch had known it from the beginning.

    Args:
        net: a network that is or holds a `CompleteNetwork`, or any other.
        name: of one of its parameters.
    """
    for prefix, module in net.named_modules():
        start = f"{prefix}." if prefix else ""
        if isinstance(module, CompleteNetwork) and name.startswith(start):
            inner_name = name.removeprefix(start)
            if inner_name.startswith(f"{NETWORK}."):
                return start + inner_name.removeprefix(f"{NETWORK}.")
            number, dot, inner = inner_name.removeprefix(f"{UNREGISTERED}.").partition(".")
            return f"{start}{module.unregistered.paths.get(number, number)}{dot}{inner}"
    return name


def find_modules(value: Any) -> list[nn.Module]:
    """Every module that an object holds, such as the networks behind a function."""
    holders = [part for _, part in graph.walk_objects(value) if isinstance(part, nn.Module)]
    return [*{id(module): module for part in holders for module in part.modules()}.values()]


def is_training(module: nn.Module) -> bool:
    """True for a module in training mode; a frozen script has no mode."""
    return bool(getattr(module, "training", False))


@contextmanager
def evaluation_mode(modules: list[nn.Module]) -> Iterator[None]:
    """Modules are in evaluation mode while the context is open, and afterwards in the mode they had."""
    training = [module for module in modules if is_training(module)]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _list_registered(net: nn.Module) -> set[int]:
    return {id(value) for value in (*net.modules(), *net.parameters(), *net.buffers())}


def _has_weights(value: nn.Module | Tensor) -> bool:
    if isinstance(value, nn.Module):
        return next(value.parameters(), None) is not None
    return value.requires_grad or isinstance(value, nn.Parameter)
