"""How often a prediction stays without random cells: counted on a hand-wired model, the same in any batch."""

from types import SimpleNamespace

import pandas as pd

from mavis.analysis.groups import BootstrapSettings
from mavis.analysis.model_validity import assess_imputer_reliability
from mavis.engine.model_checks.imputer_reliability import COLUMNS, measure_reliability, usable_imputers
from mavis.protocol import loading
from mavis.protocol.schema import ReliabilityRules

from ...toys import CellModel, StoredBatch, make_batch, make_model, white_images

RULES = BootstrapSettings(attributes=("race",), min_report=2, n_bootstrap=100, confidence=0.95, seed=0)
LIMITS = ReliabilityRules(imputers=("mean", "render"), fractions=(0.25, 0.75), min_kept=0.7, max_gap=0.1)


def measured(count: int, chunk: int = 64) -> pd.DataFrame:
    """White images; class 0 is predicted while the share of cells that are there is above a half."""
    batch = make_batch(white_images(count, 8))
    net = CellModel(lambda there: there.mean(1) - 0.5, grid=4)
    drawn = SimpleNamespace(ids=batch.ids, data=StoredBatch(batch), can_rerender=False)
    rules = loading.load_protocol("quick").model_copy(update={"grid": 4, "reliability": LIMITS})
    return measure_reliability(make_model(net), drawn, rules, chunk)  # type: ignore[arg-type]


def test_a_model_that_counts_cells_forgets_when_half_are_gone() -> None:
    """With a quarter of the cells removed every prediction stays, with three quarters none does."""
    found = measured(3)
    assert list(found.columns) == COLUMNS
    assert found.groupby("fraction")["kept"].agg(["mean", "size"]).to_numpy().tolist() == [[1, 3], [0, 3]]


def test_the_batch_changes_nothing() -> None:
    """Image by image or all at once: the same cells are removed."""
    pd.testing.assert_frame_equal(
        measured(5).sort_values(COLUMNS[1:4], ignore_index=True),
        measured(5, chunk=2).sort_values(COLUMNS[1:4], ignore_index=True),
    )


def test_imputers_that_need_truth_are_left_out_without_it() -> None:
    """Re-rendering is measured only where the data can be drawn anew."""
    assert usable_imputers(LIMITS, rerender=False) == ["mean"]
    assert usable_imputers(LIMITS, rerender=True) == ["mean", "render"]


def test_nothing_is_measured_unless_asked_for() -> None:
    """A protocol without the rule gives an empty table with the same columns."""
    rules = loading.load_protocol("quick").model_copy(update={"reliability": None})
    drawn = SimpleNamespace(ids=("a",), data=None, can_rerender=False)
    found = measure_reliability(make_model(CellModel(lambda there: there[:, 0])), drawn, rules, 8)  # type: ignore[arg-type]
    assert found.empty
    assert list(found.columns) == COLUMNS


def test_findings_say_what_is_reliable_and_what_is_uneven() -> None:
    """90 of 100 kept at the first fraction is reliable; groups at 1.0 and 0.8 differ, and not by chance."""
    images = pd.DataFrame({"race": ["x"] * 50 + ["y"] * 50}, index=[f"i{k:03d}" for k in range(100)])
    kept = pd.DataFrame({"image": images.index, "kept": [1.0] * 90 + [0.0] * 10, "imputer": "mean", "fraction": 0.25})
    worse = kept.assign(fraction=0.75, kept=[1.0, 0.0] * 50)
    first, second = assess_imputer_reliability(pd.concat([kept, worse]), images, RULES, LIMITS)
    assert (first.imputer, first.fraction, first.kept.mean, first.reliable) == ("mean", 0.25, 0.9, True)
    assert [(g.group, g.estimate.mean) for g in first.groups] == [("x", 1.0), ("y", 0.8)]
    assert first.uneven == ("race",)
    assert (second.kept.mean, second.reliable) == (0.5, None)
    few = images.iloc[40:60]
    assert assess_imputer_reliability(kept[kept["image"].isin(few.index)], few, RULES, LIMITS)[0].uneven == ()
    none = assess_imputer_reliability(kept.assign(kept=0.0), images, RULES, LIMITS)[0]
    assert (none.reliable, none.uneven) == (False, ())
    assert assess_imputer_reliability(kept, images, RULES, None) == ()
