"""Classifiers of torchvision by name: a head for the data's classes, the same weights every time, no download."""

import pytest
import torch
from safetensors.torch import save_file

from mavis.core.errors import BadParameter, ModelError, UnknownName
from mavis.core.registry import datasets, models
from mavis.core.types import Model
from mavis.models.loading.open import open_model

CPU = torch.device("cpu")
CLASSES = ("a", "b", "c")
SMALL = "squeezenet1_1"


def build(spec: str, classes: tuple[str, ...] = CLASSES) -> Model:
    """The model of a spec, as it comes from its factory."""
    model: Model = models["torchvision"].create({"spec": spec}).build(classes)
    return model


def test_the_head_has_a_logit_for_each_class() -> None:
    """As many as the data have, named after the network; the card says what it is."""
    model = build(SMALL)
    assert (model.name, model.classes, model.size) == (SMALL, CLASSES, 64)
    assert model.net(torch.rand(2, 3, 64, 64)).shape == (2, 3)
    assert model.card["about"] == "torchvision squeezenet1_1, random weights"


def test_random_weights_are_the_same_every_time() -> None:
    """Whatever torch's own generator does, which is left as it was."""
    torch.manual_seed(1)
    first = build(SMALL)
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    second = build(SMALL)
    assert first.revision == second.revision
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.net.state_dict().values(), second.net.state_dict().values(), strict=True)
    )
    assert first.revision != build(f"{SMALL}@96").revision


@pytest.mark.parametrize("spec", [SMALL, "mobilenet_v3_small", "resnet18"])
def test_random_weights_tell_images_apart(spec: str) -> None:
    """Logits differ from face to face by about one; fresh from the library some would by 1e-10."""
    faces = datasets["synthetic_faces"].create({"count": 12})
    net = build(spec).net
    with torch.no_grad():
        spread = net(faces.load(list(faces.table().index)).images).std(0).mean()
    assert 0.2 < spread < 40


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "pth"])
def test_weights_are_read_from_a_file(tmp_path, suffix: str) -> None:
    """They are in the network, and the file is in the name and in the content hash."""
    from torchvision.models import squeezenet1_1

    state = squeezenet1_1(weights=None, num_classes=3).state_dict()
    path = tmp_path / f"mine.{suffix}"
    save_file(state, path) if suffix == "safetensors" else torch.save({"state_dict": state}, path)
    model = build(f"{SMALL}:{path}")
    assert model.name == "squeezenet1_1:mine"
    assert all(torch.equal(model.net.state_dict()[f"net.{name}"], tensor) for name, tensor in state.items())
    assert model.revision != build(SMALL).revision
    with pytest.raises(ModelError, match=r"'classifier.1.weight' must be \(2, 512, 1, 1\), got \(3, 512, 1, 1\)"):
        build(f"{SMALL}:{path}", ("a", "b"))


def test_a_name_with_a_typing_error_suggests() -> None:
    """And says what a spec looks like, where it is none."""
    with pytest.raises(UnknownName, match="torchvision model is named 'resnet19'; did you mean 'resnet1"):
        models["torchvision"].create({"spec": "resnet19"})
    with pytest.raises(BadParameter, match=r"NAME\[@SIZE\]\[:WEIGHTS\]"):
        models["torchvision"].create({"spec": "resnet18@large"})


def test_sizes_that_networks_need() -> None:
    """64 px unless that is too few, or the user wants others; no network is made for the answer."""
    for spec, size in (("resnet18", 64), ("inception_v3", 96), ("vit_b_16@32", 32), ("resnet18@96", 96)):
        model = models["torchvision"].create({"spec": spec})
        assert (model.size, model.name) == (size, spec)


def test_the_relu_of_residual_blocks_is_taken_apart() -> None:
    """Each block of a ResNet calls its ReLU twice: eight more modules, the layer before the pooling for CAM."""
    model, changes = open_model("torchvision:resnet18", CPU, CLASSES)
    assert model.cam_layer == "net.layer4"
    assert "8 shared activations given a module for each place" in changes
