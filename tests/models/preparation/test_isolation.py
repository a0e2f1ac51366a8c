"""Isolation: what a stranger's network or function is handed and answers is copied."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.loading.architectures import build_race_resnet
from mavis.models.preparation.isolation import BlackBox, is_own_network, isolate_network

from .networks import noise_images, small_network


def channel_means(images: Tensor) -> np.ndarray:
    """Three logits, as an array of float64."""
    return images.mean((2, 3)).double().numpy()


def test_a_black_box_returns_a_tensor_without_gradient() -> None:
    """An array of float64 becomes a tensor of float32; a copy shares the callable."""
    net = BlackBox(channel_means)
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    logits = net(images)
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    torch.testing.assert_close(logits, images.detach().mean((2, 3)))
    assert copy.deepcopy(net).function is channel_means


def test_a_black_box_has_a_device_but_no_weights() -> None:
    """Its buffer tells the device and is in no checkpoint."""
    net = BlackBox(channel_means)
    assert [buffer.device.type for buffer in net.buffers()] == ["cpu"]
    assert net.state_dict() == {}


BUFFER = np.zeros((16, 3), np.float32)
KEPT: list[Any] = []


def normalise_array(images: Tensor) -> np.ndarray:
    """Writes into its argument through numpy."""
    pixels = images.numpy()
    pixels *= 0.5
    return 2 * pixels.mean((2, 3))


def normalise_tensor(images: Tensor) -> Tensor:
    """Writes into its argument."""
    return images.sub_(1).mean((2, 3)) + 1


def reuse_buffer(images: Tensor) -> np.ndarray:
    """Answers into one buffer."""
    BUFFER[: len(images)] = channel_means(images)
    return BUFFER[: len(images)]


def keep_all(images: Tensor) -> Tensor:
    """Overwrites what it was handed and what it answered before."""
    for kept in KEPT:
        kept.fill_(7)
    KEPT[:] = [images, images.mean((2, 3))]
    return KEPT[1]


def view_image(images: Tensor) -> Tensor:
    """Returns a view of what it was handed, constant images make it the mean."""
    return images[:, :, 0, 0]


def reverse_array(images: Tensor) -> np.ndarray:
    """An array with negative strides."""
    return np.ascontiguousarray(channel_means(images)[:, ::-1])[:, ::-1]


HOSTILE = [normalise_array, normalise_tensor, reuse_buffer, keep_all, view_image, reverse_array]


class Hostile(nn.Module):
    """A network around a function, whose ``forward`` cannot be traced."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        answer = self.function(images if images.max() < 1e9 else images[:0])
        return answer if isinstance(answer, Tensor) else torch.from_numpy(answer.astype(np.float32, copy=False))


@pytest.mark.parametrize("wrap", [BlackBox, lambda function: isolate_network(Hostile(function))])
@pytest.mark.parametrize("function", HOSTILE)
def test_neither_images_nor_earlier_answers_change(
    function: Callable[[Tensor], Any], wrap: Callable[[Callable[[Tensor], Any]], nn.Module]
) -> None:
    """A batch of eight, which the engine does not fill up; constant images, so that every function is the mean."""
    net = wrap(function)
    images = torch.rand(8, 3, 1, 1).expand(-1, -1, 4, 4).contiguous()
    before = images.clone()
    with torch.no_grad():
        first = net(images)
        kept = first.clone()
        second = net(images * 0.5)
    assert torch.equal(images, before)
    assert torch.equal(first, kept)
    torch.testing.assert_close(first, before.mean((2, 3)))
    torch.testing.assert_close(second, before.mean((2, 3)) / 2)


def test_hooks_of_the_user_work_on_the_copy_too() -> None:
    """A hook that normalises in place runs inside the door."""
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.register_forward_pre_hook(lambda _, inputs: (inputs[0].mul_(0.5),))
    images = torch.rand(8, 3, 4, 4)
    before = images.clone()
    torch.testing.assert_close(isolate_network(net)(images), before.mean((2, 3)) / 2)
    assert torch.equal(images, before)


def test_an_isolated_network_keeps_names_gradients_and_copies() -> None:
    """Its class has the same name, its layers too; gradients reach the image; a copy is isolated as well."""
    net = isolate_network(Hostile(normalise_tensor))
    assert type(net).__name__ == "Hostile"
    images = torch.rand(8, 3, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(copy.deepcopy(net)(images).sum(), images)
    torch.testing.assert_close(gradient, torch.full_like(images, 1 / 16))


def test_answers_are_float32() -> None:
    """Half precision and counts are read as float32."""
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int64):
        net = isolate_network(_Cast(dtype))
        assert net(torch.ones(8, 3, 2, 2)).dtype == torch.float32


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).to(self.dtype)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_exported_and_scripted_networks_are_put_into_another() -> None:
    """Their classes cannot be extended."""
    images = noise_images()
    for net in (torch.fx.symbolic_trace(small_network()), torch.jit.trace(small_network(), images)):
        torch.testing.assert_close(isolate_network(net)(images), small_network()(images))


def test_networks_of_libraries_are_not_copied_for() -> None:
    """Torch's own modules and those of MAVIS stay as they are; a function of a user is never MAVIS's own."""
    net = small_network()
    assert isolate_network(net) is net
    assert type(net) is nn.Sequential
    assert is_own_network(build_race_resnet(2, 64))
    assert not any(map(is_own_network, (net, BlackBox(channel_means), Hostile(channel_means))))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"logits": 1}, "dict with the keys 'logits'"),
        (None, "NoneType"),
        (np.ones((8, 2), complex), "ndarray"),
        (torch.ones(8, 2, dtype=torch.complex64), "of complex numbers"),
        ([[1.0], [1.0, 2.0]], "list of 2"),
    ],
)
def test_a_function_that_answers_no_numbers_is_told_so(answer: object, text: str) -> None:
    """The line says what was expected and what came."""
    with pytest.raises(ModelError, match=f"expected one row of real numbers per image, got .*{text}"):
        BlackBox(lambda _: answer)(torch.ones(8, 3, 2, 2))
