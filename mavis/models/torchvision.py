"""Every classifier of torchvision, by name; nothing is downloaded."""

from functools import partial
from typing import Any

from torch import nn

from mavis.core.errors import UnknownName
from mavis.core.registry import model
from mavis.core.types import Model
from mavis.models.loading import specs, weights, wrappers

DEFAULT_SIZES = {"inception_v3": 96, "maxvit_t": 224, "vit_h_14": 70}
"""Sides of images for networks that cannot take 64 px: too few, or no multiple of their patch or window."""

AUXILIARY_HEADS = ("AuxLogits.", "aux1.", "aux2.")
"""Heads that only training uses; the networks are built without them."""


@model("torchvision", about="torchvision:NAME[@SIZE][:WEIGHTS]; random weights unless a file is given")
def torchvision(spec: str) -> wrappers.DeferredModel:
    """A classifier of torchvision with as many logits as the data have classes.

    Args:
        spec: ``NAME[@SIZE][:WEIGHTS]``: a name in torchvision, the side of the images (64 px where that is enough), and
            a file of weights, which must have the data's number of classes; without one the weights are random, the
            same every time.

    Raises:
        UnknownName: torchvision has no such classifier.
    """
    from torchvision import models

    parsed = specs.parse_spec(spec)
    names = models.list_models(module=models)
    if parsed.name not in names:
        raise UnknownName("torchvision model", parsed.name, names)
    size = parsed.size or DEFAULT_SIZES.get(parsed.name, wrappers.DEFAULT_SIZE)
    return wrappers.DeferredModel(parsed.label, partial(_build_model, parsed, size), size)


def _build_model(spec: specs.Spec, size: int, classes: tuple[str, ...]) -> Model:
    def build() -> nn.Module:
        return wrappers.Normalised(_create_network(spec, size, len(classes)))

    if spec.weights is None:
        net, about = weights.random_network(build, size), f"torchvision {spec.name}, random weights"
    else:
        net, about = build(), f"torchvision {spec.name}, weights {spec.weights.name}"
        weights.load_weights(net.get_submodule("net"), spec.weights, ignored_prefixes=AUXILIARY_HEADS)
    return wrappers.wrap_network(net, spec.label, classes, size, about=about)


def _create_network(spec: specs.Spec, size: int, n_classes: int) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if spec.name.startswith("vit_"):
        options = {"image_size": size}
    elif spec.name == "maxvit_t":
        options = {"input_size": (size, size)}
    elif spec.name in ("inception_v3", "googlenet"):
        has_weights = spec.weights is not None  # torchvision's own weights expect this second normalisation
        options = {"aux_logits": False, "init_weights": False, "transform_input": has_weights}
    net: nn.Module = models.get_model(spec.name, weights=None, num_classes=n_classes, **options)
    return net
