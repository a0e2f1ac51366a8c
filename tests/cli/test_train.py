"""mavis train: from the name of a data set to a model folder."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mavis.cli.train import train_command
from mavis.core.errors import MavisError, UnknownName
from mavis.models.loading import checkpoint

app = typer.Typer()
app.command()(train_command)


def mavis_train(out: Path, *arguments: str, data: str = "synthetic_faces") -> Result:
    """One tiny training on the command line."""
    common = ["--data", data, "--out", str(out), "--size", "32", "--epochs", "1", "--device", "cpu", "--limit", "24"]
    return CliRunner().invoke(app, [*common, *arguments], env={"COLUMNS": "120"})


def test_training_on_synthetic_faces_leaves_a_model_and_says_what_is_next(tmp_path: Path) -> None:
    """The folder loads, the table names groups with n, and the last line is the command to go on with."""
    result = mavis_train(tmp_path / "out", "--target", "gender", "--training-recipe", "biased", "--seed", "3")
    assert result.exit_code == 0, result.output
    card = checkpoint.load(tmp_path / "out").card
    assert (card["target"], card["recipe"], card["seed"], card["size"]) == ("gender", "biased", 3, 32)
    assert card["data"]["images"] == 24
    assert "form_a" in result.output
    assert f"mavis run --model {tmp_path / 'out'} --data synthetic_faces" in result.output.replace("\n", "")


def test_the_large_form_says_that_no_pretrained_trunk_is_at_hand(tmp_path: Path, monkeypatch) -> None:
    """Above 112 px without weights in torch's cache folder: one clear line, and None in the card."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    arguments = ["--data", "synthetic_faces", "--out", str(tmp_path / "out"), "--size", "128", "--epochs", "1"]
    result = CliRunner().invoke(app, [*arguments, "--limit", "4", "--device", "cpu"], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert "the trunk starts from random weights" in result.output
    card = json.loads((tmp_path / "out" / checkpoint.CARD_FILE).read_text())
    assert (card["pretrained"], card["size"]) == (None, 128)


def test_a_folder_after_the_name_is_the_data_sets_root(tmp_path: Path, fairface_folder: Path) -> None:
    """``fairface:FOLDER`` trains on its train split and validates on its val split, labelled groups and all."""
    result = mavis_train(tmp_path / "out", data=f"fairface:{fairface_folder}")
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "out" / checkpoint.CARD_FILE).read_text())
    assert card["data"]["images"] == 3
    assert card["accuracy"]["overall"]["n"] == 14
    with (tmp_path / "out" / "epochs.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert {"race=White", "gender=Female", "age=more than 70"} <= set(row)
    assert row["age=20-29"] == ""  # nobody of that label: empty, not zero


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        (["--arch", "race_resnets"], "synthetic_faces", "did you mean 'race_resnet'"),
        ([], "synthetic_face", "did you mean 'synthetic_faces'"),
        (["--target", "beauty"], "synthetic_faces", "beauty"),
        (["--training-recipe", "biased"], "fairface:nowhere", "recipe"),
        ([], "synthetic_faces:folder", "takes no path"),
    ],
)
def test_a_users_mistake_is_one_mavis_error(tmp_path: Path, arguments: list[str], data: str, message: str) -> None:
    """The command line prints it as one line; nothing is written."""
    result = mavis_train(tmp_path / "out", *arguments, data=data)
    assert isinstance(result.exception, MavisError | UnknownName)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_command_can_be_listed_without_torch() -> None:
    """Importing the command's file does not import torch."""
    code = "import sys, mavis.cli.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
