"""Which images are evaluated: a seeded draw, stratified by group and label. Pure."""

from collections.abc import Sequence

import pandas as pd

from mavis.core.errors import DataError
from mavis.core.group_attributes import group_labels
from mavis.core.seeding import derive_seed


def stratified_sample(
    table: pd.DataFrame, attribute: str, per_group: int, max_images: int | None, seed: int
) -> list[str]:
    """Ids of the images to evaluate, group by group.

    Within a group the shares of the labels are kept; which images of a stratum are taken is decided by a hash of seed
    and id, so that a larger sample contains the smaller one and the order of the table does not matter.

    Args:
        table: one row per image, index ``id``, columns ``label`` and the attributes.
        attribute: the groups that get equal numbers.
        per_group: images per group; a smaller group is taken whole.
        max_images: most images in all, shared equally between the groups; None for no limit.
        seed: the run's.

    Raises:
        DataError: the limit leaves a group without an image.
    """
    groups = group_labels(table, attribute)
    names = sorted(groups.unique())
    if max_images is not None and max_images < len(names):
        raise DataError(f"--limit {max_images} leaves groups without an image; {attribute} has {len(names)} groups.")
    taken: list[str] = []
    for place, name in enumerate(names):
        share = (
            per_group
            if max_images is None
            else min(per_group, max_images // len(names) + (place < max_images % len(names)))
        )
        taken += _sample_group(table.loc[groups == name, "label"], share, seed)
    return taken


def first_per_group(ids: Sequence[str], groups: pd.Series, n_per_group: int | None, seed: int) -> set[str]:
    """The ``n_per_group`` first images of every group in the order of their hashes; all for None."""
    ordered = _sort_by_hash(ids, seed)
    if n_per_group is None:
        return set(ordered)
    return set(pd.Series(ordered).groupby(groups.loc[ordered].to_numpy(), sort=False).head(n_per_group))


def _sample_group(labels: pd.Series, n_images: int, seed: int) -> list[str]:
    """Ids of one group: per label in proportion, and the first of any larger number of them.

    The k-th of a label's n images stands at (k − ½) / n; the lowest places are taken. That shares the images out as
    Webster's method does, which, unlike largest remainders, takes nothing from a label when there is more to share.
    """
    places = []
    for label, rows in labels.groupby(labels, sort=True):
        ids = _sort_by_hash([str(i) for i in rows.index], seed)
        places += [((k + 0.5) / len(ids), label, name) for k, name in enumerate(ids)]
    return [name for _, _, name in sorted(places)[:n_images]]


def _sort_by_hash(ids: Sequence[str], seed: int) -> list[str]:
    return sorted(ids, key=lambda i: (derive_seed(seed, i, "sample"), i))
