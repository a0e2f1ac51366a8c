"""Synthetic tables with planted truth: images with groups and labels, per-image scores, and a protocol for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mavis.analysis import model_validity
from mavis.analysis.findings import ExplainerEntry, Reliability, Validity
from mavis.analysis.groups import BootstrapSettings, bootstrap_settings
from mavis.core.traits import ExplainerTraits, MetricTraits
from mavis.decision import leaderboard, overall_score
from mavis.decision.leaderboard import Participants
from mavis.decision.overall_score import ScoreTable
from mavis.decision.refusals import Evidence
from mavis.protocol.loading import parse_protocol, with_overrides
from mavis.protocol.schema import Protocol

GROUP_SIZES = {"alder": 40, "birch": 40, "cedar": 40}
CLASSES = ("alder", "birch", "cedar")
BOOTSTRAP = BootstrapSettings(attributes=("race",), min_report=10, n_bootstrap=400, confidence=0.95, seed=7)

METRICS = {
    "nsrg": MetricTraits("-", "faithfulness", higher_is_better=True, chance=0.0, perfect=1.0),
    "nsrg@mean": MetricTraits("-", "faithfulness", higher_is_better=True, perfect=1.0),
    "nsrg@blur": MetricTraits("-", "faithfulness", higher_is_better=True, perfect=1.0),
    "deletion": MetricTraits("-", "faithfulness", higher_is_better=False, perfect=0.0),
    "flip_equivariance": MetricTraits("-", "robustness", higher_is_better=True, perfect=1.0),
    "gini": MetricTraits("-", "complexity", higher_is_better=True),
    "relevance_mass_skill": MetricTraits("-", "localisation", higher_is_better=True),
    "mprt": MetricTraits("-", "randomisation", higher_is_better=False),
    "valid": MetricTraits("-", "hygiene", higher_is_better=True),
    "forwards": MetricTraits("-", "cost", higher_is_better=False),
    "backwards": MetricTraits("-", "cost", higher_is_better=False),
}

PROTOCOL_BODY: dict[str, Any] = {
    "protocol": "made_up",
    "schema": 1,
    "status": "draft",
    "about": "For tests.",
    "seed": 7,
    "data": {"groups": ["race"], "n_per_group": {"target": 40, "min_report": 10, "min_claim": 30}},
    "explainers": {"controls": ["random", "sobel"]},
    "metrics": {name: {} for name in METRICS},
    "gates": {
        "valid": {"min": 0.95},
        "randomisation": {"metric": "mprt", "max": 0.5, "max_upper": 0.65},
        "controls": {"metric": "nsrg", "against": ["random"], "margin": 0.02},
    },
    "aggregate": {"bootstrap": 400, "permutations": 200},
    "decide": {
        "primary": "nsrg",
        "metrics": {"nsrg": "always"},
        "weights": {"faithfulness": 1.0},
        "rope": 0.02,
        "min_candidates": 3,
        "max_undefined": 0.05,
    },
}


def make_protocol(**changes: Any) -> Protocol:
    """The protocol above with some values replaced: ``decide__primary="deletion"``."""
    return with_overrides(parse_protocol(PROTOCOL_BODY, "made_up"), **changes)


def make_images(sizes: Mapping[str, int] = GROUP_SIZES, accuracy: float = 0.9) -> pd.DataFrame:
    """Images per labelled race, in equal parts form_a and form_b; the label is the race, and this share is right."""
    rows = []
    for code, (race, n) in enumerate(sizes.items()):
        for k in range(n):
            is_right = (k + 0.5) / n < accuracy
            rows.append((f"{race}/{k:03d}", code, code if is_right else (code + 1) % len(sizes), race, "ab"[k % 2]))
    table = pd.DataFrame(rows, columns=["image", "label", "predicted", "race", "form"])
    return table.assign(gender="form_" + table.pop("form")).set_index("image")


def values_with_mean(table: pd.DataFrame, mean: float, *, seed: int, spread: float = 0.1) -> np.ndarray:
    """Normal values, one per image, whose mean is exactly this in every race."""
    noise = pd.Series(np.random.default_rng(seed).normal(0, spread, len(table)), table.index)
    return (mean + noise - noise.groupby(table["race"]).transform("mean")).to_numpy(copy=True)


def score_rows(table: pd.DataFrame, columns: Mapping[tuple[str, str], Sequence[float] | np.ndarray]) -> pd.DataFrame:
    """Rows as a run stores them: per (explainer, metric) a value per image; NaN is undefined."""
    parts = []
    for (explainer, metric), column in columns.items():
        part = pd.DataFrame({"image": table.index, "value": np.asarray(column, dtype=float)})
        status = np.where(part["value"].isna(), "undefined", "ok")
        parts.append(part.assign(model="m", explainer=explainer, metric=metric, status=status))
    return pd.concat(parts, ignore_index=True)


def make_participants(
    methods: Sequence[str],
    controls: Sequence[str] = ("random",),
    oracles: Sequence[str] = (),
    references: Sequence[str] = (),
) -> Participants:
    """Explainers by role, with the metrics above."""
    roles = {"method": methods, "control": controls, "oracle": oracles, "reference": references}
    return Participants(
        explainers={name: ExplainerTraits("-", role=role) for role, names in roles.items() for name in names},
        metrics=METRICS,
        about={},
        missing={},
    )


def score_columns(
    table: pd.DataFrame, means: Mapping[str, float], *, metric: str = "nsrg", spread: float = 0.1
) -> dict[tuple[str, str], np.ndarray]:
    """Scores of explainers with these means on one metric, valid maps that forget with the model, and equal costs."""
    columns = {}
    for k, (name, mean) in enumerate(means.items()):
        columns[name, metric] = values_with_mean(table, mean, seed=k, spread=spread)
        for gate_metric, value in (("mprt", 0.1), ("valid", 1.0), ("forwards", 10.0), ("backwards", 0.0)):
            columns[name, gate_metric] = np.full(len(table), value)
    return columns


def make_score_table(
    table: pd.DataFrame, rows: pd.DataFrame, participants: Participants, protocol: Protocol
) -> ScoreTable:
    """Skills and overall scores, on a model whose true parts are verified."""
    deciding = overall_score.deciding_metrics(protocol, list(participants.metrics), {}, truth_verified=True)
    return overall_score.build_score_table(rows, table, participants.metrics, deciding, protocol)


def make_leaderboard(
    rows: pd.DataFrame, table: pd.DataFrame, participants: Participants, protocol: Protocol
) -> tuple[ExplainerEntry, ...]:
    """The leaderboard."""
    return leaderboard.build_leaderboard(
        rows, table, participants, protocol, make_score_table(table, rows, participants, protocol)
    )


def make_evidence(
    table: pd.DataFrame,
    rows: pd.DataFrame,
    participants: Participants,
    protocol: Protocol,
    *,
    reliability: tuple[Reliability, ...] = (),
    validity: Validity | None = None,
) -> Evidence:
    """Evidence for a decision."""
    score_table = make_score_table(table, rows, participants, protocol)
    return Evidence(
        entries=leaderboard.build_leaderboard(rows, table, participants, protocol, score_table),
        score_table=score_table,
        validity=validity or model_validity.assess_validity(table, CLASSES, bootstrap_settings(protocol)),
        group_counts={str(race): int(n) for race, n in table["race"].value_counts().items()},
        reliability=reliability,
        stochastic=frozenset(name for name, traits in participants.explainers.items() if traits.stochastic),
    )
