"""Perceptual hash (dHash): fingerprints that find equal images and near duplicates without storing the images."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mavis.core.errors import ModelError

HASH_SIDE = 16
HASH_BITS = HASH_SIDE**2
"""Bits of the perceptual hash; 64, the usual number, is too few for aligned faces (docs/adr/0021)."""

MAX_PAIRS = 2**22
"""Pairs of images that are compared at a time."""


@dataclass(frozen=True)
class Fingerprints:
    """Fingerprints of N images.

    Attributes:
        pixel_hashes: ``(N,)`` uint32, of the pixels as bytes; images are the same if both hashes are equal.
        difference_hashes: ``(N,32)`` uint8, 256 bits of which small changes of the image flip few.
    """

    pixel_hashes: NDArray[np.uint32]
    difference_hashes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixel_hashes)

    @classmethod
    def from_images(cls, images: Tensor) -> "Fingerprints":
        """Fingerprints of images ``(B,3,H,W)`` in [0,1], rounded to 1/255."""
        pixels = (images.detach().cpu() * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        pixel_hashes = [int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:4], "little") for image in pixels]
        difference_hashes = [_difference_hash(image) for image in pixels]
        return cls(
            np.array(pixel_hashes, dtype=np.uint32),
            np.array(difference_hashes, dtype=np.uint8).reshape(-1, HASH_BITS // 8),
        )

    @classmethod
    def concatenate(cls, parts: list["Fingerprints"]) -> "Fingerprints":
        """Fingerprints of all images of the parts, in their order."""
        return cls(
            np.concatenate([part.pixel_hashes for part in parts]),
            np.concatenate([part.difference_hashes for part in parts]),
        )

    def nearest_distances(self, reference: "Fingerprints") -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Finds each image among reference images: an equal one, and the Hamming distance to the nearest.

        Args:
            reference: fingerprints to compare with.

        Returns:
            ``(N,)`` bool, true for an image that is among the reference; and ``(N,)`` differing bits, 0 to 256; 256
            without reference images.
        """
        is_same, distance = np.zeros(len(self), dtype=np.bool_), np.full(len(self), HASH_BITS, dtype=np.int64)
        step = max(1, MAX_PAIRS // max(1, len(self)))
        for start in range(0, len(reference), step):
            chunk = slice(start, start + step)
            n_bits = _hamming_distances(self.difference_hashes, reference.difference_hashes[chunk])
            has_equal_pixels = self.pixel_hashes[:, None] == reference.pixel_hashes[None, chunk]
            is_same |= ((n_bits == 0) & has_equal_pixels).any(axis=1)
            distance = np.minimum(distance, n_bits.min(axis=1))
        return is_same, distance

    def to_bytes(self) -> bytes:
        """Content of a file that `load` reads: 36 bytes per image."""
        file = io.BytesIO()
        np.savez(file, exact=self.pixel_hashes, near=self.difference_hashes)
        return file.getvalue()

    @classmethod
    def load(cls, path: Path) -> "Fingerprints":
        """Reads a file written from `to_bytes`.

        Raises:
            ModelError: the file holds something else, or is damaged.
        """
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                pixel_hashes, difference_hashes = arrays["exact"], arrays["near"]
            fingerprints = cls(
                pixel_hashes.astype(np.uint32, casting="safe"), difference_hashes.astype(np.uint8, casting="safe")
            )
        except Exception as error:  # damaged bytes make the reader raise almost anything
            raise _damaged_file_error(path) from error
        if fingerprints.difference_hashes.shape != (len(fingerprints), HASH_BITS // 8):
            raise _damaged_file_error(path)
        return fingerprints


def _damaged_file_error(path: Path) -> ModelError:
    return ModelError(f"'{path}' does not hold fingerprints of training images; delete it, or train again.")


def _difference_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Difference hash ``(32,)`` of ``(H,W,3)``: grey, shrunk to 17 × 16, a bit for each pixel above its left one."""
    small = Image.fromarray(pixels).convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.LANCZOS)
    values = np.asarray(small).astype(np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1])


def _hamming_distances(a_bits: NDArray[np.uint8], b_bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """``(n,m)`` numbers of differing bits, from products of signs: one matrix product instead of n × m comparisons."""
    a, b = (np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1 for bits in (a_bits, b_bits))
    return ((HASH_BITS - a @ b.T) / 2).astype(np.int64)
