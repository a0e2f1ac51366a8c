"""Per-image scores and group columns -> means with intervals, per group and macro over groups. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.findings import Estimate, GroupValue
from mavis.analysis.statistics import bootstrap as stats
from mavis.analysis.statistics import dispersion
from mavis.core.errors import BadParameter
from mavis.core.group_attributes import joined
from mavis.protocol.schema import Protocol

SMALLEST = 1e-12
"""Standard errors below this count as this, where all images of a group score alike."""


@dataclass(frozen=True)
class Rules:
    """How means are taken.

    Attributes:
        attributes: group attributes and intersections; the first one's groups have equal weight in the macro mean.
        min_report: smaller groups are suppressed.
        bootstrap: draws.
        confidence: of every interval.
        seed: of the draws.
        people: who is shown on each image, in the order of their ids; images of one person are then drawn together.
            None draws every image by itself.
    """

    attributes: tuple[str, ...]
    min_report: int
    bootstrap: int
    confidence: float
    seed: int
    people: tuple[str, ...] | None = None

    def among(self, kept: NDArray[np.bool_]) -> "Rules":
        """The rules for some of the images only, ``(n,)`` in the order of their ids."""
        people = self.people
        return self if people is None else replace(self, people=tuple(np.asarray(people, dtype=str)[kept].tolist()))


@dataclass(frozen=True)
class Summary:
    """All means of one model's scores.

    Attributes:
        columns: (explainer, metric) of each column.
        macro: per column.
        natural: per column, every image of the data set weighing the same; images of a group that was sampled more
            sparsely stand for more of them.
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
        images: index image id; the attributes as columns, and ``weight``, for how many images of the data set each
            stands; by default for equally many.
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
    weights = images["weight"].to_numpy(dtype=np.float64) if "weight" in images else np.ones(len(images))
    return Summary(
        columns=columns,
        macro=tuple(estimate(m, lo, hi, n) for m, lo, hi, n in zip(means, low, high, count, strict=True)),
        natural=tuple(_number(v) for v in _means(values, weights)),
        draws=draws,
        groups=tuple(tuple(v for part in per_attribute for v in part[c]) for c in range(len(columns))),
    )


def macro_means(values: stats.Floats, strata: Sequence[str]) -> stats.Floats:
    """Mean of the strata's means, ``(n,c)`` -> ``(c,)``; strata without a value are left out."""
    names = np.asarray(strata, dtype=str)
    return _means(np.stack([_means(values[names == name]) for name in sorted(set(strata))]))


def macro_draws(values: stats.Floats, strata: Sequence[str], rules: Rules) -> stats.Floats:
    """Bootstrap draws of `macro_means`, ``(bootstrap,c)``."""
    parts = resampled_means(values, strata, rules)
    stacked = np.stack(list(parts.values()))
    there = (~np.isnan(stacked)).sum(axis=0)
    return np.where(there > 0, np.nansum(stacked, axis=0) / np.maximum(there, 1), np.nan)


def resampled_means(values: stats.Floats, strata: Sequence[str], rules: Rules) -> dict[str, stats.Floats]:
    """Means per stratum, in order, ``(bootstrap,c)``: images resampled within strata, or people where they are known.

    Args:
        values: ``(n,c)``, NaN where there is no value; rows in the order of image ids.
        strata: n names.
        rules: draws, seed and people.

    Returns:
        NaN in a column without any value in that stratum, or in that draw of it.

    Raises:
        BadParameter: the rules know the people of other images than these.
    """
    if rules.people is None:
        return stats.bootstrap_means(values, strata, rules.bootstrap, rules.seed)
    if len(rules.people) != len(values):
        raise BadParameter(f"The rules name people on {len(rules.people)} images, got {len(values)}; use Rules.among.")
    weights = stats.bootstrap_weights(strata, rules.people, rules.bootstrap, rules.seed)
    names, there = np.asarray(strata, dtype=str), ~np.isnan(values)
    found = {}
    for name in sorted(set(names.tolist())):
        own = names == name
        count = weights[:, own] @ there[own].astype(np.float64)
        total = weights[:, own] @ np.where(there[own], values[own], 0.0)
        found[name] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return found


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
    draws = resampled_means(values, groups.tolist(), rules)
    found: list[list[GroupValue]] = [[] for _ in columns]
    shrunken = _shrunken(values, groups, draws, rules) if "*" in attribute else {}
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
                    shrunken=shrunken.get((name, c)),
                )
            )
    return found


def _shrunken(
    values: stats.Floats, groups: pd.Series, draws: Mapping[str, stats.Floats], rules: Rules
) -> dict[tuple[str, int], float]:
    """Per group that is large enough and column the mean drawn towards the whole; none where there is one group."""
    rows = [values[(groups == name).to_numpy()] for name in draws]
    means = np.stack([_means(own) for own in rows])
    counts = np.stack([(~np.isnan(own)).sum(axis=0) for own in rows])
    errors = np.stack([stats.spread(draw) for draw in draws.values()])
    found = {}
    for c in range(values.shape[1]):
        large = counts[:, c] >= rules.min_report
        if large.sum() > 1:
            shrunken = dispersion.shrunken_means(means[large, c], np.maximum(errors[large, c], SMALLEST))
            found.update({(name, c): float(v) for name, v in zip(np.array(list(draws))[large], shrunken, strict=True)})
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


def _means(values: stats.Floats, weights: stats.Floats | None = None) -> stats.Floats:
    """Column means of what is there, rows weighing as given or equally."""
    there = ~np.isnan(values)
    share = there if weights is None else there * weights[:, None]
    count = share.sum(axis=0)
    total = (np.where(there, values, 0.0) * share).sum(axis=0)
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def rules_of(protocol: Protocol, images: pd.DataFrame | None = None) -> Rules:
    """How means are taken under a protocol.

    Args:
        protocol: the rules.
        images: index image id, the images of the means; without them, or without the column of persons that the
            protocol names, every image is drawn by itself.
    """
    person, people = protocol.data.identity, None
    if images is not None and person is not None and person in images:
        people = tuple(images.sort_index()[person].astype(str))
    return Rules(
        attributes=protocol.data.groups,
        min_report=protocol.data.n_per_group.min_report,
        bootstrap=protocol.aggregate.bootstrap,
        confidence=protocol.aggregate.confidence,
        seed=protocol.seed,
        people=people,
    )
