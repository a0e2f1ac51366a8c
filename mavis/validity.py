"""Is the model worth explaining? Predictions against labels, overall and per group. Pure."""

import numpy as np
import pandas as pd

from mavis import stats
from mavis.findings import Estimate, GroupAccuracy, Reliability, Validity
from mavis.groups import Rules, estimate, resampled_means
from mavis.rules import ReliabilityRules
from mavis.sampling import joined


def assess(images: pd.DataFrame, classes: tuple[str, ...], rules: Rules) -> Validity:
    """How often the model is right, and where it is not shown to beat chance.

    Balanced accuracy is the mean recall over the classes that occur; chance is one over their number. Within a group
    accuracy is compared with always answering the group's commonest label when the group holds several labels, and
    with one over the number of classes when it holds a single one.

    Args:
        images: one model's rows, index image id: ``label, predicted`` (int), attributes, optionally ``cue`` (int,
            the class that an injected cue speaks for, −1 without).
        classes: names of the labels.
        rules: how means are taken.
    """
    images = images.sort_index()
    right = (images["label"] == images["predicted"]).to_numpy()
    recall = right.astype(np.float64)[:, None]
    labels = images["label"].astype(str).tolist()
    per_class = resampled_means(recall, labels, rules)
    draws = np.stack(list(per_class.values())).mean(axis=0)[:, 0]
    balanced = float(np.mean([recall[images["label"] == k].mean() for k in sorted(images["label"].unique())]))
    low, high = stats.percentiles(draws, rules.confidence)
    chance = 1 / len(per_class)
    groups = [g for a in rules.attributes if "*" not in a for g in _groups(images, right, a, rules)]
    return Validity(
        accuracy=_share(right, rules.confidence),
        balanced_accuracy=estimate(balanced, float(low), float(high), len(right)),
        chance=chance,
        better_than_chance=bool(float(low) > chance),
        groups=tuple(groups),
        weak_groups=tuple(g.group for g in groups if _weak(g, images, len(classes), rules)),
        cue=_cue(images, right),
        remarks=(*_weakness(balanced, chance), *_never_predicted(images, classes)),
    )


def _groups(images: pd.DataFrame, right: np.ndarray, attribute: str, rules: Rules) -> list[GroupAccuracy]:
    names = joined(images, attribute).to_numpy()
    found = []
    for name in sorted(set(names)):
        hits = right[names == name]
        share = _share(hits, rules.confidence)
        found.append(GroupAccuracy(attribute=attribute, group=str(name), correct=int(hits.sum()), estimate=share))
    return found


def _share(hits: np.ndarray, confidence: float) -> Estimate:
    low, high = stats.wilson(int(hits.sum()), len(hits), confidence)
    return estimate(float(np.mean(hits)), low, high, len(hits))


def _weak(group: GroupAccuracy, images: pd.DataFrame, classes: int, rules: Rules) -> bool:
    """Large enough to report, and its interval reaches down to chance."""
    if group.estimate.n < rules.min_report or group.estimate.low is None:
        return False
    labels = images.loc[joined(images, group.attribute) == group.group, "label"]
    common = float(labels.value_counts(normalize=True).iloc[0])
    return group.estimate.low <= (1 / classes if common == 1 else common)


def _cue(images: pd.DataFrame, right: np.ndarray) -> dict[str, float]:
    if "cue" not in images or (images["cue"] < 0).all():
        return {}
    carried = (images["cue"] >= 0).to_numpy()
    agrees = (images["cue"] == images["label"]).to_numpy()
    parts = {"agrees": carried & agrees, "disagrees": carried & ~agrees, "absent": ~carried}
    return {name: float(right[mask].mean()) for name, mask in parts.items() if mask.any()}


def _weakness(balanced: float, chance: float) -> list[str]:
    """Says so where the model is nearer to guessing than to knowing."""
    if chance == 1:
        return ["one class occurs in the sample: always saying it would be right"]
    reached = (balanced - chance) / (1 - chance)
    if reached >= 0.5:
        return []
    return [f"a weak model: it reaches {max(reached, 0):.0%} of the way from guessing to always right"]


def _never_predicted(images: pd.DataFrame, classes: tuple[str, ...]) -> list[str]:
    never = [name for k, name in enumerate(classes) if k not in set(images["predicted"])]
    return [f"never predicted: {', '.join(never)}"] if never else []


def reliability(
    kept: pd.DataFrame, images: pd.DataFrame, rules: Rules, limits: ReliabilityRules | None
) -> tuple[Reliability, ...]:
    """How often the prediction stays when random cells are removed, per imputer and fraction, overall and per group.

    Args:
        kept: one model's rows: ``image, imputer, fraction, kept`` (0 or 1).
        images: one model's rows, index image id, attributes as columns.
        rules: how means are taken.
        limits: what counts as reliable and as even.
    """
    if limits is None or kept.empty:
        return ()
    found = []
    for row in kept[["imputer", "fraction"]].drop_duplicates().to_dict("records"):
        imputer, fraction = str(row["imputer"]), float(row["fraction"])
        rows = kept[(kept["imputer"] == imputer) & (kept["fraction"] == fraction)]
        found.append(_one_imputer(imputer, fraction, rows.set_index("image")["kept"] > 0, images, rules, limits))
    return tuple(found)


def _one_imputer(
    imputer: str, fraction: float, stays: pd.Series, images: pd.DataFrame, rules: Rules, limits: ReliabilityRules
) -> Reliability:
    common = images.loc[images.index.isin(stays.index)].sort_index()
    right = stays.loc[common.index].to_numpy()
    groups = [g for a in rules.attributes if "*" not in a for g in _groups(common, right, a, rules)]
    first = fraction == limits.fractions[0]
    return Reliability(
        imputer=imputer,
        fraction=fraction,
        kept=_share(right, rules.confidence),
        groups=tuple(groups),
        reliable=bool(right.mean() >= limits.min_kept) if first else None,
        uneven=tuple(a for a in dict.fromkeys(g.attribute for g in groups) if _differ(groups, a, rules, limits)),
    )


def _differ(groups: list[GroupAccuracy], attribute: str, rules: Rules, limits: ReliabilityRules) -> bool:
    """Whether the highest and the lowest share of large enough groups are too far apart, and not by chance alone."""
    known = [g.estimate for g in groups if g.attribute == attribute and g.estimate.n >= rules.min_report]
    shares = sorted((e.mean, e.low, e.high) for e in known if e.mean is not None and e.low is not None)
    if len(shares) < 2:
        return False
    (low, _, low_end), (high, high_start, _) = shares[0], shares[-1]
    return high - low > limits.max_gap and (low_end or 0.0) < (high_start or 0.0)
