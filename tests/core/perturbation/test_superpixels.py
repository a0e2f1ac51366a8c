"""Superpixels follow the edges of an image and are numbered without gaps."""

import pytest
import torch

from mavis.core.perturbation.superpixels import MAX_SUPERPIXELS, superpixels

from ...toys import random_images


def test_no_superpixel_crosses_a_sharp_edge() -> None:
    """Of an image in two colours, each superpixel lies on one side."""
    images = torch.zeros(1, 3, 32, 32)
    images[..., 13:] = 1
    labels = superpixels(images, 16)[0]
    assert not set(labels[:, :13].unique().tolist()) & set(labels[:, 13:].unique().tolist())


def test_a_constant_image_is_cut_into_a_grid() -> None:
    """Without edges four superpixels of an image of 16 × 16 are rectangles, to a pixel at each border the quarters."""
    labels = superpixels(torch.full((1, 3, 16, 16), 0.5), 4)[0]
    for label in range(4):
        rows, columns = (labels == label).nonzero().T
        height, width = rows.unique().numel(), columns.unique().numel()
        assert {height, width} <= {7, 8, 9}
        assert height * width == len(rows)


@pytest.mark.parametrize("n_segments", [4, 30, MAX_SUPERPIXELS // 2])
def test_labels_count_from_nought_without_gaps(n_segments: int) -> None:
    """Every image has the labels 0 to its number of superpixels, never more than the maximum; the type is int64."""
    labels = superpixels(random_images(3, 32), n_segments)
    assert labels.shape == (3, 32, 32)
    assert labels.dtype == torch.int64
    for image in labels:
        assert image.unique().tolist() == list(range(int(image.max()) + 1))
    assert labels.max() < MAX_SUPERPIXELS


def test_an_image_s_superpixels_do_not_depend_on_its_batch() -> None:
    """Alone, an image has the same labels."""
    images = random_images(3, 24)
    assert superpixels(images[1:2], 9).equal(superpixels(images, 9)[1:2])
