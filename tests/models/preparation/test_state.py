"""State of a model in preparation: all of it is there, frozen, in evaluation mode; or a line says why not."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.perturbation.weight_randomisation import randomise_weights
from mavis.core.types import Model
from mavis.models.loading import wrappers
from mavis.models.preparation.isolation import BlackBox
from mavis.models.preparation.prepare import prepare_model
from mavis.models.preparation.state import copy_model

CPU = torch.device("cpu")


class Small(nn.Module):
    """A convolution, a normalisation and dropout, which answer otherwise in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.drop, self.head = nn.Dropout(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.drop(self.relu(self.norm(self.conv(x))).mean((2, 3))))
        return out


class Ensemble(nn.Module):
    """Members in what a test chooses, called one after the other."""

    def __init__(self, holder: Callable[[Any], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.members = holder([Small(), Small()])

    def forward(self, x: Tensor) -> Tensor:
        members = self.members.values() if isinstance(self.members, dict) else self.members
        return torch.stack([member(x) for member in members]).mean(0)


def model_of(net: Any) -> Model:
    """The model of a user's network or function, for two classes and 16 px."""
    return wrappers.as_model(net, "mine", 16).build(("a", "b"))


def images() -> Tensor:
    """Three images of noise."""
    return torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("holder", [list, tuple, lambda members: {"0": members[0], "1": members[1]}])
def test_an_ensemble_in_a_list_is_the_ensemble_in_a_module_list(holder: Callable[[Any], Any]) -> None:
    """In its answers, in its gradients and after its weights are drawn anew, bit for bit; the user's object stays."""
    users = Ensemble(holder)
    prepared, changes = prepare_model(model_of(users), CPU)
    twin, _ = prepare_model(model_of(Ensemble(nn.ModuleList)), CPU)
    assert prepared.net(images()).equal(twin.net(images()))
    first, second = (randomise_weights(model.net, 3, 16) for model in (prepared, twin))
    assert first(images()).equal(second(images()))
    assert not first(images()).allclose(prepared.net(images()), atol=1e-2)
    assert not any(parameter.requires_grad for parameter in prepared.net.parameters())
    members = users.members.values() if isinstance(users.members, dict) else users.members
    assert all(module.training for member in members for module in member.modules())
    assert "registered, since torch did not know of it: 2 modules (members.0, members.1)" in changes


def test_weights_that_are_not_finite_are_found_in_a_list() -> None:
    """By the name that leads there."""
    net = Ensemble(list)
    with torch.no_grad():
        net.members[1].head.bias[0] = float("nan")
    with pytest.raises(ModelError, match=r"NaN or infinite, first in 'members.1.head.bias'"):
        copy_model(model_of(net))


def _closure(net: nn.Module) -> Any:
    return lambda x: net(x)  # noqa: PLW0108 (the closure is the point)


class _Predictor:
    def __init__(self, net: nn.Module) -> None:
        self.nets = {"only": net}

    def predict(self, x: Tensor) -> Any:
        return self.nets["only"](x).detach().numpy()


def _call(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = net(x)
    return out


@pytest.mark.parametrize(
    "wrap", [_closure, lambda net: functools.partial(_call, net), lambda net: _Predictor(net).predict]
)
def test_networks_behind_a_function_answer_in_evaluation_mode(wrap: Callable[[nn.Module], Any]) -> None:
    """In a closure, a partial function, an attribute of a bound method's object; they stay in training mode."""
    net = Small()
    prepared, changes = prepare_model(model_of(wrap(net)), CPU)
    assert net.training
    assert net.norm.num_batches_tracked == 0
    assert "put into evaluation mode" in changes
    torch.testing.assert_close(prepared.net(images()), net.eval()(images()).detach())


class _NoCopies(Small):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("no copies")


def test_a_network_that_cannot_be_copied_is_a_black_box() -> None:
    """Uncopied and with a note; its mode, which decides the answers, is that of evaluation while it is asked."""
    net = _NoCopies()
    prepared, changes = prepare_model(model_of(net), CPU)
    assert prepared.capabilities == {"forward"}
    assert any(line.startswith("taken as a black box") and line.endswith("TypeError: no copies") for line in changes)
    assert net.training
    torch.testing.assert_close(prepared.net(images()), net.eval()(images()).detach())


BACKBONE = Small()


class _UsesGlobal(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = BACKBONE(x)
        return out


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), r"2 tensors \(1.weight, 1.bias\)\); send it an image"),
        (lambda: Ensemble(lambda _: [nn.LazyLinear(2)]), r"2 tensors \(members.0.weight, members.0.bias\)"),
        (lambda: Small().to("meta"), r"weights without values yet \(9 tensors \(conv.weight, conv.bias, "),
        (_UsesGlobal, "uses 'BACKBONE', .* make it one, self.backbone = BACKBONE"),
    ],
)
def test_what_cannot_be_explained_is_refused_in_a_line(make: Callable[[], nn.Module], message: str) -> None:
    """Lazy layers, seen by torch or not, weights without values, a module outside of the network."""
    with pytest.raises(ModelError, match=message):
        copy_model(model_of(make()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["quantised", "frozen", "frozen inside", "nothing"])
def test_weights_that_cannot_be_drawn_anew_are_no_capability(kind: str) -> None:
    """Packed by quantisation, frozen into a script; what remains of the network would be randomised alone."""
    net: nn.Module = Small().eval()
    if kind == "quantised":
        net = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    elif kind == "nothing":
        net = nn.Flatten()
    else:
        script = torch.jit.freeze(torch.jit.script(net))
        net = script if kind == "frozen" else nn.Sequential(script, nn.Linear(2, 2))
    copied, changes = copy_model(model_of(net))
    assert "weights" not in copied.capabilities
    assert any("cannot be drawn anew" in line for line in changes)


class _OddTrain(Small):
    def train(self, mode: bool = True) -> Any:
        raise NotImplementedError


def test_evaluation_mode_does_not_depend_on_the_class() -> None:
    """One whose ``train`` raises."""
    copied, _ = copy_model(model_of(_OddTrain()))
    assert not any(module.training for module in copied.net.modules())


def test_a_named_cam_layer_is_found_behind_what_is_put_around_it() -> None:
    """Where a tensor that torch does not know was registered; a black box stays one."""
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU())
    vars(net)["mean"] = torch.zeros(3)
    copied, _ = copy_model(replace(model_of(net), cam_layer="1"))
    assert isinstance(copied.net.get_submodule(str(copied.cam_layer)), nn.ReLU)
    assert isinstance(copy_model(model_of(lambda x: x.mean((2, 3))))[0].net, BlackBox)
