"""Variants of foreign metrics get copies, and what they return is looked at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mavis.core.errors import ContractError
from mavis.core.guards.guarded_variants import GuardedVariant, guard_variants
from mavis.core.perturbation.variants import Flip, Variant
from tests.toys import Pooled, make_pass, random_images, targets


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@pytest.fixture
def model_pass():
    return make_pass(Pooled(), random_images(2))


@dataclass(frozen=True)
class Greedy(Variant):
    """Writes into everything that it is handed, and keeps what it returns."""

    def batches(self, model_pass):
        kept = replace(model_pass.batch, images=model_pass.images.zero_())
        yield kept
        kept.images.fill_(1)

    def model(self, model, seed):
        for parameter in model.net.parameters():
            parameter.data.zero_()
        return model

    def targets(self, model_pass, targets):
        return targets.fill_(1)

    def mean(self, mean):
        return mean.zero_()


def test_a_variant_writes_into_copies(model_pass) -> None:
    """Images, weights, classes and mean colour of the others are as before; what it makes is as it was returned."""
    (variant,) = guard_variants(call, [Greedy()])
    images, wanted = model_pass.images.clone(), targets(model_pass)
    weight = model_pass.model.net.head.weight.clone()
    (batch,) = variant.batches(model_pass)
    assert batch.images.eq(0).all()
    assert variant.model(model_pass.model, 0).net.head.weight.eq(0).all()
    assert variant.targets(model_pass, wanted).eq(1).all()
    assert variant.mean(model_pass.mean).eq(0).all()
    assert model_pass.images.equal(images)
    assert model_pass.model.net.head.weight.equal(weight)
    assert wanted.eq(0).all()
    assert model_pass.mean.eq(0.5).all()


def test_what_a_variant_does_not_define_stays_the_original(model_pass) -> None:
    """So that its pass is shared; MAVIS's own variants are not wrapped at all."""

    @dataclass(frozen=True)
    class Same(Variant):
        number: int

    first, flip = guard_variants(call, [Same(3), Flip()])
    assert isinstance(first, GuardedVariant)
    assert first.key == first.model_key == first.pass_name == Same(3).key
    assert next(first.batches(model_pass)) is model_pass.batch
    assert first.model(model_pass.model, 0) is model_pass.model
    assert first.seed(7) == 7
    assert flip == Flip()


@pytest.mark.parametrize("variants", ["text", None, [Flip(), "flip"], 3])
def test_what_is_no_variant_is_refused(variants: Any) -> None:
    """The list as a whole, and each member."""
    with pytest.raises(ContractError, match=r"must be a sequence of mavis.Variant"):
        guard_variants(call, variants)


def read(value: Any) -> Any:
    return list(value) if isinstance(value, Iterator) else value


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"batches": lambda self, model_pass: iter([model_pass])}, "batches must be of Batch, got Pass"),
        ({"batches": lambda self, model_pass: iter([model_pass.batch.select(slice(1))])}, "must have images of"),
        ({"model": lambda self, model, seed: model.net}, "model must be of Model, got Pooled"),
        ({"targets": lambda self, model_pass, targets: targets[:1]}, r"targets must be \(2,\) torch.int64, got \(1,\)"),
        ({"mean": lambda self, mean: 0.5}, "mean must be of Tensor, got float"),
        ({"seed": lambda self, seed: "seven"}, "seed must be of int, got str"),
    ],
)
def test_a_variant_that_breaks_its_contract_is_told_so(model_pass, members: dict[str, Any], message: str) -> None:
    """One line says what was expected."""
    (variant,) = guard_variants(call, [type("Odd", (Variant,), members)()])
    (method,) = members
    arguments = {
        "batches": (model_pass,),
        "model": (model_pass.model, 0),
        "targets": (model_pass, targets(model_pass)),
        "mean": (model_pass.mean,),
        "seed": (0,),
    }[method]
    with pytest.raises(ContractError, match=message):
        read(getattr(variant, method)(*arguments))
