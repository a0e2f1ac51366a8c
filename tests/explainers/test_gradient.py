"""Gradient explainers on models whose gradients are known by hand."""

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, NoiseTunnel, Saliency
from torch import Tensor, nn

from mavis.errors import BadParameter
from mavis.maps import pooled
from mavis.registry import explainers
from mavis.variants import Randomised

from ..toys import Linear, Pooled, a_pass, explain, noise, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))


class Cubic(nn.Module):
    """Logit 0 is Σ c·x³ with its own c per value; logit 1 is zero."""

    c = WEIGHT[0]

    def forward(self, images: Tensor) -> Tensor:
        answer = (self.c * images**3).sum((1, 2, 3))
        return torch.stack([answer, torch.zeros_like(answer)], dim=1)


class Layers(nn.Module):
    """Three values through two hidden layers with ReLU modules to one logit (and its negative)."""

    def __init__(self, first: list, second: list, head: list) -> None:
        super().__init__()
        self.first, self.second, self.head = (torch.tensor(w, dtype=torch.float32) for w in (first, second, head))
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu1(images.flatten(1) @ self.first.T)
        answer = self.relu2(hidden @ self.second.T) @ self.head
        return torch.stack([answer, -answer], dim=1)


# Linear models.


@pytest.mark.parametrize("target", [0, 1])
def test_a_linear_model_s_saliency_is_its_weight_row(target: int) -> None:
    """Signed per channel, at every image; as a map, the channels' length."""
    run = a_pass(Linear(WEIGHT), noise(3))
    raw = explain("saliency", run, target)
    torch.testing.assert_close(raw, WEIGHT[target].expand(3, -1, -1, -1))
    pooling = explainers["saliency"].traits.pooling
    torch.testing.assert_close(pooled(raw, run.images, pooling), WEIGHT[target].norm(dim=0).expand(3, -1, -1))


@pytest.mark.parametrize("name", ["input_x_gradient", "integrated_gradients"])
def test_a_linear_model_s_contributions_are_weight_times_difference(name: str) -> None:
    """Both measure the image from the data set's colour: w·(x − mean)."""
    mean = torch.tensor([0.2, 0.5, 0.7])
    run = a_pass(Linear(WEIGHT), noise(3), mean=mean)
    expected = WEIGHT[1] * (run.images - mean.view(1, 3, 1, 1))
    torch.testing.assert_close(explain(name, run, 1), expected, rtol=1e-4, atol=1e-5)


def test_smoothgrad_of_a_linear_model_is_the_gradient() -> None:
    """Noise does not move it."""
    torch.testing.assert_close(
        explain("smoothgrad", a_pass(Linear(WEIGHT), noise(2)), 1), WEIGHT[1:].expand(2, 3, 8, 8)
    )


def test_guided_backprop_without_relu_is_the_gradient() -> None:
    """A network without ReLU has nothing to guide."""
    run = a_pass(Linear(WEIGHT), noise(2))
    torch.testing.assert_close(explain("guided_backprop", run), explain("saliency", run))


# Each by its own definition.


def test_input_x_gradient_from_black_is_captum_s() -> None:
    """With ``zero="black"`` it is Captum's; by default the image is measured from the mean colour."""
    run = a_pass(Pooled(), noise(3))
    expected = InputXGradient(run.model.net).attribute(run.images.clone().requires_grad_(), target=targets(run, 2))
    torch.testing.assert_close(explain("input_x_gradient", run, 2, zero="black"), expected.detach())
    shifted = explain("input_x_gradient", run, 2) + 0.5 * explain("saliency", run, 2)
    torch.testing.assert_close(shifted, expected.detach())


def test_the_gradient_is_captum_s() -> None:
    """Signed saliency is Captum's with ``abs=False``."""
    run = a_pass(Pooled(), noise(3))
    expected = Saliency(run.model.net).attribute(run.images.clone().requires_grad_(), target=targets(run, 1), abs=False)
    torch.testing.assert_close(explain("saliency", run, 1), expected)


@pytest.mark.parametrize("steps", [2, 5, 16])
def test_integrated_gradients_are_gauss_legendre_sums(steps: int) -> None:
    """On a ReLU network, numpy's nodes and weights with plain autograd give the same sum."""
    run = a_pass(Pooled(), noise(2))
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(run.images)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (0.5 + float(node) * (run.images - 0.5)).requires_grad_()
        run.model.net(point)[:, 1].sum().backward()
        total += float(weight) * point.grad
    expected = total * (run.images - 0.5)
    torch.testing.assert_close(explain("integrated_gradients", run, 1, steps=steps), expected, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_of_a_cubic_are_exact() -> None:
    """Two nodes integrate a quadratic gradient exactly: c·(x³ − mean³)."""
    run = a_pass(Cubic(), noise(2))
    expected = WEIGHT[0] * (run.images**3 - 0.5**3)
    torch.testing.assert_close(explain("integrated_gradients", run, steps=2), expected, rtol=1e-4, atol=1e-5)


def test_integrated_gradients_are_complete() -> None:
    """On a ReLU network they add up to the change from the mean colour: half within 5 %, all with 128 steps."""
    run = a_pass(Pooled(), noise(6))
    for target in range(3):
        change = (run.model.net(run.images) - run.model.net(torch.full((1, 3, 8, 8), 0.5)))[:, target].detach()
        errors = {
            steps: (explain("integrated_gradients", run, target, steps=steps).sum((1, 2, 3)) - change).abs()
            / change.abs()
            for steps in (16, 128)
        }
        assert errors[16].median() <= 0.05
        assert errors[128].max() <= 0.05


def test_smoothgrad_of_a_cubic_has_the_variance_on_top() -> None:
    """E[3c(x+εs)²] = 3c(x² + s²): exact in expectation, here within 5 standard errors of the mean over 4000 copies."""
    run = a_pass(Cubic(), noise(1))
    found = explain("smoothgrad", run, samples=4000, noise=0.3)[0]
    x, c, s = run.images[0], WEIGHT[0], 0.3
    deviation = (3 * c).abs() * (4 * x**2 * s**2 + 2 * s**4).sqrt() / 4000**0.5
    score = (found - 3 * c * (x**2 + s**2)) / deviation
    assert score.abs().max() < 5
    assert score.std() == pytest.approx(1, abs=0.25)


def test_smoothgrad_is_the_mean_over_gaussian_copies_of_captum_s_gradient() -> None:
    """Captum's NoiseTunnel with many copies, and MAVIS with many others, agree on a ReLU network."""
    run = a_pass(Pooled(), noise(1))
    torch.manual_seed(0)
    tunnel = NoiseTunnel(Saliency(run.model.net))
    expected = tunnel.attribute(
        run.images.clone(), nt_type="smoothgrad", nt_samples=2000, stdevs=0.1, target=0, abs=False
    )
    found = explain("smoothgrad", run, samples=2000)
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.999


def test_guided_backprop_by_hand_one_unit_at_a_time() -> None:
    """Only units that fire and are wanted pass.

    x = (1,2,3); rows (1,0,0), (0,−1,0), (0,0,1), (1,1,0) fire with 1, off, 3, 3; the head (2,5,−4,1) wants the first
    and the last: 2·(1,0,0) + 1·(1,1,0) = (3,1,0). The gradient would be (3,1,−4).
    """
    net = Layers([[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, 1, 0]], np.eye(4).tolist(), [2, 5, -4, 1])
    run = a_pass(net, torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1))
    assert explain("guided_backprop", run).flatten().tolist() == [3, 1, 0]
    assert explain("saliency", run).flatten().tolist() == [3, 1, -4]


def test_guided_backprop_cuts_at_every_relu() -> None:
    """A signal that turns negative on its way is cut there.

    x = (1,1,1), hidden layer x itself. The second layer's rows (1,−1,1) and (0,2,0) fire with 1 and 2, the head is
    (1,1): the signal at the first ReLUs is (1,−1+2,1) = (1,1,1). With head (3,1) it is (3,−3+2,3), cut to (3,0,3).
    """
    x = torch.ones(1, 3, 1, 1)
    eye = np.eye(3).tolist()
    rows = [[1, -1, 1], [0, 2, 0]]
    assert explain("guided_backprop", a_pass(Layers(eye, rows, [1, 1]), x)).flatten().tolist() == [1, 1, 1]
    assert explain("guided_backprop", a_pass(Layers(eye, rows, [3, 1]), x)).flatten().tolist() == [3, 0, 3]
    assert explain("saliency", a_pass(Layers(eye, rows, [3, 1]), x)).flatten().tolist() == [3, -1, 3]


def test_guided_backprop_is_never_less_than_nothing_behind_a_positive_layer() -> None:
    """With positive input weights everything that arrives is positive, and the plain gradient is untouched after."""
    torch.manual_seed(0)
    first, second, head = torch.rand(6, 3), torch.randn(5, 6), torch.randn(5)
    run = a_pass(Layers(first.tolist(), second.tolist(), head.tolist()), torch.rand(4, 3, 1, 1))
    before = explain("saliency", run).clone()
    assert (explain("guided_backprop", run) >= 0).all()
    again = a_pass(run.model, run.images)
    assert explain("saliency", again).equal(before)


# Random numbers.


def test_smoothgrad_keeps_its_noise_under_variants() -> None:
    """The image has the same noise when it is explained again: what changes is what the variant changed."""
    run = a_pass(Pooled(), noise(2))
    variant = a_pass(Pooled(), noise(2), variant=Randomised(0).key)
    assert explain("smoothgrad", variant).equal(explain("smoothgrad", run))
    assert not explain("smoothgrad", a_pass(Pooled(), noise(2), seed=1)).equal(explain("smoothgrad", run))


@pytest.mark.parametrize(
    ("name", "params"),
    [("input_x_gradient", {"zero": "white"}), ("integrated_gradients", {"steps": 1}), ("smoothgrad", {"samples": 0})],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """An unknown zero, one step, no copy."""
    with pytest.raises(BadParameter, match=name):
        explainers[name].make(params)
