"""Path methods on models whose integrals are known by hand, and beside the programs that defined them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients
from scipy import ndimage
from torch import Tensor, nn

from mavis.core.errors import BadParameter
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.registry import explainers
from mavis.core.types import ReferenceImages

from ..toys import Linear, Pooled, explain, make_pass, random_images, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))
RULES = ("gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid")
PATHS = ("integrated_gradients", "expected_gradients", "blur_ig", "guided_ig")
MEAN = torch.tensor([0.2, 0.5, 0.7])
BLACK = torch.zeros(3)


class Of(nn.Module):
    """Logit 0 is a function of the images ``(B,3,H,W)``; logit 1 is its negative."""

    def __init__(self, f: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, images: Tensor) -> Tensor:
        answer = self.f(images)
        return torch.stack([answer, -answer], dim=1)


def of_three(f: Callable[[Tensor], Tensor]) -> Of:
    """A function of the three values ``(B,3)`` of one pixel."""
    return Of(lambda images: f(images[:, :, 0, 0]))


def pixel(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def monomial(power: int) -> Of:
    return Of(lambda images: (WEIGHT[0] * images**power).sum((1, 2, 3)))


def coloured(mean: Tensor) -> Tensor:
    return mean.view(1, 3, 1, 1)


def reference(count: int = 4) -> ReferenceImages:
    return ReferenceImages(random_images(count, seed=11), tuple(f"other/{number}" for number in range(count)))


def change(model_pass: Pass, target: int, start: Tensor) -> Tensor:
    """The target logit minus that of the start."""
    with torch.no_grad():
        return (model_pass.model.net(model_pass.images) - model_pass.model.net(start))[:, target]


# Integrated gradients.


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("baseline", ["mean", "blur", "black", "several"])
def test_a_linear_model_s_integral_is_weight_times_difference(rule: str, baseline: str) -> None:
    """Under every rule w·(x − baseline); from several baselines, from their mean."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3), mean=MEAN)
    starts = {"mean": coloured(MEAN), "black": coloured(BLACK), "blur": gaussian_blur(model_pass.images, 0.5)}
    starts["several"] = sum(starts.values()) / 3
    maps = explain("integrated_gradients", model_pass, 1, steps=5, rule=rule, baseline=baseline)
    torch.testing.assert_close(maps, WEIGHT[1] * (model_pass.images - starts[baseline]), rtol=1e-4, atol=1e-5)


def test_a_product_is_shared_half_and_half() -> None:
    """From black x·y gives each factor x·y/2; from (b, c) with ways (d, e) it gives d·c + d·e/2 and e·b + d·e/2."""
    net = of_three(lambda x: x[:, 0] * x[:, 1])
    maps = explain("integrated_gradients", make_pass(net, pixel(0.8, 0.5, 0.3)), baseline="black")
    torch.testing.assert_close(maps, pixel(0.2, 0.2, 0.0))
    maps = explain("integrated_gradients", make_pass(net, pixel(0.8, 0.5, 0.3), mean=MEAN))
    torch.testing.assert_close(maps, pixel(0.6 * 0.5, 0.0, 0.0))
    maps = explain("integrated_gradients", make_pass(net, pixel(0.8, 0.9, 0.3), mean=MEAN))
    torch.testing.assert_close(maps, pixel(0.6 * 0.5 + 0.6 * 0.4 / 2, 0.4 * 0.2 + 0.6 * 0.4 / 2, 0.0))


def test_what_is_saturated_still_matters() -> None:
    """At x = 2 min(1, x) has no gradient; from black half of an even number of midpoints lies below 1: 2 · 1/2 = 1."""
    net = of_three(lambda x: x[:, 0].clamp_max(1.0))
    model_pass = make_pass(net, pixel(2.0, 0.0, 0.0), mean=BLACK)
    assert explain("saliency", model_pass).equal(pixel(0.0, 0.0, 0.0))
    maps = explain("integrated_gradients", model_pass, steps=6, rule="riemann_middle")
    torch.testing.assert_close(maps, pixel(1.0, 0.0, 0.0))


def test_two_paths_add_up() -> None:
    """In x + x·y, x counts once alone and once through y: x + x·y/2 and x·y/2."""
    net = of_three(lambda x: x[:, 0] + x[:, 0] * x[:, 1])
    maps = explain("integrated_gradients", make_pass(net, pixel(0.8, 0.5, 0.3), mean=BLACK))
    torch.testing.assert_close(maps, pixel(0.8 + 0.2, 0.2, 0.0))


@pytest.mark.parametrize(("power", "rule"), [(2, "riemann_middle"), (2, "riemann_trapezoid"), (3, "gausslegendre")])
def test_rules_are_exact_to_their_order(power: int, rule: str) -> None:
    """Two points of a rule integrate a gradient of the rule's order exactly: c·(xⁿ − meanⁿ)."""
    model_pass = make_pass(monomial(power), random_images(2), mean=MEAN)
    expected = WEIGHT[0] * (model_pass.images**power - coloured(MEAN) ** power)
    maps = explain("integrated_gradients", model_pass, steps=2, rule=rule)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rule", "sign"), [("riemann_left", -1), ("riemann_right", 1)])
def test_one_sided_rules_err_by_half_a_step(rule: str, sign: int) -> None:
    """Of c·x² with n steps they miss c·d²/n, d the way: the left end too low, the right end too high."""
    model_pass = make_pass(monomial(2), random_images(2), mean=MEAN)
    expected = WEIGHT[0] * (model_pass.images**2 - coloured(MEAN) ** 2)
    error = sign * WEIGHT[0] * (model_pass.images - coloured(MEAN)) ** 2 / 5
    maps = explain("integrated_gradients", model_pass, steps=5, rule=rule)
    torch.testing.assert_close(maps, expected + error, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [2, 5, 16])
def test_integrated_gradients_are_gauss_legendre_sums(steps: int) -> None:
    """On a ReLU network, numpy's nodes and weights with plain autograd give the same sum."""
    model_pass = make_pass(Pooled(), random_images(2))
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(model_pass.images)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = (0.5 + float(node) * (model_pass.images - 0.5)).requires_grad_()
        model_pass.model.net(point)[:, 1].sum().backward()
        total += float(weight) * point.grad
    expected = total * (model_pass.images - 0.5)
    torch.testing.assert_close(
        explain("integrated_gradients", model_pass, 1, steps=steps), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", [5, 64])
def test_every_rule_is_captum_s(rule: str, chunk: int) -> None:
    """On a ReLU network; Captum's trapezoid is (steps − 1)/steps of it."""
    model_pass = make_pass(Pooled(), random_images(3), mean=MEAN, chunk=chunk)
    start = coloured(MEAN).expand_as(model_pass.images)
    captum = IntegratedGradients(model_pass.model.net)
    expected = captum.attribute(model_pass.images, start, target=targets(model_pass, 2), n_steps=7, method=rule).float()
    scale = 7 / 6 if rule == "riemann_trapezoid" else 1
    maps = explain("integrated_gradients", model_pass, 2, steps=7, rule=rule)
    torch.testing.assert_close(maps, scale * expected, rtol=1e-5, atol=1e-5)


def test_integrated_gradients_are_complete() -> None:
    """On a ReLU network they add up to the change from the mean colour: half within 5 %, all with 128 steps."""
    model_pass = make_pass(Pooled(), random_images(6))
    for target in range(3):
        due = change(model_pass, target, torch.full((1, 3, 8, 8), 0.5))
        errors = {
            steps: (explain("integrated_gradients", model_pass, target, steps=steps).sum((1, 2, 3)) - due).abs()
            / due.abs()
            for steps in (16, 128)
        }
        assert errors[16].median() <= 0.05
        assert errors[128].max() <= 0.05


# Expected gradients.


def test_expected_gradients_of_a_linear_model_are_exact() -> None:
    """Wherever the points lie: w times the image minus the mean of the reference images that were drawn."""
    references = reference()
    model_pass = make_pass(Linear(WEIGHT), random_images(3), reference=references)
    drawn = model_pass.draw("expected_gradients", lambda g: torch.rand((6, 2), generator=g))
    baselines = references.images[(drawn[..., 0] * 4).long()].mean(1)
    maps = explain("expected_gradients", model_pass, 1, samples=6)
    torch.testing.assert_close(maps, WEIGHT[1] * (model_pass.images - baselines), rtol=1e-4, atol=1e-5)
    assert len((drawn[..., 0] * 4).long().unique()) == 4


def test_expected_gradients_of_a_cubic_are_the_mean_integral() -> None:
    """c·(x³ − mean of r³) in expectation, over references and points: within 5 standard errors over 4000 samples."""
    references = reference()
    model_pass = make_pass(monomial(3), random_images(1), reference=references, chunk=500)
    actual = explain("expected_gradients", model_pass, samples=4000)[0]
    x, c, r = model_pass.images[0], WEIGHT[0], references.images
    u = torch.linspace(0, 1, 1001)[:, None, None, None, None]
    integrands = 3 * c * (r + u * (x - r)) ** 2 * (x - r)
    score = (actual - c * (x**3 - (r**3).mean(0))) / (integrands.flatten(0, 1).std(0) / 4000**0.5)
    assert score.abs().max() < 5


def test_noise_before_the_line_adds_its_variance() -> None:
    """GradientSHAP of c·x² with noise s: c·(x² + s² − r²) in expectation; one reference, 4000 samples."""
    references = reference(1)
    model_pass = make_pass(monomial(2), random_images(1), reference=references, chunk=500)
    actual = explain("expected_gradients", model_pass, samples=4000, noise=0.5)[0]
    x, c, r = model_pass.images[0], WEIGHT[0], references.images[0]
    score = (actual - c * (x**2 + 0.25 - r**2)) / (c.abs() * 4 / 4000**0.5)
    assert score.abs().max() < 5
    assert (actual - c * (x**2 - r**2)).norm() > 0.2 * c.norm()


@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_expected_gradients_are_captum_s_gradient_shap(spread: float) -> None:
    """The same expectation on a ReLU network, each over 4000 samples, with and without noise."""
    model_pass = make_pass(Pooled(), random_images(1), reference=reference(), chunk=500)
    torch.manual_seed(0)
    np.random.seed(0)
    peer = GradientShap(model_pass.model.net)
    expected = peer.attribute(model_pass.images, reference().images, n_samples=4000, stdevs=spread, target=1)
    maps = explain("expected_gradients", model_pass, 1, samples=4000, noise=spread)
    assert (maps - expected).norm() < 0.05 * expected.norm()


def test_without_reference_lines_begin_at_the_mean_colour() -> None:
    """As if the mean colour were the only reference image."""
    colour = ReferenceImages(coloured(MEAN).expand(1, 3, 8, 8), ("colour",))
    maps = explain("expected_gradients", make_pass(Pooled(), random_images(2), mean=MEAN), samples=5)
    torch.testing.assert_close(
        maps, explain("expected_gradients", make_pass(Pooled(), random_images(2), reference=colour), samples=5)
    )


@pytest.mark.parametrize("chunk", [1, 4, 7])
def test_noise_is_the_same_in_any_chunk(chunk: int) -> None:
    """An image whose samples are spread over several model calls has the same map."""
    expected = explain(
        "expected_gradients", make_pass(Pooled(), random_images(3), reference=reference()), samples=5, noise=0.2
    )
    model_pass = make_pass(Pooled(), random_images(3), reference=reference(), chunk=chunk)
    torch.testing.assert_close(explain("expected_gradients", model_pass, samples=5, noise=0.2), expected)


# Blur.


@pytest.mark.parametrize("shape", [(16, 16), (10, 14), (15, 9)])
@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.5])
def test_a_linear_model_gets_back_what_the_blur_took(shape: tuple[int, int], sigma: float) -> None:
    """w times the image minus its strongest blur, which is scipy's with a mirrored border, however few the steps."""
    images = torch.rand((2, 3, *shape), generator=torch.Generator().manual_seed(1))
    weight = torch.randn((2, 3, *shape), generator=torch.Generator().manual_seed(2))
    pixels = sigma * shape[0]
    reach = min(int(3 * pixels + 0.5), min(shape) - 1)
    blurred = ndimage.gaussian_filter(images.numpy(), pixels, mode="mirror", radius=reach, axes=(2, 3))
    maps = explain("blur_ig", make_pass(Linear(weight), images), 1, steps=3, sigma=sigma)
    torch.testing.assert_close(maps, weight[1] * (images - torch.from_numpy(blurred)), rtol=1e-4, atol=1e-5)


def test_blur_ig_is_a_sum_over_less_and_less_blur() -> None:
    """On a ReLU network: gradients in the middle of each step, times what the step brings back."""
    model_pass = make_pass(Pooled(), random_images(2))

    def blurred(pixels: float) -> Tensor:
        return gaussian_blur(model_pass.images, pixels) if pixels else model_pass.images

    total = torch.zeros_like(model_pass.images)
    for low, middle, high in ((0.0, 0.4, 0.8), (0.8, 1.2, 1.6)):
        gradient = make_pass(model_pass.model, blurred(middle)).input_gradient(targets(model_pass, 1))
        total += gradient * (blurred(low) - blurred(high))
    torch.testing.assert_close(explain("blur_ig", model_pass, 1, steps=2, sigma=0.2), total, rtol=1e-4, atol=1e-5)


def test_blur_ig_adds_up_to_the_change_from_the_blurred_image() -> None:
    """On a ReLU network with many steps, within 5 %."""
    model_pass = make_pass(Pooled(), random_images(6))
    due = change(model_pass, 1, gaussian_blur(model_pass.images, 2.0))
    actual = explain("blur_ig", model_pass, 1, steps=128, sigma=0.25).sum((1, 2, 3))
    assert ((actual - due).abs() / due.abs()).max() < 0.05


# The adaptive path.


def test_guided_ig_of_a_linear_model_is_integrated_gradients() -> None:
    """On whatever path, a constant gradient gives w·(x − mean)."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3), mean=MEAN)
    expected = WEIGHT[1] * (model_pass.images - coloured(MEAN))
    for params in ({}, {"max_dist": 1.0}, {"fraction": 0.1, "steps": 7}):
        torch.testing.assert_close(explain("guided_ig", model_pass, 1, **params), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("params", [{"max_dist": 0.0}, {"fraction": 1.0}])
def test_without_choice_the_path_is_the_straight_line(params: dict) -> None:
    """If no value may leave the line, or all move together, it is integrated gradients by the trapezoid rule."""
    model_pass = make_pass(Pooled(), random_images(3), mean=MEAN)
    expected = explain("integrated_gradients", model_pass, 1, steps=9, rule="riemann_trapezoid")
    torch.testing.assert_close(explain("guided_ig", model_pass, 1, steps=9, **params), expected, rtol=1e-4, atol=1e-5)


def authors_path(x: np.ndarray, start: np.ndarray, gradient: Callable, steps: int, fraction: float, far: float):
    """The path of the authors' program, a loop over one image: the points and the gradients there."""
    position, points, gradients = start.copy(), [], []
    for step in range(1, steps + 1):
        points.append(position.copy())
        gradients.append(gradient(position))
        size = np.abs(gradients[-1]).astype(float)
        min_share, max_share = max(step / steps - far, 0.0), min(step / steps + far, 1.0)
        goal = np.abs(x - start).sum() * (1 - step / steps)
        behind = (position - start) / (x - start) < min_share
        position[behind] = (start + (x - start) * min_share)[behind]
        furthest = start + (x - start) * max_share
        while np.abs(x - position).sum() - goal > 1e-9:
            size[np.isclose(position, furthest, rtol=0, atol=1e-12)] = np.inf
            selected = (size <= np.quantile(size, fraction, method="lower")) & (size < np.inf)
            available = (np.abs(furthest - position) * selected).sum()
            step_share = min(1.0, (np.abs(x - position).sum() - goal) / available)
            position[selected] = (position + step_share * (furthest - position))[selected]
    return [*points, position], [*gradients, gradient(position)]


@pytest.mark.parametrize(("fraction", "far"), [(0.25, 0.1), (0.1, 1.0), (0.5, 0.3)])
def test_guided_ig_follows_the_authors_path(fraction: float, far: float) -> None:
    """Each image of a batch goes the way that the authors' loop goes with it alone."""
    model_pass = make_pass(Pooled(), random_images(3), mean=MEAN)
    maps = explain("guided_ig", model_pass, 1, steps=8, fraction=fraction, max_dist=far)
    for row, image in enumerate(model_pass.images.double().numpy()):
        image_pass = make_pass(model_pass.model, model_pass.images[:1])

        def gradient(position: np.ndarray, image_pass: Pass = image_pass) -> np.ndarray:
            return image_pass.gradient(torch.from_numpy(position).float()[None], torch.tensor([1]))[0].double().numpy()

        start = np.broadcast_to(MEAN.double().numpy()[:, None, None], image.shape).copy()
        points, gradients = authors_path(image, start, gradient, 7, fraction, far)
        expected = sum(
            (after - before) * (first + second) / 2
            for before, after, first, second in zip(points, points[1:], gradients, gradients[1:], strict=False)
        )
        np.testing.assert_allclose(points[-1], image, atol=1e-6)
        np.testing.assert_allclose(maps[row], expected, rtol=1e-3, atol=1e-5)


def test_small_gradients_move_first() -> None:
    """In x·(1 + 9y) from black, x has gradient 1 and y none: y goes first, and free of any bound x then counts 10x.

    With three points y has gone its whole way of 0.5 in the middle. Along y the gradient is 0 at both ends, so y gets
    0; along x it is 1 and 5.5 before, 5.5 after, as the trapezoid rule has it for x: 0.5 · (5.5 + 5.5)/2.
    """
    net = of_three(lambda x: x[:, 0] * (1 + 9 * x[:, 1]))
    model_pass = make_pass(net, pixel(0.5, 0.5, 0.0), mean=BLACK)
    maps = explain("guided_ig", model_pass, steps=3, fraction=0.1, max_dist=1.0)
    assert maps[0, 1].item() == pytest.approx(0.5 * (0 + 0) / 2)
    assert maps[0, 0].item() == pytest.approx(0.5 * (5.5 + 5.5) / 2)


def test_guided_ig_is_complete() -> None:
    """On a ReLU network it adds up to the change from the mean colour: half within 5 %."""
    model_pass = make_pass(Pooled(), random_images(8))
    due = change(model_pass, 1, torch.full((1, 3, 8, 8), 0.5))
    errors = (explain("guided_ig", model_pass, 1).sum((1, 2, 3)) - due).abs() / due.abs()
    assert errors.median() <= 0.05


# All of them.


@pytest.mark.parametrize("name", ["integrated_gradients", "guided_ig"])
def test_an_image_without_difference_has_a_zero_map(name: str) -> None:
    """The mean colour itself differs from the mean colour nowhere; its neighbours in the batch keep their maps."""
    plain = coloured(MEAN).expand(1, 3, 8, 8)
    model_pass = make_pass(Pooled(), torch.cat([random_images(1), plain]), mean=MEAN)
    maps = explain(name, model_pass)
    assert maps[1].equal(torch.zeros(3, 8, 8))
    torch.testing.assert_close(maps[:1], explain(name, make_pass(Pooled(), random_images(1), mean=MEAN)))


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("chunk", [8, 16])
def test_no_model_call_is_larger_than_the_chunk(name: str, chunk: int) -> None:
    """Memory grows with the chunk, not with steps times images."""
    sizes: list[int] = []
    model_pass = make_pass(Pooled(), random_images(9), chunk=chunk, reference=reference())
    model_pass.model.net.conv.register_forward_hook(lambda _m, images, _o: sizes.append(len(images[0])))
    explain(name, model_pass)
    assert max(sizes) == chunk


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_chunk_does_not_change_the_map(name: str, chunk: int) -> None:
    """Whether the model sees the points one by one or all at once."""
    expected = explain(name, make_pass(Pooled(), random_images(3), reference=reference()))
    maps = explain(name, make_pass(Pooled(), random_images(3), chunk=chunk, reference=reference()))
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "params", "samples"),
    [
        ("integrated_gradients", {"steps": 6}, 6),
        ("integrated_gradients", {"steps": 6, "baseline": "several"}, 18),
        ("expected_gradients", {"samples": 5}, 5),
        ("blur_ig", {"steps": 4}, 4),
        ("guided_ig", {"steps": 4}, 4),
    ],
)
def test_paths_cost_their_points(name: str, params: dict, samples: int) -> None:
    """One forward and one backward for each point of each image."""
    model_pass = make_pass(Pooled(), random_images(5), chunk=4, reference=reference())
    with model_pass.meter.attach(model_pass.model.net):
        explain(name, model_pass, **params)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (5 * samples, 5 * samples)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("integrated_gradients", {"steps": 1}),
        ("integrated_gradients", {"baseline": "white"}),
        ("integrated_gradients", {"rule": "simpson"}),
        ("expected_gradients", {"samples": 0}),
        ("expected_gradients", {"noise": -1}),
        ("blur_ig", {"steps": 1}),
        ("blur_ig", {"sigma": 0}),
        ("blur_ig", {"sigma": 0.6}),
        ("guided_ig", {"steps": 1}),
        ("guided_ig", {"fraction": 0}),
        ("guided_ig", {"max_dist": 1.5}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(name: str, params: dict) -> None:
    """The message names the explainer and the parameter."""
    with pytest.raises(BadParameter, match=f"{name}: .*{next(iter(params))}"):
        explainers[name].create(params)
