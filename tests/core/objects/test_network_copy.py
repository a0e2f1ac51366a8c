"""Copies of networks: nothing of weight is shared, and the original stays."""

import threading

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.objects.network_copy import copy_network

IMAGES = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A convolution, and what a test puts beside it."""

    def __init__(self, **attributes: object) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).mean((2, 3))


class Keeps(Net):
    """Keeps its activations with their graph."""

    def forward(self, images: Tensor) -> Tensor:
        self.kept = self.conv(images)
        return self.kept.mean((2, 3))


class Closes(Net):
    """Calls a layer in a closure."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(2, 2)

        def call(values: Tensor) -> Tensor:
            return layer(values)

        self.call = call

    def forward(self, images: Tensor) -> Tensor:
        return self.call(super().forward(images))


def weight_normalised() -> nn.Module:
    """The old form, which keeps a computed weight."""
    net = Net()
    with pytest.warns(FutureWarning):
        net.conv = nn.utils.weight_norm(net.conv)
    return net


NETWORKS = {
    "plain": Net,
    "members in a list": lambda: Net(members=[nn.Linear(2, 2)]),
    "kept activations": Keeps,
    "old weight norm": weight_normalised,
    "closure": Closes,
    "lock": lambda: Net(lock=threading.Lock()),
    "generator": lambda: Net(rows=(row for row in range(3))),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())
def test_a_copy_answers_the_same_and_shares_no_weight(build) -> None:
    """Also after a forward; changing the copy changes no answer of the original."""
    net = build()
    expected = net(IMAGES).detach().clone()
    copied = copy_network(net)
    assert torch.equal(copied(IMAGES), expected)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(net(IMAGES), expected)


def test_a_closure_s_layer_is_copied_too() -> None:
    """Deepcopy would share it."""
    net = Closes()
    copied = copy_network(net)
    assert copied.call.__closure__[0].cell_contents is not net.call.__closure__[0].cell_contents


def test_what_cannot_be_copied_is_one_line() -> None:
    """With the reason of its class."""

    class Stubborn(Net):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise TypeError("no copies\nat all")

    with pytest.raises(ModelError, match=r"^A Stubborn cannot be copied: TypeError: no copies$"):
        copy_network(Stubborn())
