"""Rectifiers outside of modules: found whatever they are written with, and not where nothing is cut."""

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.explainers.rectifiers import find_rectifier, require_relu_modules

VALUES = torch.randn((2, 5), generator=torch.Generator().manual_seed(0))


class OwnRelu(torch.autograd.Function):
    """A ReLU with a backward of its own."""

    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return values.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (ctx.saved_tensors[0] > 0)


def assigned(values: Tensor) -> Tensor:
    """Negative values overwritten."""
    values = values.clone()
    values[values < 0] = 0
    return values


ZERO = torch.zeros(())
RECTIFIERS = {
    "clamp": lambda x: x.clamp(min=0),
    "clip to a range": lambda x: x.clip(0, 1),
    "relu": torch.relu,
    "relu in place": lambda x: (x * 1).relu_(),
    "times its comparison": lambda x: x * (x > 0),
    "comparison times it": lambda x: (x > 0) * x,
    "times a detached mask": lambda x: x * (x.detach() > 0).float(),
    "times its sign": lambda x: x * (1 + x.sign()) / 2,
    "maximum": lambda x: torch.maximum(x, ZERO),
    "fmax": lambda x: x.fmax(ZERO),
    "binary max": lambda x: torch.max(x, ZERO),
    "minus the minimum": lambda x: x - torch.minimum(x, ZERO),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "masked fill": lambda x: x.masked_fill(x < 0, 0),
    "threshold": lambda x: nn.functional.threshold(x, 0, 0.0),
    "hardtanh": lambda x: nn.functional.hardtanh(x, 0, 6),
    "absolute value": lambda x: (x + x.abs()) / 2,
    "assignment": assigned,
    "own autograd function": OwnRelu.apply,
}
OTHERS = {
    "linear": lambda x: 3 * x - 1,
    "clamp that cuts nothing": lambda x: x.clamp(-99, 99),
    "norm with a least length": nn.functional.normalize,
    "fixed mask": lambda x: x * torch.tensor([1.0, 0, 1, 0, 1]),
    "fixed mask as long as the batch": lambda x: x.repeat(1, 2).reshape(2, 2, 5) * torch.tensor([[1.0], [0.0]]),
    "filled at fixed places": lambda x: x.masked_fill(torch.tensor([[True, False, True, False, True]] * 2), 0),
    "gate of its own": lambda x: x * x.sigmoid(),
    "gelu": nn.functional.gelu,
    "softmax": lambda x: x.softmax(1),
    "layer norm": lambda x: nn.functional.layer_norm(x, (5,)),
    "maximum over places": lambda x: x.amax(1, keepdim=True),
}


@pytest.mark.parametrize("function", RECTIFIERS.values(), ids=RECTIFIERS.keys())
def test_a_rectifier_is_found(function) -> None:
    """By what it does to the gradient, before and after other steps."""
    leaf = VALUES.clone().requires_grad_()
    assert find_rectifier(function(leaf * 2).sin() + 1, []) is not None


@pytest.mark.parametrize("function", OTHERS.values(), ids=OTHERS.keys())
def test_what_cuts_no_signal_is_none(function) -> None:
    """Neither smooth steps nor masks that are the same in every image."""
    leaf = VALUES.clone().requires_grad_()
    assert find_rectifier(function(leaf * 2).sin() + 1, []) is None


@pytest.mark.parametrize("name", ["clamp", "times its comparison", "where", "own autograd function"])
def test_one_image_is_enough(name: str) -> None:
    """A step that passes some of its values and cuts others."""
    leaf = torch.tensor([[-1.0, 2.0]], requires_grad=True)
    assert find_rectifier(RECTIFIERS[name](leaf * 2), []) is not None


def test_nodes_that_are_known_are_left_out() -> None:
    """A ReLU that has a hook is no reason."""
    output = torch.relu(VALUES.clone().requires_grad_())
    assert find_rectifier(output + 1, [output.grad_fn]) is None


class Two(nn.Module):
    """A step between two layers."""

    def __init__(self, step) -> None:
        super().__init__()
        self.first, self.step, self.last = nn.Linear(5, 4), step, nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.step(self.first(images)))


@pytest.mark.parametrize("step", [nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(), nn.Hardtanh(), nn.GELU()])
def test_torch_s_activations_are_allowed(step: nn.Module) -> None:
    """And no hook stays."""
    network = Two(step)
    with require_relu_modules(network, "the method"):
        network(VALUES.clone().requires_grad_())
    assert not any(module._forward_hooks for module in network.modules())


def test_the_step_is_named() -> None:
    """With what to do."""
    network = Two(lambda values: values.clamp(min=0))
    with (
        require_relu_modules(network, "deconvnet"),
        pytest.raises(ModelError, match=r"\(Clamp\), for which deconvnet has no rule. .* write every ReLU as nn.ReLU"),
    ):
        network(VALUES.clone().requires_grad_())
    assert not any(module._forward_hooks for module in network.modules())
