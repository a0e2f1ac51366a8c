"""The sample of a run: which images, their predictions, and the images that stand for the data set."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.group_attributes import base_attributes, group_labels
from mavis.core.model_pass import Pass
from mavis.core.types import Dataset, Model, ReferenceImages
from mavis.datasets.loading.image_statistics import image_statistics
from mavis.datasets.loading.sampling import first_per_group, stratified_sample
from mavis.protocol.schema import Protocol

REFERENCE_SIZE = 20
"""Images that stand for the data set: baselines of expected gradients, and the mean map."""


@dataclass(frozen=True)
class Sample:
    """The images of a run.

    Attributes:
        data: where they come from.
        ids: in the order in which they are evaluated.
        variant_ids: those that get maps under other inputs and weights.
        gallery_ids: those whose maps are kept for the gallery, one per group.
        table: index id; ``label``, the group attributes, the column that names persons if there is one, and ``weight``:
            for how many images of the data set, of the same group of the first attribute, each stands.
        notes: what was repaired, left out or could not be read.
        revision: content hash.
        reference_ids: ids of the images that stand for the data set.
        has_truth: whether there is planted truth.
        can_rerender: whether parts can be drawn anew.
        image_size: side of the images, in pixels.
    """

    data: Dataset
    ids: tuple[str, ...]
    variant_ids: frozenset[str]
    gallery_ids: frozenset[str]
    table: pd.DataFrame
    notes: tuple[str, ...]
    revision: str
    reference_ids: tuple[str, ...]
    has_truth: bool
    can_rerender: bool
    image_size: int


def draw_sample(data: Dataset, protocol: Protocol, limit: int | None) -> Sample:
    """The images of a run, by the protocol's rules.

    Raises:
        DataError: more images than allowed cannot be read.
    """
    table, primary = data.table(), protocol.data.groups[0]
    for attribute in protocol.data.groups:
        group_labels(table, attribute)
    persons = _person_columns(table, protocol.data.identity)
    ids = stratified_sample(table, primary, protocol.data.n_per_group.target, limit, protocol.seed)
    bad = data.unreadable(ids)
    if len(bad) > protocol.data.max_unreadable * len(ids):
        name, reason = next(iter(bad.items()))
        raise DataError(
            f"{len(bad)} of {len(ids)} sampled images cannot be read, and at most {protocol.data.max_unreadable:.0%} "
            f"may be; the first is {name}: {reason}"
        )
    ids = [i for i in ids if i not in bad]
    readable = [str(i) for i in table.index if i not in bad]
    groups = group_labels(table, primary)
    batch = data.load(ids[:1])
    return Sample(
        data=data,
        ids=tuple(ids),
        variant_ids=frozenset(first_per_group(ids, groups, protocol.variants.per_group, protocol.seed)),
        gallery_ids=frozenset(first_per_group(ids, groups, 1, protocol.seed)),
        table=table.loc[ids, list(dict.fromkeys(["label", *base_attributes(protocol.data.groups), *persons]))].assign(
            weight=groups[ids].map(groups.value_counts() / groups[ids].value_counts())
        ),
        notes=(
            *data.notes,
            *(f"{name} could not be read and was left out: {reason}" for name, reason in bad.items()),
        ),
        revision=data.revision(ids),
        reference_ids=_draw_reference(data, readable, ids, group_labels(table, primary), protocol.seed),
        has_truth=batch.regions is not None,
        can_rerender=batch.rerender is not None and batch.parts is not None,
        image_size=batch.images.shape[2],
    )


def _person_columns(table: pd.DataFrame, column: str | None) -> tuple[str, ...]:
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


def _draw_reference(
    data: Dataset, ids: Sequence[str], sampled_ids: Sequence[str], groups: pd.Series, seed: int
) -> tuple[str, ...]:
    """At most `REFERENCE_SIZE` images, balanced over the groups; images that are not explained if there are enough."""
    sampled = set(sampled_ids)
    free = [i for i in ids if i not in sampled]
    pool = free if len(free) >= REFERENCE_SIZE else list(ids)
    count = max(1, REFERENCE_SIZE // groups.loc[pool].nunique())
    drawn = sorted(first_per_group(pool, groups, count, seed))[:REFERENCE_SIZE]
    bad = data.unreadable(drawn)
    return tuple(i for i in drawn if i not in bad)


def prediction_table(model: Model, sample: Sample, chunk: int) -> pd.DataFrame:
    """Predictions and image statistics, one row per image; gaps between groups are adjusted for the statistics.

    ``model, image, label, predicted, probability``, attributes, ``correct`` (0 or 1), ``weight`` and, of
    `image_statistics`, ``brightness, contrast, sharpness, imputation_contrast``. Where the data carry an injected cue,
    ``cue`` is the class that it speaks for.
    """
    top_classes, statistics = [], []
    for start in range(0, len(sample.ids), chunk):
        batch = sample.data.load(sample.ids[start : start + chunk])
        statistics.append(image_statistics(batch.images, sample.data.mean))
        batch = batch.to(model.device)
        model_pass = Pass(model, batch, sample.data.mean.to(model.device), 0, chunk)
        top_classes.append(model_pass.predict(batch.images).softmax(1).max(1))
    table = sample.table.rename_axis("image").reset_index()
    cues = sample.data.cues(sample.ids)
    predicted = torch.cat([s.indices for s in top_classes]).cpu().numpy()
    return table.assign(
        model=model.name,
        predicted=predicted,
        probability=torch.cat([s.values for s in top_classes]).cpu().double().numpy(),
        correct=(table["label"] == predicted).astype(int),
        **{name: torch.cat([look[name] for look in statistics]).numpy() for name in statistics[0]},
        cue=-1 if cues is None else cues,
    )


def load_reference(data: Dataset, ids: tuple[str, ...], device: torch.device) -> ReferenceImages:
    """The images that stand for the data set, on a device."""
    return ReferenceImages(data.load(ids).images.to(device), ids)
