"""Changing images and models: imputers, noise, blur, randomised weights. Shared by explainers and metrics."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mavis import draws
from mavis.errors import BadParameter
from mavis.maps import cell_pixels
from mavis.passes import Pass
from mavis.registry import imputer
from mavis.types import Model

Filler = Callable[[Tensor, Tensor], Tensor]
"""``(rows (R,) int64, removed (R,n) bool) -> (R,3,H,W)``: image ``rows[r]`` of the batch without its removed cells."""

Imputer = Callable[[Pass], Filler]
"""Prepares a batch once, then removes cells from it any number of times. All channels of a pixel go together."""


def filling(images: Tensor, fill: Tensor) -> Filler:
    """A filler that puts ``fill`` (broadcastable to ``(B,3,H,W)``) where cells are removed."""
    fill = fill.expand_as(images)

    def remove(rows: Tensor, removed: Tensor) -> Tensor:
        pixels = cell_pixels(removed, (images.shape[2], images.shape[3]))
        return torch.where(pixels[:, None], fill[rows], images[rows])

    return remove


@imputer("mean", about="the data set's mean colour")
def mean_colour() -> Imputer:
    """The data set's mean colour: a constant of the data set, not of the image."""
    return lambda run: filling(run.images, run.mean[None, :, None, None])


@imputer("blur", about="the blurred image")
def blur(sigma: float = 0.0625) -> Imputer:
    """The image under a Gaussian blur.

    Args:
        sigma: standard deviation as a share of the image's height; (0, 0.5].
    """
    if not 0 < sigma <= 0.5:
        raise BadParameter(f"blur: sigma is a share of the image in (0, 0.5], got {sigma}.")
    return lambda run: filling(run.images, gaussian_blur(run.images, sigma * run.images.shape[2]))


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``(B,C,H,W)``: sigma in pixels, cut at 3σ, border reflected."""
    radius = max(1, min(int(3 * sigma + 0.5), min(images.shape[2:]) - 1))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = nn.functional.pad(images, (radius,) * 4, mode="reflect")
    rows = nn.functional.conv2d(padded, kernel[..., None], groups=images.shape[1])
    return nn.functional.conv2d(rows, kernel[..., None, :], groups=images.shape[1])


def uniform_noise(run: Pass, name: str, radius: float) -> Tensor:
    """Noise ``(B,3,H,W)`` in U(−radius, radius), in units of the image's range, one draw per image."""
    shape = run.images.shape[1:]
    return run.draw(name, lambda g: (torch.rand(shape, generator=g) * 2 - 1) * radius)


@dataclass(frozen=True)
class Variant:
    """Another input or another model under which a variant metric explains again; this one changes nothing."""

    @property
    def key(self) -> str:
        """Equal keys are computed once for all metrics and explainers."""
        return repr(self)

    def images(self, run: Pass) -> Tensor:
        """The images ``(B,3,H,W)`` to explain."""
        return run.images

    def model(self, model: Model, seed: int) -> Model:  # noqa: ARG002 (what subclasses take)
        """The model to explain."""
        return model


@dataclass(frozen=True)
class Noise(Variant):
    """The image plus uniform noise of ±radius per value, clipped to [0,1]; draw number `number`."""

    radius: float
    number: int

    def images(self, run: Pass) -> Tensor:
        """The noisy images."""
        return (run.images + uniform_noise(run, f"noise {self.number}", self.radius)).clamp(0, 1)


@dataclass(frozen=True)
class Randomised(Variant):
    """The model with all its parameters drawn anew; draw number `number`."""

    number: int

    def model(self, model: Model, seed: int) -> Model:
        """A randomised copy; the given model is unchanged."""
        net = randomised(model.net, draws.seed_of(seed, f"weights {self.number}"), model.size or 64)
        return replace(model, net=net, revision=f"{model.revision}/{self.key}")


def randomised(net: nn.Module, seed: int, size: int) -> nn.Module:
    """A copy whose parameters carry no trained information.

    Tensors of two or more dimensions are drawn from a normal distribution with mean 0 and the trained tensor's
    standard deviation (the root of its mean square where all its values are equal), and so are single values; vectors
    (biases, and the scales and shifts of normalisation layers) are put in another order, each tensor with its own
    stream. The running statistics of batch normalisation are measured anew on random images of side
    ``size``: kept or permuted, they would blow up the signal of the new weights.

    Source: Adebayo et al. 2018, section 3 (full randomisation).
    Differs: Quantus calls ``reset_parameters``, which sets normalisation layers to the identity and re-seeds every
    layer alike.
    """
    net = copy.deepcopy(net)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            stream = draws.generator(seed, name)
            if tensor.dim() >= 2 or tensor.numel() == 1:
                scale = tensor.std(correction=0).item() or tensor.square().mean().sqrt().item()
                tensor.copy_(torch.randn(tensor.shape, generator=stream) * scale)
            else:
                tensor.copy_(tensor[_another_order(len(tensor), stream).to(tensor.device)])
    _measure_statistics(net, seed, size)
    return net


def _another_order(count: int, stream: torch.Generator) -> Tensor:
    """A permutation of 0…count−1 that is not the identity: of two values, chance would keep every other pair."""
    order = torch.randperm(count, generator=stream)
    return order.roll(1) if order.equal(torch.arange(count)) else order


def _measure_statistics(net: nn.Module, seed: int, size: int) -> None:
    """Sets the running statistics of batch normalisation to those of 32 random images, half smooth, half noise."""
    layers = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not layers:
        return
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    stream = draws.generator(seed, "statistics")
    smooth = nn.functional.interpolate(torch.rand((16, 3, 8, 8), generator=stream), size=size, mode="bilinear")
    images = torch.cat([smooth, torch.rand((16, 3, size, size), generator=stream)])
    place = next(net.parameters())
    with torch.no_grad():
        net(images.to(place))
    for layer in layers:
        layer.eval()
