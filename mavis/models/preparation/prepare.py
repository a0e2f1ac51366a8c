"""Preparation of a model for explainers, on a copy, with a note on every change."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.types import Model
from mavis.models.preparation import cam_layer, graph_rewriting, probe_images, promises, state
from mavis.models.preparation.answers import check_outputs, evaluate_network, is_close
from mavis.models.preparation.isolation import is_own_network, isolate_network
from mavis.models.preparation.logits import convert_to_logits
from mavis.models.preparation.probe_images import NOISE_SIZE


@dataclass
class _Preparation:
    """A model during its preparation.

    Attributes:
        model: with a copy of its network as it was given.
        net: the copy, which is changed.
        images: of noise, ``(2,3,S,S)``.
        changes: a note on each change.
        doubts: the notes that a reader of the scores must know.
    """

    model: Model
    net: nn.Module
    images: Tensor
    changes: list[str]
    doubts: list[str] = field(default_factory=list)

    def outputs(self) -> Tensor:
        """Outputs of the copy for the images."""
        return evaluate_network(self.model, self.net, self.images)


def prepare_model(model: Model, device: torch.device, size: int = NOISE_SIZE) -> tuple[Model, tuple[str, ...]]:
    """A copy of a model on the device on which every explainer can run, and a note on each change.

    The copy is in evaluation mode and frozen, and can neither change nor keep what it is handed (`isolation`); every
    activation is a module of its own and works on a copy; outputs are logits, not probabilities, and two of them where
    there was one (`outputs`); it answers the same for an image in any batch (`promises`); its CAM layer was tested on
    noise. Its predictions are those of the original. What remains open about its outputs stands in its card under
    ``doubts``, which reports print.

    Args:
        model: any.
        device: for the copy.
        size: side of the images, in pixels, for a model that takes any size.

    Raises:
        ModelError: weights that are not finite, a CAM layer that is not there, a net without one logit for each of
            the classes, outputs that are not what the option ``output`` says, or outputs that the changes altered or
            that differ between two calls or two batches.
    """
    model, changes = state.copy_model(model)
    size = model.size or size
    images = probe_images.noise(2, size).to(model.device)
    preparation = _Preparation(model, model.net, images, changes)
    if graph_rewriting.is_scripted(preparation.net):
        preparation.changes.append("a scripted network: nobody can look inside it")
        preparation.net = nn.Sequential(preparation.net)
    preparation.net = isolate_network(preparation.net)
    _separate_activations(preparation)
    check_outputs(model, preparation.outputs(), images)
    _convert_to_logits(preparation)
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
        output_kind="logits",
        card={**model.card, "doubts": preparation.doubts} if preparation.doubts else model.card,
    )
    return prepared, tuple(preparation.changes)


def _separate_activations(preparation: _Preparation) -> None:
    """One module per activation, nothing in place, with unchanged outputs.

    Dropout that is always on makes outputs random before the rewriting and not after it: then they cannot be compared,
    and only the outputs afterwards must repeat.
    """
    before = preparation.outputs()
    is_deterministic = is_close(before, preparation.outputs())
    preparation.changes += graph_rewriting.disable_in_place(preparation.net)
    if "gradient" in preparation.model.capabilities:
        preparation.changes += graph_rewriting.separate_activations(
            preparation.net,
            preparation.images,
            lambda: not is_deterministic or is_close(before, preparation.outputs()),
        )
    after = preparation.outputs()
    if not is_close(after, preparation.outputs()):
        raise ModelError(f"'{preparation.model.name}' gives another answer each time; switch off what is random in it.")
    if is_deterministic and not is_close(before, after):
        raise ModelError(
            f"'{preparation.model.name}' answers differently after being made explainable; please report this."
        )


def _convert_to_logits(preparation: _Preparation) -> None:
    """Asks whether the network keeps what MAVIS promises, and makes logits of its outputs."""
    model, net = preparation.model, preparation.net
    if is_own_network(net):  # its tests hold the promises
        images, answers = preparation.images, preparation.outputs()
    else:
        images = probe_images.varied_images(preparation.images.shape[3]).to(preparation.images.device)
        answers, notes = promises.check_promises(model, net, images)
        preparation.changes += notes
        preparation.doubts += notes
    conversion = convert_to_logits(model, net, images, answers)
    preparation.net = conversion.net
    preparation.changes += conversion.notes
    preparation.doubts += conversion.doubts
    if model.cam_layer is not None:
        preparation.model = replace(model, cam_layer=conversion.prefix + model.cam_layer)


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
