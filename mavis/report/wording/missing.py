"""Missing results in words: why there is no mean, and what was not run."""

from collections import Counter

from mavis.analysis.findings import ExplainerEntry, Findings, GroupValue, ModelFindings, Skipped
from mavis.report import layout
from mavis.report.wording.phrases import names_or_count

MAX_NAMED = 3
"""Explainers or metrics that were not run and are named together; more are counted."""


def missing_reason(entry: ExplainerEntry | None, metric: str) -> str | None:
    """Reason for a missing mean; None where there is a mean."""
    if entry is None:
        return "not run on this model"
    summary = layout.find_summary(entry, metric)
    if summary is None:
        return entry.missing or "not run"
    if summary.estimate.mean is not None:
        return None
    return summary.missing or entry.missing or no_value_reason(summary.undefined, summary.failed)


def group_missing_reason(value: GroupValue | None, *, min_images: int) -> str | None:
    """Reason for a group's missing mean; None where there is a mean.

    Args:
        value: the group's value, or None where the metric was not run.
        min_images: fewest images for which a mean is shown.
    """
    if value is None:
        return "no value for this group"
    if value.estimate.mean is not None:
        return None
    if value.suppressed:
        return f"not shown: {value.estimate.n} images with a value, at least {min_images} are needed"
    return no_value_reason(value.undefined, value.failed)


def no_value_reason(n_undefined: int, n_failed: int) -> str:
    """Counts of undefined and failed images, where no image has a value."""
    return f"no image has a value ({n_undefined} undefined, {n_failed} failed)"


def skips_by_reason(findings: Findings) -> list[tuple[str, list[str]]]:
    """Reason -> labels of what was skipped for it, the most frequent reason first."""
    labels: dict[str, list[str]] = {}
    for skipped in findings.skipped:
        labels.setdefault(skipped.reason, []).append(skipped_label(skipped))
    order = Counter({reason: len(names) for reason, names in labels.items()})
    return [(reason, labels[reason]) for reason, _ in order.most_common()]


def skipped_label(skipped: Skipped) -> str:
    """``model / explainers / metrics``, by name, or by number where they are many."""
    parts = [skipped.model, names_or_count(skipped.explainers, "explainers", MAX_NAMED)]
    if skipped.metrics:
        parts.append(names_or_count(skipped.metrics, "metrics", MAX_NAMED))
    return " / ".join(parts)


def missing_by_reason(model: ModelFindings) -> list[tuple[str, list[str]]]:
    """Reason -> explainers, or explainer and metric, without any value for it."""
    labels: dict[str, list[str]] = {}
    for entry in layout.entries_by_rank(model):
        if entry.missing:
            labels.setdefault(entry.missing, []).append(entry.explainer)
            continue
        for summary in entry.metrics:
            if reason := missing_reason(entry, summary.metric):
                labels.setdefault(reason, []).append(f"{entry.explainer} / {summary.metric}")
    return list(labels.items())
