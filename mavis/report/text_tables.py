"""Tables of plain text, not yet escaped, for the page, Markdown and LaTeX."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mavis.analysis.findings import (
    Estimate,
    ExplainerEntry,
    Findings,
    Gap,
    GroupValue,
    MetricSummary,
    ModelFindings,
    Reliability,
)
from mavis.report import layout, numbers, wording


@dataclass(frozen=True)
class TextTable:
    """A table of plain text, not yet escaped.

    Attributes:
        caption: what it shows.
        header: one text per column; the first column holds names.
        rows: as many texts per row as the header has.
        text_columns: columns of text, not numbers, beside the first.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: frozenset[int] = frozenset()


def skill_table(model: ModelFindings) -> TextTable | None:
    """Overall score and skill per category, with rank and intervals; None where nothing has a skill."""
    categories = layout.skill_categories(model)
    if not categories:
        return None
    weights = model.recommendation.weights
    heads = [
        f"{layout.category_label(c)} ({numbers.format_number(weights[c])})"
        if c in weights
        else layout.category_label(c)
        for c in categories
    ]
    scale = wording.scale_text(model.recommendation)
    return TextTable(
        f"{model.model}: overall score and categories ({scale}); weights in brackets",
        ("explainer", "rank", "gates", "overall", *heads, "dominated by"),
        tuple(
            (
                *_name_cells(model, entry),
                _optional_estimate(entry.overall),
                *(_optional_estimate(entry.categories.get(name)) for name in categories),
                entry.dominated_by or "",
            )
            for entry in layout.entries_by_rank(model)
        ),
    )


def metric_skill_table(findings: Findings, model: ModelFindings) -> TextTable | None:
    """The skill of every metric that decides, over all images and per group of the first attribute."""
    attribute = layout.first_attribute(findings)
    groups = tuple(findings.data.groups[attribute]) if attribute else ()
    rows = tuple(
        (
            layout.entry_label(entry),
            skill.metric,
            layout.category_label(skill.category),
            numbers.format_estimate(skill.skill),
            str(skill.skill.n),
            *(numbers.format_number(skill.groups.get(group)) for group in groups),
        )
        for entry in layout.entries_by_rank(model)
        for skill in entry.skills
    )
    if not rows:
        return None
    head = (
        "explainer",
        "metric",
        "category",
        "normalised score",
        "images",
        *(layout.group_name(attribute or "", group) for group in groups),
    )
    return TextTable(f"{model.model}: normalised scores of the metrics that decide", head, rows, frozenset({1, 2}))


def cross_check_table(model: ModelFindings) -> TextTable | None:
    """Scores under alternative aggregations, and how often each method leads; None where nothing was computed."""
    checks, p_best = model.recommendation.cross_checks, model.recommendation.prob_best
    if checks is None or not (checks.borda or checks.mean_rank or checks.smaa):
        return None
    names = [entry.explainer for entry in layout.entries_by_rank(model)]
    shown = [n for n in names if any(n in part for part in (checks.borda, checks.mean_rank, checks.smaa))]
    parts = (p_best, checks.borda, checks.mean_rank, checks.smaa)
    return TextTable(
        f"{model.model}: alternative aggregations, beside the decision and no part of it",
        ("method", "leads in draws", "Borda ↑", "mean rank ↓", "leads under random weights"),
        tuple((name, *(numbers.format_number(part.get(name)) for part in parts)) for name in shown),
    )


def imputer_leader_table(model: ModelFindings) -> TextTable | None:
    """Per imputer the methods that are tied with its leader."""
    checks = model.recommendation.cross_checks
    if checks is None or not checks.leaders:
        return None
    return TextTable(
        f"{model.model}: statistically tied with the leader, by imputer",
        ("metric", "methods"),
        tuple((metric, ", ".join(names) or numbers.DASH) for metric, names in checks.leaders.items()),
        frozenset({1}),
    )


def gap_table(findings: Findings, model: ModelFindings, metric: str) -> TextTable | None:
    """Every measure of the gaps of one metric, per explainer and attribute, beside the null; None without gaps."""
    del findings
    rows = tuple(
        (layout.entry_label(entry), layout.display_name(gap.attribute), *_gap_measure_cells(gap))
        for entry in layout.entries_by_rank(model)
        for gap in _metric_gaps(entry, metric)
    )
    if not rows:
        return None
    head = (
        "explainer", "groups", "range", "labels shuffled", "excess", "p", "ratio", "shortfall of the worst",
        "mean pairwise", "corrected SD", "rule", "what may be said",
    )  # fmt: skip
    return TextTable(f"{model.model}: gaps of {metric} between labelled groups", head, rows, frozenset({1, 10, 11}))


def _metric_gaps(entry: ExplainerEntry, metric: str) -> tuple[Gap, ...]:
    summary = layout.find_summary(entry, metric)
    return () if summary is None else summary.gaps


def _gap_measure_cells(gap: Gap) -> tuple[str, ...]:
    return (
        numbers.format_estimate(gap.range),
        *(numbers.format_number(value) for value in (gap.null_mean, gap.excess, gap.p, gap.ratio)),
        *(_optional_estimate(value) for value in (gap.shortfall, gap.mean_pairwise, gap.corrected_sd)),
        wording.gap_verdict(gap),
        wording.gap_sentence(gap.statement, gap.attribute),
    )


def pair_table(
    model: ModelFindings, metric: str, attribute: str, entries: Sequence[ExplainerEntry]
) -> TextTable | None:
    """Every two groups of these explainers: raw, matched and adjusted gap; None where none was asked."""
    rows = tuple(
        (
            layout.entry_label(entry),
            f"{layout.group_name(attribute, pair.first)} − {layout.group_name(attribute, pair.second)}",
            *(numbers.format_estimate(value) for value in (pair.raw, pair.matched, pair.adjusted)),
            numbers.format_number(pair.matched_share),
            numbers.format_number(pair.p),
            "yes" if pair.equivalent else "no",
        )
        for entry in entries
        for gap in _metric_gaps(entry, metric)
        if gap.attribute == attribute
        for pair in gap.pairs
    )
    if not rows:
        return None
    head = ("explainer", "labelled", "raw", "matched", "adjusted", "matched share", "p", "equivalent")
    caption = f"{model.model}: {metric}, every two groups of {layout.display_name(attribute)}, first minus second"
    return TextTable(caption, head, rows, frozenset({1}))


def reliance_table(model: ModelFindings) -> TextTable | None:
    """Change of the target's logit when a part is drawn anew; None where it was not measured."""
    parts = sorted(model.validity.reliance, key=lambda row: -(row.change.mean or 0.0))
    rows = tuple(
        (row.part, numbers.format_estimate(row.change), str(row.change.n), "yes" if row.used else "no") for row in parts
    )
    head = ("part", "change of the logit", "images", "relied on")
    return TextTable(f"{model.model}: parts that the model relies on", head, rows) if rows else None


def recall_table(model: ModelFindings) -> TextTable | None:
    """Recall per class; None where it was not computed."""
    rows = tuple(
        (row.group, str(row.correct), str(row.estimate.n), numbers.format_estimate(row.estimate))
        for row in model.validity.recall
    )
    head = ("class", "correct", "n", "recall")
    return TextTable(f"{model.model}: recall per class, with Wilson interval", head, rows) if rows else None


def mean_rank_table(findings: Findings) -> TextTable | None:
    """Mean ranks over the models as blocks; None with fewer models than needed."""
    across_models = findings.across_models
    if across_models is None:
        return None
    best = sorted(across_models.mean_ranks.items(), key=lambda item: item[1])
    rows = tuple((name, numbers.format_number(rank)) for name, rank in best)
    return TextTable(f"Mean ranks over {across_models.blocks} models", ("method", "mean rank"), rows)


def leaderboard_tables(model: ModelFindings) -> list[TextTable]:
    """One grid per category: explainers by metrics, with intervals."""
    return [
        TextTable(
            f"{model.model}: {category}",
            (
                "explainer",
                "rank",
                "gates",
                *(f"{column.metric} {layout.direction_arrow(column)}" for column in columns),
            ),
            tuple(
                (*_name_cells(model, entry), *_score_cells(entry, columns)) for entry in layout.entries_by_rank(model)
            ),
        )
        for category, columns in layout.columns_by_category(model).items()
    ]


def _name_cells(model: ModelFindings, entry: ExplainerEntry) -> tuple[str, str, str]:
    star = "★ " if entry.explainer in model.recommendation.set else ""
    return f"{star}{layout.entry_label(entry)}", layout.rank_text(entry), layout.gate_marks(entry)


def _optional_estimate(estimate: Estimate | None) -> str:
    return numbers.DASH if estimate is None else numbers.format_estimate(estimate)


def _score_cells(entry: ExplainerEntry, columns: Sequence[layout.MetricColumn]) -> Iterator[str]:
    for column in columns:
        summary = layout.find_summary(entry, column.metric)
        yield numbers.DASH if summary is None else numbers.format_estimate(summary.estimate)


def group_table(findings: Findings, model: ModelFindings) -> TextTable | None:
    """The primary metric per group of the first attribute, and its gap; None without groups."""
    attribute = layout.first_attribute(findings)
    if attribute is None:
        return None
    sizes = findings.data.groups[attribute]
    primary = findings.protocol.primary
    return TextTable(
        f"{model.model}: {primary} by {layout.display_name(attribute)}, as labelled",
        (
            "explainer",
            *(f"{layout.group_name(attribute, group)} (n={n})" for group, n in sizes.items()),
            "gap",
            "null",
            "rule",
            "worst",
        ),
        tuple(
            (
                _name_cells(model, entry)[0],
                *(_group_cell(findings, layout.find_summary(entry, primary), attribute, group) for group in sizes),
                *_gap_cells(layout.find_summary(entry, primary), attribute),
            )
            for entry in layout.entries_by_rank(model)
        ),
    )


def reliability_table(findings: Findings, model: ModelFindings) -> TextTable | None:
    """Share of predictions kept without random cells, over all images and from lowest to highest group."""
    if not model.reliability:
        return None
    attribute = layout.first_attribute(findings)
    return TextTable(
        f"{model.model}: share of predictions kept when random cells are removed",
        ("imputer", "share removed", "all images", "lowest to highest group", "reliable", "uneven over"),
        tuple(
            (
                row.imputer,
                f"{row.fraction:.0%}",
                numbers.format_estimate(row.kept),
                _group_range(row, attribute, findings.protocol.min_report),
                {True: "yes", False: "no", None: ""}[row.reliable],
                ", ".join(layout.display_name(name) for name in row.uneven),
            )
            for row in model.reliability
        ),
    )


def _group_range(reliability: Reliability, attribute: str | None, min_images: int) -> str:
    groups = [g for g in reliability.groups if g.attribute == attribute and g.estimate.n >= min_images]
    shares = sorted((g.estimate.mean, g.group) for g in groups if g.estimate.mean is not None)
    if not shares:
        return numbers.DASH
    (low, first), (high, last) = shares[0], shares[-1]
    return f"{numbers.format_number(low)} ({first}) to {numbers.format_number(high)} ({last})"


def agreement_table(findings: Findings, model: ModelFindings) -> TextTable | None:
    """Agreement of every two methods; None where it was not measured."""
    del findings
    if not model.agreement:
        return None
    measures = tuple(model.agreement[0].measures)
    return TextTable(
        f"{model.model}: agreement of methods (macro means; agreement is no quality)",
        ("methods", *measures, "images"),
        tuple(
            (f"{row.first}, {row.second}", *(numbers.format_number(row.measures[m]) for m in measures), str(row.n))
            for row in sorted(model.agreement, key=lambda row: -row.measures["spearman"])
        ),
    )


def cue_detection_table(findings: Findings) -> TextTable | None:
    """Detection of the model that relies on a cue, per explainer; None without two models and a cue."""
    if not findings.twins:
        return None
    return TextTable(
        "Mass on the cue, of the model that relies on it more against the other, where the cue speaks for the "
        "explained class (area under the ROC curve, and share of images with more; .5 is chance)",
        ("explainer", "relies more", "other model", "area", "share", "images"),
        tuple(
            (
                *(row.explainer, row.leaning, row.other, numbers.format_estimate(row.auroc)),
                *(numbers.format_estimate(row.higher), str(row.auroc.n)),
            )
            for row in sorted(findings.twins, key=lambda row: (row.leaning, row.other, -(row.auroc.mean or 0)))
        ),
    )


def _group_cell(findings: Findings, summary: MetricSummary | None, attribute: str, group: str) -> str:
    value = layout.find_group_value(summary, attribute, group)
    return group_value_text(value, numbers.format_estimate, min_images=findings.protocol.min_report)


def group_value_text(value: GroupValue | None, to_text: Callable[[Estimate], str], *, min_images: int) -> str:
    """A group's mean as ``to_text`` writes it, ``n<30`` where it is suppressed, a dash where there is none."""
    if value is None:
        return numbers.DASH
    return f"n<{min_images}" if value.suppressed else to_text(value.estimate)


def _gap_cells(summary: MetricSummary | None, attribute: str) -> tuple[str, ...]:
    gap = layout.find_gap(summary, attribute)
    if gap is None:
        return (numbers.DASH,) * 4
    worst = layout.group_name(attribute, gap.worst_group)
    return numbers.format_estimate(gap.range), numbers.format_number(gap.null_mean), wording.gap_verdict(gap), worst


def model_tables(findings: Findings, model: ModelFindings) -> list[TextTable]:
    """Every table of one model that a printed report has; gaps of every metric and pairs are in the CSV files."""
    primary = findings.protocol.primary
    validity = [recall_table(model), reliance_table(model), reliability_table(findings, model)]
    decision = [skill_table(model), cross_check_table(model), imputer_leader_table(model)]
    groups = [group_table(findings, model), gap_table(findings, model, primary)]
    tables = [*validity, *decision, *leaderboard_tables(model), *groups, agreement_table(findings, model)]
    return [grid for grid in tables if grid is not None]
