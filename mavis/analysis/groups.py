"""Group means of per-image scores, and macro means over groups, with bootstrap intervals. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.findings import Estimate, GroupValue
from mavis.analysis.statistics import bootstrap as stats
from mavis.analysis.statistics import dispersion
from mavis.core.errors import BadParameter
from mavis.core.group_attributes import NO_GROUP, find_column, group_labels
from mavis.protocol.schema import Protocol

MIN_STANDARD_ERROR = 1e-12
"""Smallest standard error used in partial pooling; a group whose images all score alike has 0."""


@dataclass(frozen=True)
class BootstrapSettings:
    """Settings of means and of their bootstrap intervals.

    Attributes:
        attributes: group attributes and intersections; the first one's groups have equal weight in the macro mean.
        min_report: minimum number of images of a group; smaller groups are suppressed.
        n_bootstrap: number of bootstrap draws.
        confidence: confidence level of every interval.
        seed: seed of the draws.
        identities: person shown on each image, in the order of image ids; images of one person are then drawn
            together. None draws every image by itself.
    """

    attributes: tuple[str, ...]
    min_report: int
    n_bootstrap: int
    confidence: float
    seed: int
    identities: tuple[str, ...] | None = None

    def for_images(self, mask: NDArray[np.bool_]) -> "BootstrapSettings":
        """The settings for a subset of the images: ``mask (n,)`` in the order of their ids."""
        identities = self.identities
        return (
            self
            if identities is None
            else replace(self, identities=tuple(np.asarray(identities, dtype=str)[mask].tolist()))
        )


@dataclass(frozen=True)
class ScoreSummary:
    """All means of one model's scores.

    Attributes:
        columns: (explainer, metric) of each column.
        macro: macro mean of each column.
        weighted: mean of each column with equal weight for every image of the data set: an image of a group that was
            sampled more sparsely stands for more of them.
        draws: ``(bootstrap, columns)`` bootstrap draws of the macro mean, paired between columns.
        groups: per column, every group of every attribute.
    """

    columns: tuple[tuple[str, str], ...]
    macro: tuple[Estimate, ...]
    weighted: tuple[float | None, ...]
    draws: stats.Floats
    groups: tuple[tuple[GroupValue, ...], ...]


def pivot_scores(scores: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """One model's scores as a table: a row per image, a column per (explainer, metric); NaN for a missing score."""
    table = scores.pivot_table(
        index="image", columns=["explainer", "metric"], values="value", aggfunc="first", dropna=False, observed=True
    )
    return table.reindex(images.index)


def summarise_scores(scores: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings) -> ScoreSummary:
    """Means, intervals and counts.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: index image id; the attributes as columns, and ``weight``, the number of images of the data set that
            each stands for; equal weights by default.
        settings: see `BootstrapSettings`.
    """
    images = images.sort_index()
    table = pivot_scores(scores, images)
    values = table.to_numpy(dtype=np.float64)
    columns = tuple((str(pair[0]), str(pair[1])) for pair in table.columns)
    missing_counts = _missing_counts(scores, images, settings.attributes)
    per_attribute = [
        _group_values(
            values,
            group_labels(images, attribute),
            attribute,
            columns=columns,
            missing_counts=missing_counts,
            settings=settings,
        )
        for attribute in settings.attributes
    ]
    strata = group_labels(images, settings.attributes[0]).tolist()
    draws = macro_draws(values, strata, settings)
    low, high = stats.percentile_interval(draws, settings.confidence)
    means = macro_means(values, strata)
    counts = (~np.isnan(values)).sum(axis=0)
    weights = images["weight"].to_numpy(dtype=np.float64) if "weight" in images else np.ones(len(images))
    return ScoreSummary(
        columns=columns,
        macro=tuple(to_estimate(m, lo, hi, n) for m, lo, hi, n in zip(means, low, high, counts, strict=True)),
        weighted=tuple(_none_if_nan(value) for value in _column_means(values, weights)),
        draws=draws,
        groups=tuple(
            tuple(value for by_column in per_attribute for value in by_column[column]) for column in range(len(columns))
        ),
    )


def macro_means(values: stats.Floats, strata: Sequence[str]) -> stats.Floats:
    """Mean of the strata's means, ``(n,c)`` -> ``(c,)``; strata without a value are left out."""
    names = np.asarray(strata, dtype=str)
    return _column_means(np.stack([_column_means(values[names == name]) for name in sorted(set(strata))]))


def macro_draws(values: stats.Floats, strata: Sequence[str], settings: BootstrapSettings) -> stats.Floats:
    """Bootstrap draws of `macro_means`, ``(bootstrap,c)``."""
    stratum_means = bootstrap_stratum_means(values, strata, settings)
    stacked = np.stack(list(stratum_means.values()))
    n_strata = (~np.isnan(stacked)).sum(axis=0)
    return np.where(n_strata > 0, np.nansum(stacked, axis=0) / np.maximum(n_strata, 1), np.nan)


def bootstrap_stratum_means(
    values: stats.Floats, strata: Sequence[str], settings: BootstrapSettings
) -> dict[str, stats.Floats]:
    """Bootstrap draws of means per stratum: images are resampled within strata, or people if identities are known.

    Args:
        values: ``(n,c)``, NaN for a missing value; rows in the order of image ids.
        strata: n names.
        settings: draws, seed and identities.

    Returns:
        Per stratum, in the order of names, ``(bootstrap,c)``; NaN if a column, or a draw of it, has no value there.

    Raises:
        BadParameter: the settings hold identities of another number of images.
    """
    if settings.identities is None:
        return stats.bootstrap_means(values, strata, settings.n_bootstrap, settings.seed)
    if len(settings.identities) != len(values):
        raise BadParameter(
            f"The settings name people on {len(settings.identities)} images, got {len(values)}; use "
            "BootstrapSettings.for_images."
        )
    weights = stats.bootstrap_weights(strata, settings.identities, settings.n_bootstrap, settings.seed)
    names, is_present = np.asarray(strata, dtype=str), ~np.isnan(values)
    means = {}
    for name in sorted(set(names.tolist())):
        in_stratum = names == name
        count = weights[:, in_stratum] @ is_present[in_stratum].astype(np.float64)
        total = weights[:, in_stratum] @ np.where(is_present[in_stratum], values[in_stratum], 0.0)
        means[name] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return means


def to_estimate(mean: float, low: float, high: float, n: int) -> Estimate:
    """An estimate; NaN becomes None."""
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
    """Values of every group of one attribute, per column; images without a group are in none."""
    has_group = (groups != NO_GROUP).to_numpy()
    values, groups, settings = values[has_group], groups[has_group], settings.for_images(has_group)
    draws = bootstrap_stratum_means(values, groups.tolist(), settings)
    by_column: list[list[GroupValue]] = [[] for _ in columns]
    pooled = _partial_pooled_means(values, groups, draws, settings) if "*" in attribute else {}
    for name in draws:
        rows = values[(groups == name).to_numpy()]
        means, count = _column_means(rows), (~np.isnan(rows)).sum(axis=0)
        low, high = stats.percentile_interval(draws[name], settings.confidence)
        for c, (explainer, metric) in enumerate(columns):
            is_shown = bool(count[c] >= settings.min_report)
            mean, lower, upper = (means[c], low[c], high[c]) if is_shown else (np.nan, np.nan, np.nan)
            by_column[c].append(
                GroupValue(
                    attribute=attribute,
                    group=name,
                    estimate=to_estimate(mean, lower, upper, count[c]),
                    undefined=missing_counts.get((explainer, metric, attribute, name, "undefined"), 0),
                    failed=missing_counts.get((explainer, metric, attribute, name, "error"), 0),
                    suppressed=not is_shown,
                    partial_pooled_mean=pooled.get((name, c)),
                )
            )
    return by_column


def _partial_pooled_means(
    values: stats.Floats, groups: pd.Series, draws: Mapping[str, stats.Floats], settings: BootstrapSettings
) -> dict[tuple[str, int], float]:
    """Partially pooled mean per (group, column) of groups that are large enough; empty with fewer than two of them."""
    rows = [values[(groups == name).to_numpy()] for name in draws]
    means = np.stack([_column_means(group_rows) for group_rows in rows])
    counts = np.stack([(~np.isnan(group_rows)).sum(axis=0) for group_rows in rows])
    errors = np.stack([stats.bootstrap_standard_error(draw) for draw in draws.values()])
    pooled = {}
    for c in range(values.shape[1]):
        is_large = counts[:, c] >= settings.min_report
        if is_large.sum() > 1:
            pooled_means = dispersion.partial_pooled_means(
                means[is_large, c], np.maximum(errors[is_large, c], MIN_STANDARD_ERROR)
            )
            pooled.update(
                {
                    (name, c): float(value)
                    for name, value in zip(np.array(list(draws))[is_large], pooled_means, strict=True)
                }
            )
    return pooled


def _missing_counts(
    scores: pd.DataFrame, images: pd.DataFrame, attributes: Sequence[str]
) -> dict[tuple[str, str, str, str, str], int]:
    """Number of images without a value per (explainer, metric, attribute, group, status)."""
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
    """Column means without NaN; rows weighted by ``weights``, equally by default."""
    is_present = ~np.isnan(values)
    row_weights = is_present if weights is None else is_present * weights[:, None]
    count = row_weights.sum(axis=0)
    total = (np.where(is_present, values, 0.0) * row_weights).sum(axis=0)
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _none_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def bootstrap_settings(protocol: Protocol, images: pd.DataFrame | None = None) -> BootstrapSettings:
    """Bootstrap settings of a protocol.

    Args:
        protocol: the protocol.
        images: index image id, the images of the means; without them, or without the protocol's identity column,
            every image is drawn by itself.
    """
    person, identities = protocol.data.identity, None
    column = None if images is None or person is None else find_column(images, person)
    if images is not None and column is not None:
        identities = tuple(images.sort_index()[column].astype(str))
    return BootstrapSettings(
        attributes=protocol.data.groups,
        min_report=protocol.data.n_per_group.min_report,
        n_bootstrap=protocol.aggregate.bootstrap,
        confidence=protocol.aggregate.confidence,
        seed=protocol.seed,
        identities=identities,
    )
