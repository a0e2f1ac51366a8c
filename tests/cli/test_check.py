"""mavis check: exit code 0 without and 1 with a regression, and how a baseline is made."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from .commands import call, error_line, joined

pytestmark = pytest.mark.usefixtures("working_folder")


@pytest.fixture
def baseline(hand_wired_run: Path, tmp_path: Path) -> Path:
    """The run's own scores as a baseline file."""
    path = tmp_path / "baseline.parquet"
    result = call("check", hand_wired_run, "--save-baseline", path)
    assert (result.exit_code, f"mavis check RUN --baseline {path}" in result.stdout.replace("\n", "")) == (0, True)
    return path


def change(baseline: Path, amount: float) -> None:
    """Adds an amount to the baseline's nsrg of saliency."""
    table = pd.read_parquet(baseline)
    table.loc[(table["explainer"] == "saliency") & (table["metric"] == "nsrg"), "value"] += amount
    table.to_parquet(baseline)


def test_a_run_is_no_worse_than_itself(hand_wired_run: Path, baseline: Path) -> None:
    """Against its own scores, as a file and as a run directory, nothing changed."""
    for reference in (baseline, hand_wired_run):
        result = call("check", hand_wired_run, "--baseline", reference)
        assert (result.exit_code, "0 worse, 0 missing, 0 better" in result.stdout) == (0, True)


def test_a_regression_beyond_the_margin_ends_with_1(hand_wired_run: Path, baseline: Path) -> None:
    """The baseline was better by 0.1 on one metric of one method: one comparison is worse, and shown with both ends."""
    change(baseline, 0.1)
    result = call("check", hand_wired_run, "--baseline", baseline, width=120)
    assert (result.exit_code, "1 worse, 0 missing" in result.stdout) == (1, True)
    assert "-0.100" in result.stdout
    assert call("check", hand_wired_run, "--baseline", baseline, "--margin", "0.2").exit_code == 0


def test_an_improvement_ends_with_0(hand_wired_run: Path, baseline: Path) -> None:
    """Better is shown and is no failure."""
    change(baseline, -0.1)
    result = call("check", hand_wired_run, "--baseline", baseline)
    assert (result.exit_code, "1 better" in result.stdout) == (0, True)


def test_a_score_that_is_missing_ends_with_1(hand_wired_run: Path, baseline: Path) -> None:
    """A metric of the baseline that the run does not have; it has no difference."""
    table = pd.read_parquet(baseline)
    extra = table[(table["explainer"] == "saliency") & (table["metric"] == "gini")].assign(metric="entropy")
    pd.concat([table, extra]).to_parquet(baseline)
    result = call("check", hand_wired_run, "--baseline", baseline, width=120)
    assert (result.exit_code, "1 missing" in result.stdout) == (1, True)


@pytest.mark.parametrize("with_others", [True, False])
def test_a_model_that_is_gone_is_missing(hand_wired_run: Path, baseline: Path, with_others: bool) -> None:
    """A baseline of a model that this run has not, alone or among others: exit code 1, and the model is named."""
    table = pd.read_parquet(baseline)
    pd.concat([table] * with_others + [table.assign(model="an[/o]ther")]).to_parquet(baseline)
    result = call("check", hand_wired_run, "--baseline", baseline, width=120)
    assert (result.exit_code, "0 worse, 14 missing" in result.stdout) == (1, True)
    assert "missing: an[/o]ther is in the baseline and not in this run (14 comparisons)." in result.stdout


def test_a_baseline_of_nothing_to_compare_fails(hand_wired_run: Path, baseline: Path) -> None:
    """Of `valid` alone, and of no row: exit code 1 and the reason, not a success."""
    table = pd.read_parquet(baseline)
    for rows, reason in ((table.assign(metric="valid"), "valid only check maps"), (table[:0], "there are no scores")):
        rows.to_parquet(baseline)
        result = call("check", hand_wired_run, "--baseline", baseline, width=120)
        assert (result.exit_code, f"Nothing to compare: {reason}" in joined(result.stdout)) == (1, True)


@pytest.fixture
def other_run(hand_wired_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """The same run, as if something of its origin were different: ``other_run("protocol.grid", 8)``."""

    def make(path: str, value: object) -> Path:
        folder = tmp_path / "other"
        shutil.copytree(hand_wired_run, folder)
        identity = json.loads((folder / "run.json").read_text())
        del identity["sha256"]
        *parents, key = path.split(".")
        section = identity
        for parent in parents:
            section = section[parent]
        section[key] = value
        (folder / "run.json").write_text(json.dumps(identity))
        return folder

    return make


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("protocol.metrics.nsrg", {"imputers": ["noise"], "points": 3}, "nsrg.imputers is ["),
        ("protocol.metrics.gini", {"seed_of_nothing": 1}, "gini.seed_of_nothing is 1 in the baseline, null here"),
        ("protocol.grid", 8, "grid is 8 in the baseline, 16 here"),
        ("protocol.target.policy", "label", "target is"),
        ("seed", 99, "seed is 99 in the baseline, "),
        ("explainers.saliency", {"absolute": "x"}, "saliency.absolute is"),
        ("data.target", "mood", "data.target is"),
        ("data.name", "fairface:x", "data.name is"),
    ],
)
def test_scores_of_other_settings_are_refused(
    hand_wired_run: Path, other_run: Callable[..., Path], path: str, value: object, named: str
) -> None:
    """What defines a score differs: one line with what differs, and nothing is called worse."""
    line = error_line("check", hand_wired_run, "--baseline", other_run(path, value))
    assert named in line


@pytest.mark.parametrize(
    ("path", "value", "remark"),
    [
        ("models.mask_mean.revision", "0123456789", "other weights: mask_mean is 01234567 in the baseline"),
        ("data.revision", "0123456789", "other images: data 01234567 in the baseline"),
        ("mavis", "0.0.1", "other version: MAVIS 0.0.1 in the baseline"),
        ("protocol_sha256", "0123456789", "the settings of what is compared are the same"),
    ],
)
def test_what_else_differs_is_told(
    hand_wired_run: Path, other_run: Callable[..., Path], tmp_path: Path, path: str, value: str, remark: str
) -> None:
    """Other weights, images, rules of the decision or versions are named, and the scores compared."""
    folder = other_run(path, value)
    assert call("check", folder, "--save-baseline", tmp_path / "b.parquet").exit_code == 0
    for reference in (folder, tmp_path / "b.parquet"):
        result = call("check", hand_wired_run, "--baseline", reference, width=120)
        assert (result.exit_code, remark in result.stdout) == (0, True)


def test_a_baseline_without_an_origin_is_compared_with_a_word(hand_wired_run: Path, baseline: Path) -> None:
    """A file of an older version says nothing of its settings; a file of this version needs no word."""
    assert "older MAVIS" not in call("check", hand_wired_run, "--baseline", baseline).stdout
    change(baseline, 0)
    result = call("check", hand_wired_run, "--baseline", baseline)
    assert (result.exit_code, "saved by an older MAVIS" in result.stdout) == (0, True)


@pytest.mark.parametrize("margin", ["nan", "inf", "-1"])
def test_a_margin_that_nothing_exceeds_is_refused(hand_wired_run: Path, baseline: Path, margin: str) -> None:
    """With such a margin everything would be the same."""
    assert "--margin" in error_line("check", hand_wired_run, "--baseline", baseline, "--margin", margin)


def test_the_old_name_of_the_option_is_accepted(hand_wired_run: Path, tmp_path: Path) -> None:
    """--write saves the same file as --save-baseline."""
    for option, name in (("--write", "old.parquet"), ("--save-baseline", "new.parquet")):
        assert call("check", hand_wired_run, option, tmp_path / name).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "old.parquet"), pd.read_parquet(tmp_path / "new.parquet"))


def test_without_a_baseline_the_line_says_how_to_make_one(hand_wired_run: Path) -> None:
    """--baseline or --save-baseline."""
    assert "--save-baseline FILE to make one" in error_line("check", hand_wired_run)
