"""What the page plots of the findings: accuracy, ranking, scores by group."""

from markupsafe import Markup

from mavis.analysis.findings import Estimate, ExplainerEntry, Findings, ModelFindings
from mavis.report import layout, numbers, wording
from mavis.report.html.plots import Dot, Panel, plot_dots


def accuracy_figure(findings: Findings, attribute: str) -> Markup:
    """Accuracy per group, a panel per model; Wilson intervals."""
    panels = [
        Panel(
            model.model,
            tuple(
                Dot(layout.display_name(one.group), one.estimate, worst=one.group in model.validity.weak_groups)
                for one in model.validity.groups
                if one.attribute == attribute
            ),
            chance=model.validity.chance,
        )
        for model in findings.models
    ]
    told = f"Accuracy of each model by {layout.display_name(attribute)}, with Wilson intervals; numbers in the table"
    return plot_dots(panels, description=told, n_columns=min(3, len(panels)), x_label="accuracy", x_limits=(0.0, 1.02))


def ranking_figure(findings: Findings, model: ModelFindings, attribute: str | None) -> Markup:
    """The overall score where there is one, the primary metric, and its gap beside the gap under shuffled labels."""
    primary = findings.protocol.primary
    rows = [(entry, layout.find_summary(entry, primary)) for entry in layout.entries_by_rank(model)]
    shown = [(entry, one) for entry, one in rows if one is not None and one.estimate.mean is not None]
    chosen = model.recommendation.set
    names = [f"{'★ ' if entry.explainer in chosen else ''}{layout.entry_label(entry)}" for entry, _ in shown]
    scores = tuple(Dot(name, one.estimate) for name, (_, one) in zip(names, shown, strict=True))
    chance = next((one.chance for _, one in shown), None)
    blank = Estimate(mean=None, low=None, high=None, n=0)
    overall = tuple(Dot(name, entry.overall or blank) for name, (entry, _) in zip(names, shown, strict=True))
    skilled = [Panel("overall score", overall, chance=0.0)] if layout.skill_categories(model) else []
    panels = [*skilled, Panel(f"{primary}, macro mean", scores, chance=chance)]
    gaps = [layout.find_gap(one, attribute) if attribute else None for _, one in shown]
    if any(gaps):
        panels.append(
            Panel(
                f"gap by {layout.display_name(attribute or '')}; | = labels shuffled",
                tuple(
                    Dot(
                        "",
                        blank if gap is None else gap.range,
                        note=numbers.DASH,
                        mark=None if gap is None else gap.null_mean,
                    )
                    for gap in gaps
                ),
                chance=0.0,
            )
        )
    first = "Overall score and " if skilled else ""
    told = f"{first}{primary} of every explainer on {model.model}, and its gap between groups; numbers in the tables"
    return plot_dots(panels, description=told, n_columns=len(panels), share_x=False)


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
    told = (
        f"{findings.protocol.primary} by {layout.display_name(attribute)} for each explainer on {model.model}; "
        "numbers in the table"
    )
    return plot_dots(panels, description=told, n_columns=min(3, len(panels)), x_label=findings.protocol.primary)


def _group_panel(findings: Findings, model: ModelFindings, entry: ExplainerEntry, attribute: str) -> Panel:
    one = layout.find_summary(entry, findings.protocol.primary)
    gap = layout.find_gap(one, attribute)
    minimum = findings.protocol.min_report
    lines = []
    for group in findings.data.groups[attribute]:
        value = layout.find_group_value(one, attribute, group)
        if value is None:
            continue
        note = f"n<{minimum}" if value.suppressed else numbers.DASH
        worst = gap is not None and gap.worst_group == group
        hollow = value.estimate.n < findings.protocol.min_claim
        lines.append(Dot(layout.display_name(group), value.estimate, note=note, worst=worst, hollow=hollow))
    star = "★ " if entry.explainer in model.recommendation.set else ""
    mean = None if one is None else one.estimate.mean
    return Panel(
        f"{star}{layout.entry_label(entry)}", tuple(lines), chance=None if one is None else one.chance, mean=mean
    )
