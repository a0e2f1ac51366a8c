"""Sampling of the images to evaluate: a seeded draw, stratified by group and label. Pure functions."""

from collections.abc import Sequence

import pandas as pd

from mavis.core.errors import DataError
from mavis.core.group_attributes import group_labels
from mavis.core.seeding import derive_seed


def stratified_sample(
    table: pd.DataFrame, attribute: str, per_group: int, max_images: int | None, seed: int
) -> list[str]:
    """Ids of the images to evaluate, group by group.

    Within a group the shares of the labels are kept; the images of a stratum are the first ones by a hash of seed and
    id, so that a larger sample contains the smaller one and the order of the table does not matter.

    Args:
        table: one row per image, index ``id``, columns ``label`` and the attributes.
        attribute: the groups that get equal numbers.
        per_group: images per group; a smaller group is taken whole.
        max_images: maximum number of images in all, shared equally between the groups; None for no limit.
        seed: the run's.

    Raises:
        DataError: the limit leaves a group without an image.
    """
    groups = group_labels(table, attribute)
    names = sorted(groups.unique())
    if max_images is not None and max_images < len(names):
        raise DataError(f"--limit {max_images} leaves groups without an image; {attribute} has {len(names)} groups.")
    ids: list[str] = []
    for number, name in enumerate(names):
        n_images = per_group
        if max_images is not None:
            # The first groups get one image more where the limit is no multiple of the number of groups.
            n_images = min(per_group, max_images // len(names) + (number < max_images % len(names)))
        ids += _sample_group(table.loc[groups == name, "label"], n_images, seed)
    return ids


def first_per_group(ids: Sequence[str], groups: pd.Series, n_per_group: int | None, seed: int) -> set[str]:
    """The first ``n_per_group`` images of every group in the order of their hashes; all images for None."""
    ordered = _sort_by_hash(ids, seed)
    if n_per_group is None:
        return set(ordered)
    return set(pd.Series(ordered).groupby(groups.loc[ordered].to_numpy(), sort=False).head(n_per_group))


def _sample_group(labels: pd.Series, n_images: int, seed: int) -> list[str]:
    """Ids of one group, labels in proportion; a larger sample contains the smaller ones.

    The k-th of a label's n images stands at the quantile (k − ½) / n; the lowest quantiles are taken. That is
    Webster's method of apportionment, which, unlike largest remainders, never takes a seat from a label when there are
    more seats to share.
    """
    quantiles = []
    for label, rows in labels.groupby(labels, sort=True):
        ids = _sort_by_hash([str(i) for i in rows.index], seed)
        quantiles += [((k + 0.5) / len(ids), label, name) for k, name in enumerate(ids)]
    return [name for _, _, name in sorted(quantiles)[:n_images]]


def _sort_by_hash(ids: Sequence[str], seed: int) -> list[str]:
    return sorted(ids, key=lambda i: (derive_seed(seed, i, "sample"), i))
