"""Made explainable on a copy: same answers, and the original as it was."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mavis.errors import ModelError
from mavis.preflight import prepare
from mavis.types import Model

CPU = torch.device("cpu")


def net(classes: int = 2) -> nn.Sequential:
    """A small network with in-place ReLUs, dropout and batch normalisation."""
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes),
    )  # fmt: skip
    return found.eval()


def model(network: nn.Module, cam_layer: str | None = "4") -> Model:
    """A model of two classes around it."""
    return Model("tiny", network, ("a", "b"), "r1", cam_layer=cam_layer, size=32)


def test_in_place_activations_become_ordinary() -> None:
    """On the copy only; the answers are the same, and what was done is said."""
    original, images = net(), torch.rand(3, 3, 32, 32)
    found, done = prepare(model(original), CPU)
    assert [m.inplace for m in found.net if isinstance(m, nn.ReLU)] == [False, False]
    assert [m.inplace for m in original if isinstance(m, nn.ReLU)] == [True, True]
    assert done == ("2 in-place activations made ordinary",)
    torch.testing.assert_close(found.net(images), original(images))


def test_the_original_stays_as_it_was() -> None:
    """Its modes module by module, its weights and buffers, and that they want gradients."""
    original = net().train()
    original[1].eval()
    state = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    found, done = prepare(model(original), CPU)
    assert [m.training for m in original] == [True, False, *[True] * 7]
    assert not any(m.training for m in found.net.modules())
    assert "put into evaluation mode" in done
    assert all(torch.equal(state[name], tensor) for name, tensor in original.state_dict().items())
    assert all(p.requires_grad for p in original.parameters())
    assert not any(p.requires_grad for p in found.net.parameters())
    assert found.net is not original


def test_the_original_stays_as_it_was_after_an_error() -> None:
    """A model that is refused is handed back in its own mode."""
    original = net(3).train()
    with pytest.raises(ModelError):
        prepare(model(original), CPU)
    assert all(m.training for m in original.modules())


def test_nothing_to_do_says_nothing() -> None:
    """A model that is explainable already is only copied."""
    found, done = prepare(model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval(), cam_layer=None), CPU)
    assert done == ()
    assert (found.name, found.classes, found.revision) == ("tiny", ("a", "b"), "r1")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    """The first such tensor, be it a weight or a buffer."""
    for name in ("3.weight", "1.running_var"):
        broken = net()
        broken.state_dict()[name].view(-1)[0] = value
        with pytest.raises(ModelError, match=f"'tiny' has weights that are NaN or infinite, first in '{name}'"):
            prepare(model(broken), CPU)


class _Answering(nn.Module):
    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> object:
        """Whatever it was made to say."""
        return self.answer(images)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.new_zeros(len(x), 3), r"must return logits \(B,2\) = \(2,2\).* got \(2, 3\)"),
        (lambda x: x.new_zeros(len(x)), r"got \(2,\)"),
        (lambda x: (x.new_zeros(len(x), 2),), "got tuple"),
        (lambda x: x.new_full((len(x), 2), float("nan")), "NaN or infinite logits"),
        (lambda x: x @ x.new_zeros(5, 5), r"cannot be evaluated on images \(2, 3, 32, 32\): RuntimeError"),
    ],
)
def test_a_net_that_is_no_classifier_is_refused(answer: Callable[[Tensor], object], message: str) -> None:
    """Another number of logits, another shape, no tensor, no numbers, an exception: each says what was expected."""
    with pytest.raises(ModelError, match=message):
        prepare(model(_Answering(answer), cam_layer=None), CPU)


def test_a_missing_cam_layer_is_named() -> None:
    """With the last modules there are."""
    with pytest.raises(ModelError, match=r"'tiny' has no module 'layer9' for CAM; its last ones: \['6', '7', '8'\]"):
        prepare(model(net(), "layer9"), CPU)


def test_a_model_that_works_in_place_on_its_input_is_accepted() -> None:
    """An in-place first layer does not spoil the comparison of before and after."""
    found, _ = prepare(model(nn.Sequential(nn.Hardtanh(0.4, 0.6, inplace=True), *net()), "5"), CPU)
    images = torch.rand(2, 3, 32, 32)
    before = images.clone()
    found.net(images)
    assert torch.equal(images, before)


def test_answers_that_change_are_refused() -> None:
    """A net whose answers depend on whether it works in place is not explained as if it were the same."""

    class _Reading(nn.ReLU):
        def forward(self, images: Tensor) -> Tensor:
            return images * (2 if self.inplace else 3)

    network = nn.Sequential(_Reading(inplace=True), nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with pytest.raises(ModelError, match="answers differently after being made explainable"):
        prepare(replace(model(network), cam_layer=None), CPU)
