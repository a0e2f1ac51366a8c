"""Options of a model, written behind its name: ``NAME?KEY=VALUE&KEY=VALUE``, e.g. ``onnx:net.onnx?output=percent``.

They say of a network what it does not say of itself. Every model takes every option, whatever its family:

- ``output``: the meaning of what it returns, one of `OutputKind`; by default it is measured.
- ``channels``: ``rgb``, ``bgr`` or ``grey`` (one channel, as Pillow makes it).
- ``scale``, ``mean``, ``std``: numbers, the last two one or one per channel. The network gets
  ``(scale · image − mean) / std``, image in [0,1] with channels as above; by default 1, 0 and 1.

A model with options has a name and a content hash of its own.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from mavis.core import hashing
from mavis.core.errors import BadParameter
from mavis.core.types import Model, OutputKind
from mavis.models.loading.wrappers import DeferredModel, Normalised
from mavis.models.preparation.isolation import BlackBox
from mavis.models.preparation.outputs import KINDS

INPUT_KEYS = ("channels", "scale", "mean", "std")
KEYS = ("output", *INPUT_KEYS)

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey value: ITU-R 601-2, as Pillow's."""


class Channels(nn.Module):
    """A network that takes blue, green and red, or grey, of images in red, green and blue."""

    weights: Tensor

    def __init__(self, net: nn.Module, order: str) -> None:
        super().__init__()
        rows = [GREY_WEIGHTS] if order == "grey" else [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
        self.register_buffer("weights", torch.tensor(rows)[:, :, None, None].float())
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B,3,H,W)`` -> outputs."""
        outputs: Tensor = self.net(nn.functional.conv2d(images, self.weights))
        return outputs


def apply_options(model: Model | DeferredModel, options: Mapping[str, str]) -> Model | DeferredModel:
    """The model with the options set, and named after them; the model itself where there are none.

    Args:
        model: any, before its preparation.
        options: values by key, as `mavis.models.loading.specs.split_options` returns them.

    Raises:
        BadParameter: no such option, or not one of its values.
    """
    if not options:
        return model
    for key, value in options.items():
        if key not in KEYS:
            raise BadParameter(f"A model has no option '{key}', got ?{key}={value}; there are: {', '.join(KEYS)}.")
    output, wrap_net = _read_output(options), _read_input(options)
    label = "?" + "&".join(f"{key}={value}" for key, value in options.items())

    def set_all(model: Model) -> Model:
        model = model if output is None else replace(model, output_kind=output)
        model = model if wrap_net is None else wrap_net(model)
        return replace(model, name=model.name + label, revision=hashing.digest(model.revision, label)[:32])

    if isinstance(model, Model):
        return set_all(model)
    build = model.build
    return replace(model, name=model.name + label, build=lambda classes: set_all(build(classes)))


def _read_output(options: Mapping[str, str]) -> OutputKind | None:
    """The meaning of the outputs, which is measured otherwise."""
    value = options.get("output")
    if value is None:
        return None
    if value not in KINDS:
        raise BadParameter(f"?output= must be one of {', '.join(KINDS)}, got '{value}'.")
    return value


def _read_input(options: Mapping[str, str]) -> Callable[[Model], Model] | None:
    """Puts what the options say of the input before the network; None where they say nothing of it."""
    if not set(INPUT_KEYS) & options.keys():
        return None
    order = options.get("channels", "rgb")
    if order not in ("rgb", "bgr", "grey"):
        raise BadParameter(f"?channels= must be rgb, bgr or grey, got '{order}'.")
    n_channels = 1 if order == "grey" else 3
    (scale,) = _read_numbers("scale", options.get("scale", "1"), 1)
    mean = _read_numbers("mean", options.get("mean", "0"), n_channels)
    deviation = _read_numbers("std", options.get("std", "1"), n_channels)
    if scale <= 0 or min(deviation) <= 0:
        raise BadParameter("?scale= and ?std= must be above 0.")

    def wrap(model: Model) -> Model:
        net: nn.Module = Normalised(model.net, [m / scale for m in mean], [d / scale for d in deviation])
        prefix = "net."
        if order != "rgb":
            net, prefix = Channels(net, order), f"net.{prefix}"
        if isinstance(model.net, BlackBox):  # its function is not moved between devices
            inner = net
            net = BlackBox(lambda images: inner.to(images.device)(images))
        cam_layer = None if model.cam_layer is None else f"{prefix}{model.cam_layer}"
        return replace(model, net=net, cam_layer=cam_layer)

    return wrap


def _read_numbers(key: str, text: str, count: int) -> list[float]:
    """One number per channel; one alone stands for all."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, count) or not all(map(math.isfinite, numbers)):
        expected = "a number" if count == 1 else f"a number or {count}, with commas"
        raise BadParameter(f"?{key}= must be {expected}, got '{text}'.")
    return numbers * (count if len(numbers) == 1 else 1)
