"""Group attributes."""

from collections.abc import Sequence

import pandas as pd

from mavis.core.errors import UnknownName


def group_labels(table: pd.DataFrame, attribute: str) -> pd.Series:
    """The group column of an attribute or of an intersection such as ``race*gender`` ("cedar*form_a")."""
    parts = attribute.split("*")
    for part in parts:
        if part not in table.columns:
            known = [column for column in table.columns if column != "label"]
            raise UnknownName("group attribute of these data", part, known)
    found = table[parts[0]].astype(str)
    for part in parts[1:]:
        found = found + "*" + table[part].astype(str)
    return found.rename(None)


def base_attributes(groups: Sequence[str]) -> list[str]:
    """The plain attributes in a list that may hold intersections: ``["race*gender"]`` -> ``["race", "gender"]``."""
    return list(dict.fromkeys(part for entry in groups for part in entry.split("*")))
