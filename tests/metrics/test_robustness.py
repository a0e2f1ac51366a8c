"""Sensitivity of models whose gradient under noise is known, scored as a run scores it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mavis.errors import BadParameter
from mavis.maps import Maps
from mavis.perturb import Noise
from mavis.plan import Part
from mavis.registry import metrics

from ..toys import Linear, Pooled, a_pass, noise, part, run_block

SENSITIVITIES = ("avg_sensitivity", "max_sensitivity", "avg_sensitivity_normalised")


class Quadratic(nn.Module):
    """Logits (Σx²/2, threshold): the gradient of the first is the image itself."""

    def __init__(self, threshold: float = -1.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, images: Tensor) -> Tensor:
        energy = images.square().sum((1, 2, 3)) / 2
        return torch.stack([energy, torch.full_like(energy, self.threshold)], dim=1)


def changes(images: Tensor, noisy: Tensor, *, unit: bool = False) -> np.ndarray:
    """Relative change of the pixel-wise lengths of the image, which are the quadratic model's saliency map."""
    before, after = (np.linalg.norm(x.double().numpy(), axis=1).reshape(len(x), -1) for x in (images, noisy))
    if unit:
        before, after = (x / np.sqrt((x**2).mean(1, keepdims=True)) for x in (before, after))
    return np.linalg.norm(after - before, axis=1) / np.linalg.norm(before, axis=1)


def test_the_gradient_of_a_linear_model_does_not_move() -> None:
    """Its map is the weight row for every image: all three sensitivities are 0."""
    net = Linear(torch.stack([torch.ones(3, 8, 8), -torch.ones(3, 8, 8)]) * torch.rand(3, 8, 8))
    scores = run_block(a_pass(net, noise(4)), part("saliency"), {name: {} for name in SENSITIVITIES})
    for name in SENSITIVITIES:
        torch.testing.assert_close(scores[name], torch.zeros(4), rtol=0, atol=1e-6)


def test_the_gradient_of_a_quadratic_model_moves_as_the_image_does() -> None:
    """With the image as gradient, the change of the map is that of the noisy image, draw by draw."""
    run = a_pass(Quadratic(), noise(5))
    scores = run_block(run, part("saliency"), {name: {"radius": 0.2, "draws": 4} for name in SENSITIVITIES})
    noisy = [Noise(0.2, number).images(run) for number in range(4)]
    plain = np.stack([changes(run.images, other) for other in noisy])
    unit = np.stack([changes(run.images, other, unit=True) for other in noisy])
    np.testing.assert_allclose(scores["avg_sensitivity"], plain.mean(0), rtol=1e-4)
    np.testing.assert_allclose(scores["max_sensitivity"], plain.max(0), rtol=1e-4)
    np.testing.assert_allclose(scores["avg_sensitivity_normalised"], unit.mean(0), rtol=1e-4)


def test_only_draws_that_keep_the_prediction_count() -> None:
    """With the threshold at the image itself about half of the draws change the class; they are left out."""
    image = noise(1, seed=3)
    threshold = Quadratic()(image)[0, 0].item() - 1e-3
    run = a_pass(Quadratic(threshold), image.repeat(24, 1, 1, 1))
    scores = run_block(run, part("saliency"), {name: {} for name in SENSITIVITIES})
    noisy = [Noise(8 / 255, number).images(run) for number in range(3)]
    kept = np.stack([(run.predict(other).argmax(1) == 0).numpy() for other in noisy])
    plain = np.where(kept, np.stack([changes(run.images, other) for other in noisy]), np.nan)
    none = ~kept.any(0)
    assert none.any()
    assert (kept.sum(0) == 1).any()
    assert np.array_equal(scores["avg_sensitivity"].isnan().numpy(), none)
    assert np.array_equal(scores["max_sensitivity"].isnan().numpy(), none)
    np.testing.assert_allclose(scores["avg_sensitivity"][~none], np.nanmean(plain[:, ~none], axis=0), rtol=1e-4)
    np.testing.assert_allclose(scores["max_sensitivity"][~none], np.nanmax(plain[:, ~none], axis=0), rtol=1e-4)


def test_the_metrics_share_their_draws() -> None:
    """Two draws for three metrics: the explainer runs once on the image and once on each noisy copy."""
    calls = []

    def counting(run: object, _: Tensor) -> Tensor:
        calls.append(run)
        return run.images  # type: ignore[attr-defined, no-any-return]

    explainer = Part("counting", {}, part("saliency").traits, counting)
    scores = run_block(a_pass(Quadratic(), noise(3)), explainer, {name: {"draws": 2} for name in SENSITIVITIES})
    assert len(calls) == 3
    assert (scores["max_sensitivity"] >= scores["avg_sensitivity"]).all()


def test_a_zero_map_has_no_sensitivity() -> None:
    """Nothing to divide by: no value, not a perfect 0. A constant map is still perfect: it never moves."""
    for value, expected in ((0.0, None), (0.4, 0.0)):
        explainer = Part(
            "flat", {}, part("sobel").traits, lambda run, _, v=value: torch.full_like(run.images[:, :1], v)
        )
        scores = run_block(a_pass(Pooled(), noise(2)), explainer, {name: {} for name in SENSITIVITIES})
        for name in SENSITIVITIES:
            assert [None if v.isnan() else v.item() for v in scores[name]] == [expected] * 2


@pytest.mark.parametrize("name", SENSITIVITIES)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_does_not_matter(name: str, scale: float) -> None:
    """Both maps times any number change as much in relation."""
    metric = metrics[name].make()
    values = [torch.randn((3, 4, 4), generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    expected = metric.compare(*(Maps.of(v, 2) for v in values))
    torch.testing.assert_close(metric.compare(*(Maps.of(v * scale, 2) for v in values)), expected)


def test_the_normalised_form_ignores_the_length() -> None:
    """A map that only grows has changed by its growth, but its pattern by nothing; a flipped sign is the largest, 2."""
    values = torch.randn((3, 4, 4), generator=torch.Generator().manual_seed(0))
    maps, larger, flipped = (Maps.of(v, 2) for v in (values, values * 3, -values))
    plain, unit = (metrics[name].make().compare for name in ("avg_sensitivity", "avg_sensitivity_normalised"))
    torch.testing.assert_close(plain(maps, larger), torch.full((3,), 2.0))
    torch.testing.assert_close(unit(maps, larger), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(unit(maps, flipped), torch.full((3,), 2.0))


@pytest.mark.parametrize("params", [{"radius": 0}, {"radius": 1.1}, {"draws": 0}])
def test_noise_that_makes_no_sense_is_refused(params: dict) -> None:
    """The radius lies in (0,1], and there is at least one draw."""
    for name in SENSITIVITIES:
        with pytest.raises(BadParameter):
            metrics[name].make(params)
