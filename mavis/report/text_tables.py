"""Tables of plain text, not yet escaped: what the page, Markdown and LaTeX show, cell by cell."""

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
from mavis.report import layout, numbers


@dataclass(frozen=True)
class Grid:
    """A table of plain text, not yet escaped.

    Attributes:
        caption: what it shows.
        header: one text per column; the first column holds names.
        rows: as many texts per row as the header has.
        words: columns of words, not numbers, beside the first.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset()


def skills(model: ModelFindings) -> Grid | None:
    """Overall score and skill per category, with rank and intervals; None where nothing has a skill."""
    categories = layout.skill_categories(model)
    if not categories:
        return None
    weights = model.recommendation.weights
    heads = [f"{layout.spelled(c)} ({numbers.number(weights[c])})" if c in weights else layout.spelled(c)
             for c in categories]  # fmt: skip
    return Grid(
        f"{model.model}: skill, 0 the protocol's zero, 1 its reference; weights in brackets",
        ("explainer", "rank", "gates", "overall", *heads, "dominated by"),
        tuple(
            (
                *_name_cells(model, entry),
                _maybe(entry.overall),
                *(_maybe(entry.categories.get(name)) for name in categories),
                entry.dominated_by or "",
            )
            for entry in layout.ordered(model)
        ),
    )


def skill_parts(findings: Findings, model: ModelFindings) -> Grid | None:
    """The skill of every metric that decides, over all images and per group of the first attribute."""
    attribute = layout.first_attribute(findings)
    groups = tuple(findings.data.groups[attribute]) if attribute else ()
    rows = tuple(
        (
            layout.name(entry),
            skill.metric,
            layout.spelled(skill.category),
            numbers.with_interval(skill.skill),
            str(skill.skill.n),
            *(numbers.number(skill.groups.get(group)) for group in groups),
        )
        for entry in layout.ordered(model)
        for skill in entry.skills
    )
    if not rows:
        return None
    head = ("explainer", "metric", "category", "skill", "images", *(layout.spoken(group) for group in groups))
    return Grid(f"{model.model}: skill of the metrics that decide", head, rows, frozenset({1, 2}))


def cross_checks(model: ModelFindings) -> Grid | None:
    """How each method fares under other ways to sum up, and how often it leads; None where nothing was computed."""
    checks, p_best = model.recommendation.cross_checks, model.recommendation.p_best
    if checks is None or not (checks.borda or checks.mean_rank or checks.smaa):
        return None
    names = [entry.explainer for entry in layout.ordered(model)]
    shown = [n for n in names if any(n in part for part in (checks.borda, checks.mean_rank, checks.smaa))]
    parts = (p_best, checks.borda, checks.mean_rank, checks.smaa)
    return Grid(
        f"{model.model}: other ways to sum up, beside the decision and no part of it",
        ("method", "leads in draws", "Borda ↑", "mean rank ↓", "leads under random weights"),
        tuple((name, *(numbers.number(part.get(name)) for part in parts)) for name in shown),
    )


def leaders(model: ModelFindings) -> Grid | None:
    """Per imputer the methods that cannot be told from its leader."""
    checks = model.recommendation.cross_checks
    if checks is None or not checks.leaders:
        return None
    return Grid(
        f"{model.model}: not told from the leader, by what removed cells show",
        ("metric", "methods"),
        tuple((metric, ", ".join(names) or numbers.DASH) for metric, names in checks.leaders.items()),
        frozenset({1}),
    )


def gaps(findings: Findings, model: ModelFindings, metric: str) -> Grid | None:
    """Every measure of the gaps of one metric, per explainer and attribute, beside the null; None without gaps."""
    del findings
    rows = tuple(
        (layout.name(entry), layout.spoken(gap.attribute), *_measures(gap))
        for entry in layout.ordered(model)
        for gap in _gaps_of(entry, metric)
    )
    if not rows:
        return None
    head = (
        "explainer", "groups", "range", "labels shuffled", "excess", "p", "ratio", "shortfall of the worst",
        "mean pairwise", "corrected SD", "rule", "what may be said",
    )  # fmt: skip
    return Grid(f"{model.model}: gaps of {metric} between labelled groups", head, rows, frozenset({1, 10, 11}))


def _gaps_of(entry: ExplainerEntry, metric: str) -> tuple[Gap, ...]:
    one = layout.summary(entry, metric)
    return () if one is None else one.gaps


def _measures(gap: Gap) -> tuple[str, ...]:
    return (
        numbers.with_interval(gap.range),
        *(numbers.number(value) for value in (gap.null_mean, gap.excess, gap.p, gap.ratio)),
        *(_maybe(value) for value in (gap.shortfall, gap.mean_pairwise, gap.corrected_sd)),
        layout.verdict(gap),
        gap.statement,
    )


def pairs(model: ModelFindings, metric: str, attribute: str, entries: Sequence[ExplainerEntry]) -> Grid | None:
    """Every two groups of these explainers: raw, matched and adjusted gap; None where none was asked."""
    rows = tuple(
        (
            layout.name(entry),
            f"{layout.spoken(pair.first)} − {layout.spoken(pair.second)}",
            *(numbers.with_interval(value) for value in (pair.raw, pair.matched, pair.adjusted)),
            numbers.number(pair.retained),
            numbers.number(pair.p),
            "yes" if pair.equivalent else "no",
        )
        for entry in entries
        for gap in _gaps_of(entry, metric)
        if gap.attribute == attribute
        for pair in gap.pairs
    )
    if not rows:
        return None
    head = ("explainer", "labelled", "raw", "matched", "adjusted", "retained", "p", "equivalent")
    what = f"{model.model}: {metric}, every two groups of {layout.spoken(attribute)}, first minus second"
    return Grid(what, head, rows, frozenset({1}))


def reliance(model: ModelFindings) -> Grid | None:
    """How far the target's logit moves when a part is drawn anew; None where it was not measured."""
    found = sorted(model.validity.reliance, key=lambda one: -(one.change.mean or 0.0))
    rows = tuple((o.part, numbers.with_interval(o.change), str(o.change.n), "yes" if o.used else "no") for o in found)
    head = ("part", "change of the logit", "images", "used")
    return Grid(f"{model.model}: parts that the model uses", head, rows) if rows else None


def recall(model: ModelFindings) -> Grid | None:
    """Recall per class; None where it was not computed."""
    rows = tuple(
        (layout.spoken(one.group), str(one.correct), str(one.estimate.n), numbers.with_interval(one.estimate))
        for one in model.validity.recall
    )
    head = ("class", "correct", "n", "recall")
    return Grid(f"{model.model}: recall per class, with Wilson interval", head, rows) if rows else None


def across(findings: Findings) -> Grid | None:
    """Mean ranks over the models as blocks; None with fewer models than needed."""
    found = findings.across_models
    if found is None:
        return None
    best = sorted(found.mean_ranks.items(), key=lambda item: item[1])
    rows = tuple((name, numbers.number(rank)) for name, rank in best)
    return Grid(f"Mean ranks over {found.blocks} models", ("method", "mean rank"), rows)


def leaderboards(model: ModelFindings) -> list[Grid]:
    """One grid per category: explainers by metrics, with intervals."""
    return [
        Grid(
            f"{model.model}: {category}",
            ("explainer", "rank", "gates", *(f"{column.metric} {layout.arrow(column)}" for column in columns)),
            tuple((*_name_cells(model, entry), *_scores(entry, columns)) for entry in layout.ordered(model)),
        )
        for category, columns in layout.categories(model).items()
    ]


def _name_cells(model: ModelFindings, entry: ExplainerEntry) -> tuple[str, str, str]:
    star = "★ " if entry.explainer in model.recommendation.set else ""
    return f"{star}{layout.name(entry)}", layout.rank(entry), layout.stops(entry)


def _maybe(estimate: Estimate | None) -> str:
    return numbers.DASH if estimate is None else numbers.with_interval(estimate)


def _scores(entry: ExplainerEntry, columns: Sequence[layout.Column]) -> Iterator[str]:
    for column in columns:
        one = layout.summary(entry, column.metric)
        yield numbers.DASH if one is None else numbers.with_interval(one.estimate)


def by_group(findings: Findings, model: ModelFindings) -> Grid | None:
    """The primary metric per group of the first attribute, and its gap; None without groups."""
    attribute = layout.first_attribute(findings)
    if attribute is None:
        return None
    sizes = findings.data.groups[attribute]
    primary = findings.protocol.primary
    return Grid(
        f"{model.model}: {primary} by {layout.spoken(attribute)}, as labelled",
        (
            "explainer",
            *(f"{layout.spoken(group)} (n={n})" for group, n in sizes.items()),
            "gap",
            "null",
            "rule",
            "worst",
        ),
        tuple(
            (
                _name_cells(model, entry)[0],
                *(_group_cell(findings, layout.summary(entry, primary), attribute, group) for group in sizes),
                *_gap_cells(layout.summary(entry, primary), attribute),
            )
            for entry in layout.ordered(model)
        ),
    )


def reliability(findings: Findings, model: ModelFindings) -> Grid | None:
    """Share of predictions kept without random cells, over all images and from lowest to highest group."""
    if not model.reliability:
        return None
    attribute = layout.first_attribute(findings)
    return Grid(
        f"{model.model}: how often the prediction stays when random cells are removed",
        ("removed cells show", "share removed", "all images", "lowest to highest group", "reliable", "uneven over"),
        tuple(
            (
                one.imputer,
                f"{one.fraction:.0%}",
                numbers.with_interval(one.kept),
                _spread(one, attribute, findings.protocol.min_report),
                {True: "yes", False: "no", None: ""}[one.reliable],
                ", ".join(layout.spoken(name) for name in one.uneven),
            )
            for one in model.reliability
        ),
    )


def _spread(one: Reliability, attribute: str | None, least: int) -> str:
    groups = [g for g in one.groups if g.attribute == attribute and g.estimate.n >= least]
    shares = sorted((g.estimate.mean, layout.spoken(g.group)) for g in groups if g.estimate.mean is not None)
    if not shares:
        return numbers.DASH
    (low, first), (high, last) = shares[0], shares[-1]
    return f"{numbers.number(low)} ({first}) to {numbers.number(high)} ({last})"


def agreement(findings: Findings, model: ModelFindings) -> Grid | None:
    """How far every two methods agree."""
    del findings
    if not model.agreement:
        return None
    measures = tuple(model.agreement[0].measures)
    return Grid(
        f"{model.model}: how far methods agree (macro means; agreement is no quality)",
        ("methods", *measures, "images"),
        tuple(
            (f"{one.first}, {one.second}", *(numbers.number(one.measures[m]) for m in measures), str(one.n))
            for one in sorted(model.agreement, key=lambda one: -one.measures["spearman"])
        ),
    )


def twins(findings: Findings) -> Grid | None:
    """How well each explainer tells a model that leans on a cue from one that does not."""
    if not findings.twins:
        return None
    return Grid(
        "Telling the model that leans on the cue from the other, by the mass on the cue "
        "(area under the ROC curve; .5 is chance)",
        ("explainer", "leaning model", "other model", "area", "images"),
        tuple(
            (one.explainer, one.leaning, one.other, numbers.with_interval(one.auroc), str(one.auroc.n))
            for one in sorted(findings.twins, key=lambda one: (one.leaning, one.other, -(one.auroc.mean or 0)))
        ),
    )


def _group_cell(findings: Findings, one: MetricSummary | None, attribute: str, group: str) -> str:
    value = layout.group_value(one, attribute, group)
    return group_text(value, numbers.with_interval, minimum=findings.protocol.min_report)


def group_text(value: GroupValue | None, write: Callable[[Estimate], str], *, minimum: int) -> str:
    """A group's mean as ``write`` writes it, ``n<30`` where it is suppressed, a dash where there is none."""
    if value is None:
        return numbers.DASH
    return f"n<{minimum}" if value.suppressed else write(value.estimate)


def _gap_cells(one: MetricSummary | None, attribute: str) -> tuple[str, ...]:
    gap = layout.gap(one, attribute)
    if gap is None:
        return (numbers.DASH,) * 4
    worst = layout.spoken(gap.worst_group)
    return numbers.with_interval(gap.range), numbers.number(gap.null_mean), layout.verdict(gap), worst


def grids(findings: Findings, model: ModelFindings) -> list[Grid]:
    """Every table of one model that a printed report has; gaps of every metric and pairs are in the CSV files."""
    primary = findings.protocol.primary
    validity = [recall(model), reliance(model), reliability(findings, model)]
    decision = [skills(model), cross_checks(model), leaders(model)]
    groups = [by_group(findings, model), gaps(findings, model, primary)]
    found = [*validity, *decision, *leaderboards(model), *groups, agreement(findings, model)]
    return [grid for grid in found if grid is not None]
