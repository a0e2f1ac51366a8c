"""Scores -> skills: one scale for all metrics, on which a control is 0 and a fixed reference 1. Pure.

No candidate moves another's skill: each is measured on the images that it, the zero and the reference have a value
for, and every image is drawn as often for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.findings import Estimate
from mavis.analysis.groups import pivot_scores
from mavis.analysis.statistics import bootstrap
from mavis.core.group_attributes import group_labels
from mavis.core.traits import MetricTraits
from mavis.protocol.schema import Protocol, ReferenceRules

MIN_SPAN = 1e-9
"""The reference must be better than the zero by this, or there is no scale."""


@dataclass(frozen=True)
class SkillScale:
    """Which explainers mark the scale.

    Attributes:
        floor: has skill 0.
        ceiling: has skill 1, on metrics without a perfect value.
    """

    floor: str
    ceiling: str


@dataclass(frozen=True)
class ImageResamples:
    """How often each image counts.

    Attributes:
        weights: ``(1+draws, n)``: once in the first row, as often as it was drawn in the others.
        group_codes: ``(n,)``, the place of the image's group.
        group_names: of the groups.
    """

    weights: bootstrap.Floats
    group_codes: NDArray[np.intp]
    group_names: tuple[str, ...]

    def means(self, values: bootstrap.Floats, is_present: NDArray[np.bool_]) -> bootstrap.Floats:
        """``(n,c)`` -> ``(1+draws, groups, c)`` means over what is there; NaN where nothing is."""
        found = np.full((len(self.weights), len(self.group_names), values.shape[1]), np.nan)
        filled, present = np.where(is_present, values, 0.0), is_present.astype(np.float64)
        for place in range(len(self.group_names)):
            rows = np.flatnonzero((self.group_codes == place) & is_present.any(axis=1))
            weights = self.weights[:, rows]
            count = weights @ present[rows]
            np.divide(weights @ filled[rows], count, out=found[:, place], where=count > 0)
        return found

    def counts(self, is_present: NDArray[np.bool_]) -> NDArray[np.int64]:
        """``(n,c)`` -> ``(groups, c)``: images that are there."""
        return np.stack([is_present[self.group_codes == place].sum(axis=0) for place in range(len(self.group_names))])


@dataclass(frozen=True)
class Skills:
    """Skills of all explainers of one model.

    Attributes:
        scale: what is 0 and what is 1.
        metrics: that have a unit: the reference is better than the zero in every draw.
        explainers: who was measured, the zero among them.
        groups: of the first attribute.
        macro: ``(1+draws, metrics, explainers)``, the groups weighing the same; the first row is the skill itself, the
            others are bootstrap draws; NaN where there is none.
        by_group: ``(1+draws, metrics, groups, explainers)``; NaN where the group is too small, or has no unit.
        n_images: ``(metrics, explainers)``, images.
        unscaled_reasons: why a metric has no unit.
        flat_metrics: those of them on which the reference was measured and is not better than the zero.
    """

    scale: SkillScale
    metrics: tuple[str, ...]
    explainers: tuple[str, ...]
    groups: tuple[str, ...]
    macro: bootstrap.Floats
    by_group: bootstrap.Floats
    n_images: NDArray[np.int64]
    unscaled_reasons: Mapping[str, str]
    flat_metrics: frozenset[str]


@dataclass(frozen=True)
class _MetricSkills:
    """One metric's skills; shapes as in `Skills`, without the metrics."""

    macro: bootstrap.Floats
    by_group: bootstrap.Floats
    n_images: NDArray[np.int64]


def choose_scale(scores: pd.DataFrame, reference: ReferenceRules) -> SkillScale:
    """The protocol's reference: what knows the planted truth where that was run, the other one elsewhere."""
    there = set(scores.loc[scores["value"].notna(), "explainer"])
    return SkillScale(reference.zero, reference.truth if reference.truth in there else reference.otherwise)


def skill_unit(
    means: Mapping[tuple[str, str], Estimate], metric: str, traits: MetricTraits, scale: SkillScale
) -> tuple[float, float] | None:
    """(zero, span) of a metric's skill from macro means; None where one is missing or the upper one is not the better.

    Args:
        means: macro mean per (explainer, metric).
        metric: its label.
        traits: of the metric.
        scale: what is 0 and what is 1.
    """
    zero, one = (means[name, metric].mean if (name, metric) in means else None for name in (scale.floor, scale.ceiling))
    one = one if traits.perfect is None else traits.perfect
    sign = -1.0 if traits.higher_is_better is False else 1.0
    if zero is None or one is None or (one - zero) * sign < MIN_SPAN:
        return None
    return zero, one - zero


def measure_skills(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    metrics: Mapping[str, MetricTraits],
    scale: SkillScale,
    protocol: Protocol,
) -> Skills:
    """Skills on some metrics.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: index image id; attributes as columns.
        metrics: by label, with their directions.
        scale: what is 0 and what is 1.
        protocol: groups, smallest group, draws and seed.

    Source: protocol S9 and S11.
    """
    images = images.sort_index()
    asked = scores[scores["metric"].isin(list(metrics))]
    table, drawn = pivot_scores(asked, images), resample_images(asked, images, scale, protocol)
    names = tuple(sorted({str(name) for name in asked["explainer"]} | {scale.floor}))
    found: dict[str, _MetricSkills] = {}
    absent: dict[str, str] = {}
    flat: set[str] = set()
    for metric, traits in metrics.items():
        values = _explainer_columns(table, metric, names)
        zero = values[:, names.index(scale.floor)]
        one = _ceiling_scores(table, metric, traits, scale)
        sign = -1.0 if traits.higher_is_better is False else 1.0
        top = "a perfect map" if traits.perfect is not None else scale.ceiling
        span = _macro_mean(_group_spans(zero * sign, one * sign, drawn))
        if np.isnan(span[0]):
            absent[metric] = f"no image has {metric} of {' and '.join(dict.fromkeys((scale.floor, scale.ceiling)))}"
        elif not (span > 0).all():
            flat.add(metric)
            absent[metric] = f"{top} is not shown to be better than {scale.floor} on {metric} (by {span[0]:+.3f})"
        else:
            found[metric] = _metric_skills(
                values * sign, zero * sign, one * sign, drawn, protocol.data.n_per_group.min_report
            )
    shape = (len(drawn.weights), len(found))
    return Skills(
        scale=scale,
        metrics=tuple(found),
        explainers=names,
        groups=drawn.group_names,
        macro=_stack_columns([c.macro for c in found.values()], (*shape, len(names))),
        by_group=_stack_columns([c.by_group for c in found.values()], (*shape, len(drawn.group_names), len(names))),
        n_images=np.array([c.n_images for c in found.values()], dtype=np.int64).reshape(len(found), len(names)),
        unscaled_reasons=absent,
        flat_metrics=frozenset(flat),
    )


def resample_images(
    scores: pd.DataFrame, images: pd.DataFrame, scale: SkillScale, protocol: Protocol
) -> ImageResamples:
    """Draws of the images, within groups of the first attribute and, there, within those asked for the same metrics.

    Without the latter a draw of a small group could be left without any image on which maps were made again. Images of
    one person are drawn together where the protocol names a column that tells persons apart.

    Args:
        scores: one model's rows; what the zero was scored on tells what an image was asked for.
        images: index image id, sorted; attributes as columns.
        scale: names the zero.
        protocol: groups, draws and seed.
    """
    pairs = scores.loc[scores["explainer"] == scale.floor, ["image", "metric"]].drop_duplicates()
    asked = pairs.sort_values(["image", "metric"]).groupby("image")["metric"].agg("\x1f".join)
    groups = group_labels(images, protocol.data.groups[0])
    strata = groups + "\x1e" + asked.reindex(images.index).fillna("")
    column = protocol.data.identity
    persons = images[column].astype(str).tolist() if column and column in images else None
    weights = bootstrap.bootstrap_weights(strata.tolist(), persons, protocol.aggregate.bootstrap, protocol.seed)
    names, group = np.unique(groups.to_numpy(dtype=str), return_inverse=True)
    everyone = np.ones((1, len(images)))
    return ImageResamples(np.concatenate([everyone, weights]), group, tuple(str(name) for name in names))


def _explainer_columns(table: pd.DataFrame, metric: str, names: Sequence[str]) -> bootstrap.Floats:
    """``(n, explainers)``, NaN where there is no value."""
    nothing = np.full(len(table), np.nan)
    columns = [table[n, metric].to_numpy(dtype=np.float64) if (n, metric) in table else nothing for n in names]
    return np.stack(columns, axis=1)


def _ceiling_scores(table: pd.DataFrame, metric: str, traits: MetricTraits, scale: SkillScale) -> bootstrap.Floats:
    """``(n,)``: what is skill 1, image by image."""
    if traits.perfect is not None:
        return np.full(len(table), traits.perfect)
    return _explainer_columns(table, metric, [scale.ceiling])[:, 0]


def _group_spans(floor: bootstrap.Floats, ceiling: bootstrap.Floats, resamples: ImageResamples) -> bootstrap.Floats:
    """``(1+draws, groups)``: how far the reference is ahead of the zero."""
    there = ~np.isnan(floor) & ~np.isnan(ceiling)
    return resamples.means((ceiling - floor)[:, None], there[:, None])[..., 0]


def _metric_skills(
    values: bootstrap.Floats,
    floor: bootstrap.Floats,
    ceiling: bootstrap.Floats,
    resamples: ImageResamples,
    min_report: int,
) -> _MetricSkills:
    """Skills on one metric whose higher values are better."""
    there = ~np.isnan(values) & ~np.isnan(floor)[:, None] & ~np.isnan(ceiling)[:, None]
    ahead = resamples.means(values - floor[:, None], there)
    span = resamples.means(np.broadcast_to((ceiling - floor)[:, None], values.shape), there)
    count = resamples.counts(there)
    unit = np.all(_group_spans(floor, ceiling, resamples) > 0, axis=0)
    shown = np.reshape(unit, (-1, 1)) & (count >= min_report)
    return _MetricSkills(
        macro=_safe_ratio(_macro_mean(ahead), _macro_mean(span)),
        by_group=np.where(shown, _safe_ratio(ahead, span), np.nan),
        n_images=count.sum(axis=0),
    )


def _macro_mean(means: bootstrap.Floats) -> bootstrap.Floats:
    """Mean over the groups, ``(rows, groups, …)`` -> ``(rows, …)``; those without a value are left out."""
    there = ~np.isnan(means)
    count = there.sum(axis=1)
    total = np.where(there, means, 0.0).sum(axis=1)
    found: bootstrap.Floats = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return found


def _safe_ratio(ahead: bootstrap.Floats, span: bootstrap.Floats) -> bootstrap.Floats:
    """NaN where the span is none."""
    return np.divide(ahead, span, out=np.full_like(ahead, np.nan), where=span > 0)


def _stack_columns(columns: list[bootstrap.Floats], shape: tuple[int, ...]) -> bootstrap.Floats:
    """Columns side by side along the second axis; empty where there is none."""
    return np.stack(columns, axis=1) if columns else np.empty(shape)
