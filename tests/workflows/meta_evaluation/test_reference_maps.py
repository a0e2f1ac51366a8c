"""Maps of known quality: the exact map sums to the logit, and transforms do what they declare."""

import pytest
import torch

from mavis.core.errors import DataError
from mavis.core.model_pass import Pass
from mavis.workflows.meta_evaluation import reference_maps

from ...toys import Pooled, make_pass, random_images, targets
from .helpers import planted_pass


def test_shuffled_cells_keep_their_values() -> None:
    """The cells are the same, elsewhere; half of the noise is half way."""
    model_pass = planted_pass()
    values = torch.rand(4, 1, 32, 32)
    shuffled = reference_maps.shuffle_cells(values, model_pass, 16)
    assert shuffled.flatten(1).sort(1).values.equal(values.flatten(1).sort(1).values)
    assert not shuffled.equal(values)
    torch.testing.assert_close(reference_maps.mixture(0.5, 16)(values, model_pass), (values + shuffled) / 2)
    assert reference_maps.mixture(0.0, 16)(values, model_pass).equal(values)


def test_the_exact_map_sums_to_the_logit() -> None:
    """It sums to the logit beyond grey; its inverse is zero where it has most; its top part can be dropped."""
    model_pass = planted_pass()
    classes = model_pass.logits.argmax(1)
    values = reference_maps.exact_contributions(model_pass, classes)
    torch.testing.assert_close(values.sum((1, 2, 3)), model_pass.logits.amax(1))
    inverse = reference_maps.invert_magnitude(values, model_pass)
    assert (inverse.flatten(1).argmin(1) == values.abs().flatten(1).argmax(1)).all()
    stripped = reference_maps.drop_top_part(values, model_pass)
    torch.testing.assert_close(stripped.sum((1, 2, 3)), model_pass.logits.amax(1) - _top_part(values, model_pass))


def _top_part(values: torch.Tensor, model_pass: Pass) -> torch.Tensor:
    """The largest sum over a part, per image."""
    sums = [(values[:, 0] * (model_pass.batch.parts == code)).sum((1, 2)) for code in range(10)]
    return torch.stack(sums).amax(0)


def test_a_network_without_contributions_is_refused() -> None:
    """Only hand-wired networks have an exact map; dropping a part needs part codes."""
    model_pass = make_pass(Pooled(), random_images(2))
    with pytest.raises(DataError, match="'Pooled' has no exact contributions; use a hand-wired model"):
        reference_maps.exact_contributions(model_pass, targets(model_pass))
    with pytest.raises(DataError, match="part codes"):
        reference_maps.drop_top_part(torch.ones(2, 1, 8, 8), model_pass)
    with pytest.raises(DataError, match="rerender"):
        reference_maps.redraw_skin(model_pass.batch, 0)


def test_transforms_of_one_hot_cells() -> None:
    """A cell at column 1 of 4 moves to column 3 and then wraps; dilated by 1 it fills a 3 × 3 square."""
    model_pass = make_pass(Pooled(), random_images(1))
    values = torch.zeros(1, 1, 8, 8)
    values[..., 2:4, 2:4] = 1
    assert reference_maps.shift(2, 4)(values, model_pass)[0, 0, 2:4, 6:].eq(1).all()
    assert reference_maps.shift(4, 4)(values, model_pass).equal(values)
    dilated = reference_maps.dilation(1, 4)(values, model_pass)
    assert dilated[0, 0, :6, :6].eq(1).all()
    assert dilated.sum() == 36


def test_noise_has_the_declared_size_and_flattening_ends_in_a_constant() -> None:
    """40 dB are a hundredth of the map's root mean square; another draw is other noise."""
    model_pass = make_pass(Pooled(), random_images(1, size=64))
    values = torch.rand(1, 1, 64, 64)
    noise = reference_maps.normal_noise(0.01)(values, model_pass) - values
    assert noise.square().mean().sqrt() == pytest.approx(0.01 * values.square().mean().sqrt().item(), rel=0.05)
    assert not reference_maps.normal_noise(0.01, draw=1)(values, model_pass).equal(values + noise)
    torch.testing.assert_close(
        reference_maps.flattening(1.0)(values, model_pass), values.mean().expand_as(values), rtol=1e-6, atol=0
    )


def test_a_cached_map_is_computed_once_per_pass_and_other_images_are_rolled() -> None:
    """Two transforms of one component cost one map; another image's map is the previous one in the batch."""
    model_pass, calls = make_pass(Pooled(), random_images(3)), []

    def explain(model_pass: Pass, _: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        return model_pass.images

    component = reference_maps.as_component("images", explain)
    own = reference_maps.cache_map(component)(model_pass, targets(model_pass))
    rolled = reference_maps.other_image_map(component)(model_pass, targets(model_pass))
    assert len(calls) == 1
    assert rolled[1].equal(own[0])
    assert rolled[0].equal(own[2])
