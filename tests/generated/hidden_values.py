"""Networks that keep a number where torch does not look for weights."""

import abc
import functools
import types
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Keeper(nn.Module):
    """A network whose logits are multiplied by a number that it keeps somewhere.

    Args:
        net: gives the logits.
        place: what is kept, with the number in it.
        read: the number in what is kept.
    """

    def __init__(self, net: nn.Module, place: Any, read: Callable[[Any], Any]) -> None:
        super().__init__()
        self.net, self.place, self.read = net, place, read

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images) * float(self.read(self.place))


@dataclass
class Settings:
    """A dataclass."""

    value: Any


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def read(self) -> Any:
        return self.value


class Abstract(abc.ABC):
    """An object of an abstract class."""

    @abc.abstractmethod
    def read(self) -> float: ...


class Concrete(Abstract):
    """Keeps its number in a set."""

    def __init__(self, value: float) -> None:
        self.items = {value}

    def read(self) -> float:
        return next(iter(self.items))


class Derived:
    """An object whose number is computed."""

    def __init__(self, value: float) -> None:
        self._half = value / 2

    @property
    def value(self) -> float:
        return 2 * self._half


Pair = namedtuple("Pair", ["value", "other"])


def closure(value: float) -> Callable[[], float]:
    return lambda: value


def default(value: float) -> Callable[[], float]:
    def function(number: float = value) -> float:
        return number

    return function


def keyword_default(value: float) -> Callable[[], float]:
    def function(*, number: float = value) -> float:
        return number

    return function


def with_attribute(value: float) -> Callable[[], float]:
    def function() -> float:
        return function.value  # type: ignore[attr-defined, no-any-return]

    function.value = value  # type: ignore[attr-defined]
    return function


def call(place: Callable[[], Any]) -> Any:
    return place()


def of_value(place: Any) -> Any:
    return place.value


PLACES: Mapping[str, tuple[Callable[[float], Any], Callable[[Any], Any]]] = {
    "number": (float, float),
    "text": (str, float),
    "bytes": (lambda v: str(v).encode(), float),
    "tensor": (torch.tensor, float),
    "half": (lambda v: torch.tensor(v).half(), float),
    "item of a large tensor": (lambda v: torch.zeros(5000).index_fill_(0, torch.tensor([4321]), v), lambda t: t[4321]),
    "sparse": (lambda v: torch.eye(3).mul(v).to_sparse(), lambda t: t.to_dense()[1, 1]),
    "array": (np.array, float),
    "array of objects": (lambda v: np.array([v, "x"], dtype=object), lambda a: a[0]),
    "list": (lambda v: [[1, v]], lambda p: p[0][1]),
    "mapping": (lambda v: {("a", 1): {2: v}}, lambda p: p[("a", 1)][2]),
    "ordered": (lambda v: OrderedDict(a=torch.tensor(v)), lambda p: p["a"]),
    "deque": (lambda v: deque([v]), lambda p: p[0]),
    "set": (lambda v: frozenset([v]), lambda p: next(iter(p))),
    "dataclass": (Settings, of_value),
    "slots": (Slotted, of_value),
    "named tuple": (lambda v: Pair(v, 0), of_value),
    "namespace": (lambda v: types.SimpleNamespace(value=v), of_value),
    "abstract class": (lambda v: isinstance(v, Abstract) or Concrete(v), lambda p: p.read()),
    "property": (Derived, of_value),
    "closure": (closure, call),
    "default": (default, call),
    "keyword default": (keyword_default, call),
    "function attribute": (with_attribute, call),
    "partial": (lambda v: functools.partial(float, v), call),
    "bound method": (lambda v: Slotted(v).read, call),
    "method of a mapping": (lambda v: {"a": v}.get, lambda get: get("a")),
    "method of Python's own": (lambda v: Settings(v).__getattribute__, lambda get: get("value")),
    "beside a module": (lambda v: [nn.Identity(), v], lambda p: p[1]),
    "weight in a list": (lambda v: [nn.init.constant_(nn.Linear(1, 1, bias=False).weight, v)], lambda p: p[0].detach()),
    "dtype": (np.float32, float),
    "complex": (lambda v: complex(v, 1), lambda z: z.real),
    "range": (lambda v: range(round(1000 * v)), lambda r: len(r) / 1000),
    "slice": (slice, lambda s: s.stop),
}
"""Per name what is kept of a number, and the number in it."""
