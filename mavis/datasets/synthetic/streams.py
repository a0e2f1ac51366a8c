"""Random numbers of one part of one synthetic face, read from a hash.

Only SHA-3 and IEEE arithmetic that every machine rounds alike are used, so the numbers are the same everywhere.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Choice = TypeVar("Choice")

_MAX_NUMBERS = 96


class Stream:
    """Numbers that depend on the names of the stream only.

    Args:
        names: the key, e.g. seed, split, index and part. At most 96 numbers can be drawn.
    """

    def __init__(self, *names: int | str) -> None:
        self.key = "/".join(map(str, names))
        integers = np.frombuffer(hashlib.shake_256(self.key.encode()).digest(8 * _MAX_NUMBERS), dtype="<u8")
        self._uniforms = iter(((integers >> np.uint64(11)) * 2.0**-53).tolist())  # 53 bits fill a float64

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number from [low, high)."""
        return low + (high - low) * float(next(self._uniforms))

    def bounded_normal(self, mean: float, deviation: float) -> float:
        """A number with this mean and standard deviation, at most 3.5 deviations away: a sum of four uniforms."""
        total = sum(self.uniform() for _ in range(4))
        return mean + deviation * math.sqrt(3.0) * (total - 2.0)

    def bernoulli(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choice(self, values: Sequence[Choice]) -> Choice:
        """A random element of the values, each equally likely."""
        return values[int(self.uniform() * len(values))]

    def texture(self, count: int) -> npt.NDArray[np.float32]:
        """``(count,)`` float32 in [-1,1), for use as a repeating noise."""
        integers = np.frombuffer(hashlib.shake_256(f"{self.key}/texture".encode()).digest(2 * count), dtype="<u2")
        return integers.astype(np.float32) / np.float32(32768) - np.float32(1)

    def noise(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """Independent numbers of mean 0 and standard deviation 1, float32: sums of four bytes."""
        count = int(np.prod(shape))
        start = int.from_bytes(hashlib.shake_256(f"{self.key}/noise".encode()).digest(16), "little")
        integers = np.random.PCG64(start).random_raw((count + 1) // 2).astype("<u8", copy=False)
        pairs = integers.view("<u4").view(np.uint8).reshape(-1, 4)[:count]
        total = (pairs[:, 0].astype(np.int16) + pairs[:, 1]) + (pairs[:, 2].astype(np.int16) + pairs[:, 3])
        deviation = 2.0 * math.sqrt((256.0**2 - 1.0) / 12.0)
        return ((total - np.int16(510)).astype(np.float32) / np.float32(deviation)).reshape(shape)
