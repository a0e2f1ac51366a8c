"""How far the groups lie apart, and how far they would if the labels meant nothing. Pure."""

import numpy as np
import pandas as pd

from mavis import stats
from mavis.findings import Gap, GroupValue
from mavis.groups import Rules, estimate
from mavis.sampling import joined


def gap(
    values: stats.Floats,
    images: pd.DataFrame,
    attribute: str,
    groups: tuple[GroupValue, ...],
    *,
    rules: Rules,
    min_claim: int,
    permutations: int,
) -> Gap | None:
    """Highest minus lowest group mean of one column, with its null.

    The range of several means is above zero even where no group differs, so it stands beside what shuffled labels
    give. Which group is worst depends on the metric's direction and is named for higher-is-better; callers flip.

    Args:
        values: ``(n,)``, NaN where there is no value, in the order of `images`.
        images: index image id; the attributes as columns.
        attribute: whose groups are compared.
        groups: that attribute's values, as `groups.summarise` made them.
        rules: how means are taken.
        min_claim: n that every compared group needs for a claim.
        permutations: draws of the null.

    Returns:
        None where fewer than two groups are large enough to report.
    """
    shown = [g for g in groups if not g.suppressed]
    if len(shown) < 2:
        return None
    labels = joined(images, attribute).to_numpy(dtype=str)
    kept = ~np.isnan(values) & np.isin(labels, [g.group for g in shown])
    numbers, names = values[kept], labels[kept].tolist()
    null = stats.permuted_ranges(numbers, names, permutations, rules.seed)
    observed = stats.range_of_means(numbers, names)
    draws = np.stack(list(stats.bootstrap_means(numbers[:, None], names, rules.bootstrap, rules.seed).values()))[..., 0]
    low, high = stats.percentiles(draws.max(axis=0) - draws.min(axis=0), rules.confidence)
    by_mean = sorted(shown, key=lambda g: g.estimate.mean or 0.0)
    return Gap(
        attribute=attribute,
        range=estimate(observed, float(low), float(high), len(numbers)),
        null_mean=float(null.mean()),
        p=stats.p_value(observed, null),
        best_group=by_mean[-1].group,
        worst_group=by_mean[0].group,
        worst=by_mean[0].estimate,
        claimable=all(g.estimate.n >= min_claim for g in shown),
    )


def flipped(found: Gap, groups: tuple[GroupValue, ...]) -> Gap:
    """The same gap for a metric whose lower values are better: best and worst change places."""
    worst = next(g.estimate for g in groups if g.group == found.best_group)
    return found.model_copy(update={"best_group": found.worst_group, "worst_group": found.best_group, "worst": worst})
