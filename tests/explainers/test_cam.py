"""CAM, Grad-CAM and Grad-CAM++ on activations that can be written down."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from mavis.errors import ModelError
from mavis.maps import upsampled

from ..toys import Pooled, a_pass, explain, model, noise, targets


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


def by_hand() -> a_pass:
    return a_pass(model(Weighted(G), cam_layer="layer"), A[None])


@pytest.mark.parametrize("target", [0, 1, 2])
def test_cam_is_the_head_s_row_times_the_activations(target: int) -> None:
    """Signed, enlarged to the image; its mean over the layer's places plus the bias is the logit."""
    run = a_pass(model(Pooled(), cam_layer="relu"), noise(3))
    head = run.model.net.head
    small = torch.einsum("c,bchw->bhw", head.weight[target], run.activations).detach()
    torch.testing.assert_close(explain("cam", run, target), upsampled(small[:, None], (8, 8)))
    torch.testing.assert_close(small.mean((1, 2)) + head.bias[target].detach(), run.logits[:, target])


@pytest.mark.parametrize("target", [0, 1, 2])
def test_gradcam_after_average_pooling_is_the_positive_cam(target: int) -> None:
    """Over h·w = 16 places each gradient is a sixteenth of the weight: Grad-CAM = relu(CAM)/16 before enlarging."""
    run = a_pass(model(Pooled(), cam_layer="relu"), noise(3))
    weight = run.model.net.head.weight[target].detach()
    small = torch.einsum("c,bchw->bhw", weight, run.activations).relu()[:, None] / 16
    torch.testing.assert_close(explain("gradcam", run, target), upsampled(small, (8, 8)))


def test_gradcam_is_captum_s() -> None:
    """Captum's LayerGradCam with ReLU, enlarged."""
    run = a_pass(model(Pooled(), cam_layer="relu"), noise(3))
    layer = LayerGradCam(run.model.net, run.model.net.relu)
    small = layer.attribute(run.images, target=targets(run, 1), relu_attributions=True)
    torch.testing.assert_close(explain("gradcam", run, 1), upsampled(small.detach(), (8, 8)))


def test_gradcam_by_hand() -> None:
    """Channel weights are mean gradients 1/8, 0, −1; the map is relu(A₀/8 − A₂)."""
    expected = torch.tensor([[0.0, 0.0], [0.25, 0.0]])
    torch.testing.assert_close(explain("gradcam", by_hand())[0, 0], expected)


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
    run = a_pass(model(Weighted(g), cam_layer="layer"), a[None])
    total = np.zeros((4, 4))
    for ak, gk in zip(a.double().numpy(), g.double().numpy(), strict=True):
        weight = 0.0
        for g_ij in gk.flatten():
            denominator = 2 * g_ij**2 + (ak * g_ij**3).sum()
            weight += (g_ij**2 / denominator if denominator else 0.0) * max(g_ij, 0.0)
        total += weight * ak
    np.testing.assert_allclose(explain("gradcam_plus_plus", run)[0, 0], np.maximum(total, 0), rtol=1e-4, atol=1e-6)


def test_a_dead_layer_has_a_zero_map() -> None:
    """Without activations or gradients every map is zero, not NaN."""
    dead = a_pass(model(Weighted(torch.zeros(3, 2, 2)), cam_layer="layer"), torch.zeros(1, 3, 2, 2))
    for name in ("gradcam", "gradcam_plus_plus"):
        assert explain(name, dead).equal(torch.zeros(1, 1, 2, 2))


def test_nothing_is_added_to_a_negative_map() -> None:
    """Where every channel speaks against the class, Grad-CAM is exactly zero: no floor, no scaling."""
    run = a_pass(model(Weighted(-torch.ones(3, 2, 2)), cam_layer="layer"), A[None])
    assert explain("gradcam", run).equal(torch.zeros(1, 1, 2, 2))
    assert explain("gradcam", run, 1).equal((A.sum(0))[None, None])


@pytest.mark.parametrize("name", ["cam", "gradcam", "gradcam_plus_plus"])
def test_maps_have_the_image_s_size(name: str) -> None:
    """Whatever the layer's grid, one channel at the image's height and width."""
    run = a_pass(model(Pooled(), cam_layer="relu"), torch.rand(2, 3, 10, 14))
    assert explain(name, run).shape == (2, 1, 10, 14)


def test_cam_needs_one_linear_layer_on_the_pooled_channels() -> None:
    """Two linear layers, or none, are refused by name and count, with what to use instead."""

    class Deep(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Linear(3, 3)

    run = a_pass(model(Deep(), cam_layer="relu"), noise(1))
    with pytest.raises(ModelError, match=r"one linear layer of 5 inputs.*'Deep' has 2 linear layers\. Use gradcam"):
        explain("cam", run)
    with pytest.raises(ModelError, match="has 0 linear layers"):
        explain("cam", by_hand())
