"""Wrappers: any network or callable as a `Model`, its classes filled in once the data are known."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core import hashing
from mavis.core.errors import ModelError
from mavis.core.objects import identity
from mavis.core.types import Capability, Model
from mavis.models.loading.weights import SEED
from mavis.models.preparation.isolation import BlackBox

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DEFAULT_SIZE = 64
"""Side of the images, in pixels, unless a family or the user says otherwise."""


@dataclass(frozen=True)
class DeferredModel:
    """A model that names no classes: it is built when those of the data are known.

    Attributes:
        name: the model's.
        build: names of the classes -> the model.
        size: side of its images, or None where any will do.
    """

    name: str
    build: Callable[[tuple[str, ...]], Model]
    size: int | None = None


class Normalised(nn.Module):
    """A network behind its normalisation: takes images in [0,1].

    Args:
        net: normalised images -> logits.
        mean: per channel, subtracted.
        deviation: per channel, divides.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        net: nn.Module,
        mean: Sequence[float] = IMAGENET_MEAN,
        deviation: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B,3,H,W)`` in [0,1] -> logits ``(B,K)``."""
        return self.net((images - self.mean) / self.deviation)  # type: ignore[no-any-return]


def as_model(model_like: Any, name: str, size: int | None = None) -> Model | DeferredModel:
    """A model from a user's object: a `Model`, a network, or any callable from images to logits.

    Raises:
        ModelError: the object is something else.
    """
    if isinstance(model_like, DeferredModel):
        return model_like
    if isinstance(model_like, Model):
        return _with_content(model_like)
    if isinstance(model_like, nn.Module):
        return DeferredModel(name, lambda classes: _wrap_users_network(model_like, name, classes, size), size)
    if callable(model_like) and not isinstance(model_like, type):
        return DeferredModel(name, lambda classes: _wrap_function(model_like, name, classes, size), size)
    raise ModelError(
        f"'{name}' must be a mavis.Model, a network, or a function from images (B,3,H,W) in [0,1] to logits, "
        f"got {type(model_like).__name__}."
    )


def wrap_network(
    net: nn.Module, name: str, classes: tuple[str, ...], size: int | None, *, about: str, revision: str = ""
) -> Model:
    """A model around a network; its CAM layer is chosen during preparation."""
    return Model(name, net, classes, revision or network_hash(net, size), size=size, card={"about": about})


def _with_content(model: Model) -> Model:
    """A user's `Model`: its revision names what the user says and what the network is."""
    settings = [model.classes, model.cam_layer, sorted(model.capabilities), model.size, model.output]
    content = hashing.digest(identity.object_digest(model.net), hashing.canonical_json(settings))
    return replace(model, revision=f"{model.revision}/{content[:16]}")


def _wrap_users_network(net: nn.Module, name: str, classes: tuple[str, ...], size: int | None) -> Model:
    """A user's network: to its revision belong its code, and attributes that are no weights."""
    revision = hashing.digest(network_hash(net, size), identity.object_digest(net))[:32]
    return wrap_network(net, name, classes, size, about="given as a network", revision=revision)


def _wrap_function(function: Callable[[Tensor], Any], name: str, classes: tuple[str, ...], size: int | None) -> Model:
    """A black-box model: its revision is a hash of some outputs and of the function's code and values."""
    net = BlackBox(function)
    capabilities: frozenset[Capability] = frozenset({"forward"})
    revision = hashing.digest(name, _output_text(net, size or DEFAULT_SIZE), identity.object_digest(function))
    return Model(
        name, net, classes, revision, capabilities=capabilities, size=size, card={"about": "given as a function"}
    )


def _output_text(net: nn.Module, size: int) -> str:
    """Logits of a network for four random images, to four digits; empty where it raises."""
    images = torch.rand((4, 3, size, size), generator=torch.Generator().manual_seed(SEED))
    try:
        return str([[f"{x:.4g}" for x in row] for row in net(images).tolist()])
    except Exception:  # preparation evaluates it again and reports the error
        return ""


def network_hash(net: nn.Module, size: int | None) -> str:
    """Hash of a network's modules, their settings, and its weights, for networks of libraries.

    Args:
        net: any network; what its state dict holds beside dense tensors counts too.
        size: side of the images, or None.
    """
    shape = re.sub(r" at 0x[0-9a-f]+", "", repr(net))
    state = {name: _state_digest(value) for name, value in net.state_dict().items()}
    return hashing.digest_json([type(net).__qualname__, shape, size, state])[:32]


def _state_digest(value: Any) -> str:
    is_dense = isinstance(value, Tensor) and not nn.parameter.is_lazy(value) and value.layout == torch.strided
    if is_dense and not (value.is_quantized or value.is_meta):
        return hashing.digest(identity.tensor_bytes(value))
    return identity.object_digest(value)
