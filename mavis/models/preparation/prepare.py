"""Makes a model explainable, on a copy, and says what it did."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import Model
from mavis.models.preparation import cam_layer, graph_rewriting

TOLERANCE = 1e-5
"""Largest change of a logit, as a share of the largest logit where that is above one."""

SIZE = 64
"""Side of the images of noise for a model that takes any size."""


class TwoSided(nn.Module):
    """One logit z of the second of two classes as the two logits (−z/2, z/2): their softmax is z's sigmoid.

    What explains one class is exactly the negative of what explains the other.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        half = self.net(images) / 2
        return torch.cat([-half, half], dim=1)


class LogProbabilities(nn.Module):
    """The logarithm of probabilities; their softmax is what they are."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``."""
        found: Tensor = self.net(images)
        return found.clamp_min(torch.finfo(found.dtype).tiny).log()


@dataclass
class _Table:
    """The model on which is operated.

    Attributes:
        model: as given; its network is never changed.
        net: the copy.
        images: of noise, ``(2,3,S,S)``.
        done: what was changed.
    """

    model: Model
    net: nn.Module
    images: Tensor
    done: list[str]

    def answer(self) -> Tensor:
        """What the copy says of the images."""
        return _answer(self.model, self.net, self.images)


def prepare(model: Model, device: torch.device, side: int = SIZE) -> tuple[Model, tuple[str, ...]]:
    """A copy whose explanations mean what they say, on the device; and what was changed.

    In evaluation mode and frozen; every activation a module of its own and nothing in place; logits instead of
    probabilities, two of them where there was one; a CAM layer that was tried. Its predictions are those of
    the original.

    Args:
        model: any.
        device: for the copy.
        side: of the images, in pixels, for a model that takes any size.

    Raises:
        ModelError: weights that are not finite, a CAM layer that is not there, a net without one logit for each of
            the classes, or outputs that the changes altered or that differ from time to time.
    """
    _finite(model)
    side = model.size or side
    images = torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(0)).to(model.device)
    with torch.no_grad():  # a scripted network is copied by cloning its weights
        table = _Table(model, copy.deepcopy(model.net).eval(), images, [])
    for parameter in table.net.parameters():
        parameter.requires_grad_(False)
    if any(module.training for module in model.net.modules()):
        table.done.append("put into evaluation mode")
    if graph_rewriting.is_script(table.net):
        table.done.append("a scripted network: nobody can look inside it")
        table.net = nn.Sequential(table.net)
    _one_module_each(table)
    _logits(table)
    _check_logits(model, table.answer(), images)
    can = model.can - _without_gradient(table)
    layer = _cam_layer(table) if "activations" in can else None
    if device.type == "cpu":
        table.net = table.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing from torch's stubs
    can = can if layer else can - {"activations"}
    return replace(model, net=table.net.to(device), can=can, cam_layer=layer), tuple(table.done)


def _finite(model: Model) -> None:
    for name, tensor in (*model.net.named_parameters(), *model.net.named_buffers()):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"'{model.name}' has weights that are NaN or infinite, first in '{name}'; train it again.")


def _one_module_each(table: _Table) -> None:
    """What hooks need, without any change of the answers."""
    before = table.answer()
    steady = _close(before, table.answer())
    table.done += graph_rewriting.ordinary(table.net)
    if "gradient" in table.model.can:
        table.done += graph_rewriting.separated(
            table.net, table.images, lambda: not steady or _close(before, table.answer())
        )
    after = table.answer()
    if not _close(after, table.answer()):
        raise ModelError(f"'{table.model.name}' gives another answer each time; switch off what is random in it.")
    if steady and not _close(before, after):
        raise ModelError(f"'{table.model.name}' answers differently after being made explainable; please report this.")


def _logits(table: _Table) -> None:
    """Logits in place of probabilities, two logits in place of one."""
    if table.model.output == "logit":
        return
    found = table.answer()
    if found.dim() == 2 and found.shape[1] == 1 and len(table.model.classes) == 2:
        _two_sided(table, found)
    elif _sums_to_one(found):
        _without_probabilities(table, found, lambda logits: logits.softmax(1))
    elif (found <= 0).all() and _sums_to_one(found.exp()):
        _without_probabilities(table, found, lambda logits: logits.log_softmax(1))


def _sums_to_one(found: Tensor) -> bool:
    several = found.dim() == 2 and found.shape[1] > 1 and bool((found >= 0).all())
    return several and bool(((found.sum(1) - 1).abs() < 1e-4).all())


def _without_probabilities(table: _Table, before: Tensor, back: Callable[[Tensor], Tensor]) -> None:
    """Takes the softmax away; where it cannot be found, the logarithm of the probabilities stands for the logits."""
    if graph_rewriting.without_last(table.net, table.images, lambda: _close(back(table.answer()), before)):
        table.done.append("softmax at the end removed: its input are the logits")
    elif (before >= 0).all():
        _wrap(table, LogProbabilities(table.net))
        table.done.append("the softmax at the end cannot be removed: log-probabilities are taken as logits")
    else:
        table.done.append("the log-softmax at the end cannot be removed: log-probabilities are taken as logits")


def _two_sided(table: _Table, before: Tensor) -> None:
    """One answer as two logits; a sigmoid at its end is taken away first."""
    if ((before >= 0) & (before <= 1)).all() and graph_rewriting.without_last(
        table.net, table.images, lambda: _close(table.answer().sigmoid(), before)
    ):
        table.done.append("sigmoid at the end removed: its input is the logit")
    _wrap(table, TwoSided(table.net))
    first, second = table.model.classes
    table.done.append(f"one logit z made two: −z/2 for '{first}', z/2 for '{second}'")


def _wrap(table: _Table, net: nn.Module) -> None:
    """Puts a module around the network, whose own modules are then named ``net.…``."""
    table.net = net
    if table.model.cam_layer is not None:
        table.model = replace(table.model, cam_layer=f"net.{table.model.cam_layer}")


def _without_gradient(table: _Table) -> set[str]:
    """What a model cannot do whose gradients do not reach the image, or are no numbers."""
    if "gradient" not in table.model.can:
        return set()
    image = table.images.clone().requires_grad_()
    try:
        with torch.enable_grad():
            gradient = torch.autograd.grad(table.net(image).square().sum(), image)[0]
    except RuntimeError as error:
        table.done.append(f"no gradient reaches the image: explained without ({str(error).splitlines()[0]})")
        return {"gradient"}
    if not gradient.isfinite().all():
        table.done.append("its gradients are NaN or infinite: explained without")
        return {"gradient"}
    return set()


def _cam_layer(table: _Table) -> str | None:
    """The name of a layer that CAM methods can read: the one that was named, else one that is found."""
    model, net = table.model, table.net
    if model.cam_layer is not None:
        return cam_layer.checked(net, table.images, model.cam_layer, model.name).name
    layer = cam_layer.chosen(net, table.images, len(model.classes))
    if layer is None:
        return None
    table.done.append(f"CAM layer chosen: {layer.name} ({layer.layout})")
    return layer.name


def _close(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    scale = second.abs().max().clamp_min(1) if second.numel() else torch.ones(())
    return not bool(((first - second).abs() > TOLERANCE * scale).any())


def _answer(model: Model, net: nn.Module, images: Tensor) -> Tensor:
    """Whatever a net says of images, if it is a tensor."""
    try:
        with torch.no_grad():
            found = net(images.clone())
    except Exception as error:
        raise ModelError(
            f"'{model.name}' cannot be evaluated on images {tuple(images.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor):
        raise ModelError(_expected(model, images, type(found).__name__))
    return found


def _check_logits(model: Model, logits: Tensor, images: Tensor) -> None:
    if logits.shape != (len(images), len(model.classes)):
        raise ModelError(_expected(model, images, str(tuple(logits.shape))))
    if not logits.isfinite().all():
        raise ModelError(f"'{model.name}' returns NaN or infinite logits.")


def _expected(model: Model, images: Tensor, found: str) -> str:
    count, classes = len(images), len(model.classes)
    return (
        f"'{model.name}' must return logits (B,{classes}) = ({count},{classes}), one per class, for images "
        f"{tuple(images.shape)}, got {found}."
    )
