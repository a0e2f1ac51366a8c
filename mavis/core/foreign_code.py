"""Calls of code that is not MAVIS's own: what it raises, sets and replaces stays its own matter.

One door for plug-ins' functions, `call_foreign`. Not held back: a crash, a hang, and what is changed deep inside
objects; against these the engine gives plug-ins a process of their own (`mavis.engine.execution.isolation`).
"""

import builtins
import copy
import functools
import itertools
import json
import math
import operator
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch

from mavis.core.errors import ContractError, describe_error
from mavis.core.process_state import preserve_process

T = TypeVar("T")

SHARED_MODULES = (
    *(builtins, copy, functools, itertools, json, math, operator, os, random, time),
    *(np, np.linalg, np.random, torch, torch.linalg, torch.autograd, torch.nn.functional),
)
"""Modules whose functions everybody calls; the classes of ``torch.nn``, tensors and all of MAVIS are watched too."""


def call_foreign(name: str, function: Callable[..., T], *arguments: Any) -> T:
    """Calls a function of a plug-in.

    Settings of the process are as before afterwards (`preserve_process`), streams cannot be closed, and functions that
    it replaced are put back.

    Args:
        name: of the plug-in, for errors.
        function: its code.
        arguments: handed over as they are; copies, where it must not write into them.

    Raises:
        ContractError: it ended the process (``sys.exit`` and the like), raised MemoryError, or replaced a function.
        KeyboardInterrupt: the user pressed Ctrl-C, also where the function swallowed it.
        Exception: what the function raises.
    """
    with contain_exits(name), restore_functions(name), preserve_process(), _unclosable_streams():
        return function(*arguments)


@contextmanager
def contain_exits(name: str) -> Iterator[None]:
    """Turns what would end or starve the process into an error of the plug-in.

    Raises:
        ContractError: SystemExit, MemoryError, a KeyboardInterrupt that nobody typed, any other error that is no
            `Exception`, and one whose message cannot be read.
    """
    typed: list[int] = []
    with _note_interrupts(typed):
        try:
            yield
        except BaseException as error:
            if _is_ordinary(error):
                raise
            if not typed:
                raise ContractError(f"'{name}' raised {describe_error(error)}; a plug-in must return.") from error
    if typed:
        raise KeyboardInterrupt


def _is_ordinary(error: BaseException) -> bool:
    """True for an `Exception` that others can handle: it is not of the process's memory, and has a message."""
    try:
        str(error)
    except Exception:
        return False
    return isinstance(error, Exception) and not isinstance(error, MemoryError)


@contextmanager
def _note_interrupts(typed: list[int]) -> Iterator[None]:
    """Notes every Ctrl-C; only the main thread gets any."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return

    def note(number: int, frame: Any) -> None:
        typed.append(number)
        handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class _Unclosable:
    """A stream that is neither closed nor taken apart; the layers below it are such streams too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> None:
        """Does nothing."""

    def detach(self) -> "_Unclosable":
        """The layer below, which this stream keeps."""
        return _Unclosable(self._stream.buffer if hasattr(self._stream, "buffer") else self._stream.raw)

    def __enter__(self) -> "_Unclosable":
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._stream, name)
        return _Unclosable(value) if name in ("buffer", "raw") else value


@contextmanager
def _unclosable_streams() -> Iterator[None]:
    names = ("stdout", "stderr", "__stdout__", "__stderr__")
    streams = {name: getattr(sys, name) for name in names}
    for name, stream in streams.items():
        setattr(sys, name, None if stream is None else _Unclosable(stream))
    try:
        yield
    finally:
        for name, stream in streams.items():
            setattr(sys, name, stream)


@contextmanager
def restore_functions(name: str) -> Iterator[None]:
    """Puts back functions and classes of shared modules that the enclosed code replaces.

    Raises:
        ContractError: it replaced any, and raised nothing itself.
    """
    saved = [(owner, vars(owner).copy()) for owner in _shared_namespaces(len(sys.modules))]
    replaced: list[str] = []
    try:
        yield
    finally:
        for owner, members in saved:
            replaced += _put_back(owner, members)
    if replaced:
        names = ", ".join(replaced[:3])
        raise ContractError(f"'{name}' replaced {names}, which others use too; it was put back. Work on a subclass.")


def _put_back(owner: Any, members: dict[str, Any]) -> list[str]:
    """Names of functions and classes that are not what they were, after these were set again."""
    now = vars(owner)
    if len(now) == len(members) and all(map(operator.is_, now.values(), members.values())):
        return []
    now = now.copy()
    names = [name for name, member in members.items() if now.get(name) is not member and _is_watched(member)]
    if isinstance(owner, type):  # a new member may hide an inherited one
        names += [name for name in now.keys() - members.keys() if callable(getattr(owner.__base__, name, None))]
    replaced = [name for name in names if not _is_own_code(owner, now.get(name))]
    for name in replaced:
        if name in members:
            setattr(owner, name, members[name])
        else:
            delattr(owner, name)
    return [f"{_qualified_name(owner)}.{name}" for name in replaced]


def _is_watched(member: Any) -> bool:
    """True for functions, classes and properties, and for constants such as ``torch.float32`` and ``math.pi``."""
    return callable(member) or hasattr(type(member), "__get__") or isinstance(member, torch.dtype | float)


def _qualified_name(owner: Any) -> str:
    return str(owner.__name__) if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__name__}"


def _is_own_code(owner: Any, member: Any) -> bool:
    """True for a function from the files of the owner's own package: torch replaces some of its own at first use."""
    package = _qualified_name(owner).partition(".")[0]
    code = getattr(member, "__code__", None)
    file = getattr(sys.modules.get(package), "__file__", None)
    return (
        package != "mavis"
        and code is not None
        and file is not None
        and Path(code.co_filename).is_relative_to(Path(file).parent)
    )


@lru_cache(maxsize=1)
def _shared_namespaces(n_modules: int) -> list[Any]:  # noqa: ARG001 (listed anew when modules have been imported)
    """Modules and classes whose functions MAVIS calls."""
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "mavis"]
    classes = [torch.Tensor, *(member for member in vars(torch.nn).values() if isinstance(member, type))]
    for module in modules:
        members = [member for member in vars(module).values() if isinstance(member, type)]
        classes += [member for member in members if member.__module__ == module.__name__]
    return [*SHARED_MODULES, *modules, *classes]
