"""Group attributes and their intersections: ``race``, ``race*gender``."""

from collections.abc import Sequence

import pandas as pd

from mavis.core.errors import UnknownName


def group_labels(table: pd.DataFrame, attribute: str) -> pd.Series:
    """Group of every image, for an attribute or an intersection such as ``race*gender`` ("cedar*form_a").

    Args:
        table: one row per image, the attributes as columns.
        attribute: a column, or several joined by ``*``.

    Raises:
        UnknownName: the table has no such column.
    """
    names = attribute.split("*")
    for name in names:
        if name not in table.columns:
            columns = [column for column in table.columns if column != "label"]
            raise UnknownName("group attribute of these data", name, columns)
    labels = table[names[0]].astype(str)
    for name in names[1:]:
        labels = labels + "*" + table[name].astype(str)
    return labels.rename(None)


def base_attributes(groups: Sequence[str]) -> list[str]:
    """Plain attributes in a list that may hold intersections: ``["race*gender"]`` -> ``["race", "gender"]``."""
    return list(dict.fromkeys(name for entry in groups for name in entry.split("*")))
