"""Devices: choice, determinism, batch sizes, sorting and memory; everything that depends on the device."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from mavis.core.errors import MavisError, exception_text

T = TypeVar("T")
DEVICE_CHOICES = ("auto", "cpu", "cuda", "mps")
OUT_OF_MEMORY_MESSAGES = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
"""Parts of the messages of plain RuntimeErrors: allocators of Linux and Windows, MPS and CUDA, cuBLAS and cuDNN."""


def resolve(choice: str) -> torch.device:
    """The device for a user's choice.

    Args:
        choice: ``auto`` (an accelerator where there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        MavisError: the choice is unknown or the device is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if choice == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    kind, colon, index = choice.partition(":")
    if kind not in available or (colon and not (kind == "cuda" and index.isdecimal())):
        raise MavisError(f"--device must be one of {', '.join(DEVICE_CHOICES)} or cuda:N, got '{choice}'.")
    if not available[kind]:
        raise MavisError(f"--device {choice}: this machine or this torch build has no {kind}; use --device cpu.")
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise MavisError(f"--device {choice}: this machine has {torch.cuda.device_count()} CUDA device(s).")
    return torch.device(choice)


def synchronise(device: torch.device) -> None:
    """Waits until the device has finished its queue, so that a clock read next includes that work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def default_chunk(device: torch.device, image_bytes: int) -> int:
    """Model samples per call for ``--batch-size auto``.

    Measured on one and two CPU cores: above 1.5 MiB of input (32 images at 64 px) a sample costs up to a quarter more,
    because the activations no longer stay in the cache. An accelerator takes 192 MiB. The number is a multiple of
    `batch_multiple`, and at least that: other batches are padded.
    """
    budget = 3 * 2**19 if device.type == "cpu" else 192 * 2**20
    return max(batch_multiple(), min(4096, budget // image_bytes) // batch_multiple() * batch_multiple())


def upcast(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in the widest floating type that its device has: float64, but float32 on MPS."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def sort(values: torch.Tensor) -> torch.Tensor:
    """Each row from low to high: ``(…,n)`` -> ``(…,n)``.

    On the CPU by numpy, whose vectorised sorts took a thirtieth of the time of torch's.
    """
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    return torch.from_numpy(np.sort(values.detach().numpy(), axis=-1))


def argsort(values: torch.Tensor) -> torch.Tensor:
    """Indices that sort each row from low to high, equal values in any order: ``(…,n)`` -> ``(…,n)`` int64.

    On the CPU by numpy, as `sort`.
    """
    if values.device.type != "cpu":
        return values.argsort(dim=-1)
    return torch.from_numpy(np.argsort(values.detach().numpy(), axis=-1))


def batch_multiple() -> int:
    """Batch sizes are padded to a multiple of this, so that outputs do not depend on the batch, bit for bit.

    Measured with 1 to 16 CPU threads: kernels split a batch between threads, and uneven shares round differently.
    """
    return 8 * -(-torch.get_num_threads() // 8)


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch raises when a device's memory, or the host's, is full."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in exception_text(error).lower() for sign in OUT_OF_MEMORY_MESSAGES
    )


def halve_until_it_fits(chunk: int, work: Callable[[int], T]) -> T:
    """``work(chunk)``, with half the chunk as often as the memory is full.

    Raises:
        Exception: what torch raises where one sample alone does not fit.
    """
    while True:
        try:
            return work(chunk)
        except Exception as error:
            if not is_out_of_memory(error) or chunk == 1:
                raise
            chunk //= 2


class PeakMemory:
    """The rise of memory above its level at the start, in MiB; `mib` is None where the system cannot tell.

    CUDA: torch's own high-water mark. CPU on Linux: the kernel's high-water mark of the process, reset at the start,
    so memory that the allocator already holds is not seen: read it as a lower bound.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.mib: float | None = None

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start: float | None = torch.cuda.memory_allocated(self.device) / 2**20
        else:
            self._start = _resident_mib("VmRSS") if _reset_high_water() else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._start is None:
            return
        if self.device.type == "cuda":
            peak: float | None = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            peak = _resident_mib("VmHWM")
        self.mib = None if peak is None else max(0.0, peak - self._start)


def peak_memory_mib(device: torch.device) -> float | None:
    """Highest memory since the process began, in MiB: of the device on CUDA, else resident in the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    marks = [mark for mark in (*_high_water_marks, _resident_mib("VmHWM")) if mark is not None]
    return max(marks, default=None)


_high_water_marks: list[float] = [0.0]  # the kernel's high-water mark before it was last reset, highest first


def _reset_high_water() -> bool:
    _high_water_marks[0] = max(_high_water_marks[0], _resident_mib("VmHWM") or 0.0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def _resident_mib(field: str) -> float | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return None
