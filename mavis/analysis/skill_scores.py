"""Skills (normalised scores): one scale for all metrics, with a control at 0 and a fixed reference at 1. Pure.

An explainer's skill does not depend on the other explainers: it is measured on the images for which it, the floor and
the ceiling have a value, and the bootstrap draws every image equally often for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.findings import Estimate, Note, make_note
from mavis.analysis.groups import pivot_scores
from mavis.analysis.statistics import bootstrap
from mavis.core.group_attributes import find_column, group_labels
from mavis.core.traits import MetricTraits
from mavis.protocol.schema import Protocol, ReferenceRules

MIN_SPAN = 1e-9
"""The ceiling must be better than the floor by this, else there is no scale."""


@dataclass(frozen=True)
class SkillScale:
    """Explainers that mark the scale.

    Attributes:
        floor: explainer with skill 0.
        ceiling: explainer with skill 1, on metrics without a perfect value.
    """

    floor: str
    ceiling: str


@dataclass(frozen=True)
class ImageResamples:
    """Bootstrap weights of the images, with their groups.

    Attributes:
        weights: ``(1+draws, n)``: 1 in the first row, the number of times each image was drawn in the others.
        group_codes: ``(n,)``, index of the image's group.
        group_names: names of the groups.
    """

    weights: bootstrap.Floats
    group_codes: NDArray[np.intp]
    group_names: tuple[str, ...]

    def means(self, values: bootstrap.Floats, is_present: NDArray[np.bool_]) -> bootstrap.Floats:
        """``(n,c)`` -> ``(1+draws, groups, c)`` means over the present values; NaN without any."""
        means = np.full((len(self.weights), len(self.group_names), values.shape[1]), np.nan)
        filled, present = np.where(is_present, values, 0.0), is_present.astype(np.float64)
        for code in range(len(self.group_names)):
            rows = np.flatnonzero((self.group_codes == code) & is_present.any(axis=1))
            weights = self.weights[:, rows]
            count = weights @ present[rows]
            np.divide(weights @ filled[rows], count, out=means[:, code], where=count > 0)
        return means

    def counts(self, is_present: NDArray[np.bool_]) -> NDArray[np.int64]:
        """``(n,c)`` -> ``(groups, c)``: number of images with a value."""
        return np.stack([is_present[self.group_codes == code].sum(axis=0) for code in range(len(self.group_names))])


@dataclass(frozen=True)
class Skills:
    """Skills of all explainers of one model.

    Attributes:
        scale: explainers with skill 0 and 1.
        metrics: metrics with a unit: the ceiling is better than the floor in every draw.
        explainers: measured explainers, the floor among them.
        groups: groups of the first attribute.
        macro: ``(1+draws, metrics, explainers)``, groups weighted equally; the first row is the skill itself, the
            others are bootstrap draws; NaN if it has none.
        by_group: ``(1+draws, metrics, groups, explainers)``; NaN if the group is too small, or has no unit.
        n_images: ``(metrics, explainers)``, number of images.
        unscaled_reasons: per metric without a unit, the reason.
        flat_metrics: metrics among these on which the ceiling was measured and is not better than the floor.
    """

    scale: SkillScale
    metrics: tuple[str, ...]
    explainers: tuple[str, ...]
    groups: tuple[str, ...]
    macro: bootstrap.Floats
    by_group: bootstrap.Floats
    n_images: NDArray[np.int64]
    unscaled_reasons: Mapping[str, Note]
    flat_metrics: frozenset[str]


@dataclass(frozen=True)
class _MetricSkills:
    """One metric's skills; shapes as in `Skills`, without the metrics."""

    macro: bootstrap.Floats
    by_group: bootstrap.Floats
    n_images: NDArray[np.int64]


def choose_scale(scores: pd.DataFrame, reference: ReferenceRules) -> SkillScale:
    """The protocol's scale: the oracle of the planted truth is the ceiling if it was run, else the other reference."""
    explainers = set(scores.loc[scores["value"].notna(), "explainer"].unique())
    return SkillScale(reference.zero, reference.truth if reference.truth in explainers else reference.otherwise)


def skill_unit(
    means: Mapping[tuple[str, str], Estimate], metric: str, traits: MetricTraits, scale: SkillScale
) -> tuple[float, float] | None:
    """Unit (floor, span) of a metric's skill from macro means; None if one is missing or the ceiling is not better.

    Args:
        means: macro mean per (explainer, metric).
        metric: label of the metric.
        traits: traits of the metric.
        scale: explainers with skill 0 and 1.
    """
    floor, ceiling = (
        means[name, metric].mean if (name, metric) in means else None for name in (scale.floor, scale.ceiling)
    )
    ceiling = ceiling if traits.perfect is None else traits.perfect
    sign = -1.0 if traits.higher_is_better is False else 1.0
    if floor is None or ceiling is None or (ceiling - floor) * sign < MIN_SPAN:
        return None
    return floor, ceiling - floor


def measure_skills(
    scores: pd.DataFrame,
    images: pd.DataFrame,
    metrics: Mapping[str, MetricTraits],
    scale: SkillScale,
    protocol: Protocol,
) -> Skills:
    """Measures skills on a set of metrics.

    Args:
        scores: one model's rows: ``image, explainer, metric, value, status``.
        images: index image id; attributes as columns.
        metrics: traits by label of the metric.
        scale: explainers with skill 0 and 1.
        protocol: groups, smallest group, draws and seed.

    Source: protocol S9 and S11.
    """
    images = images.sort_index()
    rows = scores[scores["metric"].isin(list(metrics))]
    table, resamples = pivot_scores(rows, images), resample_images(rows, images, scale, protocol)
    names = tuple(sorted({str(name) for name in rows["explainer"].unique()} | {scale.floor}))
    skills: dict[str, _MetricSkills] = {}
    absent: dict[str, Note] = {}
    flat: set[str] = set()
    for metric, traits in metrics.items():
        values = _explainer_columns(table, metric, names)
        floor = values[:, names.index(scale.floor)]
        ceiling = _ceiling_scores(table, metric, traits, scale)
        sign = -1.0 if traits.higher_is_better is False else 1.0
        span = _macro_mean(_group_spans(floor * sign, ceiling * sign, resamples))
        if np.isnan(span[0]):
            absent[metric] = _no_image_note(metric, scale)
        elif not (span > 0).all():
            flat.add(metric)
            absent[metric] = _flat_note(metric, traits, scale, float(span[0]))
        else:
            skills[metric] = _metric_skills(
                values * sign, floor * sign, ceiling * sign, resamples, protocol.data.n_per_group.min_report
            )
    return _combine(scale, names, resamples, skills, absent, flat)


def _combine(
    scale: SkillScale,
    names: tuple[str, ...],
    resamples: ImageResamples,
    skills: Mapping[str, _MetricSkills],
    absent: Mapping[str, Note],
    flat: set[str],
) -> Skills:
    """The skills of all metrics in one table, with the reasons of those that have none."""
    shape, parts = (len(resamples.weights), len(skills)), list(skills.values())
    n_images = np.array([part.n_images for part in parts], dtype=np.int64).reshape(len(skills), len(names))
    return Skills(
        scale=scale,
        metrics=tuple(skills),
        explainers=names,
        groups=resamples.group_names,
        macro=_stack_columns([part.macro for part in parts], (*shape, len(names))),
        by_group=_stack_columns([part.by_group for part in parts], (*shape, len(resamples.group_names), len(names))),
        n_images=n_images,
        unscaled_reasons=absent,
        flat_metrics=frozenset(flat),
    )


def _no_image_note(metric: str, scale: SkillScale) -> Note:
    return make_note("scale.no_image", metric=metric, explainers=[*dict.fromkeys((scale.floor, scale.ceiling))])


def _flat_note(metric: str, traits: MetricTraits, scale: SkillScale, span: float) -> Note:
    """The ceiling is null where it is the metric's perfect value."""
    ceiling = None if traits.perfect is not None else scale.ceiling
    return make_note("scale.flat", metric=metric, floor=scale.floor, ceiling=ceiling, span=span)


def resample_images(
    scores: pd.DataFrame, images: pd.DataFrame, scale: SkillScale, protocol: Protocol
) -> ImageResamples:
    """Bootstrap weights of the images, resampled within strata of equal group and equal set of metrics.

    Some metrics are computed on a subset of the images: without strata of equal sets a draw of a small group could
    hold no image of that subset. Images of one person are drawn together if the protocol names an identity column.

    Args:
        scores: one model's rows; the metrics of an image are those that the floor has a row for.
        images: index image id, sorted; attributes as columns.
        scale: names the floor.
        protocol: groups, draws and seed.
    """
    pairs = scores.loc[scores["explainer"] == scale.floor, ["image", "metric"]].drop_duplicates()
    metrics_of_image = pairs.sort_values(["image", "metric"]).groupby("image")["metric"].agg("\x1f".join)
    groups = group_labels(images, protocol.data.groups[0])
    strata = groups + "\x1e" + metrics_of_image.reindex(images.index).fillna("")
    column = find_column(images, protocol.data.identity or "")
    persons = None if column is None else images[column].astype(str).tolist()
    weights = bootstrap.bootstrap_weights(strata.tolist(), persons, protocol.aggregate.bootstrap, protocol.seed)
    names, group = np.unique(groups.to_numpy(dtype=str), return_inverse=True)
    all_images = np.ones((1, len(images)))
    return ImageResamples(np.concatenate([all_images, weights]), group, tuple(str(name) for name in names))


def _explainer_columns(table: pd.DataFrame, metric: str, names: Sequence[str]) -> bootstrap.Floats:
    """Scores ``(n, explainers)`` on one metric; NaN for a missing value."""
    missing = np.full(len(table), np.nan)
    columns = [table[name, metric].to_numpy(dtype=np.float64) if (name, metric) in table else missing for name in names]
    return np.stack(columns, axis=1)


def _ceiling_scores(table: pd.DataFrame, metric: str, traits: MetricTraits, scale: SkillScale) -> bootstrap.Floats:
    """Score with skill 1 on each image, ``(n,)``."""
    if traits.perfect is not None:
        return np.full(len(table), traits.perfect)
    return _explainer_columns(table, metric, [scale.ceiling])[:, 0]


def _group_spans(floor: bootstrap.Floats, ceiling: bootstrap.Floats, resamples: ImageResamples) -> bootstrap.Floats:
    """``(1+draws, groups)``: mean difference of the ceiling and the floor."""
    is_present = ~np.isnan(floor) & ~np.isnan(ceiling)
    return resamples.means((ceiling - floor)[:, None], is_present[:, None])[..., 0]


def _metric_skills(
    values: bootstrap.Floats,
    floor: bootstrap.Floats,
    ceiling: bootstrap.Floats,
    resamples: ImageResamples,
    min_report: int,
) -> _MetricSkills:
    """Skills on one metric, higher values better."""
    is_present = ~np.isnan(values) & ~np.isnan(floor)[:, None] & ~np.isnan(ceiling)[:, None]
    lead = resamples.means(values - floor[:, None], is_present)
    span = resamples.means(np.broadcast_to((ceiling - floor)[:, None], values.shape), is_present)
    counts = resamples.counts(is_present)
    has_unit = np.all(_group_spans(floor, ceiling, resamples) > 0, axis=0)
    is_shown = np.reshape(has_unit, (-1, 1)) & (counts >= min_report)
    return _MetricSkills(
        macro=_safe_ratio(_macro_mean(lead), _macro_mean(span)),
        by_group=np.where(is_shown, _safe_ratio(lead, span), np.nan),
        n_images=counts.sum(axis=0),
    )


def _macro_mean(means: bootstrap.Floats) -> bootstrap.Floats:
    """Mean over the groups, ``(rows, groups, …)`` -> ``(rows, …)``; groups without a value are left out."""
    is_present = ~np.isnan(means)
    count = is_present.sum(axis=1)
    total = np.where(is_present, means, 0.0).sum(axis=1)
    macro_means: bootstrap.Floats = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return macro_means


def _safe_ratio(lead: bootstrap.Floats, span: bootstrap.Floats) -> bootstrap.Floats:
    """Lead over span; NaN if the span is not above 0."""
    return np.divide(lead, span, out=np.full_like(lead, np.nan), where=span > 0)


def _stack_columns(columns: list[bootstrap.Floats], shape: tuple[int, ...]) -> bootstrap.Floats:
    """Stacks columns along the second axis; an empty array of ``shape`` if there are none."""
    return np.stack(columns, axis=1) if columns else np.empty(shape)
