"""Removing cells, blur and noise agree with scipy and hand-made images; randomised weights keep nothing trained."""

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn

from mavis.errors import BadParameter
from mavis.nets import race_resnet
from mavis.perturb import Noise, Randomised, Variant, gaussian_blur, randomised, uniform_noise
from mavis.registry import imputers

from .toys import GREY, Linear, Pooled, a_pass, model, noise

# Blur.


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0, 3.3])
@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 1, 24, 17)])
def test_blur_is_that_of_scipy(sigma: float, shape: tuple[int, ...]) -> None:
    """A Gaussian cut at 3σ with the border reflected about its outermost pixel ("mirror" in scipy's words)."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = ndimage.gaussian_filter(images.numpy(), sigma, mode="mirror", truncate=3, axes=(2, 3))
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), expected, atol=1e-5)


def test_blur_keeps_a_constant() -> None:
    """A grey image stays grey, also under a blur wider than the image, and at its border."""
    images = torch.full((2, 3, 8, 8), 0.3)
    for sigma in (0.01, 1.0, 4.0, 40.0):
        torch.testing.assert_close(gaussian_blur(images, sigma), images)


@pytest.mark.parametrize("sigma", [0.0, -0.1, 0.51, float("nan")])
def test_a_blur_that_makes_no_sense_is_refused(sigma: float) -> None:
    """The imputer's sigma is a share of the image's height."""
    with pytest.raises(BadParameter, match=r"share of the image in \(0, 0.5\]"):
        imputers["blur"].make({"sigma": sigma})


# Imputers.


def removal(cells: list[int], n: int = 16) -> Tensor:
    removed = torch.zeros(1, n, dtype=torch.bool)
    removed[0, cells] = True
    return removed


@pytest.mark.parametrize("size", [8, 11])
@pytest.mark.parametrize("name", imputers.names())
def test_all_channels_of_a_pixel_go_together(name: str, size: int) -> None:
    """Inside the removed cells every channel shows the fill; outside every value is bit for bit what it was."""
    run = a_pass(Pooled(), noise(3, size), mean=torch.tensor([0.2, 0.4, 0.6]))
    fill = {
        "mean": torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1).expand(3, 3, size, size),
        "blur": gaussian_blur(run.images, 0.0625 * size),
    }[name]
    before = run.images.clone()
    image = imputers[name].make()(run)(torch.tensor([2]), removal([5, 6]))[0]
    index = np.arange(size) * 4 // size
    inside = torch.tensor((index[:, None] == 1) & np.isin(index, [1, 2])[None, :])
    assert image[:, inside].equal(fill[2][:, inside])
    assert image[:, ~inside].equal(run.images[2][:, ~inside])
    assert run.images.equal(before)


def test_rows_choose_images_in_any_order() -> None:
    """Row r of the result is image rows[r]; an image may come twice, with other cells."""
    run = a_pass(Pooled(), noise(3))
    removed = torch.cat([removal([]), removal(list(range(16))), removal([])])
    images = imputers["mean"].make()(run)(torch.tensor([2, 0, 0]), removed)
    assert images[0].equal(run.images[2])
    assert images[1].equal(torch.full((3, 8, 8), 0.5))
    assert images[2].equal(run.images[0])


def test_the_mean_colour_is_the_data_set_s() -> None:
    """A black image without any cell left is the data set's colour, not its own."""
    run = a_pass(Pooled(), torch.zeros(1, 3, 8, 8), mean=GREY)
    assert (
        imputers["mean"].make()(run)(torch.tensor([0]), removal(list(range(16)))).equal(torch.full((1, 3, 8, 8), 0.5))
    )


# Noise.


def test_noise_is_uniform_clipped_and_belongs_to_the_image() -> None:
    """Within ±radius and [0,1], uniform by its variance, one draw per number, the same alone and in a batch."""
    run = a_pass(Pooled(), torch.full((4, 3, 32, 32), 0.5))
    noisy = Noise(0.1, 0).images(run)
    change = noisy - run.images
    assert change.abs().max() <= 0.1
    assert change.var().sqrt() == pytest.approx(0.1 / 3**0.5, rel=0.02)
    assert change.mean().abs() < 4 * 0.1 / 3**0.5 / change.numel() ** 0.5
    assert not Noise(0.1, 1).images(run).equal(noisy)
    assert Noise(0.1, 0).images(run.alone(2)).equal(noisy[2:3])
    assert Noise(0.1, 0).images(a_pass(Pooled(), torch.zeros(1, 3, 8, 8))).min() == 0
    torch.testing.assert_close(uniform_noise(run, "noise 0", 0.1), change, rtol=0, atol=1e-7)


def test_variants_are_told_apart_by_what_they_do() -> None:
    """Equal variants have equal keys; the plain one changes neither images nor model."""
    keys = [v.key for v in (Noise(0.1, 0), Noise(0.1, 1), Noise(0.2, 0), Randomised(0), Randomised(1), Variant())]
    assert len(set(keys)) == 6
    assert Noise(0.1, 0).key == keys[0]
    run = a_pass(Pooled(), noise(1))
    assert Variant().images(run) is run.images
    assert Variant().model(run.model, 0) is run.model
    assert Noise(0.1, 0).model(run.model, 0) is run.model


# Randomised weights.


class Normed(nn.Module):
    """Two convolutions of one shape with trained-looking batch normalisation, and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3), nn.PReLU(),
        )  # fmt: skip
        self.head = nn.Linear(8, 2)
        stream = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in (*self.parameters(), *(b for b in self.buffers() if b.is_floating_point())):
                tensor.copy_(torch.rand(tensor.shape, generator=stream) + 0.1)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(images).mean((2, 3)))
        return out


def test_every_trained_tensor_is_changed_and_the_original_is_not() -> None:
    """Weights, biases, single slopes, normalisation's scales, shifts and running statistics: none is as trained."""
    net = Normed().eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    other = randomised(net, 3, 16).state_dict()
    for name, tensor in net.state_dict().items():
        assert tensor.equal(before[name])
        if tensor.is_floating_point():
            assert not other[name].equal(tensor), name
    assert not randomised(net, 3, 16).training


def test_two_values_are_exchanged() -> None:
    """The bias of a head with two classes cannot stay as it was by the luck of a permutation."""
    bias = Normed().eval().head.bias.detach()
    for seed in range(8):
        assert randomised(Normed().eval(), seed, 16).head.bias.equal(bias.flip(0))


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1, 1), (1,), ()])
def test_a_single_value_is_drawn_around_zero_by_its_own_size(shape: tuple[int, ...]) -> None:
    """A tensor of one value has no deviation and no other order: it is drawn, finite, with its size as deviation."""
    net = nn.Module()
    net.value = nn.Parameter(torch.full(shape, 3.0))
    values = torch.tensor([randomised(net, seed, 16).value.item() for seed in range(300)])
    assert values.isfinite().all()
    assert values.std() == pytest.approx(3, rel=0.15)
    assert abs(values.mean()) < 4 * 3 / 300**0.5


def test_tensors_keep_their_scale() -> None:
    """Matrices keep mean 0 and the trained deviation; vectors keep their values in another order."""
    net = Linear(torch.randn((64, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 0.3 + 5)
    drawn = randomised(net, 0, 8).weight.detach()
    assert drawn.std() == pytest.approx(0.3, rel=0.03)
    assert abs(drawn.mean()) < 0.02
    normed = Normed().eval()
    vector = randomised(normed, 0, 16).body[1].weight
    assert vector.sort().values.equal(normed.body[1].weight.sort().values)


def test_seeds_and_layers_have_their_own_numbers() -> None:
    """Two seeds differ, one seed repeats, and two layers of equal shape do not get the same numbers."""
    net = Normed().eval()
    first, again, other = (randomised(net, seed, 16) for seed in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        assert tensor.equal(again.state_dict()[name])
    assert not first.body[3].weight.equal(other.body[3].weight)
    assert not (first.body[3].weight / first.body[3].weight.std()).allclose(
        first.body[6].weight / first.body[6].weight.std()
    )


def test_running_statistics_fit_the_new_weights() -> None:
    """After randomisation the normalised channels have mean near 0 and deviation near 1 on images of both kinds."""
    net = randomised(race_resnet(4, 32).eval(), 0, 32)
    caught: list[Tensor] = []
    net.trunk[0].norm.register_forward_hook(lambda _m, _i, out: caught.append(out))
    smooth = nn.functional.interpolate(torch.rand(64, 3, 8, 8), size=32, mode="bilinear")
    with torch.no_grad():
        net(torch.cat([smooth, torch.rand(64, 3, 32, 32)]))
    norm = net.trunk[0].norm
    standard = (caught[0] - norm.bias.view(1, -1, 1, 1)) / norm.weight.view(1, -1, 1, 1)
    assert standard.mean((0, 2, 3)).abs().max() < 0.2
    assert (standard.std((0, 2, 3)) - 1).abs().max() < 0.2


def test_randomised_nets_answer_with_finite_and_varied_logits() -> None:
    """Twenty random nets neither blow up nor die: logits are finite, moderate and differ between images."""
    images = noise(2, 32)
    for seed in range(20):
        torch.manual_seed(seed)
        logits = randomised(race_resnet(4, 32).eval(), seed, 32)(images)
        assert logits.isfinite().all()
        assert logits.abs().max() < 1e3
        assert logits.std(0).max() > 1e-4


def test_a_net_without_normalisation_is_randomised_too() -> None:
    """Where there is nothing to measure, weights alone are drawn; an average pool after it still answers."""
    net = Pooled().eval()
    other = randomised(net, 0, 8)
    assert other(noise(2)).isfinite().all()
    assert not other(noise(2)).allclose(net(noise(2)))


def test_the_variant_is_another_model_of_the_same_kind() -> None:
    """Draws of the weights differ by number and by the run's seed, and say so in the revision."""
    original = model(Normed(), size=16)
    made = [Randomised(number).model(original, seed) for number, seed in ((0, 0), (0, 0), (1, 0), (0, 1))]
    heads = [m.net.head.weight for m in made]
    assert heads[0].equal(heads[1])
    assert all(not a.equal(b) for a, b in itertools.combinations(heads[1:], 2))
    assert made[0].revision != original.revision
    assert made[0].classes == original.classes
