"""Per-image scores and group columns -> means with intervals, per group and macro over groups. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mavis import stats
from mavis.findings import Estimate, GroupValue
from mavis.sampling import joined


@dataclass(frozen=True)
class Rules:
    """How means are taken.

    Attributes:
        attributes: group attributes and intersections; the first one's groups have equal weight in the macro mean.
        min_report: smaller groups are suppressed.
        bootstrap: draws.
        confidence: of every interval.
        seed: of the draws.
    """

    attributes: tuple[str, ...]
    min_report: int
    bootstrap: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Summary:
    """All means of one model's scores.

    Attributes:
        columns: (explainer, metric) of each column.
        macro: per column.
        natural: per column, every image weighing the same.
        draws: ``(bootstrap, columns)`` of the macro mean, paired between columns.
        groups: per column, every group of every attribute.
    """

    columns: tuple[tuple[str, str], ...]
    macro: tuple[Estimate, ...]
    natural: tuple[float | None, ...]
    draws: stats.Floats
    groups: tuple[tuple[GroupValue, ...], ...]


def wide(scores: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One model's values, a row per image and a column per (explainer, metric); NaN where there is none."""
    table = scores.pivot_table(
        index="image", columns=["explainer", "metric"], values="value", aggfunc="first", dropna=False, observed=True
    )
    return table.reindex(images.index)


def summarise(scores: pd.DataFrame, images: pd.DataFrame, rules: Rules) -> Summary:
    """Means, intervals and counts.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: index image id; the attributes as columns.
        rules: see `Rules`.
    """
    images = images.sort_index()
    table = wide(scores, images)
    values = table.to_numpy(dtype=np.float64)
    columns = tuple((str(pair[0]), str(pair[1])) for pair in table.columns)
    lost = _lost(scores, images, rules.attributes)
    per_attribute = [
        _per_group(values, joined(images, a), a, columns=columns, lost=lost, rules=rules) for a in rules.attributes
    ]
    primary = joined(images, rules.attributes[0]).tolist()
    draws = macro_draws(values, primary, rules)
    low, high = stats.percentiles(draws, rules.confidence)
    means = macro_means(values, primary)
    count = (~np.isnan(values)).sum(axis=0)
    return Summary(
        columns=columns,
        macro=tuple(estimate(m, lo, hi, n) for m, lo, hi, n in zip(means, low, high, count, strict=True)),
        natural=tuple(_number(v) for v in _means(values)),
        draws=draws,
        groups=tuple(tuple(v for part in per_attribute for v in part[c]) for c in range(len(columns))),
    )


def macro_means(values: stats.Floats, strata: Sequence[str]) -> stats.Floats:
    """Mean of the strata's means, ``(n,c)`` -> ``(c,)``; strata without a value are left out."""
    names = np.asarray(strata, dtype=str)
    return _means(np.stack([_means(values[names == name]) for name in sorted(set(strata))]))


def macro_draws(values: stats.Floats, strata: Sequence[str], rules: Rules) -> stats.Floats:
    """Bootstrap draws of `macro_means`, ``(bootstrap,c)``."""
    parts = stats.bootstrap_means(values, strata, rules.bootstrap, rules.seed)
    stacked = np.stack(list(parts.values()))
    there = (~np.isnan(stacked)).sum(axis=0)
    return np.where(there > 0, np.nansum(stacked, axis=0) / np.maximum(there, 1), np.nan)


def estimate(mean: float, low: float, high: float, n: int) -> Estimate:
    """An estimate whose missing numbers are null."""
    return Estimate(mean=_number(mean), low=_number(low), high=_number(high), n=int(n))


def _per_group(
    values: stats.Floats,
    groups: pd.Series,
    attribute: str,
    *,
    columns: Sequence[tuple[str, str]],
    lost: Mapping[tuple[str, str, str, str, str], int],
    rules: Rules,
) -> list[list[GroupValue]]:
    """For each column the values of every group of one attribute."""
    draws = stats.bootstrap_means(values, groups.tolist(), rules.bootstrap, rules.seed)
    found: list[list[GroupValue]] = [[] for _ in columns]
    for name in draws:
        rows = values[(groups == name).to_numpy()]
        means, count = _means(rows), (~np.isnan(rows)).sum(axis=0)
        low, high = stats.percentiles(draws[name], rules.confidence)
        for c, (explainer, metric) in enumerate(columns):
            shown = bool(count[c] >= rules.min_report)
            mean, lower, upper = (means[c], low[c], high[c]) if shown else (np.nan, np.nan, np.nan)
            found[c].append(
                GroupValue(
                    attribute=attribute,
                    group=name,
                    estimate=estimate(mean, lower, upper, count[c]),
                    undefined=lost.get((explainer, metric, attribute, name, "undefined"), 0),
                    failed=lost.get((explainer, metric, attribute, name, "error"), 0),
                    suppressed=not shown,
                )
            )
    return found


def _lost(
    scores: pd.DataFrame, images: pd.DataFrame, attributes: Sequence[str]
) -> dict[tuple[str, str, str, str, str], int]:
    """How many images per (explainer, metric, attribute, group, status) have no value."""
    rows = scores.loc[scores["status"].isin(["undefined", "error"]), ["image", "explainer", "metric", "status"]]
    counts: dict[tuple[str, str, str, str, str], int] = {}
    for attribute in attributes:
        groups = rows["image"].map(joined(images, attribute))
        keys = zip(rows["explainer"], rows["metric"], groups, rows["status"], strict=True)
        for explainer, metric, group, status in keys:
            key = (explainer, metric, attribute, group, status)
            counts[key] = counts.get(key, 0) + 1
    return counts


def _means(values: stats.Floats) -> stats.Floats:
    there = ~np.isnan(values)
    count = there.sum(axis=0)
    total = np.where(there, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
