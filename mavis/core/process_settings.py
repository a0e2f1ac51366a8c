"""Settings of the process: how each is read and written, and the values under which MAVIS computes."""

import decimal
import gc
import logging
import os
import random
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import overrides

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name))
PANDAS_OPTIONS = ("io.parquet.engine", "mode.string_storage", "compute.use_bottleneck", "compute.use_numexpr")
PANDAS_DISPLAY = ("display.precision", "display.float_format", "display.max_rows", "display.max_columns")


class ProcessSetting(NamedTuple):
    """One setting of the process.

    Attributes:
        read: its value.
        write: sets a value that was read.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _attributes(owner: Any, *names: str) -> ProcessSetting:
    """Attributes of a module of flags, read and set together."""

    def write(values: tuple[Any, ...]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(owner, name, value)

    return ProcessSetting(lambda: tuple(getattr(owner, name) for name in names), write)


def _precisions() -> dict[str, ProcessSetting]:
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


def _function_modes() -> list[Any]:
    """Torch's modes that see every function of torch, the outermost first."""
    return list(overrides._get_current_function_mode_stack())


def _write_function_modes(modes: list[Any]) -> None:
    for _ in range(len(_function_modes())):
        overrides._pop_mode()
    for mode in modes:
        overrides._push_mode(mode)


def _saved_tensor_hooks() -> list[Any]:
    """Hooks of all tensors that autograd saves, the outermost first; torch shows the innermost only."""
    hooks: list[Any] = []
    read_innermost: Any = torch._C._autograd._top_saved_tensors_default_hooks
    while (innermost := read_innermost(True)) is not None:
        hooks.insert(0, innermost)
        torch._C._autograd._pop_saved_tensors_default_hooks()
    _push_saved_tensor_hooks(hooks)
    return hooks


def _write_saved_tensor_hooks(hooks: list[Any]) -> None:
    for _ in _saved_tensor_hooks():
        torch._C._autograd._pop_saved_tensors_default_hooks()
    _push_saved_tensor_hooks(hooks)


def _push_saved_tensor_hooks(hooks: list[Any]) -> None:
    for pack, unpack in hooks:
        torch._C._autograd._push_saved_tensors_default_hooks(pack, unpack)


def _write_torch_print_options(options: dict[str, Any]) -> None:
    vars(torch._tensor_str.PRINT_OPTS).update(options)


def _pandas_options(names: Sequence[str]) -> dict[str, Any]:
    """Those that this version has, where somebody has imported pandas."""
    options: dict[str, Any] = {}
    pandas: Any = sys.modules.get("pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that will go
        for name in names if pandas else ():
            with suppress(KeyError):
                options[name] = pandas.get_option(name)
    return options


def _write_pandas_options(options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in options.items():
            sys.modules["pandas"].set_option(name, value)


_INFERS_STRINGS = not version("pandas").startswith("2.")
"""The choice of pandas itself, which differs between its versions."""


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _write_tracing(functions: tuple[Any, Any]) -> None:
    sys.settrace(functions[0])
    sys.setprofile(functions[1])


SETTINGS: dict[str, ProcessSetting] = {
    "function modes": ProcessSetting(_function_modes, _write_function_modes),  # first, since the others call torch
    "hooks of saved tensors": ProcessSetting(_saved_tensor_hooks, _write_saved_tensor_hooks),
    "python's random state": ProcessSetting(random.getstate, random.setstate),
    "numpy's random state": ProcessSetting(np.random.get_state, np.random.set_state),
    "torch's random state": ProcessSetting(torch.get_rng_state, torch.set_rng_state),
    "CUDA's random states": ProcessSetting(_cuda_random_states, torch.cuda.set_rng_state_all),
    "default dtype": ProcessSetting(torch.get_default_dtype, torch.set_default_dtype),
    "default device": ProcessSetting(torch.get_default_device, _write_default_device),
    "autocast": ProcessSetting(lambda: tuple(map(torch.is_autocast_enabled, ("cpu", "cuda"))), _write_autocast),
    "autocast dtype": ProcessSetting(
        lambda: torch.get_autocast_dtype("cpu"), lambda dtype: torch.set_autocast_dtype("cpu", dtype)
    ),
    "autocast cache": ProcessSetting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "torch's repeated warnings": ProcessSetting(torch.is_warn_always_enabled, torch.set_warn_always),
    "torch's print options": ProcessSetting(
        lambda: dict(vars(torch._tensor_str.PRINT_OPTS)), _write_torch_print_options
    ),
    "anomaly detection": ProcessSetting(
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda modes: torch.set_anomaly_enabled(*modes),
    ),
    "deterministic algorithms": ProcessSetting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "threads": ProcessSetting(torch.get_num_threads, torch.set_num_threads),
    "denormals": ProcessSetting(_flushes_denormals, torch.set_flush_denormal),
    "cudnn": _attributes(torch.backends.cudnn, "enabled", "deterministic", "benchmark"),
    "cudnn's TF32": _attributes(torch.backends.cudnn, "allow_tf32"),
    "matmul precision": ProcessSetting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    **_precisions(),
    "mkldnn": _attributes(torch.backends.mkldnn, "enabled"),
    "attention kernels": ProcessSetting(_attention_kernels, _write_attention_kernels),
    "hooks of all modules": ProcessSetting(_global_hooks, _write_global_hooks),
    "numpy's errors": ProcessSetting(np.geterr, lambda modes: np.seterr(**modes)),
    "numpy's print options": ProcessSetting(np.get_printoptions, lambda options: np.set_printoptions(**options)),
    "matplotlib": ProcessSetting(
        lambda: dict.copy(module.rcParams) if (module := _matplotlib()) else {},
        _write_matplotlib,
    ),
    "pandas": ProcessSetting(lambda: _pandas_options(PANDAS_OPTIONS), _write_pandas_options),
    "pandas's strings": ProcessSetting(lambda: _pandas_options(["future.infer_string"]), _write_pandas_options),
    "pandas's display": ProcessSetting(lambda: _pandas_options(PANDAS_DISPLAY), _write_pandas_options),
    "decimals": ProcessSetting(
        lambda: decimal.getcontext().prec, lambda digits: setattr(decimal.getcontext(), "prec", digits)
    ),
    "garbage collection": ProcessSetting(gc.isenabled, lambda is_on: gc.enable() if is_on else gc.disable()),
    "tracing": ProcessSetting(lambda: (sys.gettrace(), sys.getprofile()), _write_tracing),
    "switch interval": ProcessSetting(sys.getswitchinterval, sys.setswitchinterval),
    "umask": ProcessSetting(_umask, os.umask),
    "temporary folder": _attributes(tempfile, "tempdir"),
    "einsum": _attributes(torch.backends.opt_einsum, "enabled", "strategy"),
    "logging": ProcessSetting(_logging_state, _write_logging_state),
    "streams": _attributes(sys, "stdin", "stdout", "stderr"),
    "signal handlers": ProcessSetting(_signal_handlers, _write_signal_handlers),
    "import path": ProcessSetting(lambda: list(sys.path), _write_import_path),
    "recursion limit": ProcessSetting(sys.getrecursionlimit, sys.setrecursionlimit),
    "environment": ProcessSetting(lambda: dict(os.environ), _write_environment),
    "working folder": ProcessSetting(os.getcwd, os.chdir),
}

STANDARD: dict[str, Any] = {
    "hooks of saved tensors": [],
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
    "pandas": dict(zip(PANDAS_OPTIONS, ("auto", "auto", True, True), strict=True)),
    "pandas's strings": {"future.infer_string": _INFERS_STRINGS},
    "numpy's errors": {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"},
}
"""Scores are compared to 1e-5: full float32 everywhere, and no kernel chosen by a race."""
