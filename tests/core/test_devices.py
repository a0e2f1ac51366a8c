"""The device is the one asked for, chunks fit, a full memory is known as such, and peaks are measured."""

import sys

import pytest
import torch

from mavis.core import devices
from mavis.core.devices import PeakMemory, default_chunk, is_out_of_memory, resolve
from mavis.core.errors import MavisError

CPU = torch.device("cpu")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Pretends that the machine has so many CUDA devices, and MPS or not."""

    def has(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("available", "expected"),
    [({}, "cpu"), ({"cuda": 1}, "cuda"), ({"mps": True}, "mps"), ({"cuda": 1, "mps": True}, "cuda")],
)
def test_auto_takes_the_best_there_is(machine, available: dict, expected: str) -> None:
    """CUDA before MPS before the CPU."""
    machine(**available)
    assert resolve("auto") == torch.device(expected)


def test_a_named_device_is_taken_as_named(machine) -> None:
    """A choice that is there is the device, with its index."""
    machine(cuda=2)
    assert resolve("cpu") == CPU
    assert resolve("cuda") == torch.device("cuda")
    assert resolve("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    "choice", ["gpu", "CUDA", "", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cpu:1", "mps:0", "auto:0"]
)
def test_an_unknown_choice_lists_the_known(machine, choice: str) -> None:
    """Anything but the choices and ``cuda:N`` is refused in one line, before torch sees it."""
    machine(cuda=2, mps=True)
    with pytest.raises(MavisError, match=f"one of auto, cpu, cuda, mps or cuda:N, got '{choice}'"):
        resolve(choice)


@pytest.mark.parametrize("choice", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_says_what_to_do(machine, choice: str) -> None:
    """The message says what is missing and that the CPU is there."""
    machine()
    with pytest.raises(MavisError, match=f"--device {choice}: .* has no {choice.partition(':')[0]}; use --device cpu"):
        resolve(choice)


def test_an_index_beyond_the_last_device_is_refused(machine) -> None:
    """The message says how many there are."""
    machine(cuda=2)
    with pytest.raises(MavisError, match=r"cuda:2: this machine has 2 CUDA device\(s\)"):
        resolve("cuda:2")


def test_chunks_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """1.5 MiB of input a call on the CPU, 192 on an accelerator, in whole grains, at least one, at most 4096 images."""
    monkeypatch.setattr(devices, "batch_multiple", lambda: 8)
    sizes = {side: 3 * side * side * 4 for side in (1, 64, 96, 224, 4000)}
    assert [default_chunk(CPU, size) for size in sizes.values()] == [4096, 32, 8, 8, 8]
    assert [default_chunk(torch.device("cuda"), size) for size in sizes.values()] == [4096, 4096, 1816, 328, 8]


@pytest.mark.parametrize("shape", [(3, 50), (2, 4, 9), (5, 1)])
def test_sorts_agree_with_those_of_torch(shape: tuple[int, ...]) -> None:
    """Each row by itself, ties among them: the values in order, and places at which they stand."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(1)).mul(20).round() - 10
    expected = values.sort(dim=-1).values
    assert devices.sort(values).equal(expected)
    assert values.gather(-1, devices.argsort(values)).equal(expected)
    assert devices.argsort(values).sort(dim=-1).values.equal(torch.arange(shape[-1]).expand(shape))


def test_a_failed_allocation_is_out_of_memory() -> None:
    """What torch itself raises for 256 TiB of float32 is recognised."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: not enough memory: you tried to allocate 1"
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB, max allowed: 1 GB)"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_every_way_of_saying_it_is_known(error: BaseException) -> None:
    """Host, CUDA, MPS and cuBLAS each have their own words for a full memory."""
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes do not match"), ValueError("out of memory"), OSError("no space")]
)
def test_other_errors_are_not_blamed_on_memory(error: BaseException) -> None:
    """Halving the batch would not help against these."""
    assert not is_out_of_memory(error)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's high-water mark in /proc")


@linux
def test_the_peak_of_the_cpu_sees_what_was_touched() -> None:
    """200 MiB written and freed again are a peak of about 200 MiB; before and after do not count."""
    held = torch.ones(50 * 2**18)
    with PeakMemory(CPU) as peak:
        if peak._start is None:
            pytest.skip("this system does not let a process reset its high-water mark")
        torch.ones(200 * 2**18).sum()
    torch.ones(300 * 2**18).sum()
    assert held.sum() == held.numel()
    assert peak.mib is not None
    assert 190 < peak.mib < 230


@linux
def test_each_peak_starts_anew() -> None:
    """A large use before does not show in a small one after."""
    torch.ones(200 * 2**18).sum()
    with PeakMemory(CPU) as peak:
        if peak._start is None:
            pytest.skip("this system does not let a process reset its high-water mark")
        torch.ones(20 * 2**18).sum()
    assert peak.mib is not None
    assert peak.mib < 60


def test_a_system_that_cannot_tell_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the mark cannot be reset there is no number, rather than a wrong one."""
    monkeypatch.setattr(devices, "_reset_high_water", lambda: False)
    with PeakMemory(CPU) as peak:
        pass
    assert peak.mib is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_peak_of_a_gpu_is_that_of_its_allocator() -> None:
    """200 MiB allocated and freed on a GPU are a peak of 200 MiB."""
    cuda = torch.device("cuda")
    with PeakMemory(cuda) as peak:
        torch.empty(200 * 2**18, device=cuda)
    assert peak.mib == pytest.approx(200, abs=2)


@linux
def test_the_peak_of_the_process_is_in_mib() -> None:
    """The process's peak is what the kernel reports as its high-water mark, within 1 MiB, or more."""
    assert 0 < process_mark() <= devices.peak_memory_mib(torch.device("cpu")) + 1 < 2**20


def process_mark() -> float:
    """VmHWM of this process in MiB."""
    mark = devices._resident_mib("VmHWM")
    assert mark is not None
    return mark


def test_work_that_does_not_fit_is_tried_with_half_as_often_as_needed() -> None:
    """16, 8 and 4 samples do not fit, 2 do; anything else that is raised is passed on, and so is one sample's fault."""
    tried = []

    def work(chunk: int) -> str:
        tried.append(chunk)
        if chunk > 2:
            raise torch.OutOfMemoryError("no room")
        return "done"

    assert devices.halve_until_it_fits(16, work) == "done"
    assert tried == [16, 8, 4, 2]
    with pytest.raises(torch.OutOfMemoryError):
        devices.halve_until_it_fits(4, lambda chunk: (_ for _ in ()).throw(torch.OutOfMemoryError("never")))
    with pytest.raises(ZeroDivisionError):
        devices.halve_until_it_fits(4, lambda chunk: 1 // 0)


def test_an_exception_without_a_text_is_no_lack_of_memory() -> None:
    """Its text is strangers' code, which may raise."""

    class UnshownError(RuntimeError):
        def __str__(self) -> str:
            raise ValueError

    assert not devices.is_out_of_memory(UnshownError())
