"""Similarity of two maps by structure (SSIM) and edges (HOG), and the histogram entropy of one map."""

import math

import torch
from torch import Tensor

from mavis.core.devices import upcast
from mavis.core.errors import ContractError

_RADIUS = 3
_WEIGHTS = [math.exp(-0.5 * (step / 1.5) ** 2) for step in range(-_RADIUS, _RADIUS + 1)]
_K1, _K2 = 0.01, 0.03
_ORIENTATIONS, _CELL, _BLOCK = 9, 16, 3
_CLIP, _EPS = 0.2, 1e-5


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of two maps, 1 for equal ones.

    The mean, over all windows that lie inside the map, of the product of the luminance term and the contrast-structure
    term. A window is a Gaussian of standard deviation 1.5 px on 7 × 7 px; the constants are K1 = 0.01 and K2 = 0.03
    times the range that both maps together span. Maps of different scale are dissimilar: normalise them first.

    Args:
        a: ``(B,H,W)``, at least 7 × 7.
        b: ``(B,H,W)``.

    Returns:
        ``(B,)`` in [−1,1]; NaN where both maps are constant, or one is not finite.

    Raises:
        ContractError: the maps are smaller than the window.

    Source: Wang et al. 2004, equation 13; protocol 2.10.
    Differs: a window of 7 px, where the paper has 11; scikit-image can only cut its Gaussian at 11. Quantus has a
    flat window of 7 px and sample variances.
    """
    if min(a.shape[-2:]) < 2 * _RADIUS + 1:
        raise ContractError(f"SSIM needs maps of at least 7 × 7 px, got {tuple(a.shape[-2:])}; use larger images.")
    value_range = _range(torch.stack([a, b], dim=1))
    x, y = upcast(a) / value_range, upcast(b) / value_range
    mx, my = _smooth(x), _smooth(y)
    vx, vy = _smooth(x * x) - mx * mx, _smooth(y * y) - my * my
    vxy = _smooth(x * y) - mx * my
    luminance = (2 * mx * my + _K1**2) / (mx * mx + my * my + _K1**2)
    structure = (2 * vxy + _K2**2) / (vx + vy + _K2**2)
    varied = _has_variation(a) | _has_variation(b)
    return torch.where(varied, (luminance * structure).mean((1, 2)), torch.nan).float()


def hog(values: Tensor) -> Tensor:
    """Histograms of oriented gradients (HOG): edge strength by direction, in blocks of cells.

    Nine directions without sign; cells of 16 × 16 px, in maps below 48 px a third of the shorter side; blocks of 3 × 3
    cells, each brought to length 1, cut at 0.2 and brought to length 1 again. Pixels beyond the last whole cell are
    not read.

    Args:
        values: ``(B,H,W)``, at least 3 × 3.

    Returns:
        ``(B,F)`` float64 in [0,1], 81 numbers per block.

    Raises:
        ContractError: the maps are smaller than 3 × 3.

    Source: Dalal and Triggs 2005; the settings are those of the code of Adebayo et al. 2018.
    """
    side = min(_CELL, min(values.shape[-2:]) // _BLOCK)
    if side < 1:
        raise ContractError(f"HOG needs maps of at least 3 × 3 px, got {tuple(values.shape[-2:])}; use larger images.")
    rows, columns = _gradient(upcast(values))
    magnitude, direction = torch.hypot(rows, columns), _orientation_bins(rows, columns)
    cells = torch.stack([_cell_means(magnitude * (direction == bin_), side) for bin_ in range(_ORIENTATIONS)], dim=-1)
    blocks = cells.unfold(1, _BLOCK, 1).unfold(2, _BLOCK, 1).permute(0, 1, 2, 4, 5, 3).flatten(3)
    return _l2_normalise(_l2_normalise(blocks).clamp(max=_CLIP)).flatten(1)


def hog_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two maps' histograms of oriented gradients, each map scaled to a range of 1.

    Neither the sign nor the scale of a map matters: the negative of a map has the same edges.

    Args:
        a: ``(B,H,W)``, at least 3 × 3.
        b: ``(B,H,W)``.

    Returns:
        ``(B,)`` in [0,1]; NaN where a map has no gradient in any cell, as a constant one, or is not finite.

    Source: Adebayo et al. 2018, arXiv 1810.03292; protocol 2.10.
    Differs: the paper takes Pearson's correlation of the two histograms, its code Spearman's.
    """
    x, y = (hog(upcast(values) / _range(values[:, None])) for values in (a, b))
    lengths = x.square().sum(1).sqrt() * y.square().sum(1).sqrt()
    return ((x * y).sum(1) / lengths).clamp(max=1).float()  # 0/0 is the NaN of a map without edges


def histogram_entropy(values: Tensor, bins: int = 100) -> Tensor:
    """Entropy, in nats, of the histogram of a map's values in ``bins`` equal bins from its lowest to its highest.

    Args:
        values: ``(B,H,W)``.
        bins: number of bins, at least 1.

    Returns:
        ``(B,)`` in [0, log bins]; 0 for a constant map, NaN where a map is not finite.

    Source: Hedström et al. 2023 (eMPRT), arXiv 2401.06465.
    Differs: the bins' borders are computed in double; those of Quantus have the map's own precision.
    """
    flat = upcast(values.flatten(1)).contiguous()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    borders = low + torch.arange(1, bins, device=flat.device, dtype=flat.dtype) * ((high - low) / bins)
    bin_index = torch.searchsorted(borders, flat, right=True)
    counts = torch.zeros((len(flat), bins), device=flat.device, dtype=flat.dtype)
    counts.scatter_add_(1, bin_index, torch.ones_like(flat))
    entropy = torch.special.entr(counts / flat.shape[1]).sum(1)
    return torch.where(flat.isfinite().all(1), entropy, torch.nan).float()


def _has_variation(values: Tensor) -> Tensor:
    """``(B,)`` bool: maps with more than one value."""
    return values.amax((1, 2)) > values.amin((1, 2))


def _range(values: Tensor) -> Tensor:
    """Highest minus lowest value of ``(B,M,H,W)`` as ``(B,1,1)``; 1 where there is only one."""
    flat = upcast(values).flatten(1)
    spread = flat.amax(1) - flat.amin(1)
    return torch.where(spread == 0, 1, spread)[:, None, None]


def _smooth(values: Tensor) -> Tensor:
    """Gaussian mean of every window that lies inside: ``(B,H,W)`` -> ``(B,H−6,W−6)``."""
    for dim in (1, 2):
        inside = values.shape[dim] - 2 * _RADIUS
        total = torch.zeros_like(values.narrow(dim, 0, inside))
        for start, weight in enumerate(_WEIGHTS):
            total += weight / sum(_WEIGHTS) * values.narrow(dim, start, inside)
        values = total
    return values


def _gradient(values: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of the two neighbours along rows and columns, zero at the border."""
    rows, columns = torch.zeros_like(values), torch.zeros_like(values)
    rows[:, 1:-1] = values[:, 2:] - values[:, :-2]
    columns[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    return rows, columns


def _orientation_bins(rows: Tensor, columns: Tensor) -> Tensor:
    """Bin of the angle in [0°,180°); opposite gradients are turned the same way first, so that their bins are equal."""
    turn = torch.where((rows < 0) | ((rows == 0) & (columns < 0)), -1, 1)
    angle = torch.atan2(rows * turn, columns * turn)
    borders = torch.arange(1, _ORIENTATIONS, device=rows.device, dtype=rows.dtype) * (math.pi / _ORIENTATIONS)
    return torch.bucketize(angle.contiguous(), borders, right=True)


def _cell_means(values: Tensor, side: int) -> Tensor:
    """Mean of every whole cell: ``(B,H,W)`` -> ``(B,H//side,W//side)``."""
    return torch.nn.functional.avg_pool2d(values, side)


def _l2_normalise(blocks: Tensor) -> Tensor:
    """Brings the last dimension to length 1; zeros stay."""
    return blocks / (blocks.square().sum(-1, keepdim=True) + _EPS**2).sqrt()
