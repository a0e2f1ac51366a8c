"""Object graph: the objects that an object holds, wherever Python keeps them.

`list_parts` is the one definition of holding: members of containers, attributes, slots, closures, defaults, referenced
globals, arguments of partial functions, objects of bound methods; of a module also its parameters, buffers, children,
hooks and what its class holds.
"""

import dis
import functools
import random
from collections import deque
from collections.abc import Iterator, Mapping
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.objects import sources

MAX_OBJECTS = 1_000_000
"""Largest number of objects that a walk visits."""

MAX_DEPTH = 100
"""Largest number of steps from the first object to another."""

PLAIN_TYPES = (
    type(None), bool, int, float, complex, str, bytes, type, BuiltinFunctionType, CodeType,
    torch.dtype, torch.device, torch.layout, np.generic,
)  # fmt: skip
"""Types whose values hold nothing."""

GENERATOR_TYPES = (torch.Generator, np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
"""Random generators: their state is another at each use."""

OPAQUE_PACKAGES = (
    "torch._", "torch.fx", "torch.jit", "torch.export", "threading", "_thread", "logging", "io", "_io", "weakref",
    "concurrent", "multiprocessing", "asyncio", "importlib", "onnxruntime", "inspect", "ctypes",
)  # fmt: skip
"""Packages whose objects belong to the running process and hold no state of a model."""

HOOK_TABLES = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

GLOBAL_PREFIX = "global "
"""Begins the name of a global that a function refers to: it belongs to no object and cannot be copied with one."""

_CLASS_ATTRIBUTES = frozenset({
    "__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__slots__",
    "__slotnames__", "__abstractmethods__", "_abc_impl",  # come with the first copy, or belong to `abc`
})  # fmt: skip

_MODULE_ATTRIBUTES = frozenset(vars(nn.Module()))
"""Attributes that every module has."""

Part = tuple[str, Any]
"""A name and an object."""


class Opaque:
    """Base of classes whose objects hold nothing for a walk: what is behind them is shared by copies."""


def walk_objects(root: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every object that an object holds, directly or through others, once, with the names that lead to it.

    The order is depth first and the same in every process; cycles end where they close.

    Args:
        root: comes first, with no names.

    Raises:
        ModelError: there are more than `MAX_OBJECTS`.
    """
    visited: dict[int, Any] = {}  # holds the objects, so that no id is used twice
    stack: list[tuple[tuple[str, ...], Any]] = [((), root)]
    while stack:
        path, value = stack.pop()
        if id(value) in visited:
            continue
        visited[id(value)] = value
        if len(visited) > MAX_OBJECTS:
            raise ModelError(
                f"A {type(root).__name__} holds more than {MAX_OBJECTS:,} objects; keep data out of the model."
            )
        yield path, value
        if len(path) < MAX_DEPTH:
            stack += [((*path, name), part) for name, part in reversed(list_parts(value)) if not is_plain(part)]


def is_plain(value: Any) -> bool:
    """True for a value that holds nothing, such as a number or a text."""
    return isinstance(value, PLAIN_TYPES) and not _is_compiled_method(value)


def _is_compiled_method(value: Any) -> bool:
    """True for a method of compiled code with its object, as ``{}.get``; not for one of a module or class."""
    if not isinstance(value, BuiltinFunctionType | MethodWrapperType):
        return False
    return not isinstance(value.__self__, type(None) | ModuleType | type)


def is_opaque(value: Any) -> bool:
    """True for an object of the running process, such as a lock or a file, for a random generator, and for `Opaque`."""
    if isinstance(value, Opaque | nn.Module):
        return isinstance(value, Opaque)
    if isinstance(value, (ModuleType, *GENERATOR_TYPES)):
        return True
    owner = value.__globals__.get("__name__") if isinstance(value, FunctionType) else type(value).__module__
    return str(owner).startswith(OPAQUE_PACKAGES)


def list_parts(value: Any) -> list[Part]:
    """The objects that an object holds directly, each with a name, in an order that is the same in every process."""
    if is_plain(value) or isinstance(value, Tensor) or is_opaque(value):
        return []
    if isinstance(value, nn.Module):
        return _module_parts(value)
    if isinstance(value, FunctionType):
        return _function_parts(value)
    if isinstance(value, MethodType) or _is_compiled_method(value):
        return [("__self__", value.__self__), ("__func__", getattr(value, "__func__", value.__name__))]
    if isinstance(value, functools.partial):
        arguments = [(str(index), argument) for index, argument in enumerate(value.args)]
        return [("func", value.func), *arguments, *value.keywords.items()]
    return [*_members(value), *_attributes(value)]


def _members(value: Any) -> list[Part]:
    """Members of a container."""
    if isinstance(value, dict | MappingProxyType):
        keys = [(f"key {index}", key) for index, key in enumerate(value) if not is_plain(key)]
        return [*keys, *((str(key) if is_plain(key) else f"value {i}", value[key]) for i, key in enumerate(value))]
    if isinstance(value, set | frozenset):
        return [(str(index), member) for index, member in enumerate(sorted(value, key=_order_key))]
    if isinstance(value, np.ndarray):
        return [(str(i), member) for i, member in enumerate(value.ravel().tolist())] if value.dtype == object else []
    return [(str(i), member) for i, member in enumerate(value)] if isinstance(value, list | tuple | deque) else []


def _order_key(member: Any) -> str:
    """Text that orders the members of a set, of modules by their weights too."""
    state = member.state_dict().values() if isinstance(member, nn.Module) else ()
    tensors = [tensor for tensor in state if isinstance(tensor, Tensor) and tensor.is_floating_point()]
    sums = [float(tensor.double().sum()) for tensor in tensors if not nn.parameter.is_lazy(tensor)]
    return f"{type(member).__name__} {'' if ' at 0x' in repr(member) else repr(member)} {sums}"


def _attributes(value: Any) -> list[Part]:
    """Attributes of an instance, those in slots too, and what its class holds."""
    attributes = dict(vars(value)) if hasattr(value, "__dict__") else {}
    slots = {name for kind in type(value).__mro__ for name in _slot_names(kind)} - attributes.keys()
    attributes |= {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return [*_by_name(attributes), *class_parts(type(value))]


def _slot_names(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _by_name(values: Mapping[Any, Any]) -> list[Part]:
    return sorted(((str(name), part) for name, part in values.items()), key=lambda pair: pair[0])


def class_parts(kind: type) -> list[Part]:
    """Members of a user's class: methods and attributes, of base classes that are the user's too."""
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if sources.is_user_class(base):
            members |= vars(base)
    unwrapped = {name: getattr(member, "__func__", member) for name, member in members.items()}
    getters = {name: member.fget if isinstance(member, property) else member for name, member in unwrapped.items()}
    return _by_name({name: member for name, member in getters.items() if name not in _CLASS_ATTRIBUTES})


def _module_parts(module: nn.Module) -> list[Part]:
    """Parameters, buffers, children, hooks, attributes that torch does not know, and what the class holds."""
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    children: list[Part] = [*tensors, *module.named_children()]
    if isinstance(module, torch.jit.ScriptModule):
        return children
    hooks = [hook for table in HOOK_TABLES for hook in vars(module).get(table, {}).values()]
    attributes = {name: part for name, part in vars(module).items() if name not in _MODULE_ATTRIBUTES}
    return [
        *children,
        *((f"hook {index}", hook) for index, hook in enumerate(hooks)),
        *_by_name(attributes),
        *((name, part) for name, part in class_parts(type(module)) if name not in attributes),
    ]


def _function_parts(function: FunctionType) -> list[Part]:
    """Closure, defaults and attributes; of a user's function also the globals that it refers to."""
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    parts: list[Part] = [(name, cell.cell_contents) for name, cell in zip(names, cells, strict=True) if _is_full(cell)]
    parts += [(f"default {index}", value) for index, value in enumerate(function.__defaults__ or ())]
    parts += [*(function.__kwdefaults__ or {}).items(), *_by_name(vars(function))]
    if sources.is_user_function(function):
        namespace = function.__globals__
        parts += [
            (f"{GLOBAL_PREFIX}{name}", namespace[name])
            for name in _global_names(function.__code__)
            if name in namespace
        ]
    return parts


def _is_full(cell: CellType) -> bool:
    """False for a variable that has no value yet."""
    try:
        cell.cell_contents  # noqa: B018 (raises where it is empty)
    except ValueError:
        return False
    return True


def _global_names(code: CodeType) -> list[str]:
    """Names of globals in a function's code and in the functions inside it, sorted."""
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _global_names(constant)]
    names = [step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")]
    return sorted({*names, *inner})
