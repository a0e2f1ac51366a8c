"""Randomised nets keep nothing trained; layer by layer, steps follow the forward and hold every parameter once."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mavis.core import seeding
from mavis.core.errors import BadParameter
from mavis.core.perturbation.variants import Randomised
from mavis.core.perturbation.weight_randomisation import WeightLayer, randomise_weights, weight_layers
from mavis.models.loading.architectures import build_race_resnet

from ...toys import Linear, Pooled, make_model, random_images


class Normed(nn.Module):
    """Three convolutions of one shape, two with trained-looking batch normalisation, and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 8, 3), nn.PReLU(),
        )  # fmt: skip
        self.head = nn.Linear(8, 2)
        trained(self, seed)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(images).mean((2, 3)))
        return out


class Tokens(nn.Module):
    """A small transformer whose parameters are registered in another order than they are used in."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 2)
        self.scale = nn.Parameter(torch.empty(12, 1, 1))
        self.place = nn.Parameter(torch.empty(1, 5, 12))
        self.token = nn.Parameter(torch.empty(1, 1, 12))
        self.attend = nn.MultiheadAttention(12, 2, batch_first=True)
        self.norm = nn.LayerNorm((5, 12))
        self.patches = nn.Conv2d(3, 12, 8, 8)
        trained(self)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images) * self.scale
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], dim=1) + self.place
        out: Tensor = self.head(self.norm(self.attend(tokens, tokens, tokens)[0])[:, 0])
        return out


class Tied(nn.Module):
    """Two convolutions with one weight, the second registered first and with its own bias; and an unused head."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.first.weight = self.second.weight
        self.auxiliary = nn.Linear(3, 5)
        self.head = nn.Linear(3, 2)
        trained(self)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(self.second(torch.tanh(self.first(images))).mean((2, 3)))
        return out


def trained(net: nn.Module, seed: int = 0) -> nn.Module:
    """The net in evaluation mode, with positive random numbers in all parameters and running statistics."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*net.parameters(), *(b for b in net.buffers() if b.is_floating_point())):
            tensor.copy_(torch.rand(tensor.shape, generator=stream) * 0.2 + 0.01)
    return net.eval()


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    """Names of the parameters and running statistics that differ."""
    state = after.state_dict()
    same = {name for name, tensor in before.state_dict().items() if tensor.equal(state[name])}
    return {name for name in state if name not in same and not name.endswith("num_batches_tracked")}


def tensors(steps: list[WeightLayer]) -> set[str]:
    """Names of the parameters and running statistics of some steps."""
    statistics = {
        f"{name}.running_{statistic}" for step in steps for name in step.norms for statistic in ("mean", "var")
    }
    return statistics.union(*(step.parameters for step in steps))


# All layers.


def test_every_trained_tensor_is_changed_and_the_original_is_not() -> None:
    """Weights, biases, single slopes, normalisation's scales, shifts and running statistics: none is as trained."""
    net = Normed()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    randomised = randomise_weights(net, 3, 16)
    assert all(tensor.equal(before[name]) for name, tensor in net.state_dict().items())
    assert changed(net, randomised) == {name for name in before if not name.endswith("num_batches_tracked")}
    assert not any(module.training for module in randomised.modules())


def test_a_tensor_s_numbers_depend_on_seed_and_name_alone() -> None:
    """A matrix is normal with the trained deviation, a vector another order, both from the stream of their name."""
    net = Normed()
    randomised = randomise_weights(net, 3, 16)
    for name in ("body.3.weight", "head.weight"):
        tensor = net.get_parameter(name)
        drawn = torch.randn(tensor.shape, generator=seeding.make_generator(3, name)) * tensor.std(correction=0)
        torch.testing.assert_close(randomised.get_parameter(name).detach(), drawn.detach())
    order = torch.randperm(8, generator=seeding.make_generator(3, "body.4.weight"))
    assert randomised.body[4].weight.equal(net.body[4].weight[order])


def test_two_values_are_exchanged() -> None:
    """The bias of a head with two classes cannot stay as it was by the luck of a permutation."""
    bias = Normed().head.bias.detach()
    for seed in range(8):
        assert randomise_weights(Normed(), seed, 16).head.bias.equal(bias.flip(0))


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1, 1), (1,), ()])
def test_a_single_value_is_drawn_around_zero_by_its_own_size(shape: tuple[int, ...]) -> None:
    """A tensor of one value has no deviation and no other order: it is drawn, finite, with its size as deviation."""
    net = nn.Module()
    net.value = nn.Parameter(torch.full(shape, 3.0))
    values = torch.tensor([randomise_weights(net, seed, 16).value.item() for seed in range(300)])
    assert values.isfinite().all()
    assert values.std() == pytest.approx(3, rel=0.15)
    assert abs(values.mean()) < 4 * 3 / 300**0.5


def test_tensors_keep_their_scale() -> None:
    """Matrices keep mean 0 and the trained deviation; vectors keep their values in another order."""
    net = Linear(torch.randn((64, 3, 8, 8), generator=torch.Generator().manual_seed(0)) * 0.3 + 5)
    drawn = randomise_weights(net, 0, 8).weight.detach()
    assert drawn.std() == pytest.approx(0.3, rel=0.03)
    assert abs(drawn.mean()) < 0.02
    normed = Normed()
    vector = randomise_weights(normed, 0, 16).body[1].weight
    assert vector.sort().values.equal(normed.body[1].weight.sort().values)


def test_seeds_and_layers_have_their_own_numbers() -> None:
    """Two seeds differ, one seed repeats, and two layers of equal shape do not get the same numbers."""
    net = Normed()
    first, repeated, other_seed = (randomise_weights(net, seed, 16) for seed in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        assert tensor.equal(repeated.state_dict()[name])
    assert not first.body[3].weight.equal(other_seed.body[3].weight)
    third, sixth = (net.get_parameter(f"body.{i}.weight").std() for i in (3, 6))
    assert not (first.body[3].weight / third).allclose(first.body[6].weight / sixth, rtol=0.1)


def test_running_statistics_fit_the_new_weights() -> None:
    """After randomisation the normalised channels have mean near 0 and deviation near 1 on images of both kinds."""
    net = randomise_weights(build_race_resnet(4, 32).eval(), 0, 32)
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
    images = random_images(2, 32)
    for seed in range(20):
        torch.manual_seed(seed)
        logits = randomise_weights(build_race_resnet(4, 32).eval(), seed, 32)(images)
        assert logits.isfinite().all()
        assert logits.abs().max() < 1e3
        assert logits.std(0).max() > 1e-4


def test_a_net_without_normalisation_is_randomised_too() -> None:
    """Where there is nothing to measure, weights alone are drawn; an average pool after it still answers."""
    net = Pooled().eval()
    randomised = randomise_weights(net, 0, 8)
    assert randomised(random_images(2)).isfinite().all()
    assert not randomised(random_images(2)).allclose(net(random_images(2)))


def test_the_variant_is_another_model_of_the_same_kind() -> None:
    """Draws of the weights differ by number and by the run's seed, and say so in the revision."""
    original = make_model(Normed(), size=16)
    models = [Randomised(number).model(original, seed) for number, seed in ((0, 0), (0, 0), (1, 0), (0, 1))]
    heads = [m.net.head.weight for m in models]
    assert heads[0].equal(heads[1])
    assert all(not a.equal(b) for a, b in itertools.combinations(heads[1:], 2))
    assert models[0].revision != original.revision
    assert models[0].classes == original.classes


# The steps.


def test_a_step_is_a_weight_layer_with_what_follows_it() -> None:
    """Normalisation and slopes join the convolution before them; running statistics go along."""
    assert weight_layers(Normed(), 16) == [
        WeightLayer("body.0", ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias"), ("body.1",)),
        WeightLayer("body.3", ("body.3.weight", "body.3.bias", "body.4.weight", "body.4.bias"), ("body.4",)),
        WeightLayer("body.6", ("body.6.weight", "body.6.bias", "body.7.weight"), ()),
        WeightLayer("head", ("head.weight", "head.bias"), ()),
    ]


def test_steps_follow_the_forward_and_not_the_registration() -> None:
    """Scales, tokens and positions join the layer after which they are used; attention is one step, its output too."""
    attention = ("attend.in_proj_weight", "attend.in_proj_bias", "attend.out_proj.weight", "attend.out_proj.bias")
    steps = [(step.name, step.parameters) for step in weight_layers(Tokens(), 16)]
    assert steps == [
        ("patches", ("patches.weight", "patches.bias", "scale", "token", "place")),
        ("attend", (*attention, "norm.weight", "norm.bias")),
        ("head", ("head.weight", "head.bias")),
    ]


def test_what_comes_before_the_first_weight_layer_joins_it() -> None:
    """A normalisation of the image is no step of its own; without it the first layer would be half trained."""
    net = trained(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 8), nn.Flatten(), nn.Linear(2, 2)))
    first, last = weight_layers(net, 8)
    assert first == WeightLayer("1", ("0.weight", "0.bias", "1.weight", "1.bias"), ("0",))
    assert last.name == "3"


def test_a_shared_parameter_belongs_to_its_first_use_and_is_drawn_once() -> None:
    """Its step has its registered name, the other layer's bias follows it, and both layers still share it."""
    net = Tied()
    first, last = weight_layers(net, 8)
    assert first.parameters[:2] == ("second.weight", "second.bias")
    assert last.name == "head"
    randomised = randomise_weights(net, 0, 8, order="bottom_up", n_layers=1)
    assert randomised.first.weight is randomised.second.weight
    assert randomised.first.weight.equal(randomise_weights(net, 0, 8).first.weight)


def test_a_parameter_that_is_not_used_makes_no_step() -> None:
    """It joins the one registered before it, so that no step leaves the answers as they were."""
    steps = weight_layers(Tied(), 8)
    assert [step.name for step in steps] == ["second", "head"]
    assert {"auxiliary.weight", "auxiliary.bias"} <= set(steps[0].parameters)


def test_asking_for_a_parameter_s_device_is_no_use_of_it() -> None:
    """A net that looks at its last layer before it begins has the same steps."""

    class Careful(Normed):
        def forward(self, images: Tensor) -> Tensor:
            weight = self.head.weight
            return super().forward(images.to(weight.device, weight.dtype).reshape(-1, *images.shape[1:]))

    assert weight_layers(Careful(), 16) == weight_layers(Normed(), 16)


def test_a_parametrised_weight_belongs_to_its_layer() -> None:
    """Under weight normalisation, length and direction of a weight go with the layer's bias."""
    net = nn.Sequential(weight_norm(nn.Conv2d(3, 4, 8)), nn.Flatten(), weight_norm(nn.Linear(4, 2)))
    pair = ("parametrizations.weight.original0", "parametrizations.weight.original1")
    layers = [(step.name, set(step.parameters)) for step in weight_layers(net, 8)]
    assert layers == [(name, {f"{name}.bias", *(f"{name}.{part}" for part in pair)}) for name in ("0", "2")]


def test_own_layers_with_weights_in_the_forward_are_steps() -> None:
    """A weight used by an einsum, in a module without children, is a layer, also where it is the net itself."""
    assert weight_layers(Linear(torch.rand(2, 3, 8, 8)), 8) == [WeightLayer("", ("weight",), ())]
    net = nn.Sequential(nn.Conv2d(3, 3, 1), Linear(torch.rand(2, 3, 8, 8)))
    assert [step.name for step in weight_layers(net, 8)] == ["0", "1"]


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_net_has_the_layers_that_it_had() -> None:
    """It is asked as it was before it was compiled."""
    net = trained(nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU(), nn.Linear(4, 2)))
    steps = [step.parameters for step in weight_layers(torch.compile(net, backend="eager"), 8)]
    assert steps == [("_orig_mod.1.weight", "_orig_mod.1.bias"), ("_orig_mod.3.weight", "_orig_mod.3.bias")]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_net_goes_by_registration() -> None:
    """Where torch sees no single calls, layers come in the order in which the net lists them."""
    net = torch.jit.trace(trained(nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 2))), random_images(1))
    assert [step.parameters for step in weight_layers(net, 8)] == [("0.weight", "0.bias"), ("2.weight", "2.bias")]
    assert changed(net, randomise_weights(net, 0, 8, order="top_down", n_layers=1)) == {"2.weight", "2.bias"}


def test_the_steps_of_a_net_are_found_once_per_size() -> None:
    """A cascade asks at every step: the net is copied and called for the first only; another net has its own."""
    net, calls = Normed(), []
    net.register_forward_hook(lambda *_: calls.append(1))
    assert weight_layers(net, 16) is weight_layers(net, 16)
    assert len(calls) == 1
    assert weight_layers(net, 24) == weight_layers(net, 16)
    assert len(calls) == 2
    assert weight_layers(Linear(torch.ones(2, 3, 4, 4)), 4) != weight_layers(net, 16)


def test_finding_the_steps_leaves_the_net_as_it_is() -> None:
    """A net in training mode keeps its mode, its running statistics and its hooks; no global number is drawn."""
    net = Normed().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    weight_layers(net, 16)
    assert all(tensor.equal(before[name]) for name, tensor in net.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert torch.get_rng_state().equal(state)


def test_a_net_without_parameters_has_no_steps() -> None:
    """There is nothing to randomise, and a number of layers cannot be chosen."""
    assert weight_layers(nn.Flatten(), 8) == []
    with pytest.raises(BadParameter, match="this net has 0 layers"):
        randomise_weights(nn.Flatten(), 0, 8, order="top_down", n_layers=1)


# From one end on.


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_only_the_chosen_end_is_randomised(count: int) -> None:
    """The last or the first steps change, with their running statistics; everything else is bit for bit as trained."""
    net = Normed()
    steps = weight_layers(net, 16)
    assert changed(net, randomise_weights(net, 0, 16, order="top_down", n_layers=count)) == tensors(steps[-count:])
    assert changed(net, randomise_weights(net, 0, 16, order="bottom_up", n_layers=count)) == tensors(steps[:count])


@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
def test_a_layer_has_the_same_numbers_in_every_step(order: str) -> None:
    """The cascade adds layers to those already random, and ends at full randomisation, statistics included."""
    net = Normed()
    full = randomise_weights(net, 5, 16)
    cascade = [randomise_weights(net, 5, 16, order=order, n_layers=count) for count in (1, 2, 3, 4)]  # type: ignore[arg-type]
    for first, two in itertools.pairwise([net, *cascade]):
        assert changed(net, first) < changed(net, two)
    for step in cascade:
        neither = changed(full, step) & changed(net, step)
        assert all("running" in name for name in neither)
    assert changed(full, cascade[-1]) == set()


@pytest.mark.parametrize("order", ["top_down", "bottom_up"])
@pytest.mark.parametrize("count", [0, -1, 5])
def test_no_layer_and_too_many_are_refused(order: str, count: int) -> None:
    """The trained net itself is never a step of the test."""
    with pytest.raises(BadParameter, match=f"this net has 4 layers; choose from 1 to 4, got {count}"):
        randomise_weights(Normed(), 0, 16, order=order, n_layers=count)  # type: ignore[arg-type]


def test_statistics_of_randomised_layers_fit_and_the_others_stay() -> None:
    """The first norm is measured on what the new first convolution says; the second one keeps what it learnt."""
    net = Normed()
    randomised = randomise_weights(net, 0, 16, order="bottom_up", n_layers=1)
    caught: list[Tensor] = []
    randomised.body[0].register_forward_hook(lambda _m, _i, out: caught.append(out))
    smooth = nn.functional.interpolate(random_images(64), size=16, mode="bilinear")
    with torch.no_grad():
        randomised(torch.cat([smooth, random_images(64, 16)]))
    torch.testing.assert_close(caught[0].mean((0, 2, 3)), randomised.body[1].running_mean, atol=0.05, rtol=0.05)
    assert randomised.body[4].running_mean.equal(net.body[4].running_mean)


def test_frozen_nets_are_randomised_and_stay_frozen() -> None:
    """Whether parameters want gradients does not matter, and does not change."""
    net = Normed().requires_grad_(False)
    for order, count in (("full", 0), ("bottom_up", 2)):
        randomised = randomise_weights(net, 0, 16, order=order, n_layers=count)  # type: ignore[arg-type]
        assert not any(parameter.requires_grad for parameter in randomised.parameters())
        assert "body.0.weight" in changed(net, randomised)


# Architectures.


def built(name: str, **options: object) -> Callable[[], nn.Module]:
    """A builder of a torchvision model, small."""

    def make() -> nn.Module:
        from torchvision import models

        torch.manual_seed(0)
        net: nn.Module = getattr(models, name)(weights=None, num_classes=4, **options)
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.dim() == 1 or not parameter.any():
                    parameter.add_(torch.randn(parameter.shape) * 0.02)
        return net.eval()

    return make


ARCHITECTURES = {
    "resnet18": (built("resnet18"), 32, 21),
    "mobilenet_v3_small": (built("mobilenet_v3_small"), 32, 54),
    "vit_b_16": (built("vit_b_16", image_size=32), 32, 38),
    "convnext_tiny": (built("convnext_tiny"), 32, 59),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_have_every_parameter_in_one_step(name: str) -> None:
    """As many steps as weight layers; every parameter and batch norm is in exactly one; the head is the last."""
    make, size, count = ARCHITECTURES[name]
    net = make()
    steps = weight_layers(net, size)
    assert len(steps) == count
    assert sorted(p for step in steps for p in step.parameters) == sorted(dict(net.named_parameters()))
    norms = [key for key, module in net.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert sorted(key for step in steps for key in step.norms) == sorted(norms)
    assert steps[-1].parameters[-1] == [*dict(net.named_parameters())][-1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_answer_when_randomised(name: str) -> None:
    """From both ends and in full, logits are finite, differ from the net's and between images.

    The net to start from is itself random, with statistics that fit; fresh from torchvision, some nets are constant.
    """
    make, size, count = ARCHITECTURES[name]
    net, images = randomise_weights(make(), 1, size), random_images(2, size)
    with torch.no_grad():
        before = net(images)
        for order, chosen in (("full", 0), ("top_down", 1), ("bottom_up", 1), ("top_down", count // 2)):
            logits = randomise_weights(net, 0, size, order=order, n_layers=chosen)(images)  # type: ignore[arg-type]
            assert logits.isfinite().all()
            assert not logits.allclose(before, rtol=1e-2)
            assert not logits[0].allclose(logits[1])
