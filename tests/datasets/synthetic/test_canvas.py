"""The canvas: its coordinates, soft edges, part codes, and windows that paint on the same image."""

import numpy as np
import pytest

from mavis.core.types import PART_CODES
from mavis.datasets.synthetic.canvas import Canvas, bump, colour_array, ellipse_distance, smoothstep, value_noise
from mavis.datasets.synthetic.parts import Scene

RED = colour_array((1.0, 0.0, 0.0))


def scene(**changes: object) -> Scene:
    """A scene without pose: the coordinates are those of the image."""
    values = {
        "shift": (0.0, 0.0), "scale": 1.0, "roll": 0.0, "yaw": 0.0, "light": (0.0, 0.0, 1.0), "ambient": 0.5,
        "exposure": 1.0, "warmth": 0.0, "grain": 0.0,
    }  # fmt: skip
    return Scene(**(values | changes))


def blank(size: int = 64, **changes: object) -> Canvas:
    """A black canvas."""
    canvas = Canvas.blank(size, scene(**changes))
    canvas.image[:] = 0
    return canvas


def test_coordinates_are_those_of_the_pixels_centres() -> None:
    """From −1 to 1 in both directions, y downwards; a pixel has side 2/size."""
    canvas = blank(4)
    np.testing.assert_allclose(canvas.x[0], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(canvas.y[:, 0], [-0.75, -0.25, 0.25, 0.75])
    assert canvas.pixel == 0.5


def test_the_pose_moves_scales_and_turns() -> None:
    """The head's coordinates: moved, of a larger head, and turned by an angle whose half has the tangent 0.1."""
    np.testing.assert_allclose(blank(64, shift=(0.1, -0.2)).x[0, 0], -1 + 1 / 64 - 0.1, rtol=1e-6)
    np.testing.assert_allclose(blank(64, scale=2.0).x, blank(64).x / 2, rtol=1e-6)
    turned, half = blank(64, roll=0.2), 0.1
    cos, sin = (1 - half**2) / (1 + half**2), 2 * half / (1 + half**2)
    assert cos**2 + sin**2 == pytest.approx(1)
    flat = blank(64)
    np.testing.assert_allclose(turned.x, cos * flat.x + sin * flat.y, atol=1e-6)
    np.testing.assert_allclose(turned.y, cos * flat.y - sin * flat.x, atol=1e-6)


def test_coverage_is_linear_over_one_pixel() -> None:
    """Half on the edge, all from half a pixel inside on, none from half a pixel outside on; softness widens it."""
    canvas = blank(64)
    distance = np.array([-1.0, -canvas.pixel / 2, 0.0, canvas.pixel / 4, canvas.pixel / 2, 1.0], dtype=np.float32)
    np.testing.assert_allclose(canvas.coverage(distance), [1, 1, 0.5, 0.25, 0, 0], atol=1e-6)
    np.testing.assert_allclose(canvas.coverage(distance, softness=canvas.pixel)[3], 0.375, atol=1e-6)


def test_painting_blends_by_coverage_and_marks_the_covered_half() -> None:
    """Colours mix; pixels covered by more than half get the code."""
    canvas = blank(32)
    coverage = np.zeros((32, 32), dtype=np.float32)
    coverage[0, :3] = [0.25, 0.5, 0.75]
    canvas.paint(coverage, RED, "nose")
    np.testing.assert_allclose(canvas.image[:, 0, :3], [[0.25, 0.5, 0.75], [0, 0, 0], [0, 0, 0]])
    assert canvas.codes[0, :3].tolist() == [0, 0, PART_CODES["nose"]]
    canvas.paint(coverage, RED)
    assert canvas.codes[0, :3].tolist() == [0, 0, PART_CODES["nose"]]


def test_shading_multiplies() -> None:
    """And leaves the codes alone."""
    canvas = blank(32)
    canvas.image[:] = 0.5
    canvas.shade(np.full((32, 32), 0.8, dtype=np.float32))
    np.testing.assert_allclose(canvas.image, 0.4, rtol=1e-6)
    assert not canvas.codes.any()


@pytest.mark.parametrize("pose", [{}, {"roll": 0.12, "shift": (0.07, -0.07), "scale": 0.92}])
@pytest.mark.parametrize("at", [(0.0, 0.0), (0.5, -0.4), (-0.95, 0.95)])
def test_a_window_is_the_part_of_the_image_around_a_point(pose: dict, at: tuple[float, float]) -> None:
    """A shape painted on the window, or on the whole image, gives the same image, also beyond the border."""
    x, y = at
    full, partial = blank(64, **pose), blank(64, **pose)
    full.paint(full.coverage(ellipse_distance(full.x - x, full.y - y, 0.1, 0.2)), RED, "nose")
    window = partial.window(x, y, 0.1, 0.2)
    window.paint(window.coverage(ellipse_distance(window.x - x, window.y - y, 0.1, 0.2)), RED, "nose")
    assert window.x.size < full.x.size
    np.testing.assert_array_equal(full.image, partial.image)
    np.testing.assert_array_equal(full.codes, partial.codes)


def test_the_distance_to_a_circle_is_exact_on_its_edge() -> None:
    """Zero on it, negative inside, to first order the distance just outside."""
    angle = np.linspace(0, 2 * np.pi, 50, dtype=np.float32)
    for radius, expected in ((0.5, 0.0), (0.51, 0.01), (0.49, -0.01)):
        distance = ellipse_distance(radius * np.cos(angle), radius * np.sin(angle), 0.5, 0.5)
        np.testing.assert_allclose(distance, expected, atol=3e-4)


def test_the_curves_have_their_fixed_points() -> None:
    """A bump of squared distances, and a smooth step."""
    np.testing.assert_allclose(bump(np.array([0.0, 0.5, 1.0, 4.0], dtype=np.float32)), [1, 0.25, 0, 0])
    np.testing.assert_allclose(smoothstep(np.array([-1.0, 0.0, 0.5, 1.0, 2.0], dtype=np.float32)), [0, 0, 0.5, 1, 1])


def test_noise_passes_through_its_table_and_repeats() -> None:
    """At whole numbers it is the table's entry, half way between two their mean; after the last comes the first."""
    table = np.array([0.0, 1.0, -1.0, 0.5], dtype=np.float32)
    at = np.array([0.0, 1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 3.5], dtype=np.float32)
    np.testing.assert_allclose(value_noise(at, table), [0, 1, -1, 0.5, 0, 0.5, 0.5, 0.25])


@pytest.mark.parametrize("size", [32, 65])
def test_everything_is_float32(size: int) -> None:
    """A float64 on the way would round differently on other machines."""
    canvas = blank(size, roll=0.1)
    assert {canvas.x.dtype, canvas.y.dtype, canvas.image.dtype} == {np.dtype(np.float32)}
    assert canvas.coverage(ellipse_distance(canvas.x, canvas.y, 0.5, 0.4), softness=0.1).dtype == np.float32
    assert value_noise(canvas.x, np.ones(4, np.float32)).dtype == np.float32
