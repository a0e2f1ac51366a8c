"""Units of an image — cells, superpixels, face parts — and what the model says without some of them."""

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
"""``cell`` of a square grid, ``segment``: superpixel of the image, ``part``: a face part that the image shows."""


@dataclass(frozen=True)
class FeatureMask:
    """The units of a batch; images may have different numbers of them, and none sees how many another has.

    Attributes:
        ids: ``(B,H,W)`` int64, the unit of each pixel, numbered from 0 in each image.
        n_units: ``(B,)`` int64, how many units each image has.
        max_units: no image of any batch has more; what is drawn is drawn for so many.
    """

    ids: Tensor
    n_units: Tensor
    max_units: int

    @cached_property
    def is_present(self) -> Tensor:
        """``(B,n)`` bool, which of n units each image has; n is the most that any image of this batch has."""
        return torch.arange(int(self.n_units.max()), device=self.n_units.device) < self.n_units[:, None]

    def to_pixels(self, values: Tensor) -> Tensor:
        """Each unit's value ``(B,n)``, shared out evenly among its pixels: ``(B,1,H,W)`` float32."""
        flat = self.ids.flatten(1)
        pixels = torch.zeros_like(upcast(values)).scatter_add(1, flat, torch.ones_like(upcast(flat)))
        share = upcast(values) / pixels.clamp_min(1)
        return share.gather(1, flat).view(self.ids.shape)[:, None].float()


def check_unit(explainer: str, unit: str, cells: int) -> None:
    """Raises BadParameter for a unit that there is not, or a number of cells per side that it cannot have."""
    most = int((MAX_SUPERPIXELS // 2) ** 0.5)
    if unit not in get_args(Unit):
        raise BadParameter(f"{explainer}: unit must be one of {', '.join(get_args(Unit))}, got {unit!r}.")
    if not isinstance(cells, int) or cells < 1 or (unit == "segment" and cells > most):
        raise BadParameter(
            f"{explainer}: cells must be a whole number, at least 1 and for segments at most {most}, got {cells!r}."
        )


def build_feature_mask(model_pass: Pass, unit: Unit, cells: int) -> FeatureMask:
    """The units of a batch.

    Args:
        model_pass: the pass.
        unit: which kind.
        cells: cells per side; there are about cells² superpixels; without meaning for parts.

    Raises:
        DataError: parts are asked for, and the data have none.
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
    shown = torch.zeros((len(codes), len(PART_CODES)), dtype=torch.int64, device=codes.device)
    shown = shown.scatter(1, codes.flatten(1), 1)
    labels = (shown.cumsum(1) - 1).gather(1, codes.flatten(1)).view_as(codes)
    return FeatureMask(labels, shown.sum(1), len(PART_CODES))


def logits_without_units(
    model_pass: Pass, targets: Tensor, feature_mask: FeatureMask, imputer: Imputer, removed: Tensor, selected: Tensor
) -> Tensor:
    """Target logits of the images without sets of their units.

    Args:
        model_pass: the pass.
        targets: ``(B,)``.
        feature_mask: of the batch's images.
        imputer: what removed pixels show.
        removed: ``(B,M,n)`` bool, M sets for each image.
        selected: ``(B,M)`` bool, which of them to ask; the model sees no other.

    Returns:
        ``(B,M)`` float64, 0 where not asked.
    """
    rows, sets = selected.nonzero()[:, 0], removed[selected]
    labels = feature_mask.ids.flatten(1)

    def pixels(part: Tensor) -> Tensor:
        found = sets.index_select(0, part).gather(1, labels.index_select(0, rows.index_select(0, part)))
        return found.view(-1, *feature_mask.ids.shape[1:])

    found = upcast(torch.zeros(selected.shape, device=targets.device))
    found[selected] = upcast(logits_without_pixels(model_pass, targets, imputer, rows, pixels))
    return found


def logits_without_pixels(
    model_pass: Pass, targets: Tensor, imputer: Imputer, rows: Tensor, removed_pixels: Callable[[Tensor], Tensor]
) -> Tensor:
    """Target logits ``(T,)`` of image ``rows[t]`` without some of its pixels, at most a chunk at a time.

    Args:
        model_pass: the pass.
        targets: ``(B,)``.
        imputer: what removed pixels show.
        rows: ``(T,)`` int64, rising.
        removed_pixels: ``(t (N,) int64) -> (N,H,W)`` bool, what is removed in each of N of the T questions.
    """
    fill = imputer(model_pass)
    found = [torch.zeros(0, device=targets.device)]
    for part in torch.arange(len(rows), device=rows.device).split(model_pass.chunk) if len(rows) else ():
        here, removed = rows.index_select(0, part), removed_pixels(part)
        one = bool(here[0] == here[-1])  # then the image need not be copied for each question
        left = fill(here[:1], removed[None])[0] if one else fill(here, removed[:, None])[:, 0]
        found.append(model_pass.predict(left).gather(1, targets[here][:, None])[:, 0])
    return torch.cat(found)
