"""State that torch's registry does not know: found, registered, moved and put into evaluation mode."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mavis.core.objects.network_state import (
    CompleteNetwork,
    evaluation_mode,
    find_modules,
    find_unregistered,
    is_training,
    name_if_registered,
)

OUTSIDE = nn.Linear(2, 2)


class Holder(nn.Module):
    """Answers with what it was given, held under ``held``."""

    def __init__(self, held: Any, read: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.held, self.read = held, read

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.held, x)


@dataclass
class Box:
    """Holds a layer beside a plain tensor."""

    layer: nn.Module
    scale: Tensor


def layer() -> nn.Linear:
    """Weights of its own."""
    return nn.Linear(2, 2)


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any, Tensor], Tensor], list[str], list[str]]] = {
    "list": (lambda: [layer(), layer()], lambda h, x: h[0](x) + h[1](x), ["held.0", "held.1"], []),
    "tuple": (lambda: (layer(),), lambda h, x: h[0](x), ["held.0"], []),
    "dict": (lambda: {"a": {7: layer()}}, lambda h, x: h["a"][7](x), ["held.a.7"], []),
    "dataclass": (lambda: Box(layer(), torch.ones(2)), lambda h, x: h.layer(x) * h.scale,
                  ["held.layer"], ["held.scale"]),
    "partial": (lambda: functools.partial(layer()), lambda h, x: h(x), ["held.func"], []),
    "bound method": (lambda: layer().forward, lambda h, x: h(x), ["held.__self__"], []),
    "parameter": (lambda: [nn.Parameter(torch.ones(2))], lambda h, x: h[0] * x, [], ["held.0"]),
    "plain matrix": (lambda: torch.ones(2, 2), lambda h, x: x @ h, [], ["held"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_unregistered_state_is_found_and_registered(name: str) -> None:
    """By its names, and so that zeros in every parameter and buffer are zeros in the answers."""
    make, read, modules, tensors = CASES[name]
    net = Holder(make(), read)
    state = find_unregistered(net)
    assert (sorted(state.modules), sorted(state.tensors)) == (modules, tensors)
    complete = CompleteNetwork(net, state)
    x = torch.rand(1, 2)
    assert complete(x).equal(net(x))
    with torch.no_grad():
        for tensor in (*complete.parameters(), *complete.buffers()):
            tensor.zero_()
    assert not complete(x).any()


def test_a_tensor_that_holds_weights_is_a_parameter_a_constant_is_a_buffer() -> None:
    """A matrix and what is trainable can be drawn anew; a mean colour cannot."""
    held = [torch.ones(2, 2), torch.ones(2, requires_grad=True), torch.ones(1, 3, 1, 1), torch.arange(4).view(2, 2)]
    net = Holder(held, lambda h, x: x)
    complete = CompleteNetwork(net, find_unregistered(net))
    assert len(list(complete.parameters())) == 2
    assert len(list(complete.buffers())) == 2


def test_plain_tensors_move_with_the_network() -> None:
    """The object that holds them sees the move."""
    net = Holder([torch.ones(2), torch.ones(2, 2)], lambda h, x: x @ h[1] + h[0])
    complete = CompleteNetwork(net, find_unregistered(net)).to(torch.float64)
    assert {tensor.dtype for tensor in net.held} == {torch.float64}
    assert complete(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64


def test_what_torch_knows_is_left_alone() -> None:
    """Also where a list repeats it; a kept activation is no state."""
    net = nn.Sequential(layer(), nn.ReLU())
    net.again = [net[0], net[0].weight]  # type: ignore[assignment]
    net.kept = net(torch.rand(1, 2))  # type: ignore[assignment]
    assert not find_unregistered(net)


def test_globals_are_named() -> None:
    """A module of the file that is no part of the network; one without weights does not matter."""
    assert find_unregistered(Holder(None, lambda _, x: OUTSIDE(x))).global_names == ("OUTSIDE",)


def test_names_are_those_of_a_network_that_torch_knows() -> None:
    """Members of a list are named as those of a ModuleList, in a network within another too."""
    twin = Holder(nn.ModuleList([layer(), nn.Sequential(layer())]), lambda h, x: h[0](h[1](x)))
    net = Holder(list(twin.held), twin.read)
    wrapped = nn.Sequential(CompleteNetwork(net, find_unregistered(net)))
    names = [name_if_registered(wrapped, name) for name, _ in wrapped.named_parameters()]
    assert names == [f"0.{name}" for name, _ in twin.named_parameters()]
    assert name_if_registered(twin, "held.0.weight") == "held.0.weight"


def test_networks_behind_a_function_are_in_evaluation_mode_for_a_while() -> None:
    """Module by module, those inside too; afterwards in the modes they had."""
    net = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    net[1].eval()
    modules = find_modules(lambda x: net(x))  # noqa: PLW0108 (the closure is the point)
    assert len(modules) == 4
    with evaluation_mode(modules):
        assert not any(map(is_training, net.modules()))
    assert [module.training for module in net.modules()] == [True, True, False, False]
