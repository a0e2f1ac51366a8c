"""Modules that return several things: their first tensor, and the tap that CAM methods hook."""

import copy
from collections import OrderedDict, namedtuple

import pytest
import torch
from torch import Tensor, nn

from mavis.models.preparation.module_outputs import TensorTap, first_tensor, replace_tensor

Pair = namedtuple("Pair", ["tokens", "weights"])
ONE, TWO = torch.ones(2), torch.full((2,), 2.0)


@pytest.mark.parametrize(
    "result",
    [ONE, (ONE, TWO), [ONE, TWO], (None, ONE), Pair(ONE, TWO), OrderedDict(a=ONE, b=TWO), {"a": "text", "b": ONE}],
    ids=["tensor", "tuple", "list", "none first", "named tuple", "mapping", "text first"],
)
def test_the_first_tensor_is_read_and_replaced(result: object) -> None:
    """Everything else, and the kind of container, stays."""
    assert first_tensor(result) is ONE
    replaced = replace_tensor(result, lambda tensor: tensor + 5)
    assert type(replaced) is type(result)
    assert first_tensor(replaced).tolist() == [6, 6]
    assert first_tensor(result) is ONE


@pytest.mark.parametrize("result", [None, "text", (), (1, 2), {}])
def test_without_a_tensor_nothing_changes(result: object) -> None:
    """There is none to read."""
    assert first_tensor(result) is None
    assert replace_tensor(result, torch.neg) is result


class Block(nn.Module):
    """Tokens, and attention weights beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.heads = nn.Linear(2, 2), 3

    def forward(self, tokens: Tensor, scale: float = 1.0) -> tuple[Tensor, None]:
        return self.linear(tokens) * scale, None


def test_a_tap_sees_the_tensor_and_changes_nothing() -> None:
    """It passes arguments and attributes on, survives a copy, and is a module of its own to hook."""
    block = Block()
    tap = copy.deepcopy(TensorTap(block))
    seen = []
    tap.tap.register_forward_hook(lambda _, __, output: seen.append(output))
    result, weights = tap(TWO, scale=2.0)
    assert torch.equal(result, block(TWO, 2.0)[0])
    assert weights is None
    assert seen[0] is result
    assert tap.heads == 3
    with pytest.raises(AttributeError, match="missing"):
        _ = tap.missing
