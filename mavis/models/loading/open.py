"""Opening of models: a name, a folder, a spec or an object becomes a prepared `Model`, with the data of the run."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mavis.core.errors import ModelError, UnknownName
from mavis.core.registry import datasets, models
from mavis.core.types import Dataset, Model, OutputKind
from mavis.datasets.loading.checked_data import complete_dataset, readable_ids
from mavis.datasets.loading.open import DEFAULT_DATA, open_data
from mavis.models.loading import checkpoint, options, specs, wrappers
from mavis.models.loading.wrappers import DeferredModel
from mavis.models.preparation import prepare
from mavis.models.preparation.probe_images import NOISE_SIZE

ModelLike = str | Model | DeferredModel | nn.Module | Callable[[Tensor], Any]
"""A model as a user names it or hands it over."""


LoadedModels = dict[str, tuple[Model, tuple[str, ...]]]
"""Models by name, each with the changes that preparation made."""


def open_model(
    name: str, device: torch.device, classes: tuple[str, ...] | None = None
) -> tuple[Model, tuple[str, ...]]:
    """A registered model, a model folder or a spec, prepared for explainers; and the changes that preparation made.

    Args:
        name: ``NAME``, ``./FOLDER``, ``FAMILY:REST`` or ``pkg.mod:fn``, with options behind a question mark.
        device: for the copy that is explained.
        classes: for a model that names none; by default those of `DEFAULT_DATA`.

    Raises:
        UnknownName: no model has this name.
        ModelError: the model cannot be loaded or prepared.
    """
    model = _resolve_name(name)
    if isinstance(model, DeferredModel):
        model = model.build(classes or tuple(datasets[DEFAULT_DATA].create().classes))
    return prepare.prepare_model(model, device)


def open_models(
    requested: Sequence[ModelLike], device: torch.device, data: str | Dataset, *, target: str | None, split: str | None
) -> tuple[LoadedModels, Dataset]:
    """All models of a run by name, and their data; the models must have the same classes.

    Args:
        requested: names as in `open_model`, models, networks, or functions from images to logits.
        device: for the copies that are explained.
        data: as the user wrote it, or a data set; optional members of `Dataset` that it lacks get their defaults.
        target: the label; by default the one that the first model's card names.
        split: which part of the data.

    Raises:
        ModelError: other classes, another size, or one name twice.
    """
    candidates = [
        _resolve_name(request) if isinstance(request, str) else wrappers.as_model(request, model_name(request))
        for request in requested
    ]
    if isinstance(data, str):
        first = next((model for model in candidates if isinstance(model, Model)), None)
        size = next((model.size for model in candidates if model.size), None)
        dataset = open_data(data, target=target, split=split, model=first, size=size)
    else:
        dataset = complete_dataset(data)
    models = [model if isinstance(model, Model) else model.build(tuple(dataset.classes)) for model in candidates]
    _check_same_task(models, [model_name(request) for request in requested])
    side = None if all(model.size for model in models) else _image_size(dataset)
    loaded = {model.name: prepare.prepare_model(model, device, side or NOISE_SIZE) for model in models}
    return loaded, dataset


def _resolve_name(name: str) -> Model | DeferredModel:
    """The model that a name stands for, with the options behind it."""
    name, values = specs.split_options(name)
    return options.apply_options(_resolve_plain_name(name), values)


def _resolve_plain_name(name: str) -> Model | DeferredModel:
    family, spec = specs.split_family(name) or (name, None)
    if spec is None and name in models and "spec" in models[name].parameters():
        raise ModelError(f"'{name}' is a family of models: {models[name].traits.about}; write --model {name}:NAME.")
    if family in models:
        opened = models[family].create({} if spec is None else {"spec": spec})
        has_revision = models[family].is_built_in and isinstance(opened, Model | DeferredModel)
        return opened if has_revision else wrappers.as_model(opened, name)
    if specs.is_path(name):
        return checkpoint.load(name)
    raise UnknownName("model", name, [*models.names(), "a folder written by mavis train (./FOLDER)"])


def model_name(model: ModelLike) -> str:
    """Name of a model: as the user wrote it, else that of its class or function."""
    if isinstance(model, str):
        return model
    return (
        model.name
        if isinstance(model, Model | DeferredModel)
        else str(getattr(model, "__name__", type(model).__name__))
    )


def with_output(model: ModelLike, output: OutputKind | None) -> ModelLike:
    """The model with the option ``output`` set, under the name that says so; as it is for None.

    Raises:
        BadParameter: there is no such kind of output.
    """
    if output is None:
        return model
    if isinstance(model, str):
        return f"{model}{'&' if specs.split_options(model)[1] else '?'}output={output}"
    return options.apply_options(wrappers.as_model(model, model_name(model)), {"output": output})


def _check_same_task(models: Sequence[Model], requested: Sequence[str]) -> None:
    """Raises ModelError for other classes, another size, or one name twice; ``requested`` is what the user wrote."""
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            written = [text for text, model in zip(requested, models, strict=True) if model.name == name]
            raise ModelError(
                f"Two models are named '{name}': {' and '.join(written)}; name each once. Of two folders rename one, "
                "of two functions register one: mavis register model NAME --factory pkg.mod:function."
            )
    first = models[0]
    for model in models[1:]:
        if model.classes != first.classes or (first.size and model.size and model.size != first.size):
            raise ModelError(
                f"'{first.name}' and '{model.name}' cannot stand side by side: {_describe_classes(first)} against "
                f"{_describe_classes(model)}."
            )


def _image_size(data: Dataset) -> int:
    """Side of the data's images, in pixels."""
    return int(data.load(readable_ids(data, 1)).images.shape[2])


def _describe_classes(model: Model) -> str:
    return f"{len(model.classes)} classes ({', '.join(model.classes[:3])}, …) at {model.size or 'any'} px"
