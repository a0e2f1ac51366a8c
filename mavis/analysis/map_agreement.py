"""Agreement of two explainers' maps of one image: top cells, their ranks and signs, and all ranks.

Source: Krishna et al. 2024, section 3.2, arXiv 2202.01602.
Differs: cells in place of features; expected values over random orders of tied cells.
"""

import pandas as pd

from mavis.analysis.findings import Agreement
from mavis.analysis.groups import BootstrapSettings
from mavis.core.group_attributes import NO_GROUP, group_labels

MEASURES = ("feature", "rank", "sign", "spearman")
"""``feature``, ``rank``, ``sign``: share of the k cells with the largest absolute values that are in both maps; at the
same rank; with the same sign. ``spearman``: correlation of all signed cell values."""


def summarise_agreement(
    table: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings
) -> tuple[Agreement, ...]:
    """Mean agreement of every pair of explainers: macro over the groups of the first attribute, and per group.

    Args:
        table: one model's rows: ``image, first, second, measure, value``.
        images: one model's rows, index image id, attributes as columns.
        settings: settings of means.
    """
    if table.empty:
        return ()
    present = table.dropna(subset="value")
    groups = {attribute: group_labels(images, attribute) for attribute in settings.attributes}
    agreements = []
    for (first, second), rows in present.groupby(["first", "second"], sort=False):
        means = {attribute: _group_means(rows, names, settings.min_report) for attribute, names in groups.items()}
        group_means = _group_means(rows, groups[settings.attributes[0]], 1)
        macro = {
            measure: sum(measures[measure] for measures in group_means.values()) / len(group_means)
            for measure in MEASURES
        }
        count = int(rows["image"].nunique())
        agreements.append(Agreement(first=str(first), second=str(second), n=count, measures=macro, groups=means))
    return tuple(agreements)


def _group_means(rows: pd.DataFrame, names: pd.Series, min_count: int) -> dict[str, dict[str, float]]:
    """Mean of each measure per group with enough images."""
    group = rows["image"].map(names)
    rows, group = rows[group != NO_GROUP], group[group != NO_GROUP]
    means = rows.groupby([group, "measure"])["value"].agg(["mean", "count"])
    by_group: dict[str, dict[str, float]] = {}
    for row in means.rename_axis(["group", "measure"]).reset_index().to_dict("records"):
        if row["count"] >= min_count:
            by_group.setdefault(str(row["group"]), {})[str(row["measure"])] = float(row["mean"])
    return by_group
