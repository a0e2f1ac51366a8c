"""The sample of a run: which images, their predictions, and the images that stand for the data set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from mavis.core.errors import DataError, UnknownName
from mavis.core.group_attributes import (
    NO_GROUP,
    base_attributes,
    check_group_names,
    data_column,
    group_labels,
    with_data_columns,
    with_plain_columns,
)
from mavis.core.model_pass import Pass
from mavis.core.types import Dataset, Model, ReferenceImages
from mavis.datasets.loading.image_inspection import equal_image_notes, inspect_images, unreadable_notes
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
        table: index id; ``label``; of the data set's columns (`data_column`) the group attributes and the one that
            names persons, if there is one; and ``weight``: for how many images of the data set, of the same group of
            the first attribute, each stands.
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
    table, persons, primary = _data_table(data), protocol.data.identity, protocol.data.groups[0]
    for attribute in protocol.data.groups:
        check_group_names(table, attribute)
    _check_persons(table, persons)
    groups = group_labels(table, primary)
    has_group = groups != NO_GROUP
    table, groups = table[has_group], groups[has_group]
    drawn = stratified_sample(table, primary, protocol.data.n_per_group.target, limit, protocol.seed)
    look = inspect_images(data, drawn)
    _check_unreadable(look.unreadable, len(drawn), protocol.data.max_unreadable)
    ids = [i for i in drawn if i not in look.unreadable]
    readable = [str(i) for i in table.index if i not in look.unreadable]
    batch = data.load(ids[:1])
    return Sample(
        data=data,
        ids=tuple(ids),
        variant_ids=frozenset(first_per_group(ids, groups, protocol.variants.per_group, protocol.seed)),
        gallery_ids=frozenset(first_per_group(ids, groups, 1, protocol.seed)),
        table=_sample_table(table.loc[ids], protocol).assign(
            weight=groups[ids].map(groups.value_counts() / groups[ids].value_counts())
        ),
        notes=(
            *data.notes,
            *unreadable_notes(look.unreadable),
            *equal_image_notes({i: look.hashes[i] for i in ids}, table["label"], data.classes),
            *_group_notes(has_group, table.loc[ids], protocol.data.groups),
        ),
        revision=data.revision(ids),
        reference_ids=_draw_reference(data, readable, ids, groups, protocol.seed),
        has_truth=batch.regions is not None,
        can_rerender=batch.rerender is not None and batch.parts is not None,
        image_size=batch.images.shape[2],
    )


def _data_table(data: Dataset) -> pd.DataFrame:
    """The data set's table with its columns apart from MAVIS's own; an attribute ``label`` has the classes' names.

    Raises:
        DataError: an attribute is called ``label`` and is not the label.
    """
    table = with_data_columns(data.table(), ("label",))
    if "label" not in data.attributes:
        return table
    if set(data.attributes["label"]) != set(data.classes):
        raise DataError(
            f"'{data.name}': the column 'label' holds the positions of the classes, so an attribute 'label' can only "
            "have the classes as its groups; rename the attribute."
        )
    return table.assign(**{data_column("label"): [data.classes[code] for code in table["label"]]})


def _sample_table(table: pd.DataFrame, protocol: Protocol) -> pd.DataFrame:
    """Of the sampled images the label, the groups of the protocol's attributes and the persons, as texts."""
    names = base_attributes(protocol.data.groups)
    columns = {data_column(name): group_labels(table, name) for name in names}
    if protocol.data.identity is not None:
        person = data_column(protocol.data.identity)
        columns[person] = table[person].astype(str)
    return pd.DataFrame({"label": table["label"], **columns})


def _check_unreadable(unreadable: Mapping[str, str], n_images: int, max_share: float) -> None:
    """Raises DataError where more images than allowed cannot be read."""
    if unreadable and len(unreadable) > max_share * n_images:
        name, reason = next(iter(unreadable.items()))
        raise DataError(
            f"{len(unreadable)} of {n_images} sampled images cannot be read, and at most {max_share:.0%} "
            f"may be; the first is {name}: {reason}"
        )


def _group_notes(has_group: pd.Series, sampled: pd.DataFrame, attributes: Sequence[str]) -> Iterator[str]:
    """A sentence per attribute on images without a group.

    Raises:
        DataError: no sampled image has a group of an attribute.
    """
    n_left_out = int((~has_group).sum())
    if n_left_out:
        yield f"{n_left_out} of {len(has_group)} images have no value in '{attributes[0]}' and were left out."
    for attribute in attributes[1:]:
        check_group_names(sampled, attribute)
        n_without = int((group_labels(sampled, attribute) == NO_GROUP).sum())
        if n_without and "*" not in attribute:
            yield f"{n_without} of {len(sampled)} sampled images have no value in '{attribute}', so no group of it."


def _check_persons(table: pd.DataFrame, name: str | None) -> None:
    """Looks at the column that names who is shown, if the protocol names one.

    Raises:
        UnknownName, DataError: the data have no such column, or images without a name in it.
    """
    if name is None:
        return
    if data_column(name) not in table.columns:
        choices = with_plain_columns(table.drop(columns="label")).columns
        raise UnknownName("column of these data (data.identity)", name, choices)
    missing = int((group_labels(table, name) == NO_GROUP).sum())
    if missing:
        raise DataError(f"Every image needs a person in '{name}' (data.identity), {missing} have none; fill them in.")


def _draw_reference(
    data: Dataset, ids: Sequence[str], sampled_ids: Sequence[str], groups: pd.Series, seed: int
) -> tuple[str, ...]:
    """At most `REFERENCE_SIZE` images, balanced over the groups; images that are not explained if there are enough."""
    sampled = set(sampled_ids)
    free = [i for i in ids if i not in sampled]
    pool = free if len(free) >= REFERENCE_SIZE else list(ids)
    count = max(1, REFERENCE_SIZE // groups.loc[pool].nunique())
    drawn = sorted(first_per_group(pool, groups, count, seed))[:REFERENCE_SIZE]
    bad = inspect_images(data, drawn).unreadable
    return tuple(i for i in drawn if i not in bad)


def prediction_table(model: Model, sample: Sample, chunk: int) -> pd.DataFrame:
    """Predictions and image statistics, one row per image; gaps between groups are adjusted for the statistics.

    ``model, image, label, predicted, probability``, the data set's columns, ``correct`` (0 or 1), ``weight`` and, of
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
