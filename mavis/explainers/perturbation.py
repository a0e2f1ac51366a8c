"""Perturbation explainers: they remove parts of the image and read the model's output, so any black box will do."""

import torch
from torch import Tensor, nn

from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.perturbation.feature_groups import (
    Unit,
    build_feature_mask,
    check_unit,
    logits_without_pixels,
    logits_without_units,
)
from mavis.core.perturbation.imputers import Imputer, get_imputer
from mavis.core.registry import explainer


@explainer("occlusion", source="Zeiler and Fergus 2014, section 4.2, arXiv 1311.2901", needs={"forward"})
def occlusion(window: float = 0.125, stride: float = 0.0625, imputer: str = "mean") -> Explainer:
    """Drop of the target logit while a square window without content slides over the image.

    A pixel's value is the mean drop over the windows that cover it. Evaluates the model 225 times per image.

    Args:
        window: side of the square as a share of the image's side, (0, 1].
        stride: step as a share of the image's side, (0, window], so that no pixel is left out.
        imputer: what the square shows, as in `imputers.get_imputer`.

    Differs: the square shows the data set's mean colour, the paper's is grey. Where the step does not divide the image,
    the last windows end at the border; Captum's extend beyond it and are cut off.
    """
    if not 0 < stride <= window <= 1:
        raise BadParameter(f"occlusion: expected 0 < stride <= window <= 1, got stride={stride}, window={window}.")
    make_fill = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        windows = _sliding_windows(model_pass.images, window, stride)
        n_windows = len(windows)
        rows = torch.arange(len(model_pass), device=targets.device).repeat_interleave(n_windows)
        logits = logits_without_pixels(
            model_pass, targets, make_fill, rows, lambda part: windows.index_select(0, part % n_windows)
        )
        drops = model_pass.logits.gather(1, targets[:, None]) - logits.unflatten(0, (len(model_pass), n_windows))
        total = torch.einsum("bm,mhw->bhw", drops, windows.float())
        return (total / windows.float().sum(0))[:, None]

    return explain


@explainer(
    "feature_ablation",
    source="Robnik-Šikonja and Kononenko 2008, section 3, doi 10.1109/TKDE.2007.190734",
    needs={"forward"},
)
def feature_ablation(unit: Unit = "cell", cells: int = 8, imputer: str = "mean") -> Explainer:
    """Drop of the target logit when a unit of the image is removed, each unit once.

    Evaluates the model once per unit: 64 times per image by default.

    Args:
        unit: ``cell`` of a grid, ``segment`` (superpixel), or ``part``: a face part, where the data know them.
        cells: cells per side, or about the root of the number of superpixels; without meaning for parts.
        imputer: what a removed unit shows, as in `imputers.get_imputer`.

    Differs: the unit shows one replacement, where the paper averages over every value that it could have. Captum writes
    the whole drop on each pixel of the unit; here the pixels share it, so that a large unit does not count more for its
    size.
    """
    check_unit("feature_ablation", unit, cells)
    make_fill = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        units = build_feature_mask(model_pass, unit, cells)
        removed = torch.eye(units.is_present.shape[1], dtype=torch.bool, device=targets.device).expand(
            len(model_pass), -1, -1
        )
        logits = logits_without_units(model_pass, targets, units, make_fill, removed, units.is_present)
        return units.to_pixels(model_pass.logits.gather(1, targets[:, None]) - logits)

    return explain


@explainer("cell_occlusion", source="protocol 3 (reference of the skill unit)", needs={"forward"}, role="reference")
def cell_occlusion(cells: int = 16, imputer: str = "mean") -> Explainer:
    """Drop of the target logit when one cell of the run's grid is removed: the reference where data have no oracle.

    A fixed reference for the scale of scores, whichever methods take part. Evaluates the model once per cell: 256 times
    per image by default.

    Args:
        cells: cells per side; for a protocol with another ``grid``, that number.
        imputer: what a removed cell shows, as in `imputers.get_imputer`.
    """
    check_unit("cell_occlusion", "cell", cells)
    return feature_ablation("cell", cells, imputer)


@explainer("rise", source="Petsiuk et al. 2018, equation 6, arXiv 1806.07421", needs={"forward"}, stochastic=True)
def rise(masks: int = 256, cells: int = 7, keep: float = 0.5, imputer: str = "mean") -> Explainer:
    """Mean of random soft masks, each weighted by the target's probability under it.

    Evaluates the model once per mask.

    Args:
        masks: masks per image, at least 2; half of them are the complements of the other half.
        cells: side of the coarse grid that is enlarged and shifted at random.
        keep: share of coarse cells that are kept, (0, 1).
        imputer: fill of a masked image, as in `imputers.get_imputer`: the image with every pixel removed.

    Differs: masked pixels show the data set's mean colour, not black; masks come in complementary pairs when
    ``keep`` is one half, which lowers the variance; the constant that only shifts the map is removed by weighting
    with the deviation from the mean probability.
    """
    if masks < 2 or masks % 2 or cells < 1 or not 0 < keep < 1:
        raise BadParameter(
            f"rise: expected an even number of masks, cells >= 1 and 0 < keep < 1, "
            f"got masks={masks}, cells={cells}, keep={keep}."
        )
    make_fill = get_imputer(imputer)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        return torch.cat(
            [_rise(model_pass.single_image(row), targets[row : row + 1]) for row in range(len(model_pass))]
        )

    def _rise(image_pass: Pass, target: Tensor) -> Tensor:
        size = (image_pass.images.shape[2], image_pass.images.shape[3])
        coarse = image_pass.draw("rise", lambda g: _coarse_masks(g, masks, cells, keep, size))[0]
        soft_masks = _soft_masks(coarse, cells, size)
        empty = _impute_all(image_pass, make_fill)
        faded = (torch.lerp(empty, image_pass.images, part[:, None]) for part in soft_masks.split(image_pass.chunk))
        probabilities = torch.cat([image_pass.predict(part).softmax(1)[:, target[0]] for part in faded])
        return torch.einsum("m,mhw->hw", probabilities - probabilities.mean(), soft_masks)[None, None] / (masks * keep)

    return explain


def _impute_all(model_pass: Pass, make_fill: Imputer) -> Tensor:
    """``(B,3,H,W)``: the images with every pixel removed."""
    all_pixels = torch.ones(
        (len(model_pass), 1, *model_pass.images.shape[2:]), dtype=torch.bool, device=model_pass.images.device
    )
    return make_fill(model_pass)(torch.arange(len(model_pass), device=model_pass.images.device), all_pixels)[:, 0]


def _sliding_windows(images: Tensor, window: float, stride: float) -> Tensor:
    """``(M,H,W)`` bool, one window each; the last row and column of windows end at the border."""

    def spans(side: int) -> Tensor:
        length, step = max(1, round(window * side)), max(1, round(stride * side))
        starts = sorted({*range(0, side - length + 1, step), side - length})
        positions = torch.arange(side, device=images.device)
        start = torch.tensor(starts, device=images.device)[:, None]
        return (positions >= start) & (positions < start + length)

    rows, columns = spans(images.shape[2]), spans(images.shape[3])
    return (rows[:, None, :, None] & columns[None, :, None, :]).flatten(0, 1)


def _coarse_masks(generator: torch.Generator, n_masks: int, cells: int, keep: float, size: tuple[int, int]) -> Tensor:
    """``(n_masks,cells²+2)``: random grids of zeros and ones, row by row, and their shifts down and right."""
    half = n_masks // 2
    coarse = (torch.rand((half, cells**2), generator=generator) < keep).float()
    partners = 1 - coarse if keep == 0.5 else (torch.rand(coarse.shape, generator=generator) < keep).float()
    shifts = [torch.randint(-(-side // cells), (half, 1), generator=generator) for side in size]
    return torch.cat([torch.cat([coarse, partners]), torch.cat(shifts, 1).repeat(2, 1)], 1)


def _soft_masks(coarse_masks: Tensor, cells: int, size: tuple[int, int]) -> Tensor:
    """``(M,H,W)`` in [0,1]: coarse grids ``(M,cells²+2)`` enlarged bilinearly by one cell more, then shifted."""
    rows, columns = (
        _interpolation_weights(cells, side, coarse_masks.device)[shift.long()]
        for side, shift in zip(size, coarse_masks[:, -2:].T, strict=True)
    )
    coarse = coarse_masks[:, :-2].reshape(-1, cells, cells)
    return (rows @ coarse @ columns.mT).clamp(0, 1)


def _interpolation_weights(cells: int, side: int, device: torch.device) -> Tensor:
    """``(S,side,cells)``: per shift by S = 0, 1 … pixels less than a cell, the weight of each cell in each pixel."""
    step = -(-side // cells)
    basis = torch.eye(cells, device=device)[None]
    weights = nn.functional.interpolate(basis, size=side + step, mode="linear", align_corners=False)[0]
    shifted: Tensor = weights.unfold(1, side, 1)[:, :step]
    return shifted.permute(1, 2, 0)
