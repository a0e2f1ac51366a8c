"""Made explainable on a copy: same answers, and the original as it was."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from mavis.core.errors import ModelError
from mavis.core.types import Model
from mavis.models.preparation.prepare import prepare_model

CPU = torch.device("cpu")


def net(classes: int = 2) -> nn.Sequential:
    """A small network with in-place ReLUs, dropout and batch normalisation."""
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.ReLU(inplace=True),
        nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes),
    )  # fmt: skip
    return found.eval()


def model(network: nn.Module, cam_layer: str | None = "4") -> Model:
    """A model of two classes around it."""
    return Model("tiny", network, ("a", "b"), "r1", cam_layer=cam_layer, size=32)


def test_in_place_activations_become_ordinary() -> None:
    """On the copy only; the answers are the same, and what was done is said."""
    original, images = net(), torch.rand(3, 3, 32, 32)
    found, done = prepare_model(model(original), CPU)
    assert [m.inplace for m in found.net if isinstance(m, nn.ReLU)] == [False, False]
    assert [m.inplace for m in original if isinstance(m, nn.ReLU)] == [True, True]
    assert done == ("2 in-place activations made ordinary",)
    torch.testing.assert_close(found.net(images), original(images))


def test_the_original_stays_as_it_was() -> None:
    """Its modes module by module, its weights and buffers, and that they want gradients."""
    original = net().train()
    original[1].eval()
    state = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    found, done = prepare_model(model(original), CPU)
    assert [m.training for m in original] == [True, False, *[True] * 7]
    assert not any(m.training for m in found.net.modules())
    assert "put into evaluation mode" in done
    assert all(torch.equal(state[name], tensor) for name, tensor in original.state_dict().items())
    assert all(p.requires_grad for p in original.parameters())
    assert not any(p.requires_grad for p in found.net.parameters())
    assert found.net is not original


def test_the_original_stays_as_it_was_after_an_error() -> None:
    """A model that is refused is handed back in its own mode."""
    original = net(3).train()
    with pytest.raises(ModelError):
        prepare_model(model(original), CPU)
    assert all(m.training for m in original.modules())


def test_nothing_to_do_says_nothing() -> None:
    """A model that is explainable already is only copied."""
    found, done = prepare_model(
        model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval(), cam_layer=None), CPU
    )
    assert done == ()
    assert (found.name, found.classes, found.revision) == ("tiny", ("a", "b"), "r1")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    """The first such tensor, be it a weight or a buffer."""
    for name in ("3.weight", "1.running_var"):
        broken = net()
        broken.state_dict()[name].view(-1)[0] = value
        with pytest.raises(ModelError, match=f"'tiny' has weights that are NaN or infinite, first in '{name}'"):
            prepare_model(model(broken), CPU)


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
        (lambda x: (x.new_zeros(len(x), 2),), "got tuple"),
        (lambda x: x.new_full((len(x), 2), float("nan")), "NaN or infinite logits"),
        (lambda x: x @ x.new_zeros(5, 5), r"cannot be evaluated on images \(2, 3, 32, 32\): RuntimeError"),
    ],
)
def test_a_net_that_is_no_classifier_is_refused(answer: Callable[[Tensor], object], message: str) -> None:
    """Another number of logits, another shape, no tensor, no numbers, an exception: each says what was expected."""
    with pytest.raises(ModelError, match=message):
        prepare_model(model(_Answering(answer), cam_layer=None), CPU)


def test_a_missing_cam_layer_is_named() -> None:
    """With the last modules there are."""
    with pytest.raises(ModelError, match=r"'tiny' has no module 'layer9' for CAM; its last ones: \['6', '7', '8'\]"):
        prepare_model(model(net(), "layer9"), CPU)


def test_a_model_that_works_in_place_on_its_input_is_accepted() -> None:
    """An in-place first layer does not spoil the comparison of before and after."""
    found, _ = prepare_model(model(nn.Sequential(nn.Hardtanh(0.4, 0.6, inplace=True), *net()), "5"), CPU)
    images = torch.rand(2, 3, 32, 32)
    before = images.clone()
    found.net(images)
    assert torch.equal(images, before)


def test_answers_that_change_are_refused() -> None:
    """A net whose answers depend on whether it works in place is not explained as if it were the same."""

    class _Reading(nn.ReLU):
        def forward(self, images: Tensor) -> Tensor:
            return images * (2 if self.inplace else 3)

    network = nn.Sequential(_Reading(inplace=True), nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    with pytest.raises(ModelError, match="answers differently after being made explainable"):
        prepare_model(replace(model(network), cam_layer=None), CPU)


def calls(network: nn.Module, images: Tensor, kind: type[nn.Module] = nn.ReLU) -> list[nn.Module]:
    """The modules of a kind that one forward calls, once for each call."""
    seen: list[nn.Module] = []
    modules = [m for m in network.modules() if isinstance(m, kind)]
    handles = [m.register_forward_hook(lambda module, _, __: seen.append(module)) for m in modules]
    network(images)
    for handle in handles:
        handle.remove()
    return seen


class Shared(nn.Module):
    """One ReLU at two places, a sum in place, and the ReLU as a function, a method and in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.first(images))
        y = self.second(x)
        y += x
        y = F.relu(self.relu(y) - 0.1, inplace=True)
        return self.head((torch.relu(y - 0.1) + (y - 0.2).relu_()).mean((2, 3)))


def seeded(kind: Callable[[], nn.Module]) -> nn.Module:
    """A network with weights of its own that are always the same."""
    torch.manual_seed(0)
    return kind().eval()


@pytest.fixture
def images() -> Tensor:
    """Three images of noise."""
    return torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(1))


def test_every_activation_becomes_a_module_of_its_own(images: Tensor) -> None:
    """Five calls of ReLU, two of them of one module and three of functions, are five modules; the answers stay."""
    network = seeded(Shared)
    found, done = prepare_model(model(network, None), CPU)
    seen = calls(found.net, images)
    assert len(seen) == len({id(m) for m in seen}) == 5
    assert len(calls(network, images)) == 2
    torch.testing.assert_close(found.net(images), network(images), rtol=0, atol=1e-6)
    assert {
        "1 shared activations given a module for each place",
        "3 functional activations made modules",
        "1 steps in place made ordinary",
    } <= set(done)


def test_a_rewritten_module_stays_what_it_was(images: Tensor) -> None:
    """Type, names of the weights and of the children, and that it can be copied."""
    found, _ = prepare_model(model(seeded(Shared), None), CPU)
    assert isinstance(found.net, Shared)
    assert found.net.state_dict().keys() == Shared().state_dict().keys()
    copied = copy.deepcopy(found.net)
    with torch.no_grad():
        copied.head.bias += 1
    torch.testing.assert_close(copied(images), found.net(images) + 1)


def test_an_activation_with_two_names_is_two(images: Tensor) -> None:
    """One ReLU object at two places of a Sequential."""
    relu = nn.ReLU()
    network = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 2, 3), relu, nn.Flatten(), nn.Linear(1568, 2))
    )
    found, done = prepare_model(model(network, None), CPU)
    assert found.net[1] is not found.net[3]
    assert "1 shared activations given a module for each place" in done
    torch.testing.assert_close(found.net(images), network(images))


class Branching(Shared):
    """Shared activations in a forward that looks at values, which cannot be traced."""

    def forward(self, images: Tensor) -> Tensor:
        if images.mean() > 2:
            return self.head(images.mean((2, 3)))
        return super().forward(images)


def test_what_cannot_be_traced_is_left_and_said(images: Tensor) -> None:
    """The network is as it was, but for what can be switched off."""
    network = seeded(Branching)
    found, done = prepare_model(model(network, None), CPU)
    assert len({id(m) for m in calls(found.net, images)}) == 1
    assert "hooks do not see every activation of the network itself: called more than once, or not traceable" in done
    torch.testing.assert_close(found.net(images), network(images))


class Aliased(nn.Module):
    """Reads a tensor after it was changed in place under another name: without the change its answer is another."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        F.relu(x, inplace=True)
        return self.head(x.mean((2, 3)))


def test_a_change_that_alters_answers_is_undone(images: Tensor) -> None:
    """What reads a tensor under its old name after a change in place keeps the change."""
    network = seeded(Aliased)
    found, done = prepare_model(model(network, None), CPU)
    torch.testing.assert_close(found.net(images), network(images))
    assert calls(found.net, images) == []
    assert any(line.startswith("hooks do not see every activation of the network itself") for line in done)


class Probable(nn.Module):
    """Logits (B,2) of a linear layer, and what is made of them."""

    def __init__(self, end: Callable[[Tensor], Tensor], classes: int = 2) -> None:
        super().__init__()
        self.pool, self.head, self.end = nn.AdaptiveAvgPool2d(4), nn.Linear(48, classes), end

    def logits(self, images: Tensor) -> Tensor:
        return self.head(self.pool(images).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.logits(images))


class Nested(nn.Module):
    """A module that holds a softmax."""

    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), end)

    def forward(self, logits: Tensor) -> Tensor:
        return self.inner(logits)


class Functional(nn.Module):
    """A module whose forward ends in a softmax."""

    def forward(self, logits: Tensor) -> Tensor:
        return F.softmax(logits * 1.0, dim=1)


@pytest.mark.parametrize(
    "end",
    [
        nn.Softmax(1), nn.LogSoftmax(1), Nested(nn.Softmax(-1)), Functional(), lambda z: z.softmax(1),
        lambda z: z.log_softmax(-1),
    ],
    ids=["module", "log", "nested", "function in a module", "method", "log as a method"],
)  # fmt: skip
def test_the_softmax_at_the_end_is_removed(end: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """What comes out are the logits, wherever and however the softmax was written."""
    network = seeded(lambda: Probable(end))
    found, done = prepare_model(model(network, None), CPU)
    torch.testing.assert_close(found.net(images), network.logits(images))
    assert "softmax at the end removed: its input are the logits" in done


def test_a_softmax_that_cannot_be_removed_gives_log_probabilities(images: Tensor) -> None:
    """The probabilities stay what they were."""
    network = seeded(lambda: Probable(lambda z: z.exp() / z.exp().sum(1, keepdim=True)))
    found, done = prepare_model(model(network, None), CPU)
    torch.testing.assert_close(found.net(images), network.logits(images).log_softmax(1))
    assert "the softmax at the end cannot be removed: log-probabilities are taken as logits" in done


def test_a_softmax_inside_stays(images: Tensor) -> None:
    """Attention is no probability of classes: neither of logits nor of probabilities is it taken away."""

    class Attending(Probable):
        def logits(self, images: Tensor) -> Tensor:
            x = self.pool(images).flatten(1)
            return self.head(x * (3 * x).softmax(1) * 10)

    for end in (lambda z: z, lambda z: z.exp() / z.exp().sum(1, keepdim=True)):
        network = seeded(lambda end=end: Attending(end))
        found, _ = prepare_model(model(network, None), CPU)
        torch.testing.assert_close(found.net(images).softmax(1), network.logits(images).softmax(1))


def test_logits_that_happen_to_add_up_to_one_stay_logits(images: Tensor) -> None:
    """A model that says that its answers are to be read as they are keeps them."""
    network = seeded(lambda: Probable(lambda z: torch.cat([z[:, :1].sigmoid(), 1 - z[:, :1].sigmoid()], 1)))
    found, done = prepare_model(replace(model(network, None), output="logit"), CPU)
    torch.testing.assert_close(found.net(images), network(images))
    assert not any("logit" in line for line in done)


@pytest.mark.parametrize("end", [lambda z: z, nn.Sigmoid(), torch.sigmoid], ids=["logit", "module", "function"])
def test_one_logit_becomes_two(end: Callable[[Tensor], Tensor], images: Tensor) -> None:
    """Half of it for the second class and minus half for the first: softmax is sigmoid, gradients are opposite."""
    network = seeded(lambda: Probable(end, classes=1))
    found, done = prepare_model(model(network, None), CPU)
    z = network.logits(images)
    torch.testing.assert_close(found.net(images), torch.cat([-z / 2, z / 2], 1))
    torch.testing.assert_close(found.net(images).softmax(1)[:, 1:], z.sigmoid())
    images.requires_grad_()
    first, second = (torch.autograd.grad(found.net(images)[:, k].sum(), images)[0] for k in (0, 1))
    assert torch.equal(first, -second)
    assert "one logit z made two: −z/2 for 'a', z/2 for 'b'" in done


def test_a_named_layer_is_found_again_behind_what_is_put_around_it() -> None:
    """The CAM layer of a network whose one logit is made two keeps its meaning."""
    found, _ = prepare_model(model(net(1)), CPU)
    assert found.cam_layer == "net.4"
    assert isinstance(found.net.get_submodule(found.cam_layer), nn.ReLU)


class Inception(nn.Module):
    """Two branches after the last layer that everything passes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.left, self.right = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        return self.head(torch.cat([self.left(x).mean((2, 3)), self.right(x).mean((2, 3))], 1))


class Tokens(nn.Module):
    """Patches and a class token, one step of attention, an answer read from the class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.norm, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.last, self.head = nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head(self.last(x)[:, 0])


class Swin(nn.Module):
    """Maps with the channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm, self.head = nn.Conv2d(3, 8, 8, 8), nn.LayerNorm(8), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.patches(images).permute(0, 2, 3, 1)).relu().mean((1, 2)))


def conv_head() -> nn.Module:
    """Features, and a last convolution with a channel for each class."""
    features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(features, classifier)


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        (net, "4 (maps)"),
        (Inception, "stem (maps)"),
        (Tokens, "norm (tokens)"),
        (Swin, "relu_1 (channels last)"),
        (conv_head, "0 (maps)"),
    ],
    ids=["pooled", "branches", "class token", "channels last", "convolution as head"],
)
def test_the_cam_layer_is_chosen(kind: Callable[[], nn.Module], layer: str) -> None:
    """The last layer with places that the whole answer passes, before the map of the answers themselves."""
    found, done = prepare_model(model(seeded(kind), None), CPU)
    assert f"CAM layer chosen: {layer}" in done
    assert found.cam_layer == layer.partition(" ")[0]
    assert "activations" in found.capabilities


def test_without_places_there_is_no_cam_layer() -> None:
    """A network of linear layers gives no activations."""
    found, _ = prepare_model(model(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), None), CPU)
    assert found.cam_layer is None
    assert found.capabilities == {"forward", "gradient", "weights"}


@pytest.mark.parametrize("layer", ["6", "8"])
def test_a_named_layer_without_places_is_refused(layer: str) -> None:
    """After the pooling there is one place, after the head none."""
    with pytest.raises(ModelError, match=f"The CAM layer '{layer}' of 'tiny' must be called once"):
        prepare_model(model(net(), layer), CPU)


def test_a_model_without_gradient_says_so() -> None:
    """What detaches its answer can still be asked."""

    class Detached(nn.Sequential):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images).detach()

    found, done = prepare_model(model(seeded(lambda: Detached(*net())), None), CPU)
    assert "gradient" not in found.capabilities
    assert "forward" in found.capabilities
    assert any(line.startswith("no gradient reaches the image: explained without") for line in done)


def test_gradients_that_are_no_numbers_are_not_asked_for() -> None:
    """The root of zero has an infinite gradient."""
    found, done = prepare_model(model(seeded(lambda: Probable(lambda z: (z * 0).sqrt() + z)), None), CPU)
    assert "gradient" not in found.capabilities
    assert "its gradients are NaN or infinite: explained without" in done


def test_dropout_that_is_always_on_is_turned_off(images: Tensor) -> None:
    """A function whose ``training`` was left out; afterwards the answers are always the same."""

    class Dropping(Probable):
        def logits(self, images: Tensor) -> Tensor:
            return self.head(F.dropout(self.pool(images).flatten(1), 0.5))

    found, done = prepare_model(model(seeded(lambda: Dropping(lambda z: z)), None), CPU)
    assert torch.equal(found.net(images), found.net(images))
    assert "1 dropouts that were always on turned off" in done


def test_a_model_that_draws_its_answers_is_refused() -> None:
    """Nothing that it says of an image could be explained."""
    with pytest.raises(ModelError, match="'tiny' gives another answer each time"):
        prepare_model(model(Probable(lambda z: z + torch.rand(2)), None), CPU)


def test_a_black_box_is_only_asked() -> None:
    """What can only answer is neither traced nor searched for a CAM layer; its probabilities become logits."""
    network = seeded(lambda: Probable(lambda z: z.exp() / z.exp().sum(1, keepdim=True)))
    found, done = prepare_model(replace(model(network, None), capabilities=frozenset({"forward"})), CPU)
    assert (found.capabilities, found.cam_layer) == ({"forward"}, None)
    assert done == ("the softmax at the end cannot be removed: log-probabilities are taken as logits",)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_scripted_network_is_accepted(images: Tensor) -> None:
    """As it is: nothing in it can be changed."""
    network = torch.jit.trace(net(), images)
    found, _ = prepare_model(model(network, None), CPU)
    torch.testing.assert_close(found.net(images), network(images))
