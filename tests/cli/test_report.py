"""mavis report: files and tables of a run directory, without running anything."""

import json
import re
import shutil
from pathlib import Path

import jsonschema
import pytest

from mavis.analysis.findings import Findings
from mavis.workflows import run

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


@pytest.fixture
def stored_findings(hand_wired_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report's findings are read from their file, so that only the printing takes time."""
    text = (hand_wired_run / "report" / "leaderboard.json").read_text()
    monkeypatch.setattr(run, "write_report", lambda _: Findings.model_validate_json(text))


@pytest.mark.usefixtures("stored_findings")
@pytest.mark.parametrize("name", ["run[bold]", "run[/old]", "a run", "r\u202ex"])
def test_the_path_of_the_report_is_the_true_one(name: str) -> None:
    """Square brackets are letters of a path, and no markup."""
    result = call("report", name)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == f"Report: {name.replace(chr(0x202E), chr(0xFFFD))}/report/index.html"


@pytest.mark.usefixtures("stored_findings")
@pytest.mark.parametrize("columns", ["0", "abc", "-5", "1", "20"])
def test_any_number_of_columns_shows_the_answer(columns: str) -> None:
    """A console that says it has no columns has 80; nothing is lost on a narrow one."""
    texts = [call("report", "run", width=width).stdout for width in (columns, 80)]
    assert "Answer" in texts[0]
    assert (texts[0] == texts[1]) == (columns in ("0", "abc", "-5"))


def test_a_damaged_run_is_one_line(hand_wired_run: Path, working_folder: Path) -> None:
    """run.json cut short, without a key, of other kinds: what is kept and what to do."""
    shutil.copytree(hand_wired_run, working_folder / "run")
    path = working_folder / "run" / "run.json"
    text = path.read_text()
    identity = json.loads(text)
    without = [json.dumps({k: v for k, v in identity.items() if k != key}) for key in ("protocol", "blocks", "models")]
    others = [json.dumps(identity | change) for change in ({"models": []}, {"seed": "x"}, {"blocks": 3})]
    for damaged in (text[: len(text) // 2], "", "[]", "null", "\0", *without, *others):
        path.write_text(damaged)
        line = error_line("report", "run")
        assert "run.json cannot be read: " in line
        assert "finished blocks are kept" in line
        assert "restore it from a copy, or give another --out" in line
    path.write_text(text)
    assert call("report", "run").exit_code == 0


def test_a_folder_is_needed() -> None:
    """Without one the line shows how a run directory comes about."""
    assert "needs a run directory" in error_line("report")


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    """Nothing is written into it."""
    (tmp_path / "empty").mkdir()
    assert "empty" in error_line("report", tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
