"""Classifiers of timm by name, where timm is installed; a clear word where it is not."""

import sys

import pytest
import torch

from mavis.core.errors import ModelError, UnknownName
from mavis.core.registry import models
from mavis.models.loading.open import open_model

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with what to install."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"need the package timm: pip install 'mavis-xai\[timm\]'"):
        open_model("timm:resnet18", CPU)


@pytest.fixture
def timm():
    """The library; skips where it is not installed."""
    return pytest.importorskip("timm", reason="timm is not installed (extra timm)")


def test_a_network_of_timm_has_the_data_s_classes(timm) -> None:
    """It gets images in [0,1] and normalises them as timm says; the same weights every time."""
    model, _ = open_model("timm:resnet10t", CPU, CLASSES)
    assert (model.name, model.classes, model.size) == ("resnet10t", CLASSES, 64)
    assert model.net(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    config = timm.get_pretrained_cfg("resnet10t")
    torch.testing.assert_close(model.net.mean.flatten(), torch.tensor(config.mean))
    assert model.revision == open_model("timm:resnet10t", CPU, CLASSES)[0].revision


def test_a_transformer_is_told_the_size(timm) -> None:
    """Its patches are read as maps before the class token's last word."""
    model, changes = open_model("timm:vit_tiny_patch16_224@32", CPU, CLASSES)
    assert model.size == 32
    assert model.cam_layer == "net.blocks.11.norm1"
    assert "CAM layer chosen: net.blocks.11.norm1 (tokens)" in changes


def test_weights_are_read_from_a_file(timm, tmp_path) -> None:
    """Of the same architecture and number of classes."""
    state = timm.create_model("resnet10t", num_classes=3).state_dict()
    torch.save(state, tmp_path / "mine.pth")
    model, _ = open_model(f"timm:resnet10t:{tmp_path / 'mine.pth'}", CPU, CLASSES)
    assert model.name == "resnet10t:mine"
    assert torch.equal(model.net.net.fc.weight, state["fc.weight"])


def test_a_name_with_a_typing_error_suggests(timm) -> None:
    """The nearest of timm's names."""
    with pytest.raises(UnknownName, match="timm model is named 'resnet19'; did you mean 'resnet"):
        models["timm"].create({"spec": "resnet19"})
