"""What a data set says of itself is checked before anything is asked of it."""

from typing import Any

import pytest

from mavis.core.errors import DataError
from mavis.datasets.loading.member_checks import check_attributes, check_classes, check_members

from ...memory_data import MemoryData

CLASSES: dict[str, tuple[Any, str]] = {
    "None": (None, "classes must be a tuple of names, got None"),
    "a generator": ((name for name in "ab"), "classes must be a tuple of names"),
    "blank": (("dark", " "), "a class has no name"),
    "no Unicode": (("dark", "\udc80"), "a class is .*no Unicode text"),
}


@pytest.mark.parametrize("case", CLASSES)
def test_other_classes_are_refused(case: str) -> None:
    """With what was met."""
    classes, said = CLASSES[case]
    with pytest.raises(DataError, match=said):
        check_classes(classes, "memory")


@pytest.mark.parametrize("groups", ["ab", None, 2])
def test_groups_that_are_no_sequence_are_refused(groups: Any) -> None:
    """Texts too, whose letters would be groups."""
    with pytest.raises(DataError, match="the groups of 'side' must be a tuple of names, got"):
        check_attributes({"side": groups}, "memory")


def test_names_are_kept_in_their_order() -> None:
    """As tuples of texts."""
    assert check_classes(["b", "a"], "memory") == ("b", "a")
    assert check_attributes({"side": [2, 1]}, "memory") == {"side": ("2", "1")}


def test_missing_members_are_named() -> None:
    """Methods with their brackets."""
    data = MemoryData()
    check_members(data)
    data.revision = "1"  # type: ignore[method-assign, assignment]
    with pytest.raises(DataError, match=r"this MemoryData has no revision\(\)"):
        check_members(data)
