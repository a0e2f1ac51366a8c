"""Explainers that read gradients with respect to the image."""

import warnings
from typing import Literal

import torch
from captum.attr import GuidedBackprop, IntegratedGradients
from torch import Tensor

from mavis.errors import BadParameter
from mavis.kinds import Explainer
from mavis.passes import Pass
from mavis.registry import explainer


@explainer("saliency", source="Simonyan et al. 2013, section 3, arXiv 1312.6034", pooling="l2")
def saliency() -> Explainer:
    """Gradient of the target logit with respect to the image.

    Returns the signed gradient; as a map its channels are pooled by their Euclidean length.
    Differs: the paper takes the largest absolute value over the channels.
    """
    return lambda run, targets: run.input_gradient(targets)


@explainer("input_x_gradient", source="Shrikumar et al. 2016, arXiv 1605.01713")
def input_x_gradient(zero: Literal["mean", "black"] = "mean") -> Explainer:
    """Image times gradient, the image measured from a colour that stands for "nothing there".

    Args:
        zero: ``mean``, the data set's mean colour, or ``black``.

    Differs: Captum always measures from black, so that a dark pixel can never matter. The default here is the colour
    that the imputer ``mean`` puts in a removed cell; ``zero="black"`` is Captum's form.
    """
    if zero not in ("mean", "black"):
        raise BadParameter(f"input_x_gradient: zero must be 'mean' or 'black', got '{zero}'.")

    def explain(run: Pass, targets: Tensor) -> Tensor:
        origin = run.mean[None, :, None, None] if zero == "mean" else 0.0
        return (run.images - origin) * run.input_gradient(targets)

    return explain


@explainer("integrated_gradients", source="Sundararajan et al. 2017, equation 3, arXiv 1703.01365", complete=True)
def integrated_gradients(steps: int = 16) -> Explainer:
    """Gradients averaged on the straight line from the data set's mean colour to the image, times the difference.

    Args:
        steps: points on the line (Gauss–Legendre), at least 2.
    """
    _at_least("integrated_gradients", "steps", steps, 2)

    def explain(run: Pass, targets: Tensor) -> Tensor:
        baseline = run.mean[None, :, None, None].expand_as(run.images)
        line = IntegratedGradients(run.net)
        found: Tensor = line.attribute(
            run.images, baseline, target=targets, n_steps=steps, internal_batch_size=max(run.chunk, len(run))
        )
        return found.float()

    return explain


@explainer("smoothgrad", source="Smilkov et al. 2017, arXiv 1706.03825", pooling="l2", stochastic=True)
def smoothgrad(samples: int = 16, noise: float = 0.1) -> Explainer:
    """Mean gradient over noisy copies of the image.

    Args:
        samples: noisy copies, at least 1.
        noise: standard deviation, as a share of the input range [0,1].

    Differs: the noise is a share of the input range, not of each image's own range.
    """
    _at_least("smoothgrad", "samples", samples, 1)

    def explain(run: Pass, targets: Tensor) -> Tensor:
        step = max(1, run.chunk // samples)
        rows = range(len(run))
        return torch.cat([_mean_gradient(run, targets, rows[first : first + step]) for first in rows[::step]])

    def _mean_gradient(run: Pass, targets: Tensor, rows: range) -> Tensor:
        shape = (samples, *run.images.shape[1:])
        ids = run.ids[rows.start : rows.stop]
        draws = run.draw("smoothgrad", lambda g: torch.randn(shape, generator=g) * noise, ids=ids)
        copies = run.images[rows.start : rows.stop, None] + draws
        gradients = run.gradient(copies.flatten(0, 1), targets[rows.start : rows.stop].repeat_interleave(samples))
        found: Tensor = gradients.unflatten(0, (len(rows), samples))
        return found.mean(1)

    return explain


@explainer("guided_backprop", source="Springenberg et al. 2015, section 3.4, arXiv 1412.6806", pooling="l2")
def guided_backprop() -> Explainer:
    """Gradient in which every ReLU passes only positive signals back."""

    def explain(run: Pass, targets: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
            images = run.images.detach().requires_grad_()
            return GuidedBackprop(run.net).attribute(images, target=targets)  # type: ignore[no-any-return]

    return explain


def _at_least(name: str, parameter: str, value: int, least: int) -> None:
    if value < least:
        raise BadParameter(f"{name}: {parameter} must be at least {least}, got {value}.")
