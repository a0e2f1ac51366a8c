"""Random numbers per image: hash(run seed, image id, component) -> numbers.

A draw depends on nothing else, so that no score depends on batch size, order, shard, device or resume.
Numbers are drawn on the CPU, in float32, and moved: a GPU gets the same ones.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def derive_seed(seed: int, *names: str) -> int:
    """A 63-bit seed from the run's seed and any names."""
    text = "\x1f".join((str(seed), *names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def make_generator(seed: int, *names: str) -> torch.Generator:
    """A CPU generator for one image and one component."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))


def draw_per_image(
    seed: int,
    ids: Sequence[str],
    stream: str,
    sampler: Callable[[torch.Generator], Tensor],
    device: torch.device | str = "cpu",
) -> Tensor:
    """One draw per image.

    Args:
        seed: the run's seed.
        ids: B image ids.
        stream: name of the use of the numbers; two components never share a stream.
        sampler: takes a generator, returns a tensor of one fixed shape.
        device: device of the result.

    Returns:
        The B draws stacked along a first dimension, on ``device``.
    """
    return torch.stack([sampler(make_generator(seed, i, stream)) for i in ids]).to(device)


@contextmanager
def seeded_generators(seed: int, device: torch.device) -> Iterator[None]:
    """Python's, NumPy's and torch's global generators start from a seed; their states are restored afterwards.

    For code of other libraries and of users, which draws from them.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
