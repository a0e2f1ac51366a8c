"""mavis sensitivity: a line per setting, the verdict, and where all means are."""

import json

import yaml
from typer.testing import CliRunner

from mavis.cli import app
from mavis.protocol import loading


def test_every_setting_has_a_line_and_the_metric_a_verdict(tmp_path, monkeypatch):
    """Two grids and two imputers on the hand-wired model: the exact method leads under all four."""
    monkeypatch.chdir(tmp_path)
    body = loading.load_protocol("quick").model_dump(mode="json", by_alias=True)
    body["data"]["groups"] = ["shade"]
    body["sensitivity"] = {"grids": [8, 16], "metrics": {"nsrg": {"imputers": [["mean"], ["blur"]], "points": [5]}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(body))
    asked = ["sensitivity", "--model", "mask_mean", "--data", "planted_square", "--protocol", "mine.yaml"]
    asked += ["--explainers", "saliency,input_x_gradient", "--limit", "8", "--device", "cpu"]
    result = CliRunner().invoke(app, asked, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert result.stdout.count("imputers mean, points 5") == result.stdout.count("imputers blur, points 5") == 2
    assert "mask_mean, nsrg: mean Kendall tau" in result.stdout
    assert "Leads under some setting: " in result.stdout
    folder = tmp_path / "mavis-runs" / "mask_mean_planted_square_mine_sensitivity"
    (found,) = json.loads((folder / "sensitivity.json").read_text())
    assert len(found["settings"]) == 4


def test_a_protocol_without_the_section_is_one_line(tmp_path, monkeypatch):
    """Nothing is written, and the line says what to add."""
    monkeypatch.chdir(tmp_path)
    body = loading.load_protocol("quick").model_dump(mode="json", by_alias=True) | {"sensitivity": None}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(body))
    result = CliRunner().invoke(app, ["sensitivity", "--model", "mask_mean", "--protocol", "mine.yaml"])
    assert result.exit_code == 2
    assert "has no 'sensitivity'" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.yaml"]
