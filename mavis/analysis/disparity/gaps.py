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
from mavis.analysis.disparity.matching import alike, with_correct
from mavis.analysis.disparity.pairwise import Asked, Case, Verdict
from mavis.analysis.disparity.wording import statement
from mavis.analysis.findings import Gap, GroupValue
from mavis.analysis.groups import Rules, estimate, resampled_means
from mavis.analysis.statistics import bootstrap, dispersion, permutation
from mavis.analysis.statistics.bootstrap import Floats
from mavis.core.group_attributes import joined
from mavis.protocol.schema import DisparityRules

AT_ONCE = 2**23
"""Draws of pairs of groups that are held at once."""


@dataclass(frozen=True)
class Column:
    """What is known of a column of scores.

    Attributes:
        subject: what it holds, e.g. "nsrg of saliency".
        higher_is_better: direction; it tells best from worst.
        unit: (zero, span) of its skill, or None where it has no such scale.
        asked: whether every two groups are compared at equal covariates.
        confirm: places of the columns of the same score by each imputer alone, whose raw gap must have the same sign.
        alone: whether its pairs are a family of their own, whose p is corrected at once; else `discoveries` does it.
    """

    subject: str = "the score"
    higher_is_better: bool = True
    unit: tuple[float, float] | None = None
    asked: bool = False
    confirm: tuple[int, ...] = ()
    alone: bool = True


@dataclass(frozen=True)
class Limits:
    """What a protocol asks of a gap.

    Attributes:
        min_claim: n that every compared group needs for a claim.
        permutations: draws of the null.
        rules: what is held equal, and when a gap is found or absent.
    """

    min_claim: int
    permutations: int
    rules: DisparityRules = field(default_factory=DisparityRules)


def gap(
    values: Floats,
    images: pd.DataFrame,
    attribute: str,
    groups: tuple[GroupValue, ...],
    *,
    rules: Rules,
    limits: Limits,
    column: Column = Column(),
) -> Gap | None:
    """The gap of one column; see `gaps`."""
    return gaps(values[:, None], images, attribute, [groups], [column], rules=rules, limits=limits)[0]


def gaps(
    values: Floats,
    images: pd.DataFrame,
    attribute: str,
    groups: Sequence[tuple[GroupValue, ...]],
    columns: Sequence[Column],
    *,
    rules: Rules,
    limits: Limits,
) -> list[Gap | None]:
    """Highest minus lowest group mean of every column, with its null, and pairs of groups where they are asked for.

    The range of several means is above zero even where no group differs, so it stands beside what labels give that are
    shuffled among images that are alike (`mavis.alike`). Where people are known, labels are shuffled among people.

    Args:
        values: ``(n,c)``, NaN where there is no value, in the order of `images`.
        images: index image id, sorted; the attributes as columns, and those that the limits name.
        attribute: whose groups are compared.
        groups: per column that attribute's values, as `groups.summarise` made them.
        columns: what is known of the c columns.
        rules: how means are taken.
        limits: see `Limits`.

    Returns:
        Per column the gap; None where fewer than two groups are large enough to report.
    """
    images, labels = with_correct(images), joined(images, attribute).to_numpy(dtype=str)
    found: list[Gap | None] = [None] * len(columns)
    for kept, places in _same_images(values, labels, groups):
        table, names = images.loc[kept], tuple(labels[kept].tolist())
        held = alike(table, names, attribute, limits.rules)
        case = Case(table, names, held, rules.among(kept), limits.rules, limits.min_claim)
        scores = values[kept][:, places]
        measured = _measured(scores, _null(scores, case, limits.permutations), case, [columns[p] for p in places])
        own = {
            place: Gap(attribute=attribute, **_named(groups[place], columns[place]), **fields)
            for place, fields in zip(places, measured, strict=True)
        }
        wanted = [place for place in places if columns[place].asked]
        asked = [_asked(own[p], columns[p], _confirming(columns[p].confirm, values, labels, case)) for p in wanted]
        verdicts = pairwise.compare(values[kept][:, wanted], asked, case)
        for place, one, verdict in zip(wanted, asked, verdicts, strict=True):
            own[place] = _judged(own[place], one, verdict, case, alone=columns[place].alone)
        for place, done in own.items():
            found[place] = done
    return found


def discoveries(found: Sequence[Gap]) -> list[Gap]:
    """The same gaps, p of their pairs corrected for the number of all pairs of all of them (Benjamini and Hochberg)."""
    again = pairwise.corrected([one.pairs for one in found], holm=False)
    return [one.model_copy(update={"pairs": some}) for one, some in zip(found, again, strict=True)]


def _same_images(
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


def _null(values: Floats, case: Case, permutations: int) -> Floats:
    """Ranges ``(permutations,c)`` when labels are shuffled among alike images, or among alike people."""
    people, seed = case.rules.people, case.rules.seed
    if people is None:
        strata = case.alike.strata(case.table).astype(str).tolist()
        return permutation.permuted_ranges_within(values, case.groups, strata, permutations, seed)
    both = [f"{person}\x1f{group}" for person, group in zip(people, case.groups, strict=True)]
    _, first, unit = np.unique(both, return_index=True, return_inverse=True)
    means = pd.DataFrame(values).groupby(unit).mean().to_numpy()
    strata = case.alike.strata(case.alike.of_persons(case.table, unit)).astype(str).tolist()
    names = np.asarray(case.groups, dtype=str)[first].tolist()
    sizes = np.bincount(unit).astype(np.float64)
    return permutation.permuted_ranges_within(means, names, strata, permutations, seed, sizes)


def _measured(values: Floats, null: Floats, case: Case, columns: Sequence[Column]) -> Iterator[dict[str, Any]]:
    """Per column the fields of its gap that are cheap: the range beside its null, and other measures of spread."""
    n, groups = len(values), len(case.counts())
    at_once = max(1, AT_ONCE // (case.rules.bootstrap * groups * groups))
    for start in range(0, len(columns), at_once):
        part = slice(start, start + at_once)
        means = between.group_means(values[:, part], case.groups, np.ones((1, n)))[1][0].T
        draws = np.stack(list(resampled_means(values[:, part], case.groups, case.rules).values()), axis=-1)
        up = np.where([column.higher_is_better for column in columns[part]], 1.0, -1.0)[:, None]
        errors = bootstrap.spread(draws)
        found = {
            "range": (np.ptp(means, axis=-1), np.ptp(draws, axis=-1)),
            "shortfall": (dispersion.shortfall(up * means), dispersion.shortfall(up * draws)),
            "mean_pairwise": (dispersion.mean_pairwise(means), dispersion.mean_pairwise(draws)),
            "corrected_sd": (
                dispersion.corrected_sd(means, errors),
                dispersion.corrected_sd(draws, errors, resampled=True),
            ),
        }
        ends = {
            name: (point, *bootstrap.percentiles(again, case.rules.confidence))
            for name, (point, again) in found.items()
        }
        for place, column in enumerate(columns[part]):
            widest, shuffled = float(found["range"][0][place]), null[:, start + place]
            yield {
                **{name: estimate(mean[place], low[place], high[place], n) for name, (mean, low, high) in ends.items()},
                "null_mean": float(shuffled.mean()),
                "excess": widest - float(shuffled.mean()),
                "p": permutation.p_value(widest, shuffled),
                "ratio": _ratio(means[place], column.unit),
                "claimable": min(case.counts().values()) >= case.min_claim,
            }


def _ratio(means: Floats, unit: tuple[float, float] | None) -> float | None:
    share = float("nan") if unit is None else float(dispersion.ratio((means - unit[0]) / unit[1]))
    return None if np.isnan(share) else share


def _named(groups: tuple[GroupValue, ...], column: Column) -> dict[str, Any]:
    """The best and the worst of the groups that are shown."""
    sign = 1 if column.higher_is_better else -1
    worst, *_, best = sorted((g for g in groups if not g.suppressed), key=lambda g: sign * (g.estimate.mean or 0.0))
    return {"best_group": best.group, "worst_group": worst.group, "worst": worst.estimate}


def _confirming(places: Sequence[int], values: Floats, labels: NDArray[np.str_], case: Case) -> Floats:
    """Raw gaps ``(I,P)`` of some columns between the groups of the case; NaN where a group has no value."""
    first, second = np.triu_indices(len(case.counts()), 1)
    found = np.empty((len(places), len(first)))
    for row, place in enumerate(places):
        there = ~np.isnan(values[:, place])
        rows = [values[there & (labels == name), place] for name in case.counts()]
        means = np.array([own.mean() if len(own) else np.nan for own in rows])
        found[row] = means[first] - means[second]
    return found


def _asked(one: Gap, column: Column, confirm: Floats) -> Asked:
    null = NullRange(one.range.mean or 0.0, one.null_mean or 0.0, one.excess or 0.0, one.p or 0.0)
    return Asked(column.subject, column.unit, null, confirm)


def _judged(one: Gap, asked: Asked, verdict: Verdict, case: Case, *, alone: bool) -> Gap:
    """The gap with its pairs and what may be said of them."""
    return one.model_copy(
        update={
            "pairs": pairwise.corrected([verdict.pairs], holm=True)[0] if alone else verdict.pairs,
            "found": bool(verdict.signs.any()) if verdict.known else None,
            "absent": verdict.absent if verdict.known else None,
            "statement": statement(verdict, asked, case),
        }
    )
