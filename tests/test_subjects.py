"""The images that stand for a data set: balanced, apart from those that are explained, readable."""

import pytest

from mavis import protocol
from mavis.subjects import REFERENCE, draw_sample, open_data
from mavis.types import Dataset


@pytest.fixture(scope="module")
def data() -> Dataset:
    return open_data("synthetic_faces", target="race", split=None, size=32)


def test_reference_images_are_balanced_and_none_of_them_is_explained(data: Dataset) -> None:
    """Equally many of every group; the same for every run of one seed, others for another."""
    rules = protocol.load("quick")
    drawn = draw_sample(data, rules, 70)
    assert not set(drawn.reference) & set(drawn.ids)
    counts = data.table().loc[list(drawn.reference), "race"].value_counts()
    assert counts.tolist() == [REFERENCE // 7] * 7
    assert draw_sample(data, rules, 70).reference == drawn.reference
    assert draw_sample(data, protocol.changed(rules, seed=1), 70).reference != drawn.reference


def test_a_small_data_set_refers_to_what_it_has() -> None:
    """Where nearly every image is explained, reference images may be among them, and there are some."""
    small = open_data("planted_square", target=None, split=None, size=32)
    rules = protocol.changed(protocol.load("quick"), data__groups=["shade"])
    drawn = draw_sample(small, rules, None)
    assert 0 < len(drawn.reference) <= REFERENCE
    assert set(drawn.reference) <= set(small.table().index)


def test_what_cannot_be_read_is_left_out(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreadable reference image is dropped without a word: nothing is scored on it."""
    rules = protocol.load("quick")
    first = draw_sample(data, rules, 70).reference[0]
    monkeypatch.setattr(data, "unreadable", lambda ids: {i: "gone" for i in ids if i == first})
    assert first not in draw_sample(data, rules, 70).reference
