"""Foreign code cannot end the run, set what others see, or replace what others call."""

import builtins
import contextlib
import copy
import io
import os
import random
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mavis.core import devices
from mavis.core.attribution_maps import Maps
from mavis.core.errors import ContractError
from mavis.core.foreign_code import call_foreign, contain_exits
from mavis.core.model_pass import Pass


def fail(error: BaseException):
    def function() -> None:
        raise error

    return function


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (SystemExit(), "SystemExit"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (MemoryError("no room"), "MemoryError: no room"),
        (BaseException("rare"), "BaseException: rare"),
        (BaseExceptionGroup("several", [KeyboardInterrupt()]), r"BaseExceptionGroup: several \(1 sub-exception\)"),
        (WordlessError(), "WordlessError"),
    ],
)
def test_what_would_end_the_process_is_an_error_of_the_plug_in(error: BaseException, text: str) -> None:
    """One line with the plug-in's name and what it raised."""
    with pytest.raises(ContractError, match=f"^'mine' raised {text}; a plug-in must return"):
        call_foreign("mine", fail(error))


@pytest.mark.parametrize("error", [RecursionError("deep"), torch.OutOfMemoryError("full"), ValueError("bad")])
def test_other_errors_keep_their_kind(error: Exception) -> None:
    """What the engine tells apart, as a full accelerator, arrives as it was raised."""
    with pytest.raises(type(error), match=str(error)):
        call_foreign("mine", fail(error))


def test_ctrl_c_ends_the_run_also_where_the_plug_in_swallows_it() -> None:
    """The signal is the user's, whatever the plug-in does with the exception."""

    def swallow() -> str:
        with contextlib.suppress(BaseException):
            signal.raise_signal(signal.SIGINT)
        return "went on"

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        call_foreign("mine", swallow)
    with pytest.raises(KeyboardInterrupt), contain_exits("mine"):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def replace_relu() -> None:
    torch.relu = torch.sigmoid


def hide_inherited_abs() -> None:
    torch.Tensor.abs = lambda tensor: tensor


def replace_forward() -> None:
    nn.ReLU.forward = lambda self, images: images


def replace_functional() -> None:
    torch.nn.functional.conv2d = lambda *arguments: 0


def replace_numpy() -> None:
    np.argsort = np.sort


def replace_builtin() -> None:
    builtins.sum = max


def replace_own_function() -> None:
    devices.argsort = devices.sort


def replace_own_method() -> None:
    ContractError.__str__ = lambda self: ""


def replace_class_method() -> None:
    Maps.from_values = lambda values, grid: None


def replace_property() -> None:
    Pass.logits = property(lambda model_pass: torch.zeros(1))


def replace_dtype() -> None:
    torch.float32 = torch.float64


def replace_deepcopy() -> None:
    copy.deepcopy = lambda value, memo=None: value


def replace_and_fail() -> None:
    torch.relu = torch.sigmoid
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (replace_relu, "torch.relu"),
        (hide_inherited_abs, "torch.Tensor.abs"),
        (replace_forward, "ReLU.forward"),
        (replace_functional, "torch.nn.functional.conv2d"),
        (replace_numpy, "numpy.argsort"),
        (replace_builtin, "builtins.sum"),
        (replace_own_function, "mavis.core.devices.argsort"),
        (replace_own_method, "ContractError.__str__"),
        (replace_class_method, "Maps.from_values"),
        (replace_property, "Pass.logits"),
        (replace_dtype, "torch.float32"),
        (replace_deepcopy, "copy.deepcopy"),
    ],
)
def test_a_replaced_function_is_put_back_and_named(function, name: str) -> None:
    """Functions and constants of modules, methods, properties, and names that hide inherited methods."""
    with pytest.raises(ContractError, match=rf"^'mine' replaced .*{name}, .*put back"):
        call_foreign("mine", function)
    assert torch.relu is not torch.sigmoid
    assert torch.tensor(-1.0).abs() == 1
    assert nn.ReLU()(torch.tensor(-1.0)) == 0
    assert np.argsort([2, 1]).tolist() == [1, 0]
    assert sum([1, 2]) == 3
    assert devices.argsort is not devices.sort
    assert str(ContractError("text")) == "text"
    assert Maps.from_values(torch.zeros(1, 4, 4), 2).grid == 2
    assert torch.zeros(1).dtype is torch.float32
    original: list[int] = []
    assert copy.deepcopy(original) is not original


def test_a_replaced_function_is_put_back_after_an_error_too() -> None:
    """The error is the plug-in's own."""
    relu = torch.relu
    with pytest.raises(ZeroDivisionError):
        call_foreign("mine", replace_and_fail)
    assert torch.relu is relu


def test_settings_streams_and_random_numbers_are_as_before(tmp_path, capsys) -> None:
    """One function that changes many of them returns its value, and nothing of it stays."""

    def meddle() -> str:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.manual_seed(0)
        random.seed(0)
        os.chdir(tmp_path)
        os.environ["MAVIS_MEDDLED"] = "1"
        warnings.simplefilter("error")
        np.seterr(all="raise")
        sys.stdout.close()
        sys.__stderr__.close()
        sys.stdout.write("still open")
        return "done"

    state, folder = (random.getstate(), torch.get_rng_state()), Path.cwd()
    assert call_foreign("mine", meddle) == "done"
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert random.getstate() == state[0]
    assert torch.get_rng_state().equal(state[1])
    assert Path.cwd() == folder
    assert "MAVIS_MEDDLED" not in os.environ
    assert np.geterr()["over"] == "warn"
    assert not sys.__stderr__.closed
    assert capsys.readouterr().out == "still open"


@pytest.mark.parametrize(
    "close",
    [
        lambda stream: stream.close(),
        lambda stream: stream.buffer.close(),
        lambda stream: stream.detach().close(),
        lambda stream: stream.buffer.detach().close(),
        lambda stream: stream.__exit__(None, None, None),
    ],
)
def test_a_stream_is_open_afterwards_whatever_layer_is_closed(monkeypatch, close) -> None:
    """What is written later arrives."""
    bytes_written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(bytes_written), encoding="utf-8"))
    call_foreign("mine", lambda: close(sys.stdout))
    sys.stdout.write("still open")
    sys.stdout.flush()
    assert bytes_written.getvalue() == b"still open"
