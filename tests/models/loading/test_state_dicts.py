"""State dicts in checkpoints: keys and prefixes of training scripts, and lines where none fits."""

import argparse
from pathlib import Path

import pytest
import torch
from torch import nn

from mavis.core.errors import ModelError
from mavis.models.loading.state_dicts import extraction_command, select_state

NET = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
STATE = {name: tensor.clone() for name, tensor in NET.state_dict().items()}
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}
PATH = Path("a b.pth")


def prefixed(prefix: str, state: dict = STATE) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}},
        {"model_state_dict": STATE, "args": argparse.Namespace(lr=0.1)},
        {"net": prefixed("module.")},
        {"model": {"state_dict": prefixed("model.")}},
        prefixed("_orig_mod."),
        prefixed("_orig_mod.module."),
        {"n_averaged": torch.tensor(5), **prefixed("module.")},
        {"state_dict": STATE, "ema": STATE},
        {"optimizer": {"exp_avg": torch.ones(3)}, "net": STATE},
    ],
)
def test_the_weights_are_found(content: dict) -> None:
    """Under any key and prefix; equal copies are one."""
    state = select_state(content, STATE, PATH)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


def test_a_prefix_that_lacks_is_added() -> None:
    """For a network that is wrapped here and was not when it was saved."""
    assert select_state(STATE, prefixed("net."), PATH).keys() == prefixed("net.").keys()


def test_two_that_fit_and_differ_are_refused() -> None:
    """With both places and a command that writes one."""
    with pytest.raises(ModelError, match=r"hold 2 state dicts that fit and differ, under .*ema.* python -c "):
        select_state({"state_dict": STATE, "ema": OTHER}, STATE, PATH)


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3, "name": "mine"}, "text", None])
def test_a_file_without_tensors_is_one_line(content: object) -> None:
    """What is in it, and what to write."""
    with pytest.raises(ModelError, match=r"must be a state dict, .*, got .*; write torch\.save") as caught:
        select_state(content, STATE, PATH)
    assert "\n" not in str(caught.value)


def test_of_those_that_do_not_fit_the_nearest_is_returned() -> None:
    """So that the message about missing names speaks of it."""
    partial = {name: tensor for name, tensor in STATE.items() if name.startswith("0.")}
    assert select_state({"net": partial, "other": {"z": torch.ones(1)}}, STATE, PATH).keys() == partial.keys()


def test_the_command_can_be_copied() -> None:
    """Paths with blanks are quoted."""
    command = extraction_command(PATH, "['net']")
    assert command.startswith(("python -c '", 'python -c "'))
    assert "a b-weights.pt" in command
