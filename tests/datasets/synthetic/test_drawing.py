"""Rendering of faces: part codes, regions, sizes, and the pixels that a part's parameters change."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from mavis.core.errors import BadParameter
from mavis.core.types import PART_CODES
from mavis.datasets.synthetic.drawing import render_face
from mavis.datasets.synthetic.parameters import LABEL_PARTS, resample_part, sample_face
from mavis.datasets.synthetic.parts import Face
from mavis.datasets.synthetic.recipe import BALANCED

SIZE = 64
FACES = [sample_face((0, "test", "balanced", index), BALANCED) for index in range(24)]


def changed_pixels(face: Face, part: str, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels that change by more than rounding, and pixels of the part before or after."""
    before, after = render_face(face, SIZE), render_face(resample_part(face, part, number), SIZE)
    change = np.abs(before.pixels.astype(int) - after.pixels.astype(int)).max(0) > 1
    code = PART_CODES[part]
    return change, (before.codes == code) | (after.codes == code)


def with_bare_ears(face: Face) -> Face:
    """The face without hair over its ears and without ear-rings, which hang on them."""
    return replace(face, hair=replace(face.hair, is_bald=True), accessory=replace(face.accessory, has_earrings=False))


@pytest.mark.parametrize("part", ["brows", "eyes", "nose", "mouth", "ears", "cue"])
def test_redrawing_a_part_changes_only_its_surroundings(part: str) -> None:
    """Another value of a part changes pixels of that part and, beyond a few pixels of shading, nothing else."""
    bare = [with_bare_ears(face) for face in FACES]
    for face in bare:
        change, area = changed_pixels(face, part)
        assert not (change & ~binary_dilation(area, iterations=5)).any()
    assert np.mean([changed_pixels(face, part)[0].any() for face in bare]) > 0.8


@pytest.mark.parametrize("part", ["background", "hair", "accessory"])
def test_redrawing_what_carries_no_race_leaves_eyes_nose_and_mouth_to_the_pixel(part: str) -> None:
    """Behind and around the features, another wall, hair or pair of glasses moves no pixel of a visible feature."""
    code_words = [PART_CODES[name] for name in LABEL_PARTS["race"]]
    for face in FACES:
        other = resample_part(face, part, 3)
        before, after = render_face(face, SIZE), render_face(other, SIZE)
        near = binary_dilation(
            np.isin(before.codes, [PART_CODES[part]]) | np.isin(after.codes, [PART_CODES[part]]), iterations=6
        )
        if part == "accessory" and (face.accessory.has_glasses or other.accessory.has_glasses):
            continue  # the lenses reflect
        features = np.isin(before.codes, code_words) & np.isin(after.codes, code_words) & ~near
        assert (before.pixels[:, features] == after.pixels[:, features]).all()


def test_redrawing_skin_changes_tone_and_keeps_background_and_noise() -> None:
    """The sensor's noise belongs to the image: far from the skin not one pixel moves."""
    for face in FACES[:8]:
        before, after = render_face(face, SIZE), render_face(resample_part(face, "skin", 1), SIZE)
        corner = np.s_[:, :12, :12]
        assert (before.pixels[corner] == after.pixels[corner]).all()
        assert (before.pixels != after.pixels).any()


@pytest.mark.parametrize("size", [31, 225])
def test_a_size_out_of_range_is_refused(size: int) -> None:
    """Below 32 and above 224 px there is no picture."""
    with pytest.raises(BadParameter, match=f"got {size}"):
        render_face(FACES[0], size)


def test_the_codes_are_those_of_the_parts_and_every_feature_is_visible() -> None:
    """Every pixel has a known code, and every face shows background, skin, brows, eyes, nose, mouth and the cue."""
    shown = {PART_CODES[name] for name in ("background", "skin", "brows", "eyes", "nose", "mouth", "cue")}
    for face in FACES:
        codes = set(np.unique(render_face(face, SIZE).codes).tolist())
        assert shown <= codes <= set(PART_CODES.values())


@pytest.mark.parametrize("target", list(LABEL_PARTS))
@pytest.mark.parametrize("size", [32, 64, 224])
def test_the_region_is_that_of_the_stated_parts(target: str, size: int) -> None:
    """The label-carrying region is never empty and lies in the parts that carry the label."""
    allowed = [PART_CODES[part] for part in LABEL_PARTS[target]]
    for face in FACES[:6]:
        drawing = render_face(face, size)
        region = drawing.region(target)
        assert region.any()
        assert np.isin(drawing.codes[region], allowed).all()
        if target != "age":
            assert (region == np.isin(drawing.codes, allowed)).all()


@pytest.mark.parametrize("size", [32, 96, 224])
def test_a_face_is_the_same_at_every_size(size: int) -> None:
    """Shrunk to 32 px, the pictures and the part shares of two sizes agree; another face does not."""

    def small(face: Face, side: int) -> np.ndarray:
        pixels = render_face(face, side).pixels.astype(float)
        return pixels.reshape(3, 32, side // 32, 32, side // 32).mean((2, 4))

    for face, other in zip(FACES[:6], FACES[6:12], strict=True):
        same = np.abs(small(face, 64) - small(face, size)).mean()
        assert same < 6
        assert np.abs(small(other, 64) - small(face, size)).mean() > 3 * same


def test_pixels_are_those_of_the_published_drawing() -> None:
    """The bytes of one face are what they were: a change of the drawing raises its version and retrains the models."""
    from mavis.core.hashing import digest
    from mavis.datasets.synthetic_faces import DRAWING_VERSION

    assert (
        DRAWING_VERSION,
        digest(render_face(sample_face((0, "eval", "balanced", 0), BALANCED), 64).pixels.tobytes())[:16],
    ) == (
        "1",
        "33a27ba55df86d75",
    )
