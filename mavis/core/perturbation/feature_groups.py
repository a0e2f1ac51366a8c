"""Units of an image (cells, superpixels, face parts) and the model's logits without some of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from mavis.core import attribution_maps
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter, DataError
from mavis.core.model_pass import Pass
from mavis.core.perturbation.imputers import Imputer
from mavis.core.perturbation.superpixels import MAX_SUPERPIXELS, superpixels
from mavis.core.types import PART_CODES

Unit = Literal["cell", "segment", "part"]
"""``cell``: of a square grid; ``segment``: superpixel of the image; ``part``: face part that the image shows."""


@dataclass(frozen=True)
class FeatureMask:
    """The units of a batch; the number of units may differ between images.

    Attributes:
        ids: ``(B,H,W)`` int64, the unit of each pixel, numbered from 0 in each image.
        n_units: ``(B,)`` int64, number of units of each image.
        max_units: upper limit for every image of any batch. Random sets are drawn for this number of units, so that
            the draws of an image do not depend on the others in its batch.
    """

    ids: Tensor
    n_units: Tensor
    max_units: int

    @cached_property
    def is_present(self) -> Tensor:
        """``(B,n)`` bool, true for the units that each image has; n is the maximum over this batch."""
        return torch.arange(int(self.n_units.max()), device=self.n_units.device) < self.n_units[:, None]

    def to_pixels(self, values: Tensor) -> Tensor:
        """Divides each unit's value ``(B,n)`` evenly among its pixels: ``(B,1,H,W)`` float32."""
        flat = self.ids.flatten(1)
        pixels = torch.zeros_like(upcast(values)).scatter_add(1, flat, torch.ones_like(upcast(flat)))
        share = upcast(values) / pixels.clamp_min(1)
        return share.gather(1, flat).view(self.ids.shape)[:, None].float()


def check_unit(explainer: str, unit: str, cells: int) -> None:
    """Raises BadParameter for an unknown unit, or a number of cells per side that it cannot have."""
    max_cells = int((MAX_SUPERPIXELS // 2) ** 0.5)
    if unit not in get_args(Unit):
        raise BadParameter(f"{explainer}: unit must be one of {', '.join(get_args(Unit))}, got {unit!r}.")
    if not isinstance(cells, int) or cells < 1 or (unit == "segment" and cells > max_cells):
        raise BadParameter(
            f"{explainer}: cells must be a whole number, at least 1 and for segments at most {max_cells}, "
            f"got {cells!r}."
        )


def build_feature_mask(model_pass: Pass, unit: Unit, cells: int) -> FeatureMask:
    """The units of a batch.

    Args:
        model_pass: the pass.
        unit: kind of unit.
        cells: cells per side; there are about cells² superpixels; ignored for parts.

    Raises:
        DataError: the unit is ``part`` and the data have no parts.
    """
    if unit == "part":
        return _part_mask(model_pass)
    if unit == "segment":
        (labels,) = model_pass.compute_once(("superpixels", cells), lambda: (superpixels(model_pass.images, cells**2),))
        return FeatureMask(labels, labels.flatten(1).amax(1) + 1, MAX_SUPERPIXELS)
    index = torch.arange(cells**2, device=model_pass.images.device)
    labels = attribution_maps.cells_to_pixels(index, (model_pass.images.shape[2], model_pass.images.shape[3])).expand(
        len(model_pass), -1, -1
    )
    return FeatureMask(labels, torch.full((len(model_pass),), cells**2, device=labels.device), cells**2)


def _part_mask(model_pass: Pass) -> FeatureMask:
    """The parts that each image shows, numbered in the order of `PART_CODES`."""
    if model_pass.batch.parts is None:
        raise DataError("unit=part needs data whose face parts are known; use unit=segment or unit=cell for these.")
    codes = model_pass.batch.parts.long()
    is_shown = torch.zeros((len(codes), len(PART_CODES)), dtype=torch.int64, device=codes.device)
    is_shown = is_shown.scatter(1, codes.flatten(1), 1)
    labels = (is_shown.cumsum(1) - 1).gather(1, codes.flatten(1)).view_as(codes)
    return FeatureMask(labels, is_shown.sum(1), len(PART_CODES))


def logits_without_units(
    model_pass: Pass, targets: Tensor, feature_mask: FeatureMask, imputer: Imputer, removed: Tensor, selected: Tensor
) -> Tensor:
    """Target logits of the images without sets of their units.

    Args:
        model_pass: the pass.
        targets: ``(B,)``.
        feature_mask: units of the batch's images.
        imputer: fills removed pixels.
        removed: ``(B,M,n)`` bool, M sets for each image.
        selected: ``(B,M)`` bool, the sets for which the model is called.

    Returns:
        ``(B,M)`` float64, 0 where not selected.
    """
    rows, sets = selected.nonzero()[:, 0], removed[selected]
    labels = feature_mask.ids.flatten(1)

    def pixel_masks(indices: Tensor) -> Tensor:
        units = labels.index_select(0, rows.index_select(0, indices))
        return sets.index_select(0, indices).gather(1, units).view(-1, *feature_mask.ids.shape[1:])

    logits = upcast(torch.zeros(selected.shape, device=targets.device))
    logits[selected] = upcast(logits_without_pixels(model_pass, targets, imputer, rows, pixel_masks))
    return logits


def logits_without_pixels(
    model_pass: Pass, targets: Tensor, imputer: Imputer, rows: Tensor, removed_pixels: Callable[[Tensor], Tensor]
) -> Tensor:
    """Target logits ``(T,)`` of image ``rows[t]`` without some of its pixels, at most a chunk at a time.

    Args:
        model_pass: the pass.
        targets: ``(B,)``.
        imputer: fills removed pixels.
        rows: ``(T,)`` int64, rising.
        removed_pixels: ``(t (N,) int64) -> (N,H,W)`` bool, the pixels removed in each of N of the T masked images.
    """
    fill = imputer(model_pass)
    logits = [torch.zeros(0, device=targets.device)]
    for questions in torch.arange(len(rows), device=rows.device).split(model_pass.chunk) if len(rows) else ():
        image_rows, removed = rows.index_select(0, questions), removed_pixels(questions)
        is_single_image = bool(image_rows[0] == image_rows[-1])  # then the image need not be copied for each question
        imputed = (
            fill(image_rows[:1], removed[None])[0] if is_single_image else fill(image_rows, removed[:, None])[:, 0]
        )
        logits.append(model_pass.predict(imputed).gather(1, targets[image_rows][:, None])[:, 0])
    return torch.cat(logits)
