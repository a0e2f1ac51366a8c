"""M1: maps whose order is known come out in that order."""

from collections.abc import Iterator, Mapping

import numpy as np

from mavis.workflows.meta_evaluation.fixtures import CONTROLS, HAND_WIRED, TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import MapScores

TOLERANCE = 1e-5
MIN_FACES = 5
"""Faces of a population from which on the oracle is asked to be above every control."""
STRONG_CONTROLS = ("centre_gaussian", "input_dev", "sobel", "blurred_random")


def order_checks(bench: Bench) -> Iterator[Check]:
    """Known groups per deciding metric."""
    for label in bench.labels("faithfulness", "localisation"):
        yield _hand_wired_order_check(bench, label)
        yield _hand_wired_image_check(bench, label)
        yield from _face_checks(bench, label)
    for label in bench.labels("robustness"):
        yield _robustness_check(bench, label)
    for label in bench.labels("complexity"):
        yield _complexity_check(bench, label)


def oracle_name(bench: Bench, label: str) -> str:
    """The map that answers what a metric asks: parts drawn anew have a truth of their own."""
    return "oracle redrawn" if bench.traits(label).rerender else "oracle"


def opposite_name(bench: Bench, label: str) -> str:
    """What is more wrong than chance: the other sign; where a metric asks for the place alone, the other place."""
    return "elsewhere" if bench.traits(label).category == "localisation" else "anti_oracle"


def superiority(first: np.ndarray, second: np.ndarray, sign: int) -> float:
    """Chance that an image scores higher under the first than under the second; ties count half."""
    there = ~(np.isnan(first) | np.isnan(second))
    gap = sign * (first[there] - second[there])
    return float(np.mean((gap > TOLERANCE) + 0.5 * (np.abs(gap) <= TOLERANCE))) if len(gap) else float("nan")


def auroc(first: np.ndarray, second: np.ndarray, sign: int) -> float:
    """Area under the ROC curve of two maps' scores, images not paired."""
    first, second = (sign * values[~np.isnan(values)] for values in (first, second))
    return float(np.mean((first[:, None] > second) + 0.5 * (first[:, None] == second)))


def _hand_wired_order_check(bench: Bench, label: str) -> Check:
    """Oracle, then every method and control, then random, then the anti-oracle: how far from it at worst."""
    worst, note = float("inf"), ""
    for name, scores in bench.hand_wired.items():
        top, low = scores.mean(oracle_name(bench, label), label), scores.mean(opposite_name(bench, label), label)
        chance = scores.mean("random", label)
        others = [e for e in _methods_and_controls(scores, label) if np.isfinite(scores.mean(e, label))]
        margins = {f"oracle − {e}": top - scores.mean(e, label) for e in others}
        margins |= {f"random − {opposite_name(bench, label)}": chance - low, "oracle − random": top - chance}
        least = min(margins, key=lambda pair: margins[pair])
        if margins[least] < worst:
            worst, note = margins[least], f"least on {name}: {least}, among {len(others)} methods and controls"
    return criterion_check(
        "M1", "known groups: order", label, "hand-wired", "smallest margin of the order", value=worst,
        criterion=f"≥ {-TOLERANCE:g}", passed=worst >= -TOLERANCE, note=note,
    )  # fmt: skip


def _methods_and_controls(scores: MapScores, label: str) -> list[str]:
    """Methods and controls of a table, without what was made of the oracle."""
    return [e for e in scores.map_names(label) if not e.startswith(("oracle", "anti_oracle", "elsewhere"))]


def _hand_wired_image_check(bench: Bench, label: str) -> Check:
    shares = {
        name: superiority(s.values(oracle_name(bench, label), label), s.values("random", label), 1)
        for name, s in bench.hand_wired.items()
    }
    worst = min(shares, key=lambda name: shares[name])
    return criterion_check(
        "M1", "known groups: single images", label, "hand-wired", "P(oracle > random)", value=shares[worst],
        criterion="≥ 0.95", passed=shares[worst] >= 0.95, note=f"least on {worst}, of {len(HAND_WIRED)} models",
    )  # fmt: skip


def _face_checks(bench: Bench, label: str) -> Iterator[Check]:
    """On a trained model a part-wise oracle is no upper bound for removal metrics (ADR 10): three groups are asked."""
    s = bench.faces
    mean = {e: s.mean(e, label) for e in ("oracle", "anti_oracle", "elsewhere", *CONTROLS, *bench.sizes.methods)}
    wrong = opposite_name(bench, label)
    least = min(mean["oracle"] - mean["random"], mean["random"] - mean[wrong])
    note = ", ".join(f"{e} {mean[e]:.3f}" for e in ("oracle", "random", wrong))
    yield criterion_check(
        "M1", "known groups: order", label, TRAINED, f"smallest margin of oracle, random, {wrong}", value=least,
        criterion="> 0", passed=least > 0, note=note,
    )  # fmt: skip
    area = auroc(s.values("oracle", label), s.values("random", label), 1)
    yield criterion_check(
        "M1", "known groups: single images", label, TRAINED, "AUROC oracle against random", value=area,
        criterion="≥ 0.8", passed=area >= 0.8,
    )  # fmt: skip
    if wrong != "anti_oracle":
        yield descriptive_check(
            "M1",
            "random against the other sign",
            label,
            TRAINED,
            "random − anti-oracle",
            value=mean["random"] - mean["anti_oracle"],
            note="a wrong sign at the right place is still at the right place",
        )
    yield _control_check(bench, label, mean)
    ranked = sorted(bench.sizes.methods, key=lambda e: -mean[e])
    yield descriptive_check(
        "M1", "oracle against the best method", label, TRAINED, "oracle − best method",
        value=mean["oracle"] - mean[ranked[0]], note=", ".join(f"{e} {mean[e]:.3f}" for e in ranked),
    )  # fmt: skip


def _control_check(bench: Bench, label: str, mean: Mapping[str, float]) -> Check:
    """The oracle is above every control; with a face of each population the order of strong controls is chance."""
    control = max(STRONG_CONTROLS, key=lambda e: mean[e])
    gap, note = mean["oracle"] - mean[control], f"{control} {mean[control]:.3f}"
    words = ("M1", "oracle against the best control", label, TRAINED, "oracle − best control")
    if bench.sizes.per_group < MIN_FACES:
        return descriptive_check(*words, value=gap, note=note)
    return criterion_check(*words, value=gap, criterion="> 0", passed=gap > 0, note=note)


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
    s, sign = bench.faces, bench.sign(label)
    least = min(
        superiority(s.values("oracle", label), s.values("random", label), sign),
        superiority(s.values("random", label), s.values("oracle flattened 4", label), sign),
    )
    means = ", ".join(f"{e} {s.mean(e, label):.3f}" for e in ("oracle", "random", "oracle flattened 4"))
    return criterion_check(
        "M1", "known groups: single images", label, TRAINED, "P(oracle > random), P(random > constant), the smaller",
        value=least, criterion="≥ 0.95", passed=least >= 0.95, note=means,
    )  # fmt: skip
