"""A user's own function as a model, by its dotted path or as an object."""

import re
import sys
from pathlib import Path

import pytest
import torch

import mavis
from mavis.core.errors import MavisError, ModelError
from mavis.engine.planning.plan import check_names
from mavis.models.loading.open import open_model

CPU = torch.device("cpu")
CODE = """
import torch
from torch import nn
from mavis import Model

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7))

def for_classes(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, len(classes)))

def whole():
    return Model("mine", net(), tuple("abcdefg"), "r1", size=32)

def black_box():
    return lambda images: images.mean((2, 3)).numpy()[:, [0, 1, 2, 0, 1, 2, 0]]

from my_helpers import scale
GAIN = 1

class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net()
    def forward(self, images):
        return self.net(images) * GAIN * scale()

def scaled():
    return Scaled()

def whole_scaled():
    return Model("mine", Scaled(), tuple("abcdefg"), "r1")

def predict():
    network = net()
    return lambda images: network(images) * GAIN * scale()

def broken():
    raise ValueError("no weights here")

def nothing():
    return None
"""


@pytest.fixture(autouse=True)
def my_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working folder with a module of models."""
    (tmp_path / "my_models.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "my_helpers.py").write_text("GAIN = 1\ndef scale(): return GAIN\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield
    for module in ("my_models", "my_helpers"):
        sys.modules.pop(module, None)


@pytest.mark.parametrize("spec", ["my_models:net", "factory:my_models:net"])
def test_a_function_that_returns_a_network(spec: str) -> None:
    """With and without the family's name; its classes are the data's, its CAM layer is chosen."""
    model, _ = open_model(spec, CPU)
    assert (model.name, len(model.classes), model.cam_layer) == ("my_models:net", 7, "1")
    check_names([spec], "synthetic_faces")


def test_a_function_that_asks_for_the_classes() -> None:
    """It is told their names; @SIZE says for which images the network is made."""
    model, _ = open_model("my_models:for_classes@32", CPU, ("a", "b", "c"))
    assert model.size == 32
    assert model.net(torch.rand(2, 3, 32, 32)).shape == (2, 3)


def test_a_function_that_returns_a_model() -> None:
    """Its own name, classes and size; its revision, with that of the network behind it."""
    model, _ = open_model("my_models:whole", CPU)
    assert (model.name, model.classes, model.size) == ("mine", tuple("abcdefg"), 32)
    assert re.fullmatch(r"r1/[0-9a-f]{16}", model.revision)


@pytest.mark.parametrize("changed", ["my_models", "my_helpers"])
@pytest.mark.parametrize("name", ["scaled", "whole_scaled", "predict"])
def test_a_correction_of_the_code_is_another_model(name: str, changed: str, tmp_path: Path) -> None:
    """Of a network, a model with a revision of its own, a function; in its file or in a module that it imports."""
    before = open_model(f"my_models:{name}@32", CPU)[0].revision
    assert before == open_model(f"my_models:{name}@32", CPU)[0].revision
    path = tmp_path / f"{changed}.py"
    path.write_text(path.read_text().replace("GAIN = 1", "GAIN = 2"), encoding="utf-8")
    for module in ("my_models", "my_helpers"):
        sys.modules.pop(module, None)
    assert open_model(f"my_models:{name}@32", CPU)[0].revision != before


def test_a_function_that_returns_a_function() -> None:
    """A black box: only its answers are used, an array is as good as a tensor; they are its content hash."""
    model, _ = open_model("my_models:black_box", CPU)
    assert (model.capabilities, model.cam_layer) == ({"forward"}, None)
    images = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(model.net(images)[:, :3], images.mean((2, 3)))
    assert model.revision == open_model("my_models:black_box", CPU)[0].revision


def test_weights_go_into_the_network(tmp_path: Path) -> None:
    """And into the name; what is no network takes none."""
    state = open_model("my_models:net", CPU)[0].net.state_dict()
    torch.save({name: tensor + 1 for name, tensor in state.items()}, tmp_path / "more.pt")
    model, _ = open_model("my_models:net:more.pt", CPU)
    assert model.name == "my_models:net:more"
    torch.testing.assert_close(model.net[0].weight, state["0.weight"] + 1)
    with pytest.raises(ModelError, match="names weights, so its function must return a network"):
        open_model("my_models:black_box:more.pt", CPU)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("my_models:broken", "The function of 'my_models:broken' fails: ValueError: no weights here"),
        ("my_models:nothing", "'my_models:nothing' must be a mavis.Model, a network, or a function.* got NoneType"),
        ("my_models:absent", "The module 'my_models' has no 'absent'"),
        ("no_models:net", "Cannot import 'no_models'"),
    ],
)
def test_what_is_no_model_is_refused(spec: str, message: str) -> None:
    """A function that fails or returns nothing, and one that is not there."""
    with pytest.raises(MavisError, match=message):
        open_model(spec, CPU)


def brightness(images: torch.Tensor) -> torch.Tensor:
    """Logits for seven classes from the mean of seven stripes."""
    return torch.stack([stripe.mean((1, 2, 3)) for stripe in images[:, :, :63].split(9, dim=2)], 1) * 10


def test_a_callable_is_evaluated_as_a_black_box() -> None:
    """Methods that look inside are skipped with the reason; the others are scored."""
    result = mavis.evaluate(
        brightness,
        explainers=["saliency", "occlusion"],
        metrics=["gini", "valid"],
        groups=["race"],
        limit=7,
        device="cpu",
    )
    scores = result.to_frame()
    assert {"occlusion", "random"} <= set(scores["explainer"])
    assert set(scores["status"]) == {"ok"}
    assert not result.findings.failures
    assert any("saliency" in s.explainers and "needs gradient" in s.reason for s in result.findings.skipped)
