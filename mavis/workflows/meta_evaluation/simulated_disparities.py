"""Simulated tables of images with planted gaps between groups, and the gaps that the analysis finds in them.

An image's score rises with the model's confidence and levels off, as removal scores do: they are bounded by how far the
model's output can fall. That curve is not one that the adjusted gap can fit exactly. Confident predictions are right
more often.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mavis.analysis.disparity import gaps
from mavis.analysis.findings import Estimate, GroupValue
from mavis.analysis.groups import BootstrapSettings
from mavis.core.errors import BadParameter
from mavis.protocol.schema import DisparityRules

STRATA: Any = {"exact": ("predicted", "correct"), "coarsened": {"confidence": 5}}
COVARIATES = {"numeric": ("confidence", "correct"), "squared": ("confidence",), "categorical": ("predicted",)}


@dataclass(frozen=True)
class SimulatedDisparity:
    """The planted truth of a table.

    Attributes:
        sizes: images per group.
        gap: amount by which the last group's scores are lower at equal confidence.
        shift: amount by which the last group's mean confidence is lower.
        slope: effect of confidence on the score; 0 for none.
        noise: standard deviation of scores at equal confidence.
        per_person: images that show one person.
        person_share: share of the noise's variance that a person's images have in common.
        groups_are_labels: True where the group is the label that the model predicts.
    """

    sizes: tuple[int, ...] = (100, 100)
    gap: float = 0.0
    shift: float = 0.0
    slope: float = 0.0
    noise: float = 0.2
    per_person: int = 1
    person_share: float = 0.0
    groups_are_labels: bool = False

    def table(self, seed: int) -> pd.DataFrame:
        """One row per image: ``group, person, confidence, correct, label, predicted, score``."""
        generator = np.random.default_rng([seed, 5])
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        last = group == len(self.sizes) - 1
        confidence = np.clip(generator.normal(0.75 - self.shift * last, 0.15), 0.2, 1)
        correct = generator.random(len(group)) < confidence
        level = 0.3 + self.slope * np.tanh(2 * confidence) - self.gap * last
        person = np.arange(len(group)) // self.per_person
        image_noise, person_noise = generator.normal(0, self.noise, (2, len(group)))
        noise = np.sqrt(1 - self.person_share) * image_noise + np.sqrt(self.person_share) * person_noise[person]
        classes = len(self.sizes) if self.groups_are_labels else 3
        label = group if self.groups_are_labels else generator.integers(0, classes, len(group))
        return pd.DataFrame(
            {
                "group": [f"g{number}" for number in group],
                "person": [f"p{number}" for number in person],
                "confidence": confidence,
                "correct": correct.astype(int),
                "label": label,
                "predicted": np.where(correct, label, (label + 1) % classes),
                "score": level + noise,
            }
        )


@dataclass(frozen=True)
class Outcome:
    """Findings in one table; gaps are those between the first and the last group.

    Attributes:
        p: permutation p of the range.
        gaps: raw, matched, adjusted.
        covers: True where the 95 % interval of a gap holds the planted gap.
        matched_share: share of the two groups' images that enter the matched gap.
        significant: True where any pair is reported as a disparity.
        equivalent: True where all pairs are shown to have no material gap.
    """

    p: float
    gaps: tuple[float, ...]
    covers: tuple[bool, ...]
    matched_share: float
    significant: bool
    equivalent: bool


def analyse_table(table: pd.DataFrame, planted_gap: float, *, draws: int, permutations: int, seed: int) -> Outcome:
    """Findings of `gaps.group_gap` in one table; persons are passed on where several images show the same one.

    Raises:
        BadParameter: the table has fewer than two groups.
    """
    images = table.rename(columns={"confidence": "probability"})
    images.index = pd.Index([f"{position:05d}" for position in range(len(images))], name="image")
    people = tuple(images["person"]) if images["person"].duplicated().any() else None
    settings = BootstrapSettings(("group",), 10, draws, 0.95, seed, people)
    gap = gaps.group_gap(
        images["score"].to_numpy(),
        images,
        "group",
        tuple(_group_value(str(name), scores) for name, scores in images.groupby("group")["score"]),
        settings=settings,
        limits=gaps.GapLimits(30, permutations, DisparityRules(adjust=("probability", "correct"))),
        column=gaps.ScoreColumn(compares_pairs=True),
    )
    if gap is None:
        raise BadParameter(f"A simulated table needs at least two groups; it has {table['group'].nunique()}.")
    ends = next(
        pair for pair in gap.pairs if (pair.first, pair.second) == (table["group"].iloc[0], table["group"].iloc[-1])
    )
    estimates = (ends.raw, ends.matched, ends.adjusted)
    return Outcome(
        p=_nan_if_none(gap.p),
        gaps=tuple(_nan_if_none(estimate.mean) for estimate in estimates),
        covers=tuple(_covers(estimate, planted_gap) for estimate in estimates),
        matched_share=ends.matched_share,
        significant=bool(gap.significant),
        equivalent=bool(gap.equivalent),
    )


def simulate_outcomes(
    disparity: SimulatedDisparity, seeds: Sequence[int], *, draws: int, permutations: int
) -> Iterator[Outcome]:
    """Outcomes of tables that are drawn anew for each seed."""
    for seed in seeds:
        yield analyse_table(disparity.table(seed), disparity.gap, draws=draws, permutations=permutations, seed=seed)


def split_at_random(
    disparity: SimulatedDisparity, seeds: Sequence[int], *, draws: int, permutations: int
) -> Iterator[Outcome]:
    """Outcomes of one drawn table whose images are assigned to groups of the same sizes at random for each seed."""
    return regroup_at_random(disparity.table(0), seeds, draws=draws, permutations=permutations)


def regroup_at_random(table: pd.DataFrame, seeds: Sequence[int], *, draws: int, permutations: int) -> Iterator[Outcome]:
    """Outcomes of a table whose images are assigned to groups of the same sizes at random for each seed."""
    for seed in seeds:
        shuffled = np.random.default_rng([seed, 6]).permutation(table["group"].to_numpy())
        pseudo = table.assign(group=shuffled).sort_values("group", kind="stable")
        yield analyse_table(pseudo, 0.0, draws=draws, permutations=permutations, seed=seed)


def _group_value(group: str, scores: pd.Series) -> GroupValue:
    mean = Estimate(mean=scores.mean(), low=None, high=None, n=len(scores))
    return GroupValue(attribute="group", group=group, estimate=mean, undefined=0, failed=0, suppressed=False)


def _covers(estimate: Estimate, planted_gap: float) -> bool:
    return _nan_if_none(estimate.low) <= planted_gap <= _nan_if_none(estimate.high)


def _nan_if_none(value: float | None) -> float:
    return float("nan") if value is None else value
