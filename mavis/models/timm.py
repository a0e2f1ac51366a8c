"""Every classifier of timm, by name; needs the extra ``timm``; nothing is downloaded."""

from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from torch import nn

from mavis.core.errors import ModelError, UnknownName
from mavis.core.registry import model
from mavis.core.types import Model
from mavis.models.loading import specs, weights, wrappers


@model("timm", about="timm:NAME[@SIZE][:WEIGHTS], with the extra timm; random weights unless a file is given")
def timm(spec: str) -> wrappers.DeferredModel:
    """A classifier of timm with as many logits as the data have classes.

    Args:
        spec: ``NAME[@SIZE][:WEIGHTS]``: a name in timm, the side of the images (64 px by default), and a file of
            weights, which must have the data's number of classes; without one the weights are random, the same every
            time. Images are normalised as timm says for this name.

    Raises:
        ModelError: timm is not installed.
        UnknownName: timm has no such classifier.
    """
    library, parsed = _import_timm(), specs.parse_spec(spec)
    if not library.is_model(parsed.name):
        raise UnknownName("timm model", parsed.name, library.list_models())
    size = parsed.size or wrappers.DEFAULT_SIZE
    return wrappers.DeferredModel(parsed.label, partial(_build_model, parsed, size), size)


def _import_timm() -> ModuleType:
    try:
        return import_module("timm")
    except ImportError as error:
        raise ModelError("Models of timm need the package timm: pip install 'mavis-xai[timm]'.") from error


def _build_model(spec: specs.Spec, size: int, classes: tuple[str, ...]) -> Model:
    def build() -> nn.Module:
        net = _create_network(spec.name, size, len(classes))
        config: Any = getattr(net, "pretrained_cfg", None) or {}
        mean, deviation = config.get("mean", wrappers.IMAGENET_MEAN), config.get("std", wrappers.IMAGENET_STD)
        return wrappers.Normalised(net, tuple(mean), tuple(deviation))

    if spec.weights is None:
        net, about = weights.random_network(build, size), f"timm {spec.name}, random weights"
    else:
        net, about = build(), f"timm {spec.name}, weights {spec.weights.name}"
        weights.load_weights(net.get_submodule("net"), spec.weights)
    return wrappers.wrap_network(net, spec.label, classes, size, about=about)


def _create_network(name: str, size: int, n_classes: int) -> nn.Module:
    """The network; only transformers take the size of the images as an argument."""
    library = _import_timm()
    try:
        net: nn.Module = library.create_model(name, pretrained=False, num_classes=n_classes, img_size=size)
    except TypeError:
        net = library.create_model(name, pretrained=False, num_classes=n_classes)
    return net
