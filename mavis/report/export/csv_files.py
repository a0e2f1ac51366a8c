"""CSV files of the findings, unrounded: scores, skills, gaps between groups, and the pairs of groups behind them.

A name that a spreadsheet would run as a formula has an apostrophe in front.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mavis.analysis.findings import Estimate, ExplainerEntry, Findings, Gap, MetricSummary, PairGap
from mavis.core.printable import spreadsheet_cell
from mavis.report import layout, wording

ESTIMATE_COLUMNS = ("n", "mean", "low", "high")
SCORE_COLUMNS = (
    "model", "explainer", "role", "metric", "category", "direction", "attribute", "group", *ESTIMATE_COLUMNS,
    "undefined", "failed", "rank", "missing", "weighted_mean", "partial_pooled_mean",
)  # fmt: skip
SKILL_COLUMNS = (
    "model", "explainer", "role", "eligible", "rank", "rank_low", "rank_high", "dominated_by", "aggregation_level",
    "name", "category", "attribute", "group", *ESTIMATE_COLUMNS,
)  # fmt: skip
GAP_MEASURES = ("range", "shortfall", "mean_pairwise", "corrected_sd", "worst_group_mean")
PAIR_MEASURES = ("raw", "matched", "adjusted")


def _measure_columns(names: Sequence[str]) -> Iterator[str]:
    """A column per measure and part of its estimate; the mean has the measure's own name."""
    for name in names:
        yield from (name if part == "mean" else f"{name}_{part}" for part in ("mean", "low", "high", "n"))


GAP_COLUMNS = (
    "model", "explainer", "role", "metric", "decides", "attribute", "best_group", "worst_group",
    *_measure_columns(GAP_MEASURES), "null_mean", "excess", "p", "ratio",
    "n_sufficient", "significant", "equivalent", "statement",
)  # fmt: skip
PAIR_COLUMNS = (
    "model", "explainer", "role", "metric", "attribute", "first", "second", *_measure_columns(PAIR_MEASURES),
    "matched_share", "p", "equivalent",
)  # fmt: skip


def scores_csv(findings: Findings) -> str:
    """One line per model, explainer, metric and group; an empty attribute and group are all images.

    An explainer without any map has one line, with an empty metric.
    """
    rows = (
        [model.model, entry.explainer, entry.role, *row]
        for model in findings.models
        for entry in layout.entries_by_rank(model)
        for row in _score_rows(findings, entry)
    )
    return _to_csv(SCORE_COLUMNS, rows)


def _score_rows(findings: Findings, entry: ExplainerEntry) -> Iterator[list[Any]]:
    if not entry.metrics:
        yield ["", "", "", "", "", 0, *[None] * 6, entry.missing, None, None]
    for summary in entry.metrics:
        direction = {True: "higher", False: "lower", None: ""}[summary.higher_is_better]
        head = [summary.metric, summary.category, direction]
        reason = wording.missing_reason(entry, summary.metric)
        counts = [summary.undefined, summary.failed, summary.rank, reason, summary.weighted_mean, None]
        yield [*head, "", "", *_estimate_cells(summary.estimate), *counts]
        for value in summary.groups:
            reason = wording.group_missing_reason(value, min_images=findings.protocol.min_report)
            counts = [value.undefined, value.failed, None, reason, None, value.partial_pooled_mean]
            yield [*head, value.attribute, value.group, *_estimate_cells(value.estimate), *counts]


def skills_csv(findings: Findings) -> str:
    """One line per model, explainer and level: overall, every category, every metric that decides, each of its groups.

    A skill of 0 is the protocol's floor, 1 its reference. Groups have a mean only.
    """
    attribute = layout.first_attribute(findings) or ""
    rows = (
        [
            model.model, entry.explainer, entry.role, entry.eligible, entry.rank, entry.rank_low, entry.rank_high,
            entry.dominated_by, *row,
        ]
        for model in findings.models
        for entry in layout.entries_by_rank(model)
        for row in _skill_rows(entry, attribute)
    )  # fmt: skip
    return _to_csv(SKILL_COLUMNS, rows)


def _skill_rows(entry: ExplainerEntry, attribute: str) -> Iterator[list[Any]]:
    if entry.overall is not None:
        yield ["overall", "overall", "", "", "", *_estimate_cells(entry.overall)]
    for name, estimate in entry.categories.items():
        yield ["category", name, name, "", "", *_estimate_cells(estimate)]
    for skill in entry.skills:
        yield ["metric", skill.metric, skill.category, "", "", *_estimate_cells(skill.skill)]
        for group, mean in skill.groups.items():
            yield ["group", skill.metric, skill.category, attribute, group, None, mean, None, None]


def gaps_csv(findings: Findings) -> str:
    """One line per model, explainer, metric and attribute: the gap, its null, all measures and its statement."""
    rows = (
        [model.model, entry.explainer, entry.role, summary.metric, summary.metric in deciding, *_gap_row(gap)]
        for model in findings.models
        for deciding in [layout.deciding_metrics(model, findings.protocol.primary)]
        for entry, summary, gap in _iter_gaps(layout.entries_by_rank(model))
    )
    return _to_csv(GAP_COLUMNS, rows)


def _iter_gaps(entries: Iterable[ExplainerEntry]) -> Iterator[tuple[ExplainerEntry, MetricSummary, Gap]]:
    for entry in entries:
        for summary in entry.metrics:
            for gap in summary.gaps:
                yield entry, summary, gap


def _gap_row(gap: Gap) -> list[Any]:
    measures = [gap.range, gap.shortfall, gap.mean_pairwise, gap.corrected_sd, gap.worst_group_mean]
    outcome = [
        gap.null_mean,
        gap.excess,
        gap.p,
        gap.ratio,
        gap.n_sufficient,
        gap.significant,
        gap.equivalent,
        wording.gap_sentence(gap.statement, gap.attribute),
    ]
    return [gap.attribute, gap.best_group, gap.worst_group, *_flatten_estimates(measures), *outcome]


def pairs_csv(findings: Findings) -> str:
    """One line per model, explainer, metric that decides, attribute and two groups: raw, matched and adjusted gap."""
    rows = (
        [model.model, entry.explainer, entry.role, summary.metric, gap.attribute, *_pair_row(pair)]
        for model in findings.models
        for entry, summary, gap in _iter_gaps(layout.entries_by_rank(model))
        for pair in gap.pairs
    )
    return _to_csv(PAIR_COLUMNS, rows)


def _pair_row(pair: PairGap) -> list[Any]:
    measures = _flatten_estimates([pair.raw, pair.matched, pair.adjusted])
    return [pair.first, pair.second, *measures, pair.matched_share, pair.p, pair.equivalent]


def _flatten_estimates(estimates: Iterable[Estimate | None]) -> Iterator[Any]:
    for estimate in estimates:
        yield from (None,) * 4 if estimate is None else (estimate.mean, estimate.low, estimate.high, estimate.n)


def _estimate_cells(estimate: Estimate) -> list[Any]:
    return [estimate.n, estimate.mean, estimate.low, estimate.high]


def _to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([spreadsheet_cell(value) for value in row] for row in rows)
    return text.getvalue()
