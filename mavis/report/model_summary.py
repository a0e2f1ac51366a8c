"""Model validity in text: lines on one model, before any explanation is judged."""

from collections.abc import Iterator

from mavis.analysis.findings import Leak, ModelFindings, Reliance, Validity
from mavis.report import numbers, wording

UNKNOWN_TRAINING = "whether evaluated images were trained on is not known"
MAX_NAMES = 3
"""Weak groups that are named; the table of accuracies has them all."""

CUE_CONDITIONS = {"agrees": "agrees", "disagrees": "disagrees", "absent": "is absent"}


def model_headline(model: ModelFindings) -> str:
    """Accuracy, chance, weak groups, remarks and doubts about the outputs in one line."""
    validity = model.validity
    verdict = _chance_verdict(validity)
    chance = numbers.format_number(validity.chance)
    parts = [
        f"{model.model}: accuracy {numbers.format_plus_minus(validity.accuracy)}",
        f"balanced {numbers.format_plus_minus(validity.balanced_accuracy)}, chance {chance}: {verdict}",
    ]
    if weak := weak_labels(validity):
        parts.append(f"weak on images labelled {wording.abbreviate(weak, MAX_NAMES)}")
    parts.extend(wording.note_text(remark) for remark in validity.remarks)
    parts.extend(str(doubt) for doubt in model.card.get("doubts", ()))
    if validity.cue:
        parts.append(
            "accuracy when the cue "
            + ", ".join(
                f"{CUE_CONDITIONS[state]} {numbers.format_number(value)}" for state, value in validity.cue.items()
            )
        )
    return " · ".join(part.replace(" ±", "±") for part in parts)


def _chance_verdict(validity: Validity) -> str:
    high = validity.balanced_accuracy.high
    if high is not None and high < validity.chance:
        return "✗ worse than chance: the order of the classes or the scale of the images may be another"
    return "better than chance" if validity.better_than_chance else "✗ not shown to be better than chance"


def validity_details(validity: Validity) -> Iterator[str]:
    """A line each for recall, calibration, the leak check and the parts that the model uses; only what was asked."""
    if validity.recall:
        yield f"recall per class: {_recall_range(validity)}"
    if validity.calibration_error is not None:
        yield f"calibration error {numbers.format_number(validity.calibration_error)}{_worst_calibration(validity)}"
    if validity.leak is not None:
        yield leak_sentence(validity.leak)
    if validity.reliance:
        yield reliance_sentence(validity.reliance)
    if validity.truth_verified is not None:
        yield truth_sentence(verified=validity.truth_verified)


def _recall_range(validity: Validity) -> str:
    recalls = [(row.estimate.mean, row.group) for row in validity.recall if row.estimate.mean is not None]
    if not recalls:
        return numbers.DASH
    (low, worst), (high, best) = min(recalls), max(recalls)
    return f"from {numbers.format_number(low)} ({worst}) to {numbers.format_number(high)} ({best})"


def _worst_calibration(validity: Validity) -> str:
    if not validity.group_calibration:
        return ""
    key, error = max(validity.group_calibration.items(), key=lambda item: item[1])
    return f", highest on images labelled {_label(key, validity)} {numbers.format_number(error)}"


def weak_labels(validity: Validity) -> list[str]:
    """The groups in which the model is not shown to beat chance."""
    return [_label(key, validity) for key in validity.weak_groups]


def _label(key: tuple[str, str], validity: Validity) -> str:
    """The name of a group; with its attribute where a group of another attribute has the same name."""
    attribute, group = key
    is_shared = sum(row.group == group for row in validity.groups) > 1
    return f"{attribute}={group}" if is_shared else group


def leak_sentence(leak: Leak) -> str:
    """Number of evaluated images that are training images or near duplicates of one."""
    if not leak.known:
        return UNKNOWN_TRAINING
    share = f" (share {numbers.format_number(leak.rate)})" if leak.rate is not None else ""
    limit = ", above the protocol's limit" if leak.excessive else ""
    mark, near = "✗ " if leak.excessive else "", wording.count_noun(leak.near, "near duplicate")
    return f"{mark}{leak.exact} evaluated images are training images, {near}{share}{limit}"


def reliance_sentence(reliance: tuple[Reliance, ...]) -> str:
    """Parts that the model was shown to rely on, the largest change of the logit first."""
    order = sorted(reliance, key=lambda row: -(row.change.mean or 0.0))
    used = [f"{row.part} {numbers.format_number(row.change.mean)}" for row in order if row.used]
    unused = [row.part for row in order if not row.used]
    text = f"relies on {', '.join(used)}" if used else "not shown to rely on any part"
    return f"{text} (change of the logit); not shown to rely on {', '.join(unused)}" if used and unused else text


def truth_sentence(*, verified: bool) -> str:
    """Consequence for localisation: it decides only where the relevant parts are known."""
    if verified:
        return "the parts that the model relies on are known, so localisation decides"
    return "the parts that the model relies on are not known, so localisation does not decide"
