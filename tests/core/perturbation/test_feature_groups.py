"""Units: how images fall into them, and which questions the model is asked about them."""

import pytest
import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import upsample
from mavis.core.perturbation.feature_groups import FeatureMask, build_feature_mask, logits_without_units
from mavis.core.perturbation.imputers import get_imputer
from mavis.core.perturbation.superpixels import superpixels
from mavis.core.types import PART_CODES

from ...toys import Linear, make_batch, make_pass, random_images, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))


class Sizes(nn.Module):
    """A linear model that remembers how many images each call had."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.sizes = Linear(WEIGHT), []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return self.net(images)


def test_cells_are_those_of_the_grid() -> None:
    """Row by row, the same in every image."""
    units = build_feature_mask(make_pass(Linear(WEIGHT), random_images(2)), "cell", 2)
    expected = torch.tensor([[0, 1], [2, 3]]).repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert units.ids.equal(expected.expand(2, 8, 8))
    assert units.n_units.tolist() == [4, 4]


def test_segments_are_superpixels_as_many_as_the_grid_has_cells() -> None:
    """About cells² of them, and each image's own number."""
    images = upsample(random_images(3, 6), (32, 32))
    units = build_feature_mask(make_pass(Linear(WEIGHT), images), "segment", 5)
    assert units.ids.equal(superpixels(images, 25))
    assert units.n_units.tolist() == [len(labels.unique()) for labels in units.ids]
    assert units.is_present.sum(1).equal(units.n_units)
    assert len(set(units.n_units.tolist())) > 1


def test_parts_are_numbered_as_the_image_shows_them() -> None:
    """Without gaps, in the order of their codes."""
    parts = torch.full((2, 8, 8), PART_CODES["cue"], dtype=torch.uint8)
    parts[0, 0], parts[0, 1], parts[1, 7] = PART_CODES["mouth"], PART_CODES["hair"], PART_CODES["skin"]
    units = build_feature_mask(make_pass(Linear(WEIGHT), make_batch(random_images(2), parts=parts)), "part", 8)
    assert units.n_units.tolist() == [3, 2]
    assert units.ids[:, :, 0].tolist() == [[1, 0, 2, 2, 2, 2, 2, 2], [1, 1, 1, 1, 1, 1, 1, 0]]


def test_a_value_is_shared_out_among_its_pixels() -> None:
    """A value over the unit's size on each of its pixels; what an image does not have goes nowhere."""
    labels = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]])
    units = FeatureMask(labels, torch.tensor([2, 1]), 4)
    pixels = units.to_pixels(torch.tensor([[5.0, 6.0], [8.0, 100.0]]))
    assert pixels[:, 0, 0].tolist() == [[5, 2, 2, 2], [2, 2, 2, 2]]


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_the_model_says_what_is_left_and_only_where_it_is_asked(chunk: int) -> None:
    """A linear model's logit without a set is that of grey in its place; what is not asked stays 0."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3), chunk=chunk)
    units = build_feature_mask(model_pass, "cell", 2)
    stream = torch.Generator().manual_seed(1)
    removed, selected = (torch.rand(shape, generator=stream) < 0.5 for shape in ((3, 5, 4), (3, 5)))
    with model_pass.meter.attach(model_pass.model.net):
        logits = logits_without_units(model_pass, targets(model_pass, 1), units, get_imputer("mean"), removed, selected)
    assert model_pass.meter.forwards == selected.sum()
    gone = removed.gather(2, units.ids.flatten(1)[:, None].expand(-1, 5, -1)).view(3, 5, 1, 8, 8)
    shown = torch.where(gone, 0.5, model_pass.images[:, None])
    expected = (shown * WEIGHT[1]).sum((2, 3, 4)) * selected
    torch.testing.assert_close(logits, expected.double(), rtol=1e-4, atol=1e-4)


def test_no_call_is_larger_than_a_chunk() -> None:
    """Whatever images the questions belong to; what fills up a batch comes on top."""
    model_pass = make_pass(Sizes(), random_images(3), chunk=8)
    units = build_feature_mask(model_pass, "cell", 2)
    singles = torch.eye(4, dtype=torch.bool).expand(3, 4, 4)
    logits_without_units(
        model_pass, targets(model_pass), units, get_imputer("mean"), singles, torch.ones((3, 4), dtype=torch.bool)
    )
    assert model_pass.model.net.sizes == [8, 8]


def test_nothing_asked_is_no_call() -> None:
    """Images of one unit may leave no question."""
    model_pass = make_pass(Sizes(), random_images(2))
    nothing = torch.zeros((2, 0), dtype=torch.bool)
    logits = logits_without_units(
        model_pass,
        targets(model_pass),
        build_feature_mask(model_pass, "cell", 1),
        get_imputer("mean"),
        nothing[..., None],
        nothing,
    )
    assert logits.shape == (2, 0)
    assert model_pass.model.net.sizes == []
