"""The tracer follows relevance through a network's operations and names the ones that have no rule."""

import pytest
import torch
from torch import nn

from mavis.core.errors import ModelError
from mavis.explainers.lrp import lrp

from ..toys import make_pass, random_images, targets


class Twice(nn.Module):
    """A linear layer whose output is added to itself in place, as residual networks write it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 3, bias=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        out = self.layer(images.flatten(1))
        out += self.layer(images.flatten(1))
        return out


class Product(nn.Module):
    """Two signals multiplied: no rule shares that."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        signal = self.layer(images.flatten(1))
        return signal * signal


def test_sums_in_place_are_followed() -> None:
    """The relevance of both terms comes to the pixels, and adds up to the logit."""
    model_pass = make_pass(Twice(), random_images(2, 4))
    values = lrp(rule="epsilon", epsilon=1e-9)(model_pass, targets(model_pass, 1))
    torch.testing.assert_close(values.sum((1, 2, 3)), model_pass.logits[:, 1], rtol=1e-4, atol=1e-5)


def test_an_operation_without_a_rule_is_named() -> None:
    """Instead of relevance that means nothing."""
    model_pass = make_pass(Product(), random_images(2, 4))
    with pytest.raises(ModelError, match="LRP has no rule for mul"):
        lrp(rule="epsilon")(model_pass, targets(model_pass))
