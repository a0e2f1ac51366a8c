"""Controls know nothing of the model, or nothing of the image."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from mavis.core.attribution_maps import Maps, pool_channels
from mavis.core.errors import BadParameter, DataError, UnknownName
from mavis.core.perturbation.variants import Noise, Randomised
from mavis.core.registry import explainers
from mavis.core.types import Batch, ReferenceImages

from ..toys import Linear, Pooled, explain, make_model, make_pass, measure_cost, pooled_maps, random_images, targets

CONTROLS = ("random", "blurred_random", "sobel", "centre_gaussian", "input_dev", "constant")


class Silent(nn.Module):
    """Raises when it is asked."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("a control asked the model")


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_never_ask_the_model(name: str) -> None:
    """They have a map ``(B,1,H,W)`` and cost no sample, whatever the target."""
    run = make_pass(Silent(), random_images(3, 16))
    assert explain(name, run, 0).shape == (3, 1, 16, 16)
    assert explain(name, run, 0).equal(explain(name, run, 1))
    cost = measure_cost(run, name)
    assert (cost.forwards, cost.backwards) == (0, 0)


# Edges.


def test_a_step_edge_has_strength_four_times_its_height() -> None:
    """Sobel's kernel has weights 1, 2, 1: a step of 0.5 scores 2 on the two columns beside it, 0 elsewhere."""
    image = torch.zeros(1, 3, 8, 8)
    image[..., 4:] = 0.5
    expected = torch.zeros(8, 8)
    expected[:, 3:5] = 2.0
    for picture, edge in ((image, expected), (image.transpose(2, 3), expected.T)):
        torch.testing.assert_close(explain("sobel", make_pass(Pooled(), picture))[0, 0], edge)


def test_edges_are_those_of_scipy() -> None:
    """On the mean of the channels, with the border repeated, scipy's Sobel in both directions."""
    run = make_pass(Pooled(), random_images(2, 11))
    found = explain("sobel", run)[:, 0]
    for values, grey in zip(found, run.images.mean(1).numpy(), strict=True):
        expected = np.hypot(*(ndimage.sobel(grey, axis=axis, mode="nearest") for axis in (0, 1)))
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5)


# The centre.


@pytest.mark.parametrize("shape", [(9, 9), (8, 8), (9, 13)])
def test_the_centre_is_a_gaussian_with_its_peak_in_the_middle(shape: tuple[int, int]) -> None:
    """Highest in the middle, the same for every image, mirrored, and falling by the Gaussian's law."""
    run = make_pass(Pooled(), torch.zeros(2, 3, *shape))
    values = explain("centre_gaussian", run)
    assert values[0].equal(values[1])
    top = (values[0, 0] == values.max()).nonzero().float().mean(0)
    assert top.tolist() == [(shape[0] - 1) / 2, (shape[1] - 1) / 2]
    torch.testing.assert_close(values, values.flip(2, 3))
    height = torch.linspace(-0.5, 0.5, shape[0])
    torch.testing.assert_close(
        (values[0, 0, 0] / values[0, 0, 1]).log(), ((height[1] ** 2 - 0.25) / 0.125).expand(shape[1])
    )


@pytest.mark.parametrize("size", [32, 64, 224])
def test_pixels_as_far_from_the_centre_are_tied(size: int) -> None:
    """There are as many values as distances, which whole numbers count: rounding orders no pixels."""
    values = explain("centre_gaussian", make_pass(Pooled(), torch.zeros(1, 3, size, size)))
    steps = 2 * torch.arange(size) - (size - 1)
    distances = steps[:, None] ** 2 + steps**2
    assert len(values.unique()) == len(distances.unique())


# Noise.


def test_random_maps_are_independent_normal_numbers() -> None:
    """Mean 0, deviation 1, no correlation between neighbours, images or seeds."""
    run = make_pass(Pooled(), random_images(40, 16))
    values = explain("random", run)
    n = values.numel()
    assert abs(values.mean()) < 4 / n**0.5
    assert values.std() == pytest.approx(1, abs=4 / n**0.5)
    assert abs((values[..., 1:] * values[..., :-1]).mean()) < 4 / n**0.5
    assert abs((values[1:] * values[:-1]).mean()) < 4 / n**0.5
    assert abs((values * explain("random", make_pass(Pooled(), random_images(40, 16), seed=1))).mean()) < 4 / n**0.5


def test_blurred_noise_is_scipy_s_blur_of_the_noise() -> None:
    """An eighth of the height as sigma, border mirrored: neighbours correlate almost wholly."""
    run = make_pass(Pooled(), random_images(20, 32))
    blurred = explain("blurred_random", run)
    expected = ndimage.gaussian_filter(explain("random", run).numpy(), 4, mode="mirror", truncate=3, axes=(2, 3))
    np.testing.assert_allclose(blurred, expected, atol=1e-5)
    pairs = torch.stack([blurred[..., 1:].flatten(), blurred[..., :-1].flatten()])
    assert torch.corrcoef(pairs)[0, 1] > 0.9


@pytest.mark.parametrize("name", ["random", "blurred_random"])
def test_noise_is_fresh_in_every_variant(name: str) -> None:
    """The same again for the same image and variant; other numbers when the image or the model is another."""
    run, again = make_pass(Pooled(), random_images(2)), make_pass(Pooled(), random_images(2))
    variants = [make_pass(Pooled(), random_images(2), variant_name=Noise(0.1, number).key) for number in (0, 1)]
    assert explain(name, run).equal(explain(name, again))
    maps = [explain(name, one) for one in (run, *variants)]
    assert not maps[0].equal(maps[1])
    assert not maps[1].equal(maps[2])


# Deviation from the mean colour, and nothing at all.


def test_input_dev_is_the_distance_from_the_mean_colour() -> None:
    """The absolute differences of the three channels, added up; zero where a pixel has the mean colour."""
    mean = torch.tensor([0.2, 0.5, 0.7])
    images = mean.view(1, 3, 1, 1).repeat(1, 1, 4, 4)
    images[0, :, 1, 2] = torch.tensor([0.5, 0.4, 0.7])
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 1, 2] = 0.3 + 0.1
    torch.testing.assert_close(explain("input_dev", make_pass(Pooled(), images, mean=mean)), expected)


def test_a_constant_map_is_never_valid() -> None:
    """One everywhere, which no metric takes for an explanation."""
    run = make_pass(Pooled(), random_images(2))
    assert explain("constant", run).eq(1).all()
    assert not pooled_maps("constant", run).valid.any()


# The mean of other images' maps.


def references(count: int = 5, size: int = 8) -> ReferenceImages:
    return ReferenceImages(random_images(count, size, seed=9), tuple(f"other/{i}" for i in range(count)))


def maps_of(name: str, net: nn.Module, images: Tensor) -> Tensor:
    """``(R,H,W)``, a method's pooled maps for the predicted classes."""
    run = make_pass(net, images)
    raw = explainers[name].create()(run, run.logits.argmax(1))
    return pool_channels(raw, images, explainers[name].traits.pooling)


@pytest.mark.parametrize("of", ["saliency", "input_x_gradient", "gradcam"])
@pytest.mark.parametrize("chunk", [2, 64])
def test_the_mean_map_is_the_mean_over_the_reference_images(of: str, chunk: int) -> None:
    """Of their maps for the classes that the model predicts for them, the same for every image and class."""
    reference = references()
    run = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3), reference=reference, chunk=chunk)
    expected = maps_of(of, make_model(Pooled(), cam_layer="relu"), reference.images).mean(0)
    for target in (0, 1):
        torch.testing.assert_close(explain("mean_map", run, target, of=of), expected.expand(3, 1, 8, 8))


def test_a_linear_model_s_mean_map_is_its_gradient() -> None:
    """The same for every image: the length of the predicted class's weights over the channels."""
    weight = torch.zeros(2, 3, 8, 8)
    weight[1] = random_images(1)[0]
    run = make_pass(Linear(weight), random_images(2), reference=references())
    torch.testing.assert_close(explain("mean_map", run), weight[1].norm(dim=0).expand(2, 1, 8, 8))


def test_an_image_is_left_out_of_its_own_mean() -> None:
    """One that is among the reference images has the mean of the others; another has the mean of all."""
    reference = references(4)
    batch = Batch(reference.images[[2, 0]], torch.zeros(2, dtype=torch.int64), ("other/2", "elsewhere"))
    run = make_pass(Pooled(), batch, reference=reference)
    maps = maps_of("saliency", Pooled(), reference.images)
    expected = torch.stack([maps[[0, 1, 3]].mean(0), maps.mean(0)])
    torch.testing.assert_close(explain("mean_map", run)[:, 0], expected)
    torch.testing.assert_close(explain("mean_map", run.single_image(0))[:, 0], expected[:1])


def test_without_another_image_there_is_no_map() -> None:
    """The only reference image has a map of zeros, which is not valid."""
    images = random_images(1)
    run = make_pass(Pooled(), images, reference=ReferenceImages(images, ("toy/0",)))
    assert explain("mean_map", run).eq(0).all()
    assert not Maps.from_values(explain("mean_map", run)[:, 0], 2).valid.any()


def test_the_mean_map_is_made_once_per_model_and_seed() -> None:
    """The first batch pays a pass of the reference images, the second nothing; another model pays again."""
    made = explainers["mean_map"].create()
    one, other = make_model(Pooled()), Randomised(0).model(make_model(Pooled()), 0)
    costs, maps = [], []
    for net, seed in ((one, 0), (one, 0), (other, 0), (one, 0), (one, 1)):
        run = make_pass(net, random_images(2, seed=seed), reference=references(), seed=seed)
        with run.meter.attach(net.net):
            maps.append(made(run, targets(run)))
        costs.append((run.meter.forwards, run.meter.backwards))
    assert costs == [(5, 5), (0, 0), (5, 5), (0, 0), (5, 5)]
    assert maps[0].equal(maps[1])
    assert maps[0].equal(maps[3])
    assert not maps[0].allclose(maps[2])


def test_models_of_one_revision_are_told_apart() -> None:
    """Two networks that claim the same content have each its own mean map."""
    made = explainers["mean_map"].create()
    maps = []
    for net in (Pooled(), Randomised(0).model(make_model(Pooled()), 0).net):
        run = make_pass(net, random_images(1), reference=references())
        maps.append(made(run, targets(run)))
    assert not maps[0].allclose(maps[1])


@pytest.mark.parametrize(
    ("of", "error", "says"),
    [
        ("salency", UnknownName, "did you mean 'saliency'"),
        ("mean_map", BadParameter, "'of' must be a method, got the control 'mean_map'"),
        ("oracle", BadParameter, "'of' must be a method, got the oracle 'oracle'"),
    ],
)
def test_the_mean_is_that_of_a_method(of: str, error: type[Exception], says: str) -> None:
    """Controls and oracles have no mean map, nor what does not exist."""
    with pytest.raises(error, match=says):
        explainers["mean_map"].create({"of": of})


def test_without_reference_images_there_is_no_mean_map() -> None:
    """The error says what is missing."""
    with pytest.raises(DataError, match="needs reference images"):
        explain("mean_map", make_pass(Pooled(), random_images(1)))
