"""M2 and M2b: the more of the truth is gone, the worse the score; what changes nothing that a metric reads, nothing."""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from mavis.workflows.meta_evaluation.fixtures import TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, asked, reported
from mavis.workflows.meta_evaluation.scoring import Scores

FLAT = {0.0: "oracle", **{k / 4: f"oracle flattened {k}" for k in (1, 2, 3, 4)}}
SHIFTS = ("oracle", "oracle shifted 1", "oracle shifted 3", "oracle shifted 6")
END = 3.0
"""Standard errors: two, corrected for the six metrics of which it is asked."""
DILATIONS = ("oracle", "oracle dilated 1", "oracle dilated 2")


def checks(bench: Bench) -> Iterator[Check]:
    """Noise monotonicity of every deciding metric, and other corruptions."""
    for label in bench.labels("faithfulness", "localisation"):
        yield _monotone(bench, bench.faces, label, bench.ladder, TRAINED)
        yield _end(bench, label)
        yield from _others(bench, label)
    for label in bench.labels("robustness"):
        yield _monotone(bench, bench.steady, label, bench.ladder, "mask_mean")
    for label in bench.labels("complexity"):
        yield _monotone(bench, bench.faces, label, FLAT, TRAINED)


def violations(means: Sequence[float]) -> int:
    """Steps at which a series that should fall rises."""
    return int(np.sum(np.diff(np.asarray(means)) > 0))


def _monotone(bench: Bench, scores: Scores, label: str, ladder: dict[float, str], where: str) -> Check:
    shares = list(ladder)
    means = [bench.sign(label) * scores.mean(name, label) for name in ladder.values()]
    rho = float(stats.spearmanr(shares, means).statistic)
    rises = violations(means)
    steps = ", ".join(f"{bench.sign(label) * mean:.3f}" for mean in means)
    return asked(
        "M2", "noise monotonicity", label, where, "Spearman of share and mean score", value=rho,
        criterion="≤ −0.95 and at most 1 rise", passed=rho <= -0.95 and rises <= 1, note=f"{rises} rises; {steps}",
    )  # fmt: skip


def _end(bench: Bench, label: str) -> Check:
    """The end of the ladder is noise, which has the declared chance value whatever the map's mean is."""
    values = bench.faces.of(bench.ladder[1.0], label)
    values = values[~np.isnan(values)]
    away = abs(float(values.mean()) - (bench.traits(label).chance or 0.0))
    error = float(values.std(ddof=1) / len(values) ** 0.5)
    distance = away / error if error > 0 else 0.0
    return asked(
        "M2", "all noise has the chance value", label, TRAINED, "distance from chance in standard errors",
        value=distance, criterion=f"≤ {END:g}", passed=distance <= END,
        note=f"mean {values.mean():.3f}, n {len(values)}",
    )  # fmt: skip


def _others(bench: Bench, label: str) -> Iterator[Check]:
    s = bench.faces
    for words, names in (("shift by 0, 1, 3, 6 cells", SHIFTS), ("dilation by 0, 1, 2 cells", DILATIONS)):
        means = [s.mean(name, label) for name in names]
        yield reported(
            "M2b", words, label, TRAINED, "rises", value=violations(means), note=", ".join(f"{m:.3f}" for m in means)
        )
    located = bench.traits(label).category == "localisation"
    for words, name in (("sign flip", "anti_oracle"), ("without its top part", "oracle without its top part")):
        fall = s.mean("oracle", label) - s.mean(name, label)
        if located and name != "anti_oracle":
            note = "the top part may lie outside the region, and then the map points better without it"
            yield reported("M2b", words, label, TRAINED, "fall of the mean score", value=fall, note=note)
        else:
            yield asked(
                "M2b",
                words,
                label,
                TRAINED,
                "fall of the mean score",
                value=fall,
                criterion="> 0",
                passed=fall > 0,
            )
