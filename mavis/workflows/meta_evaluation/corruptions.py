"""M2 and M2b: scores get worse as the exact map is mixed with noise, shifted, dilated, negated or stripped."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from mavis.workflows.meta_evaluation.fixtures import TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import MapScores

FLATTENED_MAPS = {0.0: "oracle", **{k / 4: f"oracle flattened {k}" for k in (1, 2, 3, 4)}}
SHIFTED_MAPS = ("oracle", "oracle shifted 1", "oracle shifted 3", "oracle shifted 6")
MAX_STANDARD_ERRORS = 3.0
"""Two standard errors, corrected for the six metrics that are tested."""
DILATED_MAPS = ("oracle", "oracle dilated 1", "oracle dilated 2")


def corruption_checks(bench: Bench) -> Iterator[Check]:
    """Checks of every deciding metric: noise monotonicity, and other corruptions."""
    for label in bench.labels("faithfulness", "localisation"):
        yield _monotonicity_check(bench, bench.faces, label, bench.ladder, TRAINED)
        yield _pure_noise_check(bench, label)
        yield from _other_corruption_checks(bench, label)
    for label in bench.labels("robustness"):
        yield _monotonicity_check(bench, bench.hand_wired_robustness, label, bench.ladder, "mask_mean")
    for label in bench.labels("complexity"):
        yield _monotonicity_check(bench, bench.faces, label, FLATTENED_MAPS, TRAINED)


def count_rises(means: Sequence[float]) -> int:
    """Steps at which a series that should fall rises."""
    return int(np.sum(np.diff(np.asarray(means)) > 0))


def _monotonicity_check(bench: Bench, scores: MapScores, label: str, ladder: dict[float, str], subject: str) -> Check:
    shares = list(ladder)
    means = [bench.sign(label) * scores.mean(name, label) for name in ladder.values()]
    rho = float(stats.spearmanr(shares, means).statistic)
    rises = count_rises(means)
    steps = ", ".join(f"{bench.sign(label) * mean:.3f}" for mean in means)
    return criterion_check(
        "M2", "noise monotonicity", label, subject, "Spearman of share and mean score", value=rho,
        criterion="≤ −0.95 and at most 1 rise", passed=rho <= -0.95 and rises <= 1, note=f"{rises} rises; {steps}",
    )  # fmt: skip


def _pure_noise_check(bench: Bench, label: str) -> Check:
    """Pure noise, the end of the ladder, has the declared chance value, for any mean of the map."""
    values = bench.faces.values(bench.ladder[1.0], label)
    values = values[~np.isnan(values)]
    deviation = abs(float(values.mean()) - (bench.traits(label).chance or 0.0))
    error = float(values.std(ddof=1) / len(values) ** 0.5)
    distance = deviation / error if error > 0 else 0.0
    return criterion_check(
        "M2", "all noise has the chance value", label, TRAINED, "distance from chance in standard errors",
        value=distance, criterion=f"≤ {MAX_STANDARD_ERRORS:g}", passed=distance <= MAX_STANDARD_ERRORS,
        note=f"mean {values.mean():.3f}, n {len(values)}",
    )  # fmt: skip


def _other_corruption_checks(bench: Bench, label: str) -> Iterator[Check]:
    scores = bench.faces
    for test, names in (("shift by 0, 1, 3, 6 cells", SHIFTED_MAPS), ("dilation by 0, 1, 2 cells", DILATED_MAPS)):
        means = [scores.mean(name, label) for name in names]
        yield descriptive_check(
            "M2b", test, label, TRAINED, "rises", value=count_rises(means), note=", ".join(f"{m:.3f}" for m in means)
        )
    is_localisation = bench.traits(label).category == "localisation"
    for test, name in (("sign flip", "anti_oracle"), ("without its top part", "oracle without its top part")):
        fall = scores.mean("oracle", label) - scores.mean(name, label)
        if is_localisation and name != "anti_oracle":
            note = "the top part may lie outside the region, and then the map points better without it"
            yield descriptive_check("M2b", test, label, TRAINED, "fall of the mean score", value=fall, note=note)
        else:
            yield criterion_check(
                "M2b",
                test,
                label,
                TRAINED,
                "fall of the mean score",
                value=fall,
                criterion="> 0",
                passed=fall > 0,
            )
