"""The oracle knows what was planted; its opposite says the contrary."""

import pytest
import torch
from torch import Tensor

from mavis.core.errors import BadParameter, DataError
from mavis.core.registry import explainers
from mavis.core.types import PART_CODES

from ..toys import Linear, Pooled, explain, make_batch, make_pass, random_images


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
    batch = make_batch(torch.ones(2, 3, 4, 4), parts=parts, rerender=rerender)
    net = Linear(torch.stack([torch.ones(3, 4, 4), torch.zeros(3, 4, 4)]))
    expected = torch.zeros(2, 1, 4, 4)
    expected[:, :, 0] = 2.1
    expected[0, 0, 1, 1] = 2.25
    model_pass = make_pass(net, batch)
    torch.testing.assert_close(explain("oracle", model_pass, draws=2), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(explain("oracle", make_pass(net, batch), 1, draws=2), torch.zeros(2, 1, 4, 4))


def test_the_oracle_of_one_image_is_its_own() -> None:
    """Alone, an image has the oracle map that it has among others."""
    parts, rerender = parts_and_redraw()
    model_pass = make_pass(
        Linear(torch.rand(2, 3, 4, 4)), make_batch(torch.ones(2, 3, 4, 4), parts=parts, rerender=rerender)
    )
    expected = explain("oracle", model_pass, draws=2)
    for row in range(2):
        torch.testing.assert_close(explain("oracle", model_pass.single_image(row), draws=2), expected[row : row + 1])


def test_without_redrawing_the_oracle_is_the_region() -> None:
    """Where nothing can be drawn anew the planted region is the map; without truth there is no oracle."""
    regions = torch.eye(8, dtype=torch.bool).expand(2, 8, 8)
    model_pass = make_pass(Pooled(), make_batch(random_images(2), regions=regions))
    assert explain("oracle", model_pass).equal(regions[:, None].float())
    with pytest.raises(DataError, match="needs data with planted truth"):
        explain("oracle", make_pass(Pooled(), random_images(1)))


@pytest.mark.parametrize("name", ["oracle", "anti_oracle"])
def test_the_oracle_needs_a_draw(name: str) -> None:
    """Without another value of a part nothing can fall."""
    with pytest.raises(BadParameter, match="draws must be at least 1"):
        explainers[name].create({"draws": 0})


@pytest.mark.parametrize("draws", [1, 2])
def test_the_opposite_is_the_oracle_with_its_sign_turned(draws: int) -> None:
    """Pixel by pixel, from as many draws, redrawn or not."""
    parts, rerender = parts_and_redraw()
    redrawn = make_batch(torch.ones(2, 3, 4, 4), parts=parts, rerender=rerender)
    planted = make_batch(random_images(2, 4), regions=torch.eye(4, dtype=torch.bool).expand(2, 4, 4))
    for batch in (redrawn, planted):
        model_pass = make_pass(Linear(torch.rand(2, 3, 4, 4)), batch)
        truth = explain("oracle", model_pass, draws=draws)
        assert truth.abs().max() > 0
        assert explain("anti_oracle", model_pass, draws=draws).equal(-truth)


def test_neither_can_be_recommended() -> None:
    """Both are oracles, and both need data with planted truth."""
    assert {explainers[name].traits.role for name in ("oracle", "anti_oracle")} == {"oracle"}
    assert all(explainers[name].traits.truth for name in ("oracle", "anti_oracle"))
