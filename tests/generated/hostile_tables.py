"""Hostile tables: what data sets are met that say of their images, each with what MAVIS must make of it."""

import enum
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..memory_data import MemoryData

N = 12

Change = Callable[[MemoryData], None]


@dataclass(frozen=True)
class Edit:
    """A change of a well-behaved data set.

    Attributes:
        change: makes it hostile.
        outcome: what MAVIS must make of it: the ``same`` as of the twin, ``refused``, or ``either`` of these.
        twin: the change of the twin that means the same.
    """

    change: Change
    outcome: Literal["same", "refused", "either"]
    twin: Change = lambda data: None


def same(change: Change, twin: Change = lambda data: None) -> Edit:
    """A harmless spelling of what the twin says."""
    return Edit(change, "same", twin)


def refused(change: Change) -> Edit:
    """A change of what is meant."""
    return Edit(change, "refused")


def either(change: Change, twin: Change = lambda data: None) -> Edit:
    """A spelling that may be refused; believed, it means what the twin says."""
    return Edit(change, "either", twin)


def ids(*first: Any) -> Change:
    """Replaces the first ids."""
    return lambda data: setattr(data, "ids", [*first, *data.ids[len(first) :]])


def names(*first: str) -> Edit:
    """Unusual texts as ids: they are ids like any others."""
    return either(ids(*first), ids(*first))


def labels(spell: Callable[[int], Any]) -> Change:
    """Another spelling of every label in the table; the batches keep theirs."""
    return table(lambda frame: frame.assign(label=pd.Series([spell(v) for v in frame["label"]], frame.index)))


def one_label(value: Any) -> Change:
    """Another label of one image."""
    return table(lambda f: f.assign(label=pd.Series([*f["label"][:-1], value], f.index, dtype=object)))


def label_dtype(dtype: str) -> Change:
    """The labels in another number type."""
    return table(lambda frame: frame.astype({"label": dtype}))


def table(change: Callable[[pd.DataFrame], Any]) -> Change:
    """A change of every table."""

    def edit(data: MemoryData) -> None:
        ask = data.table
        data.table = lambda: change(ask())  # type: ignore[method-assign]

    return edit


def index(change: Callable[[pd.Index], Any]) -> Change:
    """A change of the table's index."""
    return table(lambda frame: frame.set_axis(change(frame.index), axis=0))


def groups(spell: Callable[[str], Any], dtype: Any = None) -> Change:
    """Another spelling of every group; none of them is declared."""
    return table(lambda f: f.assign(side=pd.Series([spell(v) for v in f["side"]], f.index, dtype=dtype)))


def texts(spell: Callable[[str], Any], dtype: Any = None) -> Edit:
    """Groups that are no texts: they become the texts of them."""
    return either(groups(spell, dtype), groups(lambda name: str(spell(name))))


def hole(value: Any) -> Edit:
    """An image without a group, in any spelling: it is left out with a note."""

    def put(value: Any) -> Change:
        def side(frame: pd.DataFrame) -> pd.Series:
            pairs = zip(frame.index, frame["side"], strict=True)
            return pd.Series([value if i == "i003" else name for i, name in pairs], frame.index, dtype=object)

        return table(lambda frame: frame.assign(side=side))

    return same(put(value), put(None))


def column(name: Any, values: Sequence[Any] = tuple(range(N))) -> Edit:
    """A column of the data set's own that nobody asks for."""
    return either(table(lambda f: pd.concat([f, pd.DataFrame({name: values}, index=f.index)], axis=1)))


def member(name: str, value: Any) -> Change:
    """Another value of a member."""
    return lambda data: setattr(data, name, value)


def answer(name: str, function: Callable[[Sequence[str]], Any]) -> Change:
    """Another answer of a method to ids."""
    return lambda data: setattr(data, name, function)


def fail(error: BaseException) -> Callable[..., Any]:
    """A method that raises."""

    def method(*args: Any) -> Any:
        raise error

    return method


def failing_property(name: str) -> Change:
    """A member whose computation fails."""

    def edit(data: MemoryData) -> None:
        data.__class__ = type("Lazy", (type(data),), {name: property(fail(RuntimeError("no such\nfile")))})

    return edit


class IdName(str, enum.Enum):  # noqa: UP042 (its text is not its value)
    """Ids as members of an enumeration."""

    FIRST = "i000"
    SECOND = "i001"


class Side(enum.Enum):
    """Groups as members of an enumeration."""

    A = "a"
    B = "b"


class Unshown:
    """An object that cannot be printed."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def with_source(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an object in its attributes, which cannot be written to a file."""
    frame.attrs["source"] = object()
    return frame


IDS = {
    "whole numbers": refused(lambda data: setattr(data, "ids", list(range(N)))),
    "numbers in the table only": refused(index(lambda i: range(len(i)))),
    "repeated": refused(ids("i001")),
    "None": refused(ids(None)),
    "NaN": refused(ids(float("nan"))),
    "blank": refused(ids(" ")),
    "empty": refused(ids("")),
    "bytes": refused(ids(b"i000")),
    "half a letter": refused(ids("\udc80")),
    "pairs": refused(index(lambda i: pd.MultiIndex.from_arrays([i, i]))),
    "NUL": names("a\0b"),
    "two normal forms": names(unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
    "very long": names("x" * 100_000),
    "two lines": names("first\nsecond", "a\r\nb"),
    "blanks at the end": names("a", "a ", " a"),
    "case alone": names("a", "A"),
    "path": names("../a", "/etc/passwd", "a\\b"),
    "markup": names("[/old]", "{x}", "%s", "=1+1"),
    "enumeration": either(ids(*IdName)),
    "numpy texts": same(lambda data: setattr(data, "ids", [np.str_(name) for name in data.ids])),
    "object index": same(index(lambda i: i.astype(object))),
    "categorical index": same(index(pd.CategoricalIndex)),
    "string index": same(index(lambda i: i.astype("string"))),
    "named index": same(index(lambda i: i.rename("label"))),
    "shuffled": same(table(lambda f: f.iloc[::-1])),
}

LABELS = {
    "floats": refused(labels(float)),
    "texts": refused(labels(lambda v: ("dark", "bright")[v])),
    "booleans": refused(labels(bool)),
    "complex": refused(labels(complex)),
    "from one": refused(labels(lambda v: v + 1)),
    "negative": refused(labels(lambda v: -v)),
    "NaN": refused(one_label(float("nan"))),
    "None": refused(one_label(None)),
    "NA": refused(one_label(pd.NA)),
    "too large": refused(one_label(2)),
    "very large": refused(one_label(2**70)),
    "one text": refused(one_label("bright")),
    "unprintable": refused(one_label(Unshown())),
    "the other one": refused(one_label(0)),
    "all swapped": refused(labels(lambda v: 1 - v)),
    "floats of int dtype": refused(label_dtype("float64")),
    "Int64": same(label_dtype("Int64")),
    "uint8": same(label_dtype("uint8")),
    "objects": same(label_dtype("object")),
    "arrow": same(label_dtype("int8[pyarrow]")),
    "categories": same(label_dtype("category")),
}

GROUPS = {
    "None": hole(None),
    "NaN": hole(float("nan")),
    "NA": hole(pd.NA),
    "NaT": hole(pd.NaT),
    "blank": hole("  "),
    "empty": hole(""),
    "whole numbers": texts(ord),
    "booleans": texts(lambda name: name == "a"),
    "floats": texts(lambda name: ord(name) / 2),
    "bytes": either(groups(str.encode), groups(lambda name: name)),
    "lists": texts(list),
    "dictionaries": texts(lambda name: {name: 1}),
    "enumeration": texts(Side),
    "dates": either(
        groups(lambda name: pd.Timestamp(2020, 1, ord(name) - 96)), groups(lambda name: f"2020-01-0{ord(name) - 96}")
    ),
    "two lines": texts(lambda name: f"{name}\n{name}"),
    "stars": texts(lambda name: f"{name}*b"),
    "blanks around": texts(lambda name: " a" if name == "a" else "a "),
    "normal forms": texts(lambda name: unicodedata.normalize("NFC" if name == "a" else "NFD", "é")),
    "NUL": texts(lambda name: f"{name}\0"),
    "very long": texts(lambda name: name * 10_000),
    "mixed": texts(lambda name: 1 if name == "a" else "x", object),
    "half a letter": refused(groups(lambda name: f"{name}\udc80", object)),
    "unprintable": refused(groups(lambda name: Unshown() if name == "a" else "b", object)),
    "all empty": refused(groups(lambda name: None)),
    "one is not declared": texts(lambda name: "c" if name == "b" else name),
    "categories": same(groups(str, pd.CategoricalDtype(["b", "a", "unused"]))),
    "ordered categories": same(groups(str, pd.CategoricalDtype(["b", "a"], ordered=True))),
    "strings": same(groups(str, "string")),
    "arrow": same(groups(str, "string[pyarrow]")),
    "objects": same(groups(str, object)),
}
OWN_NAMES = ("image", "model", "weight", "correct", "predicted", "probability", "brightness", "cue", "id", "explainer")

COLUMNS = {
    **{f"own name {name}": column(name) for name in OWN_NAMES},
    "data:side": column("data:side"),
    "data:label": column("data:label", ["dark"] * N),
    "of None": column("cap", [None] * N),
    "of lists": column("cap", [[1]] * N),
    "named by a number": column(0),
    "named by a pair": column(("a", "b")),
    "named by None": column(None),
    "blank name": column(" "),
    "half a letter": column("\udc80"),
    "twice": refused(table(lambda f: pd.concat([f, f[["side"]].set_axis(["x"], axis=1).iloc[:, [0, 0]]], axis=1))),
    "label twice": refused(table(lambda f: pd.concat([f, f[["label"]]], axis=1))),
    "side twice": refused(table(lambda f: pd.concat([f, f[["side"]]], axis=1))),
    "no label": refused(table(lambda f: f.drop(columns="label"))),
    "no side": refused(table(lambda f: f.drop(columns="side"))),
    "Label": refused(table(lambda f: f.rename(columns={"label": "Label"}))),
    "pairs": refused(table(lambda f: f.set_axis(pd.MultiIndex.from_product([["x"], f.columns]), axis=1))),
    "no rows": refused(table(lambda f: f.iloc[:0])),
    "no columns": refused(table(lambda f: f.iloc[:, :0])),
    "transposed": refused(table(lambda f: f.T)),
    "named axis": same(table(lambda f: f.rename_axis(columns="label"))),
    "other order": same(table(lambda f: f.iloc[:, ::-1])),
    "with attributes": same(table(with_source)),
    "list": refused(table(lambda f: f.to_dict("records"))),
    "dictionary": refused(table(lambda f: f.to_dict())),
    "labels alone": refused(table(lambda f: f["label"])),
    "nothing": refused(table(lambda f: None)),
    "fails": refused(member("table", fail(KeyError("label")))),
    "exits": refused(member("table", fail(SystemExit(0)))),
    "fails without a word": refused(member("table", fail(ValueError()))),
    "fails without a text": refused(member("table", fail(RuntimeError(Unshown())))),
    "fails in lines": refused(member("table", fail(RuntimeError("a\nb\n\nc")))),
}


Edits = Mapping[str, Edit]
TABLES: Mapping[str, Edits] = {"ids": IDS, "labels": LABELS, "groups": GROUPS, "columns": COLUMNS}
