"""M11 and M12: mass on the cue separates a biased model from its twin; the recommended set holds the best method."""

from collections.abc import Callable, Iterator, Mapping

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
"""``(leaderboard, seed, protocol) -> comparison``."""


def cue_checks(bench: Bench) -> Iterator[Check]:
    """AUROC with which mass on the cue separates the model that relies on it from its twin."""
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
    """Per map the area under the ROC curve of its mass on the cue, biased model against the other.

    Computed over all images, and over those whose cue agrees with the biased model's prediction: where it disagrees the
    true contribution is negative, and mass counts positive values only.
    """
    bench.notify("cue twins")
    names = ("oracle", "random", "sobel", "integrated_gradients", "gradcam")
    subjects = [
        load_subject(name, FACES, {}, per_group=bench.sizes.per_group, attribute="race", seed=bench.seed)
        for name in (BIASED, TRAINED)
    ]
    cues = subjects[0].data.cues(subjects[0].ids)
    cue_agrees = subjects[0].predictions["predicted"].to_numpy() == np.array(cues)
    components = [bench.explainer(e) for e in names]
    tables = [
        score_maps(subject, components, {cue_detection.CUE_METRIC: {}}, grid=bench.protocol.grid)
        for subject in subjects
    ]
    aurocs = {}
    for name in names:
        first, second = (table.values(name, cue_detection.CUE_METRIC) for table in tables)
        valid = ~(np.isnan(first) | np.isnan(second))
        aurocs[name] = float(cue_detection.auroc_influences(first[valid], second[valid]).mean())
        valid &= cue_agrees
        if valid.any():
            key = f"{name} where the cue speaks for the answer (n {valid.sum()})"
            aurocs[key] = float(cue_detection.auroc_influences(first[valid], second[valid]).mean())
    return aurocs


CLEAR_LEADER = {"a": 0.6, "b": 0.45, "c": 0.3, "d": 0.2}
LEADERBOARDS: Mapping[str, SimulatedLeaderboard] = {
    "a clear leader": SimulatedLeaderboard(CLEAR_LEADER),
    "a second behind by .03": SimulatedLeaderboard({**CLEAR_LEADER, "b": 0.57}, images_per_group=60),
    "a second within the ROPE": SimulatedLeaderboard({**CLEAR_LEADER, "b": 0.59}, images_per_group=60),
    "four tied": SimulatedLeaderboard(dict.fromkeys("abcd", 0.5), images_per_group=60),
}
"""Leaderboards whose best method is ``a``; where several are equally good, ``a`` is one of them."""

REFUSED_LEADERBOARDS: Mapping[str, SimulatedLeaderboard] = {
    "R4": SimulatedLeaderboard({**CLEAR_LEADER, "sobel": 0.59}),
    "R5": SimulatedLeaderboard(CLEAR_LEADER, shifts={("b", "nsrg@blur", ""): 1.5, ("c", "nsrg@mean", ""): 1.5}),
    "R6": SimulatedLeaderboard(dict.fromkeys("abcdefghijklmnop", 0.5)),
}
"""Leaderboards that call for a refusal: a control near the leader, contradicting imputers, equal methods."""


def rule_checks(bench: Bench, compare: CompareMethods = simulated_leaderboards.simulate_comparison) -> Iterator[Check]:
    """Share of runs whose recommended set holds the best method, its size, and the share of refusals that fire.

    Args:
        bench: gives the number of runs and the ROPE.
        compare: computes the comparison that names the set.
    """
    bench.notify("simulated leaderboards")
    protocol, runs = simulated_leaderboards.build_protocol(rope=bench.protocol.decide.rope), bench.sizes.simulations
    for name, leaderboard in LEADERBOARDS.items():
        sets = [set(compare(leaderboard, run, protocol).leading_set) for run in range(runs)]
        share = float(np.mean(["a" in leading for leading in sets]))
        alone = float(np.mean([leading == {"a"} for leading in sets]))
        size = float(np.mean([len(leading) for leading in sets]))
        yield criterion_check(
            "M12", "decision rule", None, f"simulated: {name}", "P(true best in the set)", value=share,
            criterion="≥ 0.95", passed=share >= 0.95,
            note=f"mean size {size:.2f} of {len(leaderboard.quality)}, alone in {alone:.2f}, {runs} runs",
        )  # fmt: skip
    for code, leaderboard in REFUSED_LEADERBOARDS.items():
        share = float(np.mean([code in _refusal_codes(leaderboard, run, protocol) for run in range(runs // 4)]))
        yield criterion_check(
            "M12", "refusals", None, f"simulated for {code}", f"share of boards with {code}", value=share,
            criterion="> 0.5", passed=share > 0.5, note=f"{runs // 4} runs",
        )  # fmt: skip


def _refusal_codes(leaderboard: SimulatedLeaderboard, seed: int, protocol: Protocol) -> set[str]:
    """Codes of the refusals that apply; Sobel takes part as a control."""
    evidence = simulated_leaderboards.simulate_evidence(leaderboard, seed, protocol, {"sobel": "control"})
    compared = comparison.compare_eligible(
        evidence.score_table, evidence.eligible, dict(evidence.group_counts), protocol
    )
    return {refusal.code for refusal in refusals.find_refusals(evidence, compared, protocol)}
