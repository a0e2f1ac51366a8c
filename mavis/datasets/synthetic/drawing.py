"""Rendering of a face: its parameters to pixels, part codes and the zone of the age lines."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mavis.core.errors import BadParameter
from mavis.core.types import PART_CODES
from mavis.datasets.synthetic.canvas import (
    SIZE_RANGE,
    Array,
    Canvas,
    bump,
    colour_array,
    ellipse_distance,
    smoothstep,
    value_noise,
)
from mavis.datasets.synthetic.features import draw_age_lines, draw_brows, draw_eyes, draw_glasses, draw_mouth, draw_nose
from mavis.datasets.synthetic.parameters import LABEL_PARTS
from mavis.datasets.synthetic.parts import Face, Head, Scene
from mavis.datasets.synthetic.streams import Stream

CUE_COLOURS = (
    (0.90, 0.16, 0.16),
    (0.96, 0.58, 0.10),
    (0.96, 0.92, 0.16),
    (0.14, 0.70, 0.24),
    (0.12, 0.72, 0.88),
    (0.18, 0.24, 0.86),
    (0.86, 0.20, 0.82),
)
"""Colour of the cue, per population."""


FACING_BRIGHTNESS = 1.02
"""Brightness of a surface that faces the light."""


class Drawing(NamedTuple):
    """One rendered face.

    Attributes:
        pixels: ``(3,H,W)`` uint8.
        codes: ``(H,W)`` uint8 of `PART_CODES`.
        age_lines: ``(H,W)`` bool, the skin where age lines are drawn at some age.
    """

    pixels: npt.NDArray[np.uint8]
    codes: npt.NDArray[np.uint8]
    age_lines: npt.NDArray[np.bool_]

    def region(self, target: str) -> npt.NDArray[np.bool_]:
        """``(H,W)`` bool, true where the label of this target is carried."""
        if target == "age":
            skin: npt.NDArray[np.bool_] = self.codes == PART_CODES["skin"]
            return self.age_lines & skin
        carried: npt.NDArray[np.bool_] = np.isin(self.codes, [PART_CODES[part] for part in LABEL_PARTS[target]])
        return carried


def render_face(face: Face, size: int) -> Drawing:
    """Renders a face, from back to front; a pixel has the code of the frontmost part.

    Glasses are ``accessory`` where their frame is, and whatever is behind the lenses keeps its code. A beard and a
    moustache are ``hair``; clothing is ``background``; the neck is ``skin``.

    Args:
        face: its parameters.
        size: side of the image in pixels, 32 to 224.

    Raises:
        BadParameter: the size is out of range.
    """
    if not SIZE_RANGE[0] <= size <= SIZE_RANGE[1]:
        raise BadParameter(f"A synthetic face has a side of {SIZE_RANGE[0]} to {SIZE_RANGE[1]} pixels; got {size}.")
    canvas = Canvas.blank(size, face.scene)
    draw_background(canvas, face)
    outline = head_outline(canvas, face.head)
    draw_hair_behind(canvas, face)
    draw_neck(canvas, face)
    draw_ears(canvas, face)
    draw_head(canvas, face, outline)
    draw_age_lines(canvas, face)
    draw_beard(canvas, face, outline)
    draw_nose(canvas, face)
    draw_mouth(canvas, face)
    draw_eyes(canvas, face)
    draw_brows(canvas, face)
    draw_hair(canvas, face, outline)
    draw_glasses(canvas, face)
    return Drawing(finish_image(canvas, face, size), canvas.codes, canvas.age_lines)


def draw_background(canvas: Canvas, face: Face) -> None:
    """Wall from one colour to another with soft lights on it."""
    ground = face.background
    down = np.clip((canvas.y + np.float32(1)) * np.float32(0.5), 0, 1)
    canvas.image[:] = colour_array(ground.top) + down * (colour_array(ground.bottom) - colour_array(ground.top))
    for x, y, radius, strength in ground.spots:
        dx, dy = (canvas.x - np.float32(x)) / np.float32(radius), (canvas.y - np.float32(y)) / np.float32(radius)
        canvas.shade(np.float32(1) + np.float32(strength) * bump(dx * dx + dy * dy))


def head_outline(canvas: Canvas, head: Head) -> Array:
    """``(H,W)``, below 1 inside the head, 1 on its outline: a squared radius."""
    narrow = np.float32(1) - np.float32(head.taper) * smoothstep(canvas.y / np.float32(head.height))
    x = canvas.x / (np.float32(head.width) * narrow)
    y = canvas.y / np.float32(head.height)
    xx, yy = x * x, y * y
    radius: Array = xx + yy - np.float32(head.square) * xx * yy
    return radius


def ellipsoid_brightness(canvas: Canvas, scene: Scene, width: float, height: float, middle: float = 0.0) -> Array:
    """``(H,W)`` brightness of an egg-shaped solid under the scene's light."""
    nx = canvas.x / np.float32(width * 1.1)
    ny = (canvas.y - np.float32(middle)) / np.float32(height * 1.1)
    nz = np.sqrt(np.maximum(np.float32(1) - nx * nx - ny * ny, np.float32(0)))
    lx, ly, lz = scene.light
    length = math.sqrt(lx * lx + ly * ly + lz * lz)
    facing = (np.float32(lx / length) * nx + np.float32(ly / length) * ny + np.float32(lz / length) * nz).clip(0)
    brightness: Array = np.float32(scene.ambient) + np.float32(FACING_BRIGHTNESS - scene.ambient) * facing
    return brightness


def skin_colours(base: Array, brightness: Array) -> Array:
    """``(3,H,W)`` skin under a light: shadows on skin are redder than the skin."""
    loss = np.float32(1) - brightness
    result: Array = base * (np.float32(1) - colour_array((0.78, 1.06, 1.20)) * loss)
    return result


def draw_neck(canvas: Canvas, face: Face) -> None:
    """Shoulders in clothing, and the neck in the shadow of the chin."""
    x, y = np.abs(canvas.x), canvas.y
    shoulders = np.float32(0.79) + np.float32(0.05) * x + np.float32(0.22) * x * x - y
    cloth = colour_array(face.background.cloth) * (np.float32(1.05) - np.float32(0.35) * x)
    canvas.paint(canvas.coverage(shoulders), cloth, "background")
    width = np.float32(face.head.neck) + np.float32(0.9) * np.maximum(y - np.float32(0.82), 0) * np.maximum(
        y - np.float32(0.82), 0
    )
    opening = (y - np.float32(0.86 + 0.12 * face.background.collar)) + np.float32(0.5) * x * x
    neck = np.maximum(np.maximum(x - width, np.float32(0.4) - y), opening)
    shadow = np.float32(0.60) + np.float32(0.25) * smoothstep((y - np.float32(face.head.height)) * np.float32(3.5))
    canvas.paint(
        canvas.coverage(neck), skin_colours(colour_array(face.skin.tint), shadow - np.float32(0.25) * x), "skin"
    )


def draw_ears(canvas: Canvas, face: Face) -> None:
    """Both ears with a darker inside, behind the face; an ear-ring below each where there are any."""
    ears = face.ears
    for side in (-1.0, 1.0):
        at = side * (face.head.width + 0.015)
        window = canvas.window(at, ears.level + 0.03, ears.width + 0.03, ears.height + 0.06)
        x, y = window.x - np.float32(at), window.y - np.float32(ears.level)
        light = np.float32(0.86 + 0.10 * side * face.scene.light[0])
        window.paint(
            window.coverage(ellipse_distance(x, y, ears.width, ears.height)),
            skin_colours(colour_array(face.skin.tint), light + y * 0),
            "ears",
        )
        inside = ellipse_distance(x - np.float32(side * 0.012), y, ears.width * 0.55, ears.height * 0.62)
        window.shade(np.float32(1) - np.float32(0.28) * window.coverage(inside, softness=0.03))
        if face.accessory.has_earrings:
            ring = ellipse_distance(x, y - np.float32(ears.height), 0.028, 0.028)
            window.paint(window.coverage(ring), colour_array((0.92, 0.80, 0.42)), "accessory")


def draw_head(canvas: Canvas, face: Face, outline: Array) -> None:
    """The face's skin: shaded as a solid, with sockets, cheeks, forehead, chin, and marks."""
    skin, head = face.skin, face.head
    x, y = canvas.x - np.float32(face.scene.yaw), canvas.y
    brightness = ellipsoid_brightness(canvas, face.scene, head.width, head.height)
    facing = (brightness - np.float32(face.scene.ambient)) / np.float32(FACING_BRIGHTNESS - face.scene.ambient)
    sheen = np.float32(0.02) + np.float32(0.17) * facing * facing

    def hill(at_x: float, at_y: float, width: float, height: float) -> Array:
        dx, dy = (np.abs(x) - np.float32(at_x)) / np.float32(width), (y - np.float32(at_y)) / np.float32(height)
        return bump(dx * dx + dy * dy)

    brightness -= np.float32(0.13) * hill(0.23, -0.09, 0.24, 0.17)
    brightness += np.float32(0.07) * hill(0.27, 0.14, 0.26, 0.22)
    brightness += np.float32(0.06) * hill(0.0, -0.42, 0.5, 0.3)
    brightness += np.float32(0.05) * hill(0.0, 0.60, 0.22, 0.14)
    brightness -= np.float32(0.12) * smoothstep((outline - np.float32(0.72)) * np.float32(3.5))
    tone = skin_colours(colour_array(skin.tint), brightness)
    tone = tone + (np.float32(1) - tone) * colour_array((1.0, 0.80, 0.66)) * sheen
    blush = np.float32(skin.blush) * hill(0.30, 0.17, 0.24, 0.20)
    tone = tone * (np.float32(1) - colour_array((0.05, 0.95, 0.75)) * blush)
    lx, ly = face.scene.light[:2]
    gloss = bump(((x - np.float32(0.25 * lx)) * np.float32(3.2)) ** 2 + ((y + np.float32(0.42)) * np.float32(4.5)) ** 2)
    tone = tone + np.float32(skin.gloss * (1 - 0.3 * ly)) * gloss
    distance = (np.sqrt(outline) - np.float32(1)) * np.float32(head.width)
    canvas.paint(canvas.coverage(distance), tone, "skin")
    if skin.freckles:
        draw_freckles(canvas, face)


def draw_freckles(canvas: Canvas, face: Face) -> None:
    """Small darker dots over cheeks."""
    dots = Stream(*face.key, "freckles").texture(64)
    for k in range(0, 36, 2):
        side = 1.0 if dots[k] > 0 else -1.0
        at_x, at_y = side * 0.28 + 0.14 * float(dots[k + 1]), 0.15 + 0.12 * float(dots[k + 21])
        window = canvas.window(at_x, at_y, 0.02, 0.02)
        dot = ellipse_distance(window.x - np.float32(at_x), window.y - np.float32(at_y), 0.012, 0.012)
        window.shade(np.float32(1) - np.float32(0.3 * face.skin.freckles) * window.coverage(dot, softness=0.02))


def hair_colours(canvas: Canvas, face: Face, along: Array, height: float) -> Array:
    """``(3,H,W)``: strands along a coordinate, with a band of light."""
    hair = face.hair
    table = Stream(*face.key, "strands").texture(64)
    strands = np.float32(0.6) * value_noise(along * np.float32(17), table) + np.float32(0.4) * value_noise(
        along * np.float32(43) + canvas.y * np.float32(3), table
    )
    light = ellipsoid_brightness(canvas, face.scene, face.head.width + 0.15, height, middle=-0.1)
    band = (canvas.y + np.float32(0.52) - np.float32(0.5) * canvas.x * canvas.x) * np.float32(4)
    shine = bump(band * band) * np.float32(0.16)
    brightness = light * (np.float32(0.92) + np.float32(0.24) * strands)
    glow = shine * (np.float32(0.55) + strands * np.float32(0.45)) * (np.float32(0.25) + colour_array(hair.colour))
    colours: Array = colour_array(hair.colour) * brightness + glow
    return colours


def draw_hair_behind(canvas: Canvas, face: Face) -> None:
    """Hair behind neck and ears, where it is longer than the jaw."""
    hair = face.hair
    if hair.is_bald or hair.length < 0.2:
        return
    x, y = canvas.x, canvas.y
    width = face.head.width + hair.volume + 0.03
    table = Stream(*face.key, "strands").texture(64)
    ripple = np.float32(hair.wave * 1.2) * value_noise(y * np.float32(6), table)
    top = ellipse_distance(x, y, width, face.head.height + hair.crown)
    sides = np.maximum(np.abs(x) - np.float32(width) + ripple, -y)
    shape = np.minimum(top, np.maximum(sides, y - np.float32(hair.length)))
    along = np.abs(x) * np.float32(2)
    colours = hair_colours(canvas, face, along, face.head.height + 0.4) * np.float32(0.62)
    canvas.paint(canvas.coverage(np.maximum(shape, y - np.float32(hair.length))), colours, "hair")


def draw_hair(canvas: Canvas, face: Face, outline: Array) -> None:
    """Hair of the crown and temples, down to the hairline."""
    hair, head = face.hair, face.head
    x, y = canvas.x, canvas.y
    if hair.is_bald:
        stubble = smoothstep((-y + np.float32(hair.hairline + 0.14)) * np.float32(7))
        inside = stubble * canvas.coverage((np.sqrt(outline) - np.float32(1)) * np.float32(head.width))
        canvas.paint(
            np.float32(0.45) * inside, colour_array(hair.colour) * np.float32(0.6) + canvas.image * np.float32(0.25)
        )
        canvas.mark(inside, "hair")
        return
    table = Stream(*face.key, "strands").texture(64)
    turn = (x - np.float32(hair.parting)) / (np.float32(1.25) + y)
    rough = np.float32(hair.curl + hair.wave * 0.6) * value_noise(turn * np.float32(9) + np.float32(7), table)
    outer = ellipse_distance(x, y + np.float32(0.02), head.width + hair.volume, head.height + hair.crown) + rough
    reach = np.abs(x - np.float32(hair.parting)) / np.float32(head.width)
    side = smoothstep((np.abs(x) / np.float32(head.width) - np.float32(0.72)) * np.float32(4.2))
    line = np.float32(hair.hairline) + np.float32(hair.drop) * reach * reach
    ends = np.float32(hair.length) - np.float32(1.2) * np.maximum(np.abs(x) - np.float32(0.92 * head.width), 0)
    line = line + side * np.maximum(ends - line, 0)
    line = line + np.float32(hair.wave + hair.curl) * value_noise(turn * np.float32(14), table)
    inner = (y - line) * np.float32(0.6)
    shape = np.maximum(outer, inner)
    shadow = canvas.coverage(np.maximum(outer, inner - np.float32(0.035)), softness=0.06) * (outline < 1)
    canvas.shade(np.float32(1) - np.float32(0.30) * shadow)
    canvas.paint(
        canvas.coverage(shape, softness=0.008), hair_colours(canvas, face, turn, head.height + hair.crown), "hair"
    )


def draw_beard(canvas: Canvas, face: Face, outline: Array) -> None:
    """Beard along the jaw and moustache above the lip, as dense as their parameter says."""
    hair, head = face.hair, face.head
    x, y = canvas.x - np.float32(face.scene.yaw), canvas.y
    dark = colour_array(hair.colour) * np.float32(0.8)
    inside = (np.sqrt(outline) - np.float32(1)) * np.float32(head.width)
    if hair.beard:
        chin = ellipse_distance(x, y - np.float32(0.30), 0.40, 0.30)
        jaw = np.maximum(np.maximum(inside, np.float32(0.31) - y - np.float32(0.8) * x * x), -chin - np.float32(0.10))
        density = canvas.coverage(jaw, softness=0.08)
        canvas.paint(density * np.float32(hair.beard), dark)
        canvas.mark(density, "hair")
    if hair.moustache:
        lip = ellipse_distance(x, y - np.float32(0.345) - np.float32(0.5) * x * x, 0.19, 0.034)
        density = canvas.coverage(lip, softness=0.02)
        canvas.paint(density * np.float32(hair.moustache), dark)
        canvas.mark(density, "hair")


def finish_image(canvas: Canvas, face: Face, size: int) -> npt.NDArray[np.uint8]:
    """Light's colour, the cue, sensor noise; rounded to 8 bits. The noise is the sensor's: another at every size."""
    scene = face.scene
    warm = (scene.exposure * (1 + scene.warmth), scene.exposure, scene.exposure * (1 - scene.warmth))
    image = np.clip(canvas.image * colour_array(warm), 0, 1)
    axis = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
    cue = face.cue
    reach = np.maximum(np.abs(axis[None, :] - np.float32(cue.x)), np.abs(axis[:, None] - np.float32(cue.y)))
    cover = np.clip(np.float32(0.5) - (reach - np.float32(cue.side)) * np.float32(size / 2), 0, 1)
    image += cover * (colour_array(CUE_COLOURS[cue.value]) - image)
    canvas.codes[cover > 0.5] = PART_CODES["cue"]
    image += np.float32(scene.grain) * Stream(*face.key, "sensor").noise((3, size, size))
    levels: Array = np.clip(image * np.float32(255) + np.float32(0.5), 0, 255)
    return levels.astype(np.uint8)
