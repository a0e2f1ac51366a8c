"""Image filters: Gaussian blur and uniform noise."""

import torch
from torch import Tensor, nn

from mavis.core.model_pass import Pass


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of ``(B,C,H,W)``: sigma in pixels, cut at 3σ, border reflected."""
    radius = max(1, min(int(3 * sigma + 0.5), min(images.shape[2:]) - 1))
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, -1)
    padded = nn.functional.pad(images, (radius,) * 4, mode="reflect")
    rows = nn.functional.conv2d(padded, kernel[..., None], groups=images.shape[1])
    return nn.functional.conv2d(rows, kernel[..., None, :], groups=images.shape[1])


def uniform_noise(model_pass: Pass, stream: str, radius: float) -> Tensor:
    """Noise ``(B,3,H,W)`` in U(−radius, radius), in units of the image's range, one draw per image."""
    shape = model_pass.images.shape[1:]
    return (model_pass.draw(stream, lambda g: torch.rand(shape, generator=g)) * 2 - 1) * radius
