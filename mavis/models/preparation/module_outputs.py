"""Outputs of modules that return several things: their first tensor, read or replaced."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn


def first_tensor(result: object) -> Tensor | None:
    """A module's output, or the first tensor where it returns several things; None where there is none."""
    if isinstance(result, Tensor):
        return result
    items = result.values() if isinstance(result, Mapping) else result if isinstance(result, tuple | list) else ()
    return next((item for item in items if isinstance(item, Tensor)), None)


def replace_tensor(result: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """A module's output with a function applied to its `first_tensor`."""
    tensor = first_tensor(result)
    if tensor is None or tensor is result:
        return result if tensor is None else function(tensor)
    if isinstance(result, Mapping):
        replaced = copy.copy(result)
        replaced[next(key for key, item in result.items() if item is tensor)] = function(tensor)  # type: ignore[index]
        return replaced
    items = [function(item) if item is tensor else item for item in result]
    return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)


class TensorTap(nn.Module):
    """A module that returns several things, whose first tensor passes ``tap``: the module that CAM methods hook.

    Args:
        module: any; its attributes can be read through the tap.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.tap = module, nn.Identity()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's output."""
        return replace_tensor(self.module(*args, **kwargs), self.tap)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)
