"""Preparation of a model on a copy: same predictions, and the original as it was."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.models.preparation.prepare import prepare_model

from .networks import Probable, Shared, as_model, called_modules, noise_images, seeded, small_network

CPU = torch.device("cpu")


@pytest.fixture
def images() -> Tensor:
    """Three images of noise."""
    return noise_images()


def test_in_place_activations_become_ordinary() -> None:
    """On the copy only; the answers are the same, and what was done is said."""
    original, images = small_network(), torch.rand(3, 3, 32, 32)
    prepared, changes = prepare_model(as_model(original), CPU)
    assert [m.inplace for m in prepared.net if isinstance(m, nn.ReLU)] == [False, False]
    assert [m.inplace for m in original if isinstance(m, nn.ReLU)] == [True, True]
    assert changes == ("2 in-place activations made ordinary",)
    torch.testing.assert_close(prepared.net(images), original(images))


def test_the_original_stays_as_it_was() -> None:
    """Its modes module by module, its weights and buffers, and that they want gradients."""
    original = small_network().train()
    original[1].eval()
    state = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    prepared, changes = prepare_model(as_model(original), CPU)
    assert [m.training for m in original] == [True, False, *[True] * 7]
    assert not any(m.training for m in prepared.net.modules())
    assert "put into evaluation mode" in changes
    assert all(torch.equal(state[name], tensor) for name, tensor in original.state_dict().items())
    assert all(p.requires_grad for p in original.parameters())
    assert not any(p.requires_grad for p in prepared.net.parameters())
    assert prepared.net is not original


def test_the_original_stays_as_it_was_after_an_error() -> None:
    """A model that is refused is handed back in its own mode."""
    original = small_network(3).train()
    with pytest.raises(ModelError):
        prepare_model(as_model(original), CPU)
    assert all(m.training for m in original.modules())


def test_nothing_to_do_says_nothing() -> None:
    """A model that is explainable already is only copied."""
    prepared, changes = prepare_model(
        as_model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval(), cam_layer=None), CPU
    )
    assert changes == ()
    assert (prepared.name, prepared.classes, prepared.revision) == ("tiny", ("a", "b"), "r1")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    """The first such tensor, be it a weight or a buffer."""
    for name in ("3.weight", "1.running_var"):
        broken = small_network()
        broken.state_dict()[name].view(-1)[0] = value
        with pytest.raises(ModelError, match=f"'tiny' has weights that are NaN or infinite, first in '{name}'"):
            prepare_model(as_model(broken), CPU)


class _Answering(nn.Module):
    def __init__(self, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> object:
        """Whatever it was made to say."""
        return self.answer(images)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.new_zeros(len(x), 3), r"must return logits \(B,2\) = \(2,2\).* got \(2, 3\)"),
        (lambda x: x.new_zeros(len(x)), r"got \(2,\)"),
        (lambda x: (x.new_zeros(len(x), 2),), r"got tuple of 1; wrap it so that forward returns output\[0\]"),
        (lambda x: x.new_full((len(x), 2), float("nan")), "NaN or infinite logits"),
        (lambda x: x @ x.new_zeros(5, 5), r"cannot be evaluated on images \(2, 3, 32, 32\): RuntimeError"),
    ],
)
def test_a_net_that_is_no_classifier_is_refused(answer: Callable[[Tensor], object], message: str) -> None:
    """Another number of logits, another shape, no tensor, no numbers, an exception: each says what was expected."""
    with pytest.raises(ModelError, match=message):
        prepare_model(as_model(_Answering(answer), cam_layer=None), CPU)


def test_a_model_that_works_in_place_on_its_input_is_accepted() -> None:
    """An in-place first layer does not spoil the comparison of before and after."""
    prepared, _ = prepare_model(
        as_model(nn.Sequential(nn.Hardtanh(0.4, 0.6, inplace=True), *small_network()), "5"), CPU
    )
    images = torch.rand(2, 3, 32, 32)
    before = images.clone()
    prepared.net(images)
    assert torch.equal(images, before)


def test_answers_that_change_are_refused() -> None:
    """A net whose answers depend on whether it works in place is not explained as if it were the same."""

    class _Reading(nn.ReLU):
        def forward(self, images: Tensor) -> Tensor:
            return images * (2 if self.inplace else 3)

    network = nn.Sequential(_Reading(inplace=True), nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with pytest.raises(ModelError, match="answers differently after being made explainable"):
        prepare_model(replace(as_model(network), cam_layer=None), CPU)


def test_a_softmax_that_cannot_be_removed_gives_log_probabilities(images: Tensor) -> None:
    """The probabilities stay what they were."""
    network = seeded(lambda: Probable(lambda z: z.exp() / z.exp().sum(1, keepdim=True)))
    prepared, changes = prepare_model(as_model(network, None), CPU)
    torch.testing.assert_close(prepared.net(images), network.logits(images).log_softmax(1))
    assert "the softmax at the end cannot be removed: log-probabilities are taken as logits" in changes


def test_a_softmax_inside_stays(images: Tensor) -> None:
    """Attention is no probability of classes: neither of logits nor of probabilities is it taken away."""

    class Attending(Probable):
        def logits(self, images: Tensor) -> Tensor:
            x = self.pool(images).flatten(1)
            return self.head(x * (3 * x).softmax(1) * 10)

    for end in (lambda z: z, lambda z: z.exp() / z.exp().sum(1, keepdim=True)):
        network = seeded(lambda end=end: Attending(end))
        prepared, _ = prepare_model(as_model(network, None), CPU)
        torch.testing.assert_close(prepared.net(images).softmax(1), network.logits(images).softmax(1))


def test_logits_that_happen_to_add_up_to_one_stay_logits(images: Tensor) -> None:
    """A model that says that its answers are to be read as they are keeps them."""
    network = seeded(lambda: Probable(lambda z: torch.cat([z[:, :1].sigmoid(), 1 - z[:, :1].sigmoid()], 1)))
    prepared, changes = prepare_model(replace(as_model(network, None), output="logit"), CPU)
    torch.testing.assert_close(prepared.net(images), network(images))
    assert not any("logit" in line for line in changes)


@pytest.mark.parametrize("end", [lambda z: z, nn.Sigmoid(), torch.sigmoid], ids=["logit", "module", "function"])
def test_one_logit_becomes_two(end: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Half of it for the second class and minus half for the first: softmax is sigmoid, gradients are opposite."""
    network = seeded(lambda: Probable(end, n_classes=1))
    prepared, changes = prepare_model(as_model(network, None), CPU)
    z = network.logits(images)
    torch.testing.assert_close(prepared.net(images), torch.cat([-z / 2, z / 2], 1))
    torch.testing.assert_close(prepared.net(images).softmax(1)[:, 1:], z.sigmoid())
    images.requires_grad_()
    first, second = (torch.autograd.grad(prepared.net(images)[:, k].sum(), images)[0] for k in (0, 1))
    assert torch.equal(first, -second)
    assert "one logit z made two: −z/2 for 'a', z/2 for 'b'" in changes


def test_a_named_layer_is_found_again_behind_what_is_put_around_it() -> None:
    """The CAM layer of a network whose one logit is made two keeps its meaning."""
    prepared, _ = prepare_model(as_model(small_network(1)), CPU)
    assert prepared.cam_layer == "net.4"
    assert isinstance(prepared.net.get_submodule(prepared.cam_layer), nn.ReLU)


def test_without_places_there_is_no_cam_layer() -> None:
    """A network of linear layers gives no activations."""
    prepared, _ = prepare_model(as_model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), None), CPU)
    assert prepared.cam_layer is None
    assert prepared.capabilities == {"forward", "gradient", "weights"}


def test_a_model_without_gradient_says_so() -> None:
    """What detaches its answer can still be asked."""

    class Detached(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    prepared, changes = prepare_model(as_model(seeded(lambda: Detached(*small_network())), None), CPU)
    assert "gradient" not in prepared.capabilities
    assert "forward" in prepared.capabilities
    assert any(line.startswith("no gradient reaches the image: explained without") for line in changes)


def test_gradients_that_are_no_numbers_are_not_asked_for() -> None:
    """The root of zero has an infinite gradient."""
    prepared, changes = prepare_model(as_model(seeded(lambda: Probable(lambda z: (z * 0).sqrt() + z)), None), CPU)
    assert "gradient" not in prepared.capabilities
    assert "its gradients are NaN or infinite: explained without" in changes


def test_a_model_that_draws_its_answers_is_refused() -> None:
    """Nothing that it says of an image could be explained."""
    with pytest.raises(ModelError, match="'tiny' gives another answer each time"):
        prepare_model(as_model(Probable(lambda z: z + torch.rand(2)), None), CPU)


def test_a_black_box_is_only_asked() -> None:
    """What can only answer is neither traced nor searched for a CAM layer; its probabilities become logits."""
    network = seeded(lambda: Probable(lambda z: z.exp() / z.exp().sum(1, keepdim=True)))
    prepared, changes = prepare_model(replace(as_model(network, None), capabilities=frozenset({"forward"})), CPU)
    assert (prepared.capabilities, prepared.cam_layer) == ({"forward"}, None)
    assert changes == ("the softmax at the end cannot be removed: log-probabilities are taken as logits",)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_network_is_accepted(images: Tensor) -> None:
    """As it is: nothing in it can be changed."""
    network = torch.jit.trace(small_network(), images)
    prepared, _ = prepare_model(as_model(network, None), CPU)
    torch.testing.assert_close(prepared.net(images), network(images))


def test_every_activation_becomes_a_module_of_its_own(images: Tensor) -> None:
    """Five calls of ReLU, two of them of one module and three of functions, are five modules; the notes say so."""
    network = seeded(Shared)
    prepared, changes = prepare_model(as_model(network, None), CPU)
    modules = called_modules(prepared.net, images)
    assert len(modules) == len({id(module) for module in modules}) == 5
    torch.testing.assert_close(prepared.net(images), network(images), rtol=0, atol=1e-6)
    assert "3 functional activations made modules" in changes


def test_a_softmax_at_the_end_is_removed(images: Tensor) -> None:
    """Its input are the logits, and a note says so."""
    network = seeded(lambda: Probable(nn.Softmax(1)))
    prepared, changes = prepare_model(as_model(network, None), CPU)
    torch.testing.assert_close(prepared.net(images), network.logits(images))
    assert "softmax at the end removed: its input are the logits" in changes


def test_a_chosen_cam_layer_is_named() -> None:
    """The model gets it, and a note names it with its layout."""
    prepared, changes = prepare_model(as_model(small_network(), None), CPU)
    assert prepared.cam_layer == "4"
    assert "CAM layer chosen: 4 (maps)" in changes
