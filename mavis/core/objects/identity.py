"""Identity of an object: a hash of its values and of the code of its classes and functions.

It is the same in every process: no address, no order of a set, no state of a random generator is in it. What belongs to
the running process (locks, files, sessions) counts by its type alone.
"""

import enum
import re
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from mavis.core import hashing
from mavis.core.objects import graph, sources

_LEAVES = (ModuleType, CodeType, Tensor, np.ndarray, PurePath, enum.Enum)
_SCRIPT_NAMES = re.compile(r"___torch_mangle_\d+\.")
"""Addition of torch to the name of a class that it has seen before in the process."""


def object_digest(value: Any) -> str:
    """Digest of an object with everything that it holds, and of the user's code behind it.

    Args:
        value: any object: a network, a function, an explainer, a number.
    """
    return _Digester().digest(value)


def class_digest(kind: type) -> str:
    """Digest of a class: its name and, of a user's class, its source with that of all modules it imports."""
    return hashing.digest_json(_Digester().describe_class(kind))


def tensor_digest(tensor: Tensor) -> str:
    """Digest of a tensor's type, shape and values, of any layout and device."""
    if nn.parameter.is_lazy(tensor):
        return hashing.digest("tensor without values")
    values = tensor.detach()
    values = values.dequantize() if values.is_quantized else values
    values = values.to_dense() if values.layout != torch.strided else values
    head = [str(tensor.dtype), str(tuple(tensor.shape))]
    return hashing.digest(*head, b"" if values.is_meta else tensor_bytes(values.resolve_conj().resolve_neg()))


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values of a dense tensor, in order."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


class _Digester:
    """Digests of objects, each computed once."""

    def __init__(self) -> None:
        self._digests: dict[int, str] = {}
        self._alive: list[Any] = []  # so that no id is used twice
        self._depth_of_open: dict[int, int] = {}
        self._sources: dict[tuple[Path, str], str] = {}

    def digest(self, value: Any) -> str:
        if graph.is_plain(value) and not isinstance(value, type | CodeType | ModuleType | enum.Enum):
            return hashing.digest(type(value).__name__, _plain_text(value))
        key, depth = id(value), len(self._depth_of_open)
        if key in self._depth_of_open or depth > graph.MAX_DEPTH:
            return hashing.digest("cycle", str(depth - self._depth_of_open.get(key, 0)))
        if key not in self._digests:
            self._alive.append(value)
            self._depth_of_open[key] = depth
            self._digests[key] = hashing.digest(*self._describe(value))
            del self._depth_of_open[key]
        return self._digests[key]

    def _describe(self, value: Any) -> list[str]:
        """Texts that say what an object is."""
        if isinstance(value, _LEAVES) and not _holds_objects(value):
            return [type(value).__name__, _leaf_text(value)]
        if isinstance(value, type):
            return ["class", *self.describe_class(value), *self._describe_parts(graph.class_parts(value))]
        if graph.is_opaque(value):
            return ["opaque", _type_name(value)]
        if isinstance(value, set | frozenset):
            return [_type_name(value), *sorted(map(self.digest, value))]
        if isinstance(value, dict | MappingProxyType):
            pairs = [hashing.digest(self.digest(key), self.digest(member)) for key, member in value.items()]
            return [_type_name(value), *sorted(pairs)]
        parts = self._describe_parts(graph.list_parts(value))
        return [*self._head(value), *(parts or self._describe_by_reduction(value))]

    def _describe_parts(self, parts: list[graph.Part]) -> list[str]:
        return [text for name, part in parts for text in (name, self.digest(part))]

    def _head(self, value: Any) -> list[str]:
        """Kind of an object, without its parts."""
        if isinstance(value, FunctionType):
            return self._describe_function(value)
        name, source = self.describe_class(type(value))
        if isinstance(value, fx.GraphModule):
            return [name, value.code]
        if isinstance(value, torch.jit.ScriptModule):
            return [name, *_describe_scripted(value)]
        return [name, source]

    def describe_class(self, kind: type) -> tuple[str, str]:
        """Name of a class, and the digest of a user's source; of one that was typed in its methods count."""
        file = sources.class_file(kind)
        name = f"{kind.__module__}.{kind.__qualname__}"
        return name, "" if file is None else self._source(file, kind.__module__)

    def _describe_function(self, function: FunctionType) -> list[str]:
        file, code = sources.user_file(function), function.__code__
        if file is not None:
            source = self._source(file, str(function.__globals__.get("__name__", "")))
            return [function.__qualname__, str(code.co_firstlineno), source]
        if sources.is_user_function(function):
            return [function.__qualname__, hashing.digest_json(_describe_code(code))]
        return [f"{function.__module__}.{function.__qualname__}"]

    def _source(self, file: Path, module: str) -> str:
        if (file, module) not in self._sources:
            self._sources[file, module] = sources.source_digest(file, module)
        return self._sources[file, module]

    def _describe_by_reduction(self, value: Any) -> list[str]:
        """Content of an object of compiled code as pickle would write it, where it can be pickled."""
        if isinstance(value, FunctionType | nn.Module | list | tuple):
            return []
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # not made to be copied: its type stands for it
            return []
        return [self.digest(list(part) if hasattr(part, "__next__") else part) for part in reduced[1:]]


def _plain_text(value: Any) -> str:
    text = repr(value)
    return getattr(value, "__qualname__", type(value).__name__) if " at 0x" in text else text


def _holds_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == object


def _leaf_text(value: Any) -> str:
    match value:
        case Tensor():  # one with a graph was kept from a forward: it is no state
            return "computed" if value.grad_fn is not None else tensor_digest(value)
        case np.ndarray():
            return f"{value.dtype} {value.shape} {hashing.digest(np.ascontiguousarray(value).tobytes())}"
        case CodeType():
            return hashing.digest_json(_describe_code(value))
        case ModuleType():
            return value.__name__
    return str(value)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _describe_code(code: CodeType) -> list[Any]:
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), _describe_constant(code.co_consts)]


def _describe_constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _describe_code(value)
    if isinstance(value, tuple | frozenset):
        members = [_describe_constant(member) for member in value]
        return sorted(members, key=hashing.canonical_json) if isinstance(value, frozenset) else members
    return [type(value).__name__, repr(value)]


def _describe_scripted(module: Any) -> list[str]:
    """Code and constants of a scripted module."""
    try:
        code, constants = module.code_with_constants
    except Exception:  # a module without a forward of its own
        return []
    values = constants.const_mapping
    tensors = [tensor_digest(values[name]) for name in sorted(values) if isinstance(values[name], Tensor)]
    return [_SCRIPT_NAMES.sub("", code), *tensors]
