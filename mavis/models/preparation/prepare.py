"""Preparation of a model for explainers, on a copy, with a note on every change."""

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

    A gradient or relevance of one class is exactly the negative of that of the other.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,2)``."""
        half = self.net(images) / 2
        return torch.cat([-half, half], dim=1)


class LogProbabilities(nn.Module):
    """Logarithm of a network's probabilities, whose softmax is these probabilities."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """``(B,3,H,W)`` -> ``(B,K)``."""
        probabilities: Tensor = self.net(images)
        return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


@dataclass
class _Preparation:
    """A model during its preparation.

    Attributes:
        model: as given; its network is never changed.
        net: the copy.
        images: of noise, ``(2,3,S,S)``.
        changes: a note on each change.
    """

    model: Model
    net: nn.Module
    images: Tensor
    changes: list[str]

    def outputs(self) -> Tensor:
        """Outputs of the copy for the images."""
        return _evaluate_network(self.model, self.net, self.images)


def prepare_model(model: Model, device: torch.device, size: int = NOISE_SIZE) -> tuple[Model, tuple[str, ...]]:
    """A copy of a model on the device on which every explainer can run, and a note on each change.

    The copy is in evaluation mode and frozen; every activation is a module of its own and works on a copy; outputs are
    logits, not probabilities, and two of them where there was one; its CAM layer was tested on noise. Its predictions
    are those of the original.

    Args:
        model: any.
        device: for the copy.
        size: side of the images, in pixels, for a model that takes any size.

    Raises:
        ModelError: weights that are not finite, a CAM layer that is not there, a net without one logit for each of
            the classes, or outputs that the changes altered or that differ between two calls.
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
    capabilities = model.capabilities - _missing_capabilities(preparation)
    layer, image_layers = _find_cam_layer(preparation) if "activations" in capabilities else (None, None)
    if device.type == "cpu":
        preparation.net = preparation.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # missing from torch's stubs
    capabilities = capabilities if layer else capabilities - {"activations"}
    prepared = replace(
        model,
        net=preparation.net.to(device),
        capabilities=capabilities,
        cam_layer=layer,
        image_layers=image_layers,
    )
    return prepared, tuple(preparation.changes)


@torch.no_grad()  # torch refuses to look at weights that were made in inference mode otherwise
def _check_finite_weights(model: Model) -> None:
    for name, tensor in (*model.net.named_parameters(), *model.net.named_buffers()):
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(f"'{model.name}' has weights that are NaN or infinite, first in '{name}'; train it again.")


def _separate_activations(preparation: _Preparation) -> None:
    """One module per activation, nothing in place, with unchanged outputs.

    Dropout that is always on makes outputs random before the rewriting and not after it: then they cannot be compared,
    and only the outputs afterwards must repeat.
    """
    before = preparation.outputs()
    is_deterministic = _is_close(before, preparation.outputs())
    preparation.changes += graph_rewriting.disable_in_place(preparation.net)
    if "gradient" in preparation.model.capabilities:
        preparation.changes += graph_rewriting.separate_activations(
            preparation.net,
            preparation.images,
            lambda: not is_deterministic or _is_close(before, preparation.outputs()),
        )
    after = preparation.outputs()
    if not _is_close(after, preparation.outputs()):
        raise ModelError(f"'{preparation.model.name}' gives another answer each time; switch off what is random in it.")
    if is_deterministic and not _is_close(before, after):
        raise ModelError(
            f"'{preparation.model.name}' answers differently after being made explainable; please report this."
        )


def _convert_to_logits(preparation: _Preparation) -> None:
    """Replaces probabilities by logits, and one logit by two."""
    if preparation.model.output == "logit":
        return
    outputs = preparation.outputs()
    if outputs.dim() == 2 and outputs.shape[1] == 1 and len(preparation.model.classes) == 2:
        _make_binary_logits(preparation, outputs)
    elif _are_probabilities(outputs):
        _remove_softmax(preparation, outputs, lambda logits: logits.softmax(1))
    elif (outputs <= 0).all() and _are_probabilities(outputs.exp()):
        _remove_softmax(preparation, outputs, lambda logits: logits.log_softmax(1))


def _are_probabilities(outputs: Tensor) -> bool:
    is_candidate = outputs.dim() == 2 and outputs.shape[1] > 1 and bool((outputs >= 0).all())
    return is_candidate and bool(((outputs.sum(1) - 1).abs() < 1e-4).all())


def _remove_softmax(preparation: _Preparation, before: Tensor, to_probabilities: Callable[[Tensor], Tensor]) -> None:
    """Removes the softmax; where it cannot be found, the logarithm of the probabilities is taken as logits.

    Logits, because a saturated softmax has gradients near zero and couples the classes.
    """
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
    """Replaces one output by two logits; a sigmoid at its end is removed first."""
    if ((before >= 0) & (before <= 1)).all() and graph_rewriting.remove_final_probabilities(
        preparation.net, preparation.images, lambda: _is_close(preparation.outputs().sigmoid(), before)
    ):
        preparation.changes.append("sigmoid at the end removed: its input is the logit")
    _wrap_network(preparation, BinaryLogits(preparation.net))
    first, second = preparation.model.classes
    preparation.changes.append(f"one logit z made two: −z/2 for '{first}', z/2 for '{second}'")


def _wrap_network(preparation: _Preparation, wrapper: nn.Module) -> None:
    """Puts a module around the network, whose inner modules are then named ``net.…``."""
    preparation.net = wrapper
    if preparation.model.cam_layer is not None:
        preparation.model = replace(preparation.model, cam_layer=f"net.{preparation.model.cam_layer}")


def _missing_capabilities(preparation: _Preparation) -> set[str]:
    """The gradient, where it does not reach the image or is not finite."""
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


def _find_cam_layer(preparation: _Preparation) -> tuple[str | None, frozenset[str]]:
    """Name of a layer that CAM methods can read, the model's own or else a chosen one; and of all that have places."""
    model, net = preparation.model, preparation.net
    outputs = cam_layer.layer_outputs(net, preparation.images)
    image_layers = frozenset(output.layer.name for output in outputs if not output.layer.is_item)
    if model.cam_layer is not None:
        layer = cam_layer.check_layer(net, outputs, model.cam_layer, model.name)
        return cam_layer.tap_layer(net, layer), image_layers
    chosen = cam_layer.choose_layer(net, preparation.images, outputs, len(model.classes))
    if chosen is None:
        return None, image_layers
    preparation.changes.append(f"CAM layer chosen: {chosen.name} ({chosen.layout})")
    return cam_layer.tap_layer(net, chosen), image_layers


def _is_close(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    scale = second.abs().max().clamp_min(1) if second.numel() else torch.ones(())
    return not bool(((first - second).abs() > TOLERANCE * scale).any())


def _evaluate_network(model: Model, net: nn.Module, images: Tensor) -> Tensor:
    """Outputs of a network for images.

    Raises:
        ModelError: the network raises, or returns no tensor.
    """
    try:
        with torch.no_grad():
            outputs = net(images.clone())
    except Exception as error:
        is_double = any(parameter.dtype == torch.float64 for parameter in net.parameters())
        advice = " Its weights are float64; hand over model.float()." if is_double else ""
        reason = f"{type(error).__name__}: {error}{advice}"
        raise ModelError(f"'{model.name}' cannot be evaluated on images {tuple(images.shape)}: {reason}") from error
    if not isinstance(outputs, Tensor):
        raise ModelError(_shape_message(model, images, type(outputs).__name__))
    return outputs


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
