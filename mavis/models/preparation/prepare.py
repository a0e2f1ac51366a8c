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

NOISE_SIZE = 64
"""Side of the images of noise for a model that takes any size."""


class BinaryLogits(nn.Module):
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
class _Preparation:
    """The model on which is operated.

    Attributes:
        model: as given; its network is never changed.
        net: the copy.
        images: of noise, ``(2,3,S,S)``.
        changes: what was changed.
    """

    model: Model
    net: nn.Module
    images: Tensor
    changes: list[str]

    def outputs(self) -> Tensor:
        """What the copy says of the images."""
        return _evaluate_network(self.model, self.net, self.images)


def prepare_model(model: Model, device: torch.device, size: int = NOISE_SIZE) -> tuple[Model, tuple[str, ...]]:
    """A copy whose explanations mean what they say, on the device; and what was changed.

    In evaluation mode and frozen; every activation a module of its own and nothing in place; logits instead of
    probabilities, two of them where there was one; a CAM layer that was tried. Its predictions are those of
    the original.

    Args:
        model: any.
        device: for the copy.
        size: side of the images, in pixels, for a model that takes any size.

    Raises:
        ModelError: weights that are not finite, a CAM layer that is not there, a net without one logit for each of
            the classes, or outputs that the changes altered or that differ from time to time.
    """
    _check_finite_weights(model)
    size = model.size or size
    images = torch.rand((2, 3, size, size), generator=torch.Generator().manual_seed(0)).to(model.device)
    with torch.no_grad():  # a scripted network is copied by cloning its weights
        preparation = _Preparation(model, copy.deepcopy(model.net).eval(), images, [])
    for parameter in preparation.net.parameters():
        parameter.requires_grad_(False)
    if any(module.training for module in model.net.modules()):
        preparation.changes.append("put into evaluation mode")
    if graph_rewriting.is_scripted(preparation.net):
        preparation.changes.append("a scripted network: nobody can look inside it")
        preparation.net = nn.Sequential(preparation.net)
    _separate_activations(preparation)
    _convert_to_logits(preparation)
    _check_logits(model, preparation.outputs(), images)
    can = model.capabilities - _missing_capabilities(preparation)
    layer = _find_cam_layer(preparation) if "activations" in can else None
    if device.type == "cpu":
        preparation.net = preparation.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing from torch's stubs
    can = can if layer else can - {"activations"}
    return replace(model, net=preparation.net.to(device), capabilities=can, cam_layer=layer), tuple(preparation.changes)


def _check_finite_weights(model: Model) -> None:
    for name, tensor in (*model.net.named_parameters(), *model.net.named_buffers()):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"'{model.name}' has weights that are NaN or infinite, first in '{name}'; train it again.")


def _separate_activations(preparation: _Preparation) -> None:
    """What hooks need, without any change of the answers."""
    before = preparation.outputs()
    steady = _is_close(before, preparation.outputs())
    preparation.changes += graph_rewriting.disable_in_place(preparation.net)
    if "gradient" in preparation.model.capabilities:
        preparation.changes += graph_rewriting.separate_activations(
            preparation.net, preparation.images, lambda: not steady or _is_close(before, preparation.outputs())
        )
    after = preparation.outputs()
    if not _is_close(after, preparation.outputs()):
        raise ModelError(f"'{preparation.model.name}' gives another answer each time; switch off what is random in it.")
    if steady and not _is_close(before, after):
        raise ModelError(
            f"'{preparation.model.name}' answers differently after being made explainable; please report this."
        )


def _convert_to_logits(preparation: _Preparation) -> None:
    """Logits in place of probabilities, two logits in place of one."""
    if preparation.model.output == "logit":
        return
    found = preparation.outputs()
    if found.dim() == 2 and found.shape[1] == 1 and len(preparation.model.classes) == 2:
        _make_binary_logits(preparation, found)
    elif _are_probabilities(found):
        _remove_softmax(preparation, found, lambda logits: logits.softmax(1))
    elif (found <= 0).all() and _are_probabilities(found.exp()):
        _remove_softmax(preparation, found, lambda logits: logits.log_softmax(1))


def _are_probabilities(outputs: Tensor) -> bool:
    several = outputs.dim() == 2 and outputs.shape[1] > 1 and bool((outputs >= 0).all())
    return several and bool(((outputs.sum(1) - 1).abs() < 1e-4).all())


def _remove_softmax(preparation: _Preparation, before: Tensor, to_probabilities: Callable[[Tensor], Tensor]) -> None:
    """Takes the softmax away; where it cannot be found, the logarithm of the probabilities stands for the logits."""
    if graph_rewriting.remove_final_probabilities(
        preparation.net, preparation.images, lambda: _is_close(to_probabilities(preparation.outputs()), before)
    ):
        preparation.changes.append("softmax at the end removed: its input are the logits")
    elif (before >= 0).all():
        _wrap_network(preparation, LogProbabilities(preparation.net))
        preparation.changes.append("the softmax at the end cannot be removed: log-probabilities are taken as logits")
    else:
        preparation.changes.append(
            "the log-softmax at the end cannot be removed: log-probabilities are taken as logits"
        )


def _make_binary_logits(preparation: _Preparation, before: Tensor) -> None:
    """One answer as two logits; a sigmoid at its end is taken away first."""
    if ((before >= 0) & (before <= 1)).all() and graph_rewriting.remove_final_probabilities(
        preparation.net, preparation.images, lambda: _is_close(preparation.outputs().sigmoid(), before)
    ):
        preparation.changes.append("sigmoid at the end removed: its input is the logit")
    _wrap_network(preparation, BinaryLogits(preparation.net))
    first, second = preparation.model.classes
    preparation.changes.append(f"one logit z made two: −z/2 for '{first}', z/2 for '{second}'")


def _wrap_network(preparation: _Preparation, wrapper: nn.Module) -> None:
    """Puts a module around the network, whose own modules are then named ``net.…``."""
    preparation.net = wrapper
    if preparation.model.cam_layer is not None:
        preparation.model = replace(preparation.model, cam_layer=f"net.{preparation.model.cam_layer}")


def _missing_capabilities(preparation: _Preparation) -> set[str]:
    """What a model cannot do whose gradients do not reach the image, or are no numbers."""
    if "gradient" not in preparation.model.capabilities:
        return set()
    image = preparation.images.clone().requires_grad_()
    try:
        with torch.enable_grad():
            gradient = torch.autograd.grad(preparation.net(image).square().sum(), image)[0]
    except RuntimeError as error:
        preparation.changes.append(f"no gradient reaches the image: explained without ({str(error).splitlines()[0]})")
        return {"gradient"}
    if not gradient.isfinite().all():
        preparation.changes.append("its gradients are NaN or infinite: explained without")
        return {"gradient"}
    return set()


def _find_cam_layer(preparation: _Preparation) -> str | None:
    """The name of a layer that CAM methods can read: the one that was named, else one that is found."""
    model, net = preparation.model, preparation.net
    if model.cam_layer is not None:
        return cam_layer.check_layer(net, preparation.images, model.cam_layer, model.name).name
    layer = cam_layer.choose_layer(net, preparation.images, len(model.classes))
    if layer is None:
        return None
    preparation.changes.append(f"CAM layer chosen: {layer.name} ({layer.layout})")
    return layer.name


def _is_close(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    scale = second.abs().max().clamp_min(1) if second.numel() else torch.ones(())
    return not bool(((first - second).abs() > TOLERANCE * scale).any())


def _evaluate_network(model: Model, net: nn.Module, images: Tensor) -> Tensor:
    """Whatever a net says of images, if it is a tensor."""
    try:
        with torch.no_grad():
            found = net(images.clone())
    except Exception as error:
        raise ModelError(
            f"'{model.name}' cannot be evaluated on images {tuple(images.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(found, Tensor):
        raise ModelError(_shape_message(model, images, type(found).__name__))
    return found


def _check_logits(model: Model, logits: Tensor, images: Tensor) -> None:
    if logits.shape != (len(images), len(model.classes)):
        raise ModelError(_shape_message(model, images, str(tuple(logits.shape))))
    if not logits.isfinite().all():
        raise ModelError(f"'{model.name}' returns NaN or infinite logits.")


def _shape_message(model: Model, images: Tensor, got: str) -> str:
    count, classes = len(images), len(model.classes)
    return (
        f"'{model.name}' must return logits (B,{classes}) = ({count},{classes}), one per class, for images "
        f"{tuple(images.shape)}, got {got}."
    )
