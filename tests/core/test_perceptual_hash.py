"""Which images count as the same: copies do, other images do not, and nothing of them can be seen."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mavis.core.errors import ModelError
from mavis.core.perceptual_hash import HASH_BITS, Fingerprints
from mavis.datasets.synthetic_faces import synthetic_faces

FACES = synthetic_faces()
IMAGES = FACES.load(list(FACES.table().index[:24])).images
OTHERS = FACES.load(list(FACES.table().index[24:64])).images


def picture(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def tensor(fingerprints: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(fingerprints)).permute(2, 0, 1) / 255


def compressed(image: Tensor) -> Tensor:
    file = io.BytesIO()
    picture(image).save(file, "JPEG", quality=90)
    return tensor(Image.open(file))


def scaled(image: Tensor) -> Tensor:
    return tensor(picture(image).resize((48, 48)).resize((64, 64)))


def test_the_bits_are_the_signs_of_differences() -> None:
    """Of an image of 17 × 16 pixels, which is not shrunk, every bit can be written down."""
    grey = torch.rand((1, 1, 16, 17), generator=torch.Generator().manual_seed(0)).expand(1, 3, 16, 17)
    bytes_ = (grey[0, 0] * 255).round()
    expected = (bytes_[:, 1:] > bytes_[:, :-1]).flatten().numpy()
    assert (np.unpackbits(Fingerprints.from_images(grey).difference_hashes[0]).astype(bool) == expected).all()


def test_the_same_image_is_found_and_another_is_not() -> None:
    """Whatever the order; one changed value in one pixel is another image, though a near one."""
    reference = Fingerprints.from_images(torch.cat([OTHERS, IMAGES.flip(0)]))
    same, distance = Fingerprints.from_images(IMAGES).nearest_distances(reference)
    assert same.all()
    assert (distance == 0).all()
    touched = IMAGES.clone()
    touched[:, 0, 32, 32] = 1 - touched[:, 0, 32, 32].round()
    same, distance = Fingerprints.from_images(touched).nearest_distances(reference)
    assert not same.any()
    assert (distance <= 16).all()


@pytest.mark.parametrize("changed", [compressed, scaled])
def test_copies_are_near_and_other_faces_far(changed) -> None:
    """Compressed or shrunk and enlarged, at most 16 of 256 bits differ; of other faces more."""
    copies = Fingerprints.from_images(torch.stack([changed(image) for image in IMAGES]))
    same, distance = copies.nearest_distances(Fingerprints.from_images(IMAGES))
    assert not same.any()
    assert (distance <= 16).all()
    assert (copies.nearest_distances(Fingerprints.from_images(OTHERS))[1] > 16).all()


def test_distances_agree_with_counting_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of any size, against a sum over unpacked bits; without others all bits differ."""
    ours, theirs = Fingerprints.from_images(IMAGES), Fingerprints.from_images(OTHERS)
    a, b = (np.unpackbits(fingerprints.difference_hashes, axis=1) for fingerprints in (ours, theirs))
    expected = (a[:, None] != b[None]).sum(-1).min(1)
    for pairs in (1, 24 * 7, 2**22):
        monkeypatch.setattr("mavis.core.perceptual_hash.MAX_PAIRS", pairs)
        assert (ours.nearest_distances(theirs)[1] == expected).all()
    assert (ours.nearest_distances(Fingerprints.from_images(IMAGES[:0]))[1] == HASH_BITS).all()


def test_a_file_gives_back_what_it_was_given(tmp_path: Path) -> None:
    """36 bytes an image, and a file that is none is refused in words."""
    reference = Fingerprints.from_images(IMAGES)
    path = tmp_path / "trained_on.npz"
    path.write_bytes(reference.to_bytes())
    loaded = Fingerprints.load(path)
    assert (loaded.pixel_hashes == reference.pixel_hashes).all()
    assert (loaded.difference_hashes == reference.difference_hashes).all()
    assert reference.pixel_hashes.nbytes + reference.difference_hashes.nbytes == 36 * len(IMAGES)
    path.write_bytes(reference.to_bytes()[:99])
    with pytest.raises(ModelError, match="does not hold fingerprints"):
        Fingerprints.load(path)
    np.savez(path, exact=reference.pixel_hashes, near=reference.difference_hashes[:, :8])
    with pytest.raises(ModelError, match="does not hold fingerprints"):
        Fingerprints.load(path)
