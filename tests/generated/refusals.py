"""The one way in which a generated case may fail: an error of MAVIS in one line."""

from collections.abc import Callable
from typing import TypeVar

from mavis.core.errors import MavisError

T = TypeVar("T")


def try_to(work: Callable[[], T]) -> tuple[T | None, str]:
    """The result of work, or the line with which it is refused; anything else that it raises is a fault."""
    try:
        return work(), ""
    except MavisError as error:
        refusal = str(error)
    assert refusal.strip()
    assert len(refusal.splitlines()) == 1
    return None, refusal
