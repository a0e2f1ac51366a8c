"""Model validity: accuracy, calibration, training leaks, reliance on face parts, reliability of imputers. Pure."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from mavis.analysis.findings import (
    Estimate,
    GroupAccuracy,
    Leak,
    Note,
    Reliability,
    Reliance,
    Validity,
    make_note,
)
from mavis.analysis.groups import BootstrapSettings, bootstrap_stratum_means, macro_draws, macro_means, to_estimate
from mavis.analysis.statistics import bootstrap
from mavis.core.group_attributes import NO_GROUP, group_labels
from mavis.protocol.schema import LeakRules, ReliabilityRules, RelianceRules


def assess_validity(images: pd.DataFrame, classes: tuple[str, ...], settings: BootstrapSettings) -> Validity:
    """Accuracy of the model, overall and per group, against chance.

    Balanced accuracy is the mean recall over the classes that occur; chance is one over their number. Chance within a
    group is the share of its most common label if it has several labels, and one over the number of classes if it has
    one.

    Args:
        images: one model's rows, index image id: ``label, predicted`` (int), attributes, optionally ``probability``
            (of the predicted class) and ``cue`` (int, the class that an injected cue indicates, −1 without a cue).
        classes: names of the labels.
        settings: settings of means.
    """
    images = images.sort_index()
    right = (images["label"] == images["predicted"]).to_numpy()
    recall = right.astype(np.float64)[:, None]
    labels = images["label"].astype(str).tolist()
    per_class = bootstrap_stratum_means(recall, labels, settings)
    draws = np.stack(list(per_class.values())).mean(axis=0)[:, 0]
    balanced = float(np.mean([recall[images["label"] == k].mean() for k in sorted(images["label"].unique())]))
    low, high = bootstrap.percentile_interval(draws, settings.confidence)
    chance = 1 / len(per_class)
    plain_attributes = [attribute for attribute in settings.attributes if "*" not in attribute]
    groups = [
        _assess_group(group, images, right, len(classes), settings)
        for attribute in plain_attributes
        for group in _group_accuracies(images, right, attribute, settings)
    ]
    return Validity(
        accuracy=_wilson_estimate(right, settings.confidence),
        balanced_accuracy=to_estimate(balanced, float(low), float(high), len(right)),
        chance=chance,
        better_than_chance=bool(float(low) > chance),
        groups=tuple(groups),
        cue=_cue_accuracies(images, right),
        remarks=(*_weak_model_remarks(balanced, chance), *_never_predicted_remarks(images, classes)),
        calibration_error=_calibration_if_known(images, right),
        recall=tuple(_class_recalls(images, right, classes, settings)),
    )


def _group_accuracies(
    images: pd.DataFrame, right: np.ndarray, attribute: str, settings: BootstrapSettings
) -> list[GroupAccuracy]:
    names = group_labels(images, attribute).to_numpy()
    accuracies = []
    for name in sorted(set(names) - {NO_GROUP}):
        hits = right[names == name]
        share = _wilson_estimate(hits, settings.confidence)
        accuracies.append(GroupAccuracy(attribute=attribute, group=str(name), correct=int(hits.sum()), estimate=share))
    return accuracies


def _wilson_estimate(hits: np.ndarray, confidence: float) -> Estimate:
    low, high = bootstrap.wilson_interval(int(hits.sum()), len(hits), confidence)
    return to_estimate(float(np.mean(hits)), low, high, len(hits))


def _assess_group(
    group: GroupAccuracy, images: pd.DataFrame, right: np.ndarray, classes: int, settings: BootstrapSettings
) -> GroupAccuracy:
    """The group's row with what else is known of the model on its images, if they are enough to report."""
    if group.estimate.n < settings.min_report:
        return group
    in_group = (group_labels(images, group.attribute) == group.group).to_numpy()
    error = _calibration_if_known(images[in_group], right[in_group])
    return group.model_copy(
        update={"weak": _is_at_chance(group, images.loc[in_group, "label"], classes), "calibration_error": error}
    )


def _is_at_chance(group: GroupAccuracy, labels: pd.Series, classes: int) -> bool:
    """True for a group whose interval reaches down to chance, given its images' labels."""
    if group.estimate.low is None:
        return False
    common = float(labels.value_counts(normalize=True).iloc[0])
    return group.estimate.low <= (1 / classes if common == 1 else common)


def _cue_accuracies(images: pd.DataFrame, right: np.ndarray) -> dict[str, float]:
    if "cue" not in images or (images["cue"] < 0).all():
        return {}
    has_cue = (images["cue"] >= 0).to_numpy()
    agrees = (images["cue"] == images["label"]).to_numpy()
    masks = {"agrees": has_cue & agrees, "disagrees": has_cue & ~agrees, "absent": ~has_cue}
    return {name: float(right[mask].mean()) for name, mask in masks.items() if mask.any()}


def _weak_model_remarks(balanced: float, chance: float) -> list[Note]:
    """A remark where the model is nearer to guessing than to knowing."""
    if chance == 1:
        return [make_note("remark.one_class")]
    reached = (balanced - chance) / (1 - chance)
    return [] if reached >= 0.5 else [make_note("remark.weak_model", share=float(max(reached, 0)))]


def _never_predicted_remarks(images: pd.DataFrame, classes: tuple[str, ...]) -> list[Note]:
    never = [name for k, name in enumerate(classes) if k not in set(images["predicted"])]
    return [make_note("remark.never_predicted", classes=never)] if never else []


def _class_recalls(
    images: pd.DataFrame, right: np.ndarray, classes: tuple[str, ...], settings: BootstrapSettings
) -> Iterator[GroupAccuracy]:
    """Recall of every class that occurs, with its Wilson interval."""
    labels = images["label"].to_numpy()
    for code in sorted(set(labels.tolist())):
        hits = right[labels == code]
        share = _wilson_estimate(hits, settings.confidence)
        yield GroupAccuracy(attribute="label", group=classes[code], correct=int(hits.sum()), estimate=share)


def _calibration_if_known(images: pd.DataFrame, right: np.ndarray) -> float | None:
    """Expected calibration error; None without probabilities."""
    if "probability" not in images:
        return None
    return expected_calibration_error(images["probability"].to_numpy(dtype=np.float64), right)


def expected_calibration_error(probability: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: mean difference of confidence and accuracy over bins of equal count.

    With few images per bin it is above 0 for a calibrated model too: read it beside the number of images.

    Args:
        probability: ``(n,)``, of the predicted class.
        right: ``(n,)`` bool, true for a correct prediction.
        bins: number of bins of the images ordered by probability; fewer if there are fewer images.

    Source: Nguyen and O'Connor 2015, section 3 (bins of equal count), arXiv 1508.05154; Guo et al. 2017, equation 3,
    arXiv 1706.04599.
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(float(probability[part].mean()) - float(right[part].mean())) * len(part) for part in parts]
    return sum(gaps) / len(probability)


def assess_leak(
    matches: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings, limits: LeakRules | None
) -> Leak | None:
    """Share of evaluated images that are among the training images, overall and per group of the first attribute.

    Args:
        matches: one model's rows: ``image, known, same, distance``.
        images: one model's rows, index image id, attributes as columns.
        settings: settings of means.
        limits: largest distance of a near duplicate and largest share of them; None if the protocol does not check it.
    """
    if limits is None or matches.empty:
        return None
    rows = matches.set_index("image").reindex(images.index)
    if not rows["known"].all():
        return Leak(known=False, exact=0, near=0, rate=None, groups={}, excessive=False)
    same = rows["same"].astype(bool)
    near = ~same & (rows["distance"] <= limits.max_distance)
    shares = (same | near).groupby(group_labels(images, settings.attributes[0])).mean()
    rate = float((same | near).mean())
    return Leak(
        known=True,
        exact=int(same.sum()),
        near=int(near.sum()),
        rate=rate,
        groups={str(name): float(share) for name, share in shares.items()},
        excessive=rate > limits.max_rate,
    )


def assess_part_reliance(
    changes: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings, limits: RelianceRules | None
) -> tuple[Reliance, ...]:
    """Mean change of the logit when a face part is re-rendered, per part, and the parts that the model uses.

    A part is used if the lower end of its mean change exceeds a share of the largest part's mean change.

    Args:
        changes: one model's rows: ``image, part, change``.
        images: one model's rows, index image id, attributes as columns.
        settings: settings of means.
        limits: that share; None if the protocol does not check it.
    """
    if limits is None or changes.empty:
        return ()
    parts = list(dict.fromkeys(changes["part"]))
    table = changes.pivot_table(index="image", columns="part", values="change").sort_index()[parts]
    values = table.to_numpy(dtype=np.float64)
    strata = group_labels(images.loc[table.index], settings.attributes[0]).tolist()
    means = macro_means(values, strata)
    low, high = bootstrap.percentile_interval(macro_draws(values, strata, settings), settings.confidence)
    return tuple(
        Reliance(
            part=part,
            change=to_estimate(mean, lower, upper, len(values)),
            used=bool(lower > limits.min_share * means.max()),
        )
        for part, mean, lower, upper in zip(parts, means, low, high, strict=True)
    )


def has_verified_truth(reliances: tuple[Reliance, ...]) -> bool | None:
    """True if localisation has a verified truth: some parts are used and some are not; None without measurements."""
    return len({reliance.used for reliance in reliances}) == 2 if reliances else None


def assess_imputer_reliability(
    predictions: pd.DataFrame, images: pd.DataFrame, settings: BootstrapSettings, limits: ReliabilityRules | None
) -> tuple[Reliability, ...]:
    """Share of unchanged predictions when random cells are removed, per imputer and fraction, overall and per group.

    Args:
        predictions: one model's rows: ``image, imputer, fraction, kept`` (0 or 1).
        images: one model's rows, index image id, attributes as columns.
        settings: settings of means.
        limits: smallest share of a reliable imputer and largest gap between groups; None if it is not checked.
    """
    if limits is None or predictions.empty:
        return ()
    reliabilities = []
    for row in predictions[["imputer", "fraction"]].drop_duplicates().to_dict("records"):
        imputer, fraction = str(row["imputer"]), float(row["fraction"])
        rows = predictions[(predictions["imputer"] == imputer) & (predictions["fraction"] == fraction)]
        reliabilities.append(
            _imputer_reliability(imputer, fraction, rows.set_index("image")["kept"] > 0, images, settings, limits)
        )
    return tuple(reliabilities)


def _imputer_reliability(
    imputer: str,
    fraction: float,
    is_kept: pd.Series,
    images: pd.DataFrame,
    settings: BootstrapSettings,
    limits: ReliabilityRules,
) -> Reliability:
    common = images.loc[images.index.isin(is_kept.index)].sort_index()
    right = is_kept.loc[common.index].to_numpy()
    groups = [g for a in settings.attributes if "*" not in a for g in _group_accuracies(common, right, a, settings)]
    first = fraction == limits.fractions[0]
    return Reliability(
        imputer=imputer,
        fraction=fraction,
        kept=_wilson_estimate(right, settings.confidence),
        groups=tuple(groups),
        reliable=bool(right.mean() >= limits.min_kept) if first else None,
        uneven=tuple(a for a in dict.fromkeys(g.attribute for g in groups) if _is_uneven(groups, a, settings, limits)),
    )


def _is_uneven(
    groups: list[GroupAccuracy], attribute: str, settings: BootstrapSettings, limits: ReliabilityRules
) -> bool:
    """True if the highest and lowest shares of large enough groups differ too much and their intervals do not meet."""
    estimates = [g.estimate for g in groups if g.attribute == attribute and g.estimate.n >= settings.min_report]
    shares = sorted((e.mean, e.low, e.high) for e in estimates if e.mean is not None and e.low is not None)
    if len(shares) < 2:
        return False
    (low, _, low_end), (high, high_start, _) = shares[0], shares[-1]
    return high - low > limits.max_gap and (low_end or 0.0) < (high_start or 0.0)
