"""State of the process that MAVIS shares with its caller and with foreign code: set for its own work, and given back.

Two doors. `standard_settings` is around every public function that computes: MAVIS's scores do not depend on what the
caller has set, and the caller finds everything as it was. `preserve_process` is around every call of foreign code.
"""

import logging
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import _pop_mode_temporarily

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name))


class _Setting(NamedTuple):
    """One global setting.

    Attributes:
        read: its value.
        write: sets a value that was read.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]


@contextmanager
def standard_settings() -> Iterator[None]:
    """MAVIS's own settings while the context is open, the caller's afterwards. Also a decorator.

    Gradients are on; inference mode, autocast, anomaly detection, TF32, races between kernels, hooks of all modules and
    dispatch modes are off; new tensors are float32 on the CPU. The number of threads is the caller's choice. What is
    kept: see `preserve_process`.
    """
    with (
        _no_dispatch_modes(),
        preserve_process(),
        torch.inference_mode(False),
        torch.enable_grad(),
        _tensors_on_the_cpu(),
    ):
        for name, value in _STANDARD.items():
            if name in _SETTINGS and _read(_SETTINGS[name]) != value:
                _SETTINGS[name].write(value)
        yield


@contextmanager
def preserve_process(*, but_not: Collection[str] = ()) -> Iterator[None]:
    """Leaves the process as it was, whatever the enclosed code sets.

    Kept are random states, torch's modes, flags, threads and global hooks, NumPy's error handling and print options,
    Matplotlib's settings, warnings, logging, streams, signal handlers, the import path, the recursion limit, the
    environment and the working folder.

    Args:
        but_not: names of settings that the enclosed code may change for good.
    """
    is_grad_enabled = torch.is_grad_enabled()
    saved = [(setting, _read(setting)) for name, setting in _SETTINGS.items() if name not in but_not]
    with warnings.catch_warnings(), torch.inference_mode(torch.is_inference_mode_enabled()):  # keeps the grad mode too
        torch.set_grad_enabled(is_grad_enabled)
        try:
            yield
        finally:
            for setting, value in saved:
                if value is not _UNREADABLE and _differs(_read(setting), value):
                    with suppress(Exception):  # one that cannot be set any more must not keep the others
                        setting.write(value)


_UNREADABLE = object()


def _read(setting: _Setting) -> Any:
    try:
        return setting.read()
    except (OSError, RuntimeError):  # a working folder that is gone; torch refuses to name a mixed precision
        return _UNREADABLE


def _differs(first: Any, second: Any) -> bool:
    try:
        return bool(first != second)
    except (RuntimeError, ValueError):  # states with arrays inside
        return True


def _tensors_on_the_cpu() -> Any:
    """New tensors are made on the CPU; the mode slows every call of torch, so that it is left out where they are."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


@contextmanager
def _no_dispatch_modes() -> Iterator[None]:
    """Modes such as torch's counter of FLOPs see nothing; torch has no public name for that."""
    with ExitStack() as popped:
        for _ in range(torch._C._len_torch_dispatch_stack()):
            popped.enter_context(_pop_mode_temporarily())
        yield


def _attributes(owner: Any, *names: str) -> _Setting:
    """Attributes of a module of flags, read and set together."""

    def write(values: tuple[Any, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(owner, name, value)

    return _Setting(lambda: tuple(getattr(owner, name) for name in names), write)


def _precisions() -> dict[str, _Setting]:
    """Precision of float32 products, by owner; the finer owners exist from torch 2.9 on."""
    backends = torch.backends
    owners: dict[str, Any] = {
        "all": backends,
        "cuda matmul": backends.cuda.matmul,
        "cudnn conv": getattr(backends.cudnn, "conv", None),
        "cudnn rnn": getattr(backends.cudnn, "rnn", None),
        "mkldnn matmul": getattr(backends.mkldnn, "matmul", None),
        "mkldnn conv": getattr(backends.mkldnn, "conv", None),
    }
    return {
        f"precision of {name}": _attributes(owner, "fp32_precision")
        for name, owner in owners.items()
        if hasattr(owner, "fp32_precision")
    }


def _flushes_denormals() -> bool:
    return not bool(torch.tensor([1e-310], dtype=torch.float64, device="cpu").mul(1))


def _write_default_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)


def _attention_kernels() -> tuple[bool, ...]:
    cuda = torch.backends.cuda
    return cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.math_sdp_enabled()


def _write_attention_kernels(enabled: tuple[bool, ...]) -> None:
    cuda = torch.backends.cuda
    switches = (cuda.enable_flash_sdp, cuda.enable_mem_efficient_sdp, cuda.enable_math_sdp)
    for switch, value in zip(switches, enabled, strict=True):
        switch(value)


def _write_autocast(enabled: tuple[bool, ...]) -> None:
    for device, value in zip(("cpu", "cuda"), enabled, strict=True):
        torch.set_autocast_enabled(device, value)


def _cuda_random_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def _global_hooks() -> dict[str, dict[Any, Any]]:
    return {name: dict(hooks) for name, hooks in _hook_registries()}


def _write_global_hooks(saved: Mapping[str, Mapping[Any, Any]]) -> None:
    for name, hooks in _hook_registries():
        hooks.clear()
        hooks.update(saved[name])


def _hook_registries() -> list[tuple[str, dict[Any, Any]]]:
    members = vars(torch.nn.modules.module).items()
    return [(name, hooks) for name, hooks in members if name.startswith("_global_") and isinstance(hooks, dict)]


def _write_environment(saved: Mapping[str, str]) -> None:
    for name in os.environ.keys() - saved.keys():
        del os.environ[name]
    os.environ.update(saved)


def _signal_handlers() -> tuple[Any, ...]:
    return tuple(signal.getsignal(number) for number in SIGNALS)


def _write_signal_handlers(handlers: tuple[Any, ...]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in zip(SIGNALS, handlers, strict=True):
            if handler is not None:  # set by other code than Python's
                signal.signal(number, handler)


def _logging_state() -> tuple[int, list[logging.Handler], int]:
    return logging.root.level, list(logging.root.handlers), logging.root.manager.disable


def _write_logging_state(state: tuple[int, list[logging.Handler], int]) -> None:
    logging.root.level, logging.root.handlers[:], logging.root.manager.disable = state


def _matplotlib() -> ModuleType | None:
    """Matplotlib where somebody has imported it; it is slow to import."""
    return sys.modules.get("matplotlib")


def _write_matplotlib(saved: dict[str, Any]) -> None:
    if saved and (matplotlib := _matplotlib()):
        dict.update(matplotlib.rcParams, saved)  # raw, so that no backend is looked for


def _write_import_path(entries: list[str]) -> None:
    sys.path[:] = entries


_SETTINGS: dict[str, _Setting] = {
    "python's random state": _Setting(random.getstate, random.setstate),
    "numpy's random state": _Setting(np.random.get_state, np.random.set_state),
    "torch's random state": _Setting(torch.get_rng_state, torch.set_rng_state),
    "CUDA's random states": _Setting(_cuda_random_states, torch.cuda.set_rng_state_all),
    "default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype),
    "default device": _Setting(torch.get_default_device, _write_default_device),
    "autocast": _Setting(lambda: tuple(map(torch.is_autocast_enabled, ("cpu", "cuda"))), _write_autocast),
    "anomaly detection": _Setting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda modes: torch.set_anomaly_enabled(*modes),
    ),
    "deterministic algorithms": _Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "threads": _Setting(torch.get_num_threads, torch.set_num_threads),
    "denormals": _Setting(_flushes_denormals, torch.set_flush_denormal),
    "cudnn": _attributes(torch.backends.cudnn, "enabled", "deterministic", "benchmark"),
    "cudnn's TF32": _attributes(torch.backends.cudnn, "allow_tf32"),
    "matmul precision": _Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    **_precisions(),
    "mkldnn": _attributes(torch.backends.mkldnn, "enabled"),
    "attention kernels": _Setting(_attention_kernels, _write_attention_kernels),
    "hooks of all modules": _Setting(_global_hooks, _write_global_hooks),
    "numpy's errors": _Setting(np.geterr, lambda modes: np.seterr(**modes)),
    "numpy's print options": _Setting(np.get_printoptions, lambda options: np.set_printoptions(**options)),
    "matplotlib": _Setting(
        lambda: dict.copy(module.rcParams) if (module := _matplotlib()) else {},
        _write_matplotlib,
    ),
    "logging": _Setting(_logging_state, _write_logging_state),
    "streams": _attributes(sys, "stdin", "stdout", "stderr"),
    "signal handlers": _Setting(_signal_handlers, _write_signal_handlers),
    "import path": _Setting(lambda: list(sys.path), _write_import_path),
    "recursion limit": _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    "environment": _Setting(lambda: dict(os.environ), _write_environment),
    "working folder": _Setting(os.getcwd, os.chdir),
}

_STANDARD: dict[str, Any] = {
    "default dtype": torch.float32,
    "autocast": (False, False),
    "anomaly detection": (False, True),
    "deterministic algorithms": 0,
    "denormals": False,
    "cudnn": (True, True, False),
    "cudnn's TF32": (False,),
    "matmul precision": "highest",
    **dict.fromkeys(_precisions(), ("ieee",)),
    "mkldnn": (True,),
    "attention kernels": (True, True, True),
    "hooks of all modules": {name: {} for name, _ in _hook_registries()},
    "numpy's errors": {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
}
"""Scores are compared to 1e-5: full float32 everywhere, and no kernel chosen by a race."""
