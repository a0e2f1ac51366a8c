"""State that torch's registry does not know: found, registered beside the network, and moved with it."""

from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mavis.core.objects import network_state
from mavis.core.objects.network_state import CompleteNetwork, evaluation_mode, find_modules, find_unregistered

SHARED = nn.Linear(2, 2)


@dataclass
class Holder:
    """Any object that keeps a module."""

    inside: nn.Module
    extras: dict = field(default_factory=dict)


class Net(nn.Module):
    """A registered layer and something else; it answers with all layers one after the other."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images)


class UsesGlobal(Net):
    """A layer of the file, outside of the network."""

    def forward(self, images: Tensor) -> Tensor:
        return SHARED(self.layer(images))


def in_closure(layer: nn.Module):
    def call(images: Tensor) -> Tensor:
        return layer(images)

    return call


@pytest.mark.parametrize(
    ("hold", "name"),
    [
        (lambda layer: [layer], "members"),
        (lambda layer: (0, layer), "members"),
        (lambda layer: {"a": layer}, "members"),
        (Holder, "members"),
        (lambda layer: Holder(nn.Identity(), {"deep": [layer]}), "members"),
        (in_closure, "members"),
        (lambda layer: partial(torch.add, layer), "members"),
        (lambda layer: layer.forward, "members"),
    ],
    ids=["list", "tuple", "dict", "dataclass", "nested", "closure", "partial", "bound method"],
)
def test_a_module_that_an_object_holds_is_found(hold, name: str) -> None:
    """By the path that leads to it; the registered layer is not among them."""
    layer = nn.Linear(2, 3)
    net = Net(**{name: hold(layer)})
    state = find_unregistered(net)
    assert layer in state.modules.values()
    assert net.layer not in state.modules.values()
    assert all(path.startswith(name) for path in state.modules)


def test_plain_tensors_and_parameters_in_a_list_are_found() -> None:
    """What a forward computed and kept with its graph is none."""
    plain, listed = torch.rand(2, 2), nn.Parameter(torch.rand(2))
    net = Net(plain=plain, listed=[listed])
    net.kept = net(torch.ones(1, 2))
    found = find_unregistered(net).tensors
    assert {id(tensor) for tensor in found.values()} == {id(plain), id(listed)}


def test_a_network_that_torch_knows_has_nothing_else() -> None:
    """Numbers, texts and arrays of settings are no state of this kind."""
    net = nn.Sequential(Net(scale=2.0, names=["a"]), nn.BatchNorm1d(2))
    assert not find_unregistered(net)


def test_a_global_with_weights_is_named() -> None:
    """It belongs to the file, not to the network, and cannot be copied with it."""
    assert find_unregistered(UsesGlobal()).global_names == ("SHARED",)


def test_a_complete_network_registers_moves_and_answers_the_same() -> None:
    """A cast reaches the plain tensor through the object that holds it."""
    net = Net(plain=torch.rand(2, 2), members=[nn.Linear(2, 2)])
    complete = CompleteNetwork(net, find_unregistered(net))
    images = torch.rand(3, 2)
    assert torch.equal(complete(images), net(images))
    assert len(list(complete.parameters())) == 5
    complete.double()
    assert net.plain.dtype == net.members[0].weight.dtype == torch.float64
    names = {network_state.registered_name(complete, name) for name, _ in complete.named_parameters()}
    assert "layer.weight" in names
    assert {"plain", "members.0.weight"} <= {name.replace("[", "").replace("]", "") for name in names}


def test_modules_behind_a_function_are_in_evaluation_mode_for_a_while() -> None:
    """Afterwards each has the mode that it had."""
    layer = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    modules = find_modules(in_closure(layer))
    with evaluation_mode(modules):
        assert not any(module.training for module in layer.modules())
    assert [module.training for module in layer.modules()] == [True, True, False]
