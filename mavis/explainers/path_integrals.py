"""Path-integral explainers: integrated, expected, blur and guided integrated gradients.

A path is a sequence of points that ends at the image, with an increment at each; a map is the sum of gradient times
increment. The points of all images are sent to the model together, at most a chunk at a time.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.registry import explainer
from mavis.explainers.gradient import check_at_least

QuadratureRule = Literal["gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid"]
Baseline = Literal["mean", "blur", "black", "several"]

BLUR_SIGMA = 0.0625
"""Standard deviation of the baseline ``blur`` as a share of the image's height, as of the imputer of that name."""

IntegrationPath = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``(rows (n,), numbers (n,)) -> (points (n,3,H,W), increments)`` of image ``rows[i]`` and point ``numbers[i]``;
increments have the points' shape, or ``(n,1,1,1)``."""


@explainer("integrated_gradients", source="Sundararajan et al. 2017, equation 3, arXiv 1703.01365", complete=True)
def integrated_gradients(
    steps: int = 16, baseline: Baseline = "mean", rule: QuadratureRule = "gausslegendre"
) -> Explainer:
    """Mean gradient on the straight line from a baseline to the image, times the difference.

    Args:
        steps: points on the line, at least 2.
        baseline: ``mean``, the data set's mean colour; ``blur``, the blurred image; ``black``; or ``several``, the mean
            over these three, at three times the cost.
        rule: quadrature rule, under Captum's names: it sets the points' positions and weights.

    Differs: complete only from the mean colour, which is the default. Captum's weights of ``riemann_trapezoid`` add
    up to (steps − 1)/steps; these add up to 1.
    """
    check_at_least("integrated_gradients", "steps", steps, 2)
    _check_choice("integrated_gradients", "baseline", baseline, get_args(Baseline))
    _check_choice("integrated_gradients", "rule", rule, get_args(QuadratureRule))
    names = ("mean", "blur", "black") if baseline == "several" else (baseline,)
    nodes, weights = _quadrature(rule, steps)

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        return torch.stack(
            [
                _integrate_straight_line(model_pass, targets, _baseline_images(model_pass, name), nodes, weights)
                for name in names
            ]
        ).mean(0)

    return explain


@explainer(
    "expected_gradients",
    source="Erion et al. 2021, equation 3, arXiv 1906.10670; GradientSHAP: Lundberg and Lee 2017, arXiv 1705.07874",
    stochastic=True,
    reference=True,
)
def expected_gradients(samples: int = 32, noise: float = 0.0) -> Explainer:
    """Integrated gradients from other images of the data set, at random points on random lines; also: GradientSHAP.

    Each sample takes one of the run's reference images and one point on the line from it to the image. Without
    reference images every line begins at the data set's mean colour.

    Args:
        samples: random lines, at least 1.
        noise: standard deviation of normal noise added to the image before its line is drawn, as a share of the input
            range [0,1]; above 0 it is GradientSHAP.
    """
    check_at_least("expected_gradients", "samples", samples, 1)
    check_at_least("expected_gradients", "noise", noise, 0)
    return lambda model_pass, targets: _integrate(
        model_pass, targets, samples, _random_line_path(model_pass, samples, noise)
    )


@explainer("blur_ig", source="Xu et al. 2020, equation 5, arXiv 2004.03383")
def blur_ig(steps: int = 16, sigma: float = 0.2) -> Explainer:
    """Gradients on a path from the blurred image to the image, times the change at each step of less blur.

    Args:
        steps: of equal length in the blur's standard deviation, at least 2.
        sigma: of the strongest blur, as a share of the image's height, in (0, 0.5].

    Differs: each step's increment is the difference of its two ends, and the gradient is taken in its middle; the
    authors' program extrapolates the derivative at the sharper end. So the map of a linear model is exact. The border
    is mirrored where theirs is black.
    """
    check_at_least("blur_ig", "steps", steps, 2)
    if not 0 < sigma <= 0.5:
        raise BadParameter(f"blur_ig: sigma is a share of the image's height in (0, 0.5], got {sigma}.")
    return lambda model_pass, targets: _integrate(model_pass, targets, steps, _blur_path(model_pass, steps, sigma))


@explainer("guided_ig", source="Kapishnikov et al. 2021, section 4, arXiv 2106.09788", complete=True)
def guided_ig(steps: int = 32, fraction: float = 0.25, max_dist: float = 0.1) -> Explainer:
    """Integrated gradients on an adaptive path, which moves the values with the smallest gradients first.

    The path leads from the data set's mean colour to the image, and each step is of the same length.

    Args:
        steps: points on the path, both ends among them, at least 2.
        fraction: share of the values that are moved together, those with the smallest gradients, in (0, 1].
        max_dist: how far a value may run ahead of the straight line or stay behind, as a share of the way, in [0, 1].

    Differs: a step's gradient is the mean over its two ends. The authors' program takes the one at its start, by which
    the values that move were chosen for being small, so the map falls short of complete however many steps there are.
    Its ``max_dist`` of 0.02, meant for 200 steps, would leave few steps no choice.
    """
    check_at_least("guided_ig", "steps", steps, 2)
    if not 0 < fraction <= 1 or not 0 <= max_dist <= 1:
        raise BadParameter(
            f"guided_ig: expected fraction in (0, 1] and max_dist in [0, 1], got {fraction} and {max_dist}."
        )
    return lambda model_pass, targets: _integrate_guided_path(model_pass, targets, steps, fraction, max_dist)


def _check_choice(name: str, parameter: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise BadParameter(f"{name}: {parameter} must be one of {', '.join(choices)}, got '{value}'.")


def _integrate(model_pass: Pass, targets: Tensor, n_points: int, path: IntegrationPath) -> Tensor:
    """Gradient times increment, added up over each image's ``n_points`` points: ``(B,3,H,W)``."""
    total = upcast(torch.zeros_like(model_pass.images))
    for start in range(0, len(model_pass) * n_points, model_pass.chunk):
        pairs = torch.arange(start, min(start + model_pass.chunk, len(model_pass) * n_points), device=targets.device)
        first_row, end_row, rows = start // n_points, (start + len(pairs) - 1) // n_points + 1, pairs // n_points
        points, increments = path(rows, pairs % n_points)
        values = upcast(model_pass.gradient(points, targets[rows]) * increments)
        # A matrix product adds up each image's points: index_add_ is not deterministic on CUDA.
        membership = upcast(rows == torch.arange(first_row, end_row, device=rows.device)[:, None])
        total[first_row:end_row] += (membership @ values.flatten(1)).view_as(total[first_row:end_row])
    return total.float()


# Straight lines.


def _baseline_images(model_pass: Pass, name: str) -> Tensor:
    """``(B,3,H,W)``, or ``(1,3,1,1)`` for a colour."""
    if name == "blur":
        return gaussian_blur(model_pass.images, BLUR_SIGMA * model_pass.images.shape[2])
    return (model_pass.mean if name == "mean" else torch.zeros_like(model_pass.mean))[None, :, None, None]


def _quadrature(rule: QuadratureRule, steps: int) -> tuple[Tensor, Tensor]:
    """Points in [0,1] and their weights, which add up to 1."""
    weights = np.full(steps, 1 / steps)
    match rule:
        case "gausslegendre":
            nodes, weights = np.polynomial.legendre.leggauss(steps)
            nodes, weights = (nodes + 1) / 2, weights / 2
        case "riemann_trapezoid":
            nodes = np.linspace(0, 1, steps)
            weights = np.r_[0.5, np.ones(steps - 2), 0.5] / (steps - 1)
        case _:
            offset = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
            nodes = (np.arange(steps) + offset) / steps
    return torch.from_numpy(nodes).float(), torch.from_numpy(weights).float()


def _integrate_straight_line(
    model_pass: Pass, targets: Tensor, baseline: Tensor, nodes: Tensor, weights: Tensor
) -> Tensor:
    """Integrated gradients from a baseline, ``(B,3,H,W)`` or a colour ``(1,3,1,1)``; nodes and weights ``(S,)``."""
    difference = model_pass.images - baseline
    nodes, weights = (values.to(difference)[:, None, None, None] for values in (nodes, weights))

    def path(rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        start = baseline if len(baseline) == 1 else baseline[rows]
        return start + nodes[numbers] * difference[rows], weights[numbers]

    return _integrate(model_pass, targets, len(nodes), path) * difference


def _random_line_path(model_pass: Pass, samples: int, noise: float) -> IntegrationPath:
    """Points of random lines, one on each, from a random reference image, or the mean colour, to the image."""
    baselines = model_pass.mean[None, :, None, None].expand_as(model_pass.images[:1])
    if model_pass.reference is not None:
        baselines = model_pass.reference.images
    uniform = model_pass.draw("expected_gradients", lambda g: torch.rand((samples, 2), generator=g))
    baseline_index = (uniform[..., 0] * len(baselines)).long().clamp_max(len(baselines) - 1)
    positions = uniform[..., 1, None, None, None]

    def path(rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        baseline = baselines[baseline_index[rows, numbers]]
        difference = model_pass.images[rows] + _image_noise(model_pass, samples, noise, rows, numbers) - baseline
        return baseline + positions[rows, numbers] * difference, difference / samples

    return path


def _image_noise(model_pass: Pass, samples: int, noise: float, rows: Tensor, indices: Tensor) -> Tensor | float:
    """Normal noise of each sample, drawn only for the images of this chunk."""
    if noise == 0:
        return 0.0
    first, last = int(rows[0]), int(rows[-1])
    shape = (samples, *model_pass.images.shape[1:])
    drawn = model_pass.draw(
        "expected_gradients noise",
        lambda g: torch.randn(shape, generator=g) * noise,
        ids=model_pass.ids[first : last + 1],
    )
    return drawn[rows - first, indices]


# Blur.


def _blur_path(model_pass: Pass, steps: int, sigma: float) -> IntegrationPath:
    """Points in the middle of each step, the first the sharpest; increments from its blurrier end to its sharper."""
    sides = model_pass.images.shape[2:]
    sigmas = [sigma * sides[0] * half_steps / (2 * steps) for half_steps in range(2 * steps + 1)]
    row_blur, column_blur = (
        torch.stack([_blur_matrix(side, value, min(sides) - 1) for value in sigmas]).to(model_pass.images)
        for side in sides
    )

    def blur(rows: Tensor, half_steps: Tensor) -> Tensor:
        return row_blur[half_steps, None] @ model_pass.images[rows] @ column_blur[half_steps, None].mT

    def path(rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        sharper, middle, blurrier = (blur(rows, 2 * numbers + offset) for offset in range(3))
        return middle, sharper - blurrier

    return path


def _blur_matrix(side: int, sigma: float, max_radius: int) -> Tensor:
    """``(side,side)``: `filters.gaussian_blur` along one axis, as a matrix; its reach is ``max_radius`` or less."""
    if sigma == 0:
        return torch.eye(side)
    radius = max(1, min(int(3 * sigma + 0.5), max_radius))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    positions = (torch.arange(side)[:, None] + offsets).abs()
    mirrored = (side - 1) - ((side - 1) - positions).abs()
    return torch.zeros(side, side).scatter_add_(1, mirrored, (kernel / kernel.sum()).expand(side, -1))


# The adaptive path.


def _integrate_guided_path(model_pass: Pass, targets: Tensor, steps: int, fraction: float, max_dist: float) -> Tensor:
    """Integrates along the adaptive paths of all images at once.

    A position on the path is ``progress (B,3,H,W)``: the share of its own distance that each value has moved.
    """
    start = model_pass.mean[None, :, None, None]
    difference = model_pass.images - start
    progress, total = torch.zeros_like(difference), torch.zeros_like(difference)
    gradient = model_pass.gradient(start + progress * difference, targets)
    for step in range(1, steps):
        share = step / (steps - 1)
        min_progress, max_progress = max(share - max_dist, 0.0), min(share + max_dist, 1.0)
        previous, progress = (
            progress,
            _advance(progress.clamp_min(min_progress), difference.abs(), gradient.abs(), share, max_progress, fraction),
        )
        previous_gradient, gradient = gradient, model_pass.gradient(start + progress * difference, targets)
        total += (progress - previous) * difference * (previous_gradient + gradient) / 2
    return total


def _advance(
    progress: Tensor, length: Tensor, gradient_size: Tensor, share: float, max_progress: float, fraction: float
) -> Tensor:
    """Moves the values with the smallest gradients until the image has covered a share of its total distance.

    Args:
        progress: ``(B,3,H,W)`` in [0,1], the share of its distance that each value has moved.
        length: distance of each value, absolute.
        gradient_size: absolute gradient of each value.
        share: of the total distance, to be reached.
        max_progress: largest progress of a value.
        fraction: of the values, to be moved together.
    """
    total = _sum_per_image(length)
    for _ in range(math.ceil(1 / fraction) + 1):
        missing = share * total - _sum_per_image(progress * length)
        missing = torch.where(missing > 1e-6 * total, missing, 0.0)
        if not missing.any():
            break
        selected = _smallest_mask(
            torch.where((progress < max_progress) & (length > 0), gradient_size, torch.inf), fraction
        )
        available = _sum_per_image(selected * (max_progress - progress) * length)
        step = torch.where(available > 0, missing / available, 0.0).clamp_max(1.0)
        progress = torch.where(
            selected, torch.lerp(progress, torch.full_like(progress, max_progress), step.to(progress.dtype)), progress
        )
    return progress


def _sum_per_image(values: Tensor) -> Tensor:
    """Sum over each image, ``(B,1,1,1)``, in the widest type."""
    return upcast(values).sum((1, 2, 3), keepdim=True)


def _smallest_mask(sizes: Tensor, fraction: float) -> Tensor:
    """``(B,3,H,W)`` bool: the smallest of each image's sizes, a fraction of all; infinite ones are never chosen."""
    flat = sizes.flatten(1)
    rank = int(fraction * (flat.shape[1] - 1)) + 1
    threshold = flat.kthvalue(rank, dim=1).values[:, None, None, None]
    return (sizes <= threshold) & sizes.isfinite()
