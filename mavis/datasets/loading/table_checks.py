"""Checks of a data set's table: ids, labels and columns are looked at before anything is drawn from them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mavis.core.errors import DataError


def check_table(table: Any, name: str, classes: Sequence[str], attributes: Mapping[str, Any]) -> pd.DataFrame:
    """A data set's table, once it holds what `mavis.core.types.Dataset` promises.

    Args:
        table: as the data set returned it.
        name: of the data set.
        classes: names of the labels.
        attributes: the declared group attributes by name.

    Returns:
        The table with ``label`` as int64; everything else as it was.

    Raises:
        DataError: it is no table, has no row, or its ids, labels, columns or groups are not as promised; the message
            says what was met and what to write.
    """
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"'{name}': table() must return a pandas.DataFrame, got {type(table).__name__}.")
    if table.empty:
        raise DataError(f"'{name}': its table has no rows; expected one per image, with a column 'label'.")
    _check_ids(table, name)
    _check_columns(table, name, attributes)
    _check_cells(table, name)
    return table.assign(label=_label_codes(table["label"], name, len(classes)))


def _check_ids(table: pd.DataFrame, name: str) -> None:
    """Raises DataError unless the index holds unique texts."""
    ids = table.index.tolist()
    wrong = next((i for i in ids if not isinstance(i, str)), None)
    if wrong is not None or any(i is None for i in ids):
        hint = ": table.set_index('id')" if "id" in table.columns else ": table.index.astype(str), and load takes texts"
        raise DataError(
            f"'{name}': the ids, which are the index of the table, must be texts, got {wrong!r} "
            f"({type(wrong).__name__}); write texts{hint}."
        )
    check_texts(ids, f"'{name}': an id")
    repeated = [i for i, n in Counter(ids).items() if n > 1]
    if repeated:
        raise DataError(
            f"'{name}': every id must occur once; '{repeated[0]}' occurs {ids.count(repeated[0])} times "
            f"({len(repeated)} ids are repeated). Leave out the repetitions, or give each image its own id."
        )


def _check_columns(table: pd.DataFrame, name: str, attributes: Mapping[str, Any]) -> None:
    """Raises DataError unless the table has one column of each needed name, and none twice."""
    columns = table.columns.tolist()
    check_texts([c for c in columns if isinstance(c, str)], f"'{name}': a column's name")
    shown = ", ".join(map(str, columns)) or "none"
    for needed in ("label", *attributes):
        if columns.count(needed) != 1:
            count = "no column" if needed not in columns else f"{columns.count(needed)} columns"
            raise DataError(f"'{name}': its table has {count} '{needed}', expected one; its columns are: {shown}.")
    repeated = [column for column, n in Counter(columns).items() if n > 1]
    if repeated:
        raise DataError(f"'{name}': its table has several columns '{repeated[0]}'; leave one of them, or rename them.")


def _check_cells(table: pd.DataFrame, name: str) -> None:
    """Raises DataError for a text that no file can hold; a value of another type must have a text, or this raises."""
    for column, values in table.items():
        if not pd.api.types.is_numeric_dtype(values.dtype):
            texts = {value if isinstance(value, str) else str(value) for value in values.tolist()}
            check_texts(sorted(texts), f"'{name}': a value of '{column}'", blank=True)


def check_texts(texts: Sequence[str], subject: str, *, blank: bool = False) -> None:
    """Raises DataError for a text that no file can hold, and for a blank one unless these are allowed."""
    for text in texts:
        if not text.strip() and not blank:
            raise DataError(f"{subject} is blank; give it a name.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{subject} is {text!r}, which is no Unicode text; rename it.") from error


def _label_codes(labels: pd.Series, name: str, n_classes: int) -> pd.Series:
    """The labels as int64.

    Raises:
        DataError: a label is missing, is no whole number, or is no class's position.
    """
    expected = f"expected whole numbers from 0 to {n_classes - 1}, positions in the classes"
    missing = labels.isna()
    if missing.any():
        first = labels.index[missing.to_numpy()][0]
        raise DataError(
            f"'{name}': {int(missing.sum())} of {len(labels)} images have no label (the first is '{first}'); "
            "leave these images out of the table."
        )
    if not pd.api.types.is_integer_dtype(labels.dtype) and not all(_is_integer(value) for value in labels):
        wrong = next(value for value in labels if not _is_integer(value))
        hint = "[classes.index(name) for name in labels]" if isinstance(wrong, str) else "labels.astype(int)"
        raise DataError(f"'{name}': {expected}, got the label {wrong!r} ({type(wrong).__name__}); write {hint}.")
    codes = [int(value) for value in labels]
    if min(codes) < 0 or max(codes) >= n_classes:
        hint = "; subtract 1" if (min(codes), max(codes)) == (1, n_classes) else "; name every class in 'classes'"
        raise DataError(f"'{name}': {expected}, got labels from {min(codes)} to {max(codes)}{hint}.")
    return pd.Series(codes, labels.index, dtype="int64")


def _is_integer(value: Any) -> bool:
    return pd.api.types.is_integer(value)
