"""M9 to M10b: gaps between groups are found where they are planted, and not where there are none. Simulations."""

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
"""Images of a group from which on a gap may be claimed."""


def disparity_checks(bench: Bench, *, with_faces: bool = True) -> Iterator[Check]:
    """The rule for gaps, on tables with nothing planted, a gap, unequal confidence, and both.

    Args:
        bench: the tables.
        with_faces: whether scores of faces are asked too, which takes many of them; else simulated ones alone.
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
    """Scores of one map on the primary metric, with what gaps are adjusted for; images without a score left out."""
    said = bench.disparity_subject.predictions
    return pd.DataFrame(
        {
            "person": said.index,
            "confidence": said["probability"],
            "correct": (said["predicted"] == said["label"]).astype(int),
            "predicted": said["predicted"],
            "score": bench.faces_disparity.values(name, bench.protocol.decide.primary),
        }
    ).dropna()


def plant_gap(bench: Bench, share: float, max_images: int, seed: int) -> pd.DataFrame:
    """Two groups of different faces, at most n each, dealt anew in every run; the second's maps hold noise."""
    clean, noisy = (faces_table(bench, name) for name in ("oracle", mixture_name(share)))
    order = np.random.default_rng([bench.seed, 10, seed]).permutation(sorted(set(clean.index) & set(noisy.index)))
    size = min(max_images, len(order) // 2)
    halves = [clean.loc[order[:size]].assign(group="g0"), noisy.loc[order[size : 2 * size]].assign(group="g1")]
    return pd.concat(halves, ignore_index=True)


def _face_outcomes(bench: Bench) -> list[Outcome]:
    """Scores of the oracle, faces dealt to two pseudo-groups in every run."""
    table = faces_table(bench, "oracle").head(2 * MIN_CLAIM)
    table = table.assign(group=[f"g{place % 2}" for place in range(len(table))]).reset_index(drop=True)
    size, runs = bench.sizes.draws, range(bench.sizes.simulations)
    return _collect(bench, regroup_at_random(table, runs, draws=size, permutations=size))


def _null_checks(bench: Bench, subject: str, outcomes: Sequence[Outcome]) -> Iterator[Check]:
    """No gap is planted: ranges beyond their null are as frequent as they may be, gaps told of rarer still."""
    share = float(np.mean([one.p < ALPHA for one in outcomes]))
    low, high = FALSE_POSITIVE_BAND if bench.sizes.simulations >= 200 else (0.0, 0.15)
    yield criterion_check(
        "M9", "A/A: range beyond its null", None, subject, "share of runs with p < .05", value=share,
        criterion=f"within [{low:g}, {high:g}]", passed=low <= share <= high, note=f"{len(outcomes)} runs",
    )  # fmt: skip
    told = float(np.mean([one.significant for one in outcomes]))
    yield criterion_check(
        "M9", "A/A: gaps reported as found", None, subject, "share of runs", value=told, criterion=f"≤ {high:g}",
        passed=told <= high, note="conditions beside p make it rarer than the nominal share",
    )  # fmt: skip


def _power_check(bench: Bench, share: float) -> Check:
    size = bench.sizes.draws
    found = [
        analyse_table(plant_gap(bench, share, MIN_CLAIM, run), 0.0, draws=size, permutations=size, seed=run)
        for run in range(bench.sizes.simulations)
    ]
    often, gap = float(np.mean([one.significant for one in found])), float(np.mean([one.gaps[0] for one in found]))
    each = len(plant_gap(bench, share, MIN_CLAIM, 0)) // 2
    return criterion_check(
        "M9b", f"power: {share:g} noise in the maps of one group", None, TRAINED, "share of runs in which it is found",
        value=often, criterion="≥ 0.8", passed=often >= 0.8, note=f"{each} faces a group, mean raw gap {gap:.3f}",
    )  # fmt: skip


def _confidence_check(bench: Bench) -> Check:
    found = _simulate(bench, SimulatedDisparity((MIN_CLAIM, MIN_CLAIM), shift=0.15, slope=0.5))
    covers = float(np.mean([one.covers[2] for one in found]))
    share = np.mean([one.significant for one in found])
    raw = float(np.mean([one.gaps[0] for one in found]))
    return criterion_check(
        "M10", "equal quality, unequal confidence", None, "simulated, 2 groups", "share of runs: adjusted covers 0",
        value=covers, criterion="≥ 0.9, and the raw gap is not 0", passed=covers >= 0.9 and abs(raw) > 0.02,
        note=f"mean raw gap {raw:.3f}, called total; found in {share:.2f} of runs",
    )  # fmt: skip


def _gap_and_confidence_check(bench: Bench) -> Check:
    found = _simulate(bench, SimulatedDisparity((300, 300), gap=0.1, shift=0.15, slope=0.5))
    adjusted: Floats = np.array([one.gaps[2] for one in found])
    return criterion_check(
        "M10b", "a gap of .1 in quality, and confidence", None, "simulated, 2 groups", "mean adjusted gap",
        value=float(adjusted.mean()), criterion="0.1 ± 0.03", passed=abs(float(adjusted.mean()) - 0.1) <= 0.03,
        note=f"mean raw gap {np.mean([one.gaps[0] for one in found]):.3f}",
    )  # fmt: skip


def _simulate(bench: Bench, disparity: SimulatedDisparity) -> list[Outcome]:
    size = bench.sizes.draws
    runs = range(bench.sizes.simulations if len(disparity.sizes) < 7 else min(bench.sizes.simulations, 200))
    return _collect(bench, simulate_outcomes(disparity, runs, draws=size, permutations=size))


def _collect(bench: Bench, outcomes: Iterator[Outcome]) -> list[Outcome]:
    bench.notify("simulated gaps")
    return list(outcomes)
