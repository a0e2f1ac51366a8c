"""Simulated leaderboards: methods of planted quality, scored on images that are harder or easier for all of them.

A method's score on an image is its quality plus the image's difficulty plus independent noise. The control with skill 0
scores around 0 and the best possible score is 1, so a method's overall skill is its quality.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from mavis.analysis import groups
from mavis.analysis.findings import ExplainerEntry, Validity
from mavis.core.traits import MetricTraits, Role
from mavis.decision import comparison, overall_score
from mavis.decision.comparison import Comparison
from mavis.decision.refusals import Evidence
from mavis.protocol.loading import parse_protocol
from mavis.protocol.schema import Protocol

FAITHFULNESS = MetricTraits("-", "faithfulness", higher_is_better=True, perfect=1.0)
METRICS: Mapping[str, MetricTraits] = {
    **dict.fromkeys(("nsrg", "nsrg@mean", "nsrg@blur", "road_gap", "single_deletion"), FAITHFULNESS),
    "flip_equivariance": replace(FAITHFULNESS, category="robustness"),
}
VALIDITY = Validity(
    accuracy=groups.to_estimate(0.9, 0.88, 0.92, 600),
    balanced_accuracy=groups.to_estimate(0.9, 0.88, 0.92, 600),
    chance=0.5,
    better_than_chance=True,
    groups=(),
    cue={},
    remarks=(),
)


def build_protocol(**decide: object) -> Protocol:
    """A protocol under which all of these metrics decide; ``decide`` replaces values of that section."""
    return parse_protocol(
        {
            "protocol": "simulated",
            "schema": 1,
            "status": "draft",
            "about": "For simulations.",
            "seed": 3,
            "data": {"groups": ["race"], "n_per_group": {"target": 100, "min_report": 30, "min_claim": 100}},
            "explainers": {"controls": ["random"]},
            "metrics": {
                **{name: {} for name in METRICS},
                "nsrg": {"imputers": ["mean", "blur"]},
                "nsrg@mean": {"imputers": ["mean"]},
                "nsrg@blur": {"imputers": ["blur"]},
            },
            "gates": {
                "valid": {"min": 0.95},
                "randomisation": {"max": 0.5, "max_upper": 0.65},
                "controls": {"metric": "nsrg", "against": ["random"], "margin": 0.02},
            },
            "aggregate": {"bootstrap": 500, "permutations": 100, "smaa": 500},
            "decide": {
                "primary": "nsrg",
                "metrics": {name: "always" for name in METRICS if "@" not in name},
                "weights": {"faithfulness": 0.7, "robustness": 0.2, "worst_group": 0.1},
                "imputers": ["nsrg@mean", "nsrg@blur"],
                "rope": 0.02,
                "min_candidates": 3,
                "max_undefined": 0.05,
                **decide,
            },
        },
        "simulated",
    )


@dataclass(frozen=True)
class SimulatedLeaderboard:
    """Methods and their true quality.

    Attributes:
        quality: true quality per method.
        images_per_group: images per group.
        n_groups: number of groups.
        noise: standard deviation of a method's scores on one image.
        difficulty: standard deviation of the part of a score that all methods share on an image.
        shifts: amount added to the quality, by (method, metric, group); group "" stands for all groups.
    """

    quality: Mapping[str, float]
    images_per_group: int = 100
    n_groups: int = 3
    noise: float = 0.25
    difficulty: float = 0.15
    shifts: Mapping[tuple[str, str, str], float] = field(default_factory=dict)

    @property
    def quality_with_control(self) -> dict[str, float]:
        """Quality per explainer, the control with skill 0 included."""
        return {"random": 0.0, **self.quality}

    @property
    def table(self) -> pd.DataFrame:
        """The images, index id; labelled race."""
        names = [(f"g{g}/{k:03d}", f"g{g}") for g in range(self.n_groups) for k in range(self.images_per_group)]
        return pd.DataFrame(names, columns=["image", "race"]).set_index("image")

    def scores(self, seed: int) -> pd.DataFrame:
        """One row per image, explainer and metric."""
        table, values = self.table, []
        names = list(self.quality_with_control)
        in_group = {group: (table["race"] == group).to_numpy() | (group == "") for _, _, group in self.shifts}
        for number, metric in enumerate(METRICS):
            difficulty = np.random.default_rng([seed, 1, number]).normal(0, self.difficulty, len(table))
            for name, quality in self.quality_with_control.items():
                noise = np.random.default_rng([seed, 2, number, *name.encode()]).normal(0, self.noise, len(table))
                value = quality + noise + (difficulty if name != "random" else 0)
                for (method, shifted_metric, group), shift in self.shifts.items():
                    if (method, shifted_metric) == (name, metric):
                        value = value + shift * in_group[group]
                values.append(value)
        size = len(table)
        columns = {
            "image": np.tile(table.index.to_numpy(), len(values)),
            "explainer": np.tile(np.repeat(names, size), len(METRICS)),
            "metric": np.repeat([*METRICS], size * len(names)),
            "value": np.concatenate(values),
        }
        return pd.DataFrame(columns).assign(status="ok", model="m")


def simulate_evidence(
    leaderboard: SimulatedLeaderboard,
    seed: int,
    protocol: Protocol,
    roles: Mapping[str, Role] = MappingProxyType({}),
    metrics: Mapping[str, MetricTraits] = METRICS,
) -> Evidence:
    """Evidence for a decision; names without another role are methods that passed all gates."""
    table, scores = leaderboard.table, leaderboard.scores(seed)
    deciding = overall_score.deciding_metrics(protocol, list(metrics), {}, truth_verified=None)
    score_table = overall_score.build_score_table(scores, table, metrics, deciding, protocol)
    return Evidence(
        entries=tuple(
            entry(name, {"random": "control", **roles}.get(name, "method")) for name in leaderboard.quality_with_control
        ),
        score_table=score_table,
        validity=VALIDITY,
        group_counts={str(name): int(n) for name, n in table["race"].value_counts().items()},
    )


def entry(name: str, role: Role) -> ExplainerEntry:
    """A row of a leaderboard without its metrics."""
    return ExplainerEntry(
        explainer=name,
        role=role,
        about="",
        metrics=(),
        gates=(),
        eligible=role == "method",
        rank=None,
        missing=None,
    )


def simulate_comparison(leaderboard: SimulatedLeaderboard, seed: int, protocol: Protocol) -> Comparison:
    """Comparison of the eligible methods in one run."""
    evidence = simulate_evidence(leaderboard, seed, protocol)
    return comparison.compare_eligible(evidence.score_table, evidence.eligible, dict(evidence.group_counts), protocol)
