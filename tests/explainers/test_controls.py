"""Controls know nothing of the model; the oracle knows what was planted."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from mavis.errors import BadParameter, DataError
from mavis.registry import explainers
from mavis.types import PART_CODES
from mavis.variants import Noise

from ..toys import Linear, Pooled, a_pass, batch_of, explain, noise, spent

CONTROLS = ("random", "blurred_random", "sobel", "centre_gaussian")


class Silent(nn.Module):
    """Raises when it is asked."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("a control asked the model")


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_never_ask_the_model(name: str) -> None:
    """They have a map ``(B,1,H,W)`` and cost no sample, whatever the target."""
    run = a_pass(Silent(), noise(3, 16))
    assert explain(name, run, 0).shape == (3, 1, 16, 16)
    assert explain(name, run, 0).equal(explain(name, run, 1))
    cost = spent(run, name)
    assert (cost.forwards, cost.backwards) == (0, 0)


# Edges.


def test_a_step_edge_has_strength_four_times_its_height() -> None:
    """Sobel's kernel has weights 1, 2, 1: a step of 0.5 scores 2 on the two columns beside it, 0 elsewhere."""
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 0.5
    expected = torch.zeros(8, 8)
    expected[:, 3:5] = 2.0
    for picture, edge in ((image, expected), (image.transpose(2, 3), expected.T)):
        torch.testing.assert_close(explain("sobel", a_pass(Pooled(), picture))[0, 0], edge)


def test_edges_are_those_of_scipy() -> None:
    """On the mean of the channels, with the border repeated, scipy's Sobel in both directions."""
    run = a_pass(Pooled(), noise(2, 11))
    found = explain("sobel", run)[:, 0]
    for values, grey in zip(found, run.images.mean(1).numpy(), strict=True):
        expected = np.hypot(*(ndimage.sobel(grey, axis=axis, mode="nearest") for axis in (0, 1)))
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


# The centre.


@pytest.mark.parametrize("shape", [(9, 9), (8, 8), (9, 13)])
def test_the_centre_is_a_gaussian_with_its_peak_in_the_middle(shape: tuple[int, int]) -> None:
    """Highest in the middle, the same for every image, mirrored, and falling by the Gaussian's law."""
    run = a_pass(Pooled(), torch.zeros(2, 3, *shape))
    values = explain("centre_gaussian", run)
    assert values[0].equal(values[1])
    top = (values[0, 0] == values.max()).nonzero().float().mean(0)
    assert top.tolist() == [(shape[0] - 1) / 2, (shape[1] - 1) / 2]
    torch.testing.assert_close(values, values.flip(2, 3))
    height = torch.linspace(-0.5, 0.5, shape[0])
    torch.testing.assert_close(
        (values[0, 0, 0] / values[0, 0, 1]).log(), ((height[1] ** 2 - 0.25) / 0.125).expand(shape[1])
    )


# Noise.


def test_random_maps_are_independent_normal_numbers() -> None:
    """Mean 0, deviation 1, no correlation between neighbours, images or seeds."""
    run = a_pass(Pooled(), noise(40, 16))
    values = explain("random", run)
    n = values.numel()
    assert abs(values.mean()) < 4 / n**0.5
    assert values.std() == pytest.approx(1, abs=4 / n**0.5)
    assert abs((values[..., 1:] * values[..., :-1]).mean()) < 4 / n**0.5
    assert abs((values[1:] * values[:-1]).mean()) < 4 / n**0.5
    assert abs((values * explain("random", a_pass(Pooled(), noise(40, 16), seed=1))).mean()) < 4 / n**0.5


def test_blurred_noise_is_scipy_s_blur_of_the_noise() -> None:
    """An eighth of the height as sigma, border mirrored: neighbours correlate almost wholly."""
    run = a_pass(Pooled(), noise(20, 32))
    blurred = explain("blurred_random", run)
    expected = ndimage.gaussian_filter(explain("random", run).numpy(), 4, mode="mirror", truncate=3, axes=(2, 3))
    np.testing.assert_allclose(blurred, expected, atol=1e-5)
    pairs = torch.stack([blurred[..., 1:].flatten(), blurred[..., :-1].flatten()])
    assert torch.corrcoef(pairs)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["random", "blurred_random"])
def test_noise_is_fresh_in_every_variant(name: str) -> None:
    """The same again for the same image and variant; other numbers when the image or the model is another."""
    run, again = a_pass(Pooled(), noise(2)), a_pass(Pooled(), noise(2))
    variants = [a_pass(Pooled(), noise(2), variant=Noise(0.1, number).key) for number in (0, 1)]
    assert explain(name, run).equal(explain(name, again))
    maps = [explain(name, one) for one in (run, *variants)]
    assert not maps[0].equal(maps[1])
    assert not maps[1].equal(maps[2])


# The oracle.


def parts_and_redraw() -> tuple[Tensor, object]:
    """Two images with eyes in the first row and a mouth in the last; only the first image has a cue, at (1,1)."""
    parts = torch.full((2, 4, 4), PART_CODES["background"], dtype=torch.uint8)
    parts[:, 0] = PART_CODES["eyes"]
    parts[:, 3] = PART_CODES["mouth"]
    parts[0, 1, 1] = PART_CODES["cue"]

    def rerender(part: str, draw: int) -> Tensor:
        level = {"eyes": (0.2, 0.4), "cue": (0.0, 0.5)}.get(part, (1.0, 1.0))[draw]
        return torch.where((parts == PART_CODES[part])[:, None], level, torch.ones(2, 3, 4, 4))

    return parts, rerender


def test_the_oracle_spreads_each_fall_over_what_changed() -> None:
    """On a model that sums all values, eyes at 0.2 and 0.4 take 12·0.7 on average: 2.1 on each of 4 pixels.

    The mouth is redrawn as it was: 0. The cue's fall is 3·0.75 on one pixel, in the image that has one.
    """
    parts, rerender = parts_and_redraw()
    batch = batch_of(torch.ones(2, 3, 4, 4), parts=parts, rerender=rerender)
    net = Linear(torch.stack([torch.ones(3, 4, 4), torch.zeros(3, 4, 4)]))
    expected = torch.zeros(2, 1, 4, 4)
    expected[:, :, 0] = 2.1
    expected[0, 0, 1, 1] = 2.25
    run = a_pass(net, batch)
    torch.testing.assert_close(explain("oracle", run, draws=2), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(explain("oracle", a_pass(net, batch), 1, draws=2), torch.zeros(2, 1, 4, 4))


def test_the_oracle_of_one_image_is_its_own() -> None:
    """Alone, an image has the oracle map that it has among others."""
    parts, rerender = parts_and_redraw()
    run = a_pass(Linear(torch.rand(2, 3, 4, 4)), batch_of(torch.ones(2, 3, 4, 4), parts=parts, rerender=rerender))
    whole = explain("oracle", run, draws=2)
    for row in range(2):
        torch.testing.assert_close(explain("oracle", run.alone(row), draws=2), whole[row : row + 1])


def test_without_redrawing_the_oracle_is_the_region() -> None:
    """Where nothing can be drawn anew the planted region is the map; without truth there is no oracle."""
    regions = torch.eye(8, dtype=torch.bool).expand(2, 8, 8)
    run = a_pass(Pooled(), batch_of(noise(2), regions=regions))
    assert explain("oracle", run).equal(regions[:, None].float())
    with pytest.raises(DataError, match="needs data with planted truth"):
        explain("oracle", a_pass(Pooled(), noise(1)))


def test_the_oracle_needs_a_draw() -> None:
    """Without another value of a part nothing can fall."""
    with pytest.raises(BadParameter, match="draws must be at least 1"):
        explainers["oracle"].make({"draws": 0})
