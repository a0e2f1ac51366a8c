"""A user's own function as a model."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from mavis.core import registry
from mavis.core.errors import MavisError, ModelError
from mavis.core.types import Model
from mavis.models.loading import specs, weights, wrappers


@registry.model("factory", about="[factory:]pkg.mod:fn[@SIZE][:WEIGHTS]; your function that returns a network")
def factory(spec: str) -> Model | wrappers.Unclassed:
    """What a function returns: a `Model`, a network or any other function from images in [0,1] to logits.

    Args:
        spec: ``pkg.mod:fn[@SIZE][:WEIGHTS]``: where the function is, the working folder first; the side of the images,
            else that of the data; a file of weights for the network that it returns. A function with a parameter
            ``classes`` is told the names of the data's classes.

    Raises:
        MavisError: there is no such function.
        ModelError: it fails, or returns something else.
    """
    module, _, rest = spec.partition(":")
    wanted = specs.parsed(rest)
    path = f"{module}:{wanted.name}"
    function = registry.find(path)
    name = specs.Spec(path, wanted.size, wanted.weights).label
    if _asks_for_classes(function):
        return wrappers.Unclassed(name, partial(_told, function, wanted, name), wanted.size)
    return wrappers.given(_called(function, wanted, name), name, wanted.size)


def _asks_for_classes(function: Callable[..., Any]) -> bool:
    try:
        return "classes" in inspect.signature(function).parameters
    except ValueError:  # some built-in callables have no signature
        return False


def _told(function: Callable[..., Any], wanted: specs.Spec, name: str, classes: tuple[str, ...]) -> Model:
    found = wrappers.given(_called(partial(function, classes=classes), wanted, name), name, wanted.size)
    return found if isinstance(found, Model) else found.make(classes)


def _called(function: Callable[[], Any], wanted: specs.Spec, name: str) -> Any:
    """What the function returns, with its weights."""
    try:
        found = function()
    except MavisError:
        raise
    except Exception as error:
        raise ModelError(f"The function of '{name}' fails: {type(error).__name__}: {error}") from error
    if wanted.weights is not None:
        if not isinstance(found, nn.Module):
            raise ModelError(f"'{name}' names weights, so its function must return a network, got {found!r}.")
        weights.fill(found, wanted.weights)
    return found
