"""Groups of attributes and of their intersections."""

import pandas as pd
import pytest

from mavis.core.errors import UnknownName
from mavis.core.group_attributes import base_attributes, group_labels

TABLE = pd.DataFrame(
    {"label": [0, 1, 0], "race": ["cedar", "alder", "cedar"], "form": ["a", "b", "b"], "age": [3, 20, 3]},
    index=["x", "y", "z"],
)


def test_labels_are_the_column_as_text() -> None:
    """In the order of the table, with its index and without a name; numbers become text."""
    labels = group_labels(TABLE, "race")
    assert labels.to_dict() == {"x": "cedar", "y": "alder", "z": "cedar"}
    assert labels.name is None
    assert group_labels(TABLE, "age").tolist() == ["3", "20", "3"]


def test_intersections_join_the_names_in_the_order_asked_for() -> None:
    """Two or three attributes, joined by an asterisk."""
    assert group_labels(TABLE, "race*form").tolist() == ["cedar*a", "alder*b", "cedar*b"]
    assert group_labels(TABLE, "form*age*race").tolist() == ["a*3*cedar", "b*20*alder", "b*3*cedar"]


def test_an_unknown_attribute_is_named_with_the_nearest() -> None:
    """Also as a part of an intersection; the label is no attribute to choose."""
    with pytest.raises(UnknownName, match="No group attribute of these data is named 'rase'; did you mean 'race'"):
        group_labels(TABLE, "form*rase")
    with pytest.raises(UnknownName, match="there are: age, form, race"):
        group_labels(TABLE, "zzzzz")


def test_base_attributes_are_listed_once_in_order() -> None:
    """Intersections are taken apart; the first place of an attribute counts."""
    assert base_attributes(["race*form", "age", "race"]) == ["race", "form", "age"]
    assert base_attributes([]) == []
