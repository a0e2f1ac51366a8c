"""Layer-wise relevance propagation on nets whose relevance is known by hand, by an identity, or from zennit."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mavis.core import devices
from mavis.core.compute import Meter
from mavis.core.errors import BadParameter, ModelError
from mavis.core.perturbation.variants import Subtract
from mavis.explainers.lrp import lrp
from mavis.models.loading.architectures import build_race_resnet

from ..toys import make_pass, random_images, targets

RULES = ["epsilon", "gamma", "alpha_beta", "epsilon_plus"]
EXACT = 1e-12


def relevance(net: nn.Module, images: Tensor, target: int | Tensor = 0, **params: object) -> Tensor:
    """The map of one class, in double."""
    run = make_pass(net.double(), images.double())
    return lrp(**{"epsilon": EXACT, **params})(run, targets(run, target))


def pixel(*colours: float) -> Tensor:
    """One image of one pixel, ``(1,3,1,1)``."""
    return torch.tensor(colours, dtype=torch.float64).view(1, 3, 1, 1)


def one_by_one(rows: list, biases: list | None = None) -> nn.Conv2d:
    """A convolution of 1 × 1 with given weights, one row per output."""
    layer = nn.Conv2d(3, len(rows), 1, bias=biases is not None)
    layer.weight.data = torch.tensor(rows, dtype=torch.float64).view(len(rows), 3, 1, 1)
    if biases is not None:
        layer.bias.data = torch.tensor(biases, dtype=torch.float64)
    return layer


def dense(rows: list, biases: list | None = None) -> nn.Linear:
    """A linear layer with given weights, one row per output."""
    layer = nn.Linear(len(rows[0]), len(rows), bias=biases is not None)
    layer.weight.data = torch.tensor(rows, dtype=torch.float64)
    if biases is not None:
        layer.bias.data = torch.tensor(biases, dtype=torch.float64)
    return layer


class Joined(nn.Module):
    """The sum of two paths, or their channels side by side, under a linear layer."""

    def __init__(self, first: nn.Module, second: nn.Module, head: nn.Module, *, side_by_side: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.head, self.side_by_side = first, second, head, side_by_side

    def forward(self, images: Tensor) -> Tensor:
        one, other = self.first(images), self.second(images)
        return self.head(torch.cat([one, other], 1) if self.side_by_side else one + other)


class Residual(nn.Module):
    """Convolutions with batch normalisation, a residual sum, pooling of both kinds and two linear layers."""

    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=bias)
        self.norm1 = nn.BatchNorm2d(8) if bias else nn.Identity()
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
        self.second = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8) if bias else nn.Identity()
        self.winner, self.mean = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)
        self.hidden, self.head = nn.Linear(32, 5, bias=bias), nn.Linear(5, 3, bias=bias)

    def add(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other

    def forward(self, images: Tensor) -> Tensor:
        first = self.relu1(self.norm1(self.first(images)))
        both = self.relu2(self.add(first, self.norm2(self.second(first))))
        return self.head(self.relu3(self.hidden(self.mean(self.winner(both)).flatten(1))))


def merged(net: Residual) -> Residual:
    """Its batch normalisations become part of the convolutions, by torch's own function."""
    net.first, net.norm1 = fuse_conv_bn_eval(net.first, net.norm1), nn.Identity()
    net.second, net.norm2 = fuse_conv_bn_eval(net.second, net.norm2), nn.Identity()
    return net


def lived_in(net: nn.Module, size: int) -> nn.Module:
    """In evaluation, with batch normalisations that have seen images and have scales and shifts of their own."""
    stream = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=stream))
                module.bias.copy_(torch.randn(module.bias.shape, generator=stream) / 2)
        net.train()(random_images(8, size, seed=5))
    return net.eval()


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """The same random weights for every test."""
    torch.manual_seed(0)


# By hand: one layer.


@pytest.mark.parametrize(
    ("rule", "params", "expected"),
    [
        ("epsilon", {}, [2, -2, 3]),
        ("epsilon", {"epsilon": 1.0}, [8 / 5, -8 / 5, 12 / 5]),
        ("gamma", {"gamma": 0.0}, [2, -2, 3]),
        ("gamma", {"gamma": 0.5}, [12 / 7, -8 / 7, 18 / 7]),
        ("epsilon_plus", {}, [4 / 3, 0, 2]),
        ("alpha_beta", {"alpha": 1.0}, [4 / 3, 0, 2]),
        ("alpha_beta", {"alpha": 2.0}, [8 / 3, -4, 4]),
    ],
)
def test_one_convolution_by_hand(rule: str, params: dict, expected: list) -> None:
    """Each rule shares the logit among the contributions of one layer, and the bias keeps its share.

    x = (1,2,3), w = (2,−1,1), b = 1: the contributions are (2,−2,3) and 1, the logit is 4. With ε = 1 the divisor is
    5. With γ = ½ they are (3,−2,4.5) and 1.5, together 7. The positive ones are 2, 3 and 1, together 6; the negative
    one is alone.
    """
    net = nn.Sequential(one_by_one([[2, -1, 1], [0, 0, 0]], [1, 0]), nn.Flatten())
    found = relevance(net, pixel(1, 2, 3), rule=rule, **params)
    assert found.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("rule", "expected"), [("epsilon_plus", [12 / 7, 12 / 7, 18 / 7]), ("gamma", [36 / 19, 36 / 19, 54 / 19])]
)
def test_negative_inputs_by_hand(rule: str, expected: list) -> None:
    """A negative input under a negative weight contributes positively.

    x = (1,−2,3), w = (2,−1,1), b = −1: contributions (2,2,3) and −1, logit 6. The positive ones add up to 7. With
    γ = ½ they are (3,3,4.5) and −1, together 9.5.
    """
    net = nn.Sequential(one_by_one([[2, -1, 1]], [-1]), nn.Flatten())
    assert relevance(net, pixel(1, -2, 3), rule=rule, gamma=0.5).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"rule": "gamma", "gamma": 0.5}, [-12 / 7, 8 / 7, -18 / 7]),
        ({"rule": "epsilon", "epsilon": 1.0}, [-8 / 5, 8 / 5, -12 / 5]),
    ],
)
def test_a_negative_logit_by_hand(params: dict, expected: list) -> None:
    """Where the output is negative, gamma favours the negative contributions, and ε is subtracted.

    x = (1,2,3), w = (−2,1,−1), b = −1: contributions (−2,2,−3) and −1, logit −4. With γ = ½: (−3,2,−4.5) and −1.5,
    together −7. With ε = 1 the divisor is −5.
    """
    net = nn.Sequential(one_by_one([[-2, 1, -1]], [-1]), nn.Flatten())
    assert relevance(net, pixel(1, 2, 3), **params).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rule", RULES)
def test_a_linear_layer_follows_the_epsilon_rule(rule: str) -> None:
    """Whatever the rule for convolutions: x = (1,2,3), w = (2,−1,1), b = 1 give (2,−2,3)."""
    net = nn.Sequential(nn.Flatten(), dense([[2, -1, 1], [0, 0, 0]], [1, 0]))
    assert relevance(net, pixel(1, 2, 3), rule=rule).flatten().tolist() == pytest.approx([2, -2, 3])


def test_each_image_explains_its_own_class() -> None:
    """The second image's second class: x = (1,2,3), w = (0,0,2) gives (0,0,6)."""
    net = nn.Sequential(nn.Flatten(), dense([[2, -1, 1], [0, 0, 2]]))
    found = relevance(net, pixel(1, 2, 3).expand(2, -1, -1, -1), torch.tensor([0, 1]))
    assert found.flatten(1).tolist() == [pytest.approx([2, -2, 3]), pytest.approx([0, 0, 6])]


def test_a_logit_of_zero_has_no_relevance() -> None:
    """Nothing to share, and no division by zero."""
    net = nn.Sequential(nn.Flatten(), dense([[1, 1, -1]]))
    assert relevance(net, pixel(1, 2, 3)).abs().max() < 1e-9


# By hand: several layers.


@pytest.mark.parametrize(("rule", "expected"), [("epsilon", [1, 4, 3]), ("epsilon_plus", [2, 4, 2])])
def test_two_layers_with_relu_by_hand(rule: str, expected: list) -> None:
    """The hidden units share the logit, then the pixels share each unit's part.

    x = (1,2,3). Units (1,1,0), (−1,0,1), (0,0,−1) are 3, 2 and off; head (2,1,5) gives 8 = 6 + 2. The first unit's 6
    go as (2,4,0); the second's contributions are (−1,0,3): its 2 go as (−1,0,3), or (0,0,2) for the positive ones.
    """
    hidden = one_by_one([[1, 1, 0], [-1, 0, 1], [0, 0, -1]])
    net = nn.Sequential(hidden, nn.ReLU(), nn.Flatten(), dense([[2, 1, 5]]))
    assert relevance(net, pixel(1, 2, 3), rule=rule).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["epsilon", "gamma", "epsilon_plus"])
def test_a_residual_sum_is_shared_in_proportion(rule: str) -> None:
    """y = x + 2·(x turned by one channel); of y₁ = x₁ + 2x₂ with x = (1,2,3), 1 comes straight and 4 by the layer."""
    turned = one_by_one([[0, 2, 0], [0, 0, 2], [2, 0, 0]])
    net = Joined(nn.Identity(), turned, nn.Sequential(nn.Flatten(), dense([[1, 0, 0]])))
    assert relevance(net, pixel(1, 2, 3), rule=rule).flatten().tolist() == pytest.approx([1, 4, 0])


def test_a_difference_is_shared_in_proportion() -> None:
    """Of x₁ − 2x₂ = −3 with x = (1,2,3), 1 comes from the first and −4 from the second."""

    class Difference(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            flat = images.flatten(1)
            return torch.sub(flat[:, :1], flat[:, 1:2], alpha=2)

    assert relevance(Difference(), pixel(1, 2, 3)).flatten().tolist() == pytest.approx([1, -4, 0])


def test_channels_side_by_side_keep_their_relevance() -> None:
    """Concatenation only moves: head (1,0,0,0,3,0) over (x, x) with x = (1,2,3) gives (1,6,0)."""
    head = nn.Sequential(nn.Flatten(), dense([[1, 0, 0, 0, 3, 0]]))
    found = relevance(Joined(nn.Identity(), nn.Identity(), head, side_by_side=True), pixel(1, 2, 3))
    assert found.flatten().tolist() == pytest.approx([1, 6, 0])


def test_pooling_by_hand() -> None:
    """An average is shared in proportion to the values, a maximum goes to the winner.

    Of one channel with values 1, 2, 3, 4 the mean is 2.5 = ¼ + ½ + ¾ + 1, and the maximum is 4.
    """
    images = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 3, 2, 2)
    head = nn.Sequential(nn.Flatten(), dense([[1, 0, 0]]))
    for pool in (nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)):
        mean = relevance(nn.Sequential(pool, head), images)
        assert mean[0, 0].flatten().tolist() == pytest.approx([0.25, 0.5, 0.75, 1])
        assert not mean[0, 1:].any()
    winner = relevance(nn.Sequential(nn.MaxPool2d(2), head), images)
    assert winner[0, 0].flatten().tolist() == pytest.approx([0, 0, 0, 4])


# Identities.


@pytest.mark.parametrize("rule", RULES)
def test_without_biases_the_values_add_up_to_the_logit(rule: str) -> None:
    """Nothing is lost in convolutions, a residual sum, both kinds of pooling and linear layers."""
    net, images = Residual(bias=False), random_images(4, 16) - 0.5
    for target in range(3):
        total = relevance(net, images, target, rule=rule).sum((1, 2, 3))
        torch.testing.assert_close(total, net(images.double())[:, target].detach(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_batch_normalisation_is_part_of_the_convolution(rule: str) -> None:
    """The map is that of the net whose normalisations torch itself has merged into the convolutions."""
    net, images = lived_in(Residual(), 16), random_images(3, 16)
    found = relevance(net, images, 1, rule=rule)
    torch.testing.assert_close(found, relevance(merged(net), images, 1, rule=rule), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "expected"), [("epsilon", [2, -2, 3]), ("epsilon_plus", [2, 0, 3]), ("alpha_beta", [4, -4, 6])]
)
def test_batch_normalisation_that_follows_nothing_is_a_layer(rule: str, expected: list) -> None:
    """Each value has a layer of its own, whose shift is a bias.

    A convolution that copies, ReLU, a normalisation with scale (2,−1,1) and shift (1,0,0), and a sum: of x = (1,2,3)
    it makes (3,−2,3), logit 4. The first channel's 3 are 2 and the shift's 1; under ``epsilon_plus`` the second's −2,
    made by nothing positive, are lost. ``alpha_beta`` has the epsilon rule's (2,−2,3), which the convolution doubles:
    each of its outputs has one contribution, and that is positive.
    """
    norm = nn.BatchNorm2d(3, eps=0.0)
    norm.weight.data, norm.bias.data = torch.tensor([2.0, -1.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    copied = one_by_one([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    net = nn.Sequential(copied, nn.ReLU(), norm, nn.Flatten(), dense([[1, 1, 1]]))
    assert relevance(net, pixel(1, 2, 3), rule=rule).flatten().tolist() == pytest.approx(expected)


def lowering() -> nn.Module:
    """A batch normalisation that makes 1 − m of m, and a ReLU and a linear layer that change nothing."""
    norm = nn.BatchNorm2d(1, eps=0.0)
    norm.weight.data, norm.bias.data = torch.tensor([-1.0]), torch.tensor([1.0])
    return nn.Sequential(norm, nn.ReLU(), nn.Flatten(), dense([[1]]))


@pytest.mark.parametrize("rest", [2.0**-4, 2.0**-10, 2.0**-16])
def test_alpha_beta_does_not_divide_by_an_average_that_has_cancelled(rest: float) -> None:
    """However little is left of an average of both signs, single precision gives its terms what theory says.

    A convolution that copies, the mean m = δ/2 of 1 and −1 + δ, and 1 − m. The mean gets −m, the terms −½ and ½ − δ/2;
    α doubles the first, and β turns the sign of the second. A rule that gave the mean −(1 − m) would end near 1/δ.
    """
    net = nn.Sequential(one_by_one([[1, 0, 0]]), nn.AvgPool2d((1, 2)), lowering()).float()
    images = torch.zeros(1, 3, 1, 2)
    images[0, 0, 0] = torch.tensor([1, rest - 1])
    run = make_pass(net, images)
    found = lrp(rule="alpha_beta", epsilon=EXACT)(run, targets(run))
    assert found[0, 0, 0].tolist() == pytest.approx([-1, (rest - 1) / 2])


@pytest.mark.parametrize("rest", [2.0**-4, 2.0**-10, 2.0**-16])
def test_alpha_beta_does_not_divide_by_a_sum_that_has_cancelled(rest: float) -> None:
    """The same for a residual sum of 1 and −1 + δ: the terms get −1 and 1 − δ, the pixels −2 and δ − 1."""
    net = Joined(one_by_one([[1, 0, 0]]), one_by_one([[0, 1, 0]]), lowering()).float()
    run = make_pass(net, pixel(1, rest - 1, 0).float())
    found = lrp(rule="alpha_beta", epsilon=EXACT)(run, targets(run))
    assert found.flatten().tolist() == pytest.approx([-2, rest - 1, 0])


@pytest.mark.parametrize("rule", RULES)
def test_the_image_s_units_do_not_matter(rule: str) -> None:
    """A shifted image before a net that takes the shift away has the same relevance."""
    net, images = lived_in(Residual(), 16), random_images(3, 16)
    shifted = relevance(nn.Sequential(Subtract(0.3), net), images.double() + 0.3, 1, rule=rule)
    torch.testing.assert_close(shifted, relevance(net, images, 1, rule=rule), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
def test_a_normalisation_of_the_image_takes_nothing(rule: str) -> None:
    """Batch normalisation as the first layer only sets the image's units."""
    norm, net, images = lived_in(nn.BatchNorm2d(3), 16), lived_in(Residual(), 16), random_images(3, 16).double()
    found = relevance(nn.Sequential(norm, net), images, 1, rule=rule)
    expected = relevance(net, norm(images).detach(), 1, rule=rule)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def vgg() -> nn.Module:
    """Torchvision's VGG-11 with batch normalisation and a small classifier."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"], batch_norm=True)
    head = [nn.Linear(512 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)]
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *head)


NETS = {
    "race_resnet": lambda: build_race_resnet(7),
    "vgg": vgg,
    "resnet18": lambda: torchvision.models.resnet18(num_classes=3),
    "resnet50": lambda: torchvision.models.resnet50(num_classes=3),
    "densenet121": lambda: torchvision.models.densenet121(num_classes=3),
    "shufflenet": lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=3),
    "squeezenet": lambda: torchvision.models.squeezenet1_1(num_classes=3),
}


@pytest.mark.parametrize("name", NETS)
def test_epsilon_is_gradient_times_input_on_a_rectifier_network(name: str) -> None:
    """With a vanishing ε the epsilon rule is the gradient times the image in the net's own units, whatever its form.

    Ancona et al. 2018, proposition 1. Every operation is covered at once, also DenseNet's normalisations, which follow
    no convolution.
    """
    net, images = lived_in(NETS[name](), 32), random_images(2, 32)
    found = relevance(net, images, 2, rule="epsilon")
    run = make_pass(net, images.double())
    origin = 0.5 if name == "race_resnet" else 0.0
    expected = (run.images - origin) * run.input_gradient(targets(run, 2))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["race_resnet", "densenet121"])
def test_single_precision_is_enough(name: str, rule: str) -> None:
    """No rule divides by what has cancelled so far that rounding would show: in double the map is the same."""
    net, images = lived_in(NETS[name](), 32), random_images(2, 32)
    run = make_pass(net, images)
    found = lrp(rule=rule)(run, targets(run, 1))
    expected = relevance(net, images, 1, rule=rule, epsilon=1e-6)
    assert (found - expected).abs().max() <= 0.02 * expected.abs().max()


@pytest.mark.parametrize("rule", ["gamma", "epsilon_plus"])
@pytest.mark.parametrize("name", ["race_resnet", "resnet18", "densenet121", "shufflenet"])
def test_values_do_not_grow(name: str, rule: str) -> None:
    """The two rules that favour one sign keep all relevance together within a few times the largest logit."""
    run = make_pass(lived_in(NETS[name](), 32), random_images(2, 32))
    found = lrp(rule=rule)(run, targets(run, 1))
    assert (found.abs().sum((1, 2, 3)) < 10 * run.logits.abs().amax(1)).all()


# zennit.


class Stacked(Residual):
    """The residual sum as a module of zennit's, which is how it sees one."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = pytest.importorskip("zennit.layer", reason="zennit is not installed").Sum()

    def add(self, one: Tensor, other: Tensor) -> Tensor:
        return self.sum(torch.stack([one, other], -1))


def zennit_s(net: nn.Module, images: Tensor, rule: str) -> Tensor:
    """Zennit's relevance of class 1, started with the logit, with our divisors."""
    from zennit import attribution, composites, rules, types

    chosen = {
        "epsilon": rules.Epsilon(EXACT),
        "gamma": rules.Gamma(0.25, EXACT),
        "alpha_beta": rules.AlphaBeta(2, 1, EXACT),
        "epsilon_plus": rules.ZPlus(EXACT),
    }[rule]
    layers = [(types.Convolution, chosen), (nn.Linear, rules.Epsilon(EXACT))]
    composite = composites.LayerMapComposite(composites.layer_map_base(EXACT) + layers)
    with attribution.Gradient(model=net, composite=composite) as attributor:
        found = attributor(images.clone().requires_grad_(), lambda out: out * torch.tensor([0.0, 1.0, 0.0]))
    return found[1].detach()


@pytest.mark.parametrize("rule", RULES)
def test_zennit_gives_the_same(rule: str) -> None:
    """The four rules are zennit's, on a residual network and with negative inputs.

    Its network has the batch normalisations merged by torch: zennit's own merging leaves their ε of 1e-5 in place.
    """
    stacked, net = Stacked(), lived_in(Residual(), 16)
    stacked.load_state_dict(net.state_dict())
    images = random_images(3, 16).double() - 0.4
    expected = zennit_s(merged(stacked.eval().double()), images, rule)
    torch.testing.assert_close(relevance(net, images, 1, rule=rule), expected, rtol=1e-6, atol=1e-9)


# What has no rule.


class Gated(nn.Module):
    """A signal times another, as in squeeze-and-excitation."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        return flat * flat.mean(1, keepdim=True)


class Overwriting(nn.Module):
    """Adds in place and reads the result under the old name."""

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1) * 1
        flat.add_(flat)
        return flat.relu()


class Doubled(torch.autograd.Function):
    """An operation that torch does not show."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return 2 * values

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return 2 * gradient


class Hidden(nn.Module):
    """Uses such an operation."""

    def forward(self, images: Tensor) -> Tensor:
        return Doubled.apply(images.flatten(1))


def after(module: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), module)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (after(nn.GELU()), r"no rule for gelu \(module '1'\); leave out lrp for 'Sequential'"),
        (after(nn.SiLU()), r"no rule for silu \(module '1'\)"),
        (after(nn.LayerNorm(12)), r"no rule for layer_norm \(module '1'\)"),
        (after(nn.Sequential(nn.Softmax(1))), r"no rule for softmax \(module '1\.0'\)"),
        (after(nn.TransformerEncoderLayer(12, 2, 8, batch_first=True)), "LRP "),
        (nn.Sequential(nn.GroupNorm(1, 3), nn.Flatten()), r"no rule for group_norm \(module '0'\)"),
        (Gated(), "no rule for mul; leave out lrp for 'Gated'"),
        (Overwriting(), "cannot follow 'Overwriting'"),
        (Hidden(), "cannot follow 'Hidden'"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_has_no_rule_is_named(net: nn.Module, said: str) -> None:
    """An operation without a rule, or one that cannot be seen, is an error: never a map that only looks like one."""
    run = make_pass(net, random_images(2, 2))
    before = net(run.images)
    with pytest.raises(ModelError, match=said):
        lrp()(run, targets(run))
    assert net(run.images).equal(before)


@pytest.mark.parametrize("name", ["vit_b_16", "convnext_tiny", "mobilenet_v3_small", "efficientnet_b0"])
def test_architectures_without_rules_are_named(name: str) -> None:
    """Transformers and nets with smooth or gating activations are refused."""
    size = 224 if name == "vit_b_16" else 32
    run = make_pass(getattr(torchvision.models, name)(num_classes=3), random_images(1, size))
    with pytest.raises(ModelError, match=r"LRP has no rule for \w+ \(module '.+'\)"):
        lrp()(run, targets(run))


def test_functions_in_place_are_followed() -> None:
    """``+=`` and in-place activations, as torchvision's ResNet has them, give the map of their ordinary forms."""

    class InPlace(Residual):
        def add(self, one: Tensor, other: Tensor) -> Tensor:
            other += one
            return other

    net, images = lived_in(Residual(), 16), random_images(2, 16)
    other = InPlace()
    other.load_state_dict(net.state_dict())
    other.relu1, other.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
    found = relevance(other, images, 1)
    torch.testing.assert_close(found, relevance(net, images, 1))


@pytest.mark.parametrize("first", [nn.ReLU(inplace=True), nn.Hardtanh(-0.2, 0.2, inplace=True)])
def test_the_image_is_never_overwritten(first: nn.Module) -> None:
    """A net that would clip its image in place is given no chance to, in a batch that is not filled up either."""
    images = random_images(devices.batch_multiple(), 2) - 0.5
    before = images.clone()
    run = make_pass(nn.Sequential(first, nn.Flatten(), nn.Linear(12, 3)), images)
    lrp()(run, targets(run))
    assert images.equal(before)


# Its place in a run.


def test_one_forward_and_one_backward_per_image() -> None:
    """Its cost is that of a gradient, whatever the chunk."""
    for chunk in (2, 64):
        meter = Meter()
        run = make_pass(lived_in(Residual(), 16), random_images(5, 16), meter=meter, chunk=chunk)
        with meter.attach(run.model.net):
            lrp()(run, targets(run))
        assert (meter.forwards, meter.backwards) == (5, 5)


def test_torch_is_left_as_it_was() -> None:
    """Afterwards gradients are gradients again."""
    run = make_pass(lived_in(Residual(), 16), random_images(2, 16))
    before = make_pass(run.model, run.images).input_gradient(targets(run))
    lrp()(run, targets(run))
    assert make_pass(run.model, run.images).input_gradient(targets(run)).equal(before)


@pytest.mark.parametrize(
    "params", [{"rule": "z_plus"}, {"epsilon": 0.0}, {"gamma": -0.1}, {"alpha": 0.5}, {"epsilon": float("nan")}]
)
def test_parameters_that_make_no_sense_are_refused(params: dict) -> None:
    """An unknown rule, no stabiliser, negative favour, fewer than all positive contributions."""
    with pytest.raises(BadParameter, match="lrp: "):
        lrp(**params)
