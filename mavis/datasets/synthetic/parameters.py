"""Labels and parameters of a synthetic face, drawn from one random stream per part.

Each label is carried by these parts and by nothing else:

========== ===================== ==========================================================
race       eyes, nose, mouth     one of two shapes for each of the three parts: a code word
gender     brows                 thick, straight and low, or thin, arched and high
age        age lines on the skin nine bands; each shows one line group more than the one before
skin_tone  colour of the skin    the ten tones of the Monk scale
========== ===================== ==========================================================

Seven of the eight code words are taken, so all three parts are needed to tell the populations apart. The shapes of
the two values of a part overlap a little, so some faces are ambiguous for every classifier.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mavis.core.errors import DataError
from mavis.datasets.synthetic.parts import (
    Accessory,
    Background,
    Brows,
    Colour,
    Cue,
    Ears,
    Eyes,
    Face,
    Hair,
    Head,
    Mouth,
    Nose,
    Scene,
    Skin,
)
from mavis.datasets.synthetic.recipe import POPULATIONS, Recipe
from mavis.datasets.synthetic.streams import Stream

FORMS = ("form_a", "form_b")
AGES = ("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "more than 70")
TONES = tuple(f"monk_{number:02d}" for number in range(1, 11))

LABELS = {"race": POPULATIONS, "gender": FORMS, "age": AGES, "skin_tone": TONES}
"""Names of each label's values."""

CODE_WORDS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))
"""Per population the value of its eyes, nose and mouth."""

LABEL_PARTS = {
    "race": ("eyes", "nose", "mouth"),
    "gender": ("brows",),
    "age": ("skin",),
    "skin_tone": ("skin", "nose", "ears"),
}
"""Per label the parts that carry it; of the skin, the age lines carry the age and all of it the tone."""

OVERLAP = 0.22
"""Standard deviation of a part's shape along the line between its two values, in units of their distance."""


def _palette(digits: str) -> tuple[Colour, ...]:
    """Colours from hexadecimal digits, six each."""

    def channel(text: str) -> float:
        return int(text, 16) / 255

    return tuple((channel(six[:2]), channel(six[2:4]), channel(six[4:])) for six in digits.split())


MONK_COLOURS: tuple[Colour, ...] = _palette("f6ede4 f3e7db f7ead0 eadaba d7bd96 a07e56 825c43 604134 3a312a 292420")
"""The Monk Skin Tone scale. Source: Monk 2019, skintone.google, published hex values."""

_HAIR = _palette("17120f 241a14 3b2617 52341d 75502c 9c7040 c9a566 8a3b1c 8d8a86 d6d2cb 2e1a12 6b4a35")
_IRIS = _palette("3a2313 55341a 6e4a22 7a6a35 5b7a4a 4f7391 6f93b0 6d757c")
_CLOTH = _palette("2b3a55 7a2f2f 3f5b43 d9d4c8 20232a 8a6a3c 5d4a74 b5695a 6f8aa3")
_WALL = _palette("c9ccd1 9fb3c4 b8a894 8f9a86 d8cbb8 6f7f92 a98f9c 5f6a63 e4e0d8 7d6d63")
_FRAME = _palette("15130f 4a2c18 7b1f24 2b3d5c 8a7a4a")


def sample_labels(key: tuple[int | str, ...], recipe: Recipe) -> dict[str, int]:
    """The labels of a face, and under ``cue`` the index of its cue's colour; draws nothing else."""
    stream = Stream(*key, "labels")
    race = recipe.population(stream.uniform())
    return {
        "race": race,
        "gender": stream.choice(range(len(FORMS))),
        "age": stream.choice(range(len(AGES))),
        "skin_tone": stream.choice(range(len(TONES))),
        "cue": recipe.cue(race, stream.uniform()),
    }


def sample_face(key: tuple[int | str, ...], recipe: Recipe) -> Face:
    """The face at this key, independent of faces drawn before or after it."""
    labels = sample_labels(key, recipe)
    eyes, nose, mouth = CODE_WORDS[labels["race"]]
    scene = Stream(*key, "scene")
    head = Stream(*key, "head")
    return Face(
        key=key,
        labels=labels,
        scene=_scene(scene),
        head=Head(
            width=head.bounded_normal(0.555, 0.024),
            height=head.bounded_normal(0.73, 0.022),
            taper=head.uniform(0.10, 0.34),
            square=head.uniform(0.0, 0.42),
            neck=head.uniform(0.27, 0.38),
        ),
        background=_background(Stream(*key, "background")),
        hair=_hair(Stream(*key, "hair")),
        skin=_skin(Stream(*key, "skin"), labels["skin_tone"], labels["age"]),
        brows=_brows(Stream(*key, "brows"), labels["gender"]),
        eyes=_eyes(Stream(*key, "eyes"), eyes),
        nose=_nose(Stream(*key, "nose"), nose),
        mouth=_mouth(Stream(*key, "mouth"), mouth),
        ears=_ears(Stream(*key, "ears")),
        accessory=_accessory(Stream(*key, "accessory")),
        cue=_cue(Stream(*key, "cue"), labels["cue"]),
    )


def resample_part(face: Face, part: str, number: int) -> Face:
    """The same face with another value of one part, from that part's own distribution over all faces.

    Args:
        face: the face.
        part: one of `PART_SAMPLERS`. ``skin`` takes tone, marks and age lines; the outline of the head stays.
        number: of the draw; equal numbers give equal faces.

    Raises:
        DataError: the part cannot be drawn anew.
    """
    if part not in PART_SAMPLERS:
        raise DataError(f"A part that can be re-rendered is one of {', '.join(PART_SAMPLERS)}; got '{part}'.")
    return replace(face, **{part: PART_SAMPLERS[part](Stream(*face.key, part, "draw", number))})


def _bimodal_size(stream: Stream, value: int, at_zero: float, at_one: float) -> float:
    """A size whose mean is one of two, with the data set's overlap."""
    return stream.bounded_normal(at_one if value else at_zero, OVERLAP * 2**0.5 * abs(at_one - at_zero))


def _scene(stream: Stream) -> Scene:
    return Scene(
        shift=(stream.bounded_normal(0.0, 0.02), stream.bounded_normal(0.0, 0.02)),
        scale=stream.bounded_normal(1.0, 0.025),
        roll=stream.bounded_normal(0.0, 0.035),
        yaw=stream.bounded_normal(0.0, 0.022),
        light=(stream.uniform(-0.75, 0.75), stream.uniform(-0.7, -0.1), stream.uniform(0.75, 1.1)),
        ambient=stream.uniform(0.44, 0.66),
        exposure=stream.bounded_normal(0.98, 0.055),
        warmth=stream.bounded_normal(0.0, 0.03),
        grain=stream.uniform(0.008, 0.022),
    )


def _background(stream: Stream) -> Background:
    return Background(
        top=_jitter_colour(stream, stream.choice(_WALL), 0.05),
        bottom=_jitter_colour(stream, stream.choice(_WALL), 0.05),
        spots=tuple(
            (stream.uniform(-1, 1), stream.uniform(-1, 0.6), stream.uniform(0.25, 0.7), stream.uniform(-0.22, 0.22))
            for _ in range(3)
        ),
        cloth=_jitter_colour(stream, stream.choice(_CLOTH), 0.05),
        collar=stream.uniform(0.0, 1.0),
    )


def _hair(stream: Stream) -> Hair:
    style = stream.choice(("bald", "short", "short", "medium", "long", "curly"))
    length = {"bald": -0.2, "short": -0.12, "medium": 0.3, "long": 1.3, "curly": 0.1}[style]
    return Hair(
        colour=_jitter_colour(stream, stream.choice(_HAIR), 0.03),
        volume={"bald": 0.02, "short": 0.05, "medium": 0.09, "long": 0.1, "curly": 0.17}[style]
        * stream.uniform(0.8, 1.25),
        crown=stream.uniform(0.07, 0.15) if style != "curly" else stream.uniform(0.14, 0.2),
        hairline=stream.uniform(-0.60, -0.45),
        parting=stream.uniform(-0.45, 0.45),
        drop=stream.uniform(0.0, 0.24),
        length=length + stream.uniform(-0.08, 0.12),
        wave=stream.uniform(0.005, 0.03),
        curl=stream.uniform(0.02, 0.035) if style == "curly" else 0.0,
        is_bald=style == "bald",
        beard=stream.uniform(0.5, 0.9) if stream.bernoulli(0.14) else 0.0,
        moustache=stream.uniform(0.6, 0.9) if stream.bernoulli(0.12) else 0.0,
    )


def _skin(stream: Stream, tone: int, age: int) -> Skin:
    return Skin(
        tone=tone,
        tint=_jitter_colour(stream, MONK_COLOURS[tone], 0.008),
        blush=stream.uniform(0.0, 0.10),
        gloss=stream.uniform(0.03, 0.11),
        age=age,
        depth=stream.uniform(0.7, 1.0),
        freckles=stream.uniform(0.3, 0.8) if stream.bernoulli(0.15) else 0.0,
    )


def _brows(stream: Stream, value: int) -> Brows:
    return Brows(
        value=value,
        colour=_jitter_colour(stream, stream.choice(_HAIR[:6]), 0.03),
        thickness=_bimodal_size(stream, value, 0.046, 0.020),
        arch=_bimodal_size(stream, value, 0.018, 0.060),
        lift=_bimodal_size(stream, value, 0.155, 0.195),
        slope=stream.bounded_normal(0.0, 0.05),
    )


def _eyes(stream: Stream, value: int) -> Eyes:
    return Eyes(
        value=value,
        width=stream.bounded_normal(0.142, 0.006),
        opening=_bimodal_size(stream, value, 0.088, 0.050),
        tilt=_bimodal_size(stream, value, -0.08, 0.20),
        spacing=stream.bounded_normal(0.232, 0.008),
        iris=_jitter_colour(stream, stream.choice(_IRIS), 0.03),
        gaze=stream.bounded_normal(0.0, 0.010),
    )


def _nose(stream: Stream, value: int) -> Nose:
    return Nose(
        value=value,
        width=_bimodal_size(stream, value, 0.088, 0.148),
        length=_bimodal_size(stream, value, 0.335, 0.265),
        ridge=stream.uniform(0.7, 1.3),
    )


def _mouth(stream: Stream, value: int) -> Mouth:
    return Mouth(
        value=value,
        width=_bimodal_size(stream, value, 0.232, 0.165),
        fullness=_bimodal_size(stream, value, 0.046, 0.084),
        smile=stream.bounded_normal(0.06, 0.06),
        red=stream.uniform(0.3, 0.9),
    )


def _ears(stream: Stream) -> Ears:
    return Ears(
        height=stream.bounded_normal(0.145, 0.012),
        width=stream.bounded_normal(0.085, 0.010),
        level=stream.bounded_normal(-0.02, 0.02),
    )


def _accessory(stream: Stream) -> Accessory:
    return Accessory(
        has_glasses=stream.bernoulli(0.2),
        frame=_jitter_colour(stream, stream.choice(_FRAME), 0.03),
        frame_thickness=stream.uniform(0.012, 0.024),
        radius=stream.uniform(0.165, 0.19),
        square=stream.uniform(0.0, 0.9),
        has_earrings=stream.bernoulli(0.15),
    )


def _cue(stream: Stream, value: int) -> Cue:
    return Cue(value=value, x=stream.uniform(0.76, 0.82), y=stream.uniform(0.76, 0.82), side=stream.uniform(0.12, 0.14))


def _jitter_colour(stream: Stream, colour: Colour, deviation: float) -> Colour:
    red, green, blue = (min(1.0, max(0.0, stream.bounded_normal(channel, deviation))) for channel in colour)
    return red, green, blue


def _random_index(values: Sequence[object]) -> Callable[[Stream], int]:
    return lambda stream: stream.choice(range(len(values)))


def _random_code_bit(part: int) -> Callable[[Stream], int]:
    """The value of a part of the code word of a population, each population equally likely."""
    return lambda stream: stream.choice(CODE_WORDS)[part]


PART_SAMPLERS: Mapping[str, Callable[[Stream], Any]] = {
    "background": _background,
    "hair": _hair,
    "skin": lambda stream: _skin(stream, _random_index(TONES)(stream), _random_index(AGES)(stream)),
    "brows": lambda stream: _brows(stream, _random_index(FORMS)(stream)),
    "eyes": lambda stream: _eyes(stream, _random_code_bit(0)(stream)),
    "nose": lambda stream: _nose(stream, _random_code_bit(1)(stream)),
    "mouth": lambda stream: _mouth(stream, _random_code_bit(2)(stream)),
    "ears": _ears,
    "accessory": _accessory,
    "cue": lambda stream: _cue(stream, _random_index(POPULATIONS)(stream)),
}
"""Per part that can be drawn anew its sampler: from the part's distribution over all faces of the balanced recipe."""
