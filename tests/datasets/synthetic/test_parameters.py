"""Labels and parameters of faces: one stream per part, code words, and redraws from the population."""

from dataclasses import fields

import numpy as np
import pytest

from mavis.core.errors import DataError
from mavis.core.types import PART_CODES
from mavis.datasets.synthetic.parameters import (
    CODE_WORDS,
    LABEL_PARTS,
    LABELS,
    MONK_COLOURS,
    OVERLAP,
    PART_SAMPLERS,
    TONES,
    resample_part,
    sample_face,
    sample_labels,
)
from mavis.datasets.synthetic.parts import Face
from mavis.datasets.synthetic.recipe import BALANCED, BIASED, POPULATIONS

FACES = [sample_face((0, "test", "balanced", index), BALANCED) for index in range(400)]


def test_a_face_depends_on_its_key_only() -> None:
    """The same key gives the same face; another index, seed or split another one."""
    assert sample_face((0, "test", "balanced", 3), BALANCED) == FACES[3]
    keys = [(0, "test", "balanced", 3), (0, "test", "balanced", 4), (1, "test", "balanced", 3), (0, "x", "balanced", 3)]
    assert len({sample_face(key, BALANCED).eyes for key in keys}) == 4


def test_the_labels_are_in_the_parts_that_carry_them() -> None:
    """Eyes, nose and mouth spell the population's code word; brows, skin and cue have the other labels."""
    for face in FACES:
        assert (face.eyes.value, face.nose.value, face.mouth.value) == CODE_WORDS[face.labels["race"]]
        assert face.brows.value == face.labels["gender"]
        assert (face.skin.age, face.skin.tone) == (face.labels["age"], face.labels["skin_tone"])
        assert face.cue.value == face.labels["cue"]
        assert face.labels == sample_labels(face.key, BALANCED)


def test_labels_do_not_depend_on_the_recipe_where_it_does_not_decide() -> None:
    """Form, age band and tone come from the same draws under either recipe."""
    for face in FACES[:50]:
        biased = sample_labels(face.key, BIASED)
        assert all(biased[name] == face.labels[name] for name in ("gender", "age", "skin_tone"))


def test_sizes_of_a_part_overlap_as_stated() -> None:
    """Two means, and a standard deviation of `OVERLAP` times their distance along the line through both.

    The shape of the eyes has two sizes that differ (opening, tilt), so each has √2 times that deviation.
    """
    for name, distance in (("opening", 0.038), ("tilt", 0.28)):
        sizes = {bit: [getattr(face.eyes, name) for face in FACES if face.eyes.value == bit] for bit in (0, 1)}
        assert abs(np.mean(sizes[1]) - np.mean(sizes[0])) == pytest.approx(distance, rel=0.15)
        for values in sizes.values():
            assert np.std(values) == pytest.approx(OVERLAP * 2**0.5 * distance, rel=0.2)


def test_the_tones_are_those_of_the_monk_scale() -> None:
    """Ten colours in [0,1], each darker than the one two before it."""
    luma = [0.299 * red + 0.587 * green + 0.114 * blue for red, green, blue in MONK_COLOURS]
    assert len(MONK_COLOURS) == len(TONES) == 10
    assert all(later < earlier for earlier, later in zip(luma, luma[2:], strict=False))
    assert MONK_COLOURS[0] == pytest.approx((246 / 255, 237 / 255, 228 / 255))


def test_every_label_has_its_parts() -> None:
    """The labels that can be targets, and only parts with a code."""
    assert LABEL_PARTS.keys() == LABELS.keys()
    assert {part for parts in LABEL_PARTS.values() for part in parts} <= set(PART_CODES)


def test_a_redraw_changes_one_part() -> None:
    """Every other record of the face is the same object's value."""
    for part in PART_SAMPLERS:
        other = resample_part(FACES[0], part, 1)
        changed = {field.name for field in fields(Face) if getattr(other, field.name) != getattr(FACES[0], field.name)}
        assert changed == {part}


def test_the_same_draw_gives_the_same_face_and_another_draw_another() -> None:
    """A redrawn part depends on face, part and draw only."""
    assert resample_part(FACES[0], "nose", 4) == resample_part(FACES[0], "nose", 4)
    assert resample_part(FACES[0], "nose", 4) != resample_part(FACES[0], "nose", 5)
    assert resample_part(FACES[0], "nose", 4) != resample_part(FACES[1], "nose", 4)


def test_redrawn_parts_follow_the_populations() -> None:
    """Redrawn eyes take each value as often as the populations do: three in seven are narrow."""
    values = [resample_part(FACES[0], "eyes", number).eyes.value for number in range(1400)]
    expected = sum(word[0] for word in CODE_WORDS) / len(CODE_WORDS)
    assert np.mean(values) == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 1400) ** 0.5)


def test_every_part_is_needed_to_tell_the_populations_apart() -> None:
    """Without any one of the three parts, at least two populations look alike."""
    assert len(set(CODE_WORDS)) == len(POPULATIONS)
    for part in range(3):
        assert len({word[:part] + word[part + 1 :] for word in CODE_WORDS}) < len(POPULATIONS)


def test_an_unknown_part_is_refused() -> None:
    """Only parts with codes can be drawn anew, and all of them can."""
    assert set(PART_SAMPLERS) == set(PART_CODES)
    with pytest.raises(DataError, match="got 'chin'"):
        resample_part(FACES[0], "chin", 0)
