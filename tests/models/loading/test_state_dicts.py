"""State dicts as training scripts write them: loaded where one fits, else what was met and the command to write."""

import argparse
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.loading.weights import load_weights


def network(value: float = 0.0) -> nn.Module:
    """Two layers with the same number everywhere."""
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    for tensor in net.parameters():
        nn.init.constant_(tensor, value)
    return net


STATE: dict[str, Tensor] = dict(network(7.0).state_dict())


def prefixed(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    """The state with a prefix before every name."""
    return {prefix + name: tensor for name, tensor in state.items()}


OPTIMISER = {"state": {0: {"exp_avg": torch.zeros(2, 3)}}, "param_groups": [{"lr": 1.0}]}
CONTENTS: dict[str, Any] = {
    "model_state_dict": {"epoch": 3, "model_state_dict": STATE, "optimizer_state_dict": OPTIMISER},
    "net": {"net": STATE, "acc": np.float64(0.9), "best": np.float32(0.1), "path": Path("a")},
    "any key": {"weights_of_mine": STATE},
    "nested": {"checkpoint": {"student": {"backbone": STATE}}},
    "DataParallel": prefixed("module."),
    "Lightning": {"state_dict": {**prefixed("model."), "criterion.weight": torch.ones(2)}, "hyper_parameters": {}},
    "compiled in DataParallel": {"model": prefixed("_orig_mod.module.")},
    "averaged": {"model": {"n_averaged": torch.tensor(3), **prefixed("module.")}},
    "Namespace": {"state_dict": STATE, "args": argparse.Namespace(lr=1)},
    "equal twice": {"model": STATE, "ema": {name: tensor.clone() for name, tensor in STATE.items()}},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_state_dict_that_fits_is_loaded(tmp_path: Path, name: str) -> None:
    """Under any key, behind any prefix, beside other things."""
    torch.save(CONTENTS[name], tmp_path / "a.pt")
    net = network()
    load_weights(net, tmp_path / "a.pt")
    assert all(parameter.eq(7).all() for parameter in net.parameters())


def test_a_prefix_that_the_file_lacks_is_added(tmp_path: Path) -> None:
    """Of a network that stands inside another one."""
    torch.save(STATE, tmp_path / "a.pt")
    net = nn.Sequential()
    net.add_module("module", network())
    load_weights(net, tmp_path / "a.pt")
    assert all(parameter.eq(7).all() for parameter in net.parameters())


def test_two_that_fit_and_differ_are_refused_with_a_command_that_works(tmp_path: Path) -> None:
    """The command writes a file that is loaded."""
    path = tmp_path / "a b.pt"
    torch.save({"model": STATE, "ema": dict(network(8.0).state_dict())}, path)
    with pytest.raises(ModelError, match=r"hold 2 state dicts that fit and differ, under 'model', 'ema'") as caught:
        load_weights(network(), path)
    command = shlex.split(str(caught.value).partition("e.g. python ")[2])
    exec(command[1], {})
    net = network()
    load_weights(net, tmp_path / "a b-weights.pt")
    assert net[0].weight.eq(7).all()


class _Config:
    """A class that the file names."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: {"epoch": 3, "history": [1.0]}, r"got a dict with 'epoch \(int\)', 'history \(list\)'"),
        (lambda: prefixed("", {k: v for k, v in STATE.items() if k[0] == "1"}), "the tensors '0.bias', '0.weight' are"),
        (lambda: {"net": {**STATE, "x": STATE["0.bias"]}}, "the tensor 'x' has no place in the architecture"),
        (lambda: prefixed("module.", {**STATE, "0.bias": torch.zeros(5)}), r"'0.bias' must be \(2,\), got \(5,\)"),
        (lambda: {"state_dict": STATE, "config": _Config()}, r"it holds a \S*_Config, which could run code; if you"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, content: Callable[[], Any], message: str) -> None:
    """No state dict; too few tensors, too many, of another shape; an object that could run code."""
    torch.save(content(), tmp_path / "a.pt")
    with pytest.raises(ModelError, match=message) as caught:
        load_weights(network(), tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_a_path_that_the_system_refuses_is_one_line(tmp_path: Path) -> None:
    """A name that is too long, a folder."""
    for path in (tmp_path / ("x" * 5000), tmp_path):
        with pytest.raises(ModelError, match=r"The weights '.*' (cannot be read|are not there)"):
            load_weights(network(), path)


SPOILT: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "without values": (lambda tensor: tensor.to("meta"), "must be dense and hold its values; it is without values"),
    "sparse": (Tensor.to_sparse, "must be dense and hold its values; it is torch.sparse_coo"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "must hold real numbers; they are complex"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_tensors_that_are_no_weights_are_refused(tmp_path: Path, name: str) -> None:
    """Complex ones too, of which torch would take the real part."""
    change, line = SPOILT[name]
    torch.save({**STATE, "0.weight": change(STATE["0.weight"])}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=f"The tensor '0.weight' in .*{line}"):
        load_weights(network(), tmp_path / "a.pt")
