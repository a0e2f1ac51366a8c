"""Contexts of a caller, each one a context manager that is opened around MAVIS."""

import contextlib
import decimal
import logging
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import StringIO
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.generated.process_settings import SETTINGS


def doubled(result: Any) -> Any:
    return result * 2 if isinstance(result, Tensor) and result.is_floating_point() else result


class DoubledOperations(TorchDispatchMode):
    """Every operation gives twice its result, as far as it is a tensor of floats."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return doubled(func(*args, **(kwargs or {})))


class DoubledFunctions(TorchFunctionMode):
    """Every function of torch gives twice its result, as far as it is a tensor of floats."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return doubled(func(*args, **(kwargs or {})))


class CountedFunctions(TorchFunctionMode):
    """Functions of torch are counted, as a profiler does."""

    n_calls = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.n_calls += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def global_hook() -> Iterator[None]:
    handle = nn.modules.module.register_module_forward_hook(lambda module, inputs, output: doubled(output))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def warnings_set_to(action: Any) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        yield


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def log_handler() -> Iterator[None]:
    """A handler of a caller's that takes no more records."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    stream.close()
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)


@contextmanager
def little_recursion() -> Iterator[None]:
    """As few nested calls as the caller, and hypothesis, can do with."""
    limit, depth = sys.getrecursionlimit(), len(list(walk_frames()))
    sys.setrecursionlimit(depth + 150)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def walk_frames() -> Iterator[Any]:
    frame: Any = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


@contextmanager
def seeds(number: int) -> Iterator[None]:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)
    yield


@contextmanager
def changed_setting(name: str, value: Any) -> Iterator[None]:
    setting = SETTINGS[name]
    before = setting.read()
    setting.write(value)
    try:
        yield
    finally:
        setting.write(before)


CONTEXTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "inference_mode off": lambda: torch.inference_mode(False),
    "enable_grad": torch.enable_grad,
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", torch.float16),
    "meta device": lambda: torch.device("meta"),
    "default device": default_device,
    "anomaly": lambda: torch.autograd.set_detect_anomaly(True),
    "dispatch mode": DoubledOperations,
    "function mode": DoubledFunctions,
    "counting mode": CountedFunctions,
    "hooks of saved tensors": lambda: torch.autograd.graph.saved_tensors_hooks(doubled, lambda x: x),
    "saved tensors on the CPU": torch.autograd.graph.save_on_cpu,
    "no hooks of saved tensors": lambda: torch.autograd.graph.disable_saved_tensors_hooks("not here"),
    "mutable saved tensors": torch.autograd.graph.allow_mutation_on_saved_tensors,
    "dual level": torch.autograd.forward_ad.dual_level,
    "one thread of autograd": lambda: torch.autograd.set_multithreading_enabled(False),
    "attention": lambda: torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    "global hook": global_hook,
    "forked random states": lambda: torch.random.fork_rng(devices=[]),
    "seeds": lambda: seeds(7),
    "numpy raises": lambda: np.errstate(all="raise"),
    "numpy prints": lambda: np.printoptions(precision=1, threshold=2),
    "warnings as errors": lambda: warnings_set_to("error"),
    "no warnings": lambda: warnings_set_to("ignore"),
    "all warnings": lambda: warnings_set_to("error"),
    "decimals": lambda: decimal.localcontext(prec=1),
    "matplotlib": lambda: mpl.rc_context({"text.usetex": True, "font.size": 30, "axes.titlesize": 40}),
    "pandas": lambda: pd.option_context("mode.string_storage", "python", "display.max_rows", 1),
    "no output": lambda: contextlib.redirect_stdout(None),
    "output in a text": lambda: contextlib.redirect_stdout(StringIO()),
    "log handler": log_handler,
    "recursion": little_recursion,
}
