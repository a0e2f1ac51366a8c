"""Open."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError, UnknownName
from mavis.core.registry import datasets, models
from mavis.core.types import Dataset, Model
from mavis.datasets.loading.open import DEFAULT_DATA, open_data
from mavis.models.loading import checkpoint, specs, wrappers
from mavis.models.loading.wrappers import DeferredModel
from mavis.models.preparation import prepare

ModelLike = str | Model | nn.Module | Callable[[Tensor], Any]
"""What a user may hand over as a model."""


LoadedModels = dict[str, tuple[Model, tuple[str, ...]]]
"""Models by name, each with what preflight changed."""


def open_model(
    name: str, device: torch.device, classes: tuple[str, ...] | None = None
) -> tuple[Model, tuple[str, ...]]:
    """A registered model, a model folder or a spec, made explainable; and what preflight changed.

    Args:
        name: ``NAME``, ``./FOLDER``, ``FAMILY:REST`` or ``pkg.mod:fn``.
        device: for the copy that is explained.
        classes: for a model that names none; by default those of `DEFAULT_DATA`.

    Raises:
        UnknownName, ModelError: see there.
    """
    found = _resolve_name(name)
    if isinstance(found, DeferredModel):
        found = found.build(classes or tuple(datasets[DEFAULT_DATA].create().classes))
    return prepare.prepare_model(found, device)


def open_models(
    requested: Sequence[ModelLike], device: torch.device, data: str | Dataset, *, target: str | None, split: str | None
) -> tuple[LoadedModels, Dataset]:
    """All models of a run by name, and their data; the models must answer the same question.

    Args:
        requested: names as in `open_model`, models, networks, or functions from images to logits.
        device: for the copies that are explained.
        data: as the user wrote it, or a data set.
        target: the label; by default the one that the first model's card names.
        split: which part of the data.

    Raises:
        ModelError: other classes, another size, or one name twice.
    """
    found = [
        _resolve_name(one) if isinstance(one, str) else wrappers.as_model(one, model_name(one)) for one in requested
    ]
    first = next((one for one in found if isinstance(one, Model)), None)
    if isinstance(data, str):
        size = next((one.size for one in found if one.size), None)
        data = open_data(data, target=target, split=split, model=first, size=size)
    models = [one if isinstance(one, Model) else one.build(tuple(data.classes)) for one in found]
    _check_same_task(models)
    side = None if all(model.size for model in models) else _image_size(data)
    opened = {model.name: prepare.prepare_model(model, device, side or prepare.NOISE_SIZE) for model in models}
    return opened, data


def _resolve_name(name: str) -> Model | DeferredModel:
    """What a name stands for."""
    family = specs.split_family(name)
    if family is not None:
        found = models[family[0]].create({"spec": family[1]})
    elif name in models and "spec" in models[name].parameters():
        raise ModelError(f"'{name}' is a family of models: {models[name].traits.about}; write --model {name}:NAME.")
    elif name in models:
        found = models[name].create()
    elif "/" in name or "\\" in name or Path(name).exists():
        found = checkpoint.load(name)
    else:
        raise UnknownName("model", name, [*models.names(), "a folder written by mavis train (./FOLDER)"])
    return wrappers.as_model(found, name)


def model_name(model: ModelLike) -> str:
    """What a model is called: as it was named, else after its class or function."""
    if isinstance(model, str):
        return model
    return model.name if isinstance(model, Model) else str(getattr(model, "__name__", type(model).__name__))


def _check_same_task(models: Sequence[Model]) -> None:
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"Two models are named '{name}'; rename one of the folders.")
    first, *others = models
    for other in others:
        if other.classes != first.classes or (first.size and other.size and other.size != first.size):
            raise ModelError(
                f"'{first.name}' and '{other.name}' cannot stand side by side: {_describe_classes(first)} against "
                f"{_describe_classes(other)}."
            )


def _image_size(data: Dataset) -> int:
    """Of the data's images, in pixels."""
    return int(data.load([str(data.table().index[0])]).images.shape[2])


def _describe_classes(model: Model) -> str:
    return f"{len(model.classes)} classes ({', '.join(model.classes[:3])}, …) at {model.size or 'any'} px"
