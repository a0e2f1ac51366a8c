"""Answers that are no logits: one line each that says what came, what is expected and what to do."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.preparation.answers import check_outputs, describe_answer, evaluate_network, is_close

from .networks import as_model, noise_images, small_network


@dataclass
class Output:
    """An answer with fields."""

    loss: float
    logits: Tensor


Pair = namedtuple("Pair", "logits features")


class Wrapped(nn.Module):
    """A network whose logits are put into something."""

    def __init__(self, wrap: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.wrap = small_network(), wrap

    def forward(self, images: Tensor) -> Any:
        return self.wrap(self.net(images))


@pytest.mark.parametrize(
    ("wrap", "text"),
    [
        (lambda y: {"loss": 0, "logits": y}, r"dict with the keys 'loss', 'logits'; .*returns output\['logits'\]"),
        (lambda y: (y, y), r"tuple of 2; .*returns output\[0\]"),
        (lambda y: [y], r"list of 1; .*returns output\[0\]"),
        (lambda y: Output(0.0, y), r"Output with the fields 'loss', 'logits'; .*returns output\.logits"),
        (lambda y: Pair(y, y), r"Pair with the fields 'logits', 'features'; .*returns output\.logits"),
        (lambda y: y.numpy(), r"ndarray; wrap it so that forward returns the logits"),
        (lambda _: None, r"NoneType; wrap it"),
    ],
)
def test_an_answer_that_is_no_tensor(wrap: Callable[[Tensor], Any], text: str) -> None:
    """The place of the logits is named where it can be seen."""
    model = as_model(Wrapped(wrap), None)
    with pytest.raises(ModelError, match=rf"'tiny' must return a tensor of logits \(B,2\), got {text}"):
        evaluate_network(model, model.net, noise_images())


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.float64, "float64")])
def test_weights_of_another_type(dtype: torch.dtype, name: str) -> None:
    """In words of MAVIS, not of torch."""
    model = as_model(small_network().to(dtype), None)
    with pytest.raises(ModelError, match=f"'tiny' has weights in {name} and is given images in float32; call .float"):
        evaluate_network(model, model.net, noise_images())


def test_an_exception_is_one_line() -> None:
    """Its type and the first line of its message."""

    def fail(_: Tensor) -> Tensor:
        raise ValueError("first\nsecond")

    model = as_model(Wrapped(fail), None)
    with pytest.raises(ModelError) as raised:
        evaluate_network(model, model.net, noise_images())
    assert str(raised.value) == "'tiny' cannot be evaluated on images (3, 3, 32, 32): ValueError: first"


@pytest.mark.parametrize(
    ("outputs", "text"),
    [
        (torch.zeros(3, 1000), r"got \(3, 1000\): 1000 outputs for 2 classes \('a', 'b'\); give the last layer 2"),
        (torch.zeros(3), r"got \(3,\); return outputs\[:, None\] if this is one logit per image"),
        (torch.zeros(3, 2, 4, 4), r"got \(3, 2, 4, 4\); average over all axes but the first two"),
        (torch.zeros(1, 2), r"got \(1, 2\)\."),
        (torch.zeros(3, 2, dtype=torch.complex64), r"got \(3, 2\) of complex numbers"),
    ],
)
def test_another_shape(outputs: Tensor, text: str) -> None:
    """The number of classes, labels, maps, one answer for all images, complex numbers."""
    model = as_model(small_network(), None)
    with pytest.raises(ModelError, match=rf"must return logits \(B,2\) = \(3,2\), one per class, .*{text}"):
        check_outputs(model, outputs, noise_images())


def test_one_output_for_two_classes_is_accepted() -> None:
    """It is made two later."""
    check_outputs(as_model(small_network(1), None), torch.zeros(3, 1), noise_images())


def test_many_keys_are_cut() -> None:
    """Three and a count."""
    assert describe_answer(dict.fromkeys("abcde")) == "dict with the keys 'a', 'b', 'c', … (5)"


def test_outputs_are_close_up_to_rounding() -> None:
    """Relative to the largest, of one shape."""
    outputs = torch.tensor([[1000.0, 0.0]])
    assert is_close(outputs + 0.009, outputs)
    assert not is_close(outputs + 0.02, outputs)
    assert not is_close(outputs[:, :1], outputs)
