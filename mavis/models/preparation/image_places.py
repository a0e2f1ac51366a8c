"""Image places: outputs of modules whose axes are places of the image, measured by moving a strip.

A shape does not tell: ``(B,C,h,w)`` may be maps, or one attention matrix per head, and tokens may stand in any order.
So a strip of the image is exchanged at each of four places in turn, along each axis. Where an axis is one of the image,
the part of the output that changes moves with the strip.
"""

import torch
from torch import Tensor

STRIPS = 4
"""Places of the strip along each axis."""
MIN_CORRELATION = 0.5
"""Of a place in the output with the place of the strip to which it answers most. Measured over 14 architectures with
random weights: image axes have .61 or more, axes of attention matrices and of tokens in another order .45 or less."""
MIN_INTERACTION = 0.2
"""Below this the output answers alike everywhere, as in deep layers of 2 × 2 places, and the measurement says nothing;
measured: attention matrices have .3 or more."""
FLOOR = 1e-3
"""Smallest change that is told apart from none, as a share of the largest."""


def exchange_strips(images: Tensor) -> Tensor:
    """``(1 + 8,3,S,S)``: the first image, and it with one of four rows, then one of four columns, from the second.

    Args:
        images: two unlike images ``(2,3,S,S)``.
    """
    base, source = images[:1], images[1:2]
    size = images.shape[-1]
    places = (torch.arange(size, device=images.device) * STRIPS).div(size, rounding_mode="floor")
    is_inside = [places == strip for strip in range(STRIPS)]
    rows = [torch.where(inside[:, None], source, base) for inside in is_inside]
    columns = [torch.where(inside[None, :], source, base) for inside in is_inside]
    return torch.cat([base, *rows, *columns])


def has_image_axes(maps: Tensor) -> bool:
    """True where the two last axes of an output can be those of the image: nothing measured speaks against it.

    Args:
        maps: ``(1 + 8,C,h,w)``, the output for the images of `exchange_strips`.
    """
    changes = (maps[1:] - maps[:1]).abs().double().sum(1)
    if min(changes.shape[1:]) < 2 or not changes.isfinite().all() or not changes.any():
        return False
    by_row, by_column = changes.split(STRIPS)
    return _moves_with_strip(by_row.sum(2)) and _moves_with_strip(by_column.sum(1))


def _moves_with_strip(changes: Tensor) -> bool:
    """True unless places further along an axis of the output answer to other strips than those further along.

    Args:
        changes: ``(4,n)``, by place of the strip and place in the output.
    """
    logarithm = (changes + FLOOR * changes.max()).log()
    # Without what a strip changes everywhere, and what a place answers to every strip.
    interaction = logarithm - logarithm.mean(0) - logarithm.mean(1, keepdim=True) + logarithm.mean()
    if interaction.std() < MIN_INTERACTION:
        return True
    weights = interaction.clamp_min(0)
    is_active = weights.sum(0) > 0
    if is_active.sum() < 2:
        return False
    strips, places = (torch.arange(count, device=changes.device, dtype=changes.dtype) for count in changes.shape)
    answered = (weights * strips[:, None]).sum(0) / weights.sum(0)
    correlation = torch.corrcoef(torch.stack([places[is_active], answered[is_active]]))[0, 1]
    return bool(correlation >= MIN_CORRELATION)
