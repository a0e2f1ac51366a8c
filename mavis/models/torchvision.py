"""Every classifier of torchvision, by name; nothing is downloaded."""

from functools import partial
from typing import Any

from torch import nn

from mavis.core.errors import UnknownName
from mavis.core.registry import model
from mavis.core.types import Model
from mavis.models.loading import specs, weights, wrappers

SIZES = {"inception_v3": 96, "maxvit_t": 224, "vit_h_14": 70}
"""Where 64 px are too few, or no multiple of what the network is made of."""

AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
"""Heads that only training uses; the networks are built without them."""


@model("torchvision", about="torchvision:NAME[@SIZE][:WEIGHTS]; random weights unless a file is given")
def torchvision(spec: str) -> wrappers.Unclassed:
    """A classifier of torchvision with as many logits as the data have classes.

    Args:
        spec: ``NAME[@SIZE][:WEIGHTS]``: a name in torchvision, the side of the images (64 px where that is enough), and
            a file of weights, which must have the data's number of classes; without one the weights are random, the
            same every time.

    Raises:
        UnknownName: torchvision has no such classifier.
    """
    from torchvision import models

    wanted = specs.parsed(spec)
    names = models.list_models(module=models)
    if wanted.name not in names:
        raise UnknownName("torchvision model", wanted.name, names)
    size = wanted.size or SIZES.get(wanted.name, wrappers.SIZE)
    return wrappers.Unclassed(wanted.label, partial(_made, wanted, size), size)


def _made(wanted: specs.Spec, size: int, classes: tuple[str, ...]) -> Model:
    def make() -> nn.Module:
        return wrappers.Normalised(_built(wanted, size, len(classes)))

    if wanted.weights is None:
        net, about = weights.random(make, size), f"torchvision {wanted.name}, random weights"
    else:
        net, about = make(), f"torchvision {wanted.name}, weights {wanted.weights.name}"
        weights.fill(net.get_submodule("net"), wanted.weights, drop=AUXILIARY)
    return wrappers.around(net, wanted.label, classes, size, about=about)


def _built(wanted: specs.Spec, size: int, classes: int) -> nn.Module:
    from torchvision import models

    options: dict[str, Any] = {}
    if wanted.name.startswith("vit_"):
        options = {"image_size": size}
    elif wanted.name == "maxvit_t":
        options = {"input_size": (size, size)}
    elif wanted.name in ("inception_v3", "googlenet"):
        given = wanted.weights is not None  # torchvision's own weights expect this second normalisation
        options = {"aux_logits": False, "init_weights": False, "transform_input": given}
    net: nn.Module = models.get_model(wanted.name, weights=None, num_classes=classes, **options)
    return net
