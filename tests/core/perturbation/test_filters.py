"""Gaussian blur agrees with scipy; uniform noise stays within its radius and belongs to the image."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mavis.core.perturbation.filters import gaussian_blur, uniform_noise

from ...toys import Pooled, make_pass, random_images


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0, 3.3])
@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 1, 24, 17)])
def test_blur_is_that_of_scipy(sigma: float, shape: tuple[int, ...]) -> None:
    """A Gaussian cut at 3σ with the border reflected about its outermost pixel ("mirror" in scipy's words)."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = ndimage.gaussian_filter(images.numpy(), sigma, mode="mirror", truncate=3, axes=(2, 3))
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-5)


def test_blur_keeps_a_constant() -> None:
    """A grey image stays grey, also under a blur wider than the image, and at its border."""
    images = torch.full((2, 3, 8, 8), 0.3)
    for sigma in (0.01, 1.0, 4.0, 40.0):
        torch.testing.assert_close(gaussian_blur(images, sigma), images)


def test_noise_is_uniform_within_its_radius() -> None:
    """No value beyond the radius, mean 0 and variance r²/3 within 4 standard errors."""
    noise = uniform_noise(make_pass(Pooled(), random_images(20, 32)), "noise 0", 0.3)
    assert noise.abs().max() <= 0.3
    error = 0.3 / (3 * noise.numel()) ** 0.5
    assert noise.mean() == pytest.approx(0, abs=4 * error)
    assert noise.square().mean() == pytest.approx(0.03, rel=0.02)


def test_noise_belongs_to_the_image_and_the_stream() -> None:
    """An image has the same noise alone and in a batch, other noise in another stream; the radius scales it."""
    model_pass = make_pass(Pooled(), random_images(3))
    noise = uniform_noise(model_pass, "a", 0.1)
    assert uniform_noise(model_pass.single_image(1), "a", 0.1).equal(noise[1:2])
    assert not uniform_noise(model_pass, "b", 0.1).equal(noise)
    torch.testing.assert_close(uniform_noise(model_pass, "a", 0.2), 2 * noise)
