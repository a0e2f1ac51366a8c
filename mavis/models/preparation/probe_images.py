"""Images on which a model is asked during preparation: varied ones in [0,1], and ones far beyond."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)

NOISE_SIZE = 64
"""Side of the images for a model that takes any size."""


def noise(n_images: int, size: int, seed: int = 0) -> Tensor:
    """Uniform noise ``(N,3,S,S)`` float32 in [0,1], always the same."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((n_images, 3, size, size), generator=generator, dtype=torch.float32)


def varied_images(size: int) -> Tensor:
    """Images ``(16,3,S,S)`` float32 in [0,1]: four times a drawing, noise, coarse noise and a nearly flat colour.

    Neighbours are of different kinds. None is constant, because standardising a constant image divides by zero.
    """
    fine, coarse = noise(4, size), F.interpolate(noise(4, 4, seed=1), size=size, mode="bilinear")
    flat = 0.02 * noise(4, size, seed=2) + torch.tensor([0.02, 0.35, 0.65, 0.96], dtype=torch.float32).view(4, 1, 1, 1)
    kinds = (_drawings(size), fine, coarse, flat)
    return torch.stack(kinds, dim=1).flatten(0, 1).contiguous()


def extreme_images(size: int) -> Tensor:
    """Noise ``(16,3,S,S)`` ten and a thousand times as strong as an image's, around grey.

    No probability leaves [0,1] for any input; a logit does.
    """
    strength = torch.tensor([10.0, 1000.0], dtype=torch.float32).repeat(8).view(16, 1, 1, 1)
    colours = noise(16, 1, seed=4)
    return (0.5 * noise(16, size, seed=3) + 0.5 * colours - 0.5) * strength + 0.5


def _drawings(size: int) -> Tensor:
    """Dim noise with a bright square at the left, the right, the top or the bottom: ``(4,3,S,S)``."""
    images = 0.2 + 0.2 * noise(4, size, seed=5)
    third = -(-size // 3)
    middle = slice(size // 3, size // 3 + third)
    for row, span in enumerate((slice(0, third), slice(size - third, size))):
        images[row, :, middle, span] = 0.9
        images[row + 2, :, span, middle] = 0.9
    return images
