"""Imputers: fill removed pixels with the mean colour, a blur, noise, linear imputation or another rendering.

Explainers and metrics share them: an imputer prepares a batch once, then fills any number of masks.
"""

import json
from collections.abc import Callable

import torch
from torch import Tensor

from mavis.core.errors import BadParameter, DataError
from mavis.core.foreign_code import call_foreign
from mavis.core.guards.guarded_imputers import FillFunction, guard_imputer
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.perturbation.linear_imputer import impute_linearly
from mavis.core.registry import imputer, imputers
from mavis.core.types import PART_CODES

Imputer = Callable[[Pass], FillFunction]
"""Prepares a batch once and returns a function that fills removed pixels any number of times."""


def get_imputer(spec: str) -> Imputer:
    """Creates an imputer from its text: ``mean``, ``blur:sigma=0.1``, ``noise:draw=2,…``; a foreign one is guarded.

    Raises:
        UnknownName: no imputer has this name.
        BadParameter: the imputer does not take these parameters.
    """
    name, _, arguments = spec.partition(":")
    params = {}
    for pair in filter(None, arguments.split(",")):
        key, _, value = pair.partition("=")
        try:
            params[key.strip()] = json.loads(value)
        except ValueError:
            raise BadParameter(f"The imputer '{spec}': expected name:key=number, got '{pair}'.") from None
    entry = imputers[name]
    if entry.is_foreign:
        return guard_imputer(name, call_foreign(name, entry.create, params))
    instance: Imputer = entry.create(params)
    return instance


def fill_with(images: Tensor, fill: Tensor) -> FillFunction:
    """Fill function that shows ``fill``, ``(B,3,H,W)`` or ``(1,3,1,1)``, where pixels are removed."""

    def remove(rows: Tensor, removed: Tensor) -> Tensor:
        shown = fill.index_select(0, rows) if len(fill) > 1 else fill
        return torch.where(removed[:, :, None], shown[:, None], images.index_select(0, rows)[:, None])

    return remove


@imputer("mean", about="the data set's mean colour")
def mean_imputer() -> Imputer:
    """The data set's mean colour: a constant of the data set, not of the image."""
    return lambda model_pass: fill_with(model_pass.images, model_pass.mean[None, :, None, None])


@imputer("blur", about="the blurred image")
def blur_imputer(sigma: float = 0.0625) -> Imputer:
    """The image under a Gaussian blur.

    Args:
        sigma: standard deviation as a share of the image's height; (0, 0.5].
    """
    if not 0 < sigma <= 0.5:
        raise BadParameter(f"blur: sigma is a share of the image in (0, 0.5], got {sigma}.")
    return lambda model_pass: fill_with(
        model_pass.images, gaussian_blur(model_pass.images, sigma * model_pass.images.shape[2])
    )


@imputer("noise", about="uniform noise, drawn per image")
def noise_imputer(draw: int = 0) -> Imputer:
    """Noise uniform in [0,1] for every value of the image.

    Args:
        draw: number of the draw; another one gives other noise.
    """

    def prepare(model_pass: Pass) -> FillFunction:
        shape = model_pass.images.shape[1:]
        return fill_with(model_pass.images, model_pass.draw(f"fill {draw}", lambda g: torch.rand(shape, generator=g)))

    return prepare


@imputer("linear", about="the mean of the neighbours, solved exactly, plus noise")
def noisy_linear_imputer(noise: float = 0.01) -> Imputer:
    """Noisy linear imputation: every removed pixel is the weighted mean of its neighbours, plus normal noise.

    Args:
        noise: standard deviation of the noise, at least 0.

    Source: Rong et al. 2022 (ROAD), section 4, arXiv 2202.00449.
    Differs: the weights of a border pixel's neighbours are scaled to sum to 1; where no pixel is left, the data set's
    mean colour is shown.
    """
    if noise < 0:
        raise BadParameter(f"linear: noise must be at least 0, got {noise}.")

    def prepare(model_pass: Pass) -> FillFunction:
        images, shape = model_pass.images, model_pass.images.shape[1:]
        # Drawn for every pixel, removed or not: a pixel's noise then does not depend on the mask.
        grain = model_pass.draw("linear", lambda g: torch.randn(shape, generator=g)) * noise

        def remove(rows: Tensor, removed: Tensor) -> Tensor:
            imputed = impute_linearly(images[rows], removed, model_pass.mean)
            return torch.where(removed[:, :, None], imputed + grain[rows][:, None], imputed)

        return remove

    return prepare


@imputer("render", about="another face at the same place", rerender=True)
def render_imputer(draw: int = 0) -> Imputer:
    """The image with every face part re-rendered: each pixel shows another value of its own part at the same place.

    Args:
        draw: number of the draw.
    """

    def prepare(model_pass: Pass) -> FillFunction:
        rerender, parts = model_pass.batch.rerender, model_pass.batch.parts
        if rerender is None or parts is None:
            raise DataError("The imputer 'render' needs data that can be drawn anew; leave it out for these data.")
        fill = model_pass.images.clone()
        for part, code in PART_CODES.items():
            fill = torch.where((parts == code)[:, None], rerender(part, draw).to(fill), fill)
        return fill_with(model_pass.images, fill)

    return prepare
