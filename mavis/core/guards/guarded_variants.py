"""Variants of foreign metrics: their methods get copies, and the values they return are checked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mavis.core.errors import ContractError
from mavis.core.guards.input_copies import copy_batch, copy_pass, duplicate_model, plain_tensor
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Variant
from mavis.core.types import Batch, Model

Call = Callable[..., Any]
"""``(function, *arguments)``: calls a plug-in's function in the guard."""


def guard_variants(call: Call, variants: Any) -> Sequence[Variant]:
    """The variants of a metric; MAVIS's own stay as they are.

    Args:
        call: calls in the guard.
        variants: what the metric lists.

    Raises:
        ContractError: they are no sequence of variants.
    """
    if not isinstance(variants, Sequence) or not all(isinstance(variant, Variant) for variant in variants):
        raise ContractError(f"A metric's variants must be a sequence of mavis.Variant, got {type(variants).__name__}.")
    return [variant if _is_own(type(variant)) else _guard_variant(call, variant) for variant in variants]


def _is_own(kind: type) -> bool:
    return kind.__module__.startswith("mavis.")


def _guard_variant(call: Call, variant: Variant) -> Variant:
    keys = call(lambda: (variant.key, variant.model_key, variant.pass_name))
    return GuardedVariant(call, variant, *(_check_kind(key, str, "keys") for key in keys))


@dataclass(frozen=True)
class GuardedVariant(Variant):
    """A foreign variant; methods that it does not define are those of `Variant`.

    Attributes:
        call: calls in the guard.
        variant: the foreign one.
        foreign_key: its key.
        foreign_model_key: the key of its model.
        foreign_pass_name: the name of its pass.
    """

    call: Call
    variant: Variant
    foreign_key: str
    foreign_model_key: str
    foreign_pass_name: str

    @property
    def key(self) -> str:
        """As the variant had it when it was listed."""
        return self.foreign_key

    @property
    def model_key(self) -> str:
        """As the variant had it when it was listed."""
        return self.foreign_model_key

    @property
    def pass_name(self) -> str:
        """As the variant had it when it was listed."""
        return self.foreign_pass_name

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """Copies of its batches.

        Raises:
            ContractError: one is no batch of as many images of this size.
        """
        if not self._defines("batches"):
            yield model_pass.batch
            return
        iterator = self.call(lambda: iter(self.variant.batches(copy_pass(model_pass))))
        while (batch := self.call(next, iterator, None)) is not None:
            images = _check_kind(batch, Batch, "batches").images
            if not isinstance(images, Tensor) or images.shape != model_pass.images.shape:
                raise ContractError(f"A variant's batches must have images of {tuple(model_pass.images.shape)}.")
            yield copy_batch(batch)

    def model(self, model: Model, seed: int) -> Model:
        """A copy of its model."""
        if not self._defines("model"):
            return model
        return duplicate_model(_check_kind(self.call(self.variant.model, duplicate_model(model), seed), Model, "model"))

    def targets(self, model_pass: Pass, targets: Tensor) -> Tensor:
        """A copy of its classes.

        Raises:
            ContractError: they are not one class per image.
        """
        if not self._defines("targets"):
            return targets
        classes = self.call(self.variant.targets, copy_pass(model_pass), targets.clone())
        return _same_kind(classes, targets, "targets")

    def mean(self, mean: Tensor) -> Tensor:
        """A copy of its mean colour."""
        return _same_kind(self.call(self.variant.mean, mean.clone()), mean, "mean") if self._defines("mean") else mean

    def seed(self, seed: int) -> int:
        """Its seed."""
        return int(_check_kind(self.call(self.variant.seed, seed), int, "seed")) if self._defines("seed") else seed

    def _defines(self, name: str) -> bool:
        return getattr(type(self.variant), name) is not getattr(Variant, name)


def _same_kind(returned: Any, like: Tensor, name: str) -> Tensor:
    values: Tensor = plain_tensor(_check_kind(returned, Tensor, name))
    if values.shape != like.shape or values.dtype != like.dtype:
        raise ContractError(
            f"A variant's {name} must be {tuple(like.shape)} {like.dtype}, got {tuple(values.shape)} {values.dtype}."
        )
    return values


def _check_kind(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise ContractError(f"A variant's {name} must be of {kind.__name__}, got {type(value).__name__}.")
    return value
