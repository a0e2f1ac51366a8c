"""Image places: axes that follow the image, and axes that only have its shape."""

import pytest
import torch
from torch import Tensor, nn

from mavis.models.preparation.image_places import exchange_strips, has_image_axes

IMAGES = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))


def tokens(images: Tensor) -> Tensor:
    """``(B,16,8)``: a linear layer's output for each patch of 8 × 8 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        patches = nn.Conv2d(3, 8, 8, 8)
    return patches(images).flatten(2).transpose(1, 2).detach()


def attention(values: Tensor) -> Tensor:
    """``(B,1,16,16)``: how far each token looks at each."""
    return (values @ values.transpose(1, 2)).softmax(2)[:, None]


def as_maps(values: Tensor) -> Tensor:
    """Tokens as maps ``(B,8,4,4)``, row by row."""
    return values.transpose(1, 2).unflatten(2, (4, 4))


def test_strips_are_exchanged_one_at_a_time() -> None:
    """Four rows and four columns; together each covers the image once."""
    changed = (exchange_strips(IMAGES)[1:] != IMAGES[:1]).all(1)
    assert changed.shape == (8, 32, 32)
    assert (changed[:4].sum(0) == 1).all()
    assert (changed[4:].sum(0) == 1).all()
    assert changed[0, :8].all()
    assert changed[4, :, :8].all()


@pytest.mark.parametrize("pool", [1, 2, 4, 8, 16])
def test_pooled_pixels_have_places(pool: int) -> None:
    """Down to 2 × 2 places."""
    assert has_image_axes(nn.functional.avg_pool2d(exchange_strips(IMAGES), pool))


def test_tokens_row_by_row_have_places() -> None:
    """Each answers to its own patch."""
    assert has_image_axes(as_maps(tokens(exchange_strips(IMAGES))))


@pytest.mark.parametrize(
    "output",
    [
        lambda images: attention(tokens(images)),
        lambda images: attention(tokens(images)).flip(3),
        lambda images: as_maps(tokens(images)[:, torch.randperm(16, generator=torch.Generator().manual_seed(1))]),
        lambda images: as_maps(tokens(images)).flip(2),
        lambda images: nn.functional.avg_pool2d(images, 8).permute(0, 2, 3, 1).repeat(1, 1, 1, 2),
        lambda images: images.mean((2, 3), keepdim=True),
        torch.zeros_like,
        lambda images: images * torch.nan,
    ],
    ids=["attention", "attention mirrored", "tokens in another order", "upside down", "channels last", "one place",
         "constant", "nan"],
)  # fmt: skip
def test_other_axes_are_none_of_the_image(output) -> None:
    """Whatever their shape."""
    assert not has_image_axes(output(exchange_strips(IMAGES)))


def test_an_output_that_answers_alike_everywhere_is_not_refused() -> None:
    """Each place sees the whole image, and its own a little more: as in the last layers of deep networks."""
    images = exchange_strips(IMAGES)
    pooled = nn.functional.avg_pool2d(images, 16)
    assert has_image_axes(pooled.mean((2, 3), keepdim=True) + 0.02 * pooled.flip(2))
