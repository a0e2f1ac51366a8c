"""Settings of the process that callers and plug-ins change: how each is read and written, and odd values for it."""

import gc
import logging
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable
from io import StringIO
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch


class Setting(NamedTuple):
    """One setting of the process.

    Attributes:
        read: its value, which can be compared.
        write: sets a value.
        values: odd ones.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]
    values: tuple[Any, ...]


def attribute(owner: Any, name: str, *values: Any) -> Setting:
    return Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value), values)


def variable(name: str, *values: str | None) -> Setting:
    """An environment variable; None is a missing one."""

    def write(value: str | None) -> None:
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value

    return Setting(lambda: os.environ.get(name), write, values)


def pandas_option(name: str, *values: Any) -> Setting:
    def without_warnings(function: Callable[..., Any], *arguments: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)

    return Setting(
        lambda: without_warnings(pd.get_option, name),
        lambda value: without_warnings(pd.set_option, name, value),
        values,
    )


def matplotlib_setting(name: str, *values: Any) -> Setting:
    return Setting(lambda: mpl.rcParams[name], lambda value: mpl.rcParams.update({name: value}), values)


def write_warnings(filters: list[Any]) -> None:
    warnings.filters[:] = filters
    warnings._filters_mutated()


def read_numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return (name, keys.tobytes(), *rest)


def write_numpy_random(state: tuple[Any, ...]) -> None:
    np.random.set_state((state[0], np.frombuffer(state[1], dtype=np.uint32), *state[2:]))


def write_torch_random(state: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def flushes_denormals() -> bool:
    return not bool(torch.tensor([1e-310], dtype=torch.float64, device="cpu").mul(1))


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def closed_stream() -> StringIO:
    stream = StringIO()
    stream.close()
    return stream


def seeded_numpy() -> tuple[Any, ...]:
    name, keys, *rest = np.random.RandomState(7).get_state()
    return (name, keys.tobytes(), *rest)


IGNORE_ALL = [("ignore", None, Warning, None, 0)]

SETTINGS: dict[str, Setting] = {
    "default dtype": Setting(
        torch.get_default_dtype, torch.set_default_dtype, (torch.float64, torch.float16, torch.bfloat16)
    ),
    "grad mode": Setting(torch.is_grad_enabled, torch.set_grad_enabled, (False,)),
    "threads": Setting(torch.get_num_threads, torch.set_num_threads, (2, 3)),
    "deterministic": Setting(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, (1, 2)),
    "matmul precision": Setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, ("high", "medium")
    ),
    "cudnn.enabled": attribute(torch.backends.cudnn, "enabled", False),
    "cudnn.benchmark": attribute(torch.backends.cudnn, "benchmark", True),
    "cudnn.allow_tf32": attribute(torch.backends.cudnn, "allow_tf32", True, False),
    "mkldnn": attribute(torch.backends.mkldnn, "enabled", False),
    "einsum strategy": attribute(torch.backends.opt_einsum, "strategy", "optimal", "greedy"),
    "einsum": attribute(torch.backends.opt_einsum, "enabled", False),
    "anomaly": Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, (True,)),
    "autocast": Setting(
        lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on), (True,)
    ),
    "autocast dtype": Setting(
        lambda: torch.get_autocast_dtype("cpu"), lambda dtype: torch.set_autocast_dtype("cpu", dtype), (torch.float16,)
    ),
    "autocast cache": Setting(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled, (False,)),
    "denormals": Setting(flushes_denormals, torch.set_flush_denormal, (True,)),
    "torch's warnings": Setting(torch.is_warn_always_enabled, torch.set_warn_always, (True,)),
    "torch's print options": Setting(
        lambda: torch._tensor_str.PRINT_OPTS.precision, lambda digits: torch.set_printoptions(precision=digits), (1,)
    ),
    "torch's random state": Setting(
        lambda: torch.get_rng_state().numpy().tobytes(),
        write_torch_random,
        (torch.Generator().manual_seed(7).get_state().numpy().tobytes(),),
    ),
    "numpy's random state": Setting(read_numpy_random, write_numpy_random, (seeded_numpy(),)),
    "python's random state": Setting(random.getstate, random.setstate, (random.Random(7).getstate(),)),
    "numpy's errors": Setting(
        np.geterr,
        lambda modes: np.seterr(**modes),
        tuple(dict.fromkeys(("divide", "over", "under", "invalid"), mode) for mode in ("raise", "ignore", "print")),
    ),
    "numpy's print options": Setting(
        lambda: np.get_printoptions()["precision"], lambda digits: np.set_printoptions(precision=digits), (1,)
    ),
    "pandas.infer_string": pandas_option("future.infer_string", False),
    "pandas.string_storage": pandas_option("mode.string_storage", "python"),
    "pandas.bottleneck": pandas_option("compute.use_bottleneck", False),
    "pandas.precision": pandas_option("display.precision", 1),
    "pandas.rows": pandas_option("display.max_rows", 1),
    "pandas.parquet": pandas_option("io.parquet.engine", "fastparquet"),
    "matplotlib.usetex": matplotlib_setting("text.usetex", True),
    "matplotlib.font": matplotlib_setting("font.size", 40.0),
    "matplotlib.dpi": matplotlib_setting("savefig.dpi", 30.0),
    "warnings": Setting(lambda: list(warnings.filters), write_warnings, (IGNORE_ALL,)),
    "logging level": Setting(lambda: logging.root.level, logging.root.setLevel, (logging.DEBUG, logging.CRITICAL)),
    "logging": Setting(lambda: logging.root.manager.disable, logging.disable, (logging.CRITICAL,)),
    "standard output": attribute(sys, "stdout", None, closed_stream(), StringIO()),
    "standard error": attribute(sys, "stderr", None, closed_stream(), StringIO()),
    "working folder": Setting(os.getcwd, os.chdir, ("/", tempfile.gettempdir())),
    "COLUMNS": variable("COLUMNS", "0", "7", "none"),
    "TERM": variable("TERM", "dumb", None),
    "HOME": variable("HOME", "/nowhere", None),
    "LANG": variable("LANG", "C", None),
    "PYTHONHASHSEED": variable("PYTHONHASHSEED", "1"),
    "NO_COLOR": variable("NO_COLOR", "1"),
    "MPLBACKEND": variable("MPLBACKEND", "nothing"),
    "recursion limit": Setting(sys.getrecursionlimit, sys.setrecursionlimit, (5000,)),
    "garbage collection": Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable(), (False,)),
    "umask": Setting(umask, os.umask, (0o777, 0o077)),
    "import path": Setting(lambda: list(sys.path), lambda entries: sys.path.__setitem__(slice(None), entries), ([],)),
    "switch interval": Setting(sys.getswitchinterval, sys.setswitchinterval, (0.5,)),
    "temporary folder": attribute(tempfile, "tempdir", "/nowhere"),
}


def read_settings() -> dict[str, Any]:
    """All values by name."""
    return {name: setting.read() for name, setting in SETTINGS.items()}


def write_settings(values: dict[str, Any]) -> None:
    """Sets those that differ."""
    for name, value in values.items():
        if SETTINGS[name].read() != value:
            SETTINGS[name].write(value)
