"""Declarations are checked when they are made, and cannot be mistaken for one another."""

from typing import get_args

import pytest

from mavis.core.errors import MavisError, UnknownName
from mavis.core.traits import CATEGORIES, Category, ExplainerTraits, MetricTraits


@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"needs": frozenset({"gradeint"})}, "No capability of a model is named 'gradeint'; did you mean 'gradient'"),
        ({"pooling": "max"}, "No pooling is named 'max'; there are: l2, sum"),
        ({"role": "methd"}, "No role is named 'methd'; did you mean 'method'"),
    ],
)
def test_an_explainer_cannot_declare_an_unknown_word(traits: dict, message: str) -> None:
    """The message suggests the nearest known word."""
    with pytest.raises(UnknownName, match=message):
        ExplainerTraits("source", **traits)


@pytest.mark.parametrize("value", ["yes", 1, 0.0])
def test_the_direction_is_true_false_or_none(value: object) -> None:
    """Numbers and words are refused; without a direction a metric only describes."""
    with pytest.raises(MavisError, match="higher_is_better must be true, false or none, got"):
        MetricTraits("source", "complexity", higher_is_better=value)
    assert MetricTraits("source", "complexity", higher_is_better=None).higher_is_better is None


def test_a_metric_has_one_of_the_categories() -> None:
    """All categories of the type are accepted, in the order of the leaderboard, and no other."""
    assert get_args(Category) == CATEGORIES
    for category in CATEGORIES:
        assert MetricTraits("source", category, higher_is_better=True).category == category
    with pytest.raises(UnknownName, match="did you mean 'localisation'"):
        MetricTraits("source", "localization", higher_is_better=True)
    with pytest.raises(UnknownName, match="No capability of a model is named 'pixels'"):
        MetricTraits("source", "cost", higher_is_better=False, needs=frozenset({"pixels"}))


def test_switches_are_named() -> None:
    """A list of positional booleans could be swapped unseen; all but source and category are keywords."""
    with pytest.raises(TypeError, match="positional"):
        ExplainerTraits("source", frozenset({"gradient"}))
    with pytest.raises(TypeError, match="positional"):
        MetricTraits("source", "cost", True)
