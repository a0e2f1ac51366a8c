"""Copies of what plug-ins are handed share no memory with the original."""

import torch

from mavis.core.guards.input_copies import copy_batch, copy_maps, copy_pass, plain_tensor
from tests.toys import Pooled, make_batch, make_pass, maps_from_cells, random_images


def test_copies_hold_the_same_numbers_in_other_memory() -> None:
    """Images, weights and maps."""
    model_pass = make_pass(Pooled(), random_images(2))
    copied = copy_pass(model_pass)
    pairs = [(copied.images, model_pass.images), (copied.mean, model_pass.mean)]
    pairs += zip(copied.model.net.parameters(), model_pass.model.net.parameters(), strict=True)
    maps = maps_from_cells(torch.arange(4.0)[None])
    pairs.append((copy_maps(maps).values, maps.values))
    for first, second in pairs:
        assert first.equal(second)
        assert first.data_ptr() != second.data_ptr()


def test_what_is_drawn_anew_is_a_copy_each_time() -> None:
    """The function stays that of the data."""
    redrawn = torch.ones(2, 3, 8, 8)
    batch = copy_batch(make_batch(random_images(2), rerender=lambda part, number: redrawn))
    batch.rerender("eyes", 0).zero_()
    assert redrawn.eq(1).all()


def test_a_returned_tensor_is_plain() -> None:
    """Without graph; what is no tensor stays as it is."""
    values = torch.ones(2, requires_grad=True) * 2
    assert plain_tensor(values).grad_fn is None
    assert plain_tensor("text") == "text"
