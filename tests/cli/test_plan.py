"""mavis plan: the cost of a run and what it skips, before it is run."""

import re

import pytest

from mavis.cli.plan import _skips_by_reason
from mavis.engine.planning.plan import Cell

from .commands import call, joined

pytestmark = pytest.mark.usefixtures("working_folder")


def test_costs_are_counted_per_explainer_and_in_total() -> None:
    """The total is the sum of the rows; of 14 images a map of saliency takes one forward and one backward each."""
    options = ("--explainers", "saliency,gradcam", "--metrics", "nsrg,mprt,valid,gini", "--limit", 14)
    text = call("plan", "--model", "race_resnet", *options).stdout
    rows = {row[0]: row[1:] for row in re.findall(r"^([a-z_ ]+?) +([\d,]+) +([\d,]+) ", text, flags=re.MULTILINE)}
    assert {"saliency", "gradcam", "shared by all", "total"} <= set(rows)
    for column in (0, 1):
        counts = {name: int(row[column].replace(",", "")) for name, row in rows.items()}
        assert counts.pop("total") == sum(counts.values())
    assert "blocks; about" in text


def test_skips_are_said_once_with_their_reason() -> None:
    """Explainers that do not work on the model, or metrics that the data do not allow."""
    options = ("--metrics", "gini,part_faithfulness", "--limit", 7)
    explainers = "xgradcam,gradient_rollout,attention_rollout"
    text = joined(call("plan", "--model", "race_resnet", "--explainers", explainers, *options).stdout)
    assert "skipped: xgradcam: equals gradcam here." in text
    assert "skipped: gradient_rollout, attention_rollout: does not work here: 'race_resnet' has no attention" in text
    data = ("--data", "planted_square", "--explainers", "saliency", "--groups", "shade")
    text = joined(call("plan", "--model", "mask_mean", *data, *options).stdout)
    assert "skipped: part_faithfulness: needs data whose parts can be drawn anew." in text


def test_an_explainer_without_any_score_stands_for_its_metrics() -> None:
    """An explainer that is skipped altogether is named once; one that has other scores has its metric named."""
    cells = [
        Cell("1", "rise", "gini", None),
        Cell("2", "rise", "pointing_game", "needs truth"),
        Cell("3", "cam", "gini", "has no layer"),
        Cell("4", "cam", "pointing_game", "has no layer"),
    ]
    assert _skips_by_reason(cells) == {"needs truth": ["pointing_game"], "has no layer": ["cam"]}
