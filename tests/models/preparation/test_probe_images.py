"""Images on which a model is asked: always the same, varied, none constant."""

import pytest
import torch

from mavis.models.preparation.probe_images import extreme_images, noise, varied_images


@pytest.mark.parametrize("size", [2, 7, 64])
def test_images_are_varied_and_in_range(size: int) -> None:
    """Sixteen float32 images in [0,1], dark and bright ones; no image is constant, no two are equal."""
    images = varied_images(size)
    assert images.shape == (16, 3, size, size)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    assert (images.flatten(1).std(1) > 1e-4).all()
    assert len({image.numpy().tobytes() for image in images}) == 16
    assert torch.equal(images, varied_images(size))


def test_extreme_images_are_far_beyond() -> None:
    """In both directions."""
    images = extreme_images(16)
    assert images.min() < -300
    assert images.max() > 300


def test_noise_does_not_depend_on_the_default_dtype() -> None:
    """float32 for every caller."""
    torch.set_default_dtype(torch.float64)
    try:
        images = [noise(2, 4), varied_images(4), extreme_images(4)]
    finally:
        torch.set_default_dtype(torch.float32)
    assert {image.dtype for image in images} == {torch.float32}
