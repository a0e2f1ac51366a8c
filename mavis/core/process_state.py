"""State of the process that MAVIS shares with its caller and with foreign code: set for its own work, and given back.

Two doors. `standard_settings` is around every public function that computes: MAVIS's scores do not depend on what the
caller has set, and the caller finds everything as it was. `preserve_process` is around every call of foreign code.
"""

import warnings
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import overrides
from torch.utils._python_dispatch import _pop_mode_temporarily

from mavis.core.process_settings import SETTINGS, STANDARD, ProcessSetting


@contextmanager
def standard_settings() -> Iterator[None]:
    """MAVIS's own settings while the context is open, the caller's afterwards. Also a decorator.

    Gradients are on; inference mode, autocast, anomaly detection, TF32, races between kernels, hooks of all modules and
    of saved tensors, and the caller's modes are off; new tensors are float32 on the CPU. The number of threads is the
    caller's choice. What is kept: see `preserve_process`.
    """
    with (
        _no_modes(),
        preserve_process(),
        torch.inference_mode(False),
        torch.enable_grad(),
        _tensors_on_the_cpu(),
    ):
        for name, value in STANDARD.items():
            if name in SETTINGS and _read(SETTINGS[name]) != value:
                SETTINGS[name].write(value)
        yield


@contextmanager
def preserve_process(*, but_not: Collection[str] = ()) -> Iterator[None]:
    """Leaves the process as it was, whatever the enclosed code sets.

    Kept is what `process_settings` lists: random states, torch's modes, flags, threads and global hooks, settings of
    NumPy, pandas and Matplotlib, warnings, logging, streams, signal handlers, and what Python and the system keep for
    the process.

    Args:
        but_not: names of settings that the enclosed code may change for good.
    """
    is_grad_enabled = torch.is_grad_enabled()
    saved = [(setting, _read(setting)) for name, setting in SETTINGS.items() if name not in but_not]
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


def _read(setting: ProcessSetting) -> Any:
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
def _no_modes() -> Iterator[None]:
    """The caller's modes, such as torch's counter of FLOPs, see nothing; torch has no public name for that."""
    with ExitStack() as popped:
        for _ in range(torch._C._len_torch_dispatch_stack()):
            popped.enter_context(_pop_mode_temporarily())
        for _ in range(torch._C._len_torch_function_stack()):
            popped.enter_context(overrides._pop_mode_temporarily())
        yield
