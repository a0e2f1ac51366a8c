"""Images as fingerprints: what tells whether two are the same, or copies of each other, and shows nothing of them."""

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
"""Bits of the perceptual hash: 64, the usual number, do not tell aligned faces apart (docs/adr/0021)."""

MAX_PAIRS = 2**22
"""Pairs of images that are compared at a time."""


@dataclass(frozen=True)
class Fingerprints:
    """Of N images.

    Attributes:
        pixel_hashes: ``(N,)`` uint32, of the pixels as bytes; images are the same if both hashes are equal.
        difference_hashes: ``(N,32)`` uint8, 256 bits that few changes of the image turn: a difference hash.
    """

    pixel_hashes: NDArray[np.uint32]
    difference_hashes: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixel_hashes)

    @classmethod
    def from_images(cls, images: Tensor) -> "Fingerprints":
        """Of images ``(B,3,H,W)`` in [0,1], to the nearest 1/255."""
        pixels = (images.detach().cpu() * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        exact = [int.from_bytes(hashlib.sha256(one.tobytes()).digest()[:4], "little") for one in pixels]
        near = [_difference_hash(one) for one in pixels]
        return cls(np.array(exact, dtype=np.uint32), np.array(near, dtype=np.uint8).reshape(-1, HASH_BITS // 8))

    @classmethod
    def concatenate(cls, parts: list["Fingerprints"]) -> "Fingerprints":
        """Of all images of the parts, in their order."""
        return cls(
            np.concatenate([p.pixel_hashes for p in parts]), np.concatenate([p.difference_hashes for p in parts])
        )

    def nearest_distances(self, reference: "Fingerprints") -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For each of these images, whether it is among others, and how far it is from the nearest of them.

        Returns:
            ``(N,)`` bool, and ``(N,)`` differing bits, 0 to 256; 256 where there are no others.
        """
        same, distance = np.zeros(len(self), dtype=np.bool_), np.full(len(self), HASH_BITS, dtype=np.int64)
        step = max(1, MAX_PAIRS // max(1, len(self)))
        for start in range(0, len(reference), step):
            here = slice(start, start + step)
            bits = _hamming_distances(self.difference_hashes, reference.difference_hashes[here])
            equal = self.pixel_hashes[:, None] == reference.pixel_hashes[None, here]
            same |= ((bits == 0) & equal).any(axis=1)
            distance = np.minimum(distance, bits.min(axis=1))
        return same, distance

    def to_bytes(self) -> bytes:
        """Of a file: 36 bytes an image."""
        file = io.BytesIO()
        np.savez(file, exact=self.pixel_hashes, near=self.difference_hashes)
        return file.getvalue()

    @classmethod
    def load(cls, path: Path) -> "Fingerprints":
        """Reads a file with such a content.

        Raises:
            ModelError: it is another file, or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file) as kept:
                exact, near = kept["exact"], kept["near"]
            found = cls(exact.astype(np.uint32, casting="safe"), near.astype(np.uint8, casting="safe"))
        except Exception as error:  # damaged bytes make the reader raise almost anything
            raise _damaged_file_error(path) from error
        if found.difference_hashes.shape != (len(found), HASH_BITS // 8):
            raise _damaged_file_error(path)
        return found


def _damaged_file_error(path: Path) -> ModelError:
    return ModelError(f"'{path}' does not hold fingerprints of training images; delete it, or train again.")


def _difference_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(32,)`` of ``(H,W,3)``: grey, shrunk to 17 × 16, a bit for each pixel brighter than the one before it."""
    small = Image.fromarray(pixels).convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.LANCZOS)
    values = np.asarray(small).astype(np.int16)
    return np.packbits(values[:, 1:] > values[:, :-1])


def _hamming_distances(a_bits: NDArray[np.uint8], b_bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """``(n,m)`` numbers of differing bits, by products of signs."""
    a, b = (np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1 for bits in (a_bits, b_bits))
    return ((HASH_BITS - a @ b.T) / 2).astype(np.int64)
