"""From what the user named to models and data that fit together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from mavis import checkpoint, foreign, preflight
from mavis.appearance import appearance
from mavis.errors import BadParameter, DataError, ModelError, UnknownName
from mavis.foreign import Unclassed
from mavis.passes import Pass
from mavis.protocol import attributes
from mavis.registry import datasets, models
from mavis.rules import Protocol
from mavis.sampling import first_per_group, joined, sample
from mavis.types import Dataset, Model

Given = str | Model | nn.Module | Callable[[Tensor], Any]
"""What a user may hand over as a model."""

Opened = dict[str, tuple[Model, tuple[str, ...]]]
"""Models by name, each with what preflight changed."""

DEFAULT_DATA = "synthetic_faces"
REFERENCE = 20
"""Images that stand for the data set: baselines of expected gradients, and the mean map."""


@dataclass(frozen=True)
class Sample:
    """The images of a run.

    Attributes:
        data: where they come from.
        ids: in the order in which they are evaluated.
        varied: those that get maps under other inputs and weights.
        shown: those whose maps are kept for the gallery, one per group.
        table: index id; ``label``, the group attributes, the column that names persons if there is one, and ``weight``:
            for how many images of the data set, of the same group of the first attribute, each stands.
        notes: what was repaired, left out or could not be read.
        revision: content hash.
        reference: ids of the images that stand for the data set.
        truth: whether there is planted truth.
        rerender: whether parts can be drawn anew.
    """

    data: Dataset
    ids: tuple[str, ...]
    varied: frozenset[str]
    shown: frozenset[str]
    table: pd.DataFrame
    notes: tuple[str, ...]
    revision: str
    reference: tuple[str, ...]
    truth: bool
    rerender: bool


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
    found = _named(name)
    if isinstance(found, Unclassed):
        found = found.make(classes or tuple(datasets[DEFAULT_DATA].make().classes))
    return preflight.prepare(found, device)


def open_models(
    given: Sequence[Given], device: torch.device, data: str | Dataset, *, target: str | None, split: str | None
) -> tuple[Opened, Dataset]:
    """All models of a run by name, and their data; the models must answer the same question.

    Args:
        given: names as in `open_model`, models, networks, or functions from images to logits.
        device: for the copies that are explained.
        data: as the user wrote it, or a data set.
        target: the label; by default the one that the first model's card names.
        split: which part of the data.

    Raises:
        ModelError: other classes, another size, or one name twice.
    """
    found = [_named(one) if isinstance(one, str) else foreign.given(one, name_of(one)) for one in given]
    first = next((one for one in found if isinstance(one, Model)), None)
    if isinstance(data, str):
        size = next((one.size for one in found if one.size), None)
        data = open_data(data, target=target, split=split, model=first, size=size)
    models = [one if isinstance(one, Model) else one.make(tuple(data.classes)) for one in found]
    _same_question(models)
    side = None if all(model.size for model in models) else _side(data)
    opened = {model.name: preflight.prepare(model, device, side or preflight.SIZE) for model in models}
    return opened, data


def _named(name: str) -> Model | Unclassed:
    """What a name stands for."""
    family = foreign.family_of(name)
    if family is not None:
        found = models[family[0]].make({"spec": family[1]})
    elif name in models and "spec" in models[name].parameters():
        raise ModelError(f"'{name}' is a family of models: {models[name].traits.about}; write --model {name}:NAME.")
    elif name in models:
        found = models[name].make()
    elif "/" in name or "\\" in name or Path(name).exists():
        found = checkpoint.load(name)
    else:
        raise UnknownName("model", name, [*models.names(), "a folder written by mavis train (./FOLDER)"])
    return foreign.given(found, name)


def name_of(given: Given) -> str:
    """What a model is called: as it was named, else after its class or function."""
    if isinstance(given, str):
        return given
    return given.name if isinstance(given, Model) else str(getattr(given, "__name__", type(given).__name__))


def _same_question(models: Sequence[Model]) -> None:
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise ModelError(f"Two models are named '{name}'; rename one of the folders.")
    first, *others = models
    for other in others:
        if other.classes != first.classes or (first.size and other.size and other.size != first.size):
            raise ModelError(
                f"'{first.name}' and '{other.name}' cannot stand side by side: {_shape(first)} against {_shape(other)}."
            )


def _side(data: Dataset) -> int:
    """Of the data's images, in pixels."""
    return int(data.load([str(data.table().index[0])]).images.shape[2])


def _shape(model: Model) -> str:
    return f"{len(model.classes)} classes ({', '.join(model.classes[:3])}, …) at {model.size or 'any'} px"


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
    data: Dataset = entry.make({key: value for key, value in given.items() if key in known})
    if model is not None and tuple(model.classes) != tuple(data.classes):
        raise ModelError(
            f"'{model.name}' tells {len(model.classes)} classes apart ({', '.join(model.classes)}), but "
            f"'{data.target}' of {data.name} has {len(data.classes)} ({', '.join(data.classes)}); choose another "
            f"--target or --data."
        )
    return data


def draw_sample(data: Dataset, protocol: Protocol, limit: int | None) -> Sample:
    """The images of a run, by the protocol's rules.

    Raises:
        DataError: more images than allowed cannot be read.
    """
    table, primary = data.table(), protocol.data.groups[0]
    for attribute in protocol.data.groups:
        joined(table, attribute)
    persons = _persons(table, protocol.data.identity)
    ids = sample(table, primary, protocol.data.n_per_group.target, limit, protocol.seed)
    bad = data.unreadable(ids)
    if len(bad) > protocol.data.max_unreadable * len(ids):
        name, why = next(iter(bad.items()))
        raise DataError(
            f"{len(bad)} of {len(ids)} sampled images cannot be read, and at most {protocol.data.max_unreadable:.0%} "
            f"may be; the first is {name}: {why}"
        )
    ids = [i for i in ids if i not in bad]
    rest = [str(i) for i in table.index if i not in bad]
    groups = joined(table, primary)
    batch = data.load(ids[:1])
    return Sample(
        data=data,
        ids=tuple(ids),
        varied=frozenset(first_per_group(ids, groups, protocol.variants.per_group, protocol.seed)),
        shown=frozenset(first_per_group(ids, groups, 1, protocol.seed)),
        table=table.loc[ids, list(dict.fromkeys(["label", *attributes(protocol.data.groups), *persons]))].assign(
            weight=groups[ids].map(groups.value_counts() / groups[ids].value_counts())
        ),
        notes=(
            *getattr(data, "notes", ()),
            *(f"{name} could not be read and was left out: {why}" for name, why in bad.items()),
        ),
        revision=data.revision(ids),
        reference=_reference(data, rest, ids, joined(table, primary), protocol.seed),
        truth=batch.regions is not None,
        rerender=batch.rerender is not None and batch.parts is not None,
    )


def _persons(table: pd.DataFrame, column: str | None) -> tuple[str, ...]:
    """The column that names who is shown, if the protocol names one.

    Raises:
        UnknownName, DataError: the data have no such column, or images without a name in it.
    """
    if column is None:
        return ()
    if column not in table.columns:
        raise UnknownName("column of these data (data.identity)", column, [c for c in table.columns if c != "label"])
    missing = int(table[column].isna().sum())
    if missing:
        raise DataError(f"Every image needs a person in '{column}' (data.identity), {missing} have none; fill them in.")
    return (column,)


def _reference(
    data: Dataset, every: Sequence[str], sampled: Sequence[str], groups: pd.Series, seed: int
) -> tuple[str, ...]:
    """`REFERENCE` images or fewer, as many of each group; images that are not explained, where there are enough."""
    taken = set(sampled)
    free = [i for i in every if i not in taken]
    pool = free if len(free) >= REFERENCE else list(every)
    count = max(1, REFERENCE // groups.loc[pool].nunique())
    found = sorted(first_per_group(pool, groups, count, seed))[:REFERENCE]
    bad = data.unreadable(found)
    return tuple(i for i in found if i not in bad)


def predictions(model: Model, drawn: Sample, chunk: int) -> pd.DataFrame:
    """What a model says of every image, and what gaps between groups are held equal in: one row each.

    ``model, image, label, predicted, probability``, attributes, ``correct`` (0 or 1), ``weight`` and, of
    `mavis.appearance`, ``brightness, contrast, sharpness, imputation_contrast``. Where the data carry an injected cue,
    ``cue`` is the class that it speaks for.
    """
    said, looks = [], []
    for start in range(0, len(drawn.ids), chunk):
        batch = drawn.data.load(drawn.ids[start : start + chunk])
        looks.append(appearance(batch.images, drawn.data.mean))
        batch = batch.to(model.device)
        run = Pass(model, batch, drawn.data.mean.to(model.device), 0, chunk)
        said.append(run.predict(batch.images).softmax(1).max(1))
    table = drawn.table.rename_axis("image").reset_index()
    cues = getattr(drawn.data, "cues", None)
    predicted = torch.cat([s.indices for s in said]).cpu().numpy()
    return table.assign(
        model=model.name,
        predicted=predicted,
        probability=torch.cat([s.values for s in said]).cpu().double().numpy(),
        correct=(table["label"] == predicted).astype(int),
        **{name: torch.cat([look[name] for look in looks]).numpy() for name in looks[0]},
        cue=cues(drawn.ids) if cues and drawn.data.target == "race" else -1,
    )
