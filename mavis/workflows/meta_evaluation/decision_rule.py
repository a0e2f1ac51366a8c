"""M11 and M12: twins are told apart by what tells them apart, and the best method is in the set that is named."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mavis.analysis import cue_detection
from mavis.decision import comparison, refusals
from mavis.decision.comparison import Comparison
from mavis.protocol.schema import Protocol
from mavis.workflows.meta_evaluation import simulated_leaderboards
from mavis.workflows.meta_evaluation.fixtures import BIASED, FACES, TRAINED, Bench
from mavis.workflows.meta_evaluation.results import Check, criterion_check, descriptive_check
from mavis.workflows.meta_evaluation.scoring import load_subject, score_maps
from mavis.workflows.meta_evaluation.simulated_leaderboards import SimulatedLeaderboard

CompareMethods = Callable[[SimulatedLeaderboard, int, Protocol], Comparison]
"""``(board, run, rules) -> what its scores say``."""


def cue_checks(bench: Bench) -> Iterator[Check]:
    """How well mass on the cue tells the model that leans on it from its twin."""
    expected = {"oracle": 1.0, "random": 0.5, "sobel": 0.5}
    for name, auroc in cue_aurocs(bench).items():
        if name in expected:
            yield criterion_check(
                "M11", "cue twins", None, f"{BIASED} against {TRAINED}", f"AUROC of {name}", value=auroc,
                criterion=f"{expected[name]:g} ± 0.05", passed=abs(auroc - expected[name]) <= 0.05,
            )  # fmt: skip
        else:
            yield descriptive_check(
                "M11", "cue twins", None, f"{BIASED} against {TRAINED}", f"AUROC of {name}", value=auroc
            )


def cue_aurocs(bench: Bench) -> dict[str, float]:
    """Per map the area under the ROC curve of its mass on the cue, leaning model against the other.

    Twice: over all images, and over those whose cue speaks for the leaning model's answer. Where it speaks against it
    the truth is negative, and a mass counts what is positive.
    """
    bench.notify("cue twins")
    names = ("oracle", "random", "sobel", "integrated_gradients", "gradcam")
    stages = [
        load_subject(name, FACES, {}, per_group=bench.sizes.per_group, attribute="race", seed=bench.seed)
        for name in (BIASED, TRAINED)
    ]
    cues: Any = getattr(stages[0].data, "cues")  # noqa: B009 (not part of what every data set offers)
    followed = stages[0].predictions["predicted"].to_numpy() == np.array(cues(stages[0].ids))
    parts = [bench.explainer(e) for e in names]
    tables = [score_maps(on, parts, {cue_detection.CUE_METRIC: {}}, grid=bench.protocol.grid) for on in stages]
    found = {}
    for name in names:
        first, second = (table.values(name, cue_detection.CUE_METRIC) for table in tables)
        there = ~(np.isnan(first) | np.isnan(second))
        found[name] = float(cue_detection.auroc_influences(first[there], second[there]).mean())
        there &= followed
        if there.any():
            key = f"{name} where the cue speaks for the answer (n {there.sum()})"
            found[key] = float(cue_detection.auroc_influences(first[there], second[there]).mean())
    return found


CLEAR_LEADER = {"a": 0.6, "b": 0.45, "c": 0.3, "d": 0.2}
LEADERBOARDS: Mapping[str, SimulatedLeaderboard] = {
    "a clear leader": SimulatedLeaderboard(CLEAR_LEADER),
    "a second behind by .03": SimulatedLeaderboard({**CLEAR_LEADER, "b": 0.57}, images_per_group=60),
    "a second within the ROPE": SimulatedLeaderboard({**CLEAR_LEADER, "b": 0.59}, images_per_group=60),
    "four tied": SimulatedLeaderboard(dict.fromkeys("abcd", 0.5), images_per_group=60),
}
"""Boards whose best method is ``a``; of equally good ones it is as good a truth as any."""

REFUSED_LEADERBOARDS: Mapping[str, SimulatedLeaderboard] = {
    "R4": SimulatedLeaderboard({**CLEAR_LEADER, "sobel": 0.59}),
    "R5": SimulatedLeaderboard(CLEAR_LEADER, shifts={("b", "nsrg@blur", ""): 1.5, ("c", "nsrg@mean", ""): 1.5}),
    "R6": SimulatedLeaderboard(dict.fromkeys("abcdefghijklmnop", 0.5)),
}
"""Boards on which nothing should be recommended: a control near the leader, imputers that contradict, all the same."""


def rule_checks(bench: Bench, compare: CompareMethods = simulated_leaderboards.simulate_comparison) -> Iterator[Check]:
    """How often the truly best method is in the set, how large the set is, and whether a refusal fires that should.

    Args:
        bench: its number of runs.
        compare: what names the set.
    """
    bench.notify("simulated leaderboards")
    rules, runs = simulated_leaderboards.build_protocol(rope=bench.protocol.decide.rope), bench.sizes.simulations
    for name, board in LEADERBOARDS.items():
        sets = [set(compare(board, run, rules).leading_set) for run in range(runs)]
        share = float(np.mean(["a" in found for found in sets]))
        alone = float(np.mean([found == {"a"} for found in sets]))
        size = float(np.mean([len(found) for found in sets]))
        yield criterion_check(
            "M12", "decision rule", None, f"simulated: {name}", "P(true best in the set)", value=share,
            criterion="≥ 0.95", passed=share >= 0.95,
            note=f"mean size {size:.2f} of {len(board.quality)}, alone in {alone:.2f}, {runs} runs",
        )  # fmt: skip
    for code, board in REFUSED_LEADERBOARDS.items():
        fired = float(np.mean([code in _refusal_codes(board, run, rules) for run in range(runs // 4)]))
        yield criterion_check(
            "M12", "refusals", None, f"simulated for {code}", f"share of boards with {code}", value=fired,
            criterion="> 0.5", passed=fired > 0.5, note=f"{runs // 4} runs",
        )  # fmt: skip


def _refusal_codes(leaderboard: SimulatedLeaderboard, seed: int, protocol: Protocol) -> set[str]:
    """Grounds against a recommendation; Sobel takes part as a control."""
    found = simulated_leaderboards.simulate_evidence(leaderboard, seed, protocol, {"sobel": "control"})
    held = comparison.compare_eligible(found.score_table, found.eligible, dict(found.group_counts), protocol)
    return {ground.code for ground in refusals.find_refusals(found, held, protocol)}
