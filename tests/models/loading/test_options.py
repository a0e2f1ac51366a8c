"""Options behind a model's name: what they set, how the model is named, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import BadParameter, ModelError
from mavis.core.types import Model
from mavis.models.loading.open import open_model, open_models, with_output
from mavis.models.loading.options import apply_options
from mavis.models.loading.wrappers import DeferredModel, as_model

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
