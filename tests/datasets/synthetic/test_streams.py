"""Streams: numbers from a hash."""

import numpy as np
import pytest

from mavis.datasets.synthetic.streams import Stream


def test_a_stream_is_a_function_of_its_names() -> None:
    """Equal names give equal numbers, another name gives others."""
    first, again, other = (Stream(0, "eval", 5, part) for part in ("nose", "nose", "mouth"))
    numbers = [first.uniform() for _ in range(5)]
    assert numbers == [again.uniform() for _ in range(5)]
    assert numbers != [other.uniform() for _ in range(5)]


def test_the_numbers_are_the_same_on_every_machine() -> None:
    """The first number is the first eight bytes of SHAKE-256 over the names, read as a fraction."""
    import hashlib

    word = int.from_bytes(hashlib.shake_256(b"1/x").digest(8), "little")
    assert Stream(1, "x").uniform() == (word >> 11) / 2**53


def test_bell_has_the_stated_mean_and_deviation_and_is_bounded() -> None:
    """Over 4,000 streams: mean and deviation within sampling error, nothing beyond 3.5 deviations."""
    values = np.array([Stream(0, k).bounded_normal(2.0, 0.5) for k in range(4000)])
    assert values.mean() == pytest.approx(2.0, abs=4 * 0.5 / 4000**0.5)
    assert values.std() == pytest.approx(0.5, rel=0.05)
    assert np.abs(values - 2.0).max() <= 0.5 * 2 * 3**0.5


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 33, 33)])
def test_noise_is_white(shape: tuple[int, ...]) -> None:
    """Mean 0, deviation 1, and neighbours that know nothing of each other."""
    noise = Stream(0, "a").noise(shape)
    assert noise.dtype == np.float32
    assert noise.shape == shape
    assert noise.mean() == pytest.approx(0, abs=5 / noise.size**0.5)
    assert noise.std() == pytest.approx(1, rel=0.05)
    assert np.corrcoef(noise[:, :, 1:].ravel(), noise[:, :, :-1].ravel())[0, 1] == pytest.approx(0, abs=0.08)
