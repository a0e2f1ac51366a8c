"""Class activation maps: the CAM layer's channels, weighted, summed and enlarged to the image.

The oldest form reads the linear head's weights; the others read gradients. All return a map ``(B,1,H,W)``, enlarged
bilinearly from the layer's own grid.
"""

import torch
from torch import Tensor, nn

from mavis.errors import ModelError
from mavis.kinds import Explainer
from mavis.maps import upsampled
from mavis.passes import Pass
from mavis.registry import explainer


@explainer("cam", source="Zhou et al. 2016, equation 2, arXiv 1512.04150", needs={"activations", "weights"})
def cam() -> Explainer:
    """Head weights of the target class times activations, signed.

    Needs a network that ends in global average pooling and one linear layer.
    """

    def explain(run: Pass, targets: Tensor) -> Tensor:
        weights = _head(run).weight.detach()[targets]
        return _weighted(run, weights[:, :, None, None])

    return explain


@explainer(
    "gradcam",
    source="Selvaraju et al. 2017, equations 1 and 2, arXiv 1610.02391",
    needs={"activations", "gradient"},
)
def gradcam() -> Explainer:
    """Channels weighted by their mean gradient, summed, negative values cut."""

    def explain(run: Pass, targets: Tensor) -> Tensor:
        weights = run.activation_gradients(targets).mean((2, 3), keepdim=True)
        return _weighted(run, weights, cut=True)

    return explain


@explainer(
    "gradcam_plus_plus",
    source="Chattopadhay et al. 2018, equations 5 and 19, arXiv 1710.11063",
    needs={"activations", "gradient"},
)
def gradcam_plus_plus() -> Explainer:
    """Grad-CAM with weights that count every place where a channel fires; negative values cut.

    The paper's weights for the class score exp(logit), whose common factor is left out: it does not change the map's
    shape and would overflow.
    """

    def explain(run: Pass, targets: Tensor) -> Tensor:
        gradient, activations = run.activation_gradients(targets), run.activations
        square, cube = gradient**2, gradient**3
        denominator = 2 * square + activations.sum((2, 3), keepdim=True) * cube
        alpha = torch.where(denominator != 0, square / denominator.where(denominator != 0, torch.ones(())), 0.0)
        weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
        return _weighted(run, weights, cut=True)

    return explain


def _weighted(run: Pass, weights: Tensor, *, cut: bool = False) -> Tensor:
    """Sum over channels of weights ``(B,C,1,1)`` times activations, cut at zero if asked, enlarged."""
    values = (weights * run.activations).sum(1, keepdim=True)
    return upsampled(values.relu() if cut else values, (run.images.shape[2], run.images.shape[3]))


def _head(run: Pass) -> nn.Linear:
    """The one linear layer that reads the pooled CAM layer."""
    linear = [module for module in run.model.net.modules() if isinstance(module, nn.Linear)]
    channels = run.activations.shape[1]
    if len(linear) != 1 or linear[0].in_features != channels:
        raise ModelError(
            f"CAM needs one linear layer of {channels} inputs after global average pooling; "
            f"'{run.model.name}' has {len(linear)} linear layers. Use gradcam, which equals CAM there."
        )
    return linear[0]
