"""Makes a model explainable, on a copy, and says what it did."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from mavis.errors import ModelError
from mavis.types import Model

TOLERANCE = 1e-5


def prepare(model: Model, device: torch.device) -> tuple[Model, tuple[str, ...]]:
    """A copy in evaluation mode, frozen, without in-place activations, on the device; and what was changed.

    Raises:
        ModelError: weights that are not finite, a CAM layer that is not there, a net without one logit for each of
            the classes, or outputs that the changes altered.
    """
    _finite(model)
    net = copy.deepcopy(model.net).eval().requires_grad_(False)
    before = _answer(model, net)
    done = ["put into evaluation mode"] if any(module.training for module in model.net.modules()) else []
    done += _without_inplace(net)
    if model.cam_layer is not None:
        _has_module(net, model)
    if (before - _answer(model, net)).abs().max() > TOLERANCE:
        raise ModelError(f"'{model.name}' answers differently after being made explainable; please report this.")
    if device.type == "cpu":
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing from torch's stubs
    can = model.can if model.cam_layer else model.can - {"activations"}
    return replace(model, net=net.to(device), can=can), tuple(done)


def _finite(model: Model) -> None:
    for name, tensor in (*model.net.named_parameters(), *model.net.named_buffers()):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"'{model.name}' has weights that are NaN or infinite, first in '{name}'; train it again.")


def _without_inplace(net: nn.Module) -> list[str]:
    changed = [name for name, module in net.named_modules() if getattr(module, "inplace", False)]
    for name in changed:
        net.get_submodule(name).inplace = False  # type: ignore[assignment]
    return [f"{len(changed)} in-place activations made ordinary"] if changed else []


def _has_module(net: nn.Module, model: Model) -> None:
    names = [name for name, _ in net.named_modules()]
    if model.cam_layer not in names:
        raise ModelError(f"'{model.name}' has no module '{model.cam_layer}' for CAM; its last ones: {names[-3:]}.")


def _answer(model: Model, net: nn.Module) -> Tensor:
    """Logits of two images of noise, checked."""
    side, classes = model.size or 64, len(model.classes)
    images = torch.rand((2, 3, side, side), generator=torch.Generator().manual_seed(0)).to(model.device)
    try:
        with torch.no_grad():
            logits = net(images)
    except Exception as error:
        raise ModelError(
            f"'{model.name}' cannot be evaluated on images {tuple(images.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(
            f"'{model.name}' must return logits (B,{classes}) = (2,{classes}), one per class, for images "
            f"{tuple(images.shape)}, got {found}."
        )
    if not logits.isfinite().all():
        raise ModelError(f"'{model.name}' returns NaN or infinite logits.")
    return logits
