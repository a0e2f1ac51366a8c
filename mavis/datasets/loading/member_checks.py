"""Checks of what a data set says of itself: its members, classes and attributes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from inspect import getattr_static
from typing import Any

from mavis.core.errors import DataError
from mavis.datasets.loading.table_checks import check_texts

METHODS = ("table", "load", "unreadable", "revision")
VALUES = ("name", "target", "classes", "attributes", "provenance", "mean")


def check_members(data: Any) -> None:
    """Raises DataError unless the required members are there; none of them is computed."""
    missing = [f"{name}()" for name in METHODS if not callable(getattr(data, name, None))]
    missing += [name for name in VALUES if getattr_static(data, name, None) is None and not hasattr(data, name)]
    if missing:
        raise DataError(
            f"A data set is a name, NAME:FOLDER, or an object with the members of mavis.Dataset; this "
            f"{type(data).__name__} has no {', '.join(missing)}."
        )


def check_classes(classes: Any, name: str) -> tuple[str, ...]:
    """The classes as a tuple of names.

    Raises:
        DataError: they are no sequence of different texts, or none.
    """
    if isinstance(classes, str) or not isinstance(classes, Sequence) or not classes:
        raise DataError(f"'{name}': classes must be a tuple of names, got {classes!r:.80}.")
    wrong = next((label for label in classes if not isinstance(label, str)), None)
    if wrong is not None:
        raise DataError(f"'{name}': classes must be names, got {wrong!r}; write tuple(map(str, classes)).")
    if not all(label.strip() for label in classes):
        raise DataError(f"'{name}': a class has no name; leave out the images without a label, or give it one.")
    check_texts(classes, f"'{name}': a class")
    repeated = [label for label, n in Counter(classes).items() if n > 1]
    if repeated:
        raise DataError(f"'{name}': every class needs a name of its own, '{repeated[0]}' occurs more than once.")
    return tuple(classes)


def check_attributes(attributes: Any, name: str) -> dict[str, tuple[str, ...]]:
    """The attributes with their groups as tuples of names.

    Raises:
        DataError: they are no mapping of names to sequences of names, or a name has a ``*``.
    """
    if not isinstance(attributes, Mapping):
        raise DataError(f"'{name}': attributes must be a mapping, attribute to group names, got {attributes!r:.80}.")
    for attribute, groups in attributes.items():
        if not isinstance(attribute, str) or not attribute.strip() or "*" in attribute:
            raise DataError(
                f"'{name}': {attribute!r} cannot name an attribute; write a text without *, which marks intersections."
            )
        if isinstance(groups, str) or not isinstance(groups, Iterable):
            raise DataError(f"'{name}': the groups of '{attribute}' must be a tuple of names, got {groups!r:.80}.")
    return {attribute: tuple(map(str, groups)) for attribute, groups in attributes.items()}
