"""Group gaps of scores: range and other dispersion, permutation null, pairwise comparisons, statement. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mavis.analysis.disparity import estimators, pairwise
from mavis.analysis.disparity.estimators import NullRange
from mavis.analysis.disparity.matching import choose_matching, with_correct
from mavis.analysis.disparity.pairwise import GroupComparison, PairwiseRequest, PairwiseResult
from mavis.analysis.disparity.statements import gap_statement
from mavis.analysis.findings import Gap, GroupValue
from mavis.analysis.groups import BootstrapSettings, bootstrap_stratum_means, to_estimate
from mavis.analysis.statistics import bootstrap, dispersion, permutation
from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.group_attributes import group_labels, with_plain_columns
from mavis.protocol.schema import DisparityRules

MAX_CHUNK_DRAWS = 2**23
"""Maximum number of draws of pairs of groups that are held at once."""


@dataclass(frozen=True)
class ScoreColumn:
    """Description of a column of scores.

    Attributes:
        subject: name of the score in sentences, e.g. "nsrg of saliency".
        higher_is_better: direction, which tells the best group from the worst.
        unit: (floor, span) of its skill, or None without such a scale.
        compares_pairs: true if every two groups are compared at equal covariates.
        imputer_columns: indices of the columns of the same score by each imputer alone, whose raw gap must have the
            same sign.
        is_own_family: true if its pairs are a family of their own, whose p is corrected at once; else
            `control_false_discoveries` corrects it.
    """

    subject: str = "the score"
    higher_is_better: bool = True
    unit: tuple[float, float] | None = None
    compares_pairs: bool = False
    imputer_columns: tuple[int, ...] = ()
    is_own_family: bool = True


@dataclass(frozen=True)
class GapLimits:
    """Limits of a protocol for gaps.

    Attributes:
        min_claim: number of images that every compared group needs for a claim.
        n_permutations: number of draws of the null distribution.
        disparity: covariates held equal, and margins of significance and equivalence.
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
    """Highest minus lowest group mean of every column, with its null, and pairs of groups if the column asks for them.

    The range of several means is above zero even if no group differs, so it is compared with the range under labels
    shuffled among images that are alike (`matching`). If identities are known, labels are shuffled among people.

    Args:
        values: ``(n,c)``, NaN for a missing value, in the order of `images`.
        images: index image id, sorted; the attributes as columns, and those that the limits name.
        attribute: attribute whose groups are compared.
        groups: per column that attribute's values, as `groups.summarise_scores` returns them.
        columns: descriptions of the c columns.
        settings: settings of means.
        limits: see `GapLimits`.

    Returns:
        Per column the gap; None if fewer than two groups are large enough to report.
    """
    labels = group_labels(images, attribute).to_numpy(dtype=str)
    images = with_correct(with_plain_columns(images))
    gaps: list[Gap | None] = [None] * len(columns)
    for mask, indices in _columns_by_images(values, labels, groups):
        table, names = images.loc[mask], tuple(labels[mask].tolist())
        matching = choose_matching(table, names, attribute, limits.disparity)
        comparison = GroupComparison(
            table, names, matching, settings.for_images(mask), limits.disparity, limits.min_claim
        )
        scores = values[mask][:, indices]
        dispersions = _dispersion_fields(
            scores,
            _null_ranges(scores, comparison, limits.n_permutations),
            comparison,
            [columns[index] for index in indices],
        )
        subset_gaps = {
            index: Gap(attribute=attribute, **_best_and_worst(groups[index], columns[index]), **fields)
            for index, fields in zip(indices, dispersions, strict=True)
        }
        paired = [index for index in indices if columns[index].compares_pairs]
        requests = [
            _pairwise_request(
                subset_gaps[index],
                columns[index],
                _imputer_gaps(columns[index].imputer_columns, values, labels, comparison),
            )
            for index in paired
        ]
        results = pairwise.compare_pairs(values[mask][:, paired], requests, comparison)
        for index, request, result in zip(paired, requests, results, strict=True):
            subset_gaps[index] = _with_pairs(
                subset_gaps[index], request, result, comparison, is_own_family=columns[index].is_own_family
            )
        for index, gap in subset_gaps.items():
            gaps[index] = gap
    return gaps


def control_false_discoveries(gaps: Sequence[Gap]) -> list[Gap]:
    """Corrects the p-values of all pairs of all gaps together, by Benjamini and Hochberg."""
    corrected = pairwise.correct_p_values([gap.pairs for gap in gaps], use_holm=False)
    return [gap.model_copy(update={"pairs": pairs}) for gap, pairs in zip(gaps, corrected, strict=True)]


def _columns_by_images(
    values: Floats, labels: NDArray[np.str_], groups: Sequence[tuple[GroupValue, ...]]
) -> list[tuple[NDArray[np.bool_], list[int]]]:
    """Masks ``(n,)`` of compared images, each with the indices of the columns that compare these images."""
    subsets: dict[bytes, tuple[NDArray[np.bool_], list[int]]] = {}
    for index, column_groups in enumerate(groups):
        names = [g.group for g in column_groups if not g.suppressed]
        if len(names) > 1:
            mask = ~np.isnan(values[:, index]) & np.isin(labels, names)
            subsets.setdefault(mask.tobytes(), (mask, []))[1].append(index)
    return list(subsets.values())


def _null_ranges(values: Floats, comparison: GroupComparison, permutations: int) -> Floats:
    """Ranges ``(permutations,c)`` of group means when labels are shuffled among alike images, or among alike people.

    With identities the unit is a person within a group, represented by the mean of its images and weighted by their
    number: images of one person are not exchangeable with those of others.
    """
    identities, seed = comparison.settings.identities, comparison.settings.seed
    if identities is None:
        strata = comparison.matching.strata(comparison.table).astype(str).tolist()
        return permutation.stratified_null_ranges(values, comparison.groups, strata, permutations, seed)
    units = [f"{person}\x1f{group}" for person, group in zip(identities, comparison.groups, strict=True)]
    _, first, unit_codes = np.unique(units, return_index=True, return_inverse=True)
    means = pd.DataFrame(values).groupby(unit_codes).mean().to_numpy()
    strata = (
        comparison.matching.strata(comparison.matching.person_table(comparison.table, unit_codes)).astype(str).tolist()
    )
    names = np.asarray(comparison.groups, dtype=str)[first].tolist()
    sizes = np.bincount(unit_codes).astype(np.float64)
    return permutation.stratified_null_ranges(means, names, strata, permutations, seed, sizes)


def _dispersion_fields(
    values: Floats, null: Floats, comparison: GroupComparison, columns: Sequence[ScoreColumn]
) -> Iterator[dict[str, Any]]:
    """Fields of each column's gap without pairs: the range with its null, and other measures of dispersion."""
    n, n_groups = len(values), len(comparison.group_counts())
    chunk_size = max(1, MAX_CHUNK_DRAWS // (comparison.settings.n_bootstrap * n_groups * n_groups))
    for start in range(0, len(columns), chunk_size):
        chunk = slice(start, start + chunk_size)
        means = estimators.group_means(values[:, chunk], comparison.groups, np.ones((1, n)))[1][0].T
        draws = np.stack(
            list(bootstrap_stratum_means(values[:, chunk], comparison.groups, comparison.settings).values()), axis=-1
        )
        signs = np.where([column.higher_is_better for column in columns[chunk]], 1.0, -1.0)[:, None]
        errors = bootstrap.bootstrap_standard_error(draws)
        measures = {
            "range": (np.ptp(means, axis=-1), np.ptp(draws, axis=-1)),
            "shortfall": (dispersion.shortfall(signs * means), dispersion.shortfall(signs * draws)),
            "mean_pairwise": (dispersion.mean_pairwise_difference(means), dispersion.mean_pairwise_difference(draws)),
            "corrected_sd": (
                dispersion.noise_corrected_sd(means, errors),
                dispersion.noise_corrected_sd(draws, errors, is_bootstrap=True),
            ),
        }
        ends = {
            name: (point, *bootstrap.percentile_interval(point_draws, comparison.settings.confidence))
            for name, (point, point_draws) in measures.items()
        }
        for index, column in enumerate(columns[chunk]):
            observed_range, null_ranges = float(measures["range"][0][index]), null[:, start + index]
            yield {
                **{
                    name: to_estimate(mean[index], low[index], high[index], n)
                    for name, (mean, low, high) in ends.items()
                },
                "null_mean": float(null_ranges.mean()),
                "excess": observed_range - float(null_ranges.mean()),
                "p": permutation.permutation_p_value(observed_range, null_ranges),
                "ratio": _worst_to_best(means[index], column.unit),
                "n_sufficient": min(comparison.group_counts().values()) >= comparison.min_claim,
            }


def _worst_to_best(means: Floats, unit: tuple[float, float] | None) -> float | None:
    ratio = float("nan") if unit is None else float(dispersion.worst_to_best_ratio((means - unit[0]) / unit[1]))
    return None if np.isnan(ratio) else ratio


def _best_and_worst(groups: tuple[GroupValue, ...], column: ScoreColumn) -> dict[str, Any]:
    """Fields for the best and the worst of the reported groups."""
    sign = 1 if column.higher_is_better else -1
    worst, *_, best = sorted((g for g in groups if not g.suppressed), key=lambda g: sign * (g.estimate.mean or 0.0))
    return {"best_group": best.group, "worst_group": worst.group, "worst_group_mean": worst.estimate}


def _imputer_gaps(
    columns: Sequence[int], values: Floats, labels: NDArray[np.str_], comparison: GroupComparison
) -> Floats:
    """Raw gaps ``(I,P)`` of columns between the compared groups; NaN if a group has no value."""
    first, second = np.triu_indices(len(comparison.group_counts()), 1)
    gaps = np.empty((len(columns), len(first)))
    for row, index in enumerate(columns):
        has_value = ~np.isnan(values[:, index])
        group_scores = [values[has_value & (labels == name), index] for name in comparison.group_counts()]
        means = np.array([scores.mean() if len(scores) else np.nan for scores in group_scores])
        gaps[row] = means[first] - means[second]
    return gaps


def _pairwise_request(gap: Gap, column: ScoreColumn, imputer_gaps: Floats) -> PairwiseRequest:
    null = NullRange(gap.range.mean or 0.0, gap.null_mean or 0.0, gap.excess or 0.0, gap.p or 0.0)
    return PairwiseRequest(column.subject, column.unit, null, imputer_gaps)


def _with_pairs(
    gap: Gap, request: PairwiseRequest, result: PairwiseResult, comparison: GroupComparison, *, is_own_family: bool
) -> Gap:
    """The gap with its pairs, verdicts and statement."""
    return gap.model_copy(
        update={
            "pairs": pairwise.correct_p_values([result.pairs], use_holm=True)[0] if is_own_family else result.pairs,
            "significant": bool(result.signs.any()) if result.has_columns else None,
            "equivalent": result.equivalent if result.has_columns else None,
            "statement": gap_statement(result, request, comparison),
        }
    )
