"""The state of a model that is prepared: complete, frozen, in evaluation mode; or one line."""

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.objects.network_state import CompleteNetwork
from mavis.core.types import WHITE_BOX, Model
from mavis.models.preparation.isolation import BlackBox
from mavis.models.preparation.state import copy_model

IMAGES = torch.rand((2, 3, 8, 8), generator=torch.Generator().manual_seed(0))
HEAD = nn.Linear(2, 2)


class Ensemble(nn.Module):
    """Members that torch does not know, with dropout in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.members = [nn.Sequential(nn.Conv2d(3, 2, 3), nn.Dropout(), nn.BatchNorm2d(2)) for _ in range(2)]

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images) for member in self.members]).mean((0, 3, 4))


class Global(nn.Module):
    """A layer of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        return HEAD(self.conv(images).mean((2, 3)))


def model_of(net: nn.Module) -> Model:
    return Model("tiny", net, ("a", "b"), "0", capabilities=WHITE_BOX)


def test_members_of_a_list_are_registered_frozen_and_in_evaluation_mode() -> None:
    """With a note; the caller's object is as it was."""
    net = Ensemble()
    copied, notes = copy_model(model_of(net))
    assert isinstance(copied.net, CompleteNetwork)
    assert not any(module.training for module in copied.net.modules())
    assert len(list(copied.net.parameters())) == 8
    assert not any(parameter.requires_grad for parameter in copied.net.parameters())
    assert torch.equal(copied.net(IMAGES), copied.net(IMAGES))
    assert any("2 modules (members.0, members.1)" in note for note in notes), notes
    assert "put into evaluation mode" in notes
    assert all(member.training and member[0].weight.requires_grad for member in net.members)


def test_hidden_weights_that_are_nan_are_named() -> None:
    """By the name that leads to them."""
    net = Ensemble()
    net.members[1][0].weight.data[0] = torch.nan
    with pytest.raises(ModelError, match=r"NaN or infinite, first in 'members\.1\.0\.weight'"):
        copy_model(model_of(net))


def test_a_layer_of_the_file_is_refused() -> None:
    """With what to write."""
    with pytest.raises(ModelError, match=r"uses 'HEAD', .*make it one, self\.head = HEAD"):
        copy_model(model_of(Global()))


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_layers_without_weights_yet_are_refused() -> None:
    """One line, not torch's traceback."""
    with pytest.raises(ModelError, match=r"weights without values yet .* send it an image"):
        copy_model(model_of(nn.Sequential(nn.LazyConv2d(2, 3), nn.Flatten(), nn.LazyLinear(2))))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:torch.quantize_per_tensor:UserWarning")
def test_quantised_weights_are_not_drawn_anew() -> None:
    """The rest of the network works."""
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(192, 2)), {nn.Linear})
    copied, notes = copy_model(model_of(net))
    assert "weights" not in copied.capabilities
    assert any("cannot be drawn anew" in note for note in notes)
    assert torch.equal(copied.net(IMAGES), net(IMAGES))


def test_what_cannot_be_copied_is_a_black_box() -> None:
    """With the reason in a note."""

    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: object) -> nn.Module:
            raise TypeError("no copies")

    copied, notes = copy_model(model_of(Stubborn(8, 2)))
    assert isinstance(copied.net, BlackBox)
    assert copied.capabilities == {"forward"}
    assert any("taken as a black box" in note and "no copies" in note for note in notes)
