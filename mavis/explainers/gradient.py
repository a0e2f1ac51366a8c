"""Explainers that read gradients at the image and at noisy copies of it."""

from typing import Literal

import torch
from torch import Tensor

from mavis.core.devices import upcast
from mavis.core.errors import BadParameter
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.registry import explainer


@explainer("saliency", source="Simonyan et al. 2013, section 3, arXiv 1312.6034", pooling="l2")
def saliency() -> Explainer:
    """Gradient of the target logit with respect to the image.

    Returns the signed gradient; as a map its channels are pooled by their Euclidean length.
    Differs: the paper takes the largest absolute value over the channels.
    """
    return lambda model_pass, targets: model_pass.input_gradient(targets)


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

    def explain(model_pass: Pass, targets: Tensor) -> Tensor:
        origin = model_pass.mean[None, :, None, None] if zero == "mean" else 0.0
        return (model_pass.images - origin) * model_pass.input_gradient(targets)

    return explain


@explainer("smoothgrad", source="Smilkov et al. 2017, arXiv 1706.03825", pooling="l2", stochastic=True)
def smoothgrad(samples: int = 16, noise: float = 0.1) -> Explainer:
    """Mean gradient over noisy copies of the image.

    Args:
        samples: noisy copies, at least 1.
        noise: standard deviation, as a share of the input range [0,1].

    Differs: the noise is a share of the input range, not of each image's own range.
    """
    check_at_least("smoothgrad", "samples", samples, 1)
    check_at_least("smoothgrad", "noise", noise, 0)
    return lambda model_pass, targets: _noisy_gradient_moments(model_pass, targets, samples, noise)[0]


@explainer(
    "smoothgrad_squared",
    source="Hooker et al. 2019, section 4.1 (SG-SQ), arXiv 1806.10758",
    stochastic=True,
    signed=False,
    magnitude=True,
)
def smoothgrad_squared(samples: int = 16, noise: float = 0.1) -> Explainer:
    """Mean of the squared gradients at the noisy copies of `smoothgrad`.

    Args:
        samples: noisy copies, at least 1.
        noise: standard deviation, as a share of the input range [0,1].

    Differs: the noise is a share of the input range, not of each image's own range; the mean over the copies where
    the paper has the sum.
    """
    check_at_least("smoothgrad_squared", "samples", samples, 1)
    check_at_least("smoothgrad_squared", "noise", noise, 0)
    return lambda model_pass, targets: _noisy_gradient_moments(model_pass, targets, samples, noise)[1]


@explainer(
    "vargrad",
    source="Adebayo et al. 2018, arXiv 1810.03307; Hooker et al. 2019, section 4.1, arXiv 1806.10758",
    stochastic=True,
    signed=False,
    magnitude=True,
)
def vargrad(samples: int = 16, noise: float = 0.1) -> Explainer:
    """Variance of the gradient over the noisy copies of `smoothgrad`; the unbiased estimate.

    Args:
        samples: noisy copies, at least 2.
        noise: standard deviation, as a share of the input range [0,1].

    Differs: the noise is a share of the input range, not of each image's own range. Captum divides by the number of
    copies, so its values are (samples − 1)/samples of these.
    """
    check_at_least("vargrad", "samples", samples, 2)
    check_at_least("vargrad", "noise", noise, 0)
    return lambda model_pass, targets: _noisy_gradient_moments(model_pass, targets, samples, noise)[2]


def check_at_least(name: str, parameter: str, value: float, min_value: float) -> None:
    """Raises BadParameter for a parameter of an explainer that is too small."""
    if not value >= min_value:
        raise BadParameter(f"{name}: {parameter} must be at least {min_value}, got {value}.")


def _noisy_gradient_moments(model_pass: Pass, targets: Tensor, samples: int, noise: float) -> tuple[Tensor, ...]:
    """Mean, mean square and variance of the gradients at noisy copies, ``(B,3,H,W)`` each; computed once per pass."""
    step = max(1, model_pass.chunk // samples)
    batch_rows = range(len(model_pass))
    row_groups = [batch_rows[start : start + step] for start in batch_rows[::step]]

    def compute() -> tuple[Tensor, ...]:
        moments = [_moments(_noisy_gradients(model_pass, targets, samples, noise, rows)) for rows in row_groups]
        return tuple(torch.cat(parts) for parts in zip(*moments, strict=True))

    return model_pass.compute_once(("noisy gradients", tuple(targets.tolist()), samples, noise), compute)


def _noisy_gradients(model_pass: Pass, targets: Tensor, samples: int, noise: float, rows: range) -> Tensor:
    """Gradients ``(b,samples,3,H,W)`` at noisy copies of some rows of the batch."""
    row_slice = slice(rows.start, rows.stop)
    shape = (samples, *model_pass.images.shape[1:])
    draws = model_pass.draw(
        "smoothgrad", lambda g: torch.randn(shape, generator=g).mul_(noise), ids=model_pass.ids[row_slice]
    )
    copies = draws.add_(model_pass.images[row_slice, None])
    gradients = model_pass.gradient(copies.flatten(0, 1), targets[row_slice].repeat_interleave(samples))
    per_image: Tensor = gradients.unflatten(0, (len(rows), samples))
    return per_image


def _moments(gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, mean square and unbiased variance over the second dimension; the variance of a single sample is 0."""
    samples, gradients = gradients.shape[1], upcast(gradients)
    mean = gradients.mean(1)
    spread = (gradients - mean[:, None]).square().sum(1)
    square, variance = spread / samples + mean**2, spread / max(1, samples - 1)
    return mean.float(), square.float(), variance.float()
