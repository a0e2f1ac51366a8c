"""Group attributes and their intersections, and the columns that they have beside MAVIS's own.

A data set's table names its columns as its author likes. In the tables that MAVIS makes, each of them is called
`data_column` of its name, so that an attribute may be called ``brightness``, ``model`` or ``correct``.
"""

from collections.abc import Sequence

import pandas as pd

from mavis.core.errors import DataError, UnknownName

OWN_COLUMNS = (
    *("image", "label", "weight", "model", "predicted", "probability", "correct"),
    *("brightness", "contrast", "sharpness", "imputation_contrast", "cue"),
)
"""The columns of the table of images that MAVIS fills in; all others are the data set's."""

NO_GROUP = ""
"""Stands for the group of an image that has none: its value is None, NaN, blank, or one of `HOLE_TEXTS`."""

HOLE_TEXTS = ("nan", "NaN", "<NA>", "NaT")
"""The texts that pandas makes of missing values."""

PREFIX = "data:"


def data_column(name: str) -> str:
    """The column of MAVIS's tables that holds the data set's column of this name."""
    return PREFIX + name


def find_column(table: pd.DataFrame, name: str) -> str | None:
    """The column of the data set's ``name`` in a table of MAVIS or of the data set itself; None without one."""
    return next((column for column in (data_column(name), name) if column in table.columns), None)


def with_data_columns(table: pd.DataFrame, own: Sequence[str]) -> pd.DataFrame:
    """The table with every column but MAVIS's ``own`` called `data_column` of its name."""
    return table.rename(columns={name: data_column(str(name)) for name in table.columns if name not in own})


def with_plain_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the data set's columns under their own names, where no other column is called so."""
    plain = {name: str(name).removeprefix(PREFIX) for name in table.columns if str(name).startswith(PREFIX)}
    return table.rename(columns={name: short for name, short in plain.items() if short not in table.columns})


def group_labels(table: pd.DataFrame, attribute: str) -> pd.Series:
    """Group of every image, for an attribute or an intersection such as ``race*gender`` ("cedar*form_a").

    Args:
        table: one row per image, the attributes as columns: of a data set, or with `with_data_columns`.
        attribute: a column, or several joined by ``*``.

    Returns:
        Texts on the table's index; of an intersection `intersection_name`; `NO_GROUP` for an image without a value.

    Raises:
        UnknownName: the table has no such column.
    """
    columns = [_group_names(table, name) for name in attribute.split("*")]
    if len(columns) == 1:
        return columns[0]
    names = [NO_GROUP if NO_GROUP in parts else intersection_name(parts) for parts in zip(*columns, strict=True)]
    return pd.Series(names, index=table.index, dtype=columns[0].dtype)


def intersection_name(parts: Sequence[str]) -> str:
    r"""The name of an intersection's group; a ``*`` within a part becomes ``\*``, so that no two share a name."""
    return "*".join(part.replace("\\", "\\\\").replace("*", "\\*") for part in parts)


def intersection_parts(name: str) -> tuple[str, ...]:
    """The parts of which `intersection_name` made this name."""
    parts, characters = [""], iter(name)
    for character in characters:
        if character == "*":
            parts.append("")
        else:
            parts[-1] += next(characters, "") if character == "\\" else character
    return tuple(parts)


def base_attributes(groups: Sequence[str]) -> list[str]:
    """Plain attributes in a list that may hold intersections: ``["race*gender"]`` -> ``["race", "gender"]``."""
    return list(dict.fromkeys(name for entry in groups for name in entry.split("*")))


def check_group_names(table: pd.DataFrame, attribute: str) -> None:
    """Raises DataError unless some image has a group of the attribute."""
    if (group_labels(table, attribute) == NO_GROUP).all():
        raise DataError(
            f"No image has a value in '{attribute}': all {len(table)} are empty; fill them in, or name other --groups."
        )


def _group_names(table: pd.DataFrame, name: str) -> pd.Series:
    """One attribute's groups as texts."""
    column = find_column(table, name)
    if column is None:
        names = [str(c).removeprefix(PREFIX) for c in table.columns if c != "label"]
        raise UnknownName("group attribute of these data", name, names)
    values = table[column]
    is_hole = values.isna()
    if is_hole.any() and pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")  # whole numbers that pandas made floats because of the holes
    texts = values.astype(str)
    is_hole |= texts.isin(HOLE_TEXTS) | (texts.str.strip() == "")
    return texts.mask(is_hole, NO_GROUP).rename(None) if is_hole.any() else texts.rename(None)
