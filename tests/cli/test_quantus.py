"""Quantus metrics from the command line: refused before any work, run under a flag that is noted, and listed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mavis import evaluate
from mavis.cli import app
from mavis.core.errors import BadParameter

SMALL = ["--model", "race_resnet", "--explainers", "saliency", "--limit", "7"]
FAULTY = ["--metrics", "nsrg,mprt,valid,quantus:PointingGame"]


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "120"})


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_faulty_metric_is_refused_before_any_work(verb, monkeypatch):
    """One line says what is wrong, what to use instead and how to insist; exit code 2, and nothing is written."""
    monkeypatch.setattr("mavis.engine.planning.setup.open_models", lambda *_: pytest.fail("a model was opened"))
    result = call(verb, *SMALL, *FAULTY)
    lines = result.stderr.strip().splitlines()
    assert (result.exit_code, len(lines), list(Path.cwd().iterdir())) == (2, 1, [])
    for words in ("'quantus:PointingGame': one of several", "use 'pointing_game'", "--allow-known-faulty"):
        assert words in lines[0]


def test_a_label_of_its_own_does_not_hide_a_faulty_metric(tmp_path):
    """``quantus:PointingGame@again`` is refused as ``quantus:PointingGame`` is."""
    result = call("run", *SMALL, "--metrics", "nsrg,mprt,valid,quantus:PointingGame@again")
    assert result.exit_code == 2
    assert "'quantus:PointingGame@again'" in result.stderr


def test_the_flag_runs_it_and_makes_the_protocol_a_custom_one(tmp_path):
    """The override stands in the findings and in the report, and the metric has values."""
    result = call("run", *SMALL, *FAULTY, "--allow-known-faulty", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())
    assert "allow_known_faulty = quantus:PointingGame" in document["protocol"]["overrides"]
    assert "custom protocol" in result.stdout
    assert "quantus:PointingGame" in result.stdout
    assert "quantus" in json.loads((tmp_path / "run" / "run.json").read_text())["versions"]


def test_the_flag_without_a_faulty_metric_changes_nothing(tmp_path):
    """A metric of Quantus that is not refused runs without it, and nothing is noted with it."""
    command = ["run", *SMALL, "--metrics", "nsrg,mprt,valid,quantus:AUC"]
    assert call(*command, "--out", tmp_path / "run").exit_code == 0
    assert call(*command, "--allow-known-faulty", "--out", tmp_path / "run").exit_code == 0  # it continues the same run
    document = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())
    assert not any("faulty" in override for override in document["protocol"]["overrides"])


def test_plan_takes_the_flag():
    """What a refused metric costs can be asked."""
    assert call("plan", *SMALL, *FAULTY, "--allow-known-faulty").exit_code == 0


def test_evaluate_takes_the_flag(tmp_path):
    """In a notebook the same metric is refused, and run if told so."""
    asked = {"explainers": ["saliency"], "metrics": ["nsrg", "mprt", "valid", "quantus:PointingGame"], "limit": 7}
    with pytest.raises(BadParameter, match="allow-known-faulty"):
        evaluate("race_resnet", **asked, out=tmp_path / "run")
    found = evaluate("race_resnet", **asked, out=tmp_path / "run", allow_known_faulty=True)
    assert "allow_known_faulty = quantus:PointingGame" in found.findings.protocol.overrides


def test_the_list_has_quantus_after_ours_with_what_is_wrong():
    """A refused metric says why in place of what it is."""
    text = " ".join(call("list", "metrics").stdout.split())
    assert text.index("valid ↑") < text.index("localisation, of Quantus") < text.index("quantus:AUC ↑")
    assert "Area under the ROC curve of the map against the region. [Quantus 0.6;" in text
    game = text.index("quantus:PointingGame ↑")
    assert text[game:].index("refused: one of several equal maxima") < 100


def test_the_list_as_json_is_complete():
    """Every metric of Quantus, with what it is, its traits and that it takes Quantus's parameters."""
    rows = json.loads(call("list", "metrics", "--json").stdout)
    quantus = [row for row in rows if row["name"].startswith("quantus:")]
    assert rows[-len(quantus) :] == quantus
    assert len(quantus) == 37
    game = next(row for row in quantus if row["name"] == "quantus:PointingGame")
    assert game["about"] == "Whether the map's maximum lies in the region."
    assert game["traits"]["faulty"].endswith("use 'pointing_game'")
    assert game["parameters"] == {"**params": None}
