"""M9 to M10b: simulations in which planted gaps between groups are found, and no gap is found where none is planted."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from mavis.analysis.statistics.bootstrap import Floats
from mavis.workflows.meta_evaluation.fixtures import NOISE_SHARES, TRAINED, Bench, mixture_name
from mavis.workflows.meta_evaluation.results import Check, criterion_check
from mavis.workflows.meta_evaluation.simulated_disparities import (
    Outcome,
    SimulatedDisparity,
    analyse_table,
    regroup_at_random,
    simulate_outcomes,
)

ALPHA = 0.05
FALSE_POSITIVE_BAND = (0.02, 0.08)
"""95 % binomial band of 200 runs at .05."""

MIN_CLAIM = 100
"""Images per group from which a gap may be claimed."""


def disparity_checks(bench: Bench, *, with_faces: bool = True) -> Iterator[Check]:
    """Checks of the rule for gaps, on tables with no planted gap, a gap, unequal confidence, and both.

    Args:
        bench: the score tables.
        with_faces: also test scores of faces, which needs many of them; otherwise simulated tables alone.
    """
    if with_faces:
        yield from _null_checks(bench, f"{TRAINED}, pseudo-groups", _face_outcomes(bench))
        yield from (_power_check(bench, share) for share in NOISE_SHARES)
    yield from _null_checks(
        bench, "simulated, 7 groups", _simulate(bench, SimulatedDisparity((MIN_CLAIM,) * 7, slope=0.5))
    )
    yield _confidence_check(bench)
    yield _gap_and_confidence_check(bench)


def faces_table(bench: Bench, name: str) -> pd.DataFrame:
    """Primary scores of one map with the covariates of the adjusted gap; images without a score are left out."""
    predictions = bench.disparity_subject.predictions
    return pd.DataFrame(
        {
            "person": predictions.index,
            "confidence": predictions["probability"],
            "correct": (predictions["predicted"] == predictions["label"]).astype(int),
            "predicted": predictions["predicted"],
            "score": bench.faces_disparity.values(name, bench.protocol.decide.primary),
        }
    ).dropna()


def plant_gap(bench: Bench, share: float, max_images: int, seed: int) -> pd.DataFrame:
    """Two groups of different faces, at most ``max_images`` each, drawn per seed; noise in the maps of the second."""
    clean, noisy = (faces_table(bench, name) for name in ("oracle", mixture_name(share)))
    order = np.random.default_rng([bench.seed, 10, seed]).permutation(sorted(set(clean.index) & set(noisy.index)))
    size = min(max_images, len(order) // 2)
    halves = [clean.loc[order[:size]].assign(group="g0"), noisy.loc[order[size : 2 * size]].assign(group="g1")]
    return pd.concat(halves, ignore_index=True)


def _face_outcomes(bench: Bench) -> list[Outcome]:
    """Outcomes on the oracle's scores, with the faces assigned to two pseudo-groups at random in every run."""
    table = faces_table(bench, "oracle").head(2 * MIN_CLAIM)
    table = table.assign(group=[f"g{position % 2}" for position in range(len(table))]).reset_index(drop=True)
    size, runs = bench.sizes.draws, range(bench.sizes.simulations)
    return _collect(bench, regroup_at_random(table, runs, draws=size, permutations=size))


def _null_checks(bench: Bench, subject: str, outcomes: Sequence[Outcome]) -> Iterator[Check]:
    """With no planted gap, the range exceeds its null at the nominal rate, and gaps are reported at most that often."""
    share = float(np.mean([outcome.p < ALPHA for outcome in outcomes]))
    low, high = FALSE_POSITIVE_BAND if bench.sizes.simulations >= 200 else (0.0, 0.15)
    yield criterion_check(
        "M9", "A/A: range beyond its null", None, subject, "share of runs with p < .05", value=share,
        criterion=f"within [{low:g}, {high:g}]", passed=low <= share <= high, note=f"{len(outcomes)} runs",
    )  # fmt: skip
    reported = float(np.mean([outcome.significant for outcome in outcomes]))
    yield criterion_check(
        "M9", "A/A: gaps reported as found", None, subject, "share of runs", value=reported, criterion=f"≤ {high:g}",
        passed=reported <= high, note="conditions beside p make it rarer than the nominal share",
    )  # fmt: skip


def _power_check(bench: Bench, share: float) -> Check:
    size = bench.sizes.draws
    outcomes = [
        analyse_table(plant_gap(bench, share, MIN_CLAIM, seed), 0.0, draws=size, permutations=size, seed=seed)
        for seed in range(bench.sizes.simulations)
    ]
    power = float(np.mean([outcome.significant for outcome in outcomes]))
    gap = float(np.mean([outcome.gaps[0] for outcome in outcomes]))
    per_group = len(plant_gap(bench, share, MIN_CLAIM, 0)) // 2
    return criterion_check(
        "M9b", f"power: {share:g} noise in the maps of one group", None, TRAINED, "share of runs in which it is found",
        value=power, criterion="≥ 0.8", passed=power >= 0.8, note=f"{per_group} faces a group, mean raw gap {gap:.3f}",
    )  # fmt: skip


def _confidence_check(bench: Bench) -> Check:
    outcomes = _simulate(bench, SimulatedDisparity((MIN_CLAIM, MIN_CLAIM), shift=0.15, slope=0.5))
    coverage = float(np.mean([outcome.covers[2] for outcome in outcomes]))
    share = np.mean([outcome.significant for outcome in outcomes])
    raw = float(np.mean([outcome.gaps[0] for outcome in outcomes]))
    return criterion_check(
        "M10", "equal quality, unequal confidence", None, "simulated, 2 groups", "share of runs: adjusted covers 0",
        value=coverage, criterion="≥ 0.9, and the raw gap is not 0", passed=coverage >= 0.9 and abs(raw) > 0.02,
        note=f"mean raw gap {raw:.3f}, called total; found in {share:.2f} of runs",
    )  # fmt: skip


def _gap_and_confidence_check(bench: Bench) -> Check:
    outcomes = _simulate(bench, SimulatedDisparity((300, 300), gap=0.1, shift=0.15, slope=0.5))
    adjusted: Floats = np.array([outcome.gaps[2] for outcome in outcomes])
    return criterion_check(
        "M10b", "a gap of .1 in quality, and confidence", None, "simulated, 2 groups", "mean adjusted gap",
        value=float(adjusted.mean()), criterion="0.1 ± 0.03", passed=abs(float(adjusted.mean()) - 0.1) <= 0.03,
        note=f"mean raw gap {np.mean([outcome.gaps[0] for outcome in outcomes]):.3f}",
    )  # fmt: skip


def _simulate(bench: Bench, disparity: SimulatedDisparity) -> list[Outcome]:
    size = bench.sizes.draws
    runs = range(bench.sizes.simulations if len(disparity.sizes) < 7 else min(bench.sizes.simulations, 200))
    return _collect(bench, simulate_outcomes(disparity, runs, draws=size, permutations=size))


def _collect(bench: Bench, outcomes: Iterator[Outcome]) -> list[Outcome]:
    bench.notify("simulated gaps")
    return list(outcomes)
