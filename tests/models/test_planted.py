"""The hand-wired mean over the middle quarter: its logits, its gradient, and the best gain that there is, 1 − p."""

import functools

import numpy as np
import pytest
import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.metric_types import even_fractions
from mavis.core.model_pass import Pass
from mavis.core.registry import Entry, datasets, explainers, models
from mavis.core.types import ReferenceImages
from mavis.engine.removal import removal_counts

from ..toys import GREY, score

GRID = 16
BEST = 0.75
"""1 − p for the region's share p = 1/4: most influential first the answer falls linearly over the first quarter,
area p/2; least influential first over the last quarter, area 1 − p/2."""

CAN_RUN = [
    e for e in explainers if e.traits.needs <= models["mask_mean"].create().capabilities and not e.traits.reference
]


@functools.cache
def planted(count: int) -> Pass:
    data = datasets["planted_square"].create({"size": 32, "count": count})
    batch = data.load(list(data.table().index))
    others = ReferenceImages(batch.images, batch.ids)
    return Pass(models["mask_mean"].create(), batch, data.mean, seed=0, chunk=256, reference=others)


def maps(entry: Entry, run: Pass) -> Maps:
    raw = entry.create()(run, run.batch.labels)
    return Maps.from_values(pool_channels(raw, run.images, entry.traits.pooling), GRID)


def gain(found: Maps, run: Pass, *, points: int = 21) -> Tensor:
    """Normalised gain for each image's own label."""
    return score("nsrg", found, run, run.batch.labels, imputers=["mean"], points=points)


def test_logits_are_the_mean_and_its_complement() -> None:
    """m over the middle quarter and 1 − m; what lies outside does not count."""
    images = torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    net = models["mask_mean"].create().net
    m = images[:, :, 8:24, 8:24].mean((1, 2, 3))
    torch.testing.assert_close(net(images), torch.stack([m, 1 - m], dim=1))
    images[:, :, :8] = 0
    torch.testing.assert_close(net(images)[:, 0], m)


def test_the_gradient_is_flat_on_the_region() -> None:
    """±1/(3·16²) inside, 0 outside."""
    run = planted(4)
    expected = run.batch.regions[:, None] / (3 * 16**2) * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    torch.testing.assert_close(run.input_gradient(run.batch.labels), expected.expand(4, 3, 32, 32))


def test_the_model_reads_the_label() -> None:
    """On its data set it is always right, and its curves are taken on the logit."""
    run = planted(60)
    assert run.logits.argmax(1).equal(run.batch.labels)
    assert run.model.output == "logit"


@pytest.mark.parametrize("name", ["oracle", "saliency", "input_x_gradient", "integrated_gradients", "smoothgrad"])
def test_maps_of_the_region_gain_one_minus_p(name: str) -> None:
    """Where the curve is read at p and 1 − p (21 points) the gain is 0.75 of the headroom on every image."""
    run = planted(12)
    torch.testing.assert_close(gain(maps(explainers[name], run), run), torch.full((12,), BEST), rtol=0, atol=1e-5)


def test_the_gain_before_normalising_is_that_share_of_the_headroom() -> None:
    """srg = 0.75·(logit of the image − logit of grey)."""
    run = planted(12)
    bright = run.batch.labels == 0
    values = score("srg", maps(explainers["oracle"], run), run, 0, imputers=["mean"], points=21)
    headroom = run.logits[:, 0] - run.predict(torch.full((1, 3, 32, 32), 0.5))[:, 0]
    torch.testing.assert_close(values[bright], BEST * headroom[bright], rtol=0, atol=1e-5)


def test_eleven_points_cut_the_corner_by_a_known_amount() -> None:
    """Between 51 and 77 of 256 cells the chord misses the corner at 64: the trapezoid rule by hand says how much."""
    run = planted(4)
    counts = removal_counts(torch.tensor([256]), even_fractions(11))[0].numpy()
    left = np.maximum(0, 64 - counts) / 64
    kept = np.minimum(64, 256 - counts) / 64
    expected = np.trapezoid(kept, counts / 256) - np.trapezoid(left, counts / 256)
    assert expected == pytest.approx(BEST, abs=0.011)
    found = gain(maps(explainers["oracle"], run), run, points=11)
    np.testing.assert_allclose(found, [expected] * 4, atol=1e-5)


@pytest.mark.parametrize("entry", CAN_RUN, ids=lambda entry: entry.name)
def test_nothing_gains_more_than_the_oracle(entry: Entry) -> None:
    """No method or control beats 1 − p on any image."""
    run = planted(4)
    assert gain(maps(entry, run), run).max() <= BEST + 1e-5


def test_a_reversed_map_loses_as_much() -> None:
    """Removing the region last scores −0.75."""
    run = planted(4)
    found = Maps.from_values(-run.batch.regions.float(), GRID)
    torch.testing.assert_close(gain(found, run), torch.full((4,), -BEST), rtol=0, atol=1e-5)


def test_random_maps_gain_nothing() -> None:
    """Over 60 images the mean is 0 within 3 standard errors, and a constant map is exactly 0."""
    run = planted(60)
    values = gain(maps(explainers["random"], run), run)
    assert values.std() > 0.01
    assert abs(values.mean()) < 3 * values.std() / 60**0.5
    assert gain(Maps.from_values(torch.ones(60, 32, 32), GRID), run).abs().max() < 1e-6


def test_right_maps_locate_the_region_and_find_each_cell() -> None:
    """The oracle and the gradient have all mass in the region, and rank the cells as single deletions do."""
    run = planted(4)
    for name in ("oracle", "saliency"):
        found = maps(explainers[name], run)
        assert score("relevance_mass", found, run).tolist() == [1] * 4
        assert score("relevance_rank", found, run).tolist() == [1] * 4
        # Cells of the region matter alike, but rounding orders their falls: that costs up to 2 %.
        assert (score("single_deletion", found, run, run.batch.labels) > 0.98).all()


def test_the_grey_of_the_data_is_the_toys_grey() -> None:
    """The imputer's colour is the middle of the range, where both logits are a half."""
    assert planted(4).mean.equal(GREY)
