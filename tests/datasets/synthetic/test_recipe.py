"""Recipes: shares of populations and agreement of the cue."""

import pytest

from mavis.core.errors import BadParameter
from mavis.datasets.synthetic.recipe import BALANCED, BIASED, POPULATIONS, Recipe


def test_shares_are_quantiles_of_the_uniform_draw() -> None:
    """Drawing evenly over [0,1) gives every population its share."""
    draws = [BIASED.population((k + 0.5) / 10000) for k in range(10000)]
    for index, name in enumerate(POPULATIONS):
        assert draws.count(index) / 10000 == pytest.approx(BIASED.shares[name], abs=2e-4)


@pytest.mark.parametrize("recipe", [BALANCED, BIASED])
def test_the_cue_agrees_as_often_as_stated_and_is_even_otherwise(recipe: Recipe) -> None:
    """The other six colours share what agreement leaves."""
    cues = [recipe.cue(2, (k + 0.5) / 7000) for k in range(7000)]
    agreement = recipe.agreement["cedar"]
    assert cues.count(2) / 7000 == pytest.approx(agreement, abs=1e-3)
    for other in (0, 1, 3, 4, 5, 6):
        assert cues.count(other) / 7000 == pytest.approx((1 - agreement) / 6, abs=1e-3)


def test_a_recipe_that_always_agrees_has_no_other_colour() -> None:
    """Agreement 1 leaves nothing to the other colours."""
    always = Recipe("always", shares=BALANCED.shares, agreement=dict.fromkeys(POPULATIONS, 1.0))
    assert {always.cue(4, k / 100) for k in range(100)} == {4}


@pytest.mark.parametrize(
    ("shares", "agreement", "message"),
    [
        ({"alder": 1.0}, BALANCED.agreement, "must name"),
        (dict.fromkeys(POPULATIONS, 0.5), BALANCED.agreement, "add up to 1"),
        (BALANCED.shares, dict.fromkeys(POPULATIONS, 1.5), r"in \[0,1\]"),
    ],
)
def test_numbers_that_are_no_recipe_are_refused(shares, agreement, message: str) -> None:
    """Shares must be those of the seven populations and add up to one; agreement is a probability."""
    with pytest.raises(BadParameter, match=message):
        Recipe("wrong", shares=shares, agreement=agreement)
