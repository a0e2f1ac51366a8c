"""Promises: a network that answers an image by its neighbours, by chance or by memory is refused in a line."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mavis.core.errors import ModelError
from mavis.models.preparation.probe_images import varied_images
from mavis.models.preparation.promises import check_promises

from .networks import Probable, as_model, seeded

IMAGES = varied_images(16)
ALONE = "'tiny' answers an image differently alone and among others: its outputs differ by up to"
CHANGING = "'tiny' gives another answer each time: asked twice"


class Asked(Probable):
    """A linear network whose forward is a function of the network and the images."""

    def __init__(self, forward: Callable[["Asked", Tensor], Tensor]) -> None:
        super().__init__(lambda z: z)
        self.function, self.memory = forward, {}

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self, images)


def check(net: nn.Module) -> tuple[Tensor, tuple[str, ...]]:
    """Outputs and notes."""
    return check_promises(as_model(net, None), net, IMAGES)


def rescale(images: Tensor, *axes: int) -> Tensor:
    """Images between their smallest and largest value over some axes."""
    low, high = images.amin(axes, keepdim=True), images.amax(axes, keepdim=True)
    return (images - low) / (high - low)


def cache(net: Asked, images: Tensor) -> Tensor:
    """The first answer for every shape."""
    return net.memory.setdefault(images.shape, net.logits(images))


def count(net: Asked, images: Tensor) -> Tensor:
    """Adds a hundredth with each call."""
    net.memory["calls"] = net.memory.get("calls", 0) + 1
    return net.logits(images) + 0.01 * net.memory["calls"]


class TrainingNorm(Probable):
    """A batch normalisation that stays in training mode."""

    def __init__(self) -> None:
        super().__init__(lambda z: z)
        self.norm = nn.BatchNorm2d(3)

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.norm.train()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(self.norm(images))


DEPENDENT = {
    "batch extremes": lambda net, x: net.logits(rescale(x, 0, 1, 2, 3)),
    "batch statistics": lambda net, x: net.logits(F.batch_norm(x, None, None, training=True)),
    "softmax over the batch": lambda net, x: net.logits(x).softmax(0),
    "the best of the batch": lambda net, x: net.logits(x) * (net.logits(x) == net.logits(x).max()),
    "place in the batch": lambda net, x: net.logits(x) + 0.01 * torch.arange(len(x))[:, None],
    "large batches": lambda net, x: net.logits(x) * (1 + (len(x) > 8)),
    "same mask in every call": lambda net, x: net.logits(
        x * (torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) > 0.2)
    ),
    "cache by shape": cache,
}


@pytest.mark.parametrize("forward", DEPENDENT.values(), ids=DEPENDENT)
def test_an_answer_that_depends_on_the_batch_is_refused(forward: Callable[[Asked, Tensor], Tensor]) -> None:
    """With the size of the difference, and what follows from it."""
    with pytest.raises(ModelError, match=rf"{ALONE} [\d.e-]+ \(largest output .*scores would depend on --batch-size"):
        check(seeded(lambda: Asked(forward)))


@pytest.mark.parametrize(
    "build",
    [
        TrainingNorm,
        lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), Probable(lambda z: z)),
        lambda: nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(2),
            nn.TransformerEncoderLayer(16, 2, 32),
            nn.Flatten(),
            nn.Linear(48, 2),
        ),
    ],
    ids=["hidden training mode", "no running statistics", "attention between images"],
)
def test_modules_that_look_at_the_batch_are_refused(build: Callable[[], nn.Module]) -> None:
    """In evaluation mode too."""
    with pytest.raises(ModelError, match=ALONE):
        check(seeded(build))


@pytest.mark.parametrize(
    "forward",
    [
        count,
        lambda net, x: net.logits(F.dropout(x, 0.3, training=True)),
        lambda net, x: net.logits(x) + 0.1 * torch.randn(len(x), 2),
    ],
    ids=["counter", "dropout", "noise"],
)
def test_an_answer_that_changes_from_call_to_call_is_refused(forward: Callable[[Asked, Tensor], Tensor]) -> None:
    """What it remembers or draws is named as the cause."""
    with pytest.raises(ModelError, match=CHANGING):
        check(seeded(lambda: Asked(forward)))


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: net.logits(x),
        lambda net, x: net.logits(rescale(x, 1, 2, 3)),
        lambda net, x: 1e4 * net.logits(x),
        lambda net, x: net.logits(x).bfloat16(),
        lambda net, x: (net.logits(x) > 0).float(),
    ],
    ids=["plain", "scaled by image", "large outputs", "half precision", "votes"],
)
def test_an_answer_that_depends_on_its_image_alone_is_accepted(forward: Callable[[Asked, Tensor], Tensor]) -> None:
    """Without a word; its outputs are those for the images."""
    net = seeded(lambda: Asked(forward))
    outputs, notes = check(net)
    assert notes == ()
    torch.testing.assert_close(outputs, net(IMAGES))


def test_a_small_difference_is_noted() -> None:
    """Above rounding, below a thousandth of the largest output."""
    _, notes = check(seeded(lambda: Asked(lambda net, x: net.logits(x) + 1e-4 * x.mean())))
    (note,) = notes
    assert note.startswith("it answers an image differently alone and among others: its outputs differ by up to")
    assert note.endswith("and scores by about as much")
