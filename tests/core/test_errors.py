"""One tree of errors; an unknown name suggests the nearest or lists all."""

import pytest

from mavis.core import errors


@pytest.mark.parametrize(
    "name",
    ["UnknownName", "BadParameter", "ProtocolError", "DataError", "ModelError", "ContractError", "StoreError"],
)
def test_every_error_is_a_mavis_error(name: str) -> None:
    """The command line catches the root alone; the module's overview names each error."""
    assert issubclass(getattr(errors, name), errors.MavisError)
    assert name in errors.__doc__


def test_a_near_name_is_suggested() -> None:
    """The nearest of several choices, and no list."""
    error = errors.UnknownName("metric", "dletion", ["deletion", "insertion", "gini"])
    assert str(error) == "No metric is named 'dletion'; did you mean 'deletion'?"


def test_without_a_near_name_all_are_listed_in_order() -> None:
    """Choices may come in any order and from any iterable; without any it says none."""
    assert str(errors.UnknownName("unit", "zzz", iter("ba"))) == "No unit is named 'zzz'; there are: a, b."
    assert str(errors.UnknownName("unit", "zzz", ())) == "No unit is named 'zzz'; there are: none."


def test_a_message_is_one_line_whatever_names_it_quotes() -> None:
    """Line ends of any kind become blanks; nothing else changes."""
    assert str(errors.DataError("'a\nb' and 'c\r\nd' \u2028 are  one")) == "'a b' and 'c d'   are  one"


class SilentError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("first\n  second\r\n"), "ValueError: first second"),
        (ValueError(), "ValueError"),
        (ValueError("\x1b[2J\udcff"), "ValueError:  [2J\ufffd"),
        (ValueError("x" * 1000), f"ValueError: {'x' * errors.MAX_LETTERS}…"),
        (SilentError(), "SilentError"),
        (errors.DataError("y" * 1000), f"DataError: {'y' * 1000}"),
    ],
)
def test_any_error_is_described_in_one_line(error: Exception, text: str) -> None:
    """Of many lines, none, control characters, endless, and one that cannot say what it is; our own in full."""
    assert errors.describe_error(error) == text
