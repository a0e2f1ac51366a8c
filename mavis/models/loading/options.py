"""Options of a model, written behind its name: ``NAME?KEY=VALUE&KEY=VALUE``, e.g. ``onnx:net.onnx?output=percent``.

They say of a network what it does not say of itself. An option is one function in `OPTIONS`; every model takes every
option, whatever its family. A model with options has a name and a content hash of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from mavis.core import hashing
from mavis.core.errors import BadParameter
from mavis.core.types import Model
from mavis.models.loading.wrappers import DeferredModel
from mavis.models.preparation.outputs import KINDS


def apply_options(model: Model | DeferredModel, options: Mapping[str, str]) -> Model | DeferredModel:
    """The model with the options set, and named after them; the model itself where there are none.

    Args:
        model: any, before its preparation.
        options: values by key, as `mavis.models.loading.specs.split_options` returns them.

    Raises:
        BadParameter: no such option, or not one of its values.
    """
    setters = [_find_setter(key, value) for key, value in options.items()]
    if not setters:
        return model
    label = "?" + "&".join(f"{key}={value}" for key, value in options.items())

    def set_all(model: Model) -> Model:
        for setter in setters:
            model = setter(model)
        return replace(model, name=model.name + label, revision=hashing.digest(model.revision, label)[:32])

    if isinstance(model, Model):
        return set_all(model)
    build = model.build
    return replace(model, name=model.name + label, build=lambda classes: set_all(build(classes)))


def _find_setter(key: str, value: str) -> Callable[[Model], Model]:
    if key not in OPTIONS:
        raise BadParameter(f"A model has no option '{key}', got ?{key}={value}; there are: {', '.join(OPTIONS)}.")
    return OPTIONS[key](value)


def _output(value: str) -> Callable[[Model], Model]:
    """Sets what the network returns, which is measured otherwise."""
    if value not in KINDS:
        raise BadParameter(f"?output= must be one of {', '.join(KINDS)}, got '{value}'.")
    return lambda model: replace(model, output_kind=value)


OPTIONS: Mapping[str, Callable[[str], Callable[[Model], Model]]] = {"output": _output}
"""Options by key: ``value -> (model -> model)``."""
