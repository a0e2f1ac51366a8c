"""M11 and M12: twins are told apart by what tells them apart, and the best method is in the set that is named."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mavis import stats, twins
from mavis.stats import Floats
from mavis.verify.bench import BIASED, FACES, TRAINED, Bench
from mavis.verify.findings import Check, asked, reported
from mavis.verify.scoring import scored, subject

TieSet = Callable[[Floats, float, int], set[int]]
"""``(scores (images, methods), rope, seed) -> places of the methods that are named``."""

METHODS, IMAGES, GROUPS = 6, 140, 7
DRAWS = 400
CONFIDENCE = 0.95


def cue_checks(bench: Bench) -> Iterator[Check]:
    """How well mass on the cue tells the model that leans on it from its twin."""
    expected = {"oracle": 1.0, "random": 0.5, "sobel": 0.5}
    for name, auroc in cue_aurocs(bench).items():
        if name in expected:
            yield asked(
                "M11", "cue twins", None, f"{BIASED} against {TRAINED}", f"AUROC of {name}", value=auroc,
                criterion=f"{expected[name]:g} ± 0.05", passed=abs(auroc - expected[name]) <= 0.05,
            )  # fmt: skip
        else:
            yield reported("M11", "cue twins", None, f"{BIASED} against {TRAINED}", f"AUROC of {name}", value=auroc)


def cue_aurocs(bench: Bench) -> dict[str, float]:
    """Per map the area under the ROC curve of its mass on the cue, leaning model against the other.

    Twice: over all images, and over those whose cue speaks for the leaning model's answer. Where it speaks against it
    the truth is negative, and a mass counts what is positive.
    """
    bench.tell("cue twins")
    names = ("oracle", "random", "sobel", "integrated_gradients", "gradcam")
    stages = [
        subject(name, FACES, {}, per_group=bench.sizes.per_group, attribute="race", seed=bench.seed)
        for name in (BIASED, TRAINED)
    ]
    cues: Any = getattr(stages[0].data, "cues")  # noqa: B009 (not part of what every data set offers)
    followed = stages[0].said["predicted"].to_numpy() == np.array(cues(stages[0].ids))
    parts = [bench.part(e) for e in names]
    tables = [scored(on, parts, {twins.METRIC: {}}, grid=bench.rules.grid) for on in stages]
    found = {}
    for name in names:
        first, second = (table.of(name, twins.METRIC) for table in tables)
        there = ~(np.isnan(first) | np.isnan(second))
        found[name] = float(twins.influences(first[there], second[there]).mean())
        there &= followed
        if there.any():
            key = f"{name} where the cue speaks for the answer (n {there.sum()})"
            found[key] = float(twins.influences(first[there], second[there]).mean())
    return found


@dataclass(frozen=True)
class Leaderboard:
    """A simulated leaderboard: what is true of each method.

    Attributes:
        truth: mean skill of the methods.
        spread: standard deviation of one image's skill.
        common: share of its variance that is the image's, the same for all methods.
    """

    truth: tuple[float, ...]
    spread: float = 0.25
    common: float = 0.5

    def scores(self, run: int) -> Floats:
        """``(images, methods)``."""
        generator = np.random.default_rng([run, 12])
        own = generator.normal(0, self.spread, (IMAGES, len(self.truth)))
        image = generator.normal(0, self.spread, (IMAGES, 1))
        noise = np.sqrt(self.common) * image + np.sqrt(1 - self.common) * own
        return np.asarray(self.truth + noise, dtype=np.float64)


BOARDS = {
    "a clear leader": Leaderboard((0.8, 0.6, 0.55, 0.5, 0.4, 0.3)),
    "a close second": Leaderboard((0.8, 0.77, 0.6, 0.5, 0.4, 0.3)),
    "three tied": Leaderboard((0.7, 0.7, 0.7, 0.5, 0.4, 0.3)),
    "all tied": Leaderboard((0.6,) * METHODS),
}


def tie_set(scores: Floats, rope: float, seed: int) -> set[int]:
    """The rule: leader by mean, and every method not shown to be worse by more than the ROPE (Holm, bootstrap)."""
    strata = [f"g{place % GROUPS}" for place in range(len(scores))]
    draws = np.stack(list(stats.bootstrap_means(scores, strata, DRAWS, seed).values())).mean(0)
    leader = int(scores.mean(0).argmax())
    others = [place for place in range(scores.shape[1]) if place != leader]
    worse, _ = stats.holm_excluded(draws[:, [leader]] - draws[:, others], rope, CONFIDENCE)
    return {leader, *(place for place, gone in zip(others, worse, strict=True) if not gone)}


def rule_checks(bench: Bench, rule: TieSet = tie_set) -> Iterator[Check]:
    """How often the truly best method is in the set, how large the set is, and whether adding a method moves it.

    Args:
        bench: its ROPE and its number of runs.
        rule: what names the set.
    """
    bench.tell("simulated leaderboards")
    rope = bench.rules.decide.rope
    for name, board in BOARDS.items():
        best = {place for place, mean in enumerate(board.truth) if mean == max(board.truth)}
        sets = [rule(board.scores(run), rope, run) for run in range(bench.sizes.simulations)]
        # Of several equally good methods, the one that happens to come first is as good a truth as any.
        share = float(np.mean([min(best) in found for found in sets]))
        size = float(np.mean([len(found) for found in sets]))
        yield asked(
            "M12", "decision rule", None, f"simulated: {name}", "P(true best in the set)", value=share,
            criterion="≥ 0.95", passed=share >= 0.95, note=f"mean size {size:.2f} of {METHODS}, {len(sets)} runs",
        )  # fmt: skip
    yield _alone(bench, rule)


def _alone(bench: Bench, rule: TieSet) -> Check:
    """A clear leader is named alone, or the rule would say nothing."""
    board = replace(BOARDS["a clear leader"])
    sets = [rule(board.scores(run), bench.rules.decide.rope, run) for run in range(bench.sizes.simulations)]
    share = float(np.mean([found == {0} for found in sets]))
    return reported(
        "M12", "decision rule", None, "simulated: a clear leader", "share of runs that name it alone", value=share
    )
