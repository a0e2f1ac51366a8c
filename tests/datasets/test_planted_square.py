"""The planted square: one flat square in noise, labelled by its shade, the same on every load."""

import pytest
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.registry import datasets


def opened(**params: object):
    return datasets["planted_square"].create({"size": 32, "count": 12, **params})


def test_the_square_is_flat_and_the_rest_is_noise() -> None:
    """Inside the middle quarter each channel has one value; outside, values vary over the whole range."""
    data = opened()
    batch = data.load(list(data.table().index))
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:24, 8:24] = True
    assert batch.regions.equal(inside.expand(12, 32, 32))
    assert inside.float().mean() == 0.25
    square = batch.images[:, :, 8:24, 8:24]
    assert square.equal(square[:, :, :1, :1].expand_as(square))
    noise = batch.images[:, :, ~inside]
    assert noise.std() == pytest.approx(1 / 12**0.5, rel=0.02)
    assert batch.images.min() >= 0
    assert batch.images.max() <= 1


def test_the_label_is_the_shade() -> None:
    """Bright squares lie in [0.7, 0.95], dark ones in [0.05, 0.3]; labels, groups and table agree."""
    data = opened()
    table = data.table()
    batch = data.load(list(table.index))
    level = batch.images[:, :, 16, 16]
    bright = batch.labels == data.classes.index("bright")
    assert bright.sum() == 6
    assert ((level[bright] >= 0.7) & (level[bright] <= 0.95)).all()
    assert ((level[~bright] >= 0.05) & (level[~bright] <= 0.3)).all()
    assert table.label.tolist() == batch.labels.tolist()
    for attribute, names in data.attributes.items():
        assert tuple(table[attribute]) == batch.groups[attribute]
        assert set(table[attribute]) == set(names)
    assert table.groupby(["shade", "tint"]).size().tolist() == [3, 3, 3, 3]


def test_an_image_is_the_same_in_any_load() -> None:
    """Alone, in any order, in a larger data set: the same pixels; another seed gives others, and other ids."""
    data = opened()
    ids = list(data.table().index)
    whole = data.load(ids)
    turned = data.load(ids[::-1])
    assert turned.images.equal(whole.images.flip(0))
    assert turned.labels.equal(whole.labels.flip(0))
    assert opened(count=40).load(ids[3:4]).images.equal(whole.images[3:4])
    other = opened(seed=1)
    assert not other.load(list(other.table().index)).images.equal(whole.images)
    assert not set(other.table().index) & set(ids)


def test_the_revision_follows_the_images() -> None:
    """Other images, another size, another seed: another revision; the order of the ids does not matter."""
    data = opened()
    ids = list(data.table().index)
    assert data.revision(ids) == data.revision(ids[::-1])
    assert (
        len({data.revision(ids), data.revision(ids[1:]), opened(size=64).revision(ids), opened(seed=1).revision(ids)})
        == 4
    )
    assert data.unreadable(ids) == {}


def test_the_mean_colour_is_the_images_expectation() -> None:
    """Half bright, half dark, noise around a half: the mean over many images is grey."""
    data = opened(count=200)
    images = data.load(list(data.table().index)).images
    torch.testing.assert_close(images.mean((0, 2, 3)), data.mean, rtol=0, atol=0.01)


@pytest.mark.parametrize("size", [16, 40, 0])
def test_a_size_that_does_not_fit_is_refused(size: int) -> None:
    """The square must be a whole number of cells."""
    with pytest.raises(DataError, match=f"multiple of 16 from 32 on, got {size}"):
        opened(size=size)


def test_only_the_shade_is_a_target() -> None:
    """Another target is named, with what there is."""
    with pytest.raises(UnknownName, match="shade"):
        opened(target="colour")
