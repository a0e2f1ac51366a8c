"""Did explanations get worse: paired with a baseline, each metric in its own direction, within a margin."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mavis.analysis.regression import (
    ScoreChange,
    compare_to_baseline,
    read_baseline,
    write_baseline,
)
from mavis.analysis.score_origin import ScoreOrigin
from mavis.core.errors import StoreError

from ..tables import BOOTSTRAP, make_images, score_rows, values_with_mean

TABLE = make_images()
RUN = TABLE.reset_index()
ORIGIN = ScoreOrigin(
    "1.0", "quick", "abc", {"seed": 0}, {"nsrg": {"points": 10}}, {"rise": {}}, {"name": "faces"}, {"m": "1"}
)
PLANTED = {
    ("rise", "nsrg"): values_with_mean(TABLE, 0.4, seed=1),
    ("rise", "avg_sensitivity"): values_with_mean(TABLE, 0.3, seed=2),
    ("gradcam", "nsrg"): values_with_mean(TABLE, 0.2, seed=3),
    ("rise", "forwards"): np.full(len(TABLE), 256.0),
    ("rise", "valid"): np.ones(len(TABLE)),
}


def changes(changed: dict[tuple[str, str], np.ndarray], margin: float = 0.02) -> dict[tuple[str, str], ScoreChange]:
    """The baseline compared with a run in which some columns are others; None is a column that is gone."""
    now = {pair: column for pair, column in {**PLANTED, **changed}.items() if column is not None}
    before = score_rows(TABLE, PLANTED)[["model", "explainer", "metric", "image", "value"]]
    found_changes = compare_to_baseline(before, score_rows(TABLE, now), RUN, margin=margin, settings=BOOTSTRAP)
    return {(c.explainer, c.metric): c for c in found_changes}


def moved(pair: tuple[str, str], by: float, spread: float = 0.01) -> np.ndarray:
    """A column moved by a mean amount with a little noise."""
    return PLANTED[pair] + values_with_mean(TABLE, by, seed=9, spread=spread)


def test_the_same_scores_are_the_same() -> None:
    """Nothing moved: no difference, no width, and costs and hygiene are not compared."""
    all_changes = changes({})
    assert set(all_changes) == {("rise", "nsrg"), ("rise", "avg_sensitivity"), ("gradcam", "nsrg")}
    assert {c.verdict for c in all_changes.values()} == {"same"}
    assert {(c.difference, c.low, c.high, c.n) for c in all_changes.values()} == {(0.0, 0.0, 0.0, len(TABLE))}


def test_a_drop_beyond_the_margin_is_worse() -> None:
    """The planted difference is found, in its own row only."""
    all_changes = changes({("rise", "nsrg"): moved(("rise", "nsrg"), -0.05)})
    assert all_changes["rise", "nsrg"].verdict == "worse"
    assert all_changes["rise", "nsrg"].difference == pytest.approx(-0.05)
    assert all_changes["rise", "nsrg"].baseline_mean == pytest.approx(0.4)
    assert all_changes["gradcam", "nsrg"].verdict == "same"


def test_a_drop_within_the_margin_is_the_same() -> None:
    """A difference that is certain but does not matter is none."""
    change = changes({("rise", "nsrg"): moved(("rise", "nsrg"), -0.015, spread=0.001)})["rise", "nsrg"]
    assert change.high < 0
    assert change.verdict == "same"


def test_an_uncertain_drop_is_the_same() -> None:
    """A mean beyond the margin whose interval reaches into it is not shown to be worse."""
    change = changes({("rise", "nsrg"): moved(("rise", "nsrg"), -0.03, spread=0.5)})["rise", "nsrg"]
    assert change.difference < -0.02
    assert change.verdict == "same"


@pytest.mark.parametrize(("by", "verdict", "difference"), [(0.1, "worse", -0.1), (-0.1, "better", 0.1)])
def test_the_metrics_direction_decides(by: float, verdict: str, difference: float) -> None:
    """Higher sensitivity is worse; the difference is positive where it got better."""
    change = changes({("rise", "avg_sensitivity"): moved(("rise", "avg_sensitivity"), by)})["rise", "avg_sensitivity"]
    assert change.verdict == verdict
    assert change.difference == pytest.approx(difference)


def test_missing_values_are_missing() -> None:
    """A column that is gone, and one with a single lost value, are both named."""
    change = changes({("gradcam", "nsrg"): None})["gradcam", "nsrg"]
    assert (change.verdict, change.n) == ("missing", 0)
    assert np.isnan(change.difference)
    holed = PLANTED["rise", "nsrg"].copy()
    holed[4] = np.nan
    change = changes({("rise", "nsrg"): holed})["rise", "nsrg"]
    assert (change.verdict, change.n) == ("missing", len(TABLE) - 1)


def test_worse_outweighs_missing() -> None:
    """A drop is told although some values are gone too."""
    column = moved(("rise", "nsrg"), -0.1)
    column[4] = np.nan
    assert changes({("rise", "nsrg"): column})["rise", "nsrg"].verdict == "worse"


def test_groups_weigh_the_same() -> None:
    """A drop in a small group counts as much as in a large one: half of 0.1."""
    table = make_images({"alder": 180, "birch": 20})
    column = values_with_mean(table, 0.4, seed=1)
    dropped = column - 0.1 * (table["race"] == "birch").to_numpy()
    before, now = score_rows(table, {("rise", "nsrg"): column}), score_rows(table, {("rise", "nsrg"): dropped})
    change = compare_to_baseline(before, now, table.reset_index(), margin=0.02, settings=BOOTSTRAP)[0]
    assert change.difference == pytest.approx(-0.05)
    assert change.verdict == "worse"


def test_a_baseline_comes_back(tmp_path: Path) -> None:
    """What is written is what is read: values of ok rows, without costs, in an order of its own."""
    rows = score_rows(TABLE, PLANTED)
    rows.loc[0, ["value", "status"]] = [np.nan, "undefined"]
    path = tmp_path / "deep" / "baseline.parquet"
    write_baseline(rows.sample(frac=1, random_state=0), path, ORIGIN)
    read = read_baseline(path)
    baseline = read.scores
    assert read.origin == ORIGIN
    assert set(baseline["metric"]) == {"nsrg", "avg_sensitivity"}
    assert len(baseline) == 3 * len(TABLE) - 1
    expected = rows[rows["status"] == "ok"].set_index(["explainer", "metric", "image"])["value"]
    keys = pd.MultiIndex.from_frame(baseline[["explainer", "metric", "image"]])
    np.testing.assert_array_equal(baseline["value"], expected.loc[keys])
    first = path.read_bytes()
    write_baseline(rows, path, ORIGIN)
    assert path.read_bytes() == first
    assert {c.verdict for c in compare_to_baseline(baseline, rows, RUN, margin=0.0, settings=BOOTSTRAP)} == {"same"}


def test_the_order_of_rows_changes_nothing() -> None:
    """Shuffled baselines and runs give the same intervals."""
    before = score_rows(TABLE, PLANTED)
    now = score_rows(TABLE, PLANTED | {("rise", "nsrg"): moved(("rise", "nsrg"), -0.02, spread=0.1)})
    changes_in_order = compare_to_baseline(before, now, RUN, margin=0.02, settings=BOOTSTRAP)
    mixed = [t.sample(frac=1, random_state=0) for t in (before, now, RUN)]
    assert compare_to_baseline(*mixed, margin=0.02, settings=BOOTSTRAP) == changes_in_order


def test_what_is_no_baseline_is_refused(tmp_path: Path) -> None:
    """No file, another kind of file, another table: each message says so and how to make one."""
    path = tmp_path / "baseline.parquet"
    with pytest.raises(StoreError, match="no baseline; mavis check RUN --save-baseline"):
        read_baseline(path)
    path.write_text("not a table")
    with pytest.raises(StoreError, match="no baseline; mavis check RUN --save-baseline"):
        read_baseline(path)
    TABLE.to_parquet(path)
    with pytest.raises(StoreError, match="no column explainer, image, metric, model, value"):
        read_baseline(path)


def test_no_image_in_common_is_refused() -> None:
    """Two samples without a common image cannot be paired."""
    before = score_rows(TABLE, PLANTED).assign(image=lambda t: "other/" + t["image"])
    with pytest.raises(StoreError, match="no image in common"):
        compare_to_baseline(before, score_rows(TABLE, PLANTED), RUN, margin=0.02, settings=BOOTSTRAP)


def test_a_model_that_the_run_has_not_is_missing() -> None:
    """A baseline of two models and a run of one of them: every score of the other is missing."""
    rows = score_rows(TABLE, PLANTED)
    two_models = pd.concat([rows, rows.assign(model="another")])
    found_changes = compare_to_baseline(two_models, rows, RUN, margin=0.02, settings=BOOTSTRAP)
    assert {(c.model, c.verdict) for c in found_changes} == {("m", "same"), ("another", "missing")}


def test_missing_outweighs_better() -> None:
    """One lost value is told although the others got better; so is a column whose values are all undefined."""
    column = moved(("rise", "nsrg"), 0.1)
    column[4] = np.nan
    assert changes({("rise", "nsrg"): column})["rise", "nsrg"].verdict == "missing"
    assert changes({("rise", "nsrg"): np.full(len(TABLE), np.nan)})["rise", "nsrg"].verdict == "missing"


def test_a_run_without_any_score_misses_everything() -> None:
    """An empty table of scores is no success."""
    before = score_rows(TABLE, PLANTED)
    empty = pd.DataFrame()
    assert {c.verdict for c in compare_to_baseline(before, empty, RUN, margin=0.02, settings=BOOTSTRAP)} == {"missing"}


@pytest.mark.parametrize("metrics", [["valid"], ["forwards"], ["valid", "forwards"], []])
def test_scores_that_cannot_be_compared_make_no_baseline(tmp_path: Path, metrics: list[str]) -> None:
    """Checks of the maps and costs alone are refused by name, and no file is written."""
    rows = score_rows(TABLE, PLANTED)
    path = tmp_path / "baseline.parquet"
    with pytest.raises(
        StoreError,
        match=rf"can be compared with: its metrics \({', '.join(sorted(metrics)) or 'none'}\) only check maps",
    ):
        write_baseline(rows[rows["metric"].isin(metrics)], path, ORIGIN)
    assert not path.exists()


def test_repeated_rows_of_a_baseline_count_once() -> None:
    """A baseline whose rows stand twice gives the interval of one that has them once."""
    before, now = (
        score_rows(TABLE, PLANTED),
        score_rows(TABLE, PLANTED | {("rise", "nsrg"): moved(("rise", "nsrg"), -0.03, 0.1)}),
    )
    once, twice = (
        compare_to_baseline(table, now, RUN, margin=0.02, settings=BOOTSTRAP)
        for table in (before, pd.concat([before] * 2))
    )
    assert once == twice
