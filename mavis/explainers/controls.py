"""Maps that know nothing of the model, or nothing of the image, which every method must beat.

Controls stand in every table and are never recommended.
"""

from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from mavis.core.attribution_maps import pool_channels
from mavis.core.devices import upcast
from mavis.core.errors import BadParameter, DataError
from mavis.core.metric_types import Explainer
from mavis.core.model_pass import Pass
from mavis.core.perturbation.filters import gaussian_blur
from mavis.core.registry import Entry, explainer, explainers
from mavis.core.types import Batch, ReferenceImages


def _random_map(model_pass: Pass) -> Tensor:
    shape = (1, *model_pass.images.shape[2:])
    return model_pass.draw("random map", lambda g: torch.randn(shape, generator=g), per_variant=True)


@explainer("random", source="protocol 2.11", needs=set(), role="control", stochastic=True)
def random() -> Explainer:
    """Independent normal numbers; fresh ones for every variant of the image or the model."""
    return lambda model_pass, _: _random_map(model_pass)


@explainer("blurred_random", source="protocol 2.11", needs=set(), role="control", stochastic=True)
def blurred_random(sigma: float = 0.125) -> Explainer:
    """Normal numbers under a Gaussian blur: the test whether a metric likes smooth maps for their smoothness.

    Args:
        sigma: of the blur, as a share of the image's height.
    """
    return lambda model_pass, _: gaussian_blur(_random_map(model_pass), sigma * model_pass.images.shape[2])


@explainer("sobel", source="Adebayo et al. 2018, section 5 (edge detector)", needs=set(), role="control", signed=False)
def sobel() -> Explainer:
    """Edge strength of the image."""

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        across = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=model_pass.images.device)
        kernels = torch.stack([across, across.T])[:, None]
        grey = torch.nn.functional.pad(model_pass.images.mean(1, keepdim=True), (1,) * 4, mode="replicate")
        edges: Tensor = torch.linalg.vector_norm(torch.nn.functional.conv2d(grey, kernels), dim=1, keepdim=True)
        return edges

    return explain


@explainer("centre_gaussian", source="protocol 2.11", needs=set(), role="control", signed=False)
def centre_gaussian(sigma: float = 0.25) -> Explainer:
    """A Gaussian in the middle of the image: the prior that faces are centred.

    It is made in double precision and then rounded, so that pixels as far from the middle have the same value: in
    single precision rounding put them in an order, another one on every kind of processor.

    Args:
        sigma: as a share of the image's height.
    """

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        H, W = model_pass.images.shape[2:]
        y = torch.linspace(-0.5, 0.5, H, dtype=torch.float64)[:, None]
        x = torch.linspace(-0.5, 0.5, W, dtype=torch.float64) * (W / H)
        values = torch.exp(-(x**2 + y**2) / (2 * sigma**2)).float()
        return values.to(model_pass.images.device).expand(len(model_pass), 1, H, W)

    return explain


@explainer("input_dev", source="protocol 2.11", needs=set(), role="control", signed=False)
def input_dev() -> Explainer:
    """Distance of each pixel from the data set's mean colour, whatever the model."""
    return lambda model_pass, _: (model_pass.images - model_pass.mean[None, :, None, None]).abs().sum(1, keepdim=True)


@explainer("constant", source="protocol 3 (invalid maps)", needs=set(), role="control", signed=False)
def constant() -> Explainer:
    """One everywhere: a map that says nothing, and is never valid."""
    return lambda model_pass, _: torch.ones_like(model_pass.images[:, :1])


@explainer("mean_map", source="protocol 2.11", needs={"gradient"}, role="control", reference=True)
def mean_map(of: str = "saliency") -> Explainer:
    """The mean of a method's maps of other images: what it says of any image of these data.

    The maps are those of the reference images, for their predicted classes, without the explained image itself if it is
    among them; where no other image is left the map is zero. They are made once per model: the first batch pays for
    them.

    Args:
        of: the method, at its defaults; what it needs beyond gradients the model must have.
    """
    method = explainers[of]
    if method.traits.role != "method":
        raise BadParameter(f"mean_map: 'of' must be a method, got the {method.traits.role} '{of}'.")
    base_explainer: Explainer = method.create()
    maps_by_net: WeakKeyDictionary[nn.Module, dict[object, Tensor]] = WeakKeyDictionary()

    def explain(model_pass: Pass, _: Tensor) -> Tensor:
        reference = model_pass.reference
        if reference is None:
            raise DataError("mean_map needs reference images of the data set, and the pass has none.")
        key = (model_pass.model.revision, model_pass.seed, reference.ids, *model_pass.mean.tolist())
        maps_by_key = maps_by_net.setdefault(model_pass.model.net, {})
        if key not in maps_by_key:
            maps_by_key[key] = _reference_maps(model_pass, reference, method, base_explainer)
        return _leave_one_out_mean(maps_by_key[key], model_pass.ids, reference.ids)

    return explain


def _reference_maps(model_pass: Pass, reference: ReferenceImages, method: Entry, explain: Explainer) -> Tensor:
    """``(R,H,W)``, a method's maps of the reference images for their predicted classes."""
    maps = []
    for rows in torch.arange(len(reference.ids), device=model_pass.images.device).split(model_pass.chunk):
        images, ids = reference.images[rows], tuple(reference.ids[row] for row in rows)
        batch = Batch(images, torch.zeros_like(rows), ids)
        single_pass = replace(model_pass, batch=batch, _computed={}, _used=set())
        maps.append(pool_channels(explain(single_pass, single_pass.logits.argmax(1)), images, method.traits.pooling))
    return torch.cat(maps)


def _leave_one_out_mean(maps: Tensor, ids: tuple[str, ...], reference_ids: tuple[str, ...]) -> Tensor:
    """``(B,1,H,W)``: per image the mean of the maps ``(R,H,W)`` that have another id."""
    is_other = upcast(torch.tensor([[mine != theirs for theirs in reference_ids] for mine in ids], device=maps.device))
    total = torch.einsum("br,rhw->bhw", is_other, upcast(maps))
    return (total / is_other.sum(1).clamp_min(1)[:, None, None])[:, None].float()
