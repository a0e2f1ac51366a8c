"""Rectifiers outside of modules: steps that modified-gradient methods cannot reach with hooks.

Guided backpropagation and deconvnet change the gradient of every ReLU through a hook on its module. A ReLU that is
written as ``torch.clamp(x, min=0)``, ``x * (x > 0)`` or an autograd function of its own has no module: the map would be
a mixture of the method and the plain gradient. Such steps are found in the autograd graph of the logits, by what they
do: a step that is linear piece by piece passes some values and cuts others, in each image at other places.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

from mavis.core.errors import ModelError

PIECEWISE_LINEAR_STEPS = (
    *("Abs", "Clamp", "Fmax", "Fmin", "Hardshrink", "Hardtanh", "IndexPut", "LeakyRelu", "MaskedFill", "Maximum"),
    *("Minimum", "PreluKernel", "Relu", "Rrelu", "Softshrink", "Threshold", "Where"),
)
"""Beginnings of the names of autograd nodes."""

ACTIVATION_MODULES = tuple(
    module
    for module in vars(nn.modules.activation).values()
    if isinstance(module, type) and issubclass(module, nn.Module) and module is not nn.Module
)
"""torch's activations: ReLUs have hooks, the others keep their gradient on purpose."""


@contextmanager
def require_relu_modules(net: nn.Module, method: str) -> Iterator[None]:
    """Checks every forward pass with a graph while the context is open.

    Args:
        net: the network, called on a batch of images.
        method: name of the method, for the message.

    Raises:
        ModelError: the logits depend on a rectifier that is no module of torch.
    """
    known: list[Any] = []

    def record(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            known.append(output.grad_fn)

    def check(_: nn.Module, __: tuple[Any, ...], logits: Tensor) -> None:
        step = find_rectifier(logits, known)
        known.clear()
        if step is not None:
            raise ModelError(
                f"the network has a nonlinear step outside of torch's activation modules ({step}), for which {method} "
                "has no rule. Leave the method out for this model, or write every ReLU as nn.ReLU."
            )

    handles = [
        module.register_forward_hook(record, prepend=True)
        for module in net.modules()
        if isinstance(module, ACTIVATION_MODULES)
    ]
    handles.append(net.register_forward_hook(check))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def find_rectifier(logits: Tensor, known: list[Any]) -> str | None:
    """Name of a step that cuts signals, or whose backward is the network's own; None where there is none.

    Args:
        logits: ``(B,K)`` with their graph.
        known: nodes of the graph that are not looked at.
    """
    known_ids = {id(node) for node in known}
    seen: set[Any] = set()
    pending = [logits.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(node) not in known_ids and _is_rectifier(node, len(logits)):
            return str(node.name()).partition("Backward")[0]
        pending += [parent for parent, _ in node.next_functions]
    return None


def _is_rectifier(node: Any, n_images: int) -> bool:
    name = node.name()
    if isinstance(node, BackwardCFunction):
        return "BackwardHookFunction" not in name  # torch's own, for full backward hooks
    if "::" in name:  # a scripted or compiled piece: nobody can look inside it
        return "AccumulateGrad" not in name
    if name.startswith(PIECEWISE_LINEAR_STEPS):
        return _cuts_signals(_slopes(node), n_images)
    if name.startswith("SignBackward"):
        return True
    if name.startswith("MulBackward"):
        factor = _constant_factor(node)
        # One image does not tell a mask that depends on it from a fixed one, unless it is a comparison's result.
        return (n_images > 1 or getattr(factor, "dtype", None) == torch.bool) and _cuts_signals(factor, n_images)
    return False


def _slopes(node: Any) -> Tensor | None:
    """Derivative of an element-wise step with respect to its first input that has one."""
    (output,) = node._input_metadata
    gradients = node(torch.ones(output.shape, dtype=output.dtype, device=output.device))
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    return next((gradient for gradient in gradients if gradient is not None), None)


def _constant_factor(node: Any) -> Tensor | None:
    """The factor of a product that autograd takes for a constant, as ``x > 0`` in ``x * (x > 0)``.

    None where there is none, or where it is the same for all images.
    """
    functions = [parent for parent, _ in node.next_functions]
    if len(functions) != 2 or None not in functions:
        return None
    factor: Tensor = node._saved_other if functions[1] is None else node._saved_self
    (output,) = node._input_metadata
    is_per_image = factor.dim() == len(output.shape) and factor.shape[0] == output.shape[0]
    return factor if is_per_image else None


def _cuts_signals(slopes: Any, n_images: int) -> bool:
    """True where slopes are not the same in every image; of one image alone, where they are not all equal."""
    if not isinstance(slopes, Tensor) or slopes.dim() == 0 or slopes.shape[0] % n_images:
        return False
    rows = slopes.detach().flatten() if n_images == 1 else slopes.detach().reshape(n_images, -1)
    return bool((rows != rows[:1]).any())
