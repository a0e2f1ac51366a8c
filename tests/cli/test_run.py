"""mavis run: tables, answer and next command; exit codes; one line for each kind of bad input."""

import io
import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from mavis.cli.run import _arguments_to_repeat, _next_command
from mavis.core import hashing, registry
from mavis.models.loading import checkpoint
from mavis.models.loading.open import open_model
from mavis.report.console.terminal import Printer

from ..light import write_light_protocol
from .commands import call, error_line, joined

pytestmark = pytest.mark.usefixtures("working_folder")

PRINTER = Printer(Console(file=io.StringIO(), width=80))

SMALL = ["--explainers", "saliency,gradcam", "--metrics", "nsrg,mprt,valid,gini", "--limit", "14"]


@pytest.fixture
def light(working_folder):
    """Options for a small run under a light protocol, which shows groups of two images."""
    counts = {"n_per_group": {"target": 2, "min_report": 2, "min_claim": 2}}
    return [*SMALL, "--protocol", write_light_protocol(working_folder, data=counts)]


def test_tables_answer_report_and_next_command_are_printed(tmp_path, light):
    """A newcomer sees: validity of the model, leaderboard, groups, answer, where the report is, and what to do next."""
    result = call("run", "--model", "race_resnet", *light, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    for text in ("preview", "saliency", "random (control)", "alder", "Answer"):
        assert text in result.stdout
    assert f"Report: {tmp_path / 'run' / 'report' / 'index.html'}" in result.stdout
    assert "Next:" in result.stdout
    assert (tmp_path / "run" / "report" / "index.html").stat().st_size > 100_000


def test_a_preview_is_confirmed_and_another_run_is_guarded(monkeypatch):
    """After quick the same command under the full protocol; after another protocol a check against this run."""
    argv = ["mavis", "run", "--model", "my model", "--limit", "7", "--protocol=quick", "--full", "--out", "x"]
    monkeypatch.setattr("sys.argv", argv)
    confirm = _next_command(PRINTER, "quick", Path("x"))
    assert confirm.startswith("mavis run --model 'my model' --full --protocol best_practices_v1 ")
    assert _next_command(PRINTER, "best_practices_v1", Path("a run")) == "mavis check 'a run' --baseline 'a run'"


@pytest.mark.parametrize("name", ["my faces [v2]", "faces[/old]", "it's", "a;b", "x\ny", "é"])
def test_the_next_command_can_be_copied(monkeypatch, name):
    """Every argument is one word of a shell, on one line, also on a console of few letters."""
    monkeypatch.setattr("sys.argv", ["mavis", "run", "--data", f"fairface:{name}"])
    for encoding in ("utf-8", "ascii"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        printer = Printer(Console(file=stream, width=80))
        printer.print_line(_next_command(printer, "quick", Path("x")))
        stream.seek(0)
        (line,) = stream.read().splitlines()
        script = f"printf %s {line.removeprefix('mavis run --data ').partition(' --protocol ')[0]}"
        shown = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
        assert shown.decode() == f"fairface:{name}"


@pytest.mark.parametrize(
    ("arguments", "repeated"),
    [
        (["--model", "m", "--limit", "7", "--seed", "1"], ["--model", "m", "--seed", "1"]),
        (["--limit=7", "--model", "m", "--shard=1/2"], ["--model", "m"]),
        (["--out", "x", "-e", "all"], ["-e", "all"]),
        (["--protocol", "quick"], []),
    ],
)
def test_what_sets_the_size_of_a_run_is_not_repeated(arguments, repeated):
    """--protocol, --out, --limit and --shard with their values, after a space or an equals sign."""
    assert _arguments_to_repeat(arguments) == repeated


def test_failed_cells_give_exit_code_3(tmp_path, light, monkeypatch):
    """A run in which a cell failed ends with 3, its tables shown and the failure listed."""
    entry = registry.explainers["gradcam"]
    traits = replace(entry.traits, needs=frozenset({"forward"}))  # so that it is not tried before the run
    wrong = replace(entry, registered=lambda: lambda model_pass, targets: 1, traits=traits)
    monkeypatch.setitem(registry.explainers.entries, "gradcam", wrong)
    result = call("run", "--model", "race_resnet", *light, "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert "An explainer must return a tensor" in joined(result.stdout)


def test_unknown_names_suggest_the_nearest():
    """A model, data set, explainer, metric, group or protocol that is not there names the nearest one."""
    assert "did you mean 'race_resnet'?" in error_line("run", "--model", "race_resnt")
    assert "did you mean 'synthetic_faces'?" in error_line("run", "--model", "race_resnet", "--data", "synthetic_face")
    assert "did you mean 'saliency'?" in error_line("run", "--model", "race_resnet", "--explainers", "salency")
    assert "did you mean 'nsrg'?" in error_line("run", "--model", "race_resnet", "--metrics", "nsgr")
    assert "did you mean 'gender'?" in error_line("run", "--model", "race_resnet", "--groups", "gendr")
    assert "did you mean 'quick'?" in error_line("run", "--model", "race_resnet", "--protocol", "quik")


def test_bad_options_are_one_line():
    """Devices, batch sizes and shards that do not exist; too few images for the groups."""
    model = ("run", "--model", "race_resnet")
    assert "--device" in error_line(*model, "--device", "tpu")
    assert "--batch-size" in error_line(*model, "--batch-size", "many")
    assert "--shard" in error_line(*model, "--shard", "3/2")
    assert "leaves groups without an image" in error_line(*model, "--limit", "3")


def test_missing_data_are_one_line(fairface_folder):
    """A folder, a table or a column that is not there; a data set that needs a folder."""
    model = ("run", "--model", "race_resnet", "--target", "gender", "--data")
    assert "nowhere" in error_line(*model, "fairface:nowhere")
    assert "needs a folder" in error_line(*model, "fairface")
    table = fairface_folder / "fairface_label_val.csv"
    table.write_text(table.read_text().replace("gender", "sex"))
    assert "gender" in error_line(*model, f"fairface:{fairface_folder}")
    table.unlink()
    assert "fairface_label_val.csv" in error_line(*model, f"fairface:{fairface_folder}")


def test_a_model_with_other_classes_is_error_line(fairface_folder):
    """Seven populations are not two genders."""
    line = error_line("run", "--model", "race_resnet", "--data", f"fairface:{fairface_folder}", "--target", "gender")
    assert "7 classes" in line
    assert "has 2" in line


def test_nan_weights_are_error_line(tmp_path):
    """A model whose weights are not finite is named before anything is run."""
    model, _ = open_model("race_resnet", torch.device("cpu"))
    checkpoint.save(tmp_path / "bad", model.net, model.card)
    weights = load_file(tmp_path / "bad" / "model.safetensors")
    next(tensor for tensor in weights.values() if tensor.dim() == 4).view(-1)[0] = float("nan")
    save_file(weights, tmp_path / "bad" / "model.safetensors")
    card = json.loads((tmp_path / "bad" / "card.json").read_text())
    card["weights_hash"] = hashing.digest((tmp_path / "bad" / "model.safetensors").read_bytes())
    (tmp_path / "bad" / "card.json").write_text(json.dumps(card))
    assert "NaN" in error_line("run", "--model", tmp_path / "bad")


def gender_model(folder):
    """A model of two classes that has learnt nothing."""
    net = checkpoint.build_network("race_resnet", 2, 64, seed=1)
    card = {"architecture": "race_resnet", "classes": ["Male", "Female"], "target": "gender", "size": 64}
    checkpoint.save(folder, net, card)


def test_unreadable_images_are_named_and_counted(fairface_folder, tmp_path):
    """One broken image of many is left out by name; too many are refused."""
    gender_model(tmp_path / "model")
    broken = sorted((fairface_folder / "val").glob("*.jpg"))
    broken[0].write_bytes(broken[0].read_bytes()[:200])
    rules = write_light_protocol(tmp_path, data={"groups": ["race", "gender", "age"], "max_unreadable": 0.2})
    command = [
        "run",
        "--model",
        tmp_path / "model",
        "--data",
        f"fairface:{fairface_folder}",
        "--explainers",
        "saliency",
    ]
    command += ["--metrics", "nsrg,mprt,valid", "--protocol", rules]
    result = call(*command, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())
    assert any(broken[0].name in note for note in document["data"]["notes"])
    assert document["data"]["images"] == len(broken) - 1
    assert document["models"][0]["recommendation"]["status"] == "refused"
    for image in broken[1:5]:
        image.write_bytes(b"no image")
    assert "cannot be read" in error_line(*command, "--out", tmp_path / "again")


def test_training_and_running_on_real_faces(real_faces, tmp_path):
    """A model trained for one epoch on real faces runs on their val part; where it guesses, nothing is recommended."""
    data = f"fairface:{real_faces}"
    train = ["train", "--arch", "race_resnet", "--data", data, "--target", "gender", "--epochs", 1, "--limit", 40]
    assert call(*train, "--out", tmp_path / "model").exit_code == 0
    command = ["run", "--model", tmp_path / "model", "--data", data, "--explainers", "saliency", "--limit", 28]
    command += ["--metrics", "nsrg,mprt,valid", "--protocol", write_light_protocol(tmp_path)]
    result = call(*command, "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    model = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())["models"][0]
    assert not model["validity"]["better_than_chance"]
    assert model["recommendation"]["refusals"][0]["code"] == "R1"
    assert "not better than chance" in joined(result.stdout)
    assert "a weak model" in joined(result.stdout)
