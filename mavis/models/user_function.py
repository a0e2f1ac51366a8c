"""A user's own function as a model."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from mavis.core import registry, user_plugins
from mavis.core.errors import MavisError, ModelError
from mavis.core.types import Model
from mavis.models.loading import specs, weights, wrappers


@registry.model("factory", about="[factory:]pkg.mod:fn[@SIZE][:WEIGHTS]; your function that returns a network")
def factory(spec: str) -> Model | wrappers.DeferredModel:
    """The model that a user's function returns: a `Model`, a network, or a function from images in [0,1] to logits.

    Args:
        spec: ``pkg.mod:fn[@SIZE][:WEIGHTS]``: the function, searched in the working folder first; the side of the
            images, else that of the data; a file of weights for the network that it returns. A function with a
            parameter ``classes`` gets the names of the data's classes.

    Raises:
        MavisError: there is no such function.
        ModelError: the function raises, or returns something else.
    """
    module, _, function_spec = spec.partition(":")
    parsed = specs.parse_spec(function_spec)
    path = f"{module}:{parsed.name}"
    function = user_plugins.import_factory(path)
    name = specs.Spec(path, parsed.size, parsed.weights).label
    if _takes_classes(function):
        return wrappers.DeferredModel(name, partial(_build_for_classes, function, parsed, name), parsed.size)
    return wrappers.as_model(_call_function(function, parsed, name), name, parsed.size)


def _takes_classes(function: Callable[..., Any]) -> bool:
    try:
        return "classes" in inspect.signature(function).parameters
    except ValueError:  # some built-in callables have no signature
        return False


def _build_for_classes(function: Callable[..., Any], spec: specs.Spec, name: str, classes: tuple[str, ...]) -> Model:
    model = wrappers.as_model(_call_function(partial(function, classes=classes), spec, name), name, spec.size)
    return model if isinstance(model, Model) else model.build(classes)


def _call_function(function: Callable[[], Any], spec: specs.Spec, name: str) -> Any:
    """The object that the function returns, with its weights loaded."""
    try:
        returned = function()
    except MavisError:
        raise
    except Exception as error:
        raise ModelError(f"The function of '{name}' fails: {type(error).__name__}: {error}") from error
    if spec.weights is not None:
        if not isinstance(returned, nn.Module):
            raise ModelError(f"'{name}' names weights, so its function must return a network, got {returned!r}.")
        weights.load_weights(returned, spec.weights)
    return returned
