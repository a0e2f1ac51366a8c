"""Units of an image — cells, superpixels, face parts — and what the model says without some of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor

from mavis.core import attribution_maps
from mavis.core.devices import precise
from mavis.core.errors import BadParameter, DataError
from mavis.core.model_pass import Pass
from mavis.core.perturbation.imputers import Imputer
from mavis.core.perturbation.superpixels import MOST, superpixels
from mavis.core.types import PART_CODES

Unit = Literal["cell", "segment", "part"]
"""``cell`` of a square grid, ``segment``: superpixel of the image, ``part``: a face part that the image shows."""


@dataclass(frozen=True)
class Units:
    """The units of a batch; images may have different numbers of them, and none sees how many another has.

    Attributes:
        labels: ``(B,H,W)`` int64, the unit of each pixel, numbered from 0 in each image.
        counts: ``(B,)`` int64, how many units each image has.
        most: no image of any batch has more; what is drawn is drawn for so many.
    """

    labels: Tensor
    counts: Tensor
    most: int

    @cached_property
    def there(self) -> Tensor:
        """``(B,n)`` bool, which of n units each image has; n is the most that any image of this batch has."""
        return torch.arange(int(self.counts.max()), device=self.counts.device) < self.counts[:, None]

    def spread(self, values: Tensor) -> Tensor:
        """Each unit's value ``(B,n)``, shared out evenly among its pixels: ``(B,1,H,W)`` float32."""
        flat = self.labels.flatten(1)
        pixels = torch.zeros_like(precise(values)).scatter_add(1, flat, torch.ones_like(precise(flat)))
        share = precise(values) / pixels.clamp_min(1)
        return share.gather(1, flat).view(self.labels.shape)[:, None].float()


def check_unit(explainer: str, unit: str, cells: int) -> None:
    """Raises BadParameter for a unit that there is not, or a number of cells per side that it cannot have."""
    most = int((MOST // 2) ** 0.5)
    if unit not in get_args(Unit):
        raise BadParameter(f"{explainer}: unit must be one of {', '.join(get_args(Unit))}, got {unit!r}.")
    if not isinstance(cells, int) or cells < 1 or (unit == "segment" and cells > most):
        raise BadParameter(
            f"{explainer}: cells must be a whole number, at least 1 and for segments at most {most}, got {cells!r}."
        )


def units_of(run: Pass, unit: Unit, cells: int) -> Units:
    """The units of a batch.

    Args:
        run: the pass.
        unit: which kind.
        cells: cells per side; there are about cells² superpixels; without meaning for parts.

    Raises:
        DataError: parts are asked for, and the data have none.
    """
    if unit == "part":
        return _parts(run)
    if unit == "segment":
        (labels,) = run.once(("superpixels", cells), lambda: (superpixels(run.images, cells**2),))
        return Units(labels, labels.flatten(1).amax(1) + 1, MOST)
    index = torch.arange(cells**2, device=run.images.device)
    labels = attribution_maps.cell_pixels(index, (run.images.shape[2], run.images.shape[3])).expand(len(run), -1, -1)
    return Units(labels, torch.full((len(run),), cells**2, device=labels.device), cells**2)


def _parts(run: Pass) -> Units:
    """The parts that each image shows, numbered in the order of `PART_CODES`."""
    if run.batch.parts is None:
        raise DataError("unit=part needs data whose face parts are known; use unit=segment or unit=cell for these.")
    codes = run.batch.parts.long()
    shown = torch.zeros((len(codes), len(PART_CODES)), dtype=torch.int64, device=codes.device)
    shown = shown.scatter(1, codes.flatten(1), 1)
    labels = (shown.cumsum(1) - 1).gather(1, codes.flatten(1)).view_as(codes)
    return Units(labels, shown.sum(1), len(PART_CODES))


def logits_without(
    run: Pass, targets: Tensor, units: Units, imputer: Imputer, removed: Tensor, asked: Tensor
) -> Tensor:
    """Target logits of the images without sets of their units.

    Args:
        run: the pass.
        targets: ``(B,)``.
        units: of the batch's images.
        imputer: what removed pixels show.
        removed: ``(B,M,n)`` bool, M sets for each image.
        asked: ``(B,M)`` bool, which of them to ask; the model sees no other.

    Returns:
        ``(B,M)`` float64, 0 where not asked.
    """
    rows, sets = asked.nonzero()[:, 0], removed[asked]
    labels = units.labels.flatten(1)

    def pixels(part: Tensor) -> Tensor:
        found = sets.index_select(0, part).gather(1, labels.index_select(0, rows.index_select(0, part)))
        return found.view(-1, *units.labels.shape[1:])

    found = precise(torch.zeros(asked.shape, device=targets.device))
    found[asked] = precise(logits_of(run, targets, imputer, rows, pixels))
    return found


def logits_of(run: Pass, targets: Tensor, imputer: Imputer, rows: Tensor, pixels: Callable[[Tensor], Tensor]) -> Tensor:
    """Target logits ``(T,)`` of image ``rows[t]`` without some of its pixels, at most a chunk at a time.

    Args:
        run: the pass.
        targets: ``(B,)``.
        imputer: what removed pixels show.
        rows: ``(T,)`` int64, rising.
        pixels: ``(t (N,) int64) -> (N,H,W)`` bool, what is removed in each of N of the T questions.
    """
    fill = imputer(run)
    found = [torch.zeros(0, device=targets.device)]
    for part in torch.arange(len(rows), device=rows.device).split(run.chunk) if len(rows) else ():
        here, removed = rows.index_select(0, part), pixels(part)
        one = bool(here[0] == here[-1])  # then the image need not be copied for each question
        left = fill(here[:1], removed[None])[0] if one else fill(here, removed[:, None])[:, 0]
        found.append(run.predict(left).gather(1, targets[here][:, None])[:, 0])
    return torch.cat(found)
