"""How far the groups lie apart, how far they would if the labels meant nothing, and what may be said of it. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.disparity import estimators as between
from mavis.analysis.disparity import pairwise
from mavis.analysis.disparity.estimators import NullRange
from mavis.analysis.disparity.matching import choose_matching, with_correct
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, PairwiseResult
from mavis.analysis.disparity.wording import gap_statement
from mavis.analysis.findings import Gap, GroupValue
from mavis.analysis.groups import BootstrapSettings, bootstrap_stratum_means, to_estimate
from mavis.analysis.statistics import bootstrap, dispersion, permutation
from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.group_attributes import group_labels
from mavis.protocol.schema import DisparityRules

MAX_CHUNK_DRAWS = 2**23
"""Draws of pairs of groups that are held at once."""


@dataclass(frozen=True)
class ScoreColumn:
    """What is known of a column of scores.

    Attributes:
        subject: what it holds, e.g. "nsrg of saliency".
        higher_is_better: direction; it tells best from worst.
        unit: (zero, span) of its skill, or None where it has no such scale.
        compares_pairs: whether every two groups are compared at equal covariates.
        imputer_columns: places of the columns of the same score by each imputer alone, whose raw gap must have the
            same sign.
        is_own_family: whether its pairs are a family of their own, whose p is corrected at once; else
            `control_false_discoveries` does it.
    """

    subject: str = "the score"
    higher_is_better: bool = True
    unit: tuple[float, float] | None = None
    compares_pairs: bool = False
    imputer_columns: tuple[int, ...] = ()
    is_own_family: bool = True


@dataclass(frozen=True)
class GapLimits:
    """What a protocol asks of a gap.

    Attributes:
        min_claim: n that every compared group needs for a claim.
        n_permutations: draws of the null.
        disparity: what is held equal, and when a gap is found or absent.
    """

    min_claim: int
    n_permutations: int
    disparity: DisparityRules = field(default_factory=DisparityRules)


def group_gap(
    values: Floats,
    images: pd.DataFrame,
    attribute: str,
    groups: tuple[GroupValue, ...],
    *,
    settings: BootstrapSettings,
    limits: GapLimits,
    column: ScoreColumn = ScoreColumn(),
) -> Gap | None:
    """The gap of one column; see `group_gaps`."""
    return group_gaps(values[:, None], images, attribute, [groups], [column], settings=settings, limits=limits)[0]


def group_gaps(
    values: Floats,
    images: pd.DataFrame,
    attribute: str,
    groups: Sequence[tuple[GroupValue, ...]],
    columns: Sequence[ScoreColumn],
    *,
    settings: BootstrapSettings,
    limits: GapLimits,
) -> list[Gap | None]:
    """Highest minus lowest group mean of every column, with its null, and pairs of groups where they are asked for.

    The range of several means is above zero even where no group differs, so it stands beside what labels give that are
    shuffled among images that are alike (`matching`). Where people are known, labels are shuffled among people.

    Args:
        values: ``(n,c)``, NaN where there is no value, in the order of `images`.
        images: index image id, sorted; the attributes as columns, and those that the limits name.
        attribute: whose groups are compared.
        groups: per column that attribute's values, as `groups.summarise_scores` made them.
        columns: what is known of the c columns.
        settings: how means are taken.
        limits: see `GapLimits`.

    Returns:
        Per column the gap; None where fewer than two groups are large enough to report.
    """
    images, labels = with_correct(images), group_labels(images, attribute).to_numpy(dtype=str)
    found: list[Gap | None] = [None] * len(columns)
    for kept, places in _columns_by_images(values, labels, groups):
        table, names = images.loc[kept], tuple(labels[kept].tolist())
        held = choose_matching(table, names, attribute, limits.disparity)
        case = GroupComparison(table, names, held, settings.for_images(kept), limits.disparity, limits.min_claim)
        scores = values[kept][:, places]
        measured = _dispersion_fields(
            scores, _null_ranges(scores, case, limits.n_permutations), case, [columns[p] for p in places]
        )
        own = {
            place: Gap(attribute=attribute, **_best_and_worst(groups[place], columns[place]), **fields)
            for place, fields in zip(places, measured, strict=True)
        }
        wanted = [place for place in places if columns[place].compares_pairs]
        asked = [
            _pairwise_request(own[p], columns[p], _imputer_gaps(columns[p].imputer_columns, values, labels, case))
            for p in wanted
        ]
        verdicts = pairwise.compare_pairs(values[kept][:, wanted], asked, case)
        for place, one, verdict in zip(wanted, asked, verdicts, strict=True):
            own[place] = _with_pairs(own[place], one, verdict, case, is_own_family=columns[place].is_own_family)
        for place, done in own.items():
            found[place] = done
    return found


def control_false_discoveries(gaps: Sequence[Gap]) -> list[Gap]:
    """The same gaps, p of their pairs corrected for the number of all pairs of all of them (Benjamini and Hochberg)."""
    again = pairwise.correct_p_values([one.pairs for one in gaps], use_holm=False)
    return [one.model_copy(update={"pairs": some}) for one, some in zip(gaps, again, strict=True)]


def _columns_by_images(
    values: Floats, labels: NDArray[np.str_], groups: Sequence[tuple[GroupValue, ...]]
) -> list[tuple[NDArray[np.bool_], list[int]]]:
    """Which images are compared, ``(n,)``, and the places of all columns in which these are."""
    found: dict[bytes, tuple[NDArray[np.bool_], list[int]]] = {}
    for place, of_column in enumerate(groups):
        shown = [g.group for g in of_column if not g.suppressed]
        if len(shown) > 1:
            kept = ~np.isnan(values[:, place]) & np.isin(labels, shown)
            found.setdefault(kept.tobytes(), (kept, []))[1].append(place)
    return list(found.values())


def _null_ranges(values: Floats, comparison: GroupComparison, permutations: int) -> Floats:
    """Ranges ``(permutations,c)`` when labels are shuffled among alike images, or among alike people."""
    people, seed = comparison.settings.identities, comparison.settings.seed
    if people is None:
        strata = comparison.matching.strata(comparison.table).astype(str).tolist()
        return permutation.stratified_null_ranges(values, comparison.groups, strata, permutations, seed)
    both = [f"{person}\x1f{group}" for person, group in zip(people, comparison.groups, strict=True)]
    _, first, unit = np.unique(both, return_index=True, return_inverse=True)
    means = pd.DataFrame(values).groupby(unit).mean().to_numpy()
    strata = comparison.matching.strata(comparison.matching.person_table(comparison.table, unit)).astype(str).tolist()
    names = np.asarray(comparison.groups, dtype=str)[first].tolist()
    sizes = np.bincount(unit).astype(np.float64)
    return permutation.stratified_null_ranges(means, names, strata, permutations, seed, sizes)


def _dispersion_fields(
    values: Floats, null: Floats, comparison: GroupComparison, columns: Sequence[ScoreColumn]
) -> Iterator[dict[str, Any]]:
    """Per column the fields of its gap that are cheap: the range beside its null, and other measures of spread."""
    n, groups = len(values), len(comparison.group_counts())
    at_once = max(1, MAX_CHUNK_DRAWS // (comparison.settings.n_bootstrap * groups * groups))
    for start in range(0, len(columns), at_once):
        part = slice(start, start + at_once)
        means = between.group_means(values[:, part], comparison.groups, np.ones((1, n)))[1][0].T
        draws = np.stack(
            list(bootstrap_stratum_means(values[:, part], comparison.groups, comparison.settings).values()), axis=-1
        )
        up = np.where([column.higher_is_better for column in columns[part]], 1.0, -1.0)[:, None]
        errors = bootstrap.bootstrap_standard_error(draws)
        found = {
            "range": (np.ptp(means, axis=-1), np.ptp(draws, axis=-1)),
            "shortfall": (dispersion.shortfall(up * means), dispersion.shortfall(up * draws)),
            "mean_pairwise": (dispersion.mean_pairwise_difference(means), dispersion.mean_pairwise_difference(draws)),
            "corrected_sd": (
                dispersion.noise_corrected_sd(means, errors),
                dispersion.noise_corrected_sd(draws, errors, is_bootstrap=True),
            ),
        }
        ends = {
            name: (point, *bootstrap.percentile_interval(again, comparison.settings.confidence))
            for name, (point, again) in found.items()
        }
        for place, column in enumerate(columns[part]):
            widest, shuffled = float(found["range"][0][place]), null[:, start + place]
            yield {
                **{
                    name: to_estimate(mean[place], low[place], high[place], n)
                    for name, (mean, low, high) in ends.items()
                },
                "null_mean": float(shuffled.mean()),
                "excess": widest - float(shuffled.mean()),
                "p": permutation.permutation_p_value(widest, shuffled),
                "ratio": _worst_to_best(means[place], column.unit),
                "n_sufficient": min(comparison.group_counts().values()) >= comparison.min_claim,
            }


def _worst_to_best(means: Floats, unit: tuple[float, float] | None) -> float | None:
    share = float("nan") if unit is None else float(dispersion.worst_to_best_ratio((means - unit[0]) / unit[1]))
    return None if np.isnan(share) else share


def _best_and_worst(groups: tuple[GroupValue, ...], column: ScoreColumn) -> dict[str, Any]:
    """The best and the worst of the groups that are shown."""
    sign = 1 if column.higher_is_better else -1
    worst, *_, best = sorted((g for g in groups if not g.suppressed), key=lambda g: sign * (g.estimate.mean or 0.0))
    return {"best_group": best.group, "worst_group": worst.group, "worst_group_mean": worst.estimate}


def _imputer_gaps(
    columns: Sequence[int], values: Floats, labels: NDArray[np.str_], comparison: GroupComparison
) -> Floats:
    """Raw gaps ``(I,P)`` of some columns between the groups of the case; NaN where a group has no value."""
    first, second = np.triu_indices(len(comparison.group_counts()), 1)
    found = np.empty((len(columns), len(first)))
    for row, place in enumerate(columns):
        there = ~np.isnan(values[:, place])
        rows = [values[there & (labels == name), place] for name in comparison.group_counts()]
        means = np.array([own.mean() if len(own) else np.nan for own in rows])
        found[row] = means[first] - means[second]
    return found


def _pairwise_request(gap: Gap, column: ScoreColumn, imputer_gaps: Floats) -> PairwiseRequest:
    null = NullRange(gap.range.mean or 0.0, gap.null_mean or 0.0, gap.excess or 0.0, gap.p or 0.0)
    return PairwiseRequest(column.subject, column.unit, null, imputer_gaps)


def _with_pairs(
    gap: Gap, request: PairwiseRequest, result: PairwiseResult, comparison: GroupComparison, *, is_own_family: bool
) -> Gap:
    """The gap with its pairs and what may be said of them."""
    return gap.model_copy(
        update={
            "pairs": pairwise.correct_p_values([result.pairs], use_holm=True)[0] if is_own_family else result.pairs,
            "significant": bool(result.signs.any()) if result.has_columns else None,
            "equivalent": result.equivalent if result.has_columns else None,
            "statement": gap_statement(result, request, comparison),
        }
    )
