"""Helpers of the meta-evaluation's tests: its protocol, tables with planted scores, and a pass of planted parts."""

from collections.abc import Mapping, Sequence

import pandas as pd

from mavis.core.model_pass import Pass
from mavis.core.registry import datasets, models
from mavis.protocol import loading
from mavis.workflows.meta_evaluation.scoring import MapScores

PROTOCOL = loading.load_protocol("best_practices_v1")


def planted_scores(columns: Mapping[tuple[str, str], Sequence[float]]) -> MapScores:
    """A table of scores: per (map, metric) a value per image."""
    return MapScores(pd.DataFrame(dict(columns)))


def planted_pass() -> Pass:
    """A pass of the hand-wired sum on four images of 32 px."""
    data = datasets["planted_parts"].create({"size": 32, "count": 4})
    return Pass(models["part_sum"].create(), data.load(list(data.table().index)), data.mean, seed=3, chunk=64)
