"""Rules of LRP: they share the relevance of an operation's output among its inputs.

Every rule is proportional sharing, on the operation as it is or with some of its weights and inputs changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Composite = Literal["epsilon", "gamma", "alpha_beta", "epsilon_plus"]

RelevanceRule = Callable[..., tuple[Tensor, ...]]
"""``(relevance of the output, *inputs) -> relevance of each input``, of the input's shape."""


@dataclass(frozen=True)
class LinearLayer:
    """A convolution or a fully connected layer.

    Attributes:
        call: ``(input, weight, bias) -> output``.
        weight: as torch has it.
        bias: one value per output channel, or None.
        is_dense: whether it is fully connected.
    """

    call: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    weight: Tensor
    bias: Tensor | None
    is_dense: bool

    def fold_batch_norm(self, scale: Tensor, shift: Tensor) -> "LinearLayer":
        """The layer with the output ``scale`` times this one's, plus ``shift``, each ``(output channels,)``."""
        weight = self.weight * scale.view(-1, *[1] * (self.weight.dim() - 1))
        return replace(self, weight=weight, bias=shift if self.bias is None else self.bias * scale + shift)

    def amplify(self, strength: float, sign: int) -> "LinearLayer":
        """The layer with its positive (or negative) weights and biases increased by ``strength`` times themselves."""
        bias = None if self.bias is None else self.bias + strength * sign_part(self.bias, sign)
        return replace(self, weight=self.weight + strength * sign_part(self.weight, sign), bias=bias)

    def keep_sign(self, sign: int) -> "LinearLayer":
        """The layer with its positive (or negative) weights and biases only."""
        return replace(
            self, weight=sign_part(self.weight, sign), bias=None if self.bias is None else sign_part(self.bias, sign)
        )

    def __call__(self, signal: Tensor) -> Tensor:
        """The output."""
        return self.call(signal, self.weight, self.bias)


@dataclass(frozen=True)
class LrpRules:
    """A rule for each layer: the chosen one for convolutions, epsilon for what is fully connected.

    Attributes:
        composite: the rule for convolutions.
        epsilon: added to every denominator, with its sign.
        gamma: how much the positive contributions are favoured.
        alpha: weight of the positive contributions; that of the negative ones is one less.
    """

    composite: Composite
    epsilon: float
    gamma: float
    alpha: float

    def for_layer(self, layer: LinearLayer) -> RelevanceRule:
        """The rule for a layer."""
        if layer.is_dense or self.composite == "epsilon":
            return self.proportional(layer)
        if self.composite == "gamma":
            return self._gamma(layer)
        return self._alpha_beta(layer, 1.0 if self.composite == "epsilon_plus" else self.alpha)

    def for_batch_norm(self, operation: Callable[..., Tensor], layer: LinearLayer) -> RelevanceRule:
        """The rule for a batch normalisation without a layer before it, given as torch computes it and as a layer.

        Under α-β it is the epsilon rule, as in Captum and iNNvestigate (Alber et al. 2019). α-β would hand its one
        input −β of the relevance wherever that input lowers the output, however little: where the input is an average
        or a sum of both signs that has all but cancelled, the share of each term is then divided by next to nothing,
        values grow a thousandfold and rounding shows. What epsilon hands on vanishes with the input.
        """
        return self.proportional(operation) if self.composite == "alpha_beta" else self.for_layer(layer)

    def for_constant(self, operation: Callable[..., Tensor]) -> RelevanceRule:
        """The rule for a signal to which a constant is added, or that is multiplied by one."""
        return self.proportional(operation) if self.composite == "epsilon" else pass_through

    def proportional(self, operation: Callable[..., Tensor]) -> RelevanceRule:
        """Each input's share is what it adds to the output; of an operation that is linear but for a bias."""

        def propagate(relevance: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            leaves = [signal.detach().requires_grad_() for signal in inputs]
            with torch.enable_grad():
                out = operation(*leaves)
            rates = torch.autograd.grad(out, leaves, relevance / stabilise(out.detach(), self.epsilon))
            return tuple(leaf.detach() * rate for leaf, rate in zip(leaves, rates, strict=True))

        return propagate

    def _alpha_beta(self, layer: LinearLayer, alpha: float) -> RelevanceRule:
        raising = self._split_by_sign(layer.keep_sign(1), layer.keep_sign(-1))
        lowering = self._split_by_sign(layer.keep_sign(-1), layer.keep_sign(1))

        def propagate(relevance: Tensor, signal: Tensor) -> tuple[Tensor]:
            shared = alpha * raising(relevance, signal)
            return (shared - (alpha - 1) * lowering(relevance, signal) if alpha != 1 else shared,)

        return propagate

    def _gamma(self, layer: LinearLayer) -> RelevanceRule:
        raised = self._split_by_sign(layer.amplify(self.gamma, 1), layer.amplify(self.gamma, -1))
        lowered = self._split_by_sign(layer.amplify(self.gamma, -1), layer.amplify(self.gamma, 1))

        def propagate(relevance: Tensor, signal: Tensor) -> tuple[Tensor]:
            out = layer(signal)
            return (raised(relevance * (out > 0), signal) + lowered(relevance * (out < 0), signal),)

        return propagate

    def _split_by_sign(self, above: LinearLayer, below: LinearLayer) -> Callable[[Tensor, Tensor], Tensor]:
        """Proportional sharing where positive inputs meet one layer, and negative ones the weights of another."""

        def operation(positive: Tensor, *negative: Tensor) -> Tensor:
            out = above(positive)
            return out + below.call(negative[0], below.weight, None) if negative else out

        def propagate(relevance: Tensor, signal: Tensor) -> Tensor:
            parts = [sign_part(signal, 1)]
            if (signal < 0).any():  # behind a ReLU there are none, and half of the work is saved
                parts.append(sign_part(signal, -1))
            shared = self.proportional(operation)(relevance, *parts)
            return torch.stack(shared).sum(0)

        return propagate


def pass_through(relevance: Tensor, signal: Tensor) -> tuple[Tensor]:
    """The rule of operations with one input per output: all of it, whatever the constants are."""
    return (relevance.sum_to_size(signal.shape),)


def sign_part(values: Tensor, sign: int) -> Tensor:
    """The positive part for 1, the negative one for −1."""
    return values.clamp(min=0) if sign > 0 else values.clamp(max=0)


def stabilise(values: Tensor, epsilon: float) -> Tensor:
    """Away from zero by ``epsilon``; zero counts as positive."""
    return torch.where(values < 0, values - epsilon, values + epsilon)
