"""State of a model during preparation: the copy that is explained has all of it, frozen and in evaluation mode.

The contract of `copy_model`: the caller's object is unchanged; the copy shares no weight with it; what torch's registry
does not know is registered; a network that cannot be copied is a black box, with a note.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError
from mavis.core.objects.graph import walk_objects
from mavis.core.objects.network_copy import copy_network
from mavis.core.objects.network_state import (
    CompleteNetwork,
    UnregisteredState,
    find_modules,
    find_unregistered,
    is_training,
    name_if_registered,
)
from mavis.core.types import Model
from mavis.models.preparation.isolation import BlackBox

Notes = list[str]


def copy_model(model: Model) -> tuple[Model, Notes]:
    """A model with a copy of its network: complete, in evaluation mode, without gradients of its weights.

    Args:
        model: any; its network is unchanged.

    Returns:
        The model, with fewer capabilities where its weights cannot be drawn anew, and a note on each change.

    Raises:
        ModelError: layers without weights yet; a module outside of the network; weights that are NaN or infinite.
    """
    _check_materialised(model)
    modules = model.net.modules_of_function if isinstance(model.net, BlackBox) else find_modules(model.net)
    was_training = any(is_training(module) for module in (model.net, *modules))
    copied, notes = _copy_or_wrap(model)
    _set_evaluation_mode(copied.net)
    for parameter in copied.net.parameters():
        parameter.requires_grad_(False)
    _check_finite_weights(copied)
    notes += ["put into evaluation mode"] if was_training else []
    if "weights" in copied.capabilities and not _has_drawable_weights(copied.net):
        notes.append("its weights cannot be drawn anew: nothing that needs this is measured")
        copied = replace(copied, capabilities=copied.capabilities - {"weights"})
    return copied, notes


def _copy_or_wrap(model: Model) -> tuple[Model, Notes]:
    """The model with a complete copy of its network, or as a black box where it cannot be copied."""
    if isinstance(model.net, BlackBox):
        return replace(model, net=BlackBox(model.net.function)), []
    try:
        net = copy_network(model.net)
    except ModelError as error:
        note = f"taken as a black box, of which only the answers are used: {str(error).rstrip('.')}"
        black_box = BlackBox(model.net.__call__)
        return replace(model, net=black_box, capabilities=frozenset({"forward"}), cam_layer=None), [note]
    state = _find_state(model.net, net)
    _check_inside(model, state)
    if not state:
        return replace(model, net=net), []
    cam_layer = None if model.cam_layer is None else f"net.{model.cam_layer}"
    return replace(model, net=CompleteNetwork(net, state), cam_layer=cam_layer), [_describe_state(state)]


def _find_state(original: nn.Module, copied: nn.Module) -> UnregisteredState:
    """The copy's state that torch does not know; what the original computed in a forward and kept is none."""
    state, state_before = find_unregistered(copied), find_unregistered(original)
    tensors = {name: tensor for name, tensor in state.tensors.items() if name in state_before.tensors}
    return replace(state, tensors=tensors)


def _describe_state(state: UnregisteredState) -> str:
    parts = [_count("module", list(state.modules)), _count("tensor", list(state.tensors))]
    return f"registered, since torch did not know of it: {' and '.join(filter(None, parts))}"


def _count(kind: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > 3 else ""
    return f"{len(names)} {kind}{'s' if len(names) > 1 else ''} ({', '.join(names[:3])}{more})"


def _check_inside(model: Model, state: UnregisteredState) -> None:
    if state.global_names:
        name = state.global_names[0]
        raise ModelError(
            f"'{model.name}' uses '{name}', a module or weight of its file that is no part of it; make it one, "
            f"self.{name.lower()} = {name}."
        )


def _check_materialised(model: Model) -> None:
    tensors = [(".".join(path), value) for path, value in walk_objects(model.net) if isinstance(value, Tensor)]
    names = [name for name, tensor in tensors if nn.parameter.is_lazy(tensor) or tensor.is_meta]
    if names:
        raise ModelError(
            f"'{model.name}' has weights without values yet ({_count('tensor', names)}); send it an image, "
            f"net(torch.zeros(1, 3, H, W)), or load its weights before it is explained."
        )


def _set_evaluation_mode(net: nn.Module) -> None:
    """Evaluation mode of every module, whatever the classes make of ``train``."""
    with contextlib.suppress(Exception):  # exported networks have one mode only; a user's `train` may raise anything
        net.eval()
    for module in net.modules():
        if is_training(module):
            module.training = False


def _check_finite_weights(model: Model) -> None:
    for name, tensor in (*model.net.named_parameters(), *model.net.named_buffers()):
        if not _is_finite(tensor):
            raise ModelError(
                f"'{model.name}' has weights that are NaN or infinite, first in "
                f"'{name_if_registered(model.net, name)}'; train it again."
            )


def _is_finite(tensor: Tensor) -> bool:
    values = tensor.dequantize() if tensor.is_quantized else tensor
    values = values if values.layout == torch.strided else values.to_dense()
    return not values.is_floating_point() or bool(values.isfinite().all())


def _has_drawable_weights(net: nn.Module) -> bool:
    """True where all weights are parameters: none is packed by quantisation or frozen into a script."""
    has_parameters = any(parameter.is_floating_point() for parameter in net.parameters())
    return has_parameters and not any(_has_fixed_weights(module) for module in net.modules())


def _has_fixed_weights(module: nn.Module) -> bool:
    if not isinstance(module, torch.jit.ScriptModule):
        return ".quantized." in f"{type(module).__module__}."
    try:
        constants = module.code_with_constants[1].const_mapping.values()
    except Exception:  # a module without a forward of its own
        return False
    return any(isinstance(value, Tensor) and value.dim() >= 2 for value in constants)
