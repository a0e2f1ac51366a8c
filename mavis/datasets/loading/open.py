"""Open."""

from typing import Any

from mavis.core.errors import BadParameter, ModelError
from mavis.core.registry import datasets
from mavis.core.types import Dataset, Model

DEFAULT_DATA = "synthetic_faces"


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

    Args:
        spec: as the user wrote it; PATH becomes the parameter ``root``.
        target: the label; by default the one that the model's card names.
        split: which part, where the data set has parts.
        model: decides the images' size; its classes must be those of the data.
        size: side of the images without a model.
        recipe: how training images are composed, where the data set has recipes.

    Raises:
        UnknownName, BadParameter, DataError: see there.
        ModelError: the model has other classes.
    """
    name, _, root = spec.partition(":")
    entry = datasets[name]
    wanted: dict[str, Any] = {
        "root": root or None,
        "target": target or (model.card.get("target") if model else None),
        "split": split,
        "size": model.size if model and model.size else size,
        "recipe": recipe,
    }
    given = {key: value for key, value in wanted.items() if value is not None}
    known = entry.parameters()
    if root and "root" not in known:
        raise BadParameter(f"'{name}' takes no path; write --data {name}.")
    if "root" in known and not root and known["root"].default is known["root"].empty:
        raise BadParameter(f"'{name}' needs a folder; write --data {name}:FOLDER.")
    for option in ("split", "recipe"):
        if wanted[option] is not None and option not in known:
            raise BadParameter(f"'{name}' has no {option}s; leave out --{option}.")
    data: Dataset = entry.create({key: value for key, value in given.items() if key in known})
    if model is not None and tuple(model.classes) != tuple(data.classes):
        raise ModelError(
            f"'{model.name}' tells {len(model.classes)} classes apart ({', '.join(model.classes)}), but "
            f"'{data.target}' of {data.name} has {len(data.classes)} ({', '.join(data.classes)}); choose another "
            f"--target or --data."
        )
    return data
