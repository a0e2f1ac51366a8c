"""Faulty metrics of Quantus: refused before any work, and run under a flag that is recorded."""

import json
from pathlib import Path

import pytest

from mavis import evaluate
from mavis.core.errors import BadParameter

from ..light import write_light_protocol
from .commands import call

pytestmark = pytest.mark.usefixtures("working_folder")

SMALL = ["--model", "race_resnet", "--explainers", "saliency", "--limit", "7"]
FAULTY = ["--metrics", "nsrg,mprt,valid,quantus:PointingGame"]


@pytest.fixture
def light(tmp_path):
    """The path of a light protocol."""
    return str(write_light_protocol(tmp_path))


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_faulty_metric_is_refused_before_any_work(command, monkeypatch):
    """One line says what is wrong, what to use instead and how to insist; exit code 2, and nothing is written."""
    monkeypatch.setattr("mavis.engine.planning.setup.open_models", lambda *_: pytest.fail("a model was opened"))
    result = call(command, *SMALL, *FAULTY)
    lines = result.stderr.strip().splitlines()
    assert (result.exit_code, len(lines), list(Path.cwd().iterdir())) == (2, 1, [])
    for text in ("'quantus:PointingGame': one of several", "use 'pointing_game'", "--include-faulty"):
        assert text in lines[0]


def test_a_label_of_its_own_does_not_hide_a_faulty_metric(tmp_path):
    """``quantus:PointingGame@again`` is refused as ``quantus:PointingGame`` is."""
    result = call("run", *SMALL, "--metrics", "nsrg,mprt,valid,quantus:PointingGame@again")
    assert result.exit_code == 2
    assert "'quantus:PointingGame@again'" in result.stderr


def test_the_flag_runs_it_and_makes_the_protocol_a_custom_one(tmp_path, light):
    """The override stands in the findings and in the report, and the metric has values."""
    result = call("run", *SMALL, *FAULTY, "--include-faulty", "--protocol", light, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())
    assert "allow_known_faulty = quantus:PointingGame" in document["protocol"]["overrides"]
    assert "custom protocol" in result.stdout
    assert "quantus:PointingGame" in result.stdout
    assert "quantus" in json.loads((tmp_path / "run" / "run.json").read_text())["versions"]


def test_the_flag_without_a_faulty_metric_changes_nothing(tmp_path, light):
    """A metric of Quantus that is not refused runs without it, and nothing is noted with it."""
    command = ["run", *SMALL, "--metrics", "nsrg,mprt,valid,quantus:AUC", "--protocol", light]
    assert call(*command, "--out", tmp_path / "run").exit_code == 0
    assert call(*command, "--include-faulty", "--out", tmp_path / "run").exit_code == 0  # it continues the same run
    document = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())
    assert not any("faulty" in override for override in document["protocol"]["overrides"])


def test_plan_takes_the_flag():
    """What a refused metric costs can be asked."""
    assert call("plan", *SMALL, *FAULTY, "--include-faulty").exit_code == 0


def test_evaluate_takes_the_flag(tmp_path, light):
    """In a notebook the same metric is refused, and run if told so."""
    options = {
        "explainers": ["saliency"],
        "metrics": ["nsrg", "mprt", "valid", "quantus:PointingGame"],
        "limit": 7,
        "protocol": light,
    }
    with pytest.raises(BadParameter, match="--include-faulty"):
        evaluate("race_resnet", **options, out=tmp_path / "run")
    result = evaluate("race_resnet", **options, out=tmp_path / "run", allow_known_faulty=True)
    assert "allow_known_faulty = quantus:PointingGame" in result.findings.protocol.overrides
