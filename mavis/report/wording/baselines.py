"""Sentences on a baseline: why nothing of it can be compared, and what differs from the run that is."""

from collections.abc import Collection, Iterator

from mavis.analysis.score_origin import ScoreOrigin
from mavis.report.wording.phrases import abbreviate


def nothing_compares_sentence(metrics: Collection[str]) -> str:
    """The reason why no score of a baseline can be compared, and what to do.

    Args:
        metrics: labels of the metrics that the baseline has scores of.
    """
    if not metrics:
        return "Nothing to compare: there are no scores. Save a baseline of a run with scores."
    return (
        f"Nothing to compare: {abbreviate(sorted(metrics), 3)} only check maps, count costs, describe, or have no "
        "value. Save a baseline of a run with other metrics."
    )


def origin_remarks(before: ScoreOrigin, now: ScoreOrigin) -> Iterator[str]:
    """Lines on what differs and leaves the numbers comparable: rules beside the metrics, data, weights, version."""
    if before.protocol_sha256 != now.protocol_sha256:
        yield (
            f"other protocol: {before.protocol} {before.protocol_sha256[:8]} in the baseline, {now.protocol} "
            f"{now.protocol_sha256[:8]} here; the settings of what is compared are the same"
        )
    if before.data["revision"] != now.data["revision"]:
        revisions = f"{before.data['revision'][:8]} in the baseline, {now.data['revision'][:8]} here"
        yield f"other images: data {revisions}; images of the same name are compared"
    for name in sorted(set(before.models) & set(now.models)):
        if before.models[name] != now.models[name]:
            yield f"other weights: {name} is {before.models[name][:8]} in the baseline, {now.models[name][:8]} here"
    if before.mavis != now.mavis:
        yield f"other version: MAVIS {before.mavis} in the baseline, {now.mavis} here"
