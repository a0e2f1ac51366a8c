"""Copies of networks that `copy.deepcopy` alone refuses or copies by half.

Kept activations lose their graph, closures get copies of what they close over, and what cannot be copied (a lock, an
open file, a generator) is shared with the original.
"""

import copy
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.objects import graph, sources

MAX_TRIED = 10_000
"""Largest number of objects that are tried one by one where a network cannot be copied as a whole."""


def copy_network(net: nn.Module) -> nn.Module:
    """A copy that shares no weight and no function's state with the original, which is unchanged.

    Args:
        net: any network, on any device.

    Raises:
        ModelError: it cannot be copied, whatever the reason.
    """
    try:
        with torch.inference_mode(False), torch.no_grad():  # a scripted network is copied by cloning its weights
            return _copy(net)
    except RecursionError as error:
        raise ModelError(f"A {type(net).__name__} cannot be copied: it is nested too deeply.") from error
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"A {type(net).__name__} cannot be copied: {type(error).__name__}: {_first_line(error)}"
        ) from error


def _copy(net: nn.Module) -> nn.Module:
    objects = [value for _, value in graph.walk_objects(net)]
    tensors = {id(value): _without_graph(value) for value in objects if isinstance(value, Tensor) and _is_kept(value)}
    functions = [value for value in objects if isinstance(value, FunctionType) and _closes_over_state(value)]
    prepared = tensors | {id(function): _with_empty_closure(function) for function in functions}
    try:
        result = _copy_with(net, functions, dict(prepared))
    except Exception:
        result = _copy_with(net, functions, prepared | _uncopyable_objects(objects, prepared))
    registered = {id(value) for value in (*net.modules(), *net.parameters(), *net.buffers())}
    states = {id(value) for value in objects if isinstance(value, nn.Module | Tensor)}
    if states - registered:
        _check_separate(states, result)
    return result


def _copy_with(net: nn.Module, functions: list[FunctionType], memo: dict[int, Any]) -> nn.Module:
    """A deep copy; then closures and what classes hold are filled with copies that belong to it."""
    modules = list(net.modules())
    result = copy.deepcopy(net, memo)
    for function in functions:
        renewed: FunctionType = memo[id(function)]
        for cell, original in zip(renewed.__closure__ or (), function.__closure__ or (), strict=True):
            cell.cell_contents = copy.deepcopy(original.cell_contents, memo)
    for module in modules:
        for name, value in graph.class_parts(type(module)):
            if name not in vars(module) and not callable(value) and _holds_state(value):
                vars(memo[id(module)])[name] = copy.deepcopy(value, memo)
    return result


def _check_separate(ids: set[int], result: nn.Module) -> None:
    """Refuses a copy that shares a module or a tensor of these ids with the original, other than by a global."""
    for path, value in graph.walk_objects(result):
        outside = any(name.startswith(graph.GLOBAL_PREFIX) for name in path)
        if id(value) in ids and not outside:
            raise ModelError(
                f"A {type(result).__name__} cannot be copied: '{'.'.join(path)}' would be shared with the original."
            )


def _is_kept(tensor: Tensor) -> bool:
    """True for a tensor that deepcopy refuses, or that would belong to inference mode in the copy too."""
    return not nn.parameter.is_lazy(tensor) and (tensor.grad_fn is not None or tensor.is_inference())


def _without_graph(tensor: Tensor) -> Tensor:
    values = tensor.detach().clone()
    return nn.Parameter(values, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else values


def _holds_state(value: Any) -> bool:
    return any(isinstance(part, nn.Module | Tensor) for _, part in graph.walk_objects(value))


def _closes_over_state(function: FunctionType) -> bool:
    """True for a user's function whose closure is complete and holds a module or a tensor, at any depth."""
    if not function.__closure__ or not sources.is_user_function(function):
        return False
    cells = dict(graph.list_parts(function))
    if not all(name in cells for name in function.__code__.co_freevars):
        return False
    inner = [cells[name] for name in function.__code__.co_freevars]
    return _holds_state(inner)


def _with_empty_closure(function: FunctionType) -> FunctionType:
    cells = tuple(CellType() for _ in function.__closure__ or ())
    renewed = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, cells)
    renewed.__kwdefaults__ = function.__kwdefaults__
    renewed.__qualname__ = function.__qualname__
    renewed.__dict__.update(vars(function))
    return renewed


def _uncopyable_objects(objects: list[Any], memo: dict[int, Any]) -> dict[int, Any]:
    """Objects that cannot be copied by themselves, to be shared; the innermost are tried first."""
    shared: dict[int, Any] = {}
    tensors_and_modules = {id(value): value for value in objects if isinstance(value, nn.Module | Tensor)}
    for value in reversed(objects[:MAX_TRIED]):
        if isinstance(value, nn.Module | Tensor | FunctionType | dict | list | tuple | set):
            continue
        try:
            copy.deepcopy(value, tensors_and_modules | memo | shared)
        except Exception:  # whatever its class raises
            shared[id(value)] = value
    return shared


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
