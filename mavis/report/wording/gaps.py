"""Gaps in words: what may be claimed of the difference between groups."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mavis.analysis.findings import ExplainerEntry, Gap, Note
from mavis.report import layout
from mavis.report.wording.phrases import abbreviate, join_and

MAX_NAMED_GROUPS = 3
"""Groups that are too small for a claim and named in a sentence; the tables have them all."""

UNITS = {"skill": "as a normalised score", "raw": "in raw scores"}


def gap_sentence(statement: Note | None, attribute: str) -> str:
    """The statement on the gap of an attribute in one sentence; empty where none was asked for."""
    if statement is None:
        return ""
    values = _with_shown_names(statement.values, attribute)
    text = GAP_WORDS[statement.code](**values)
    unheld = values.get("prediction_separates")
    text += "; the predicted class is not held equal: it tells these groups apart" if unheld else ""
    small = values.get("too_small")
    return f"{text}; too few images for a claim: {_small_groups(small)}." if small else f"{text}."


def gap_verdict(gap: Gap) -> str:
    """Result of the protocol's rule; empty where it was not asked."""
    if gap.significant:
        return "found"
    if gap.equivalent:
        return "no material gap"
    return "" if gap.significant is None and gap.equivalent is None else "no claim"


def gap_statements(entries: Iterable[ExplainerEntry], metric: str, main_attribute: str) -> list[str]:
    """Statements on the methods' gaps; one for several methods where it is the same.

    Args:
        entries: whose; controls, oracles and references are left out.
        metric: of which score.
        main_attribute: the attribute of which every statement is given; of others only the gaps that are found.
    """
    explainers: dict[tuple[str, str, str], list[str]] = {}
    for entry in (entry for entry in entries if entry.role == "method"):
        summary = layout.find_summary(entry, metric)
        for gap in () if summary is None else summary.gaps:
            if gap.statement and (gap.attribute == main_attribute or gap.significant):
                statement = (
                    gap_verdict(gap),
                    layout.display_name(gap.attribute),
                    gap_sentence(gap.statement, gap.attribute),
                )
                explainers.setdefault(statement, []).append(entry.explainer)
    return [
        f"{f'{verdict}: ' if verdict else ''}{', '.join(names)} by {attribute}: {sentence}"
        for (verdict, attribute, sentence), names in explainers.items()
    ]


def _with_shown_names(values: Mapping[str, Any], attribute: str) -> dict[str, Any]:
    """The values of a statement with its groups as they are shown."""
    shown = dict(values)
    for key in ("lower", "higher"):
        if key in shown:
            shown[key] = layout.group_name(attribute, shown[key])
    for key in ("groups", "too_small"):
        if key in shown:
            shown[key] = [row | {"group": layout.group_name(attribute, row["group"])} for row in shown[key]]
    return shown


def _small_groups(groups: Any) -> str:
    """The smallest groups with their n, and how many more there are."""
    names = [f"{group['group']} ({group['n']})" for group in groups]
    return abbreviate(names, MAX_NAMED_GROUPS)


def _covariates(names: Sequence[str]) -> str:
    """Names of columns as a list, underscores as spaces."""
    labels = {"predicted": "predicted class"}
    return join_and([labels.get(name, name.replace("_", " ")) for name in names])


def _margin(margin: float, unit: str) -> str:
    return f"{margin:g}{'' if unit == 'skill' else ' in raw scores'}"


def _missing_columns(columns: Sequence[str]) -> str:
    return (
        f"gaps at equal covariates are not known: the run's table of images has no {_covariates(columns)} for every "
        "image; repeat the run in another folder to have them"
    )


def _too_few_images(groups: Sequence[Mapping[str, Any]], min_claim: int) -> str:
    return f"too few images for a claim: {_small_groups(groups)}; two groups need {min_claim} each"


def _found(
    subject: str,
    unit: str,
    lower: str,
    higher: str,
    size: float,
    interval: Sequence[float],
    covariates: Sequence[str],
    null_mean: float,
    n_other_pairs: int,
    **_: object,
) -> str:
    ends = ", ".join(f"{end:.3f}" for end in interval)
    more = {0: "", 1: "; 1 other pair of groups differs too"}.get(
        n_other_pairs, f"; {n_other_pairs} other pairs of groups differ too"
    )
    return (
        f"{subject}, {UNITS[unit]}, is lower for images labelled {lower} than for images labelled "
        f"{higher} by {size:.3f} [{ends}] at equal {_covariates(covariates) or 'nothing'}; "
        f"shuffled labels give a range of {null_mean:.3f}{more}"
    )


def _equivalent(subject: str, unit: str, margin: float, covariates: Sequence[str], **_: object) -> str:
    return (
        f"{subject} has no material gap: every two groups are shown to lie within {_margin(margin, unit)} at equal "
        f"{_covariates(covariates) or 'nothing'}"
    )


def _range_not_significant(
    subject: str, unit: str, margin: float, observed: float, null_mean: float, p: float, **_: object
) -> str:
    reason = f"the range of {subject} is {observed:.3f}, and shuffled labels give {null_mean:.3f} (p = {p:.2f})"
    return _no_gap_shown(reason, margin, unit)


def _no_alike_images(unit: str, margin: float, covariates: Sequence[str], **_: object) -> str:
    return _no_gap_shown(f"no two groups have images alike in {_covariates(covariates)}", margin, unit)


def _pairs_not_significant(
    subject: str, unit: str, margin: float, claim: float, *, by_imputers: bool, **_: object
) -> str:
    imputers = " and by two imputers" if by_imputers else ""
    reason = f"no two groups are shown to differ in {subject} by more than {claim:g}, matched and adjusted{imputers}"
    return _no_gap_shown(reason, margin, unit)


def _no_gap_shown(reason: str, margin: float, unit: str) -> str:
    return f"no gap is shown: {reason}; nor that every gap lies within {_margin(margin, unit)}"


GAP_WORDS: Mapping[str, Callable[..., str]] = {
    "gap.missing_columns": _missing_columns,
    "gap.too_few_images": _too_few_images,
    "gap.found": _found,
    "gap.equivalent": _equivalent,
    "gap.range_not_significant": _range_not_significant,
    "gap.no_alike_images": _no_alike_images,
    "gap.pairs_not_significant": _pairs_not_significant,
}
"""Code -> the statement without its full stop, as a function of its values."""
