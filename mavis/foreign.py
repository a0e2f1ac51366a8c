"""Models from elsewhere: libraries, a user's own function, any callable; what they are called and how they are filled.

A spec is ``FAMILY:REST``; the families are model plug-ins with a parameter ``spec``. ``pkg.mod:fn`` alone belongs to
the family ``factory``.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mavis import checkpoint, draws, hashing
from mavis.errors import BadParameter, ModelError
from mavis.registry import models
from mavis.types import Capability, Model

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
SEED = 0
"""Of random weights."""
SIZE = 64
"""Side of the images, in pixels, unless a family or the user says otherwise."""
SPEC = re.compile(r"(?P<name>[^@:]+)(?:@(?P<size>\d+))?(?::(?P<weights>.+))?")
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*(@\d+)?(:.+)?")


@dataclass(frozen=True)
class Unclassed:
    """A model that names no classes: it is made when those of the data are known.

    Attributes:
        name: it will have.
        make: names of the classes -> the model.
        size: side of its images, or None where any will do.
    """

    name: str
    make: Callable[[tuple[str, ...]], Model]
    size: int | None = None


@dataclass(frozen=True)
class Spec:
    """``NAME[@SIZE][:WEIGHTS]``, taken apart.

    Attributes:
        name: in the family.
        size: side of the images in pixels, or None.
        weights: a file, or None for random weights.
    """

    name: str
    size: int | None = None
    weights: Path | None = None

    @property
    def label(self) -> str:
        """What the model is called: its name, and which weights and size if they are not the usual ones."""
        size = f"@{self.size}" if self.size else ""
        return self.name + size + (f":{self.weights.stem}" if self.weights else "")


def family_of(name: str) -> tuple[str, str] | None:
    """The family that a spec names, and the rest of the spec; None where it names none."""
    head, colon, rest = name.partition(":")
    if colon and rest and head in models and "spec" in models[head].parameters():
        return head, rest
    mistyped = difflib.get_close_matches(head, models.names(), n=1, cutoff=0.8)
    return ("factory", name) if FUNCTION.fullmatch(name) and not mistyped else None


def parsed(spec: str) -> Spec:
    """Takes ``NAME[@SIZE][:WEIGHTS]`` apart.

    Raises:
        BadParameter: it has another form.
    """
    found = SPEC.fullmatch(spec)
    if found is None:
        raise BadParameter(f"A model is named as NAME[@SIZE][:WEIGHTS], e.g. resnet18@96:weights.pt, got '{spec}'.")
    size, weights = found["size"], found["weights"]
    return Spec(found["name"], int(size) if size else None, Path(weights) if weights else None)


class Normalised(nn.Module):
    """A network that gets images in [0,1] and normalises them.

    Args:
        net: normalised images -> logits.
        mean: per colour, subtracted.
        deviation: per colour, divides.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        net: nn.Module,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        deviation: tuple[float, ...] = IMAGENET_DEVIATION,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B,3,H,W)`` in [0,1] -> logits ``(B,K)``."""
        return self.net((images - self.mean) / self.deviation)  # type: ignore[no-any-return]


class Asked(nn.Module):
    """Any callable as a network without gradient; a copy shares the callable.

    Args:
        function: images ``(N,3,H,W)`` float32 in [0,1] -> logits ``(N,K)``, a tensor or an array.
    """

    place: Tensor

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("place", torch.zeros(()), persistent=False)  # says on which device images are wanted

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(N,3,H,W)`` -> logits ``(N,K)`` float32, on the device of the images."""
        with torch.no_grad():
            return torch.as_tensor(self.function(images)).to(images.device, torch.float32)

    def __deepcopy__(self, _: dict[int, Any]) -> "Asked":
        return Asked(self.function)


def given(thing: Any, name: str, size: int | None = None) -> Model | Unclassed:
    """What a user hands over as a model: a `Model`, a network, or any callable from images to logits.

    Raises:
        ModelError: something else.
    """
    if isinstance(thing, Model | Unclassed):
        return thing
    if isinstance(thing, nn.Module):
        return Unclassed(name, lambda classes: around(thing, name, classes, size, about="given as a network"), size)
    if callable(thing) and not isinstance(thing, type):
        return Unclassed(name, lambda classes: _black_box(thing, name, classes, size), size)
    raise ModelError(
        f"'{name}' must be a mavis.Model, a network, or a function from images (B,3,H,W) in [0,1] to logits, "
        f"got {type(thing).__name__}."
    )


def around(
    net: nn.Module, name: str, classes: tuple[str, ...], size: int | None, *, about: str, revision: str = ""
) -> Model:
    """A model around a network whose CAM layer is not known."""
    return Model(name, net, classes, revision or content(net, size), size=size, card={"about": about})


def _black_box(function: Callable[[Tensor], Any], name: str, classes: tuple[str, ...], size: int | None) -> Model:
    """A model of which nothing but the answers is known; they also say which content it has."""
    net = Asked(function)
    can: frozenset[Capability] = frozenset({"forward"})
    revision = hashing.digest(name, _answers(net, size or SIZE))
    return Model(name, net, classes, revision, can=can, size=size, card={"about": "given as a function"})


def _answers(net: nn.Module, size: int) -> str:
    """What a network says of four random images, to four digits; of one that cannot be asked, nothing."""
    images = torch.rand((4, 3, size, size), generator=torch.Generator().manual_seed(SEED))
    try:
        return str([[f"{x:.4g}" for x in row] for row in net(images).tolist()])
    except Exception:  # preflight asks again and says what is wrong
        return ""


def content(net: nn.Module, size: int | None) -> str:
    """Hash of a network's modules, their settings, and its weights."""
    shape = re.sub(r" at 0x[0-9a-f]+", "", repr(net))
    state = {name: hashing.digest(_bytes(tensor)) for name, tensor in net.state_dict().items()}
    return hashing.of_json([type(net).__qualname__, shape, size, state])[:32]


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def fill(net: nn.Module, path: Path, drop: tuple[str, ...] = ()) -> None:
    """Puts weights from a file into a network.

    Args:
        net: takes the weights.
        path: ``.safetensors``, or a ``.pt`` or ``.pth`` that holds tensors only: a state dict, alone or under
            ``state_dict`` or ``model``.
        drop: tensors whose names begin so have no place in the network and are left out.

    Raises:
        ModelError: no such file; it is damaged, holds more than tensors, or does not fit.
    """
    if not path.is_file():
        raise ModelError(f"The weights '{path}' are not there; write NAME:FILE, or NAME alone for random weights.")
    found = _safe(path) if path.suffix == ".safetensors" else _pickled(path)
    kept = {name: tensor.clone().contiguous() for name, tensor in found.items() if not name.startswith(drop)}
    checkpoint.fill(net, tensor_bytes(kept), path)


def _safe(path: Path) -> Mapping[str, Tensor]:
    try:
        return read_tensors(path.read_bytes())
    except SafetensorError as error:
        raise ModelError(f"'{path}' is not a safetensors file: {error}.") from error


def _pickled(path: Path) -> Mapping[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(f"The weights '{path}' cannot be read as tensors only: {reason}") from error
    for key in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ModelError(f"The weights '{path}' must be a state dict, names to tensors, got {type(found).__name__}.")
    return found


def random(make: Callable[[], nn.Module], size: int) -> nn.Module:
    """A network with random weights, always the same ones, whose answers differ from image to image.

    Fresh from their libraries, networks answer alike for every image, with zeros (a head of zeros), 1e-10 or 1e8
    (batch normalisation that has measured nothing). Here the statistics are measured on random images, a head of zeros
    is drawn, and the last layer scaled so that a logit's standard deviation over the images is one.

    Args:
        make: the network, normalisation inside.
        size: side of the random images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = make().eval()
        with torch.no_grad():
            _settle(net, size)
    return net


def _settle(net: nn.Module, size: int) -> None:
    images = _images(size)
    _measure(net, images)
    images = images[:16]
    head = [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    if not head.weight.any():
        nn.init.normal_(head.weight, std=0.02)
    _scale(head, 1 / net(images).std(0).mean().clamp_min(1e-20))
    if isinstance(head, nn.Linear) and head.bias is not None:
        head.bias.sub_(net(images).mean(0))


def _measure(net: nn.Module, images: Tensor) -> None:
    """Puts the statistics of the images into the batch normalisations."""
    norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        norm.train()
    if norms:
        net(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _scale(head: nn.Linear | nn.Conv2d, factor: Tensor) -> None:
    head.weight *= factor
    if head.bias is not None:
        head.bias *= factor


def _images(size: int) -> Tensor:
    """``(64,3,size,size)``: random colours at several scales, a few of them as rough as noise."""
    stream = draws.generator(SEED, "random weights")
    scales = [torch.rand((64, 3, side, side), generator=stream) for side in (1, 4, 16, size)]
    enlarged = torch.stack([nn.functional.interpolate(scale, size=size, mode="bilinear") for scale in scales])
    shares = torch.rand((4, 64, 1, 1, 1), generator=stream) ** 3
    return (enlarged * shares / shares.sum(0)).sum(0)
