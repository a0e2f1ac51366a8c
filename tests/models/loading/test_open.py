"""Opening of models: names, folders, specs and objects become models that share classes and data."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError, UnknownName
from mavis.core.registry import datasets, models
from mavis.engine.planning.plan import check_names
from mavis.models.loading import checkpoint
from mavis.models.loading.open import model_name, open_model, open_models
from mavis.models.loading.wrappers import as_model

CPU = torch.device("cpu")
CODE = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7))
"""


@pytest.fixture
def my_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A working folder with a module of models."""
    (tmp_path / "my_models.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_models", None)


def brightness(images: Tensor) -> Tensor:
    """Logits for seven classes from the mean of seven stripes."""
    return torch.stack([stripe.mean((1, 2, 3)) for stripe in images[:, :, :63].split(9, dim=2)], 1) * 10


def open_objects(*requested: object, data: object = "synthetic_faces"):
    """`open_models` with nothing chosen."""
    return open_models(requested, CPU, data, target=None, split=None)


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    """What training writes is opened by its path, and is prepared."""
    facts = {"architecture": "race_resnet", "classes": ["a", "b"], "target": "gender", "size": 32}
    checkpoint.save(tmp_path / "mine", checkpoint.build_network("race_resnet", 2, 32, seed=0), facts)
    model, _ = open_model(str(tmp_path / "mine"), CPU)
    assert (model.name, model.classes, model.size, model.cam_layer) == ("mine", ("a", "b"), 32, "tail.1.relu")
    assert not any(parameter.requires_grad for parameter in model.net.parameters())


def test_a_model_opened_by_name_has_the_classes_of_the_default_data() -> None:
    """The seven populations of the synthetic faces, unless others are given."""
    model, changes = open_model("torchvision:squeezenet1_1", CPU)
    assert len(model.classes) == 7
    assert model.cam_layer == "net.features"
    assert changes == ("26 in-place activations made ordinary", "CAM layer chosen: net.features (maps)")
    assert open_model("torchvision:squeezenet1_1", CPU, ("a", "b", "c"))[0].classes == ("a", "b", "c")


def test_a_typing_error_suggests() -> None:
    """In a registered name or a family, which is no module of the user's; a family alone says how to go on."""
    with pytest.raises(UnknownName, match="did you mean 'race_resnet'"):
        open_model("race_resnets", CPU)
    for name in ("torchvison:resnet18", "tim:resnet18"):
        with pytest.raises(UnknownName, match="model is named"):
            check_names([name], "synthetic_faces")
        with pytest.raises(UnknownName, match="model is named"):
            open_model(name, CPU)
    with pytest.raises(ModelError, match=r"'torchvision' is a family of models: torchvision:NAME"):
        open_model("torchvision", CPU)


def test_the_families_are_listed() -> None:
    """With the form of their specs."""
    for family in ("torchvision", "timm", "onnx"):
        assert models[family].traits.about.startswith(f"{family}:")


def test_models_and_functions_stand_side_by_side(my_models) -> None:
    """A model with classes decides the data; the others get its classes."""
    loaded, data = open_objects("race_resnet", "my_models:net", brightness)
    assert list(loaded) == ["race_resnet", "my_models:net", "brightness"]
    assert {model.classes for model, _ in loaded.values()} == {tuple(data.classes)}


def test_models_that_do_not_fit_together_are_refused(my_models) -> None:
    """One name twice, another size, other classes than those of the data."""
    with pytest.raises(ModelError, match="Two models are named 'my_models:net'"):
        open_objects("my_models:net", "my_models:net")
    with pytest.raises(ModelError, match=r"'race_resnet' and 'my_models:net@32' cannot stand side by side: 7 classes"):
        open_objects("race_resnet", "my_models:net@32")
    with pytest.raises(ModelError, match="cannot stand side by side"):
        open_objects("race_resnet", "part_sum", data=datasets["synthetic_faces"].create())


def test_the_outputs_of_a_black_box_are_checked() -> None:
    """Something that is no number, and too few logits."""
    with pytest.raises(ModelError, match="cannot be evaluated on images"):
        open_objects(lambda images: "yes")
    with pytest.raises(ModelError, match=r"must return logits \(B,7\)"):
        open_objects(lambda images: images.mean((2, 3)))


def test_a_network_is_evaluated_on_images_of_the_data_s_size() -> None:
    """One that takes 32 px only, on data of 32 px."""
    data = datasets["synthetic_faces"].create({"size": 32, "count": 10})
    loaded, opened = open_objects(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7)), data=data)
    assert list(loaded) == ["Sequential"]
    assert opened.table().equals(data.table())


def test_a_data_set_of_the_old_members_is_completed() -> None:
    """A user's object without the optional members has them after opening."""
    faces = datasets["planted_square"].create({"size": 32, "count": 4})
    required = ("name", "target", "classes", "attributes", "mean", "provenance")
    methods = ("table", "load", "unreadable", "revision")
    data = SimpleNamespace(**{name: getattr(faces, name) for name in (*required, *methods)})
    _, opened = open_objects("mask_mean", data=data)
    assert (opened.notes, opened.identity, opened.has_parts, opened.cues(["x"])) == ((), None, False, None)
    assert opened.table().equals(faces.table())


@pytest.mark.parametrize(
    ("model_like", "name"),
    [
        ("torchvision:resnet18", "torchvision:resnet18"),
        (nn.Flatten(), "Flatten"),
        (brightness, "brightness"),
        (as_model(models["mask_mean"].create(), "other"), "mask_mean"),
    ],
)
def test_names_of_models(model_like: object, name: str) -> None:
    """As written; of the class; of the function; the model's own."""
    assert model_name(model_like) == name
