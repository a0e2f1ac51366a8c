"""Isolation of a stranger's code: it is handed copies of the images, and what it answers is copied.

Contract, for networks (`isolate_network`) and functions (`BlackBox`) alike: the code may write into what it is given,
keep it, return it or a view of it, and answer into one buffer again and again; neither MAVIS's images nor an earlier
answer change by that. Answers are float32, in memory of their own. A copy costs about a hundredth of a small network's
forward; MAVIS's own networks, which do none of this, are not copied for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from mavis.core.errors import ModelError
from mavis.core.objects import network_state
from mavis.core.objects.graph import Opaque
from mavis.models.preparation.answers import describe_answer

TRUSTED_PACKAGES = {"torch", "torchvision", "timm", "mavis"}
"""Packages whose modules neither write into their input nor keep it, once in-place activations are ordinary."""


class BlackBox(Opaque, nn.Module):
    """Any callable as a network without gradient; a copy shares the callable.

    Networks behind the callable are in evaluation mode while it is called.

    Args:
        function: images ``(N,3,H,W)`` float32 in [0,1] -> outputs ``(N,K)``, a tensor, an array or what numpy makes
            one of. It works on copies, see the module's contract.
    """

    device_marker: Tensor

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function
        self.modules_of_function = network_state.find_modules(function)
        # A network without weights has no device; this buffer moves with `to` and tells the device for the images.
        self.register_buffer("device_marker", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(N,3,H,W)`` -> outputs ``(N,K)`` float32, on the device of the images.

        Raises:
            ModelError: the answer is no array of real numbers.
        """
        with torch.no_grad(), network_state.evaluation_mode(self.modules_of_function):
            answer = self.function(images.detach().clone(memory_format=torch.contiguous_format))
        return copy_numbers(answer).to(images.device)

    def __deepcopy__(self, _: dict[int, Any]) -> "BlackBox":
        return BlackBox(self.function)


def copy_numbers(answer: Any) -> Tensor:
    """Numbers that a function answered as a float32 tensor with memory of its own.

    Raises:
        ModelError: a mapping, None, text, complex numbers, rows of unequal length and the like.
    """
    if isinstance(answer, Tensor) and not answer.is_complex():
        return answer.detach().to(torch.float32, copy=True)
    try:
        numbers = np.asarray(answer)
        if numbers.dtype.kind in "biuf":
            return torch.from_numpy(np.array(numbers, dtype=np.float32))
    except (TypeError, ValueError, RuntimeError):
        pass
    raise ModelError(f"expected one row of real numbers per image, got {describe_answer(answer)}.")


def isolate_network(net: nn.Module) -> nn.Module:
    """The network, called with copies of its tensors and answering in copies; unchanged where all modules are trusted.

    Calls go through a subclass with the same name, so the names of its layers, its hooks and its state stay. It copies
    outside all hooks, so also before those of the user. A network whose class cannot be extended (scripted, exported)
    is put into an ``nn.Sequential`` first.
    """
    if all(_is_trusted(module) for module in net.modules()):
        return net
    if isinstance(net, torch.jit.ScriptModule | fx.GraphModule):
        net = nn.Sequential(net)
    base = type(net)

    def call(self: nn.Module, *arguments: Any, **named: Any) -> Any:
        copies = [_copy_tensor(argument) for argument in arguments]
        return _copy_tensor(base.__call__(self, *copies, **named))

    namespace = {"__call__": call, "__module__": base.__module__, "__qualname__": base.__qualname__}
    net.__class__ = type(base.__name__, (base,), namespace)
    return net


def is_own_network(net: nn.Module) -> bool:
    """True for a network that MAVIS ships: its own modules, made of torch's layers, and no stranger's function."""
    modules = list(net.modules())
    is_own = all(_is_trusted(m) and type(m).__module__.startswith(("mavis.", "torch.nn.")) for m in modules)
    return is_own and type(net).__module__.startswith("mavis.") and not any(isinstance(m, BlackBox) for m in modules)


def _copy_tensor(thing: Any) -> Any:
    """A copy of a tensor, on its graph; other floating types become float32. Other things stay."""
    if not isinstance(thing, Tensor):
        return thing
    return thing.clone() if thing.dtype == torch.float32 or thing.is_complex() else thing.to(torch.float32, copy=True)


def _is_trusted(module: nn.Module) -> bool:
    """True for a module of a trusted package as it was written there: without hooks or methods put into the object."""
    package, _, subpackage = type(module).__module__.partition(".")
    is_library_code = package in TRUSTED_PACKAGES and not (package == "torch" and not subpackage.startswith("nn."))
    has_hooks = module._forward_pre_hooks or module._forward_hooks
    return is_library_code and not has_hooks and "forward" not in vars(module)
