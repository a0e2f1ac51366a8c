"""Groups of attributes and of their intersections."""

import pandas as pd
import pytest

from mavis.core.errors import DataError, UnknownName
from mavis.core.group_attributes import (
    NO_GROUP,
    OWN_COLUMNS,
    base_attributes,
    check_group_names,
    data_column,
    group_labels,
    intersection_name,
    intersection_parts,
    with_data_columns,
    with_plain_columns,
)

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


HOLES = {
    "None": (["x", None, "y"], ["x", NO_GROUP, "y"]),
    "NaN": (["x", float("nan"), "y"], ["x", NO_GROUP, "y"]),
    "blank": (["x", "", " "], ["x", NO_GROUP, NO_GROUP]),
    "NaN as text": (["x", "nan", "NaN"], ["x", NO_GROUP, NO_GROUP]),
    "whole numbers": ([1, None, 3], ["1", NO_GROUP, "3"]),
    "fractions": ([1.5, None, 2.0], ["1.5", NO_GROUP, "2.0"]),
    "nullable": (pd.array([1, None, 2], dtype="Int64"), ["1", NO_GROUP, "2"]),
    "categories": (pd.Categorical(["x", None, "y"]), ["x", NO_GROUP, "y"]),
    "truth": ([True, None, False], ["True", NO_GROUP, "False"]),
    "a group called None": (["None", "x", "none"], ["None", "x", "none"]),
    "nothing": ([None] * 3, [NO_GROUP] * 3),
}


@pytest.mark.parametrize("case", HOLES)
def test_a_hole_is_no_group(case: str) -> None:
    """Whatever says that there is none; no group is called nan."""
    column, expected = HOLES[case]
    table = pd.DataFrame({"a": column, "b": ["u", "v", "w"]})
    assert group_labels(table, "a").tolist() == expected
    assert group_labels(table, "b*a").tolist() == [
        f"{b}*{a}" if a else NO_GROUP for b, a in zip("uvw", expected, strict=True)
    ]


def test_an_attribute_without_any_group_is_refused() -> None:
    """By name."""
    with pytest.raises(DataError, match="No image has a value in 'a': all 2 are empty"):
        check_group_names(pd.DataFrame({"a": [None, ""]}), "a")


def test_intersections_of_names_with_stars_stay_apart() -> None:
    """x with y*z is another group than x*y with z; each gives its parts back."""
    table = pd.DataFrame({"a": ["x", "x*y", "x", "x\\*y"], "b": ["y*z", "z", "z", "z"]})
    names = group_labels(table, "a*b")
    assert names.nunique() == 4
    assert [intersection_parts(name) for name in names] == list(zip(table["a"], table["b"], strict=True))
    for parts in (("*", "\\"), ("a\\", "b"), ("a", "\\*b"), ("**", "**", "")):
        assert intersection_parts(intersection_name(parts)) == parts


@pytest.mark.parametrize("name", [*OWN_COLUMNS, "status", "value", "data:race", "data:"])
def test_attributes_may_have_the_names_of_own_columns(name: str) -> None:
    """They are looked up apart, and stand under their own name where it is free."""
    table = with_data_columns(pd.DataFrame({"race": ["r"] * 2, name: ["a", "b"]}), ()).assign(brightness=0.5, model="m")
    assert group_labels(table, name).tolist() == ["a", "b"]
    plain = with_plain_columns(table)
    column = data_column(name) if name in table.columns else name
    assert plain[column].tolist() == ["a", "b"]
    assert (plain["brightness"] == 0.5).all()
