"""Wrappers: networks and callables as models, with a hash of their content."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.registry import models
from mavis.core.types import Model
from mavis.models.loading.wrappers import DeferredModel, Normalised, as_model, network_hash, wrap_network

CLASSES = ("a", "b", "c")


def channel_means(images: Tensor) -> np.ndarray:
    """Three logits, as an array of float64."""
    return images.mean((2, 3)).double().numpy()


def test_images_are_normalised() -> None:
    """(image − mean) / deviation, per colour; the constants are no weights but travel with them."""
    net = Normalised(nn.Identity(), mean=(0.1, 0.2, 0.3), deviation=(1.0, 2.0, 4.0))
    normalised = net(torch.full((1, 3, 1, 1), 0.5))
    torch.testing.assert_close(normalised.flatten(), torch.tensor([0.4, 0.15, 0.05]))
    assert not list(net.parameters())
    assert set(net.state_dict()) == {"mean", "deviation"}


def test_a_model_stays_a_model() -> None:
    """Under its own name; what the network is belongs to its revision, whatever the user calls that."""
    model = models["mask_mean"].create()
    same, other = as_model(model, "other"), as_model(replace(model, net=nn.Flatten()), "other")
    assert isinstance(same, Model)
    assert (same.name, same.net) == (model.name, model.net)
    assert same.revision.startswith(f"{model.revision}/")
    assert isinstance(other, Model)
    assert same.revision != other.revision != as_model(replace(model, net=nn.Flatten(), output="softmax"), "").revision


def test_a_network_waits_for_the_classes() -> None:
    """Then it is a white box with the given name and size."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    deferred = as_model(net, "mine", 2)
    assert isinstance(deferred, DeferredModel)
    model = deferred.build(CLASSES)
    assert (model.name, model.classes, model.size, model.net) == ("mine", CLASSES, 2, net)
    assert model.capabilities == {"forward", "gradient", "activations", "weights"}
    assert model.card == {"about": "given as a network"}


def test_a_function_is_a_black_box() -> None:
    """It can only be evaluated; its revision follows its outputs, its code and its name."""
    model = as_model(channel_means, "mine").build(CLASSES)
    assert model.capabilities == {"forward"}
    same = as_model(channel_means, "mine").build(CLASSES)
    other = as_model(lambda images: 1 * channel_means(images), "mine").build(CLASSES)
    assert model.revision == same.revision != other.revision
    assert as_model(channel_means, "yours").build(CLASSES).revision != model.revision


def test_a_function_that_raises_is_built_all_the_same() -> None:
    """Its evaluation during preparation reports the error."""

    def broken(images: Tensor) -> Tensor:
        raise ValueError("no")

    assert as_model(broken, "mine").build(CLASSES).revision


@pytest.mark.parametrize("thing", [None, 3, nn.Flatten])
def test_other_objects_are_refused(thing: object) -> None:
    """Nothing, a number, and a class in place of a network."""
    with pytest.raises(ModelError, match=r"'mine' must be a mavis.Model, a network, or a function from images"):
        as_model(thing, "mine")


def test_networks_have_hashes_of_their_content() -> None:
    """Weights, settings that are no weights, and the size; not the object."""
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), nn.Sequential(nn.Flatten(), nn.Linear(12, 2))]
    nets.append(nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.LeakyReLU(0.1)))
    nets.append(nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.LeakyReLU(0.2)))
    nets[3].load_state_dict(nets[2].state_dict())
    assert len({network_hash(net, None) for net in nets}) == 4
    assert network_hash(copy.deepcopy(nets[0]), None) == network_hash(nets[0], None) != network_hash(nets[0], 64)


def test_a_revision_can_be_given() -> None:
    """In place of the hash."""
    assert wrap_network(nn.Flatten(), "mine", CLASSES, None, about="x", revision="r1").revision == "r1"
    assert wrap_network(nn.Flatten(), "mine", CLASSES, None, about="x").revision == network_hash(nn.Flatten(), None)


class _Scaled(nn.Module):
    """A network with a plain number, a list and a buffer that is in no checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.gain, self.crop = 2.0, [1, 2]
        self.register_buffer("mean", torch.zeros(3), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.gain * (images.mean((2, 3)) - self.mean)


def _revision(net: nn.Module) -> str:
    return as_model(net, "mine").build(CLASSES).revision


@pytest.mark.parametrize("attribute", ["gain", "crop", "mean", "hidden"])
def test_attributes_that_are_no_weights_belong_to_the_revision(attribute: str) -> None:
    """A number, a list, a buffer that is not persistent, a module in a list: all decide the answers."""
    values = {"gain": 3.0, "crop": [1, 3], "mean": torch.ones(3), "hidden": [nn.Flatten()]}
    net, changed = _Scaled(), _Scaled()
    assert _revision(net) == _revision(changed.eval())
    setattr(changed, attribute, values[attribute])
    assert _revision(net) != _revision(changed)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["quantised", "lazy", "sparse", "packed"])
def test_networks_of_any_state_have_a_revision(kind: str) -> None:
    """Quantised weights are no tensors, lazy ones have no values yet: no traceback."""
    if kind == "quantised":
        net: nn.Module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3)), {nn.Linear})
    elif kind == "lazy":
        net = nn.LazyLinear(2)
    else:
        net = nn.Linear(3, 3)
        net.register_buffer("state", torch.eye(3).to_sparse() if kind == "sparse" else None)
    assert _revision(net) == _revision(net)
