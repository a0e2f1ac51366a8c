"""Is the model worth explaining? What the summary says of one model before any explanation is judged."""

from collections.abc import Iterator

from mavis.analysis.findings import Leak, ModelFindings, Reliance, Validity
from mavis.report import layout, numbers, wording

UNKNOWN_TRAINING = "whether evaluated images were trained on is not known"
CUE_CONDITIONS = {"agrees": "agrees", "disagrees": "disagrees", "absent": "is absent"}


def model_headline(model: ModelFindings) -> str:
    """Accuracy, chance and what else bears on trust, in one line."""
    found = model.validity
    verdict = "better than chance" if found.better_than_chance else "✗ not shown to be better than chance"
    chance = numbers.format_number(found.chance)
    parts = [
        f"{model.model}: accuracy {numbers.format_plus_minus(found.accuracy)}",
        f"balanced {numbers.format_plus_minus(found.balanced_accuracy)}, chance {chance}: {verdict}",
    ]
    if found.weak_groups:
        parts.append(f"weak on images labelled {', '.join(layout.display_name(group) for group in found.weak_groups)}")
    parts.extend(wording.note_text(remark) for remark in found.remarks)
    if found.cue:
        parts.append(
            "accuracy when the cue "
            + ", ".join(f"{CUE_CONDITIONS[state]} {numbers.format_number(value)}" for state, value in found.cue.items())
        )
    return " · ".join(part.replace(" ±", "±") for part in parts)


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
    known = [(one.estimate.mean, one.group) for one in validity.recall if one.estimate.mean is not None]
    if not known:
        return numbers.DASH
    (low, worst), (high, best) = min(known), max(known)
    return f"from {numbers.format_number(low)} ({worst}) to {numbers.format_number(high)} ({best})"


def _worst_calibration(validity: Validity) -> str:
    if not validity.group_calibration:
        return ""
    group, error = max(validity.group_calibration.items(), key=lambda item: item[1])
    return f", highest on images labelled {layout.display_name(group)} {numbers.format_number(error)}"


def leak_sentence(leak: Leak) -> str:
    """How many of the evaluated images were trained on."""
    if not leak.known:
        return UNKNOWN_TRAINING
    share = f" (share {numbers.format_number(leak.rate)})" if leak.rate is not None else ""
    limit = ", above the protocol's limit" if leak.excessive else ""
    mark, near = "✗ " if leak.excessive else "", wording.count_noun(leak.near, "near duplicate")
    return f"{mark}{leak.exact} evaluated images are training images, {near}{share}{limit}"


def reliance_sentence(reliance: tuple[Reliance, ...]) -> str:
    """Which parts the model was shown to use, the most used first."""
    order = sorted(reliance, key=lambda one: -(one.change.mean or 0.0))
    used = [f"{one.part} {numbers.format_number(one.change.mean)}" for one in order if one.used]
    rest = [one.part for one in order if not one.used]
    said = f"relies on {', '.join(used)}" if used else "not shown to rely on any part"
    return f"{said} (change of the logit); not shown to rely on {', '.join(rest)}" if used and rest else said


def truth_sentence(*, verified: bool) -> str:
    """Whether localisation may decide."""
    if verified:
        return "the parts that the model relies on are known, so localisation decides"
    return "the parts that the model relies on are not known, so localisation does not decide"
