"""Settings of the process: MAVIS's own inside, the caller's afterwards, whatever foreign code does."""

import decimal
import gc
import logging
import os
import random
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mavis.core import process_settings
from mavis.core.process_state import preserve_process, standard_settings

LEFT_OPEN: list[torch.inference_mode] = []


def leave_inference_mode_open() -> None:
    """A mode that is entered and not left; torch leaves it when the object goes."""
    LEFT_OPEN.append(torch.inference_mode())
    LEFT_OPEN[-1].__enter__()


class DoubledFunctions(TorchFunctionMode):
    """Every function of torch gives twice its result, as far as it is a tensor of floats."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result * 2 if isinstance(result, torch.Tensor) and result.is_floating_point() else result


def gradient_of_a_square() -> float:
    number = torch.ones(1, dtype=torch.float32).requires_grad_()
    with torch.enable_grad(), torch.inference_mode(False):
        return float(torch.autograd.grad(number.square(), number)[0])


CHANGES: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "python's random state": (lambda: random.seed(7), random.getstate),
    "numpy's random state": (lambda: np.random.seed(7), lambda: str(np.random.get_state())),
    "torch's random state": (lambda: torch.manual_seed(7), lambda: torch.get_rng_state().tolist()),
    "function mode": (
        lambda: DoubledFunctions().__enter__(),
        lambda: len(torch.overrides._get_current_function_mode_stack()),
    ),
    "hooks of saved tensors": (
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x * 2, lambda x: x).__enter__(),
        gradient_of_a_square,
    ),
    "autocast dtype": (
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
        lambda: torch.get_autocast_dtype("cpu"),
    ),
    "autocast cache": (lambda: torch.set_autocast_cache_enabled(False), torch.is_autocast_cache_enabled),
    "torch's print options": (lambda: torch.set_printoptions(precision=1), lambda: str(torch.tensor(1 / 3))),
    "pandas": (
        lambda: pd.set_option("io.parquet.engine", "fastparquet"),
        lambda: pd.get_option("io.parquet.engine"),
    ),
    "decimals": (lambda: setattr(decimal.getcontext(), "prec", 2), lambda: decimal.getcontext().prec),
    "garbage collection": (gc.disable, gc.isenabled),
    "profiling": (lambda: sys.setprofile(lambda *_: None), sys.getprofile),
    "umask": (lambda: os.umask(0o777), process_settings._umask),
    "temporary folder": (lambda: setattr(tempfile, "tempdir", "/nowhere"), tempfile.gettempdir),
    "default dtype": (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
    "default device": (lambda: torch.set_default_device("meta"), torch.get_default_device),
    "grad mode": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "inference mode": (leave_inference_mode_open, torch.is_inference_mode_enabled),
    "autocast": (lambda: torch.set_autocast_enabled("cpu", True), lambda: torch.is_autocast_enabled("cpu")),
    "anomaly detection": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "deterministic algorithms": (
        lambda: torch.set_deterministic_debug_mode("error"),
        torch.are_deterministic_algorithms_enabled,
    ),
    "threads": (lambda: torch.set_num_threads(3), torch.get_num_threads),
    "denormals": (lambda: torch.set_flush_denormal(True), process_settings._flushes_denormals),
    "cudnn.benchmark": (
        lambda: setattr(torch.backends.cudnn, "benchmark", True),
        lambda: torch.backends.cudnn.benchmark,
    ),
    "cudnn.allow_tf32": (
        lambda: setattr(torch.backends.cudnn, "allow_tf32", not torch.backends.cudnn.allow_tf32),
        lambda: torch.backends.cudnn.allow_tf32,
    ),
    "matmul precision": (
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: (torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32),
    ),
    "global hook": (
        lambda: nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2),
        lambda: nn.Identity()(torch.ones(1)).tolist(),
    ),
    "numpy's errors": (lambda: np.seterr(all="raise"), np.geterr),
    "numpy's print options": (lambda: np.set_printoptions(precision=2), np.get_printoptions),
    "matplotlib": (lambda: mpl.rcParams.update({"font.size": 40.0}), lambda: mpl.rcParams["font.size"]),
    "warnings": (lambda: warnings.simplefilter("ignore"), lambda: list(warnings.filters)),
    "logging level": (lambda: logging.root.setLevel(logging.DEBUG), lambda: logging.root.level),
    "logging handlers": (logging.root.handlers.clear, lambda: list(logging.root.handlers)),
    "streams": (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
    "signal handlers": (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGINT)),
    "import path": (lambda: sys.path.clear(), lambda: list(sys.path)),  # noqa: PLW0108 (torch puts another list there)
    "recursion limit": (lambda: sys.setrecursionlimit(500), sys.getrecursionlimit),
    "environment": (lambda: os.environ.update(HOME="/nowhere", MAVIS_NEW="1"), lambda: dict(os.environ)),
    "removed variable": (lambda: os.environ.pop("PATH"), lambda: dict(os.environ)),
    "working folder": (lambda: os.chdir("/"), os.getcwd),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("context", [preserve_process, standard_settings])
def test_what_is_changed_inside_is_as_before_outside(name: str, context) -> None:
    """Each setting is changed by the enclosed code, which then fails; the caller finds its own value."""
    change, read = CHANGES[name]
    before = read()

    def fail_after_a_change() -> None:
        inside = read()
        change()
        assert read() != inside
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), context():
        fail_after_a_change()
    assert read() == before


@contextmanager
def changed(setter: Callable[..., object], value: object, old: object) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(old)


def doubled(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
    return output * 2


@contextmanager
def hooked() -> Iterator[None]:
    handle = nn.modules.module.register_module_forward_hook(doubled)
    try:
        yield
    finally:
        handle.remove()


class DoubledResults(TorchDispatchMode):
    """Every operation gives twice its result, as far as it is a tensor of floats."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result * 2 if isinstance(result, torch.Tensor) and result.is_floating_point() else result


CALLERS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu"),
    "float64": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: changed(torch.set_default_dtype, torch.float16, torch.float32),
    "meta device": lambda: torch.device("meta"),
    "default device": lambda: changed(torch.set_default_device, "meta", None),
    "deterministic algorithms": lambda: changed(torch.set_deterministic_debug_mode, 2, 0),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "denormals": lambda: changed(torch.set_flush_denormal, True, False),
    "errors of NumPy": lambda: np.errstate(all="raise"),
    "global hook": hooked,
    "dispatch mode": DoubledResults,
    "function mode": DoubledFunctions,
    "hooks of saved tensors": lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x * 2, lambda x: x),
}


def small_work() -> list[float]:
    """A gradient through a layer, with new tensors, small numbers, and a division by zero of NumPy's."""
    layer = nn.Conv2d(1, 2, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.linspace(-1, 1, 18).view(2, 1, 3, 3))
        layer.bias.zero_()
    image = torch.linspace(0, 1, 25).view(1, 1, 5, 5).requires_grad_()
    gradient = torch.autograd.grad(layer(image).square().sum(), image)[0]
    tiny = torch.tensor([1e-40]) * 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        infinite = float(np.float64(1) / np.float64(0))
    assert gradient.dtype == torch.float32
    return [*gradient.flatten().tolist(), *tiny.tolist(), infinite]


@pytest.mark.parametrize("name", CALLERS)
def test_work_is_the_same_in_every_context_of_the_caller(name: str) -> None:
    """Bit for bit, and in the context of the caller it would not be: that is seen by working there without the door."""
    with standard_settings():
        expected = small_work()
    with CALLERS[name](), standard_settings():
        assert small_work() == expected


@pytest.mark.parametrize(
    "name",
    [
        "no_grad",
        "inference_mode",
        "autocast",
        "float64",
        "float16",
        "meta device",
        "global hook",
        "denormals",
        "dispatch mode",
        "function mode",
        "hooks of saved tensors",
    ],
)
def test_without_the_door_the_context_of_the_caller_is_seen(name: str) -> None:
    """The same work outside the door fails or differs; otherwise the test before this one would show nothing."""
    with standard_settings():
        expected = small_work()
    with CALLERS[name]():
        try:
            seen: list[float] | None = small_work()
        except (AssertionError, NotImplementedError, RuntimeError):
            seen = None
    assert seen != expected


def test_nothing_is_rounded_to_tf32_and_no_kernel_is_chosen_by_a_race() -> None:
    """Whichever of torch's two interfaces the caller has used, also mixed."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    with preserve_process():
        cudnn.benchmark = True
        cudnn.allow_tf32 = True
        if hasattr(matmul, "fp32_precision"):
            matmul.fp32_precision = "tf32"
        with standard_settings():
            assert not matmul.allow_tf32
            assert not cudnn.allow_tf32
            assert cudnn.deterministic
            assert not cudnn.benchmark
        assert cudnn.benchmark


def test_a_working_folder_that_is_gone_stops_nothing(tmp_path, monkeypatch) -> None:
    """It cannot be read and so is not set again; all else is."""
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with preserve_process():
        torch.set_default_dtype(torch.float64)
    assert torch.get_default_dtype() == torch.float32
