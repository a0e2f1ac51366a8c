"""Figures of the page: accuracy, ranking, scores by group."""

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from mavis.analysis.findings import Estimate, ExplainerEntry, Findings, Gap, ModelFindings
from mavis.report import layout, numbers, wording
from mavis.report.html.plots import Dot, Panel, plot_dots

NO_ESTIMATE: Final = Estimate(mean=None, low=None, high=None, n=0)


def accuracy_figure(findings: Findings, attribute: str) -> Markup:
    """Accuracy per group, a panel per model; Wilson intervals."""
    panels = [
        Panel(
            model.model,
            tuple(
                Dot(row.group, row.estimate, worst=row.weak)
                for row in model.validity.groups
                if row.attribute == attribute
            ),
            chance=model.validity.chance,
        )
        for model in findings.models
    ]
    description = (
        f"Accuracy of each model by {layout.display_name(attribute)}, with Wilson intervals; numbers in the table"
    )
    return plot_dots(
        panels, description=description, n_columns=min(3, len(panels)), x_label="accuracy", x_limits=(0.0, 1.02)
    )


def ranking_figure(findings: Findings, model: ModelFindings, attribute: str | None) -> Markup:
    """The overall score where there is one, the primary metric, and its gap beside the gap under shuffled labels."""
    primary = findings.protocol.primary
    rows = [(entry, layout.find_summary(entry, primary)) for entry in layout.entries_by_rank(model)]
    shown = [(entry, summary) for entry, summary in rows if summary is not None and summary.estimate.mean is not None]
    chosen = model.recommendation.set
    names = [f"{'★ ' if entry.explainer in chosen else ''}{layout.entry_label(entry)}" for entry, _ in shown]
    scores = tuple(Dot(name, summary.estimate) for name, (_, summary) in zip(names, shown, strict=True))
    chance = next((summary.chance for _, summary in shown), None)
    overall = tuple(Dot(name, entry.overall or NO_ESTIMATE) for name, (entry, _) in zip(names, shown, strict=True))
    skilled = [Panel("overall score", overall, chance=0.0)] if layout.skill_categories(model) else []
    panels = [*skilled, Panel(f"{primary}, macro mean", scores, chance=chance)]
    gaps = [layout.find_gap(summary, attribute) if attribute else None for _, summary in shown]
    if any(gaps):
        panels.append(_gap_panel(gaps, attribute or ""))
    first = "Overall score and " if skilled else ""
    description = (
        f"{first}{primary} of every explainer on {model.model}, and its gap between groups; numbers in the tables"
    )
    return plot_dots(panels, description=description, n_columns=len(panels), share_x=False)


def _gap_panel(gaps: Sequence[Gap | None], attribute: str) -> Panel:
    """Gaps with the mean gap under shuffled labels as a mark; a dash where an explainer has no gap."""
    dots = (
        Dot("", NO_ESTIMATE, note=numbers.DASH) if gap is None else Dot("", gap.range, mark=gap.null_mean)
        for gap in gaps
    )
    return Panel(f"gap by {layout.display_name(attribute)}; | = labels shuffled", tuple(dots), chance=0.0)


def group_figure(findings: Findings, model: ModelFindings, attribute: str) -> Markup:
    """The primary metric per group, a panel per explainer; where they are many, for those that lead and controls."""
    shown = (
        [*layout.leading_methods(model), *layout.non_methods(model)]
        if layout.has_many_methods(model)
        else layout.entries_by_rank(model)
    )
    panels = [
        _group_panel(findings, model, entry, attribute)
        for entry in shown
        if not wording.missing_reason(entry, findings.protocol.primary)
    ]
    description = (
        f"{findings.protocol.primary} by {layout.display_name(attribute)} for each explainer on {model.model}; "
        "numbers in the table"
    )
    return plot_dots(panels, description=description, n_columns=min(3, len(panels)), x_label=findings.protocol.primary)


def _group_panel(findings: Findings, model: ModelFindings, entry: ExplainerEntry, attribute: str) -> Panel:
    summary = layout.find_summary(entry, findings.protocol.primary)
    gap = layout.find_gap(summary, attribute)
    minimum = findings.protocol.min_report
    lines = []
    for group in findings.data.groups[attribute]:
        value = layout.find_group_value(summary, attribute, group)
        if value is None:
            continue
        note = f"n<{minimum}" if value.suppressed else numbers.DASH
        worst = gap is not None and gap.worst_group == group
        hollow = value.estimate.n < findings.protocol.min_claim
        lines.append(Dot(layout.group_name(attribute, group), value.estimate, note=note, worst=worst, hollow=hollow))
    star = "★ " if entry.explainer in model.recommendation.set else ""
    mean = None if summary is None else summary.estimate.mean
    return Panel(
        f"{star}{layout.entry_label(entry)}",
        tuple(lines),
        chance=None if summary is None else summary.chance,
        mean=mean,
    )
