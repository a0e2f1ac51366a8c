"""The image cache: the readable images of a data set, from memory or read again, to the nearest of 256 levels."""

from collections.abc import Mapping, Sequence

import pytest
import torch

from mavis.core.errors import DataError
from mavis.core.perceptual_hash import Fingerprints
from mavis.datasets.planted_square import PlantedSquare, planted_square
from mavis.models.training import image_cache
from mavis.models.training.image_cache import ImageCache


class Damaged(PlantedSquare):
    """Planted squares of which those with these numbers cannot be read."""

    broken: Sequence[int] = ()

    def unreadable(self, ids: Sequence[str]) -> Mapping[str, str]:
        return {name: "cut off" for name in ids if int(name[-6:]) in self.broken}


def damaged(*broken: int) -> Damaged:
    """Eight squares without some."""
    data = Damaged(32, 8, 0)
    data.broken = broken
    return data


@pytest.mark.parametrize("max_bytes", [2**30, 0])
def test_images_are_those_of_the_data(max_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the rows asked for, exact to half a level from memory and exact where they are read again."""
    monkeypatch.setattr(image_cache, "MAX_BYTES", max_bytes)
    data = planted_square(size=32, count=8)
    cache = ImageCache.from_dataset(data)
    assert (cache.cached_images is None) == (max_bytes == 0)
    rows = torch.tensor([5, 0, 5])
    expected = data.load([data.table().index[row] for row in rows.tolist()]).images
    tolerance = 0.5 / 255 + 1e-6 if max_bytes else 0.0
    torch.testing.assert_close(cache.images(rows), expected, rtol=0, atol=tolerance)
    assert cache.images(rows).dtype == torch.float32


def test_caching_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of three of eight images."""
    data = planted_square(size=32, count=8)
    together = ImageCache.from_dataset(data).cached_images
    monkeypatch.setattr(image_cache, "BATCH_SIZE", 3)
    assert torch.equal(ImageCache.from_dataset(data).cached_images, together)


def test_unreadable_images_are_left_out_with_their_reason() -> None:
    """Table, labels and images are those of the others."""
    cache = ImageCache.from_dataset(damaged(0, 3))
    assert list(cache.unreadable.values()) == ["cut off", "cut off"]
    assert len(cache) == 6
    assert cache.labels.tolist() == [1, 0, 0, 1, 0, 1]
    assert cache.images(torch.arange(6)).shape == (6, 3, 32, 32)


def test_no_readable_image_is_an_error() -> None:
    """It names the data set."""
    with pytest.raises(DataError, match="'planted_square' has no readable image"):
        ImageCache.from_dataset(damaged(*range(8)))


def test_a_limit_draws_by_the_seed() -> None:
    """That many images, the same ones for a seed, in the order of the table."""
    data = planted_square(size=32, count=40)
    drawn = {seed: list(ImageCache.from_dataset(data, max_images=10, seed=seed).table.index) for seed in (0, 1)}
    assert len(drawn[0]) == 10
    assert drawn[0] == sorted(drawn[0])
    assert drawn[0] == list(ImageCache.from_dataset(data, max_images=10, seed=0).table.index)
    assert drawn[0] != drawn[1]
    assert len(ImageCache.from_dataset(data, max_images=100)) == 40


def test_fingerprints_are_those_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """One per image, whatever the chunks."""
    cache = ImageCache.from_dataset(planted_square(size=32, count=8))
    expected = Fingerprints.from_images(cache.images(torch.arange(8)))
    monkeypatch.setattr(image_cache, "BATCH_SIZE", 3)
    fingerprints = cache.fingerprints()
    assert (fingerprints.difference_hashes == expected.difference_hashes).all()
    assert (fingerprints.pixel_hashes == expected.pixel_hashes).all()
