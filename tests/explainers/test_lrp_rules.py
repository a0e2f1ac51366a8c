"""Rules of LRP on one linear layer, by hand."""

import pytest
import torch
from torch import Tensor

from mavis.explainers.lrp_rules import LinearLayer, LrpRules


def matrix(signal: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.nn.functional.linear(signal, weight, bias)


def relevance_of(rule: str, signal: list[float], weight: list[float], **params: float) -> list[float]:
    """Relevance of the inputs of one output with relevance 1."""
    layer = LinearLayer(matrix, torch.tensor([weight]), None, is_dense=False)
    rules = LrpRules(composite=rule, **{"gamma": 0.25, "alpha": 1.0, **params})  # type: ignore[arg-type]
    (values,) = rules.for_layer(layer)(torch.ones(1, 1), torch.tensor([signal]))
    return values[0].tolist()


def test_epsilon_shares_by_contribution() -> None:
    """Contributions 2, 3 and −1 of a sum of 4 get 2/4, 3/4 and −1/4."""
    shares = relevance_of("epsilon", [1.0, 1.0, 1.0], [2.0, 3.0, -1.0], epsilon=1e-9)
    assert shares == pytest.approx([0.5, 0.75, -0.25], abs=1e-5)


def test_alpha_beta_shares_each_sign_apart() -> None:
    """With α = 2 and β = 1 the positive contributions 2 and 3 get 2·2/5 and 2·3/5, the negative one −1."""
    shares = relevance_of("alpha_beta", [1.0, 1.0, 1.0], [2.0, 3.0, -1.0], epsilon=1e-9, alpha=2.0)
    assert shares == pytest.approx([0.8, 1.2, -1.0], abs=1e-5)
