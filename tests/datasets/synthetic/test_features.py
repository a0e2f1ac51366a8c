"""The features of a face: age lines by band, and each feature in its own window, moved by its own parameters."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mavis.core.types import PART_CODES
from mavis.datasets.synthetic.canvas import Canvas
from mavis.datasets.synthetic.drawing import render_face
from mavis.datasets.synthetic.features import (
    AGE_LINES,
    draw_age_lines,
    draw_brows,
    draw_eyes,
    draw_glasses,
    draw_mouth,
    draw_nose,
)
from mavis.datasets.synthetic.parameters import AGES, sample_face
from mavis.datasets.synthetic.parts import Face
from mavis.datasets.synthetic.recipe import BALANCED

SIZE = 128
FACE = sample_face((0, "test", "balanced", 2), BALANCED)
UPRIGHT = replace(FACE, scene=replace(FACE.scene, shift=(0.0, 0.0), scale=1.0, roll=0.0, yaw=0.0))
"""A face whose middle is the middle of the image."""


def draw(feature: Callable[[Canvas, Face], None], face: Face = UPRIGHT, size: int = SIZE) -> Canvas:
    """One feature on a grey image."""
    canvas = Canvas.blank(size, face.scene)
    canvas.image[:] = 0.5
    feature(canvas, face)
    return canvas


def width_and_height(canvas: Canvas, part: str) -> tuple[int, int]:
    """Extent of the pixels with a part's code."""
    rows, columns = np.nonzero(canvas.codes == PART_CODES[part])
    return int(np.ptp(columns)), int(np.ptp(rows))


@pytest.mark.parametrize(
    ("feature", "part"),
    [(draw_nose, "nose"), (draw_mouth, "mouth"), (draw_eyes, "eyes"), (draw_brows, "brows")],
)
def test_a_feature_marks_its_own_part(feature: Callable[[Canvas, Face], None], part: str) -> None:
    """And no other code; every marked pixel lies where something was painted or shaded near it."""
    canvas = draw(feature)
    assert set(np.unique(canvas.codes)) == {0, PART_CODES[part]}
    assert (canvas.image != 0.5).any()


@pytest.mark.parametrize(("feature", "part"), [(draw_eyes, "eyes"), (draw_brows, "brows")])
def test_pairs_are_symmetric(feature: Callable[[Canvas, Face], None], part: str) -> None:
    """In an upright face left and right have the same number of pixels, within rounding."""
    face = replace(UPRIGHT, eyes=replace(UPRIGHT.eyes, tilt=0.0, gaze=0.0))
    marked = draw(feature, face).codes == PART_CODES[part]
    left, right = marked[:, : SIZE // 2].sum(), marked[:, SIZE // 2 :].sum()
    assert left == pytest.approx(right, rel=0.1)


def test_sizes_move_the_outline() -> None:
    """A wider nose and a fuller mouth have wider and higher codes; eyes that open more are higher."""
    nose = [draw(draw_nose, replace(UPRIGHT, nose=replace(UPRIGHT.nose, width=width))) for width in (0.08, 0.15)]
    assert width_and_height(nose[1], "nose")[0] > width_and_height(nose[0], "nose")[0]
    mouth = [draw(draw_mouth, replace(UPRIGHT, mouth=replace(UPRIGHT.mouth, fullness=f))) for f in (0.04, 0.09)]
    assert width_and_height(mouth[1], "mouth")[1] > width_and_height(mouth[0], "mouth")[1]
    eyes = [draw(draw_eyes, replace(UPRIGHT, eyes=replace(UPRIGHT.eyes, opening=o, tilt=0.0))) for o in (0.05, 0.09)]
    assert width_and_height(eyes[1], "eyes")[1] > width_and_height(eyes[0], "eyes")[1]


def test_glasses_are_drawn_only_where_they_are_worn() -> None:
    """Without them nothing changes; with them the frame is an accessory, and the eyes behind it keep their code."""
    bare = replace(UPRIGHT, accessory=replace(UPRIGHT.accessory, has_glasses=False))
    assert (draw(draw_glasses, bare).image == 0.5).all()
    worn = replace(UPRIGHT, accessory=replace(UPRIGHT.accessory, has_glasses=True))
    canvas = draw(lambda canvas, face: (draw_eyes(canvas, face), draw_glasses(canvas, face)), worn)
    codes = set(np.unique(canvas.codes).tolist())
    assert codes == {0, PART_CODES["eyes"], PART_CODES["accessory"]}


def test_there_is_a_line_group_for_each_band_after_the_first() -> None:
    """Band k shows the first k groups."""
    assert len(AGE_LINES) == len(AGES) - 1


def test_the_zone_of_age_lines_does_not_depend_on_the_age() -> None:
    """It is where any band's lines would be, so that a redraw of the age has a fixed region; the lines darken it."""
    young, old = (
        draw(draw_age_lines, replace(UPRIGHT, skin=replace(UPRIGHT.skin, age=age))) for age in (0, len(AGE_LINES))
    )
    assert young.age_lines.any()
    assert (young.age_lines == old.age_lines).all()
    assert (young.image == 0.5).all()
    assert (old.image <= 0.5).all()
    assert not ((old.image < 0.5 - 0.02).any(0) & ~old.age_lines).any()


def test_each_age_band_shows_one_line_group_more() -> None:
    """A band differs from the one before only within the zone of the age lines, and always there."""
    bare = replace(FACE, hair=replace(FACE.hair, beard=0.0, moustache=0.0, is_bald=True))

    def at(age: int) -> np.ndarray:
        skin = replace(bare.skin, age=age, depth=1.0)
        return render_face(replace(bare, skin=skin), 64).pixels.astype(int)

    zone = render_face(bare, 64).age_lines
    for age in range(1, len(AGES)):
        change = (np.abs(at(age) - at(age - 1)) > 1).any(0)
        assert change.any()
        assert not (change & ~zone).any()
