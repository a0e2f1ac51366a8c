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
from mavis.core.group_attributes import group_labels
from mavis.protocol.schema import Protocol

MIN_STANDARD_ERROR = 1e-12
"""Standard errors below this count as this, where all images of a group score alike."""


@dataclass(frozen=True)
class BootstrapSettings:
    """How means are taken.

    Attributes:
        attributes: group attributes and intersections; the first one's groups have equal weight in the macro mean.
        min_report: smaller groups are suppressed.
        n_bootstrap: draws.
        confidence: of every interval.
        seed: of the draws.
        identities: who is shown on each image, in the order of their ids; images of one person are then drawn together.
            None draws every image by itself.
    """

    attributes: tuple[str, ...]
    min_report: int
    n_bootstrap: int
    confidence: float
    seed: int
    identities: tuple[str, ...] | None = None

    def for_images(self, mask: NDArray[np.bool_]) -> "BootstrapSettings":
        """The rules for some of the images only, ``(n,)`` in the order of their ids."""
        people = self.identities
        return self if people is None else replace(self, identities=tuple(np.asarray(people, dtype=str)[mask].tolist()))


@dataclass(frozen=True)
class ScoreSummary:
    """All means of one model's scores.

    Attributes:
        columns: (explainer, metric) of each column.
        macro: per column.
        weighted: per column, every image of the data set weighing the same; images of a group that was sampled more
            sparsely stand for more of them.
        draws: ``(bootstrap, columns)`` of the macro mean, paired between columns.
        groups: per column, every group of every attribute.
    """

    columns: tuple[tuple[str, str], ...]
    macro: tuple[Estimate, ...]
    weighted: tuple[float | None, ...]
    draws: stats.Floats
    groups: tuple[tuple[GroupValue, ...], ...]


def pivot_scores(scores: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One model's values, a row per image and a column per (explainer, metric); NaN where there is none."""
    table = scores.pivot_table(
        index="image", columns=["explainer", "metric"], values="value", aggfunc="first", dropna=False, observed=True
    )
    return table.reindex(images.index)


def summarise_scores(scores: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings) -> ScoreSummary:
    """Means, intervals and counts.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: index image id; the attributes as columns, and ``weight``, for how many images of the data set each
            stands; by default for equally many.
        settings: see `BootstrapSettings`.
    """
    images = images.sort_index()
    table = pivot_scores(scores, images)
    values = table.to_numpy(dtype=np.float64)
    columns = tuple((str(pair[0]), str(pair[1])) for pair in table.columns)
    lost = _missing_counts(scores, images, settings.attributes)
    per_attribute = [
        _group_values(values, group_labels(images, a), a, columns=columns, missing_counts=lost, settings=settings)
        for a in settings.attributes
    ]
    primary = group_labels(images, settings.attributes[0]).tolist()
    draws = macro_draws(values, primary, settings)
    low, high = stats.percentile_interval(draws, settings.confidence)
    means = macro_means(values, primary)
    count = (~np.isnan(values)).sum(axis=0)
    weights = images["weight"].to_numpy(dtype=np.float64) if "weight" in images else np.ones(len(images))
    return ScoreSummary(
        columns=columns,
        macro=tuple(to_estimate(m, lo, hi, n) for m, lo, hi, n in zip(means, low, high, count, strict=True)),
        weighted=tuple(_none_if_nan(v) for v in _column_means(values, weights)),
        draws=draws,
        groups=tuple(tuple(v for part in per_attribute for v in part[c]) for c in range(len(columns))),
    )


def macro_means(values: stats.Floats, strata: Sequence[str]) -> stats.Floats:
    """Mean of the strata's means, ``(n,c)`` -> ``(c,)``; strata without a value are left out."""
    names = np.asarray(strata, dtype=str)
    return _column_means(np.stack([_column_means(values[names == name]) for name in sorted(set(strata))]))


def macro_draws(values: stats.Floats, strata: Sequence[str], settings: BootstrapSettings) -> stats.Floats:
    """Bootstrap draws of `macro_means`, ``(bootstrap,c)``."""
    parts = bootstrap_stratum_means(values, strata, settings)
    stacked = np.stack(list(parts.values()))
    there = (~np.isnan(stacked)).sum(axis=0)
    return np.where(there > 0, np.nansum(stacked, axis=0) / np.maximum(there, 1), np.nan)


def bootstrap_stratum_means(
    values: stats.Floats, strata: Sequence[str], settings: BootstrapSettings
) -> dict[str, stats.Floats]:
    """Means per stratum, in order, ``(bootstrap,c)``: images resampled within strata, or people where they are known.

    Args:
        values: ``(n,c)``, NaN where there is no value; rows in the order of image ids.
        strata: n names.
        settings: draws, seed and people.

    Returns:
        NaN in a column without any value in that stratum, or in that draw of it.

    Raises:
        BadParameter: the rules know the people of other images than these.
    """
    if settings.identities is None:
        return stats.bootstrap_means(values, strata, settings.n_bootstrap, settings.seed)
    if len(settings.identities) != len(values):
        raise BadParameter(
            f"The rules name people on {len(settings.identities)} images, got {len(values)}; use "
            "BootstrapSettings.for_images."
        )
    weights = stats.bootstrap_weights(strata, settings.identities, settings.n_bootstrap, settings.seed)
    names, there = np.asarray(strata, dtype=str), ~np.isnan(values)
    found = {}
    for name in sorted(set(names.tolist())):
        own = names == name
        count = weights[:, own] @ there[own].astype(np.float64)
        total = weights[:, own] @ np.where(there[own], values[own], 0.0)
        found[name] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return found


def to_estimate(mean: float, low: float, high: float, n: int) -> Estimate:
    """An estimate whose missing numbers are null."""
    return Estimate(mean=_none_if_nan(mean), low=_none_if_nan(low), high=_none_if_nan(high), n=int(n))


def _group_values(
    values: stats.Floats,
    groups: pd.Series,
    attribute: str,
    *,
    columns: Sequence[tuple[str, str]],
    missing_counts: Mapping[tuple[str, str, str, str, str], int],
    settings: BootstrapSettings,
) -> list[list[GroupValue]]:
    """For each column the values of every group of one attribute."""
    draws = bootstrap_stratum_means(values, groups.tolist(), settings)
    found: list[list[GroupValue]] = [[] for _ in columns]
    shrunken = _partial_pooled_means(values, groups, draws, settings) if "*" in attribute else {}
    for name in draws:
        rows = values[(groups == name).to_numpy()]
        means, count = _column_means(rows), (~np.isnan(rows)).sum(axis=0)
        low, high = stats.percentile_interval(draws[name], settings.confidence)
        for c, (explainer, metric) in enumerate(columns):
            shown = bool(count[c] >= settings.min_report)
            mean, lower, upper = (means[c], low[c], high[c]) if shown else (np.nan, np.nan, np.nan)
            found[c].append(
                GroupValue(
                    attribute=attribute,
                    group=name,
                    estimate=to_estimate(mean, lower, upper, count[c]),
                    undefined=missing_counts.get((explainer, metric, attribute, name, "undefined"), 0),
                    failed=missing_counts.get((explainer, metric, attribute, name, "error"), 0),
                    suppressed=not shown,
                    partial_pooled_mean=shrunken.get((name, c)),
                )
            )
    return found


def _partial_pooled_means(
    values: stats.Floats, groups: pd.Series, draws: Mapping[str, stats.Floats], settings: BootstrapSettings
) -> dict[tuple[str, int], float]:
    """Per group that is large enough and column the mean drawn towards the whole; none where there is one group."""
    rows = [values[(groups == name).to_numpy()] for name in draws]
    means = np.stack([_column_means(own) for own in rows])
    counts = np.stack([(~np.isnan(own)).sum(axis=0) for own in rows])
    errors = np.stack([stats.bootstrap_standard_error(draw) for draw in draws.values()])
    found = {}
    for c in range(values.shape[1]):
        large = counts[:, c] >= settings.min_report
        if large.sum() > 1:
            shrunken = dispersion.partial_pooled_means(
                means[large, c], np.maximum(errors[large, c], MIN_STANDARD_ERROR)
            )
            found.update({(name, c): float(v) for name, v in zip(np.array(list(draws))[large], shrunken, strict=True)})
    return found


def _missing_counts(
    scores: pd.DataFrame, images: pd.DataFrame, attributes: Sequence[str]
) -> dict[tuple[str, str, str, str, str], int]:
    """How many images per (explainer, metric, attribute, group, status) have no value."""
    rows = scores.loc[scores["status"].isin(["undefined", "error"]), ["image", "explainer", "metric", "status"]]
    counts: dict[tuple[str, str, str, str, str], int] = {}
    for attribute in attributes:
        groups = rows["image"].map(group_labels(images, attribute))
        keys = zip(rows["explainer"], rows["metric"], groups, rows["status"], strict=True)
        for explainer, metric, group, status in keys:
            key = (explainer, metric, attribute, group, status)
            counts[key] = counts.get(key, 0) + 1
    return counts


def _column_means(values: stats.Floats, weights: stats.Floats | None = None) -> stats.Floats:
    """Column means of what is there, rows weighing as given or equally."""
    there = ~np.isnan(values)
    share = there if weights is None else there * weights[:, None]
    count = share.sum(axis=0)
    total = (np.where(there, values, 0.0) * share).sum(axis=0)
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def bootstrap_settings(protocol: Protocol, images: pd.DataFrame | None = None) -> BootstrapSettings:
    """How means are taken under a protocol.

    Args:
        protocol: the rules.
        images: index image id, the images of the means; without them, or without the column of persons that the
            protocol names, every image is drawn by itself.
    """
    person, people = protocol.data.identity, None
    if images is not None and person is not None and person in images:
        people = tuple(images.sort_index()[person].astype(str))
    return BootstrapSettings(
        attributes=protocol.data.groups,
        min_report=protocol.data.n_per_group.min_report,
        n_bootstrap=protocol.aggregate.bootstrap,
        confidence=protocol.aggregate.confidence,
        seed=protocol.seed,
        identities=people,
    )
