"""The features of a face: age lines, nose, mouth, eyes, brows, glasses; each painted on a window of the image."""

import numpy as np

from mavis.datasets.synthetic.canvas import Array, Canvas, bump, colour_array, ellipse_distance, smoothstep
from mavis.datasets.synthetic.parts import Face

EYE_LEVEL = -0.09
MOUTH_LEVEL = 0.43
NOSE_TOP = -0.10

_Stroke = tuple[tuple[float, float], tuple[float, float], float, float]
"""Start, end (right half of the face; mirrored on the left), sag in the middle, half width."""

AGE_LINES: tuple[tuple[_Stroke, ...], ...] = (
    (((0.155, 0.185), (0.265, 0.365), 0.030, 0.029),),
    (((0.150, 0.060), (0.330, 0.055), 0.030, 0.026),),
    (((0.0, -0.430), (0.260, -0.405), -0.012, 0.026),),
    (((0.400, -0.100), (0.475, -0.135), 0.0, 0.023), ((0.400, -0.065), (0.480, -0.050), 0.0, 0.023)),
    (((0.0, -0.365), (0.240, -0.345), -0.010, 0.026),),
    (((0.035, -0.215), (0.040, -0.290), 0.0, 0.023),),
    (((0.0, -0.495), (0.220, -0.475), -0.012, 0.026),),
    (((0.265, 0.450), (0.285, 0.560), 0.020, 0.029),),
)
"""Line groups in the order in which they appear: age band k shows the first k."""


def draw_age_lines(canvas: Canvas, face: Face) -> None:
    """The lines of the face's age band; marks where any band's lines would be."""
    yaw, depth = face.scene.yaw, 0.24 * face.skin.depth
    for number, group in enumerate(AGE_LINES):
        for stroke in group:
            (x0, y0), (x1, y1), sag, half = stroke
            reach = half + abs(sag) + canvas.pixel
            window = canvas.window(yaw, (y0 + y1) / 2, max(x0, x1) + reach, abs(y1 - y0) / 2 + reach)
            wide = max(half, 0.8 * canvas.pixel)
            profile = _stroke_profile(window, yaw, stroke, wide)
            window.age_lines[profile > 0.02] = True
            if number < face.skin.age:
                window.shade(np.float32(1) - np.float32(depth * half / wide) * profile)


def _stroke_profile(window: Canvas, yaw: float, stroke: _Stroke, half_width: float) -> Array:
    """``(h,w)`` 1 along a line and its mirror image, 0 beyond its width."""
    (x0, y0), (x1, y1), sag, _ = stroke
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    ex, ey = (x1 - x0) / length, (y1 - y0) / length
    x, y = np.abs(window.x - np.float32(yaw)) - np.float32(x0), window.y - np.float32(y0)
    along = x * np.float32(ex) + y * np.float32(ey)
    within = np.clip(along, 0, length)
    t = within / np.float32(length)
    across = y * np.float32(ex) - x * np.float32(ey) - np.float32(4 * sag) * t * (np.float32(1) - t)
    beyond = along - within
    return bump((across * across + beyond * beyond) / np.float32(half_width * half_width))


def draw_nose(canvas: Canvas, face: Face) -> None:
    """Ridge, wings, nostrils and the shadow below, as relief on the skin."""
    nose, yaw = face.nose, face.scene.yaw * 1.8
    base = NOSE_TOP + nose.length
    window = canvas.window(yaw, NOSE_TOP + nose.length / 2, nose.width + 0.08, nose.length / 2 + 0.10)
    x, y = window.x - np.float32(yaw), window.y
    across = np.abs(x)
    down = smoothstep((y - np.float32(NOSE_TOP)) / np.float32(nose.length))
    half = np.float32(0.040) + np.float32(nose.width - 0.052) * down * down
    wings = ellipse_distance(
        across - np.float32(nose.width * 0.62), y - np.float32(base - 0.042), nose.width * 0.40, 0.050
    )
    tip = ellipse_distance(x, y - np.float32(base - 0.040), nose.width * 0.60, 0.062)
    ridge = np.maximum(across - half, np.maximum(np.float32(NOSE_TOP) - y, y - np.float32(base - 0.035)))
    ball = np.minimum(tip, wings)
    below = (y - np.float32(base + 0.008)) / np.float32(0.052)
    shade = bump(below * below + (across / np.float32(nose.width * 1.15)) ** 2) * np.float32(0.30)
    side = (across - half * np.float32(0.95)) / np.float32(0.055)
    above = smoothstep((np.float32(base + 0.012) - y) * np.float32(16))
    left = np.float32(1) - np.float32(0.9 * face.scene.light[0]) * np.clip(x * np.float32(12), -1, 1)
    shade += np.float32(0.14 * nose.ridge) * bump(side * side) * left * above * smoothstep(down * np.float32(2.5))
    wing_edge = np.abs(wings - np.float32(0.004)) / np.float32(0.026)
    shade += np.float32(0.22) * bump(wing_edge * wing_edge) * (across > nose.width * 0.55)
    shade -= (
        np.float32(0.13 * nose.ridge)
        * bump((across / np.float32(0.050)) ** 2)
        * above
        * smoothstep(down * np.float32(4))
    )
    glint = (across / np.float32(0.05)) ** 2 + ((y - np.float32(base - 0.055)) / np.float32(0.05)) ** 2
    shade -= np.float32(0.12) * bump(glint)
    window.shade(np.float32(1) - colour_array((0.85, 1.0, 1.05)) * shade)
    hole = ellipse_distance(
        across - np.float32(nose.width * 0.42), y - np.float32(base - 0.008), nose.width * 0.22, 0.020
    )
    window.shade(np.float32(1) - np.float32(0.62) * window.coverage(hole, softness=0.015))
    window.mark(window.coverage(np.minimum(ridge, ball)), "nose")


def draw_mouth(canvas: Canvas, face: Face) -> None:
    """Upper and lower lip, the line between them, a glint and the shadow below."""
    mouth, yaw = face.mouth, face.scene.yaw * 1.2
    window = canvas.window(yaw, MOUTH_LEVEL, mouth.width + 0.05, mouth.fullness * 1.5 + 0.13)
    x = (window.x - np.float32(yaw)) / np.float32(mouth.width)
    xx = x * x
    middle = np.float32(MOUTH_LEVEL) - np.float32(mouth.smile * mouth.width) * (np.float32(2) * xx - np.float32(0.6))
    y = window.y - middle
    arc = np.maximum((np.float32(1) - xx) * (np.float32(1) + np.float32(0.6) * xx), np.float32(-0.5))
    bow = np.float32(1) - np.float32(0.30) * bump(xx * np.float32(20))
    upper = np.float32(mouth.fullness * 0.92) * arc * bow
    lower = np.float32(mouth.fullness * 1.15) * arc * (np.float32(1.12) - np.float32(0.12) * xx)
    soft = (window.y - np.float32(MOUTH_LEVEL + mouth.fullness * 1.15 + 0.055)) / np.float32(0.05)
    window.shade(np.float32(1) - np.float32(0.18) * bump(soft * soft + xx * np.float32(1.8)))
    lips = window.coverage(np.maximum(-y - upper, y - lower) * np.float32(0.9))
    tint = colour_array(face.skin.tint)
    red = np.float32(mouth.red)
    lip = tint * colour_array((0.86, 0.60, 0.58)) + red * colour_array((0.06, -0.07, -0.05))
    height = y / np.float32(mouth.fullness)
    off = height - np.float32(0.58)
    light = np.float32(0.92) + np.float32(0.20) * bump(off * off * np.float32(3))
    light -= np.float32(0.14) * (y < 0)
    glint = np.float32(0.16) * bump(off * off * np.float32(14) + xx * np.float32(6))
    window.paint(lips, lip * light * np.float32(0.5 + 0.5 * face.scene.ambient + 0.22) + glint, "mouth")
    line = np.maximum(
        np.abs(y) - np.float32(0.008) * np.maximum(arc, 0), np.abs(window.x - np.float32(yaw)) - mouth.width
    )
    window.shade(np.float32(1) - np.float32(0.62) * window.coverage(line, softness=0.012))


def draw_eyes(canvas: Canvas, face: Face) -> None:
    """Both eyes: crease, white, iris, pupil, glint, lids and lashes."""
    eyes = face.eyes
    for side in (-1.0, 1.0):
        at = side * eyes.spacing + face.scene.yaw * 1.2
        window = canvas.window(at, EYE_LEVEL, eyes.width + 0.05, eyes.opening + 0.13)
        x = window.x - np.float32(at)
        y = window.y - np.float32(EYE_LEVEL) + np.float32(eyes.tilt * side) * x
        draw_eye(window, face, x, y, side)


def draw_eye(window: Canvas, face: Face, x: Array, y: Array, side: float) -> None:
    """One eye.

    Args:
        window: around the eye.
        face: the face.
        x: to the viewer's right of the eye's centre.
        y: below the line through both corners of the eye.
        side: -1 for the eye on the viewer's left, 1 for the other.
    """
    eyes = face.eyes
    t = x / np.float32(eyes.width)
    arc = np.float32(1) - t * t
    skewed = arc * (np.float32(1) - np.float32(0.16 * side) * t)
    upper, lower = np.float32(eyes.opening) * skewed, np.float32(eyes.opening * 0.72) * arc
    inside = np.maximum(-y - upper, y - lower) * np.float32(0.85)
    crease = (-y - upper - np.float32(0.034)) / np.float32(0.022)
    window.shade(np.float32(1) - np.float32(0.28) * bump(crease * crease + t * t * np.float32(0.7)))
    pouch = (y - lower - np.float32(0.024)) / np.float32(0.024)
    window.shade(np.float32(1) - np.float32(0.12) * bump(pouch * pouch + t * t * np.float32(0.8)))
    open_ = window.coverage(inside)
    white = np.float32(0.90) - np.float32(0.16) * t * t - np.float32(0.30) * bump(((y + upper) * np.float32(16)) ** 2)
    window.paint(open_, colour_array((1.0, 0.975, 0.96)) * white, "eyes")
    ix, iy = x - np.float32(eyes.gaze), y + np.float32(0.014)
    radius = ix * ix + iy * iy
    far = np.sqrt(radius)
    size = 0.074
    iris = colour_array(eyes.iris) * (
        np.float32(0.80) + np.float32(0.55) * smoothstep((iy + np.float32(0.02)) * np.float32(12))
    )
    iris = iris * (np.float32(1) - np.float32(0.5) * smoothstep((far - np.float32(0.050)) * np.float32(40)))
    window.paint(open_ * window.coverage(far - np.float32(size)), iris)
    window.paint(open_ * window.coverage(far - np.float32(0.029)), colour_array((0.03, 0.03, 0.03)))
    gx, gy = ix - np.float32(0.022), iy + np.float32(0.026)
    window.paint(open_ * window.coverage(np.sqrt(gx * gx + gy * gy) - np.float32(0.014)), colour_array((1.0, 1.0, 1.0)))
    lash = np.maximum(np.abs(y + upper) - np.float32(0.014) - np.float32(0.008 * side) * t, np.abs(x) - eyes.width)
    window.paint(np.float32(0.85) * window.coverage(lash, softness=0.006), colour_array((0.09, 0.06, 0.05)))
    window.mark(window.coverage(np.minimum(lash, inside)), "eyes")
    rim = np.maximum(np.abs(y - lower) - np.float32(0.006), np.abs(x) - eyes.width)
    window.paint(np.float32(0.35) * window.coverage(rim, softness=0.01), colour_array((0.25, 0.12, 0.10)))


def draw_brows(canvas: Canvas, face: Face) -> None:
    """Both brows, thinner outwards."""
    brows = face.brows
    dark = colour_array(brows.colour) * np.float32(0.72)
    for side in (-1.0, 1.0):
        at = side * 0.245 + face.scene.yaw * 1.1
        level = EYE_LEVEL - brows.lift
        window = canvas.window(at, level, 0.20, brows.thickness + brows.arch + 0.08)
        t = (window.x - np.float32(at)) * np.float32(side / 0.175)
        arch = np.float32(brows.arch) * (np.float32(1) - (t - np.float32(0.25)) ** 2)
        y = window.y - np.float32(level) + arch - np.float32(brows.slope * 0.175) * t
        thick = np.float32(brows.thickness) * (np.float32(1) - np.float32(0.45) * np.maximum(t, 0) ** 2)
        shape = np.maximum(np.abs(y) - thick, (np.abs(t) - np.float32(1)) * np.float32(0.175))
        window.paint(np.float32(0.86) * window.coverage(shape, softness=0.012), dark)
        window.mark(window.coverage(shape), "brows")


def draw_glasses(canvas: Canvas, face: Face) -> None:
    """Frame, bridge and arms of glasses, and a faint glare on the lenses, where the face wears them."""
    worn = face.accessory
    if not worn.has_glasses:
        return
    yaw = face.scene.yaw * 1.4
    window = canvas.window(yaw, EYE_LEVEL + 0.02, face.head.width + 0.08, worn.radius + 0.06)
    x, y = window.x - np.float32(yaw), window.y - np.float32(EYE_LEVEL + 0.02)
    across = np.abs(x)
    ex, ey = (across - np.float32(0.235)) / np.float32(worn.radius), y / np.float32(worn.radius * 0.86)
    xx, yy = ex * ex, ey * ey
    round_ = xx + yy - np.float32(worn.square) * np.minimum(xx, 1) * np.minimum(yy, 1)
    rim = (np.sqrt(round_) - np.float32(1)) * np.float32(worn.radius)
    bridge = np.maximum(
        across - np.float32(0.08), np.abs(y + np.float32(0.02)) - np.float32(worn.frame_thickness * 0.8)
    )
    arms = np.maximum(
        np.maximum(np.float32(0.235 + worn.radius) - across, across - np.float32(face.head.width - 0.01)),
        np.abs(y + np.float32(0.03)) - np.float32(worn.frame_thickness * 0.8),
    )
    glare = np.abs(ex + ey * np.float32(0.7) + np.float32(0.4)) / np.float32(0.22)
    window.paint(np.float32(0.16) * window.coverage(rim) * bump(glare * glare), colour_array((1.0, 1.0, 1.0)))
    frame = np.minimum(np.minimum(np.abs(rim) - np.float32(worn.frame_thickness), bridge), arms)
    window.paint(window.coverage(frame), colour_array(worn.frame), "accessory")
