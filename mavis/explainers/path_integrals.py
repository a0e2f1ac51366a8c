"""Explainers that add up gradients on a path that ends at the image.

Each path is a number of points, and at each point an increment; a map is the sum of gradient times increment. The
points of all images are sent to the model together, at most a chunk at a time.
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
    """Gradients averaged on the straight line from a baseline to the image, times the difference.

    Args:
        steps: points on the line, at least 2.
        baseline: ``mean``, the data set's mean colour; ``blur``, the blurred image; ``black``; or ``several``, the mean
            over these three, at three times the cost.
        rule: where the points lie and what they weigh, under Captum's names.

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
    """Gradients on the way from the blurred image to the image, times what each step of less blur brings back.

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
    """Integrated gradients on a path that first moves the values with the smallest gradients.

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
    for first in range(0, len(model_pass) * n_points, model_pass.chunk):
        pairs = torch.arange(first, min(first + model_pass.chunk, len(model_pass) * n_points), device=targets.device)
        low, high, rows = first // n_points, (first + len(pairs) - 1) // n_points + 1, pairs // n_points
        points, increments = path(rows, pairs % n_points)
        values = upcast(model_pass.gradient(points, targets[rows]) * increments)
        own = upcast(rows == torch.arange(low, high, device=rows.device)[:, None])
        total[low:high] += (own @ values.flatten(1)).view_as(total[low:high])
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
            first = {"riemann_left": 0.0, "riemann_middle": 0.5, "riemann_right": 1.0}[rule]
            nodes = (np.arange(steps) + first) / steps
    return torch.from_numpy(nodes).float(), torch.from_numpy(weights).float()


def _integrate_straight_line(
    model_pass: Pass, targets: Tensor, baseline: Tensor, nodes: Tensor, weights: Tensor
) -> Tensor:
    """Integrated gradients from a baseline, ``(B,3,H,W)`` or a colour ``(1,3,1,1)``; nodes and weights ``(S,)``."""
    way = model_pass.images - baseline
    nodes, weights = (values.to(way)[:, None, None, None] for values in (nodes, weights))

    def line(rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        begin = baseline if len(baseline) == 1 else baseline[rows]
        return begin + nodes[numbers] * way[rows], weights[numbers]

    return _integrate(model_pass, targets, len(nodes), line) * way


def _random_line_path(model_pass: Pass, samples: int, noise: float) -> IntegrationPath:
    """From a random reference image, or the mean colour, to the image; each point anywhere on its own line."""
    starts = model_pass.mean[None, :, None, None].expand_as(model_pass.images[:1])
    if model_pass.reference is not None:
        starts = model_pass.reference.images
    drawn = model_pass.draw("expected_gradients", lambda g: torch.rand((samples, 2), generator=g))
    which = (drawn[..., 0] * len(starts)).long().clamp_max(len(starts) - 1)
    places = drawn[..., 1, None, None, None]

    def path(rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        start = starts[which[rows, numbers]]
        way = model_pass.images[rows] + _image_noise(model_pass, samples, noise, rows, numbers) - start
        return start + places[rows, numbers] * way, way / samples

    return path


def _image_noise(model_pass: Pass, samples: int, noise: float, rows: Tensor, indices: Tensor) -> Tensor | float:
    """Normal noise of each sample, drawn only for the images at hand."""
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
    sigmas = [sigma * sides[0] * half / (2 * steps) for half in range(2 * steps + 1)]
    down, across = (
        torch.stack([_blur_matrix(side, value, min(sides) - 1) for value in sigmas]).to(model_pass.images)
        for side in sides
    )

    def blurred(rows: Tensor, half: Tensor) -> Tensor:
        return down[half, None] @ model_pass.images[rows] @ across[half, None].mT

    def path(rows: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        sharper, middle, blurrier = (blurred(rows, 2 * numbers + end) for end in range(3))
        return middle, sharper - blurrier

    return path


def _blur_matrix(side: int, sigma: float, max_radius: int) -> Tensor:
    """``(side,side)``: `filters.gaussian_blur` along one axis, as a matrix; its reach is ``max_radius`` or less."""
    if sigma == 0:
        return torch.eye(side)
    radius = max(1, min(int(3 * sigma + 0.5), max_radius))
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(side)[:, None] + offsets).abs()
    mirrored = (side - 1) - ((side - 1) - places).abs()
    return torch.zeros(side, side).scatter_add_(1, mirrored, (kernel / kernel.sum()).expand(side, -1))


# The adaptive path.


def _integrate_guided_path(model_pass: Pass, targets: Tensor, steps: int, fraction: float, max_dist: float) -> Tensor:
    """Follows the path of all images at once; a place on it is the share of the way that each value has gone."""
    start = model_pass.mean[None, :, None, None]
    way = model_pass.images - start
    gone, total = torch.zeros_like(way), torch.zeros_like(way)
    gradient = model_pass.gradient(start + gone * way, targets)
    for step in range(1, steps):
        share = step / (steps - 1)
        behind, ahead = max(share - max_dist, 0.0), min(share + max_dist, 1.0)
        before, gone = gone, _advance(gone.clamp_min(behind), way.abs(), gradient.abs(), share, ahead, fraction)
        last, gradient = gradient, model_pass.gradient(start + gone * way, targets)
        total += (gone - before) * way * (last + gradient) / 2
    return total


def _advance(
    progress: Tensor, length: Tensor, gradient_size: Tensor, share: float, max_progress: float, fraction: float
) -> Tensor:
    """Moves the values with the smallest gradients on until the whole image has gone its share of the way.

    Args:
        progress: ``(B,3,H,W)`` in [0,1], the share of its way that each value has gone.
        length: of each value's way.
        gradient_size: of its gradient.
        share: of the whole way, to be reached.
        max_progress: the furthest that a value may go.
        fraction: of the values, to be moved together.
    """
    whole = _sum_per_image(length)
    for _ in range(math.ceil(1 / fraction) + 1):
        missing = share * whole - _sum_per_image(progress * length)
        missing = torch.where(missing > 1e-6 * whole, missing, 0.0)
        if not missing.any():
            break
        chosen = _smallest_mask(
            torch.where((progress < max_progress) & (length > 0), gradient_size, torch.inf), fraction
        )
        room = _sum_per_image(chosen * (max_progress - progress) * length)
        part = torch.where(room > 0, missing / room, 0.0).clamp_max(1.0)
        progress = torch.where(
            chosen, torch.lerp(progress, torch.full_like(progress, max_progress), part.to(progress.dtype)), progress
        )
    return progress


def _sum_per_image(values: Tensor) -> Tensor:
    """``(B,1,1,1)``, of each image, in the widest type."""
    return upcast(values).sum((1, 2, 3), keepdim=True)


def _smallest_mask(sizes: Tensor, fraction: float) -> Tensor:
    """``(B,3,H,W)`` bool: the smallest of each image's sizes, a fraction of all; infinite ones are never chosen."""
    flat = sizes.flatten(1)
    place = int(fraction * (flat.shape[1] - 1)) + 1
    highest = flat.kthvalue(place, dim=1).values[:, None, None, None]
    return (sizes <= highest) & sizes.isfinite()
