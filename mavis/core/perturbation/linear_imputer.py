"""The linear imputation of ROAD without its noise: a removed pixel is the weighted mean of its eight neighbours.

Rong, Leemann, Borisov, Kasneci, Kasneci, ICML 2022 (arXiv 2202.00449): noisy linear imputation.

Each mask is one linear system, solved exactly. In reading order a pixel's neighbours come within about one image row,
so the matrix is a narrow band, and LAPACK's banded Cholesky solves it for all channels at once. An iterative solver
would stop at a tolerance, and the filled values would depend on it.
"""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from threadpoolctl import ThreadpoolController
from torch import Tensor

from mavis.core.errors import BadParameter

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SIDE_WEIGHT, CORNER_WEIGHT = 2, 1
"""Weights of the neighbours in twelfths: 1/6 and 1/12."""

_thread_pools = ThreadpoolController()
"""Limits BLAS to one thread: several gain nothing on systems this small, and on a busy machine they wait for each
other and are 13 times slower."""


def impute_linearly(images: Tensor, removed: Tensor, mean: Tensor) -> Tensor:
    """Imputes the removed pixels of images from the remaining ones, which are unchanged bit for bit.

    Every mask is solved by itself, in double on the CPU: its result depends on nothing else in the batch.

    Differs: where no pixel is left, the paper's system (and Quantus's) is singular; here the mean colour is shown.

    Args:
        images: ``(O,3,H,W)`` float32 in [0,1].
        removed: ``(O,S,H,W)`` bool, S masks for each image; any pixels.
        mean: ``(3,)``, the colour that is shown where a mask leaves no pixel.

    Returns:
        ``(O,S,3,H,W)`` float32, on the device of the images.

    Raises:
        BadParameter: the masks are not bool or do not fit the images.
    """
    count, _, H, W = images.shape
    if removed.dtype != torch.bool or (len(removed), *removed.shape[2:]) != (count, H, W):
        expected = f"bool (O,S,H,W) = ({count},S,{H},{W})"
        raise BadParameter(f"Masks must be {expected}, got {removed.dtype} {tuple(removed.shape)}.")
    results = images.cpu()[:, None].repeat(1, removed.shape[1], 1, 1, 1)
    colour = mean.cpu()[:, None, None]
    with _thread_pools.limit(limits=1, user_api="blas"):
        for image, masks, row in zip(images.cpu().double().numpy(), removed.cpu().numpy(), results, strict=True):
            for mask, result in zip(masks, row, strict=True):
                if mask.all():
                    result[:] = colour
                elif mask.any():
                    _impute_mask(result.numpy(), image, mask)
    return results.to(images.device)


def _impute_mask(result: NDArray[np.float32], image: Floats, mask: Bools) -> None:
    """Writes the removed pixels ``mask (H,W)`` of one image ``(3,H,W)`` into the result."""
    if mask.sum(0).max() < mask.sum(1).max():  # reading by columns makes the band narrower
        result, image, mask = result.swapaxes(1, 2), image.swapaxes(1, 2), mask.T
    # Equation of a removed pixel: degree × value − weighted removed neighbours = weighted remaining neighbours. With
    # removed pixels at 0, the filter's sum at such a pixel is exactly the right side.
    zero_filled = np.where(mask, 0, image)
    right_side = _binomial_filter(zero_filled).reshape(len(image), -1).take(np.flatnonzero(mask), 1)
    solved = solveh_banded(
        _banded_matrix(mask).T, right_side.T, lower=True, overwrite_ab=True, overwrite_b=True, check_finite=False
    )
    result[:, mask] = solved.T


def _banded_matrix(mask: Bools) -> Floats:
    """The system, ``(n, width)``: row i holds the coefficients of the unknowns i, i+1, i+2, … in equation i.

    Each equation is multiplied by the sum of its pixel's weights, which makes the matrix symmetric (a graph Laplacian)
    and positive definite, as banded Cholesky needs. A border of one pixel keeps neighbours of one row from the next.
    """
    stride = mask.shape[1] + 2
    padded_index = np.flatnonzero(np.pad(mask, 1))
    unknown = np.arange(len(padded_index))
    unknown_at = np.zeros((mask.shape[0] + 2) * stride, np.intp)
    unknown_at[padded_index] = unknown
    offsets = np.array([1, stride - 1, stride, stride + 1])[:, None]
    distance = np.maximum(unknown_at.take(padded_index + offsets) - unknown, 0)
    width = int(distance.max()) + 1
    band = np.zeros(len(padded_index) * width)
    band[unknown * width + distance] = -np.array([SIDE_WEIGHT, CORNER_WEIGHT, SIDE_WEIGHT, CORNER_WEIGHT], float)[
        :, None
    ]
    band[::width] = _degrees(*mask.shape)[mask]  # overwrites the entries of remaining neighbours, at distance 0
    return band.reshape(-1, width)


@cache
def _degrees(H: int, W: int) -> Floats:
    """Sum of the weights of each pixel's neighbours, ``(H,W)``: 12 inside, 8 at a side, 5 in a corner."""
    return _binomial_filter(np.ones((H, W))) - 2 * SIDE_WEIGHT


def _binomial_filter(values: Floats) -> Floats:
    """Sums weighted 1 2 1 / 2 4 2 / 1 2 1, zero outside: the neighbours' sum where the pixel itself is zero."""
    *leading, H, W = values.shape
    padded = np.zeros((*leading, H + 2, W + 2))
    padded[..., 1:-1, 1:-1] = values
    rows = padded[..., 1:, :] + padded[..., :-1, :]
    rows = rows[..., 1:, :] + rows[..., :-1, :]
    pairs = rows[..., 1:] + rows[..., :-1]
    sums: Floats = pairs[..., 1:] + pairs[..., :-1]
    return sums
