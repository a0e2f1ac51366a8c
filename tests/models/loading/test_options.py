"""Options behind a model's name: what they set, how the model is named, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mavis.core.errors import BadParameter, ModelError
from mavis.core.types import Model
from mavis.models.loading.open import open_model, open_models, with_output
from mavis.models.loading.options import apply_options
from mavis.models.loading.wrappers import DeferredModel, as_model
from mavis.models.preparation.prepare import prepare_model

CPU = torch.device("cpu")


class Softmax(nn.Module):
    """Probabilities of two classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3, 2)

    def forward(self, images: Tensor) -> Tensor:
        return (9 * self.head(images.mean((2, 3)))).softmax(1)


def test_a_model_gets_the_option_a_name_and_a_hash() -> None:
    """Before and after its classes are known."""
    deferred = as_model(Softmax(), "mine", 8)
    changed = apply_options(deferred, {"output": "logits"})
    assert isinstance(changed, DeferredModel)
    plain, model = deferred.build(("a", "b")), changed.build(("a", "b"))
    assert (model.name, model.output_kind) == (changed.name, "logits") == ("mine?output=logits", "logits")
    assert model.revision not in (plain.revision, apply_options(plain, {"output": "sigmoids"}).revision)
    assert apply_options(plain, {"output": "logits"}).revision == model.revision
    assert apply_options(plain, {}) is plain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outptu": "logits"}, r"no option 'outptu', got \?outptu=logits; there are: output"),
        ({"channels": "gbr"}, r"\?channels= must be rgb, bgr or grey, got 'gbr'"),
        ({"mean": "1,2"}, r"\?mean= must be a number or 3, with commas, got '1,2'"),
        ({"channels": "grey", "std": "1,2,3"}, r"\?std= must be a number, got '1,2,3'"),
        ({"scale": "inf"}, r"\?scale= must be a number, got 'inf'"),
        ({"std": "0"}, r"\?scale= and \?std= must be above 0"),
        ({"output": "logit"}, r"\?output= must be one of logits, log_probabilities, .*, got 'logit'"),
    ],
)
def test_other_options_are_refused(options: dict[str, str], message: str) -> None:
    """A typing error in the key or the value, before the model is built."""
    with pytest.raises(BadParameter, match=message):
        apply_options(as_model(Softmax(), "mine"), options)


def test_every_name_takes_options() -> None:
    """A registered model here; the note says what was done."""
    model, changes = open_model("mask_mean?output=sigmoids", CPU)
    assert model.name == "mask_mean?output=sigmoids"
    assert "outputs are read as output=sigmoids says" in changes
    with pytest.raises(ModelError, match="output=one_logit needs one output per image, got 2"):
        open_model("mask_mean?output=one_logit", CPU)


def test_an_object_takes_the_option_from_python() -> None:
    """As a name does; without the option it is handed on as it is."""
    net = Softmax()
    assert with_output(net, None) is net
    assert with_output("onnx:a.onnx", "percent") == "onnx:a.onnx?output=percent"
    loaded, _ = open_models([with_output(net, "logits")], CPU, "planted_square", target=None, split=None)
    ((model, changes),) = loaded.values()
    assert isinstance(model, Model)
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(model.net(images), net(images))
    assert "outputs are read as output=logits says" in changes


class Caffe(nn.Module):
    """Two logits of images in blue, green and red, from 0 to 255, without their mean."""

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return torch.stack([images[:, 0].mean((1, 2)), images[:, 2].amax((1, 2))], 1)


class Grey(nn.Module):
    """Two logits of images of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).mean((2, 3))


MEANS = (103.939, 116.779, 123.68)


@pytest.mark.parametrize("as_function", [False, True])
def test_the_input_is_what_the_options_say(as_function: bool) -> None:
    """Channels first, then scale, mean and deviation; of a network and of a function."""
    net = Caffe()
    given = net.forward if as_function else net
    options = {"mean": "103.939,116.779,123.68", "channels": "bgr", "std": "2", "scale": "255", "output": "logits"}
    images = torch.rand((5, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    expected = net((255 * images.flip(1) - torch.tensor(MEANS)[:, None, None]) / 2)
    model = apply_options(as_model(given, "caffe", 8), options).build(("a", "b"))
    torch.testing.assert_close(model.net(images), expected, rtol=1e-5, atol=1e-4)
    prepared, _ = prepare_model(model, CPU)
    torch.testing.assert_close(prepared.net(images), expected, rtol=1e-5, atol=1e-4)
    assert ("gradient" in prepared.capabilities) != as_function


def test_grey_is_that_of_pillow() -> None:
    """To a step of its eight bits; the name of a CAM layer follows."""
    pixels = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    grey = np.array(Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).convert("L"))
    seen: list[Tensor] = []
    net = Grey()
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    options = {"channels": "grey", "scale": "255"}
    model = apply_options(Model("grey", net, ("a", "b"), "1", cam_layer="conv"), options)
    assert isinstance(model, Model)
    model.net(pixels.float() / 255)
    np.testing.assert_allclose(seen[0][0, 0], grey, atol=1)
    assert model.net.get_submodule(str(model.cam_layer)) is net.conv
