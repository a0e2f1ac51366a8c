"""Imputers fill removed pixels only, with what they promise, and refuse parameters that make no sense."""

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mavis.core.attribution_maps import cells_to_pixels
from mavis.core.errors import BadParameter, MavisError
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.perturbation.imputers import get_imputer
from mavis.core.registry import imputers
from mavis.core.types import PART_CODES

from ...toys import GREY, Pooled, make_pass, random_images


@pytest.mark.parametrize("sigma", [0.0, -0.1, 0.51, float("nan")])
def test_a_blur_that_makes_no_sense_is_refused(sigma: float) -> None:
    """The imputer's sigma is a share of the image's height."""
    with pytest.raises(BadParameter, match=r"share of the image in \(0, 0.5\]"):
        imputers["blur"].create({"sigma": sigma})


# Imputers.


def removal(cells: list[int], size: int = 8) -> Tensor:
    """``(1,1,H,W)``: the pixels of some of 16 cells."""
    removed = torch.zeros(1, 1, 16, dtype=torch.bool)
    removed[0, 0, cells] = True
    return cells_to_pixels(removed, (size, size))


def truthful(model_pass: Pass) -> Pass:
    """The pass with two face parts that can be drawn anew: one black, the other white."""
    parts = torch.zeros(model_pass.images.shape[0], *model_pass.images.shape[2:], dtype=torch.uint8)
    parts[:, :, parts.shape[2] // 2 :] = PART_CODES["eyes"]
    shades = {"background": 0.0, "eyes": 1.0}
    batch = replace(
        model_pass.batch,
        parts=parts,
        rerender=lambda part, _: torch.full_like(model_pass.images, shades.get(part, 0.3)),
    )
    return replace(model_pass, batch=batch)


@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("name", imputers.names())
def test_all_channels_of_a_pixel_go_together(name: str, size: int) -> None:
    """Every channel inside the removed pixels changes; outside every value is bit for bit what it was."""
    model_pass = truthful(make_pass(Pooled(), random_images(3, size), mean=torch.tensor([0.2, 0.4, 0.6])))
    before = model_pass.images.clone()
    removed = removal([5, 6], size)
    image = get_imputer(name)(model_pass)(torch.tensor([2]), removed)[0, 0]
    assert (image != model_pass.images[2])[:, removed[0, 0]].all()
    assert image[:, ~removed[0, 0]].equal(model_pass.images[2][:, ~removed[0, 0]])
    assert model_pass.images.equal(before)


def filled_by(name: str, model_pass: Pass) -> Tensor:
    """The images with every pixel removed."""
    rows = torch.arange(len(model_pass))
    return get_imputer(name)(model_pass)(
        rows, torch.ones((len(model_pass), 1, *model_pass.images.shape[2:]), dtype=torch.bool)
    )[:, 0]


def test_what_each_imputer_shows() -> None:
    """The data set's colour, the blurred image, the noise of that image, and each part as it is when drawn anew."""
    model_pass = truthful(make_pass(Pooled(), random_images(2), mean=torch.tensor([0.2, 0.4, 0.6])))
    colour = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(2, 3, 8, 8)
    assert filled_by("mean", model_pass).equal(colour)
    assert filled_by("blur:sigma=0.1", model_pass).equal(gaussian_blur(model_pass.images, 0.8))
    uniform = filled_by("noise", model_pass)
    assert not uniform.equal(filled_by("noise:draw=1", model_pass))
    assert uniform[1:].equal(filled_by("noise", model_pass.single_image(1)))
    assert (uniform.min() >= 0) & (uniform.max() <= 1)
    drawn = filled_by("render", model_pass)
    assert (drawn[..., :4] == 0).all() & (drawn[..., 4:] == 1).all()
    torch.testing.assert_close(filled_by("linear:noise=0", model_pass), colour)


def test_the_linear_imputer_adds_the_image_s_own_noise() -> None:
    """What is filled in differs from the exact solution by noise of the stated size; the rest is untouched."""
    model_pass = make_pass(Pooled(), random_images(2, 32))
    removed = removal([5, 6], 32)
    exact = get_imputer("linear:noise=0")(model_pass)(torch.tensor([1]), removed)
    noisy = get_imputer("linear:noise=0.1")(model_pass)(torch.tensor([1]), removed)
    change = (noisy - exact)[0, 0]
    assert change[:, removed[0, 0]].std() == pytest.approx(0.1, rel=0.1)
    assert (change[:, ~removed[0, 0]] == 0).all()
    alone = get_imputer("linear:noise=0.1")(model_pass.single_image(1))(torch.tensor([0]), removed)
    assert alone.equal(noisy)


def test_rows_and_sets_of_pixels_are_combined() -> None:
    """Row o of the result is image rows[o] without each of its sets; an image may come twice."""
    model_pass = make_pass(Pooled(), random_images(3))
    none, full = removal([])[0], removal(list(range(16)))[0]
    removed = torch.stack([torch.cat([none, full]), torch.cat([none, none])])
    images = get_imputer("mean")(model_pass)(torch.tensor([2, 0]), removed)
    assert images[0, 0].equal(model_pass.images[2])
    assert images[0, 1].equal(torch.full((3, 8, 8), 0.5))
    assert images[1].equal(model_pass.images[[0, 0]])


def test_the_mean_colour_is_the_data_set_s() -> None:
    """A black image without any cell left is the data set's colour, not its own."""
    model_pass = make_pass(Pooled(), torch.zeros(1, 3, 8, 8), mean=GREY)
    assert filled_by("mean", model_pass).equal(torch.full((1, 3, 8, 8), 0.5))


@pytest.mark.parametrize(
    ("spec", "message"),
    [("men", "mean"), ("blur:radius=2", "no parameter 'radius'"), ("blur:sigma=wide", "name:key=number"),
     ("blur:sigma=0.9", "share of the image"), ("linear:noise=-1", "at least 0")],
)  # fmt: skip
def test_a_wrong_imputer_is_refused(spec: str, message: str) -> None:
    """An unknown name suggests, a parameter that is unknown, no number or out of range is named."""
    with pytest.raises(MavisError, match=re.escape(message)):
        get_imputer(spec)
