"""Augmentation: what is changed, by how much, and what is left alone."""

import pytest
import torch

from mavis.models.training.augmentation import Augmentation

NONE = Augmentation(flip=False, shift=0, brightness=0, drop=0)
MEAN = torch.tensor([0.1, 0.2, 0.3])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def images(count: int = 64, size: int = 32) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def with_only(**options: object) -> Augmentation:
    """One change, the others off."""
    return Augmentation(**({"flip": False, "shift": 0, "brightness": 0, "drop": 0} | options))


def test_everything_off_changes_nothing() -> None:
    """The images come back as they are."""
    assert torch.equal(NONE(images(), MEAN, generator()), images())


def test_the_default_leaves_its_input_alone_and_its_output_in_range() -> None:
    """New tensors in [0,1], the given ones untouched, the same for equal generators."""
    given = images()
    out = Augmentation()(given, MEAN, generator())
    assert torch.equal(given, images())
    assert 0 <= float(out.min()) <= float(out.max()) <= 1
    assert torch.equal(out, Augmentation()(given, MEAN, generator()))


def test_a_flip_mirrors_about_half() -> None:
    """Each image is itself or its mirror image."""
    out, given = with_only(flip=True)(images(400, 8), MEAN, generator()), images(400, 8)
    kept = (out == given).flatten(1).all(1)
    assert ((out == given.flip(3)).flatten(1).all(1) | kept).all()
    assert 140 < int(kept.sum()) < 260


def test_a_shift_moves_by_whole_pixels() -> None:
    """Each image is one of the shifts by up to a tenth, away from the borders."""
    given, out = images(40), with_only(shift=0.1)(images(40), MEAN, generator())
    inner = slice(3, -3)
    found = torch.zeros(40, dtype=torch.bool)
    for dy in range(-3, 4):
        for dx in range(-3, 4):
            moved = given.roll((dy, dx), (2, 3))
            found |= (moved[..., inner, inner] == out[..., inner, inner]).flatten(1).all(1)
    assert found.all()
    assert not torch.equal(out, given)


def test_brightness_scales_each_image() -> None:
    """One factor per image, within the stated share."""
    given, out = images() * 0.5, with_only(brightness=0.2)(images() * 0.5, MEAN, generator())
    factor = (out / given).flatten(1)
    assert float((factor.amax(1) - factor.amin(1)).max()) < 1e-3
    assert 0.8 <= float(factor.min()) < 0.9 < 1.1 < float(factor.max()) <= 1.2


def test_dropped_cells_are_whole_and_of_the_mean_colour() -> None:
    """About half of the batches have holes: whole cells, up to the stated share, exactly the mean colour."""
    drop, draws = with_only(drop=0.6, grid=8), generator()
    batches = [drop(images(), MEAN, draws) for _ in range(200)]
    holed = [batch for batch in batches if not torch.equal(batch, images())]
    assert 70 < len(holed) < 130
    gone = (holed[0] != images()).any(1)
    assert torch.equal(holed[0].permute(0, 2, 3, 1)[gone], MEAN.expand(int(gone.sum()), 3))
    cells = gone.unflatten(2, (8, 4)).unflatten(1, (8, 4))
    assert torch.equal(cells.all(4).all(2), cells.any(4).any(2))
    shares = torch.cat([(batch != images()).any(1).float().mean((1, 2)) for batch in holed])
    assert float(shares.max()) < 0.85
    assert float(shares.mean()) == pytest.approx(0.3, abs=0.02)
