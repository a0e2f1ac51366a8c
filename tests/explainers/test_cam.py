"""Class activation maps on activations and gradients that can be written down, and against pytorch-grad-cam."""

import warnings

import numpy as np
import pytest
import torch
from captum.attr import GuidedGradCam, LayerGradCam
from torch import Tensor, nn
from torch.nn import functional

from mavis.core.attribution_maps import upsample
from mavis.core.errors import BadParameter, ModelError
from mavis.core.model_pass import Pass
from mavis.core.registry import explainers
from mavis.explainers.cam import channels_first, patch_grid

from ..toys import Pooled, explain, make_model, make_pass, measure_cost, random_images, targets

BY_GRADIENT = ("gradcam", "gradcam_plus_plus", "hirescam", "layercam", "xgradcam")
BY_FORWARD = ("eigencam", "scorecam", "ablationcam")


class Weighted(nn.Module):
    """The CAM layer is the image itself; the logit is a weighted sum over its places, so gradients are the weights."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.weight = weight

    def forward(self, images: Tensor) -> Tensor:
        answer = (self.layer(images) * self.weight).sum((1, 2, 3))
        return torch.stack([answer, -answer], dim=1)


A = torch.tensor([[[1.0, 0.0], [2.0, 3.0]], [[0.0, 1.0], [0.0, 0.0]], [[2.0, 2.0], [0.0, 1.0]]])
G = torch.tensor([[[1.0, -1.0], [0.5, 0.0]], [[2.0, 0.0], [-3.0, 1.0]], [[-1.0, -1.0], [0.0, -2.0]]])
"""Activations and gradients of three channels at 2 × 2 places."""


def by_hand() -> Pass:
    return make_pass(make_model(Weighted(G), cam_layer="layer"), A[None])


@pytest.mark.parametrize("target", [0, 1, 2])
def test_cam_is_the_head_s_row_times_the_activations(target: int) -> None:
    """Signed, enlarged to the image; its mean over the layer's places plus the bias is the logit."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    head = model_pass.model.net.head
    small = torch.einsum("c,bchw->bhw", head.weight[target], model_pass.activations).detach()
    torch.testing.assert_close(explain("cam", model_pass, target), upsample(small[:, None], (8, 8)))
    torch.testing.assert_close(small.mean((1, 2)) + head.bias[target].detach(), model_pass.logits[:, target])


@pytest.mark.parametrize("target", [0, 1, 2])
def test_gradcam_after_average_pooling_is_the_positive_cam(target: int) -> None:
    """Over h·w = 16 places each gradient is a sixteenth of the weight: Grad-CAM = relu(CAM)/16 before enlarging."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    weight = model_pass.model.net.head.weight[target].detach()
    small = torch.einsum("c,bchw->bhw", weight, model_pass.activations).relu()[:, None] / 16
    torch.testing.assert_close(explain("gradcam", model_pass, target), upsample(small, (8, 8)))


def test_gradcam_is_captum_s() -> None:
    """Captum's LayerGradCam with ReLU, enlarged."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    layer = LayerGradCam(model_pass.model.net, model_pass.model.net.relu)
    small = layer.attribute(model_pass.images, target=targets(model_pass, 1), relu_attributions=True)
    torch.testing.assert_close(explain("gradcam", model_pass, 1), upsample(small.detach(), (8, 8)))


def test_gradcam_by_hand() -> None:
    """Channel weights are mean gradients 1/8, 0, −1; the map is relu(A₀/8 − A₂)."""
    expected = torch.tensor([[0.0, 0.0], [0.25, 0.0]])
    torch.testing.assert_close(explain("gradcam", by_hand())[0, 0], expected)


def test_hirescam_by_hand() -> None:
    """Gradient times activation, added up over the channels, with its sign."""
    expected = torch.tensor([[-1.0, -2.0], [1.0, -2.0]])
    torch.testing.assert_close(explain("hirescam", by_hand())[0, 0], expected)


def test_layercam_by_hand() -> None:
    """Only channel 0 has activations where its gradient is positive: 1·1 and 2·0.5."""
    expected = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(explain("layercam", by_hand())[0, 0], expected)


def test_xgradcam_by_hand() -> None:
    """Weights ΣA·g/ΣA are 2/6, 0/1 and −6/5; the map is relu(A₀/3 − 6·A₂/5)."""
    expected = torch.tensor([[0.0, 0.0], [2 / 3, 0.0]])
    torch.testing.assert_close(explain("xgradcam", by_hand())[0, 0], expected)


def test_gradcam_plus_plus_by_hand() -> None:
    """Equations 5 and 19 in a plain loop: alpha = g²/(2g² + ΣA·g³), weight = Σ alpha·relu(g).

    Channel 0 (ΣA = 6): alpha·g = 1/(2+6) at g = 1 and 0.25·0.5/(0.5+0.75) at g = 0.5, so 0.225. Channel 1 (ΣA = 1):
    4·2/(8+8) and 1/(2+1), so 5/6. Channel 2 has no positive gradient: 0.
    """
    weights = [1 / 8 + 0.25 * 0.5 / 1.25, 8 / 16 + 1 / 3, 0.0]
    assert weights[:2] == pytest.approx([0.225, 5 / 6])
    expected = sum(w * a for w, a in zip(weights, A.numpy(), strict=True))
    np.testing.assert_allclose(explain("gradcam_plus_plus", by_hand())[0, 0], np.maximum(expected, 0), rtol=1e-6)


def test_gradcam_plus_plus_loops_over_any_network() -> None:
    """On random activations and gradients of mixed sign the loop over equations 5 and 19 gives the map."""
    stream = torch.Generator().manual_seed(4)
    a, g = torch.rand((3, 4, 4), generator=stream), torch.randn((3, 4, 4), generator=stream)
    g[1, 2] = 0
    model_pass = make_pass(make_model(Weighted(g), cam_layer="layer"), a[None])
    total = np.zeros((4, 4))
    for ak, gk in zip(a.double().numpy(), g.double().numpy(), strict=True):
        weight = 0.0
        for g_ij in gk.flatten():
            denominator = 2 * g_ij**2 + (ak * g_ij**3).sum()
            weight += (g_ij**2 / denominator if denominator else 0.0) * max(g_ij, 0.0)
        total += weight * ak
    np.testing.assert_allclose(
        explain("gradcam_plus_plus", model_pass)[0, 0], np.maximum(total, 0), rtol=1e-4, atol=1e-6
    )


def test_a_dead_layer_has_a_zero_map() -> None:
    """Without activations or gradients every map is zero, not NaN."""
    dead = make_pass(make_model(Weighted(torch.zeros(3, 2, 2)), cam_layer="layer"), torch.zeros(1, 3, 2, 2))
    for name in (*BY_GRADIENT, *BY_FORWARD):
        assert explain(name, dead).equal(torch.zeros(1, 1, 2, 2))


def test_nothing_is_added_to_a_negative_map() -> None:
    """Where every channel speaks against the class, Grad-CAM is exactly zero: no floor, no scaling."""
    model_pass = make_pass(make_model(Weighted(-torch.ones(3, 2, 2)), cam_layer="layer"), A[None])
    assert explain("gradcam", model_pass).equal(torch.zeros(1, 1, 2, 2))
    assert explain("gradcam", model_pass, 1).equal((A.sum(0))[None, None])


@pytest.mark.parametrize("name", ["cam", *BY_GRADIENT, *BY_FORWARD])
def test_maps_have_the_image_s_size(name: str) -> None:
    """Whatever the layer's grid, one channel at the image's height and width."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), torch.rand(2, 3, 10, 14))
    assert explain(name, model_pass).shape == (2, 1, 10, 14)


def test_cam_needs_one_linear_layer_on_the_pooled_channels() -> None:
    """Two linear layers, or none, are refused by name and count, with what to use instead."""

    class Deep(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Linear(3, 3)

    model_pass = make_pass(make_model(Deep(), cam_layer="relu"), random_images(1))
    with pytest.raises(ModelError, match=r"one linear layer of 5 inputs.*'Deep' has 2 linear layers\. Use gradcam"):
        explain("cam", model_pass)
    with pytest.raises(ModelError, match="has 0 linear layers"):
        explain("cam", by_hand())


# After average pooling the methods fall together.


@pytest.mark.parametrize("target", [0, 1, 2])
def test_after_average_pooling_the_gradient_methods_are_cam(target: int) -> None:
    """Gradients are weights over 16: HiResCAM is CAM/16, XGrad-CAM is Grad-CAM, LayerCAM reads positive weights."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    torch.testing.assert_close(explain("hirescam", model_pass, target), explain("cam", model_pass, target) / 16)
    torch.testing.assert_close(explain("xgradcam", model_pass, target), explain("gradcam", model_pass, target))
    weight = model_pass.model.net.head.weight[target].detach().relu()
    small = torch.einsum("c,bchw->bhw", weight, model_pass.activations)[:, None] / 16
    torch.testing.assert_close(explain("layercam", model_pass, target), upsample(small, (8, 8)))


def test_ablationcam_after_average_pooling_weighs_by_the_contribution() -> None:
    """Without channel k the logit falls by weight times mean activation."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3), chunk=4)
    drops = model_pass.model.net.head.weight[1].detach() * model_pass.activations.mean((2, 3))
    small = torch.einsum("bc,bchw->bhw", drops, model_pass.activations).relu()[:, None]
    torch.testing.assert_close(explain("ablationcam", model_pass, 1), upsample(small, (8, 8)), rtol=1e-4, atol=1e-5)


# Without gradients.


@pytest.mark.parametrize("channels", [5, 20])
def test_eigencam_is_numpy_s_svd(channels: int) -> None:
    """Places times channels, projected on the first row of Vᵀ, turned to a positive sum; fewer and more than places."""
    model_pass = make_pass(make_model(Pooled(channels=channels), cam_layer="relu"), random_images(3))
    actual = []
    for activations in model_pass.activations.double().numpy():
        matrix = activations.reshape(channels, 16).T
        first = matrix @ np.linalg.svd(matrix)[2][0]
        actual.append((first * np.sign(first.sum())).reshape(1, 4, 4))
    small = torch.tensor(np.array(actual)).float()
    torch.testing.assert_close(explain("eigencam", model_pass), upsample(small, (8, 8)))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_eigencam_of_one_pattern_is_the_pattern(sign: float) -> None:
    """Channels that are multiples of one pattern give it back, times the length of the multiples."""
    pattern, multiples = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([2.0, -1.0, 2.0])
    model_pass = make_pass(
        make_model(Weighted(G), cam_layer="layer"), sign * (multiples[:, None, None] * pattern)[None]
    )
    torch.testing.assert_close(explain("eigencam", model_pass)[0, 0], 3 * pattern)


def test_eigencam_reads_no_class_and_is_not_negative_after_relu() -> None:
    """The same map whatever is explained."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    assert explain("eigencam", model_pass, 0).equal(explain("eigencam", model_pass, 2))
    assert (explain("eigencam", model_pass) >= 0).all()


def test_a_broken_image_costs_eigencam_no_other() -> None:
    """Activations that are not finite have a map of NaN; the others keep theirs."""
    images = torch.stack([A, torch.full_like(A, torch.nan), 2 * A])
    maps = explain("eigencam", make_pass(make_model(Weighted(G), cam_layer="layer"), images))
    assert maps[1].isnan().all()
    torch.testing.assert_close(maps[2], 2 * maps[0])


def seen_through(model_pass: Pass, target: int) -> Tensor:
    """Algorithm 1 of Score-CAM with the mean colour for black, image by image and channel by channel."""
    size, maps = model_pass.images.shape[2:], []
    for image, activations in zip(model_pass.images, model_pass.activations, strict=True):
        scores = []
        for channel in activations:
            mask = functional.interpolate(channel[None, None], size=size, mode="bilinear")[0, 0]
            spread = mask.max() - mask.min()
            mask = (mask - mask.min()) / spread if spread else torch.zeros_like(mask)
            shown = mask * image + (1 - mask) * model_pass.mean[:, None, None]
            scores.append(model_pass.model.net(shown[None])[0, target])
        weights = torch.exp(torch.stack(scores))
        maps.append(((weights / weights.sum())[:, None, None] * activations).sum(0).relu())
    return upsample(torch.stack(maps)[:, None], (size[0], size[1])).detach()


@pytest.mark.parametrize("chunk", [2, 64])
def test_scorecam_is_a_loop_over_all_channels(chunk: int) -> None:
    """Every channel is asked of every image, a dead one with the mean colour."""
    net = Pooled()
    with torch.no_grad():
        net.conv.weight[3], net.conv.bias[3] = 0, -1
    model_pass = make_pass(
        make_model(net, cam_layer="relu"), random_images(3), mean=torch.tensor([0.2, 0.5, 0.7]), chunk=chunk
    )
    assert not model_pass.activations[:, 3].any()
    torch.testing.assert_close(explain("scorecam", model_pass, 2), seen_through(model_pass, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["channels first", "tokens"])
def test_ablationcam_is_a_loop_over_all_channels(layout: str) -> None:
    """The network's upper part, run by hand on activations of which one channel is zero."""
    net = Upper(tokens=layout == "tokens")
    model_pass = make_pass(make_model(net, cam_layer="layer"), random_images(3, size=4), chunk=5)
    inside = net.layer(model_pass.images.flatten(2).mT if net.tokens else model_pass.images)
    drops = []
    for channel in range(3):
        without = inside.clone()
        (without.mT if net.tokens else without)[:, channel] = 0
        drops.append((net.above(inside) - net.above(without))[:, 1])
    small = (torch.stack(drops, 1)[:, :, None, None] * model_pass.images).sum(1, keepdim=True).relu()
    torch.testing.assert_close(explain("ablationcam", model_pass, 1), small)


class Upper(nn.Module):
    """The CAM layer hands the image on, channels first or as tokens; above it a ReLU network."""

    def __init__(self, *, tokens: bool) -> None:
        super().__init__()
        stream = torch.Generator().manual_seed(1)
        self.tokens, self.layer = tokens, nn.Identity()
        self.first, self.second = torch.randn((48, 6), generator=stream), torch.randn((6, 3), generator=stream)

    def above(self, inside: Tensor) -> Tensor:
        return (inside.flatten(1) @ self.first).relu() @ self.second

    def forward(self, images: Tensor) -> Tensor:
        return self.above(self.layer(images.flatten(2).mT if self.tokens else images))


# Tokens.


class Laid(nn.Module):
    """As `Weighted`, but the CAM layer's output is laid out otherwise, behind extra tokens of which logit 1 knows."""

    def __init__(self, weight: Tensor, extra: int | None) -> None:
        super().__init__()
        self.layer, self.weight, self.extra = nn.Identity(), weight, extra

    def forward(self, images: Tensor) -> Tensor:
        inside = images.movedim(1, -1)
        if self.extra is not None:
            inside = torch.cat([torch.ones_like(inside[:, :1, 0]).expand(-1, self.extra, -1), inside.flatten(1, 2)], 1)
        inside = self.layer(inside)
        before = inside[:, : self.extra].sum((1, 2)) if self.extra else 0.0
        places = inside if self.extra is None else inside[:, self.extra :].unflatten(1, images.shape[2:])
        return torch.stack(
            [(places.movedim(-1, 1) * self.weight).sum((1, 2, 3)), before + 0 * places.sum((1, 2, 3))], 1
        )


@pytest.mark.parametrize("extra", [None, 0, 1, 2, 5])
@pytest.mark.parametrize("name", [*BY_GRADIENT, *BY_FORWARD])
@pytest.mark.parametrize("size", [(4, 4), (4, 6)])
def test_tokens_and_channels_last_have_the_maps_of_channels_first(
    name: str, extra: int | None, size: tuple[int, int]
) -> None:
    """Extra tokens are left out and the rest is laid out as the patches lie."""
    stream = torch.Generator().manual_seed(0)
    images, weight = torch.rand((2, 3, *size), generator=stream), torch.randn((3, *size), generator=stream)
    expected = explain(name, make_pass(make_model(Weighted(weight), cam_layer="layer"), images))
    maps = explain(name, make_pass(make_model(Laid(weight, extra), cam_layer="layer"), images))
    torch.testing.assert_close(maps, expected)


def test_patches_that_the_logits_do_not_read_are_an_error() -> None:
    """Where only the class token goes on, a map of zeros would pass for an explanation."""
    model_pass = make_pass(make_model(Laid(G, 1), cam_layer="layer"), A[None])
    with pytest.raises(ModelError, match="'layer' the logits of 'Laid' read the class token only"):
        explain("gradcam", model_pass, 1)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (197, (224, 224), (14, 14)),
        (201, (224, 224), (14, 14)),
        (196, (224, 224), (14, 14)),
        (50, (224, 224), (7, 7)),
        (25, (32, 48), (4, 6)),
        (204, (224, 224), (14, 14)),
    ],
)
def test_patches_follow_the_extra_tokens(tokens: int, size: tuple[int, int], grid: tuple[int, int]) -> None:
    """The grid has the image's proportions and leaves as few tokens over as can be."""
    assert patch_grid(tokens, size) == grid


@pytest.mark.parametrize("tokens", [205, 8, 195])
def test_other_numbers_of_tokens_are_an_error(tokens: int) -> None:
    """Too many extra ones, hardly any patches, or a number just below a square."""
    with pytest.raises(ModelError, match=f"{tokens} tokens are no grid of patches of an image of 224 × 224 px"):
        patch_grid(tokens, (224, 224))


@pytest.mark.parametrize("shape", [(2, 12), (2, 3, 4, 4, 4)])
def test_a_layer_without_places_is_an_error(shape: tuple[int, ...]) -> None:
    """What has been pooled has no map."""
    with pytest.raises(ModelError, match="choose a layer before the pooling"):
        channels_first(torch.zeros(shape), (32, 32))


@pytest.mark.parametrize(
    "shape", [(2, 96, 8, 8), (2, 8, 8, 96), (2, 3, 7, 7), (2, 7, 7, 9), (2, 8, 5, 7), (2, 5, 7, 8)]
)
def test_the_grid_is_told_from_the_channels_by_its_proportions(shape: tuple[int, ...]) -> None:
    """Square for square images, oblong for oblong ones."""
    size = (10, 14) if 5 in shape else (32, 32)
    assert channels_first(torch.zeros(shape), size).shape[2:] in {(8, 8), (7, 7), (5, 7)}


# Guided, and over several layers.


def test_guided_gradcam_is_captum_s() -> None:
    """With Captum's Grad-CAM enlarged bilinearly too."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = GuidedGradCam(model_pass.model.net, model_pass.model.net.relu)
        expected = method.attribute(model_pass.images.clone().requires_grad_(), target=1, interpolate_mode="bilinear")
    torch.testing.assert_close(explain("guided_gradcam", model_pass, 1), expected.detach())


def test_guided_gradcam_takes_the_gradient_of_guided_backprop() -> None:
    """Together they ask for two passes, the guided and the plain one; each is charged what it takes alone."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    with model_pass.meter.attach(model_pass.model.net):
        with model_pass.measure_cost() as first:
            explain("guided_backprop", model_pass, 1)
        with model_pass.measure_cost() as second:
            explain("guided_gradcam", model_pass, 1)
        explain("guided_backprop", model_pass, 1)
    assert (first.forwards, second.forwards, model_pass.meter.forwards, model_pass.meter.backwards) == (3, 6, 6, 6)
    torch.testing.assert_close(
        explain("guided_backprop", model_pass, 0),
        explain("guided_backprop", make_pass(model_pass.model, model_pass.images), 0),
    )


def test_guided_gradcam_needs_a_relu() -> None:
    """Without one there is nothing to guide."""
    with pytest.raises(ModelError, match="'Weighted' has no ReLU, so guided is plain backpropagation"):
        explain("guided_gradcam", by_hand())


class Block(nn.Module):
    """A convolution and a ReLU, halving the resolution, behind one at the old resolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, out, 1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(out, out, 3, stride=2, padding=1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class Gate(nn.Module):
    """Squeeze and excitation: channels scaled by what their means say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool, self.mix = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mix(self.pool(x)).sigmoid()


class Staged(nn.Module):
    """Normalisation, a stem, two blocks that halve the resolution, a gate; then more that the CAM layer leaves out."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.normal = nn.InstanceNorm2d(3)
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=stride, padding=1), nn.ReLU())
        self.one, self.two, self.cam = Block(4, 6), Block(6, 8), Gate(8)
        self.after, self.pool, self.head = nn.Conv2d(8, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)
        stream = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=stream) * 0.5)

    def stages(self, images: Tensor) -> list[Tensor]:
        fine = self.stem(self.normal(images))
        middle = self.one(fine)
        return [fine, middle, self.cam(self.two(middle))]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.after(self.stages(images)[-1])).flatten(1))


@pytest.mark.parametrize(("stride", "gamma"), [(1, 2.0), (2, 2.0), (1, 0.5)])
def test_fusion_is_the_largest_scaled_layercam(stride: int, gamma: float) -> None:
    """Of stem, first block and CAM layer, found without being named: tanh(γ·M/max M), then the maximum."""
    size = 8 * stride
    model_pass = make_pass(make_model(Staged(stride), cam_layer="cam"), random_images(3, size))
    net, fused = model_pass.model.net, torch.zeros(3, 1, size, size)
    stages = net.stages(model_pass.images.clone().requires_grad_())
    logit = net.head(net.pool(net.after(stages[-1])).flatten(1))[:, 1].sum()
    for gradient, stage in zip(torch.autograd.grad(logit, stages), stages, strict=True):
        small = (gradient.relu() * stage.detach()).sum(1, keepdim=True).relu()
        small = small / small.amax((2, 3), keepdim=True)
        fused = torch.maximum(fused, torch.tanh(gamma * upsample(small, (size, size))))
    torch.testing.assert_close(explain("layercam_fusion", model_pass, 1, gamma=gamma), fused)


def test_fusion_of_a_silent_class_is_zero() -> None:
    """A layer without positive gradients has nothing to scale."""
    net = Staged()
    with torch.no_grad():
        net.head.weight.zero_()
    assert explain("layercam_fusion", make_pass(make_model(net, cam_layer="cam"), random_images(2))).equal(
        torch.zeros(2, 1, 8, 8)
    )


def test_fusion_needs_several_resolutions() -> None:
    """With one there is nothing to fuse."""
    with pytest.raises(ModelError, match="'Weighted' has one resolution down to its CAM layer; use layercam"):
        explain("layercam_fusion", by_hand())


def test_fusion_refuses_a_gamma_of_zero() -> None:
    """It would flatten every map."""
    with pytest.raises(BadParameter, match="layercam_fusion: gamma must be above 0, got 0"):
        explainers["layercam_fusion"].create({"gamma": 0})


# What it costs, and what stays as it was.


@pytest.mark.parametrize(
    ("name", "forwards", "backwards"),
    [
        ("cam", 3, 0),
        *((name, 3, 3) for name in BY_GRADIENT),
        ("eigencam", 3, 0),
        ("scorecam", 3 * (1 + 8), 0),
        ("ablationcam", 3 * (1 + 8), 0),
        ("guided_gradcam", 6, 6),
        ("layercam_fusion", 3, 3),
    ],
)
def test_cost_is_exact(name: str, forwards: int, backwards: int) -> None:
    """One forward and at most one backward an image; a forward per channel where channels are asked."""
    net = Pooled(channels=8) if name == "cam" else Staged()
    model_pass = make_pass(make_model(net, cam_layer="relu" if name == "cam" else "cam"), random_images(3), chunk=7)
    cost = measure_cost(model_pass, name)
    assert (cost.forwards, cost.backwards) == (forwards, backwards)


def test_gradient_methods_share_one_forward_and_one_backward() -> None:
    """Together they cost what one costs."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    with model_pass.meter.attach(model_pass.model.net):
        for name in ("cam", "eigencam", "saliency", "input_x_gradient", *BY_GRADIENT):
            explain(name, model_pass, 1)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (3, 3)


def test_guided_backpropagation_is_done_once_in_a_pass() -> None:
    """Guided Grad-CAM takes the one that is there, and its account still says what it costs alone."""
    model_pass = make_pass(make_model(Pooled(), cam_layer="relu"), random_images(3))
    with model_pass.meter.attach(model_pass.model.net):
        explain("guided_backprop", model_pass, 1)
        with model_pass.measure_cost() as cost:
            explain("guided_gradcam", model_pass, 1)
        explain("deconvnet", model_pass, 1)
    assert (model_pass.meter.forwards, model_pass.meter.backwards) == (9, 9)
    assert (cost.forwards, cost.backwards) == (6, 6)


@pytest.mark.parametrize("name", ["ablationcam", "layercam_fusion"])
def test_no_hook_is_left_behind_by_a_failure(name: str) -> None:
    """Also where the network raises in the middle."""
    net = Staged()
    model_pass = make_pass(make_model(net, cam_layer="cam"), random_images(2))
    assert len(model_pass.activations) == 2
    net.head.forward = lambda _: 1 / 0
    with pytest.raises(ZeroDivisionError):
        explain(name, model_pass)
    assert not any(module._forward_hooks for module in net.modules())


# Against pytorch-grad-cam, whose maps are scaled to [0,1].


class Full(Pooled):
    """As `Pooled`, its CAM layer as large as the image, so that nothing is enlarged; logits are positive."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.conv.stride = (1, 1)
        self.more = nn.Conv2d(5, 5, 3, padding=1)
        with torch.no_grad():
            self.more.weight.copy_(torch.randn(self.more.weight.shape, generator=torch.Generator().manual_seed(2)))
            self.head.weight.mul_(scale)
            self.head.bias.fill_(30.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.more(self.relu(self.conv(images))).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("gradcam", "GradCAM"),
        ("gradcam_plus_plus", "GradCAMPlusPlus"),
        ("hirescam", "HiResCAM"),
        ("layercam", "LayerCAM"),
        ("xgradcam", "XGradCAM"),
        ("scorecam", "ScoreCAM"),
        ("ablationcam", "AblationCAM"),
    ],
)
def test_up_to_scale_it_is_pytorch_grad_cam_s(name: str, theirs: str) -> None:
    """The same map once both are scaled to [0,1]; the data set's colour is black, as theirs.

    Gradients are large for Grad-CAM++, where theirs adds 1e-6 to a sum of squares.
    """
    library = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net = Full(scale=1e3 if name == "gradcam_plus_plus" else 1.0)
    model_pass = make_pass(make_model(net, cam_layer="relu"), random_images(3), mean=torch.zeros(3))
    for target in range(3):
        with getattr(library, theirs)(model_pass.model.net, [model_pass.model.net.relu]) as method:
            images = model_pass.images.clone().requires_grad_()
            expected = torch.tensor(method(images, [ClassifierOutputTarget(target)] * 3))
        ours = explain(name, model_pass, target)[:, 0].relu()
        low, high = ours.amin((1, 2), keepdim=True), ours.amax((1, 2), keepdim=True)
        assert (high > low).any()
        torch.testing.assert_close((ours - low) / (high - low + 1e-7), expected, rtol=0, atol=1e-5)
