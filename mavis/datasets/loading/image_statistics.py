"""Image statistics: brightness, contrast, sharpness and distance from the mean colour.

Gaps between groups can be adjusted for these four covariates.
"""

import torch
from torch import Tensor

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in an image's brightness, ITU-R BT.601."""

LAPLACIAN_KERNEL = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def image_statistics(images: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Per image ``(B,)`` float64, each image by itself.

    ``brightness``: mean luma, [0,1]. ``contrast``: standard deviation of luma, [0,0.5]. ``sharpness``: variance of the
    discrete Laplacian of luma over all pixels but those of the border, ≥ 0. ``imputation_contrast``: mean over pixels
    and channels of how far the image lies from the data set's mean colour, [0,1]: what the mean imputer changes.

    Args:
        images: ``(B,3,H,W)`` in [0,1], H and W at least 3.
        mean: ``(3,)`` the data set's mean colour.

    Source: contrast Peli 1990, root mean square; sharpness Pech-Pacheco et al. 2000; protocol 2.2 and 2.13.
    """
    pixels = images.cpu().double()
    luma = (pixels * torch.tensor(LUMA_WEIGHTS, dtype=torch.float64)[:, None, None]).sum(dim=1)
    kernel = torch.tensor(LAPLACIAN_KERNEL, dtype=torch.float64)[None, None]
    edges = torch.nn.functional.conv2d(luma[:, None], kernel)
    return {
        "brightness": luma.mean(dim=(1, 2)),
        "contrast": luma.std(dim=(1, 2), correction=0),
        "sharpness": edges.var(dim=(1, 2, 3), correction=0),
        "imputation_contrast": (pixels - mean.cpu().double()[:, None, None]).abs().mean(dim=(1, 2, 3)),
    }
