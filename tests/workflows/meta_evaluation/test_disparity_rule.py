"""M9: groups with a planted gap hold different faces, and false positives are counted."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mavis.workflows.meta_evaluation import disparity_rule, fixtures
from mavis.workflows.meta_evaluation.simulated_disparities import Outcome

from .helpers import planted_scores


@pytest.fixture
def faces(bench: fixtures.Bench) -> fixtures.Bench:
    """A bench with 31 faces, one without a score; noise takes .2 from each score."""
    ids = [f"face {k}" for k in range(31)]
    predictions = pd.DataFrame({"label": 0, "predicted": [k % 2 for k in range(31)], "probability": 0.8}, index=ids)
    scores = np.linspace(0.4, 0.6, 31)
    table = planted_scores({("oracle", "nsrg"): scores, (fixtures.mixture_name(0.9), "nsrg"): scores - 0.2})
    table.table.index = pd.Index(ids)
    table.table.loc["face 30", ("oracle", "nsrg")] = np.nan
    bench.__dict__.update(disparity_subject=SimpleNamespace(predictions=predictions), faces_disparity=table)
    return bench


def test_planted_groups_hold_different_faces(faces: fixtures.Bench) -> None:
    """Two groups of equal size without a common face; the second's scores are those with noise."""
    table = disparity_rule.plant_gap(faces, 0.9, max_images=12, seed=0)
    assert table["group"].value_counts().to_dict() == {"g0": 12, "g1": 12}
    assert table["person"].is_unique
    clean = disparity_rule.faces_table(faces, "oracle")["score"]
    expected = clean.loc[table["person"]].to_numpy() - 0.2 * (table["group"] == "g1")
    np.testing.assert_allclose(table["score"], expected)
    assert list(disparity_rule.plant_gap(faces, 0.9, 12, seed=1)["person"]) != list(table["person"])


def test_faces_without_a_score_are_left_out(faces: fixtures.Bench) -> None:
    """The face whose score is NaN is not in the table; a face is correct where label and prediction agree."""
    table = disparity_rule.faces_table(faces, "oracle")
    assert len(table) == 30
    assert table["correct"].sum() == 15


def test_false_positives_are_counted(bench: fixtures.Bench) -> None:
    """Shares of p < .05 and of reported gaps, against the band of a quick run (at most .15)."""
    quiet, loud = (Outcome(p, (0.0,) * 3, (True,) * 3, 1.0, p < 0.05, equivalent=False) for p in (0.5, 0.01))
    for n_loud, verdict in ((1, "passed"), (3, "failed")):
        outcomes = [loud] * n_loud + [quiet] * (10 - n_loud)
        checks = list(disparity_rule._null_checks(bench, "here", outcomes))
        assert {(check.value, check.verdict) for check in checks} == {(n_loud / 10, verdict)}
