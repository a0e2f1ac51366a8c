"""Superpixels: segments of an image that follow its edges (SLIC)."""

import numpy as np
import torch
from skimage.segmentation import slic
from torch import Tensor

MAX_SUPERPIXELS = 256
"""No image has more superpixels."""


def superpixels(images: Tensor, n_segments: int = 64, compactness: float = 10.0) -> Tensor:
    """Superpixels of each image.

    Args:
        images: ``(B,3,H,W)`` in [0,1].
        n_segments: approximate number per image, at most half of `MAX_SUPERPIXELS`.
        compactness: weight of distance in space against distance in colour.

    Returns:
        ``(B,H,W)`` int64 on the images' device, numbered from 0 in each image.

    Source: Achanta et al. 2012 (SLIC), as in scikit-image.
    """
    labels = [
        _segment_image(image, n_segments, compactness)
        for image in images.detach().permute(0, 2, 3, 1).cpu().double().numpy()
    ]
    return torch.from_numpy(np.stack(labels)).to(images.device)


def _segment_image(image: np.ndarray, n_segments: int, compactness: float) -> np.ndarray:
    labels = slic(image, n_segments=n_segments, compactness=compactness, start_label=0, channel_axis=2)
    return (
        np.unique(labels, return_inverse=True)[1].reshape(labels.shape).clip(max=MAX_SUPERPIXELS - 1).astype(np.int64)
    )
