"""mavis check: exit code 0 without and 1 with a regression, and how a baseline is made."""

from pathlib import Path

import pandas as pd
import pytest

from .commands import call, error_line

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


def test_a_model_that_is_not_in_the_run_is_named(hand_wired_run: Path, baseline: Path) -> None:
    """It is not compared, and no regression."""
    table = pd.read_parquet(baseline)
    pd.concat([table, table.assign(model="another")]).to_parquet(baseline)
    result = call("check", hand_wired_run, "--baseline", baseline)
    assert (result.exit_code, "another is not in this run and is not compared." in result.stdout) == (0, True)


def test_the_old_name_of_the_option_is_accepted(hand_wired_run: Path, tmp_path: Path) -> None:
    """--write saves the same file as --save-baseline."""
    for option, name in (("--write", "old.parquet"), ("--save-baseline", "new.parquet")):
        assert call("check", hand_wired_run, option, tmp_path / name).exit_code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "old.parquet"), pd.read_parquet(tmp_path / "new.parquet"))


def test_without_a_baseline_the_line_says_how_to_make_one(hand_wired_run: Path) -> None:
    """--baseline or --save-baseline."""
    assert "--save-baseline FILE to make one" in error_line("check", hand_wired_run)
