"""Tables of images whose gaps between groups are planted, and what is found in them.

An image's score rises with the model's confidence and levels off, as a score does that lives on what the model's answer
can lose; that curve is none of the adjusted gap's own. Confident answers are right more often.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mavis import gaps, stats

STRATA: Any = {"exact": ("predicted", "correct"), "coarsened": {"confidence": 5}}
HELD = {"numeric": ("confidence", "correct"), "squared": ("confidence",), "categorical": ("predicted",)}


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        sizes: images per group.
        gap: how much lower the last group's scores are at equal confidence.
        shift: how much lower the last group's mean confidence is.
        slope: how much of the score comes with confidence; 0 is a score that does not depend on it.
        noise: standard deviation of scores at equal confidence.
        per_person: images that show one person.
        alike: share of the noise's variance that is the person's.
    """

    sizes: tuple[int, ...] = (100, 100)
    gap: float = 0.0
    shift: float = 0.0
    slope: float = 0.0
    noise: float = 0.2
    per_person: int = 1
    alike: float = 0.0

    def table(self, seed: int) -> pd.DataFrame:
        """One row per image: ``group, person, confidence, correct, predicted, score``."""
        generator = np.random.default_rng([seed, 5])
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        last = group == len(self.sizes) - 1
        confidence = np.clip(generator.normal(0.75 - self.shift * last, 0.15), 0.2, 1)
        correct = generator.random(len(group)) < confidence
        level = 0.3 + self.slope * np.tanh(2 * confidence) - self.gap * last
        person = np.arange(len(group)) // self.per_person
        own, common = generator.normal(0, self.noise, (2, len(group)))
        noise = np.sqrt(1 - self.alike) * own + np.sqrt(self.alike) * common[person]
        return pd.DataFrame(
            {
                "group": [f"g{number}" for number in group],
                "person": [f"p{number}" for number in person],
                "confidence": confidence,
                "correct": correct.astype(int),
                "predicted": generator.integers(0, 3, len(group)),
                "score": level + noise,
            }
        )


@dataclass(frozen=True)
class Outcome:
    """What is found in one table; gaps are those of the first group and the last.

    Attributes:
        null: range and p, as the protocol's rule asks for them.
        gap: raw, matched, adjusted.
        covers: whether the 95 % interval of each holds the planted gap.
        retained: share of the two groups' images that the matched gap rests on.
        found: whether any pair is reported as a disparity.
        equivalent: whether all pairs are shown to have no material gap.
    """

    null: gaps.NullRange
    gap: tuple[float, ...]
    covers: tuple[bool, ...]
    retained: float
    found: bool
    equivalent: bool


def outcome(table: pd.DataFrame, truth: float, *, draws: int, permutations: int, seed: int) -> Outcome:
    """Everything that protocol S10 asks of one table."""
    scores, groups = table["score"].to_numpy(), table["group"].tolist()
    stratum = gaps.strata(table, **STRATA)
    weights = stats.bootstrap_weights(groups, table["person"].tolist(), draws, seed)
    null = gaps.against_null(scores, groups, stratum, permutations=permutations, seed=seed)
    raw = gaps.raw_gaps(scores, groups, weights)
    matched = gaps.matched_gaps(scores, groups, stratum, weights)
    adjusted = gaps.adjusted_gaps(scores, groups, gaps.covariates(table, **HELD), weights)
    ends = raw.pairs.index((groups[0], groups[-1]))
    return Outcome(
        null=null,
        gap=tuple(float(one.gap[ends]) for one in (raw, matched, adjusted)),
        covers=tuple(_covers(one, ends, truth) for one in (raw, matched, adjusted)),
        retained=float(matched.retained[ends]),
        found=bool(gaps.found(null, matched, adjusted, raw.gap).any()),
        equivalent=bool(gaps.equivalent(adjusted, 0.05).all()),
    )


def outcomes(world: World, runs: Sequence[int], *, draws: int, permutations: int) -> Iterator[Outcome]:
    """The world drawn anew in each run."""
    for run in runs:
        yield outcome(world.table(run), world.gap, draws=draws, permutations=permutations, seed=run)


def split_at_random(world: World, runs: Sequence[int], *, draws: int, permutations: int) -> Iterator[Outcome]:
    """One table of the world, its images given to groups of the same sizes at random in each run."""
    return regrouped(world.table(0), runs, draws=draws, permutations=permutations)


def regrouped(table: pd.DataFrame, runs: Sequence[int], *, draws: int, permutations: int) -> Iterator[Outcome]:
    """A table, its images given to groups of the same sizes at random in each run."""
    for run in runs:
        shuffled = np.random.default_rng([run, 6]).permutation(table["group"].to_numpy())
        pseudo = table.assign(group=shuffled).sort_values("group", kind="stable")
        yield outcome(pseudo, 0.0, draws=draws, permutations=permutations, seed=run)


def _covers(one: gaps.PairGaps, place: int, truth: float) -> bool:
    low, high = stats.percentiles(one.draws, 0.95)
    return bool(low[place] <= truth <= high[place])
