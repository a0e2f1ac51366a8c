"""Faithfulness by correlation: attributions of removed regions against the change of the model's output.

The removed regions do not depend on the map, so the model is evaluated once for all explainers, and metrics with the
same regions share the outputs. A cell's value is here the signed sum over its pixels, since it is compared with the
effect of removing the whole cell. A map that does not vary has the chance value 0. The model's outputs alone decide if
an image has a score, so the images with a score are the same for every explainer.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps, cell_index, pearson, ranks, spearman
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import MaskProbe, Metric, PartProbe, ProbeMetric, ProbeOutputs
from mavis.core.model_pass import Pass
from mavis.core.registry import metric

OutputsByProbe = Mapping[MaskProbe | PartProbe, ProbeOutputs]

_CONSTANT_OUTPUTS = "the model's outputs do not vary"


@metric(
    "single_deletion",
    source="Hesse et al. 2024 (IDSDS), section 3, arXiv 2407.11910",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    perfect=1.0,
    needs={"forward"},
    undefined=_CONSTANT_OUTPUTS,
)
def single_deletion(imputer: str = "mean") -> Metric:
    """Spearman correlation between a cell's value and the fall of the target logit when that cell alone is removed.

    Args:
        imputer: what the removed cell shows.

    Differs: the model is not fine-tuned on images with removed cells; the shipped ones have seen them in training.
    """
    probe = single_cell_probe(imputer)

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        return _correlation(spearman, _cell_sums(maps), outputs[probe].drops, maps.valid)

    return ProbeMetric((probe,), score)


@metric(
    "faithfulness_estimate",
    source="Alvarez-Melis & Jaakkola 2018, section 5, arXiv 1806.07538",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
    undefined=_CONSTANT_OUTPUTS,
)
def faithfulness_estimate(imputer: str = "mean") -> Metric:
    """Pearson correlation between a cell's value and the fall of the target's probability when it alone is removed.

    Args:
        imputer: what the removed cell shows.

    Differs: Quantus takes the logit by default, and removes one channel of one pixel at a time.
    """
    probe = single_cell_probe(imputer)

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        falls = outputs[probe].original_probability[:, None] - outputs[probe].probabilities
        return _correlation(pearson, _cell_sums(maps), falls, maps.valid)

    return ProbeMetric((probe,), score)


@metric(
    "faithfulness_correlation",
    source="Bhatt et al. 2020, section 3.2, arXiv 2005.00631",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
    undefined=_CONSTANT_OUTPUTS,
)
def faithfulness_correlation(size: float = 0.3, subsets: int = 100, imputer: str = "mean") -> Metric:
    """Pearson correlation, over random subsets of cells of one size, of their summed values and the fall of the logit.

    Args:
        size: share of the cells in a subset, in (0,1).
        subsets: random subsets per image, at least 3.
        imputer: what removed cells show.

    Differs: Quantus removes single channels of pixels, so that a map with one number per pixel cannot be right.
    """
    probe = random_subset_probe(size, subsets, imputer)
    return ProbeMetric((probe,), lambda maps, outputs: _subset_correlation(maps, outputs[probe]))


@metric(
    "sensitivity_n",
    source="Ancona et al. 2018 (sensitivity-n), arXiv 1711.06104; protocol F4",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
    undefined=f"{_CONSTANT_OUTPUTS} at any size",
)
def sensitivity_n(sizes: Sequence[float] = (0.1, 0.3, 0.5), subsets: int = 100, imputer: str = "mean") -> Metric:
    """Mean, over sizes of random subsets, of the Pearson correlation of summed values and the fall of the logit.

    A size at which the model's outputs do not vary, as where all subsets are the same, is left out of the mean.

    Args:
        sizes: shares of the cells in a subset, each in (0,1).
        subsets: random subsets per image and size, at least 3.
        imputer: what removed cells show.

    Differs: Quantus compares the fall after removing more and more pixels with the value of the last one, and
    correlates over images.
    """
    if not sizes:
        raise BadParameter(f"sensitivity_n: sizes must be a list of shares of the cells in (0,1), got {sizes!r}.")
    probes = tuple(random_subset_probe(size, subsets, imputer) for size in sizes)

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        return torch.stack([_subset_correlation(maps, outputs[probe]) for probe in probes]).nanmean(0)

    return ProbeMetric(probes, score)


@metric(
    "monotonicity_nguyen",
    source="Nguyen & Martínez 2020, equation 1, arXiv 2007.07584",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    needs={"forward"},
    undefined=_CONSTANT_OUTPUTS,
)
def monotonicity_nguyen(draws: int = 4) -> Metric:
    """Spearman correlation between a cell's absolute value and the mean squared change when it shows random noise.

    Evaluates the model ``draws`` times per cell: 1024 times per image at 16 × 16 cells, the most expensive of these
    metrics.

    Args:
        draws: fillings of each cell with uniform noise, at least 1.

    Differs: the change of the target logit stands for the paper's expected loss. Quantus divides it by the squared
    output for the original image, which changes no rank.
    """
    if not _is_whole_number(draws, 1):
        raise BadParameter(f"monotonicity_nguyen: draws must be a whole number, at least 1, got {draws!r}.")
    probes = tuple(single_cell_probe(f"noise:draw={draw}") for draw in range(draws))

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        change = torch.stack([upcast(outputs[probe].drops).square() for probe in probes]).mean(0)
        return _correlation(spearman, _cell_sums(maps).abs(), change, maps.valid)

    return ProbeMetric(probes, score)


@metric(
    "infidelity",
    source="Yeh et al. 2019, definition 2.1, arXiv 1901.09392",
    category="faithfulness",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
    unit="logit²",
)
def infidelity(scale: str = "fitted", size: float = 0.3, subsets: int = 100, imputer: str = "mean") -> Metric:
    """Mean squared error of the map's sums as predictions of the fall of the logit, over random subsets of cells.

    It grows with the square of the model's logits, so values of two models are not comparable, and neither are those of
    two sizes. Under a fitted scale the worst value is the mean squared fall: that of a zero map, or of one that is not
    finite. A constant map is better than that: it predicts the mean fall.

    Args:
        scale: ``fitted``, where the map is first multiplied by the factor, at least 0, that minimises the error of the
            image; or ``none``, for maps in units of the logit.
        size: share of the cells in a subset, in (0,1).
        subsets: random subsets per image, at least 3.
        imputer: what removed cells show.

    Differs: the paper's scale is ``none``. The map is taken as contributions: its sum over what was removed stands
    for the paper's product of perturbation and gradient. Captum's ``normalize`` fits a negative factor too, so that a
    map with the wrong sign is perfect. Quantus does not put back what it removed before it removes the next patch.
    """
    if scale not in ("fitted", "none"):
        raise BadParameter(f"infidelity: scale must be 'fitted' or 'none', got {scale!r}.")
    probe = random_subset_probe(size, subsets, imputer)

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        predicted, falls = _subset_sums(maps, outputs[probe]), upcast(outputs[probe].drops)
        if scale == "fitted":
            predicted = predicted * _best_factor(predicted, falls)[:, None]
        return (predicted - falls).square().mean(1).float()

    return ProbeMetric((probe,), score)


@metric(
    "part_faithfulness",
    source="Hesse et al. 2023 (FunnyBirds), single deletion, arXiv 2308.06248, given the sizes as in Kendall 1942, "
    "Biometrika 32:277; protocol F5",
    category="faithfulness",
    higher_is_better=True,
    range=(-1, 1),
    chance=0.0,
    perfect=1.0,
    needs={"forward"},
    rerender=True,
    undefined="the face shows fewer than 4 parts, drawing them anew changes the target logit too little, or the falls "
    "follow the sizes of the parts",
)
def part_faithfulness(draws: int = 4, min_range: float = 0.1) -> Metric:
    """Partial rank correlation, over face parts, of the map's sum and the fall of the logit when the part is redrawn.

    It is the partial Spearman correlation given the parts' sizes: the correlation of the residuals of both rankings
    after linear regression on the ranking by size. A sum grows with the size of a part, so any map whose mean is not
    zero ranks parts by size; without the sizes' share an uninformative map has no correlation left.

    Evaluates the model ``draws`` times per part, 40 times per image.

    Args:
        draws: other values of each part, at least 1; the falls are averaged.
        min_range: smallest difference, in logits and above 0, between the parts' largest and smallest fall; 0.1
            changes the odds by a tenth.

    Differs: FunnyBirds removes a part where this draws another, so that the image stays in distribution, and does not
    control for the sizes: there a shuffled map scores the correlation of falls and sizes. The protocol takes a tenth of
    the logit's standard deviation over the data as smallest range.
    """
    if not _is_whole_number(draws, 1) or not min_range > 0:
        raise BadParameter(
            f"part_faithfulness: draws must be a whole number, at least 1, and min_range above 0, "
            f"got draws={draws!r} and min_range={min_range!r}."
        )
    probe = PartProbe(draws)

    def score(maps: Maps, outputs: OutputsByProbe) -> Tensor:
        parts, falls = outputs[probe].removed, outputs[probe].drops
        sizes = upcast(parts).sum(2)
        present = sizes > 0
        sums = torch.einsum("bpn,bn->bp", upcast(parts), upcast(maps.values.flatten(1)))
        low, high = (falls.masked_fill(~present, fill) for fill in (torch.inf, -torch.inf))
        is_defined = (present.sum(1) >= 4) & (high.amax(1) - low.amin(1) >= min_range)
        by_size = _ranks_of_present(sizes, present)
        map_residuals, fall_residuals = (
            _residuals(_ranks_of_present(values, present), by_size) for values in (sums, falls)
        )
        return torch.where(is_defined, _correlation(pearson, map_residuals, fall_residuals, maps.valid), torch.nan)

    return ProbeMetric((probe,), score)


def single_cell_probe(imputer: str) -> MaskProbe:
    """The probe that removes every cell alone: as many masks as cells."""
    return MaskProbe("each cell alone", imputer, lambda _, cells: torch.eye(cells, dtype=torch.bool))


def random_subset_probe(size: float, n_subsets: int, imputer: str) -> MaskProbe:
    """The probe that removes random subsets of the cells, of one size, drawn per image.

    Raises:
        BadParameter: a size outside (0,1), or fewer than 3 subsets.
    """
    if not 0 < size < 1:
        raise BadParameter(f"The size of a subset is a share of the cells in (0,1), got {size!r}.")
    if not _is_whole_number(n_subsets, 3):
        raise BadParameter(f"subsets must be a whole number, at least 3, got {n_subsets!r}.")
    name = f"subsets {size} {n_subsets}"

    def masks(model_pass: Pass, cells: int) -> Tensor:
        n_chosen = math.floor(size * cells + 0.5)
        return model_pass.draw(name, lambda g: torch.rand((n_subsets, cells), generator=g).argsort(1) < n_chosen)

    return MaskProbe(name, imputer, masks)


def _correlation(
    correlate: Callable[[Tensor, Tensor], Tensor], attributions: Tensor, outputs: Tensor, valid: Tensor
) -> Tensor:
    """Correlation of each row; 0 where the map does not vary, NaN where the outputs do not."""
    map_varies = valid & (attributions.amax(1) > attributions.amin(1))
    output_varies = outputs.amax(1) > outputs.amin(1)
    return torch.where(output_varies, torch.where(map_varies, correlate(attributions, outputs), 0.0), torch.nan)


def _subset_correlation(maps: Maps, outputs: ProbeOutputs) -> Tensor:
    return _correlation(pearson, _subset_sums(maps, outputs), outputs.drops, maps.valid)


def _subset_sums(maps: Maps, outputs: ProbeOutputs) -> Tensor:
    """``(B,M)`` double: the map summed over the pixels of each mask's cells."""
    return (upcast(outputs.removed) @ _cell_sums(maps)[:, :, None])[:, :, 0]


def _cell_sums(maps: Maps) -> Tensor:
    """``(B,n)`` double: the map summed over each cell's pixels.

    Mean times number of pixels, so that equal cells of equal size have exactly equal sums, and tie.
    """
    rows, columns = (cell_index(side, maps.grid).bincount() for side in maps.values.shape[1:])
    return upcast(maps.cells) * (rows[:, None] * columns).flatten().to(maps.cells.device)


def _best_factor(predicted: Tensor, falls: Tensor) -> Tensor:
    """``(B,)``: the factor, at least 0, that minimises the squared error of the predictions ``(B,M)``."""
    length = predicted.square().sum(1)
    factor = (predicted * falls).sum(1) / length.where(length > 0, torch.ones_like(length))
    return factor.clamp_min(0)


def _ranks_of_present(values: Tensor, present: Tensor) -> Tensor:
    """``(B,P)`` double: average ranks among the present values; absent ones get the mean rank.

    At the mean their residuals are 0, so that they do not contribute to a correlation.
    """
    present_ranks = upcast(ranks(values.masked_fill(~present, torch.inf)))
    mean_rank = (present_ranks * present).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp_min(1)
    return torch.where(present, present_ranks, mean_rank)


def _residuals(values: Tensor, covariate: Tensor) -> Tensor:
    """``(B,P)`` double: residuals of values after linear regression on a covariate; exactly zero if they are equal."""
    values, covariate = (rows - rows.mean(1, keepdim=True) for rows in (values, covariate))
    slope = (values * covariate).sum(1, keepdim=True) / covariate.square().sum(1, keepdim=True).clamp_min(0.5)
    return values - slope * covariate


def _is_whole_number(value: object, min_value: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= min_value
