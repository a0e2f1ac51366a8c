"""Gradient explainers on models whose gradients are known by hand."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, NoiseTunnel, Saliency
from torch import Tensor, nn

from mavis.core.attribution_maps import pool_channels
from mavis.core.errors import BadParameter
from mavis.core.perturbation.variants import Randomised
from mavis.core.registry import explainers

from ..toys import Linear, Pooled, explain, make_pass, random_images, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))


NOISY = ("smoothgrad", "smoothgrad_squared", "vargrad")


class Quadratic(nn.Module):
    """Logit 0 is Σ c·x² with its own c per value; logit 1 is zero."""

    c = WEIGHT[0]

    def forward(self, images: Tensor) -> Tensor:
        answer = (self.c * images**2).sum((1, 2, 3))
        return torch.stack([answer, torch.zeros_like(answer)], dim=1)


class Cubic(nn.Module):
    """Logit 0 is Σ c·x³ with its own c per value; logit 1 is zero."""

    c = WEIGHT[0]

    def forward(self, images: Tensor) -> Tensor:
        answer = (self.c * images**3).sum((1, 2, 3))
        return torch.stack([answer, torch.zeros_like(answer)], dim=1)


# Linear models.


@pytest.mark.parametrize("target", [0, 1])
def test_a_linear_model_s_saliency_is_its_weight_row(target: int) -> None:
    """Signed per channel, at every image; as a map, the channels' length."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3))
    raw = explain("saliency", model_pass, target)
    torch.testing.assert_close(raw, WEIGHT[target].expand(3, -1, -1, -1))
    pooling = explainers["saliency"].traits.pooling
    torch.testing.assert_close(
        pool_channels(raw, model_pass.images, pooling), WEIGHT[target].norm(dim=0).expand(3, -1, -1)
    )


def test_a_linear_model_s_contributions_are_weight_times_difference() -> None:
    """Measured from the data set's colour: w·(x − mean)."""
    mean = torch.tensor([0.2, 0.5, 0.7])
    model_pass = make_pass(Linear(WEIGHT), random_images(3), mean=mean)
    expected = WEIGHT[1] * (model_pass.images - mean.view(1, 3, 1, 1))
    torch.testing.assert_close(explain("input_x_gradient", model_pass, 1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("samples", [2, 5, 16])
def test_noise_does_not_move_a_linear_model(samples: int) -> None:
    """Its mean gradient is the weight, the mean square the weight's square, the variance zero to the last bit."""
    model_pass = make_pass(Linear(WEIGHT), random_images(2))
    weight = WEIGHT[1:].expand(2, 3, 8, 8)
    torch.testing.assert_close(explain("smoothgrad", model_pass, 1, samples=samples), weight)
    torch.testing.assert_close(explain("smoothgrad_squared", model_pass, 1, samples=samples), weight**2)
    assert explain("vargrad", model_pass, 1, samples=samples).equal(torch.zeros(2, 3, 8, 8))


# Each by its own definition.


def test_input_x_gradient_from_black_is_captum_s() -> None:
    """With ``zero="black"`` it is Captum's; by default the image is measured from the mean colour."""
    model_pass = make_pass(Pooled(), random_images(3))
    expected = InputXGradient(model_pass.model.net).attribute(
        model_pass.images.clone().requires_grad_(), target=targets(model_pass, 2)
    )
    torch.testing.assert_close(explain("input_x_gradient", model_pass, 2, zero="black"), expected.detach())
    shifted = explain("input_x_gradient", model_pass, 2) + 0.5 * explain("saliency", model_pass, 2)
    torch.testing.assert_close(shifted, expected.detach())


def test_the_gradient_is_captum_s() -> None:
    """Signed saliency is Captum's with ``abs=False``."""
    model_pass = make_pass(Pooled(), random_images(3))
    expected = Saliency(model_pass.model.net).attribute(
        model_pass.images.clone().requires_grad_(), target=targets(model_pass, 1), abs=False
    )
    torch.testing.assert_close(explain("saliency", model_pass, 1), expected)


def test_smoothgrad_of_a_cubic_has_the_variance_on_top() -> None:
    """E[3c(x+εs)²] = 3c(x² + s²): exact in expectation, here within 5 standard errors of the mean over 4000 copies."""
    model_pass = make_pass(Cubic(), random_images(1))
    actual = explain("smoothgrad", model_pass, samples=4000, noise=0.3)[0]
    x, c, s = model_pass.images[0], WEIGHT[0], 0.3
    deviation = (3 * c).abs() * (4 * x**2 * s**2 + 2 * s**4).sqrt() / 4000**0.5
    score = (actual - 3 * c * (x**2 + s**2)) / deviation
    assert score.abs().max() < 5
    assert score.std() == pytest.approx(1, abs=0.25)


def test_a_quadratic_s_variance_is_that_of_its_noise() -> None:
    """The gradient of c·x² at x + e is 2c(x + e): its unbiased variance is 4c² times that of the noise drawn."""
    model_pass = make_pass(Quadratic(), random_images(3))
    drawn = model_pass.draw("smoothgrad", lambda g: torch.randn((6, 3, 8, 8), generator=g) * 0.2).numpy()
    c = WEIGHT[0].numpy()
    at_copies = 2 * c * (model_pass.images[:, None].numpy() + drawn)
    params = {"samples": 6, "noise": 0.2}
    np.testing.assert_allclose(
        explain("vargrad", model_pass, **params), 4 * c**2 * drawn.var(1, ddof=1), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        explain("smoothgrad_squared", model_pass, **params), (at_copies**2).mean(1), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(explain("smoothgrad", model_pass, **params), at_copies.mean(1), rtol=1e-4, atol=1e-6)


def test_the_mean_square_is_the_squared_mean_and_the_spread() -> None:
    """E[g²] = E[g]² + (n − 1)/n times the unbiased variance, on a ReLU network."""
    model_pass = make_pass(Pooled(), random_images(4))
    mean, square, variance = (explain(name, model_pass, samples=5) for name in NOISY)
    torch.testing.assert_close(square, mean**2 + 0.8 * variance)
    assert (variance >= 0).all()
    assert variance.max() > 0


@pytest.mark.parametrize(("name", "kind"), [("smoothgrad_squared", "smoothgrad_sq"), ("vargrad", "vargrad")])
def test_moments_are_captum_s(name: str, kind: str) -> None:
    """NoiseTunnel's, over many copies each; Captum's variance divides by n."""
    model_pass = make_pass(Pooled(), random_images(1))
    torch.manual_seed(0)
    tunnel = NoiseTunnel(Saliency(model_pass.model.net))
    expected = tunnel.attribute(
        model_pass.images.clone(), nt_type=kind, nt_samples=4000, stdevs=0.1, target=0, abs=False
    )
    maps = explain(name, model_pass, samples=4000)
    assert (maps - expected).norm() < 0.1 * expected.norm()


def test_three_methods_share_the_noisy_gradients() -> None:
    """Six copies of three images go through the model once for all three, and each is charged for them."""
    model_pass = make_pass(Pooled(), random_images(3))
    with model_pass.meter.attach(model_pass.model.net):
        for name in NOISY:
            with model_pass.measure_cost() as cost:
                explain(name, model_pass, samples=6)
            assert (cost.forwards, cost.backwards) == (18, 18)
        assert (model_pass.meter.forwards, model_pass.meter.backwards) == (18, 18)
        explain("vargrad", model_pass, samples=6, noise=0.3)
        explain("vargrad", model_pass, 1, samples=6)
    assert model_pass.meter.forwards == 3 * 18


@pytest.mark.parametrize("name", ["smoothgrad_squared", "vargrad"])
def test_squares_are_declared_to_have_no_sign(name: str) -> None:
    """What is never negative says so, and its channels are summed."""
    traits = explainers[name].traits
    assert (traits.signed, traits.pooling) == (False, "sum")
    assert (explain(name, make_pass(Pooled(), random_images(3)), samples=4) >= 0).all()


def test_smoothgrad_is_the_mean_over_gaussian_copies_of_captum_s_gradient() -> None:
    """Captum's NoiseTunnel with many copies, and MAVIS with many others, agree on a ReLU network."""
    model_pass = make_pass(Pooled(), random_images(1))
    torch.manual_seed(0)
    tunnel = NoiseTunnel(Saliency(model_pass.model.net))
    expected = tunnel.attribute(
        model_pass.images.clone(), nt_type="smoothgrad", nt_samples=2000, stdevs=0.1, target=0, abs=False
    )
    maps = explain("smoothgrad", model_pass, samples=2000)
    assert torch.corrcoef(torch.stack([maps.flatten(), expected.flatten()]))[0, 1] > 0.999


# Random numbers.


def test_smoothgrad_keeps_its_noise_under_variants() -> None:
    """The image has the same noise when it is explained again: what changes is what the variant changed."""
    model_pass = make_pass(Pooled(), random_images(2))
    variant = make_pass(Pooled(), random_images(2), variant_name=Randomised(0).key)
    assert explain("smoothgrad", variant).equal(explain("smoothgrad", model_pass))
    assert not explain("smoothgrad", make_pass(Pooled(), random_images(2), seed=1)).equal(
        explain("smoothgrad", model_pass)
    )


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("input_x_gradient", {"zero": "white"}),
        ("smoothgrad", {"samples": 0}),
        ("smoothgrad", {"noise": -0.1}),
        ("smoothgrad_squared", {"samples": 0}),
        ("vargrad", {"samples": 1}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """An unknown zero, no copy, negative noise, the variance of one."""
    with pytest.raises(BadParameter, match=name):
        explainers[name].create(params)
