"""How far two explainers' maps of one image agree: by their top cells, these cells' ranks and signs, and all ranks.

Source: Krishna et al. 2024, section 3.2, arXiv 2202.01602.
Differs: cells in place of features; equal values are ordered at random and the expectation is taken.
"""

import pandas as pd

from mavis.analysis.findings import Agreement
from mavis.analysis.groups import BootstrapSettings
from mavis.core.group_attributes import group_labels

MEASURES = ("feature", "rank", "sign", "spearman")
"""Shares of the k cells with the largest absolute values: in both maps; at the same rank; with the same sign. And the
Spearman correlation of all signed cell values."""


def summarise_agreement(
    table: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings
) -> tuple[Agreement, ...]:
    """Means of every pair: macro over the groups of the first attribute, and per group of every attribute.

    Args:
        table: one model's rows: ``image, first, second, measure, value``.
        images: one model's rows, index image id, attributes as columns.
        settings: how means are taken.
    """
    if table.empty:
        return ()
    there = table.dropna(subset="value")
    groups = {a: group_labels(images, a) for a in settings.attributes}
    found = []
    for (first, second), rows in there.groupby(["first", "second"], sort=False):
        means = {attribute: _group_means(rows, names, settings.min_report) for attribute, names in groups.items()}
        every = _group_means(rows, groups[settings.attributes[0]], 1)
        macro = {m: sum(one[m] for one in every.values()) / len(every) for m in MEASURES}
        count = int(rows["image"].nunique())
        found.append(Agreement(first=str(first), second=str(second), n=count, measures=macro, groups=means))
    return tuple(found)


def _group_means(rows: pd.DataFrame, names: pd.Series, min_count: int) -> dict[str, dict[str, float]]:
    """Per group with enough images the mean of each measure."""
    group = rows["image"].map(names)
    means = rows.groupby([group, "measure"])["value"].agg(["mean", "count"])
    found: dict[str, dict[str, float]] = {}
    for row in means.rename_axis(["group", "measure"]).reset_index().to_dict("records"):
        if row["count"] >= min_count:
            found.setdefault(str(row["group"]), {})[str(row["measure"])] = float(row["mean"])
    return found
