"""What the summary prints by labelled group: scores, gaps in sentences, and the models side by side."""

from collections.abc import Sequence

from mavis.analysis.findings import Estimate, ExplainerEntry, Findings, Gap, MetricSummary, ModelFindings
from mavis.report import layout, numbers, text_tables
from mavis.report.console.terminal import Column, Page, Rows


def by_group(page: Page, findings: Findings, *, everything: bool) -> None:
    """The primary metric of the leading methods by the first attribute, and what may be said of their gaps.

    Args:
        page: where to.
        findings: what the run found.
        everything: every explainer, not only those that lead and a control.
    """
    attribute = layout.first_attribute(findings)
    if attribute is None:
        page.say("The data name no groups, so no difference between groups can be shown.")
        return
    page.heading(f"By {layout.spoken(attribute)}, as labelled")
    if len(findings.models) > 1:
        _accuracies(page, findings, attribute)
    for model in findings.models:
        entries = layout.ordered(model) if everything else [*layout.leading(model), *layout.yardstick(model)]
        _scores(page, findings, model, entries)
        for line in layout.statements(entries, findings.protocol.primary, attribute):
            page.say(line, indent=2)
    if len(findings.models) > 1:
        _side_by_side(page, findings, attribute, everything=everything)


def _accuracies(page: Page, findings: Findings, attribute: str) -> None:
    columns = []
    for group, n in findings.data.groups[attribute].items():
        cells = tuple(_accuracy(model, attribute, group) for model in findings.models)
        columns.append(Column(f"{layout.spoken(group)}\nn={n}", cells))
    names = Column("", tuple(model.model for model in findings.models))
    page.table(Rows("Accuracy", names, tuple(columns)))


def _accuracy(model: ModelFindings, attribute: str, group: str) -> str:
    found = (one for one in model.validity.groups if (one.attribute, one.group) == (attribute, group))
    one = next(found, None)
    return numbers.DASH if one is None else numbers.number(one.estimate.mean)


def _scores(page: Page, findings: Findings, model: ModelFindings, entries: Sequence[ExplainerEntry]) -> None:
    primary = findings.protocol.primary
    attribute = next(iter(findings.data.groups))
    entries = [entry for entry in entries if layout.summary(entry, primary)]
    if not entries:
        page.say(f"{model.model}: no explainer has a value for {primary}.")
        return
    scores = [layout.summary(entry, primary) for entry in entries]
    gaps = [layout.gap(one, attribute) for one in scores]
    columns = []
    for group, n in findings.data.groups[attribute].items():
        values = (layout.group_value(one, attribute, group) for one in scores)
        minimum = findings.protocol.min_report
        cells = tuple(text_tables.group_text(value, _mean, minimum=minimum) for value in values)
        columns.append(Column(f"{layout.spoken(group)}\nn={n}", cells))
    columns.append(Column("gap\n(null)", tuple(_gap_text(gap) for gap in gaps)))
    columns.append(Column("worst\nlabelled", tuple(_worst(gap) for gap in gaps)))
    names = Column("", tuple(layout.name(entry) for entry in entries))
    styles = tuple("" if entry.role == "method" else "dim" for entry in entries)
    page.table(Rows(f"{primary} · {model.model}", names, tuple(columns), styles))
    page.say(
        f"gap: highest minus lowest mean; null: the gap when labels are shuffled{_claim_note(findings, gaps)}", "dim"
    )


def _claim_note(findings: Findings, gaps: Sequence[Gap | None]) -> str:
    doubtful = any(gap is not None and not gap.claimable for gap in gaps)
    return f"; ? a compared group has fewer than {findings.protocol.min_claim} images" if doubtful else ""


def _mean(estimate: Estimate) -> str:
    return numbers.number(estimate.mean)


def _gap_text(gap: Gap | None) -> str:
    if gap is None:
        return numbers.DASH
    return f"{numbers.number(gap.range.mean)} ({numbers.number(gap.null_mean)}){'' if gap.claimable else '?'}"


def _worst(gap: Gap | None) -> str:
    return numbers.DASH if gap is None else layout.spoken(gap.worst_group)


def _side_by_side(page: Page, findings: Findings, attribute: str, *, everything: bool) -> None:
    """A row per explainer and model: does the answer depend on the model?"""
    primary = findings.protocol.primary
    pairs = [(name, model) for name in _compared(findings, everything=everything) for model in findings.models]
    pairs = [(name, model) for name, model in pairs if _summary(model, name, primary)]
    if not pairs:
        return
    scores = [_summary(model, name, primary) for name, model in pairs]
    cues = [_summary(model, name, layout.CUE) for name, model in pairs]
    gaps = [layout.gap(one, attribute) for one in scores]
    columns = [
        Column("model", tuple(model.model for _, model in pairs)),
        Column(primary, tuple(_score(one) for one in scores)),
        Column("gap\n(null)", tuple(_gap_text(gap) for gap in gaps)),
        Column("worst\nlabelled", tuple(_worst(gap) for gap in gaps)),
    ]
    if any(cues):
        columns.append(Column("cue\nmass", tuple(_score(one) for one in cues)))
    repeats = [name == pairs[index - 1][0] if index else False for index, (name, _) in enumerate(pairs)]
    names = tuple("" if repeat else name for repeat, (name, _) in zip(repeats, pairs, strict=True))
    page.table(Rows("The models side by side", Column("", names), tuple(columns)))


def _compared(findings: Findings, *, everything: bool) -> list[str]:
    """All explainers, or where they are many those that lead on any model, and what is no method."""
    if everything or not any(layout.is_long(model) for model in findings.models):
        return layout.explainers(findings.models)
    kept = {e.explainer for model in findings.models for e in (*layout.leading(model), *layout.aside(model))}
    return [name for name in layout.explainers(findings.models) if name in kept]


def _summary(model: ModelFindings, explainer: str, metric: str) -> MetricSummary | None:
    entry = layout.entry_of(model, explainer)
    return None if entry is None else layout.summary(entry, metric)


def _score(one: MetricSummary | None) -> str:
    return numbers.DASH if one is None else numbers.plus_minus(one.estimate)
