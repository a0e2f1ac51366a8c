"""M1: maps of known order are scored in that order."""

from collections.abc import Iterator, Mapping

import numpy as np

from mavis.workflows.meta_evaluation.fixtures import CONTROLS, HAND_WIRED, TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import MapScores

TOLERANCE = 1e-5
MIN_FACES = 5
"""Faces per population from which the oracle must be above every control."""
STRONG_CONTROLS = ("centre_gaussian", "input_dev", "sobel", "blurred_random")


def order_checks(bench: Bench) -> Iterator[Check]:
    """Known-groups checks of every deciding metric."""
    for label in bench.labels("faithfulness", "localisation"):
        yield _hand_wired_order_check(bench, label)
        yield _hand_wired_image_check(bench, label)
        yield from _face_checks(bench, label)
    for label in bench.labels("robustness"):
        yield _robustness_check(bench, label)
    for label in bench.labels("complexity"):
        yield _complexity_check(bench, label)


def oracle_name(bench: Bench, label: str) -> str:
    """Name of the exact map for a metric; metrics that redraw parts have an oracle of their own."""
    return "oracle redrawn" if bench.traits(label).rerender else "oracle"


def opposite_name(bench: Bench, label: str) -> str:
    """Name of the map that must be worse than chance: the other sign; for localisation, the other places."""
    return "elsewhere" if bench.traits(label).category == "localisation" else "anti_oracle"


def superiority(first: np.ndarray, second: np.ndarray, sign: int) -> float:
    """Share of images that score higher under the first map than under the second; ties count half."""
    valid = ~(np.isnan(first) | np.isnan(second))
    gap = sign * (first[valid] - second[valid])
    return float(np.mean((gap > TOLERANCE) + 0.5 * (np.abs(gap) <= TOLERANCE))) if len(gap) else float("nan")


def auroc(first: np.ndarray, second: np.ndarray, sign: int) -> float:
    """Area under the ROC curve of two maps' scores; images are not paired."""
    first, second = (sign * values[~np.isnan(values)] for values in (first, second))
    return float(np.mean((first[:, None] > second) + 0.5 * (first[:, None] == second)))


def _hand_wired_order_check(bench: Bench, label: str) -> Check:
    """Smallest margin of the order: oracle over every method and control, random over the oracle's opposite."""
    worst, note = float("inf"), ""
    for name, scores in bench.hand_wired.items():
        top, low = scores.mean(oracle_name(bench, label), label), scores.mean(opposite_name(bench, label), label)
        chance = scores.mean("random", label)
        rivals = [e for e in _methods_and_controls(scores, label) if np.isfinite(scores.mean(e, label))]
        margins = {f"oracle − {e}": top - scores.mean(e, label) for e in rivals}
        margins |= {f"random − {opposite_name(bench, label)}": chance - low, "oracle − random": top - chance}
        smallest = min(margins, key=lambda margin: margins[margin])
        if margins[smallest] < worst:
            worst, note = margins[smallest], f"least on {name}: {smallest}, among {len(rivals)} methods and controls"
    return criterion_check(
        "M1", "known groups: order", label, "hand-wired", "smallest margin of the order", value=worst,
        criterion=f"≥ {-TOLERANCE:g}", passed=worst >= -TOLERANCE, note=note,
    )  # fmt: skip


def _methods_and_controls(scores: MapScores, label: str) -> list[str]:
    """Methods and controls of a table, without the maps derived from the oracle."""
    return [e for e in scores.map_names(label) if not e.startswith(("oracle", "anti_oracle", "elsewhere"))]


def _hand_wired_image_check(bench: Bench, label: str) -> Check:
    shares = {
        name: superiority(scores.values(oracle_name(bench, label), label), scores.values("random", label), 1)
        for name, scores in bench.hand_wired.items()
    }
    worst = min(shares, key=lambda name: shares[name])
    return criterion_check(
        "M1", "known groups: single images", label, "hand-wired", "P(oracle > random)", value=shares[worst],
        criterion="≥ 0.95", passed=shares[worst] >= 0.95, note=f"least on {worst}, of {len(HAND_WIRED)} models",
    )  # fmt: skip


def _face_checks(bench: Bench, label: str) -> Iterator[Check]:
    """Order of oracle, random and opposite on a trained model.

    A part-wise oracle is no upper bound for removal metrics (ADR 10), so methods are not part of the criterion.
    """
    scores = bench.faces
    means = {e: scores.mean(e, label) for e in ("oracle", "anti_oracle", "elsewhere", *CONTROLS, *bench.sizes.methods)}
    opposite = opposite_name(bench, label)
    smallest = min(means["oracle"] - means["random"], means["random"] - means[opposite])
    note = ", ".join(f"{e} {means[e]:.3f}" for e in ("oracle", "random", opposite))
    yield criterion_check(
        "M1", "known groups: order", label, TRAINED, f"smallest margin of oracle, random, {opposite}", value=smallest,
        criterion="> 0", passed=smallest > 0, note=note,
    )  # fmt: skip
    area = auroc(scores.values("oracle", label), scores.values("random", label), 1)
    yield criterion_check(
        "M1", "known groups: single images", label, TRAINED, "AUROC oracle against random", value=area,
        criterion="≥ 0.8", passed=area >= 0.8,
    )  # fmt: skip
    if opposite != "anti_oracle":
        yield descriptive_check(
            "M1",
            "random against the other sign",
            label,
            TRAINED,
            "random − anti-oracle",
            value=means["random"] - means["anti_oracle"],
            note="a wrong sign at the right place is still at the right place",
        )
    yield _control_check(bench, label, means)
    ranked = sorted(bench.sizes.methods, key=lambda e: -means[e])
    yield descriptive_check(
        "M1", "oracle against the best method", label, TRAINED, "oracle − best method",
        value=means["oracle"] - means[ranked[0]], note=", ".join(f"{e} {means[e]:.3f}" for e in ranked),
    )  # fmt: skip


def _control_check(bench: Bench, label: str, means: Mapping[str, float]) -> Check:
    """The oracle is above every control; with few faces per population the order of strong controls is chance."""
    control = max(STRONG_CONTROLS, key=lambda e: means[e])
    gap, note = means["oracle"] - means[control], f"{control} {means[control]:.3f}"
    identity = ("M1", "oracle against the best control", label, TRAINED, "oracle − best control")
    if bench.sizes.per_group < MIN_FACES:
        return descriptive_check(*identity, value=gap, note=note)
    return criterion_check(*identity, value=gap, criterion="> 0", passed=gap > 0, note=note)


def _robustness_check(bench: Bench, label: str) -> Check:
    share = superiority(
        bench.hand_wired_robustness.values("oracle", label),
        bench.hand_wired_robustness.values("random", label),
        bench.sign(label),
    )
    means = ", ".join(f"{e} {bench.hand_wired_robustness.mean(e, label):.3f}" for e in ("oracle", "random"))
    return criterion_check(
        "M1", "known groups: single images", label, "mask_mean", "P(steady truth better than random)", value=share,
        criterion="≥ 0.95", passed=share >= 0.95, note=means,
    )  # fmt: skip


def _complexity_check(bench: Bench, label: str) -> Check:
    scores, sign = bench.faces, bench.sign(label)
    smallest = min(
        superiority(scores.values("oracle", label), scores.values("random", label), sign),
        superiority(scores.values("random", label), scores.values("oracle flattened 4", label), sign),
    )
    means = ", ".join(f"{e} {scores.mean(e, label):.3f}" for e in ("oracle", "random", "oracle flattened 4"))
    return criterion_check(
        "M1", "known groups: single images", label, TRAINED, "P(oracle > random), P(random > constant), the smaller",
        value=smallest, criterion="≥ 0.95", passed=smallest >= 0.95, note=means,
    )  # fmt: skip
