"""Batches are cut and mirrored with their truth; a model knows its device."""

import pytest
import torch
from torch import nn

from mavis.core.types import PART_CODES, Batch, Model

from ..toys import random_images


def full_batch() -> Batch:
    """Three images with everything known; re-rendered, an image is as light as the draw's number, in its left half."""
    images = random_images(3)
    left = torch.zeros((3, 8, 8), dtype=torch.bool)
    left[..., :4] = True
    return Batch(
        images,
        torch.tensor([0, 1, 2]),
        ("x", "y", "z"),
        groups={"race": ("a", "b", "a"), "age": ("1", "2", "3")},
        parts=left.to(torch.uint8) * PART_CODES["eyes"],
        regions=left,
        rerender=lambda _, draw: torch.where(left[:, None], float(draw), images),
    )


def test_a_selection_takes_the_same_rows_of_everything() -> None:
    """Images, labels, ids, groups, parts, regions and re-rendered images."""
    batch = full_batch()
    last = batch.select(slice(1, 3))
    assert len(last) == 2
    assert last.ids == ("y", "z")
    assert last.labels.tolist() == [1, 2]
    assert last.groups == {"race": ("b", "a"), "age": ("2", "3")}
    for name in ("images", "parts", "regions"):
        assert getattr(last, name).equal(getattr(batch, name)[1:])
    assert last.rerender("eyes", 7).equal(batch.rerender("eyes", 7)[1:])


def test_a_single_image_is_the_selection_of_one_row() -> None:
    """The batch of image 1 has length 1 and that image's values."""
    single = full_batch().single_image(1)
    assert (single.ids, single.labels.tolist(), single.groups["age"]) == (("y",), [1], ("2",))
    assert single.images.shape == (1, 3, 8, 8)


def test_a_mirrored_batch_has_mirrored_truth() -> None:
    """Left becomes right in images, parts, regions and re-rendered images; mirrored twice it is the same."""
    batch = full_batch()
    mirrored = batch.hflip()
    assert mirrored.images.equal(batch.images.flip(-1))
    assert mirrored.regions[..., 4:].all()
    assert not mirrored.parts[..., :4].any()
    assert (mirrored.rerender("eyes", 5)[..., 4:] == 5).all()
    assert (mirrored.ids, mirrored.labels.tolist()) == (batch.ids, [0, 1, 2])
    assert mirrored.hflip().images.equal(batch.images)
    assert mirrored.hflip().rerender("eyes", 5).equal(batch.rerender("eyes", 5))


@pytest.mark.parametrize("change", [Batch.hflip, lambda batch: batch.single_image(0), lambda batch: batch.to("cpu")])
def test_unknown_truth_stays_unknown(change) -> None:
    """A batch without parts, regions and renderer has none after any change."""
    plain = change(Batch(random_images(2), torch.tensor([0, 1]), ("x", "y")))
    assert (plain.parts, plain.regions, plain.rerender) == (None, None, None)


def test_all_tensors_are_moved() -> None:
    """The device ``meta`` stands for any other one."""
    on_device = full_batch().to("meta")
    assert {getattr(on_device, name).device.type for name in ("images", "labels", "parts", "regions")} == {"meta"}
    assert on_device.ids == ("x", "y", "z")


class Buffered(nn.Module):
    """A net without parameters but with a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1, device="meta"))


@pytest.mark.parametrize(
    ("net", "device"),
    [(nn.Linear(2, 2, device="meta"), "meta"), (Buffered(), "meta"), (nn.ReLU(), "cpu")],
    ids=["parameters", "buffers", "neither"],
)
def test_a_model_is_where_its_weights_are(net: nn.Module, device: str) -> None:
    """Parameters decide, then buffers; a net without either is on the CPU."""
    assert Model("name", net, ("a", "b"), "revision").device.type == device
