"""Changed backward passes on networks whose every signal can be followed, and beside Captum where it is right."""

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from captum.attr import Deconvolution, DeepLift, DeepLiftShap, GuidedBackprop
from torch import Tensor, nn

from mavis.core.attribution_maps import upsample
from mavis.core.errors import BadParameter, ModelError
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers
from mavis.core.types import Model, ReferenceImages
from mavis.explainers.modified_backprop import FullGradTerms
from mavis.models.loading.architectures import build_race_resnet

from ..toys import Clamped, Linear, Pooled, explain, make_model, make_pass, random_images, targets

WEIGHT = torch.randn((2, 3, 8, 8), generator=torch.Generator().manual_seed(7))
MEAN = torch.tensor([0.2, 0.5, 0.7])
BLACK = torch.zeros(3)
NAMES = ("guided_backprop", "deconvnet", "deeplift", "deeplift_shap", "fullgrad")


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


class Stack(nn.Module):
    """Two convolutions with an activation and a pooling between them, average pooling, one linear layer."""

    def __init__(self, activation: Callable[[Tensor], Tensor], pool: nn.Module | None = None) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(5)
        self.first, self.second, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3), nn.Linear(5, 3)
        self.activation = activation
        self.pool = pool or nn.Identity()
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=stream)

    def forward(self, images: Tensor) -> Tensor:
        out = self.activation(self.second(self.pool(self.activation(self.first(images)))))
        answer: Tensor = self.head(out.mean((2, 3)))
        return answer


class TwoReLUs(Stack):
    """A stack whose two places have modules of their own, as Captum wants it."""

    def __init__(self, pool: nn.Module | None = None) -> None:
        super().__init__(nn.ReLU(), pool)
        self.other = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        out = self.other(self.second(self.pool(self.activation(self.first(images)))))
        answer: Tensor = self.head(out.mean((2, 3)))
        return answer


class One(nn.Module):
    """Logit 0 is a module's answer to the first value of a pixel; logit 1 is its negative."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        answer = self.module(images[:, 0, 0, 0])
        return torch.stack([answer, -answer], dim=1)


class Saturating(nn.Module):
    """1 − relu(1 − x − y): the example of the DeepLIFT paper's figure 1, with its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        answer = 1 - self.relu(1 - images[:, 0, 0, 0] - images[:, 1, 0, 0])
        return torch.stack([answer, -answer], dim=1)


def pixel(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


def start(model_pass: Pass) -> Tensor:
    return model_pass.mean.view(1, 3, 1, 1).expand_as(model_pass.images)


def change(model_pass: Pass, target: int) -> Tensor:
    """The target logit minus that of the mean colour."""
    with torch.no_grad():
        return (model_pass.model.net(model_pass.images) - model_pass.model.net(start(model_pass)))[:, target]


def shipped() -> Model:
    """The shipped architecture, its batch norms with statistics and weights of their own."""
    net = build_race_resnet(4, 32)
    stream = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, scale in ((module.weight, 0.5), (module.bias, 0.5), (module.running_mean, 0.3)):
                tensor.data += scale * torch.randn(tensor.shape, generator=stream)
            module.running_var.uniform_(0.5, 2.0, generator=stream)
    return make_model(net)


def captum(method: type, model_pass: Pass, target: int, *extra: Tensor) -> Tensor:
    """What a class of Captum's says, which warns that it sets hooks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps: Tensor = method(model_pass.model.net).attribute(
            model_pass.images.clone(), *extra, target=targets(model_pass, target)
        )
    return maps.detach()


# Guided backpropagation and the deconvolution network.


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet"])
def test_without_relu_they_are_the_gradient(name: str) -> None:
    """A network without ReLU has nothing to rectify, and the traits say which map it then equals."""
    model_pass = make_pass(Linear(WEIGHT), random_images(2))
    assert explain(name, model_pass, 1).equal(explain("saliency", model_pass, 1))
    assert explainers[name].traits.same_as == "saliency"
    smooth = make_pass(Stack(nn.Softplus()), random_images(2))
    torch.testing.assert_close(explain(name, smooth), explain("saliency", smooth))


def test_guided_backprop_by_hand_one_unit_at_a_time() -> None:
    """Only units that fire and are wanted pass.

    x = (1,2,3); rows (1,0,0), (0,−1,0), (0,0,1), (1,1,0) fire with 1, off, 3, 3; the head (2,5,−4,1) wants the first
    and the last: 2·(1,0,0) + 1·(1,1,0) = (3,1,0). The gradient would be (3,1,−4).
    """
    net = Layers([[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, 1, 0]], np.eye(4).tolist(), [2, 5, -4, 1])
    model_pass = make_pass(net, pixel(1.0, 2.0, 3.0))
    assert explain("guided_backprop", model_pass).flatten().tolist() == [3, 1, 0]
    assert explain("saliency", model_pass).flatten().tolist() == [3, 1, -4]


def test_deconvnet_by_hand_one_unit_at_a_time() -> None:
    """Whether a unit fires does not matter, only whether it is wanted: the second's 5·(0,−1,0) passes too."""
    net = Layers([[1, 0, 0], [0, -1, 0], [0, 0, 1], [1, 1, 0]], np.eye(4).tolist(), [2, 5, -4, 1])
    assert explain("deconvnet", make_pass(net, pixel(1.0, 2.0, 3.0))).flatten().tolist() == [3, -4, 0]


def test_guided_backprop_cuts_at_every_relu() -> None:
    """A signal that turns negative on its way is cut there.

    x = (1,1,1), hidden layer x itself. The second layer's rows (1,−1,1) and (0,2,0) fire with 1 and 2, the head is
    (1,1): the signal at the first ReLUs is (1,−1+2,1) = (1,1,1). With head (3,1) it is (3,−3+2,3), cut to (3,0,3).
    """
    x = torch.ones(1, 3, 1, 1)
    eye = np.eye(3).tolist()
    rows = [[1, -1, 1], [0, 2, 0]]
    for name in ("guided_backprop", "deconvnet"):
        assert explain(name, make_pass(Layers(eye, rows, [1, 1]), x)).flatten().tolist() == [1, 1, 1]
        assert explain(name, make_pass(Layers(eye, rows, [3, 1]), x)).flatten().tolist() == [3, 0, 3]
    assert explain("saliency", make_pass(Layers(eye, rows, [3, 1]), x)).flatten().tolist() == [3, -1, 3]


def test_rectified_signals_are_positive_behind_a_positive_layer() -> None:
    """With positive input weights everything that arrives is positive, and the plain gradient is untouched after."""
    torch.manual_seed(0)
    first, second, head = torch.rand(6, 3), torch.randn(5, 6), torch.randn(5)
    model_pass = make_pass(Layers(first.tolist(), second.tolist(), head.tolist()), torch.rand(4, 3, 1, 1))
    before = explain("saliency", model_pass).clone()
    assert (explain("guided_backprop", model_pass) >= 0).all()
    assert (explain("deconvnet", model_pass) >= 0).all()
    assert explain("saliency", make_pass(model_pass.model, model_pass.images)).equal(before)


@pytest.mark.parametrize(("name", "peer"), [("guided_backprop", GuidedBackprop), ("deconvnet", Deconvolution)])
@pytest.mark.parametrize("net", [Pooled(), Stack(nn.ReLU()), Stack(nn.ReLU(), nn.MaxPool2d(3, 2))])
def test_rectified_gradients_are_captum_s(name: str, peer: type, net: nn.Module) -> None:
    """With one ReLU, one at two places, and max pooling between."""
    model_pass = make_pass(net, random_images(3))
    torch.testing.assert_close(explain(name, model_pass, 1), captum(peer, model_pass, 1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "peer"), [("guided_backprop", GuidedBackprop), ("deconvnet", Deconvolution)])
def test_on_the_shipped_architecture_too(name: str, peer: type) -> None:
    """With residual blocks and batch norms, relative to the map's largest value."""
    model_pass = make_pass(shipped(), random_images(3, 32))
    expected = captum(peer, model_pass, 1)
    torch.testing.assert_close(explain(name, model_pass, 1) / expected.abs().max(), expected / expected.abs().max())


# DeepLIFT.


def test_deeplift_of_a_linear_model_is_weight_times_difference() -> None:
    """Nothing to rescale."""
    model_pass = make_pass(Linear(WEIGHT), random_images(3), mean=MEAN)
    torch.testing.assert_close(explain("deeplift", model_pass, 1), WEIGHT[1] * (model_pass.images - start(model_pass)))


def test_deeplift_sees_what_is_saturated() -> None:
    """1 − relu(1 − x − y) at (1, 1) from (0, 0): the gradient is 0, but each gets half of the change of 1."""
    model_pass = make_pass(Saturating(), pixel(1.0, 1.0, 0.0), mean=BLACK)
    assert explain("saliency", model_pass).equal(pixel(0.0, 0.0, 0.0))
    torch.testing.assert_close(explain("deeplift", model_pass), pixel(0.5, 0.5, 0.0))
    torch.testing.assert_close(explain("deeplift", model_pass, 1), pixel(-0.5, -0.5, 0.0))


@pytest.mark.parametrize(
    "module",
    [nn.ReLU(), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.Hardswish(), nn.ELU(), nn.ReLU6(), nn.Softplus()],
    ids=lambda module: type(module).__name__,
)
def test_one_activation_gets_its_whole_change(module: nn.Module) -> None:
    """f(x) − f(mean), whatever its curve."""
    model_pass = make_pass(
        One(module), torch.randn((5, 3, 1, 1), generator=torch.Generator().manual_seed(1)) * 4, mean=MEAN
    )
    maps = explain("deeplift", model_pass)
    torch.testing.assert_close(maps[:, 0, 0, 0], change(model_pass, 0))
    assert (maps[:, 1:] == 0).all()


@pytest.mark.parametrize("net", [Pooled(), TwoReLUs(), TwoReLUs(nn.AvgPool2d(2))])
def test_deeplift_is_captum_s(net: nn.Module) -> None:
    """On ReLU networks whose modules are used once."""
    model_pass = make_pass(net, random_images(3), mean=MEAN)
    torch.testing.assert_close(
        explain("deeplift", model_pass, 1), captum(DeepLift, model_pass, 1, start(model_pass)), rtol=1e-4, atol=1e-5
    )


def test_deeplift_is_captum_s_on_the_shipped_architecture() -> None:
    """With residual blocks and batch norms, relative to the map's largest value."""
    model_pass = make_pass(shipped(), random_images(3, 32), mean=MEAN)
    expected = captum(DeepLift, model_pass, 1, start(model_pass))
    scale = expected.abs().max()
    torch.testing.assert_close(explain("deeplift", model_pass, 1) / scale, expected / scale, rtol=1e-4, atol=1e-5)


def test_a_module_may_be_used_twice() -> None:
    """The map is that of the network with a module for each place."""
    shared, apart = make_pass(Stack(nn.ReLU()), random_images(3)), make_pass(TwoReLUs(), random_images(3))
    assert explain("deeplift", shared).equal(explain("deeplift", apart))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.GELU(), nn.SiLU()], ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(3, 1)])
def test_deeplift_is_complete(activation: nn.Module, pool: nn.Module | None) -> None:
    """It adds up to the change from the mean colour to float precision, where pooling windows overlap too."""
    model_pass = make_pass(Stack(activation, pool), random_images(5), mean=MEAN)
    for target in range(3):
        size = explain("deeplift", model_pass, target).abs().sum((1, 2, 3))
        error = (explain("deeplift", model_pass, target).sum((1, 2, 3)) - change(model_pass, target)).abs()
        assert (error < 1e-5 * size).all()


@pytest.mark.parametrize(
    ("net", "right"),
    [
        (Stack(nn.Identity(), nn.MaxPool2d(2)), True),
        (Stack(nn.Identity(), nn.MaxPool2d(3, 1)), False),
        (TwoReLUs(nn.MaxPool2d(2)), False),
    ],
)
def test_deeplift_through_max_pooling_is_captum_s_where_captum_is_right(net: nn.Module, right: bool) -> None:
    """Where windows overlap, or behind a ReLU, Captum's values miss the change of the logit, and ours do not."""
    model_pass = make_pass(net, random_images(3), mean=MEAN)
    found, peer, due = (
        explain("deeplift", model_pass, 1),
        captum(DeepLift, model_pass, 1, start(model_pass)),
        change(model_pass, 1),
    )
    torch.testing.assert_close(found.sum((1, 2, 3)), due, rtol=1e-4, atol=1e-4)
    missed = ((peer.sum((1, 2, 3)) - due) / due).abs()
    if right:
        torch.testing.assert_close(found, peer, rtol=1e-4, atol=1e-4)
    else:
        assert missed.max() > 0.1


def test_a_maximum_rises_where_it_is_and_falls_where_it_was() -> None:
    """The largest of three values: of (3, 1, 0) against (1, 2, 0) the rise of 1 is the first value's, the other way
    round the fall of 1 is the first value's too; between (1, 3, 0) and (2, 2, 0) the second value's."""

    class Largest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.MaxPool2d((1, 3))

        def forward(self, images: Tensor) -> Tensor:
            answer = self.pool(images.view(-1, 1, 1, 3))[:, 0, 0, 0]
            return torch.stack([answer, -answer], dim=1)

    def lifted(x: tuple[float, ...], mean: tuple[float, ...]) -> list[float]:
        return explain("deeplift", make_pass(Largest(), pixel(*x), mean=torch.tensor(mean))).flatten().tolist()

    assert lifted((3.0, 1.0, 0.0), (1.0, 2.0, 0.0)) == [1, 0, 0]
    assert lifted((1.0, 2.0, 0.0), (3.0, 1.0, 0.0)) == [-1, 0, 0]
    assert lifted((1.0, 3.0, 0.0), (2.0, 2.0, 0.0)) == [0, 1, 0]


def test_the_mean_colour_itself_has_a_zero_map() -> None:
    """Without difference there is nothing to hand down, and nobody else's slope."""
    plain = MEAN.view(1, 3, 1, 1).expand(1, 3, 8, 8)
    net = Stack(nn.ReLU(), nn.MaxPool2d(3, 2))
    maps = explain("deeplift", make_pass(net, torch.cat([plain, random_images(2)]), mean=MEAN))
    assert maps[0].equal(torch.zeros(3, 8, 8))
    torch.testing.assert_close(maps[1:], explain("deeplift", make_pass(net, random_images(2), mean=MEAN)))


@pytest.mark.parametrize("name", ["deeplift", "deeplift_shap"])
@pytest.mark.parametrize("activation", [torch.relu, lambda x: x * x.sigmoid(), lambda x: x * x.mean(1, keepdim=True)])
def test_a_model_whose_values_do_not_add_up_is_refused(name: str, activation: Callable[[Tensor], Tensor]) -> None:
    """Activations that are functions, and products of signals, have no rule; no hook stays behind."""
    model_pass = make_pass(Stack(activation, nn.MaxPool2d(2)), random_images(3))
    with pytest.raises(ModelError, match="'Stack' has parts for which DeepLIFT has no rule"):
        explain(name, model_pass)
    assert not any(module._forward_hooks for module in model_pass.model.net.modules())


# Several baselines.


def reference(count: int) -> ReferenceImages:
    return ReferenceImages(random_images(count, seed=11), tuple(f"other/{number}" for number in range(count)))


def test_deeplift_shap_is_captum_s() -> None:
    """The mean over the reference images."""
    references = reference(4)
    model_pass = make_pass(TwoReLUs(), random_images(3), reference=references)
    expected = captum(DeepLiftShap, model_pass, 1, references.images)
    torch.testing.assert_close(explain("deeplift_shap", model_pass, 1, baselines=9), expected, rtol=1e-4, atol=1e-5)


def test_deeplift_shap_takes_evenly_spaced_references() -> None:
    """Three of nine are the first, the middle and the last."""
    references = reference(9)
    few = ReferenceImages(references.images[[0, 4, 8]], ("a", "b", "c"))
    maps = explain("deeplift_shap", make_pass(Pooled(), random_images(2), reference=references), baselines=3)
    torch.testing.assert_close(maps, explain("deeplift_shap", make_pass(Pooled(), random_images(2), reference=few)))


def test_deeplift_shap_without_reference_is_deeplift() -> None:
    """The mean colour is the one baseline; no baseline at all is refused."""
    model_pass = make_pass(Pooled(), random_images(2), mean=MEAN)
    assert explain("deeplift_shap", model_pass).equal(explain("deeplift", model_pass))
    with pytest.raises(BadParameter, match="deeplift_shap: baselines must be at least 1"):
        explainers["deeplift_shap"].create({"baselines": 0})


# Full gradients.


def test_fullgrad_by_hand() -> None:
    """|Input times gradient| summed over channels, and |bias times gradient| of the convolution, enlarged.

    After average pooling over 4 × 4 places each firing place of channel c has the gradient w_c/16.
    """
    model_pass = make_pass(Pooled(), random_images(3))
    net, weight = model_pass.model.net, model_pass.model.net.head.weight[1]
    fires = net.conv(model_pass.images) > 0
    biases = ((weight * net.conv.bias).abs()[:, None, None] / 16 * fires).sum(1, keepdim=True)
    shown = (model_pass.images * model_pass.input_gradient(targets(model_pass, 1))).abs().sum(1, keepdim=True)
    torch.testing.assert_close(explain("fullgrad", model_pass, 1), shown + upsample(biases, (8, 8)))


def test_the_terms_of_fullgrad_add_up_to_the_logit() -> None:
    """Input, convolutions, batch norms, shortcuts and head: signed, on the shipped architecture and two toys."""
    for model, size in (
        (shipped(), 32),
        (make_model(Pooled()), 8),
        (make_model(Stack(nn.ReLU(), nn.MaxPool2d(3, 2))), 8),
    ):
        model_pass = make_pass(model, random_images(3, size))
        terms = FullGradTerms(model_pass.images)
        handles = [
            module.register_forward_hook(terms.hook)
            for module in model.net.modules()
            if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
        ]
        model_pass.gradient(model_pass.images, targets(model_pass, 2))
        for handle in handles:
            handle.remove()
        error = (terms.total - model_pass.logits[:, 2]).abs()
        assert (error < 1e-5 * terms.magnitude).all()
        assert (terms.magnitude > model_pass.logits[:, 2].abs()).all()


def test_the_input_is_what_the_first_layer_sees() -> None:
    """A network that normalises its images is explained like the one that gets them normalised."""

    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Pooled()

        def forward(self, images: Tensor) -> Tensor:
            return self.net((images - 0.5) / 0.25)

    images = random_images(3)
    maps = explain("fullgrad", make_pass(Normalising(), images), 1)
    torch.testing.assert_close(maps, explain("fullgrad", make_pass(Pooled(), (images - 0.5) / 0.25), 1))


def test_a_batch_norm_s_bias_is_its_answer_to_zero() -> None:
    """A convolution without bias and a batch norm weigh like the one convolution that does the same."""

    class Normed(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(5)
            self.norm.running_mean.copy_(torch.linspace(-1, 1, 5))
            self.norm.running_var.copy_(torch.linspace(0.5, 2, 5))
            self.norm.weight.data.copy_(torch.linspace(2, -1, 5))
            self.norm.bias.data.fill_(0.3)
            self.conv.bias = None

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.relu(self.norm(self.conv(images))).mean((2, 3)))

    normed, plain = Normed(), Pooled()
    scale = normed.norm.weight / (normed.norm.running_var + normed.norm.eps).sqrt()
    plain.conv.weight.data.copy_(normed.conv.weight * scale[:, None, None, None])
    plain.conv.bias.data.copy_(normed.norm.bias - normed.norm.running_mean * scale)
    maps = explain("fullgrad", make_pass(normed, random_images(3)), 2)
    torch.testing.assert_close(maps, explain("fullgrad", make_pass(plain, random_images(3)), 2))


def test_fullgrad_is_not_scaled() -> None:
    """Twice the head is twice the map, which is never negative and says so."""
    net = Pooled()
    before = explain("fullgrad", make_pass(net, random_images(3)))
    net.head.weight.data *= 2
    torch.testing.assert_close(explain("fullgrad", make_pass(net, random_images(3))), 2 * before)
    assert (before >= 0).all()
    assert not explainers["fullgrad"].traits.signed


def test_fullgrad_refuses_what_it_does_not_explain() -> None:
    """A network without biases in the image, and one whose terms do not add up."""
    with pytest.raises(ModelError, match="'Linear' has no convolution or batch norm with a bias"):
        explain("fullgrad", make_pass(Linear(WEIGHT), random_images(1)))
    model_pass = make_pass(Stack(nn.GELU()), random_images(3))
    with pytest.raises(ModelError, match="'Stack' has parts for which FullGrad has no rule"):
        explain("fullgrad", model_pass)
    assert not any(module._forward_hooks for module in model_pass.model.net.modules())


# All of them.


@pytest.mark.parametrize(
    ("name", "per_image"), [*((name, 1) for name in NAMES if name != "deeplift_shap"), ("deeplift_shap", 3)]
)
@pytest.mark.parametrize("chunk", [2, 64])
def test_each_costs_a_forward_and_a_backward(name: str, per_image: int, chunk: int) -> None:
    """For each image, and each of DeepLIFT SHAP's baselines; the baseline itself is not counted."""
    model_pass = make_pass(Pooled(), random_images(5), chunk=chunk, reference=reference(3))
    with model_pass.meter.attach(model_pass.model.net):
        explain(name, model_pass)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (5 * per_image, 5 * per_image)


@pytest.mark.parametrize("name", NAMES)
def test_the_chunk_does_not_change_the_map(name: str) -> None:
    """Nor is any model call larger."""
    sizes: list[int] = []
    model_pass = make_pass(Stack(nn.ReLU(), nn.MaxPool2d(3, 2)), random_images(11), reference=reference(3))
    expected = explain(name, model_pass)
    model_pass.model.net.first.register_forward_hook(lambda _m, images, _o: sizes.append(len(images[0])))
    maps = explain(name, make_pass(model_pass.model, random_images(11), chunk=8, reference=reference(3)))
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-6)
    assert max(sizes) == 8


@pytest.mark.parametrize("name", NAMES)
def test_no_hook_stays_behind_an_error(name: str) -> None:
    """A network that raises in the middle is left as it was."""

    class Broken(Pooled):
        def forward(self, images: Tensor) -> Tensor:
            super().forward(images)
            raise ValueError("broken")

    model_pass = make_pass(Broken(), random_images(1))
    with pytest.raises(ValueError, match="broken"):
        explain(name, model_pass)
    assert not any(module._forward_hooks or module._backward_hooks for module in model_pass.model.net.modules())


@pytest.mark.parametrize("name", ["guided_backprop", "deconvnet", "guided_gradcam"])
def test_a_relu_that_is_no_module_is_refused(name: str) -> None:
    """Its gradient cannot be changed, so the map would be half the method and half the plain gradient."""

    torch.manual_seed(0)
    model_pass = make_pass(make_model(Clamped(), cam_layer="first"), random_images(2))
    with pytest.raises(ModelError, match=r"outside of torch's activation modules \(Clamp\)"):
        explain(name, model_pass)
