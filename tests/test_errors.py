"""Errors under their public name."""

import mavis
import mavis.errors
from mavis.core import errors


def test_every_error_has_a_public_name() -> None:
    """The same classes, all of them."""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert set(mavis.errors.__all__) == classes
    assert all(getattr(mavis.errors, name) is getattr(errors, name) for name in classes)
