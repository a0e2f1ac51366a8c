"""Maps that know nothing of the model, which every method must beat; and the oracle, which knows the truth.

Controls stand in every table and are never recommended.
"""

import torch
from torch import Tensor

from mavis.errors import BadParameter, DataError
from mavis.kinds import Explainer
from mavis.passes import Pass
from mavis.perturb import gaussian_blur
from mavis.registry import explainer
from mavis.types import PART_CODES


def _noise(run: Pass) -> Tensor:
    shape = (1, *run.images.shape[2:])
    return run.draw("random map", lambda g: torch.randn(shape, generator=g), fresh=True)


@explainer("random", source="protocol 2.11", needs=set(), role="control", stochastic=True)
def random() -> Explainer:
    """Independent normal numbers; fresh ones for every variant of the image or the model."""
    return lambda run, _: _noise(run)


@explainer("blurred_random", source="protocol 2.11", needs=set(), role="control", stochastic=True)
def blurred_random(sigma: float = 0.125) -> Explainer:
    """Normal numbers under a Gaussian blur: the test whether a metric likes smooth maps for their smoothness.

    Args:
        sigma: of the blur, as a share of the image's height.
    """
    return lambda run, _: gaussian_blur(_noise(run), sigma * run.images.shape[2])


@explainer("sobel", source="Adebayo et al. 2018, section 5 (edge detector)", needs=set(), role="control")
def sobel() -> Explainer:
    """Edge strength of the image."""

    def explain(run: Pass, _: Tensor) -> Tensor:
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=run.images.device)
        kernels = torch.stack([across, across.T])[:, None]
        grey = torch.nn.functional.pad(run.images.mean(1, keepdim=True), (1,) * 4, mode="replicate")
        edges: Tensor = torch.linalg.vector_norm(torch.nn.functional.conv2d(grey, kernels), dim=1, keepdim=True)
        return edges

    return explain


@explainer("centre_gaussian", source="protocol 2.11", needs=set(), role="control")
def centre_gaussian(sigma: float = 0.25) -> Explainer:
    """A Gaussian in the middle of the image: the prior that faces are centred.

    Args:
        sigma: as a share of the image's height.
    """

    def explain(run: Pass, _: Tensor) -> Tensor:
        H, W = run.images.shape[2:]
        y = torch.linspace(-0.5, 0.5, H, device=run.images.device)[:, None]
        x = torch.linspace(-0.5, 0.5, W, device=run.images.device) * (W / H)
        return torch.exp(-(x**2 + y**2) / (2 * sigma**2)).expand(len(run), 1, H, W)

    return explain


@explainer("oracle", source="protocol 4 (assets, iv)", needs={"forward"}, role="oracle", truth=True)
def oracle(draws: int = 4) -> Explainer:
    """What is known to matter: each face part drawn anew, and how far the target logit falls.

    A fall is spread over the pixels that the redrawing changed, in proportion to the change, and the maps of all parts
    and draws are averaged. Where the data cannot be drawn anew (planted squares) the map is the planted region itself.

    Args:
        draws: other values per part, at least 1; few draws are noisy, since another value can be nearly the same.
    """
    if draws < 1:
        raise BadParameter(f"oracle: draws must be at least 1, got {draws}.")

    def explain(run: Pass, targets: Tensor) -> Tensor:
        batch = run.batch
        rerender = batch.rerender
        if rerender is not None:
            every = [(part, number) for part in PART_CODES for number in range(draws)]
            return sum((_fall(run, targets, rerender(*one).to(run.images)) for one in every), _zeros(run)) / draws
        if batch.regions is not None:
            return batch.regions[:, None].float()
        raise DataError("The oracle needs data with planted truth; leave it out of --explainers for this data.")

    return explain


def _zeros(run: Pass) -> Tensor:
    return torch.zeros_like(run.images[:, :1])


def _fall(run: Pass, targets: Tensor, redrawn: Tensor) -> Tensor:
    """``(B,1,H,W)``: the fall of the target logit, spread over the pixels that differ."""
    change = (run.images - redrawn).abs().sum(1, keepdim=True)
    total = change.sum((1, 2, 3), keepdim=True)
    fall = (run.logits - run.predict(redrawn)).gather(1, targets[:, None])[:, :, None, None]
    return torch.where(total > 0, fall * change / total.where(total > 0, torch.ones_like(total)), 0.0)
