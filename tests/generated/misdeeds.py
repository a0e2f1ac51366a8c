"""Misdeeds of plug-ins, each one small function: what a plug-in may do beside its right work.

Three kinds: deeds beside the work (`DEEDS`), which leave the values as they are; returned values that are no longer the
right ones (`VALUES`); and errors (`ERRORS`). A setting of `process_settings` that is changed is a deed too.
"""

import builtins
import copy
import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mavis.core import attribution_maps
from mavis.core.perturbation.variants import Flip

KEPT: list[Any] = []
"""What plug-ins keep from one call to the next."""


def tensors_in(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """Tensors that a plug-in was handed: in arguments, their fields, and the network."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from (tensor.data for tensor in value.state_dict().values())
    elif depth:
        parts: Any = ()
        if isinstance(value, Mapping):
            parts = value.values()
        elif isinstance(value, list | tuple):
            parts = value
        elif is_dataclass(value):
            parts = [getattr(value, field.name) for field in fields(value)]
        for part in parts:
            yield from tensors_in(part, depth - 1)


def networks_in(arguments: tuple[Any, ...]) -> list[nn.Module]:
    passes = [getattr(argument, "model_pass", argument) for argument in arguments]
    models = [getattr(part, "model", part) for part in passes]
    return [model.net for model in models if isinstance(getattr(model, "net", None), nn.Module)]


def zero(tensors: Any) -> None:
    with torch.no_grad():
        for tensor in list(tensors):
            tensor.detach().zero_()


def write_everything(arguments: tuple[Any, ...]) -> None:
    zero(tensors_in(arguments))


def overwrite_what_was_kept(arguments: tuple[Any, ...]) -> None:
    zero(tensors_in(KEPT))
    KEPT[:] = [arguments]


def write_through_numpy(arguments: tuple[Any, ...]) -> None:
    for tensor in list(tensors_in(arguments)):
        tensor.detach().numpy()[...] = 1


def empty_mappings(arguments: tuple[Any, ...]) -> None:
    for argument in arguments:
        if isinstance(argument, dict):
            argument.clear()
        for member in ("groups", "card", "_computed"):
            getattr(argument, member, {}).clear()


def train_mode(arguments: tuple[Any, ...]) -> None:
    for net in networks_in(arguments):
        net.train().requires_grad_(True)


def leave_hooks(arguments: tuple[Any, ...]) -> None:
    for net in networks_in(arguments):
        for module in net.modules():
            module.register_forward_hook(lambda module, inputs, output: output * 2)


def remove_layers(arguments: tuple[Any, ...]) -> None:
    for net in networks_in(arguments):
        for name, _ in list(net.named_children()):
            setattr(net, name, nn.Identity())


def global_hook(arguments: tuple[Any, ...]) -> None:
    nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output * 2)


def inference_mode_left_on(arguments: tuple[Any, ...]) -> None:
    KEPT.append(torch.inference_mode())
    KEPT[-1].__enter__()


def close_streams(arguments: tuple[Any, ...]) -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        stream.close()


def close_buffers(arguments: tuple[Any, ...]) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.buffer.close()


def detach_buffers(arguments: tuple[Any, ...]) -> None:
    sys.stdout.detach()


def print_odd_text(arguments: tuple[Any, ...]) -> None:
    sys.stdout.write("[/old] [bold]\x1b[2J")
    sys.stdout.buffer.write(b"\xff\xfe")


def warn(arguments: tuple[Any, ...]) -> None:
    warnings.simplefilter("ignore")
    warnings.warn("[/markup]", UserWarning, stacklevel=1)


def ignore_interrupts(arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def set_alarm(arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)


def empty_environment(arguments: tuple[Any, ...]) -> None:
    os.environ.clear()


def draw_numbers(arguments: tuple[Any, ...]) -> None:
    torch.rand(3)
    random.random()
    np.random.rand(3)


def trace(arguments: tuple[Any, ...]) -> None:
    sys.setprofile(lambda *_: None)


class DoubledFunctions(torch.overrides.TorchFunctionMode):
    """A mode that doubles what functions of torch return."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result * 2 if isinstance(result, Tensor) and result.is_floating_point() else result


def function_mode_left_on(arguments: tuple[Any, ...]) -> None:
    DoubledFunctions().__enter__()


def hooks_of_saved_tensors(arguments: tuple[Any, ...]) -> None:
    torch.autograd.graph.saved_tensors_hooks(lambda x: x * 2, lambda x: x).__enter__()


DEEDS: dict[str, Callable[[tuple[Any, ...]], object]] = {
    deed.__name__: deed
    for deed in (
        write_everything,
        overwrite_what_was_kept,
        write_through_numpy,
        empty_mappings,
        train_mode,
        leave_hooks,
        remove_layers,
        global_hook,
        inference_mode_left_on,
        close_streams,
        close_buffers,
        detach_buffers,
        print_odd_text,
        warn,
        ignore_interrupts,
        set_alarm,
        empty_environment,
        draw_numbers,
        trace,
        function_mode_left_on,
        hooks_of_saved_tensors,
    )
}

PATCHES: dict[str, tuple[Any, str, Any]] = {
    "torch.abs": (torch, "abs", torch.neg),
    "torch.float32": (torch, "float32", torch.float64),
    "Tensor.mul": (torch.Tensor, "__mul__", lambda first, second: first),
    "Tensor.sum": (torch.Tensor, "sum", torch.Tensor.mean),
    "Tensor.clone": (torch.Tensor, "clone", lambda tensor: tensor),
    "Module.call": (nn.Module, "__call__", lambda net, images: images.mean((2, 3))),
    "ReLU.forward": (nn.ReLU, "forward", lambda layer, images: images),
    "functional.relu": (torch.nn.functional, "relu", torch.sigmoid),
    "autograd.grad": (torch.autograd, "grad", lambda outputs, inputs, **_: (torch.ones_like(inputs),)),
    "numpy.isfinite": (np, "isfinite", np.isnan),
    "numpy.nan": (np, "nan", 0.0),
    "numpy.linalg.norm": (np.linalg, "norm", lambda *_: 0),
    "builtins.sum": (builtins, "sum", max),
    "builtins.len": (builtins, "len", lambda value: 1),
    "random.random": (random, "random", lambda: 0.5),
    "copy.deepcopy": (copy, "deepcopy", lambda value, memo=None: value),
    "time.perf_counter": (time, "perf_counter", lambda: 0.0),
    "os.getcwd": (os, "getcwd", lambda: "/nowhere"),
    "mavis cell_means": (attribution_maps, "cell_means", lambda values, grid: values),
    "mavis Maps": (attribution_maps.Maps, "from_values", lambda values, grid: None),
    "mavis variant": (Flip, "batches", lambda variant, model_pass: iter(())),
}
"""Functions that others use: where they are, their name, and what stands there instead."""


class Odd(Tensor):
    """A subclass of tensors."""


def keep_and_overwrite(values: Tensor) -> Tensor:
    """The same buffer in every call, written into anew."""
    zero(value for value in KEPT if isinstance(value, Tensor) and value.shape == values.shape)
    KEPT[:] = [values]
    return values


HARMLESS: dict[str, Callable[[Tensor], Any]] = {
    "subclass": lambda values: values.as_subclass(Odd),
    "requires_grad": lambda values: values.detach().clone().requires_grad_(),
    "graph": lambda values: values * torch.ones((), requires_grad=True),
    "double": lambda values: values.double(),
    "not contiguous": lambda values: torch.stack([values, values], -1)[..., 0],
    "kept": keep_and_overwrite,
}
"""Other forms of the same values."""

VALUES: dict[str, Callable[[Tensor], Any]] = {
    "None": lambda values: None,
    "NaN": lambda values: values * torch.nan,
    "one NaN": lambda values: torch.where(values == values.max(), torch.nan, values),
    "infinite": lambda values: values / 0,
    "complex": lambda values: values * 1j,
    "bool": lambda values: values > 0,
    "other shape": lambda values: values[..., None],
    "one too few": lambda values: values[1:],
    "empty": lambda values: values[:0],
    "array": lambda values: values.detach().numpy(),
    "list": lambda values: values.tolist(),
    "number": lambda values: 1.0,
    "text": lambda values: "[/old]",
    "sparse": lambda values: values.detach().to_sparse(),
    "meta": lambda values: values.to("meta"),
    "quantised": lambda values: torch.quantize_per_tensor(values.detach().float(), 0.1, 0, torch.qint8),
    "named": lambda values: values.detach().rename(*"abcd"[: values.ndim]),
    "a parameter of a module": lambda values: nn.Parameter(values.detach()),
    "lazy": lambda values: nn.parameter.UninitializedParameter(),
    "generator": lambda values: (value for value in values),
    "order": lambda values: values.flip(0),
    "scale of the batch": lambda values: values * len(values),
    "mean of the batch": lambda values: values.mean(0, keepdim=True).expand_as(values),
    "random": lambda values: torch.rand(values.shape) + values,
}
"""Other values, and what is no value at all."""


class WordlessError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "exit": lambda: SystemExit(0),
    "interrupt": KeyboardInterrupt,
    "memory": lambda: MemoryError("no room"),
    "full accelerator": lambda: torch.OutOfMemoryError("CUDA out of memory"),
    "recursion": lambda: RecursionError("deep"),
    "generator exit": GeneratorExit,
    "stop": lambda: StopIteration(3),
    "base": lambda: BaseException("rare"),
    "group": lambda: BaseExceptionGroup("several", [ValueError("a"), KeyboardInterrupt()]),
    "many lines": lambda: ValueError("first\nsecond\r\n[/old]\x1b[2J"),
    "no text": RuntimeError,
    "not UTF-8": lambda: ValueError("\udcff"),
    "long": lambda: ValueError("x" * 100_000),
    "wordless": WordlessError,
    "assertion": AssertionError,
    "unicode": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
}
