"""Copies of what a plug-in is handed and of what it returns: it may write into them, and keep them."""

from dataclasses import replace

from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.metric_types import Explanation
from mavis.core.model_pass import Pass
from mavis.core.objects.network_copy import copy_network
from mavis.core.types import Batch, Model


def plain_tensor(values: Tensor) -> Tensor:
    """A copy of a returned tensor, without graph and of torch's own class; what is none is left to later checks."""
    return values.detach().as_subclass(Tensor).clone() if isinstance(values, Tensor) else values


def copy_explanation(explanation: Explanation) -> Explanation:
    """Of maps, pass and classes."""
    return Explanation(copy_maps(explanation.maps), copy_pass(explanation.model_pass), explanation.targets.clone())


def copy_pass(model_pass: Pass) -> Pass:
    """A pass with nothing computed, of copies of images and network; it counts with the same meter."""
    reference = model_pass.reference
    return replace(
        model_pass,
        model=duplicate_model(model_pass.model),
        batch=copy_batch(model_pass.batch),
        mean=model_pass.mean.clone(),
        reference=reference and replace(reference, images=reference.images.clone()),
        _computed={},
        _used=set(),
    )


def duplicate_model(model: Model) -> Model:
    """With a network of its own."""
    return replace(model, net=copy_network(model.net), card=dict(model.card))


def copy_maps(maps: Maps) -> Maps:
    """With nothing computed."""
    return Maps(maps.values.clone(), maps.valid.clone(), maps.grid)


def copy_batch(batch: Batch) -> Batch:
    """Of images, labels, parts and regions; what is drawn anew is a copy too."""

    def copied(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.clone()

    rerender = batch.rerender
    return replace(
        batch,
        images=batch.images.clone(),
        labels=batch.labels.clone(),
        groups=dict(batch.groups),
        parts=copied(batch.parts),
        regions=copied(batch.regions),
        rerender=None if rerender is None else lambda part, draw: rerender(part, draw).clone(),
    )
