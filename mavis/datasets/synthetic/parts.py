"""The parts of a synthetic face as records of numbers; lengths are in units of half the image's side."""

from dataclasses import dataclass

Colour = tuple[float, float, float]
"""Red, green and blue in [0,1]."""


@dataclass(frozen=True)
class Scene:
    """Pose, light and sensor of the whole image. Never drawn anew."""

    shift: tuple[float, float]
    scale: float
    roll: float
    yaw: float
    light: tuple[float, float, float]
    ambient: float
    exposure: float
    warmth: float
    grain: float


@dataclass(frozen=True)
class Head:
    """Outline of the head, in units of half the image. Never drawn anew."""

    width: float
    height: float
    taper: float
    square: float
    neck: float


@dataclass(frozen=True)
class Background:
    """Wall, lights on it, and clothing."""

    top: Colour
    bottom: Colour
    spots: tuple[tuple[float, float, float, float], ...]
    cloth: Colour
    collar: float


@dataclass(frozen=True)
class Hair:
    """Hair of the head, and a beard or moustache."""

    colour: Colour
    volume: float
    crown: float
    hairline: float
    parting: float
    drop: float
    length: float
    wave: float
    curl: float
    is_bald: bool
    beard: float
    moustache: float


@dataclass(frozen=True)
class Skin:
    """Colour of the skin, its marks and its age lines."""

    tone: int
    tint: Colour
    blush: float
    gloss: float
    age: int
    depth: float
    freckles: float


@dataclass(frozen=True)
class Brows:
    """Both brows; ``value`` is the form."""

    value: int
    colour: Colour
    thickness: float
    arch: float
    lift: float
    slope: float


@dataclass(frozen=True)
class Eyes:
    """Both eyes; ``value`` is the bit of the code word."""

    value: int
    width: float
    opening: float
    tilt: float
    spacing: float
    iris: Colour
    gaze: float


@dataclass(frozen=True)
class Nose:
    """The nose; ``value`` is the bit of the code word."""

    value: int
    width: float
    length: float
    ridge: float


@dataclass(frozen=True)
class Mouth:
    """The mouth; ``value`` is the bit of the code word."""

    value: int
    width: float
    fullness: float
    smile: float
    red: float


@dataclass(frozen=True)
class Ears:
    """Both ears."""

    height: float
    width: float
    level: float


@dataclass(frozen=True)
class Accessory:
    """Glasses and ear-rings, where there are any."""

    has_glasses: bool
    frame: Colour
    frame_thickness: float
    radius: float
    square: float
    has_earrings: bool


@dataclass(frozen=True)
class Cue:
    """The coloured patch; ``value`` is the population whose colour it has."""

    value: int
    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Face:
    """All parameters of an image, except its size.

    Attributes:
        key: names of the streams that it was drawn from: seed, split, recipe and index.
        labels: per label the index of its value.
    """

    key: tuple[int | str, ...]
    labels: dict[str, int]
    scene: Scene
    head: Head
    background: Background
    hair: Hair
    skin: Skin
    brows: Brows
    eyes: Eyes
    nose: Nose
    mouth: Mouth
    ears: Ears
    accessory: Accessory
    cue: Cue
