"""The first look at images: a broken one costs itself, equal ones are noticed."""

import pandas as pd
import pytest

from mavis.core.errors import DataError
from mavis.datasets.loading import image_inspection
from mavis.datasets.loading.checked_data import complete_dataset
from mavis.datasets.loading.image_inspection import equal_image_notes, inspect_images, unreadable_notes

from ...memory_data import MemoryData

IDS = [f"i{k:03d}" for k in range(16)]


@pytest.mark.parametrize("broken", ["i000", "i007", "i015"])
def test_a_broken_image_costs_itself(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first, one in the middle and the last, in chunks of any size, where `unreadable` says nothing of it."""
    for chunk in (1, 5, 32):
        monkeypatch.setattr(image_inspection, "CHUNK", chunk)
        look = inspect_images(complete_dataset(MemoryData(broken={broken})), IDS)
        assert list(look.unreadable) == [broken]
        assert "image file is truncated" in look.unreadable[broken]
        assert list(look.hashes) == [name for name in IDS if name != broken]


def test_images_against_the_contract_end_the_look() -> None:
    """They are no broken images."""
    data = MemoryData()
    data.pixels[12] *= 255
    with pytest.raises(DataError, match="write images / 255"):
        inspect_images(complete_dataset(data), IDS)


def test_many_broken_images_are_three_lines_and_a_number() -> None:
    """The list does not grow with the data."""
    notes = unreadable_notes({f"i{k}": "cut" for k in range(9)})
    assert notes[0] == "i0 could not be read and was left out: cut"
    assert notes[3:] == ("6 more images could not be read and were left out.",)
    assert unreadable_notes({}) == ()


def test_equal_images_are_noted_and_counted() -> None:
    """Under one label; of a hundred copies three are named."""
    labels = pd.Series(0, index=[f"i{k}" for k in range(101)])
    (note,) = equal_image_notes(dict.fromkeys(labels.index, "same"), labels, ("dark", "bright"))
    assert note == (
        "100 of 101 images equal another one, and count as independent: i1 equals i0, i2 equals i0, i3 equals i0 and "
        "97 more."
    )
    assert equal_image_notes({"i0": "x", "i1": "y"}, labels, ("dark", "bright")) == ()


def test_equal_images_of_two_labels_are_refused() -> None:
    """Both are named with their labels."""
    labels = pd.Series([0, 1], index=["a", "b"])
    with pytest.raises(DataError, match="'a' and 'b' are the same image, labelled dark and bright; leave out one"):
        equal_image_notes({"a": "x", "b": "x"}, labels, ("dark", "bright"))
