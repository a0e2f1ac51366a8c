"""How images look, against Pillow and scipy."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import laplace

from mavis.datasets.loading.image_statistics import image_statistics

MEAN = torch.tensor([0.5, 0.4, 0.3])


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((5, 3, 20, 16), generator=torch.Generator().manual_seed(0))


def test_brightness_is_the_mean_of_grey(images: torch.Tensor) -> None:
    """It is what Pillow's conversion to grey gives, to its rounding."""
    found = image_statistics(images, MEAN)["brightness"]
    for image, brightness in zip(images, found, strict=True):
        pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        grey = np.asarray(Image.fromarray(pixels).convert("L")) / 255
        assert float(brightness) == pytest.approx(grey.mean(), abs=2e-3)


def test_contrast_and_sharpness_by_hand() -> None:
    """A board of 0 and 1 has mean and deviation .5 and a Laplacian of ±4; a grey image has neither."""
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2).float().expand(1, 3, 8, 8)
    found = image_statistics(torch.cat([board, torch.full_like(board, 0.7)]), MEAN)
    assert found["brightness"].tolist() == pytest.approx([0.5, 0.7])
    assert found["contrast"].tolist() == pytest.approx([0.5, 0.0], abs=1e-7)
    assert found["sharpness"].tolist() == pytest.approx([16.0, 0.0], abs=1e-7)


def test_sharpness_is_the_variance_of_scipys_laplacian(images: torch.Tensor) -> None:
    """Without the border, where it would depend on what is assumed beyond it."""
    luma = torch.einsum("bchw,c->bhw", images.double(), torch.tensor([0.299, 0.587, 0.114]).double()).numpy()
    expected = [laplace(one)[1:-1, 1:-1].var() for one in luma]
    np.testing.assert_allclose(image_statistics(images, MEAN)["sharpness"].numpy(), expected, rtol=1e-5)


def test_imputation_contrast_is_what_the_mean_imputer_changes(images: torch.Tensor) -> None:
    """The mean distance from the data set's mean colour; 0 for an image of that colour."""
    flat = MEAN[None, :, None, None].expand(1, 3, 20, 16)
    found = image_statistics(torch.cat([images, flat]), MEAN)["imputation_contrast"]
    expected = np.abs(images.numpy() - MEAN.numpy()[:, None, None]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found[:-1].numpy(), expected, rtol=1e-5)
    assert found[-1] == 0


def test_an_image_looks_the_same_in_any_batch(images: torch.Tensor) -> None:
    """No number depends on what other images there are."""
    whole = image_statistics(images, MEAN)
    for name, values in whole.items():
        alone = [float(image_statistics(images[k : k + 1], MEAN)[name]) for k in range(len(images))]
        np.testing.assert_allclose(values.numpy(), alone, rtol=1e-12)
