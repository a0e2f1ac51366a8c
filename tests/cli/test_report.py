"""mavis report: files and tables of a run directory, without running anything."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from .commands import call, error_line

pytestmark = pytest.mark.usefixtures("working_folder")


def test_leaderboard_json_meets_the_published_schema(hand_wired_run: Path) -> None:
    """What --schema prints validates the leaderboard.json of a run."""
    schema = json.loads(call("report", "--schema").stdout)
    document = json.loads((hand_wired_run / "report" / "leaderboard.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    names = {entry["explainer"] for entry in document["models"][0]["explainers"]}
    assert names >= {"saliency", "input_x_gradient", "random", "oracle"}


def test_all_files_are_written_again(hand_wired_run: Path) -> None:
    """All eight files from the run directory alone; the last line names the page."""
    shutil.rmtree(hand_wired_run / "report")
    result = call("report", hand_wired_run)
    assert result.exit_code == 0
    assert f"Report: {hand_wired_run / 'report' / 'index.html'}" in result.stdout
    names = {path.name for path in (hand_wired_run / "report").iterdir()}
    leaderboards = {f"leaderboard.{suffix}" for suffix in ("csv", "md", "json", "tex")}
    assert names == {"index.html", "skills.csv", "gaps.csv", "pairs.csv", *leaderboards}


@pytest.mark.parametrize("flag", ["--full", "--all"])
def test_full_tables_have_every_metric(hand_wired_run: Path, flag: str) -> None:
    """The short tables leave out metrics that do not help a first look; under either name of the flag all are there."""
    short, full = (call("report", hand_wired_run, *options).stdout for options in ((), (flag,)))
    assert "nsrg" in short
    assert not re.search(r"mprt [↓v]", short)
    assert re.search(r"mprt [↓v]", full)


def test_a_folder_is_needed() -> None:
    """Without one the line shows how a run directory comes about."""
    assert "needs a run directory" in error_line("report")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """Nothing is written into it."""
    (tmp_path / "empty").mkdir()
    assert "empty" in error_line("report", tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
