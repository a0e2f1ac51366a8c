"""From what the user named to models and data that fit together."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.group_attributes import attributes, joined
from mavis.core.model_pass import Pass
from mavis.core.types import Dataset, Model
from mavis.datasets.loading.image_statistics import appearance
from mavis.datasets.loading.sampling import first_per_group, sample
from mavis.protocol.schema import Protocol

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
    `image_statistics`, ``brightness, contrast, sharpness, imputation_contrast``. Where the data carry an injected cue,
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
