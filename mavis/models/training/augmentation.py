"""Augmentation of training images: flip, shift, brightness, and cells replaced by the mean colour."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from mavis.core.attribution_maps import cells_to_pixels


@dataclass(frozen=True)
class Augmentation:
    """Small random changes that keep a face's label; each can be switched off with False or 0.

    Attributes:
        flip: mirror half of the images.
        shift: move each image by up to this share of its side, borders repeated.
        brightness: scale each image by up to this share, brighter or darker.
        drop: on half of the batches, replace cells of a ``grid × grid`` grid by the data set's mean colour; the share
            of cells is drawn per image from [0, ``drop``]. A net trained on such images is in distribution when a
            metric removes cells. Source: Hesse et al. 2024 (IDSDS), with a drawn share.
        grid: cells per side.
    """

    flip: bool = True
    shift: float = 0.05
    brightness: float = 0.12
    drop: float = 0.6
    grid: int = 16

    def __call__(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        """New images of the same shape.

        Args:
            images: ``(B,3,H,W)`` float32 in [0,1], on the CPU; left as they are.
            mean: ``(3,)`` the data set's mean colour.
            generator: of the draws.
        """
        if self.flip:
            mirrored = torch.rand(len(images), generator=generator) < 0.5
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        if self.shift:
            images = self._shift_images(images, generator)
        if self.brightness:
            factor = 1 + self.brightness * (2 * torch.rand(len(images), generator=generator) - 1)
            images = (images * factor[:, None, None, None]).clamp(0, 1)
        if self.drop and torch.rand((), generator=generator) < 0.5:
            images = self._drop_cells(images, mean, generator)
        return images

    def _shift_images(self, images: Tensor, generator: torch.Generator) -> Tensor:
        H, W = images.shape[-2:]
        reach = max(1, round(self.shift * W))
        padded = pad(images, (reach, reach, reach, reach), mode="replicate")
        moves = torch.randint(0, 2 * reach + 1, (len(images), 2), generator=generator).tolist()
        return torch.stack([image[:, y : y + H, x : x + W] for image, (y, x) in zip(padded, moves, strict=True)])

    def _drop_cells(self, images: Tensor, mean: Tensor, generator: torch.Generator) -> Tensor:
        share = self.drop * torch.rand(len(images), 1, generator=generator)
        is_dropped = torch.rand(len(images), self.grid**2, generator=generator) < share
        H, W = images.shape[-2:]
        return torch.where(cells_to_pixels(is_dropped, (H, W))[:, None], mean[:, None, None], images)
