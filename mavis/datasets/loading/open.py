"""Opening of data sets: ``NAME`` or ``NAME:PATH`` with the user's options becomes a `Dataset`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mavis.core.errors import BadParameter, ModelError
from mavis.core.registry import Entry, datasets
from mavis.core.types import Dataset, Model
from mavis.datasets.loading.checked_data import complete_dataset

DEFAULT_DATA = "synthetic_faces"

MAX_NAMES = 10
"""Classes that are named in a message."""


def open_data(
    spec: str,
    *,
    target: str | None,
    split: str | None,
    model: Model | None = None,
    size: int | None = None,
    recipe: str | None = None,
) -> Dataset:
    """A data set from ``NAME`` or ``NAME:PATH``.

    The factory gets the values of the options that it declares (`mavis.core.traits.DatasetTraits`).

    Args:
        spec: as the user wrote it; PATH becomes the option ``root``.
        target: the label; by default the one that the model's card names.
        split: which part, where the data set has parts.
        model: decides the images' size; its classes must be those of the data.
        size: side of the images without a model.
        recipe: how training images are composed, where the data set has recipes.

    Raises:
        UnknownName: no data set has this name.
        BadParameter: an option that the data set does not declare, or a folder too many or missing.
        DataError: the data set cannot be read.
        ModelError: the model has other classes.
    """
    name, _, root = spec.partition(":")
    entry = datasets[name]
    values = {
        "root": _plain_path(root) if root else None,
        "target": target or (model.card.get("target") if model else None),
        "split": split,
        "size": model.size if model and model.size else size,
        "recipe": recipe,
    }
    _check_options(entry, values)
    options: tuple[str, ...] = entry.traits.options
    data = complete_dataset(entry.create({key: values[key] for key in options if values[key] is not None}))
    if model is not None:
        _check_classes(model, data)
    return data


def _plain_path(root: str) -> str:
    """The path without ``./`` and a slash at its end, so that one folder has one name; an address stays as it is."""
    return root if "://" in root else str(Path(root))


def _check_options(entry: Entry, values: Mapping[str, Any]) -> None:
    """Raises BadParameter for a value of an option that is not declared, and for a folder that is missing."""
    name, options = entry.name, entry.traits.options
    if values["root"] and "root" not in options:
        raise BadParameter(f"'{name}' takes no path; write --data {name}.")
    if "root" in options and not values["root"] and _is_required(entry, "root"):
        raise BadParameter(f"'{name}' needs a folder; write --data {name}:FOLDER.")
    for option in ("split", "recipe"):
        if values[option] is not None and option not in options:
            raise BadParameter(f"'{name}' has no {option}s; leave out --{option}.")


def _is_required(entry: Entry, option: str) -> bool:
    parameter = entry.parameters().get(option)
    return parameter is not None and parameter.default is parameter.empty


def _check_classes(model: Model, data: Dataset) -> None:
    if tuple(model.classes) != tuple(data.classes):
        raise ModelError(
            f"'{model.name}' tells {len(model.classes)} classes apart ({_class_list(model.classes)}), but "
            f"'{data.target}' of {data.name} has {len(data.classes)} ({_class_list(data.classes)}); choose another "
            f"--target or --data."
        )


def _class_list(classes: Sequence[str]) -> str:
    """The classes' names; of many the first ones and a count."""
    more = f" and {len(classes) - MAX_NAMES} more" if len(classes) > MAX_NAMES else ""
    return ", ".join(classes[:MAX_NAMES]) + more
