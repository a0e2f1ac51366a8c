"""The records of a face: plain numbers that compare by value and cannot be changed."""

from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest

from mavis.core.types import PART_CODES
from mavis.datasets.synthetic import parts
from mavis.datasets.synthetic.parameters import sample_face
from mavis.datasets.synthetic.parts import Face
from mavis.datasets.synthetic.recipe import BALANCED

FACE = sample_face((0, "test", "balanced", 0), BALANCED)
RECORDS = [record for record in vars(parts).values() if is_dataclass(record)]


def test_every_part_with_a_code_is_a_record_of_the_face() -> None:
    """Beside pose and outline, which have no code."""
    names = {field.name for field in fields(Face)}
    assert names == {*PART_CODES, "scene", "head", "key", "labels"}


@pytest.mark.parametrize("name", [*PART_CODES, "scene", "head"])
def test_a_record_compares_by_value(name: str) -> None:
    """A copy is equal and has the same hash, so that a redraw that changes nothing can be seen."""
    record = getattr(FACE, name)
    assert record == replace(record)
    assert hash(record) == hash(replace(record))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_records_are_frozen(record: type) -> None:
    """A face that was drawn cannot change under a later redraw."""
    assert record.__dataclass_params__.frozen
    with pytest.raises(FrozenInstanceError):
        FACE.eyes.width = 1.0
