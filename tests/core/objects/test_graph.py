"""What objects hold, and walks over it that end."""

import functools
import threading
from collections import deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mavis.core.errors import ModelError
from mavis.core.objects import graph

LAYER = nn.Flatten()


@dataclass
class _Box:
    content: Any


class _Slotted:
    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:
        self.content = content


class _Node:
    def __init__(self, content: Any) -> None:
        self.content = content

    def read(self) -> Any:
        return self.content


Pair = namedtuple("Pair", "first second")

HOLDERS = {
    "list": lambda layer: [layer],
    "tuple": lambda layer: (1, (layer,)),
    "dict": lambda layer: {3: {"a": layer}},
    "key": lambda layer: {layer: 1},
    "set": lambda layer: {layer},
    "deque": lambda layer: deque([layer]),
    "named tuple": lambda layer: Pair(layer, 1),
    "array of objects": lambda layer: np.array([layer], dtype=object),
    "dataclass": _Box,
    "slots": _Slotted,
    "attribute": _Node,
    "bound method": lambda layer: _Node(layer).read,
    "partial": lambda layer: functools.partial(print, layer, end=""),
    "keyword of a partial": lambda layer: functools.partial(print, end=layer),
    "closure": lambda layer: lambda: layer,
    "default": lambda layer: lambda held=layer: held,
}


def _with_hook(layer: nn.Module) -> nn.Module:
    net = nn.Identity()
    net.register_forward_hook(lambda *_: layer(torch.zeros(1)))
    return net


HOLDERS["hook"] = _with_hook


def _uses_global(x: Any) -> Any:
    return LAYER(x)


@pytest.mark.parametrize("name", HOLDERS)
def test_what_an_object_holds_is_found(name: str) -> None:
    """In containers, attributes, slots, closures, partial functions, bound methods and hooks."""
    layer = nn.Flatten()
    assert any(value is layer for _, value in graph.walk_objects(HOLDERS[name](layer)))


def test_a_global_is_found_under_a_name_of_its_own() -> None:
    """It belongs to no object, so that whoever copies can tell."""
    paths = [path for path, value in graph.walk_objects(_uses_global) if value is LAYER]
    assert paths == [(f"{graph.GLOBAL_PREFIX}LAYER",)]


def test_a_class_holds_attributes_and_what_its_methods_close_over() -> None:
    """Of the user's classes; torch's own hold nothing of interest."""
    inner = nn.Flatten()

    class Net(nn.Module):
        shared = (nn.ReLU(),)

        def forward(self, x: Any) -> Any:
            return inner(x)

    found = {".".join(path): value for path, value in graph.walk_objects(Net())}
    assert isinstance(found["shared.0"], nn.ReLU)
    assert found["forward.inner"] is inner
    assert graph.class_parts(nn.Linear) == []


def test_cycles_end_and_every_object_comes_once() -> None:
    """An object that holds itself, and one that is held twice."""
    ring: list[Any] = [nn.Flatten()]
    ring += [ring, ring[0]]
    assert [path for path, _ in graph.walk_objects(ring)] == [(), ("0",)]


def test_a_walk_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of objects is followed so far; too many objects are refused in a line."""
    chain: Any = None
    for _ in range(3000):
        chain = _Box(chain)
    assert max(len(path) for path, _ in graph.walk_objects(chain)) == graph.MAX_DEPTH
    monkeypatch.setattr(graph, "MAX_OBJECTS", 10)
    with pytest.raises(ModelError, match="holds more than 10 objects; keep data out of the model"):
        list(graph.walk_objects([_Box(0) for _ in range(11)]))


@pytest.mark.parametrize("value", [threading.Lock(), threading, torch.Generator(), np.random.default_rng(0)])
def test_objects_of_the_process_hold_nothing(value: Any) -> None:
    """Locks, modules, generators."""
    assert graph.is_opaque(value)
    assert graph.list_parts(value) == []


def test_members_of_a_set_have_an_order() -> None:
    """That of their weights, not of their addresses."""
    small, large = nn.Linear(2, 2), nn.Linear(2, 2)
    nn.init.constant_(small.weight, 0.0)
    nn.init.constant_(large.weight, 1.0)
    assert [part for _, part in graph.list_parts({large, small})] == [small, large]
