"""Which images are evaluated: a seeded draw, stratified by group and label. Pure."""

from collections.abc import Sequence

import pandas as pd

from mavis.core.errors import DataError
from mavis.core.group_attributes import joined
from mavis.core.seeding import seed_of


def sample(table: pd.DataFrame, attribute: str, per_group: int, limit: int | None, seed: int) -> list[str]:
    """Ids of the images to evaluate, group by group.

    Within a group the shares of the labels are kept; which images of a stratum are taken is decided by a hash of seed
    and id, so that a larger sample contains the smaller one and the order of the table does not matter.

    Args:
        table: one row per image, index ``id``, columns ``label`` and the attributes.
        attribute: the groups that get equal numbers.
        per_group: images per group; a smaller group is taken whole.
        limit: most images in all, shared equally between the groups; None for no limit.
        seed: the run's.

    Raises:
        DataError: the limit leaves a group without an image.
    """
    groups = joined(table, attribute)
    names = sorted(groups.unique())
    if limit is not None and limit < len(names):
        raise DataError(f"--limit {limit} leaves groups without an image; {attribute} has {len(names)} groups.")
    taken: list[str] = []
    for place, name in enumerate(names):
        share = per_group if limit is None else min(per_group, limit // len(names) + (place < limit % len(names)))
        taken += _within(table.loc[groups == name, "label"], share, seed)
    return taken


def first_per_group(ids: Sequence[str], groups: pd.Series, count: int | None, seed: int) -> set[str]:
    """The ``count`` first images of every group in the order of their hashes; all for None."""
    ordered = _by_hash(ids, seed)
    if count is None:
        return set(ordered)
    return set(pd.Series(ordered).groupby(groups.loc[ordered].to_numpy(), sort=False).head(count))


def _within(labels: pd.Series, count: int, seed: int) -> list[str]:
    """Ids of one group: per label in proportion, and the first of any larger number of them.

    The k-th of a label's n images stands at (k − ½) / n; the lowest places are taken. That shares the images out as
    Webster's method does, which, unlike largest remainders, takes nothing from a label when there is more to share.
    """
    places = []
    for label, rows in labels.groupby(labels, sort=True):
        ids = _by_hash([str(i) for i in rows.index], seed)
        places += [((k + 0.5) / len(ids), label, name) for k, name in enumerate(ids)]
    return [name for _, _, name in sorted(places)[:count]]


def _by_hash(ids: Sequence[str], seed: int) -> list[str]:
    return sorted(ids, key=lambda i: (seed_of(seed, i, "sample"), i))
