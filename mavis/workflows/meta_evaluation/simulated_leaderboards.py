"""Simulated leaderboards: methods whose quality is planted, scored on images that are harder or easier for all.

A method's score on an image is its quality, moved by how hard the image is and by noise of its own; the control that
has skill 0 scores around 0, and 1 is the best there is, so that a method's overall skill is its quality.
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
    weak_groups=(),
    cue={},
    remarks=(),
)


def build_protocol(**decide: object) -> Protocol:
    """Rules under which all of these metrics decide."""
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
    """Who takes part, and how well they really do.

    Attributes:
        quality: per method.
        images_per_group: per group.
        n_groups: how many.
        noise: standard deviation of a method's scores on one image.
        difficulty: standard deviation of what all methods share on an image.
        shifts: per (method, metric, group) what is added to its quality; "" is every group.
    """

    quality: Mapping[str, float]
    images_per_group: int = 100
    n_groups: int = 3
    noise: float = 0.25
    difficulty: float = 0.15
    shifts: Mapping[tuple[str, str, str], float] = field(default_factory=dict)

    @property
    def quality_with_control(self) -> dict[str, float]:
        """The control that has skill 0 too."""
        return {"random": 0.0, **self.quality}

    @property
    def table(self) -> pd.DataFrame:
        """The images, index id; labelled race."""
        names = [(f"g{g}/{k:03d}", f"g{g}") for g in range(self.n_groups) for k in range(self.images_per_group)]
        return pd.DataFrame(names, columns=["image", "race"]).set_index("image")

    def scores(self, seed: int) -> pd.DataFrame:
        """One row per image, explainer and metric."""
        table, parts = self.table, []
        for place, metric in enumerate(METRICS):
            hard = np.random.default_rng([seed, 1, place]).normal(0, self.difficulty, len(table))
            for name, quality in self.quality_with_control.items():
                own = np.random.default_rng([seed, 2, place, *name.encode()]).normal(0, self.noise, len(table))
                value = quality + own + (hard if name != "random" else 0)
                for (who, what, where), by in self.shifts.items():
                    if (who, what) == (name, metric):
                        value = value + by * ((table["race"] == where) | (where == "")).to_numpy()
                parts.append(pd.DataFrame({"image": table.index, "explainer": name, "metric": metric, "value": value}))
        return pd.concat(parts, ignore_index=True).assign(status="ok", model="m")


def simulate_evidence(
    leaderboard: SimulatedLeaderboard,
    seed: int,
    protocol: Protocol,
    roles: Mapping[str, Role] = MappingProxyType({}),
    metrics: Mapping[str, MetricTraits] = METRICS,
) -> Evidence:
    """What is decided on; everybody without another role is a method that passed every gate."""
    table, scores = leaderboard.table, leaderboard.scores(seed)
    counted = overall_score.deciding_metrics(protocol, list(metrics), {}, truth_verified=None)
    standing = overall_score.build_score_table(scores, table, metrics, counted, protocol)
    return Evidence(
        entries=tuple(
            entry(name, {"random": "control", **roles}.get(name, "method")) for name in leaderboard.quality_with_control
        ),
        score_table=standing,
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
    """What the scores of one run say."""
    found = simulate_evidence(leaderboard, seed, protocol)
    return comparison.compare_eligible(found.score_table, found.eligible, dict(found.group_counts), protocol)
