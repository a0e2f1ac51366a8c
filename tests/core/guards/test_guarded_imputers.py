"""Foreign imputers: they get copies, and what they fill is looked at."""

from collections.abc import Callable

import pytest
import torch

from mavis.core.errors import ContractError
from mavis.core.guards.guarded_imputers import guard_imputer
from mavis.core.perturbation.imputers import get_imputer, mean_imputer
from mavis.core.registry import Entry, imputers
from mavis.core.traits import PlainTraits
from tests.toys import Pooled, make_pass, random_images

ROWS = torch.tensor([2, 0])
REMOVED = torch.arange(64).view(1, 1, 8, 8).expand(2, 3, 8, 8) % 2 == 0


@pytest.fixture
def model_pass():
    return make_pass(Pooled(), random_images(3))


def meddle(model_pass):
    """The mean colour, by a function that then writes into all that it has."""
    right = mean_imputer()(make_pass(Pooled(), model_pass.images.clone()))

    def fill(rows, removed):
        filled = right(rows, removed)
        for tensor in (rows, removed, model_pass.images, model_pass.mean, model_pass.model.net.head.weight.data):
            tensor.zero_()
        torch.set_default_dtype(torch.float64)
        return filled

    return fill


def test_an_imputer_that_meddles_fills_as_its_twin_and_changes_nothing(model_pass) -> None:
    """Rows, masks, images, mean colour, weights and settings of the others."""
    expected = mean_imputer()(model_pass)(ROWS, REMOVED)
    images, weight = model_pass.images.clone(), model_pass.model.net.head.weight.clone()
    fill = guard_imputer("mine", meddle)(model_pass)
    assert fill(ROWS, REMOVED).equal(expected)
    assert fill(ROWS, REMOVED).equal(expected)
    assert model_pass.images.equal(images)
    assert model_pass.model.net.head.weight.equal(weight)
    assert torch.get_default_dtype() == torch.float32


def changed(change: Callable[[torch.Tensor], object]):
    def prepare(model_pass):
        right = mean_imputer()(model_pass)
        return lambda rows, removed: change(right(rows, removed))

    return prepare


@pytest.mark.parametrize(
    ("imputer", "message"),
    [
        (lambda model_pass: None, r"must return a function \(rows, removed\) -> images, got NoneType"),
        (changed(lambda filled: None), "with floats, got NoneType"),
        (changed(lambda filled: filled[:, 0]), "with floats, got"),
        (changed(lambda filled: filled > 0), "torch.bool"),
        (changed(lambda filled: filled / 0), "NaN or infinity"),
        (changed(lambda filled: filled.flip(0)), "otherwise among others than alone"),
        (changed(torch.rand_like), "otherwise among others than alone"),
        (changed(lambda filled: filled * len(filled)), "otherwise among others than alone"),
    ],
)
def test_what_is_no_fill_is_refused(model_pass, imputer, message: str) -> None:
    """One line names the imputer and what was expected."""
    with pytest.raises(ContractError, match=f"^'mine' .*{message}"):
        guard_imputer("mine", imputer)(model_pass)(ROWS, REMOVED)


def test_foreign_imputers_are_guarded_where_they_are_made(monkeypatch, model_pass) -> None:
    """Also their factories; MAVIS's own are not."""

    def leave():
        raise SystemExit(0)

    entry = Entry("mine", lambda: changed(lambda filled: None), PlainTraits(), "this program")
    monkeypatch.setitem(imputers.entries, "mine", entry)
    monkeypatch.setitem(imputers.entries, "leaves", Entry("leaves", leave, PlainTraits(), "this program"))
    with pytest.raises(ContractError, match="'mine' must fill"):
        get_imputer("mine")(model_pass)(ROWS, REMOVED)
    with pytest.raises(ContractError, match="'leaves' raised SystemExit: 0"):
        get_imputer("leaves")
