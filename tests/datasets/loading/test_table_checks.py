"""A data set's table is looked at before it is believed."""

from collections.abc import Callable

import pandas as pd
import pytest

from mavis.core.errors import DataError
from mavis.datasets.loading.table_checks import check_table

CLASSES = ("dark", "bright")


def good(n: int = 6) -> pd.DataFrame:
    """A table as it should be."""
    return pd.DataFrame(
        {"label": [k % 2 for k in range(n)], "side": ["a", "b"] * (n // 2)}, index=[f"i{k}" for k in range(n)]
    )


def check(table: object) -> pd.DataFrame:
    """The table, checked as that of a data set with one attribute."""
    return check_table(table, "memory", CLASSES, {"side": ("a", "b")})


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint8", "Int64", "object"])
def test_a_good_table_passes(dtype: str) -> None:
    """Whole numbers of any type become int64; nothing else changes."""
    table = check(good().astype({"label": dtype}))
    pd.testing.assert_frame_equal(table, good())


def relabelled(labels: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change of the labels."""
    return lambda table: table.assign(label=labels)


def renamed(*ids: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change of the first ids."""
    return lambda table: table.set_axis([*ids, *table.index[len(ids) :]], axis=0)


def no_unicode(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A column with half a letter in each value."""
    return lambda table: table.assign(**{column: pd.Series(["\udc80a"] * len(table), table.index, dtype=object)})


BAD = {
    "repeated id": (renamed("i1"), "'i1' occurs 2 times"),
    "numbers as ids": (renamed(0, 1, 2, 3, 4, 5), r"must be texts, got 0 \(int\)"),
    "one id is None": (renamed(None), "must be texts, got (None|nan)"),
    "one id is NaN": (renamed(float("nan")), "must be texts, got nan"),
    "bytes as ids": (renamed(b"i0"), "must be texts, got b'i0'"),
    "a blank id": (renamed(" "), "an id is blank"),
    "an id that is no Unicode": (lambda t: t.set_axis(pd.Index(["\udc80", *"bcdef"], dtype=object)), "no Unicode text"),
    "an index of pairs": (lambda t: t.set_index([t.index, t["side"]], drop=False), "must be texts"),
    "ids in a column": (lambda t: t.reset_index(names="id"), r"table.set_index\('id'\)"),
    "labels from 1": (relabelled([1, 2] * 3), "got labels from 1 to 2; subtract 1"),
    "a label too large": (relabelled([0, 7] * 3), "got labels from 0 to 7; name every class"),
    "a negative label": (relabelled([0, -1] * 3), "got labels from -1 to 0"),
    "labels as names": (relabelled(list(CLASSES) * 3), r"got the label 'dark' \(str\); write \[classes.index"),
    "labels as floats": (relabelled([0.0, 1.0] * 3), r"got the label 0.0 \(float\); write labels.astype\(int\)"),
    "labels as booleans": (relabelled([True, False] * 3), r"got the label True \(bool\)"),
    "a huge label": (relabelled([0, 2**70] * 3), r"got labels from 0 to 11805\d+; name every class"),
    "a group that is no Unicode": (no_unicode("side"), "a value of 'side' is '.udc80a'.*no Unicode text"),
    "a value that is no Unicode": (no_unicode("hat"), "a value of 'hat' is .*no Unicode text"),
    "a missing label": (relabelled([0, None, 1, 0, 1, 0]), r"1 of 6 images have no label \(the first is 'i1'\)"),
    "no label": (lambda t: t.drop(columns="label"), "no column 'label', expected one; its columns are: side"),
    "two labels": (lambda t: pd.concat([t, t[["label"]]], axis=1), "2 columns 'label'"),
    "two of another name": (lambda t: t.assign(x=1, y=2).rename(columns={"y": "x"}), "several columns 'x'; leave one"),
    "no column of an attribute": (lambda t: t.drop(columns="side"), "no column 'side'"),
    "no rows": (lambda t: t.iloc[:0], "no rows"),
    "a list": (lambda t: t.to_dict("records"), "must return a pandas.DataFrame, got list"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_in_one_line(case: str) -> None:
    """The line names the data set, what was met and what to write."""
    change, said = BAD[case]
    with pytest.raises(DataError, match=said) as caught:
        check(change(good()))
    assert str(caught.value).startswith("'memory': ")
    assert "\n" not in str(caught.value)
