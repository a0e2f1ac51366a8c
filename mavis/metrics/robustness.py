"""Robustness metrics: change of the map under changes of the input that preserve the prediction.

They count only for faithful maps, since a constant map is perfectly robust. Metrics with equal radius and draws share
the noisy copies of the image and their maps, so that further ones cost no further map.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from mavis.core.attribution_maps import cell_means, spearman
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explanation, Metric, VariantMetric
from mavis.core.perturbation.variants import Flip, Noise, Replicate, Shifted
from mavis.core.registry import metric

Compare = Callable[[Explanation, Explanation], Tensor]

_UNDEFINED = "every draw of the noise changed the prediction, or the map is zero"
_MIN_DENOMINATOR = 1e-6
"""Lower bound of a denominator, and of a ratio before its logarithm is taken."""
DEFAULT_RADIUS = 8 / 255
DEFAULT_DRAWS = 3


@metric(
    "avg_sensitivity",
    source="Yeh et al. 2019, section 4 (mean in place of max), arXiv 1901.09392",
    category="robustness",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
    undefined=_UNDEFINED,
)
def avg_sensitivity(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Mean relative change of the map under small uniform noise, over draws that preserve the prediction.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.
    """
    return _sensitivity_metric(radius, draws, "mean", _relative_change)


@metric(
    "max_sensitivity",
    source="Yeh et al. 2019, definition 2, arXiv 1901.09392",
    category="robustness",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
    undefined=_UNDEFINED,
)
def max_sensitivity(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Largest relative change of the map under small uniform noise, over draws that preserve the prediction.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.

    Differs: relative to the map's length, as in Quantus; the paper's is absolute.
    """
    return _sensitivity_metric(radius, draws, "max", _relative_change)


@metric(
    "avg_sensitivity_normalised",
    source="Yeh et al. 2019; second moment: Binder et al. 2023; protocol T1",
    category="robustness",
    higher_is_better=False,
    range=(0, 2),
    perfect=0.0,
    needs={"forward"},
    undefined=_UNDEFINED,
)
def avg_sensitivity_normalised(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Mean change of the map's pattern: both maps are first divided by the root of their mean square.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.
    """
    return _sensitivity_metric(radius, draws, "mean", _pattern_change)


@metric(
    "local_lipschitz",
    source="Alvarez-Melis & Jaakkola 2018, arXiv 1806.08049",
    category="robustness",
    higher_is_better=False,
    range=(0, None),
    needs={"forward"},
    undefined="no draw of the noise changed the image and preserved the prediction",
)
def local_lipschitz(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Largest change of the map over the change of the image that caused it, both as Euclidean lengths.

    It has the unit of the map: compare images or models, not explainers of different scale.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.

    Differs: uniform noise in a box where the paper searches a ball, and only draws that preserve the prediction.
    Quantus takes normal noise, and any draw.
    """
    return _sensitivity_metric(radius, draws, "max", _lipschitz_ratio)


@metric(
    "relative_input_stability",
    source="Agarwal et al. 2022, section 3.3 (RIS), arXiv 2203.06877; protocol T3",
    category="robustness",
    higher_is_better=False,
    range=(-6, None),
    needs={"forward"},
    undefined=f"{_UNDEFINED}, or the image is black",
)
def relative_input_stability(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Log10 of the largest ratio of the map's relative change to the image's, each pixel by pixel.

    A map that does not change has −6, the lower bound. Pixels near zero have the largest weight, in map and image.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.

    Differs: the logarithm; and denominators are at least 1e-6 of the root mean square of the map or image, so that the
    score does not depend on scale. Quantus replaces exact zeros by 1e-6, and has no value if any draw changes the
    prediction.
    """
    return _sensitivity_metric(radius, draws, "max", _log_stability(_image_change))


@metric(
    "relative_output_stability",
    source="Agarwal et al. 2022, section 3.3 (ROS), arXiv 2203.06877; protocol T3",
    category="robustness",
    higher_is_better=False,
    range=(-6, None),
    needs={"forward"},
    undefined=_UNDEFINED,
)
def relative_output_stability(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Log10 of the largest ratio of the map's relative change, pixel by pixel, to the change of the logits.

    A map that does not change has −6, the lower bound. It falls as the scale of the logits grows: compare explainers of
    one model.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.

    Differs: as `relative_input_stability`.
    """
    return _sensitivity_metric(radius, draws, "max", _log_stability(_logit_change))


@metric(
    "relative_representation_stability",
    source="Agarwal et al. 2022, section 3.3 (RRS), arXiv 2203.06877",
    category="robustness",
    higher_is_better=False,
    range=(-6, None),
    needs={"forward", "activations"},
    undefined=f"{_UNDEFINED}, or the CAM layer is silent",
)
def relative_representation_stability(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS) -> Metric:
    """Log10 of the largest ratio of the map's relative change to that of the CAM layer's output, value by value.

    A map that does not change has −6, the lower bound. Silent units that become active have the largest weight.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.

    Differs: as `relative_input_stability`; and Quantus reads every layer by default.
    """
    return _sensitivity_metric(radius, draws, "max", _log_stability(_activation_change))


@metric(
    "consistency",
    source="Dasgupta et al. 2022, arXiv 2202.00734",
    category="robustness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
    undefined="no noisy copy has the same top cells, or the map is constant",
)
def consistency(radius: float = DEFAULT_RADIUS, draws: int = DEFAULT_DRAWS, top: int = 3) -> Metric:
    """Share of noisy copies with the same prediction, among those whose map has the same top cells as the image's.

    Args:
        radius: largest change of a pixel value, in units of the input range, (0, 1].
        draws: noisy copies per image, at least 1.
        top: number of highest cells by which two maps count as the same, in any order, at least 1; cells tied with the
            last one join.

    Differs: the paper draws from all inputs, here they lie near the image, so that no value depends on the other
    images of a run. Quantus compares the images of one batch by the signs of a map's first five pixels, scores 0 where
    none agree, and declares that lower is better.
    """
    if top < 1:
        raise BadParameter(f"consistency: top must be at least 1 cell, got {top}.")

    def compare(before: Explanation, after: Explanation) -> Tensor:
        same_prediction = before.model_pass.logits.argmax(1) == after.model_pass.logits.argmax(1)
        same_top_cells = (_top_cells(before, top) == _top_cells(after, top)).all(1) & before.maps.valid
        return torch.where(same_top_cells, same_prediction.float(), torch.nan)

    return VariantMetric(_noise_variants(radius, draws), compare)


@metric(
    "flip_equivariance",
    source="protocol T2; Crabbé & van der Schaar 2023, arXiv 2304.06715",
    category="robustness",
    higher_is_better=True,
    range=(-1, 1),
    perfect=1.0,
    needs={"forward"},
    undefined="the target's probability changes by more than max_prob_diff in the mirror image, or a map is constant",
)
def flip_equivariance(max_prob_diff: float = 0.05) -> Metric:
    """Spearman correlation, over cells, of the mirror image's map, mirrored back, with the image's.

    Args:
        max_prob_diff: largest change of the target's probability for which the maps must agree, [0,1].
    """
    if not 0 <= max_prob_diff <= 1:
        raise BadParameter(f"flip_equivariance: max_prob_diff is a probability in [0,1], got {max_prob_diff}.")

    def compare(before: Explanation, after: Explanation) -> Tensor:
        mirrored_back = cell_means(after.maps.values.flip(-1), after.maps.grid)
        is_comparable = (_target_probability(before) - _target_probability(after)).abs() <= max_prob_diff
        return torch.where(is_comparable, spearman(before.maps.cells, mirrored_back), torch.nan)

    return VariantMetric([Flip()], compare)


@metric(
    "replicate_agreement",
    source="protocol T4",
    category="robustness",
    higher_is_better=True,
    range=(-1, 1),
    undefined="a map is constant",
)
def replicate_agreement(repeats: int = 1) -> Metric:
    """Spearman correlation, over cells, of maps under different random draws; 1 for an explainer that draws none.

    Args:
        repeats: further maps per image, at least 1; an explainer that draws nothing is not run again.
    """
    if repeats < 1:
        raise BadParameter(f"replicate_agreement: repeats must be at least 1, got {repeats}.")
    variants = [Replicate(number) for number in range(repeats)]
    return VariantMetric(variants, lambda before, after: spearman(before.maps.cells, after.maps.cells))


@metric(
    "input_invariance",
    source="Kindermans et al. 2017, arXiv 1711.00867; protocol G7",
    category="axioms",
    higher_is_better=False,
    range=(0, None),
    undefined="the map is zero",
)
def input_invariance(shift: float = -1.0) -> Metric:
    """Relative change of the map when a constant is added to the image and the model subtracts it.

    The data set's mean colour is shifted too, as it would be for shifted data: methods that measure from it do not
    change, those that measure from black do.

    Args:
        shift: what is added to every value, in units of the input range, not 0; −1 moves [0,1] to [−1,0].

    Differs: the paper compares maps by eye. Quantus only asks whether they agree to within 1e-4, and puts the shift
    into the first layer's bias, which is another model wherever that layer pads.
    """
    if not shift or not math.isfinite(shift):
        raise BadParameter(f"input_invariance: shift must be a number other than 0, got {shift}.")
    return VariantMetric([Shifted(shift)], _relative_change)


def _noise_variants(radius: float, draws: int) -> list[Noise]:
    if not 0 < radius <= 1 or draws < 1:
        raise BadParameter(f"Expected 0 < radius <= 1 and draws >= 1, got radius={radius}, draws={draws}.")
    return [Noise(radius, number) for number in range(draws)]


def _sensitivity_metric(radius: float, draws: int, reduce: Literal["mean", "max"], compare: Compare) -> Metric:
    return VariantMetric(_noise_variants(radius, draws), compare, reduce, same_prediction=True)


def _relative_change(before: Explanation, after: Explanation) -> Tensor:
    return _divide_or_nan(after.maps.distance(before.maps), before.maps.norm)


def _pattern_change(before: Explanation, after: Explanation) -> Tensor:
    return _divide_or_nan(
        _l2_norm(after.maps.rms_normalised - before.maps.rms_normalised), _l2_norm(before.maps.rms_normalised)
    )


def _lipschitz_ratio(before: Explanation, after: Explanation) -> Tensor:
    return _divide_or_nan(
        after.maps.distance(before.maps), _l2_norm(after.model_pass.images - before.model_pass.images)
    )


def _divide_or_nan(change: Tensor, cause: Tensor) -> Tensor:
    """``(B,)`` float32; NaN where the cause is zero."""
    return torch.where(cause > 0, change / cause, torch.nan).float()


def _log_stability(cause: Compare) -> Compare:
    """Log10 of the map's relative change over the change of its cause."""

    def compare(before: Explanation, after: Explanation) -> Tensor:
        change = _relative_change_norm(before.maps.values, after.maps.values)
        return (change / cause(before, after).clamp_min(_MIN_DENOMINATOR)).clamp_min(_MIN_DENOMINATOR).log10().float()

    return compare


def _image_change(before: Explanation, after: Explanation) -> Tensor:
    return _relative_change_norm(before.model_pass.images, after.model_pass.images)


def _logit_change(before: Explanation, after: Explanation) -> Tensor:
    return _l2_norm(upcast(after.model_pass.logits) - upcast(before.model_pass.logits))


def _activation_change(before: Explanation, after: Explanation) -> Tensor:
    return _relative_change_norm(before.model_pass.activations, after.model_pass.activations)


def _relative_change_norm(before: Tensor, after: Tensor) -> Tensor:
    """Length of the relative change value by value, ``(B,…)`` -> ``(B,)``; NaN where all values were zero."""
    before, after = upcast(before.flatten(1)), upcast(after.flatten(1))
    scale = before.square().mean(1, keepdim=True).sqrt()
    change = (after - before) / before.abs().maximum(_MIN_DENOMINATOR * scale)
    return torch.where(scale[:, 0] > 0, _l2_norm(change), torch.nan)


def _l2_norm(values: Tensor) -> Tensor:
    """Euclidean length, ``(B,…)`` -> ``(B,)``, double."""
    length: Tensor = torch.linalg.vector_norm(upcast(values.flatten(1)), dim=1)
    return length


def _top_cells(explained: Explanation, n_cells: int) -> Tensor:
    """``(B,n)`` bool: the highest cells, with those tied with the last of them."""
    cells = explained.maps.cells
    threshold = cells.topk(min(n_cells, cells.shape[1]), dim=1).values[:, -1:]
    return cells >= threshold


def _target_probability(explained: Explanation) -> Tensor:
    """Probability ``(B,)`` of the explained class."""
    return upcast(explained.model_pass.logits).softmax(1).gather(1, explained.targets[:, None])[:, 0]
