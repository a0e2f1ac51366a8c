"""Random numbers belong to an image, a component and a seed, and to nothing else."""

import hashlib
import random

import numpy as np
import torch

from mavis.core.seeding import derive_seed, draw_per_image, make_generator, seeded_generators

IDS = tuple(f"val/{n}.jpg" for n in range(12))


def _normal(source: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 4, generator=source)


def test_a_seed_is_the_hash_of_seed_and_names() -> None:
    """A seed is the first 63 bits of a SHA-256 over the run's seed and the names, so it can be computed anywhere."""
    expected = int(hashlib.sha256(b"7\x1fval/1.jpg\x1fnoise").hexdigest()[:16], 16) // 2
    assert derive_seed(7, "val/1.jpg", "noise") == expected


def test_the_batch_does_not_matter() -> None:
    """One by one, in batches of any size, or all at once: every image gets the same numbers."""
    batch = draw_per_image(0, IDS, "noise", _normal)
    for size in (1, 2, 5, 12):
        parts = [draw_per_image(0, IDS[start : start + size], "noise", _normal) for start in range(0, 12, size)]
        assert torch.cat(parts).equal(batch)


def test_the_order_does_not_matter() -> None:
    """Reversed ids get the reversed numbers."""
    assert draw_per_image(0, IDS[::-1], "noise", _normal).equal(draw_per_image(0, IDS, "noise", _normal).flip(0))


def test_images_components_and_seeds_have_their_own_numbers() -> None:
    """No two images, components or seeds share a stream, nor does swapping the two names give the same one."""
    streams = [
        (0, "a", "noise"),
        (0, "b", "noise"),
        (0, "a", "mask"),
        (1, "a", "noise"),
        (0, "noise", "a"),
        (0, "anoise"),
    ]
    firsts = {torch.randn(1, generator=make_generator(*stream)).item() for stream in streams}
    assert len(firsts) == len(streams)


def test_the_global_state_is_neither_used_nor_touched() -> None:
    """Draws do not follow torch.manual_seed, and leave torch's own stream where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = draw_per_image(0, IDS, "noise", _normal)
        follows = torch.rand(3)
        torch.manual_seed(2)
        assert draw_per_image(0, IDS, "noise", _normal).equal(first)
        torch.manual_seed(1)
        assert torch.rand(3).equal(follows)


def test_draws_look_independent() -> None:
    """Over many images the numbers have the mean and variance of the distribution, and neighbours do not correlate."""
    numbers = draw_per_image(0, [str(n) for n in range(4000)], "noise", lambda g: torch.randn(1, generator=g)).flatten()
    assert abs(numbers.mean()) < 4 / 4000**0.5
    assert abs(numbers.var() - 1) < 4 * (2 / 4000) ** 0.5
    assert abs((numbers[1:] * numbers[:-1]).mean()) < 4 / 4000**0.5


def test_the_result_is_stacked_on_the_device_asked_for() -> None:
    """B draws of one shape become one tensor with B first, on the given device."""
    assert draw_per_image(0, IDS, "noise", _normal).shape == (12, 3, 4)
    assert draw_per_image(0, IDS, "noise", _normal, device="meta").device.type == "meta"


def test_global_generators_start_from_the_seed_and_go_on_as_before() -> None:
    """The same numbers for a seed and others for another; the caller's next numbers are what they would have been."""

    def numbers() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def seeded(seed: int) -> tuple[float, float, float]:
        with seeded_generators(seed, torch.device("cpu")):
            return numbers()

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = numbers()
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert seeded(5) == seeded(5)
    assert all(first != second for first, second in zip(seeded(5), seeded(6), strict=True))
    assert numbers() == expected
