"""The commands as a user types them: what they print, what bad input gives, and the exit codes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from mavis.cli import app
from mavis.core import hashing, registry
from mavis.models.loading import checkpoint
from mavis.models.loading.open import open_model

QUICK = ["--explainers", "saliency,gradcam", "--metrics", "nsrg,mprt,valid,gini", "--limit", "70"]


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refused(*arguments):
    """The one line that bad input gives, with exit code 2 and nothing written."""
    before = set(Path.cwd().rglob("*"))
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert set(Path.cwd().rglob("*")) == before
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two methods."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = call("run", "--model", "race_resnet", *QUICK, "--out", folder)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_run_prints_tables_answer_report_and_next_step(finished):
    """What a newcomer sees: is the model worth it, who leads, per group, the answer, where the report is, what next."""
    folder, text = finished
    for words in ("preview", "Is the model worth explaining?", "saliency", "random (control)", "alder", "Answer"):
        assert words in text
    assert f"Report: {folder / 'report' / 'index.html'}" in text
    assert "Next:" in text
    assert (folder / "report" / "index.html").stat().st_size > 100_000


def test_leaderboard_json_meets_the_published_schema(finished):
    """What --schema prints validates the leaderboard.json of a run."""
    schema = json.loads(call("report", "--schema").stdout)
    document = json.loads((finished[0] / "report" / "leaderboard.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    assert {e["explainer"] for e in document["models"][0]["explainers"]} >= {"saliency", "gradcam", "random", "oracle"}


def test_report_is_made_again_from_the_folder(finished):
    """mavis report writes all eight files from the run directory alone."""
    shutil.rmtree(finished[0] / "report")
    assert call("report", finished[0]).exit_code == 0
    names = {path.name for path in (finished[0] / "report").iterdir()}
    leaderboards = {f"leaderboard.{suffix}" for suffix in ("csv", "md", "json", "tex")}
    assert names == {"index.html", "skills.csv", "gaps.csv", "pairs.csv", *leaderboards}


def test_all_prints_every_metric(finished):
    """mavis report prints the short tables; with --all every metric too."""
    short, long = (call("report", finished[0], *more).stdout for more in ((), ("--all",)))
    assert "nsrg" in short
    assert not re.search(r"gini [↑^]", short)
    assert re.search(r"gini [↑^]", long)


def test_check_passes_on_itself_and_fails_on_a_regression(finished, tmp_path):
    """A run is no worse than itself; where the baseline was better by more than the margin the exit code is 1."""
    baseline = tmp_path / "baseline.parquet"
    assert call("check", finished[0], "--write", baseline).exit_code == 0
    same = call("check", finished[0], "--baseline", baseline)
    assert (same.exit_code, "0 worse, 0 missing, 0 better" in same.stdout) == (0, True)
    import pandas as pd

    better = pd.read_parquet(baseline)
    better.loc[(better["explainer"] == "saliency") & (better["metric"] == "nsrg"), "value"] += 0.1
    better.to_parquet(baseline)
    worse = call("check", finished[0], "--baseline", baseline)
    assert (worse.exit_code, "1 worse" in worse.stdout) == (1, True)


def test_failed_cells_give_exit_code_3(tmp_path, monkeypatch):
    """A run in which a cell failed ends with 3, its tables shown and the failure listed."""
    from dataclasses import replace

    entry = registry.explainers["gradcam"]
    traits = replace(entry.traits, needs=frozenset({"forward"}))  # so that it is not tried before the run
    wrong = replace(entry, registered=lambda: lambda run, targets: 1, traits=traits)
    monkeypatch.setitem(registry.explainers.entries, "gradcam", wrong)
    result = call("run", "--model", "race_resnet", *QUICK, "--out", tmp_path / "run")
    assert result.exit_code == 3
    assert "An explainer must return a tensor" in " ".join(result.stdout.split())


def test_unknown_names_suggest_the_nearest():
    """A model, data set, explainer, metric, group or protocol that is not there names the nearest one."""
    assert "did you mean 'race_resnet'?" in refused("run", "--model", "race_resnt")
    assert "did you mean 'synthetic_faces'?" in refused("run", "--model", "race_resnet", "--data", "synthetic_face")
    assert "did you mean 'saliency'?" in refused("run", "--model", "race_resnet", "--explainers", "salency")
    assert "did you mean 'nsrg'?" in refused("run", "--model", "race_resnet", "--metrics", "nsgr")
    assert "did you mean 'gender'?" in refused("run", "--model", "race_resnet", "--groups", "gendr")
    assert "did you mean 'quick'?" in refused("run", "--model", "race_resnet", "--protocol", "quik")


def test_bad_options_are_one_line():
    """Devices, batch sizes and shards that do not exist."""
    model = ("run", "--model", "race_resnet")
    assert "--device" in refused(*model, "--device", "tpu")
    assert "--batch-size" in refused(*model, "--batch-size", "many")
    assert "--shard" in refused(*model, "--shard", "3/2")
    assert "leaves groups without an image" in refused(*model, "--limit", "3")


def test_missing_data_are_one_line(fairface_folder):
    """A folder, a table or a column that is not there; a data set that needs a folder."""
    model = ("run", "--model", "race_resnet", "--target", "gender", "--data")
    assert "nowhere" in refused(*model, "fairface:nowhere")
    assert "needs a folder" in refused(*model, "fairface")
    table = fairface_folder / "fairface_label_val.csv"
    table.write_text(table.read_text().replace("gender", "sex"))
    assert "gender" in refused(*model, f"fairface:{fairface_folder}")
    table.unlink()
    assert "fairface_label_val.csv" in refused(*model, f"fairface:{fairface_folder}")


def test_a_model_with_other_classes_is_refused(fairface_folder):
    """Seven populations are not two genders."""
    line = refused("run", "--model", "race_resnet", "--data", f"fairface:{fairface_folder}", "--target", "gender")
    assert "7 classes" in line
    assert "has 2" in line


def test_nan_weights_are_refused(tmp_path):
    """A model whose weights are not finite is named before anything is run."""
    model, _ = open_model("race_resnet", torch.device("cpu"))
    checkpoint.save(tmp_path / "bad", model.net, model.card)
    weights = load_file(tmp_path / "bad" / "model.safetensors")
    next(tensor for tensor in weights.values() if tensor.dim() == 4).view(-1)[0] = float("nan")
    save_file(weights, tmp_path / "bad" / "model.safetensors")
    card = json.loads((tmp_path / "bad" / "card.json").read_text())
    card["weights_hash"] = hashing.digest((tmp_path / "bad" / "model.safetensors").read_bytes())
    (tmp_path / "bad" / "card.json").write_text(json.dumps(card))
    assert "NaN" in refused("run", "--model", tmp_path / "bad")


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
    rules = tmp_path / "lenient.yaml"
    text = (Path(__file__).parents[2] / "protocols" / "quick.yaml").read_text()
    rules.write_text(text.replace("max_unreadable: 0.05", "max_unreadable: 0.2").replace("race*gender", "age"))
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
    assert "cannot be read" in refused(*command, "--out", tmp_path / "again")


def test_training_and_running_on_real_faces(real_faces, tmp_path):
    """A model trained for one epoch on real faces runs on their val part; where it guesses, nothing is recommended."""
    data = f"fairface:{real_faces}"
    train = ["train", "--arch", "race_resnet", "--data", data, "--target", "gender", "--epochs", 1, "--limit", 40]
    assert call(*train, "--out", tmp_path / "model").exit_code == 0
    command = ["run", "--model", tmp_path / "model", "--data", data, "--explainers", "saliency", "--limit", 84]
    result = call(*command, "--metrics", "nsrg,mprt,valid", "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "run" / "report" / "leaderboard.json").read_text())["models"][0]
    assert not found["validity"]["better_than_chance"]
    assert found["recommendation"]["refusals"][0]["code"] == "R1"
    assert "not better than chance" in " ".join(result.stdout.split())
    assert "a weak model" in " ".join(result.stdout.split())


@pytest.mark.parametrize("kind", ["models", "datasets", "explainers", "metrics", "imputers", "protocols"])
def test_list_names_everything(kind):
    """Every plug-in is listed by name; as JSON with its parameters and what it declares."""
    rows = json.loads(call("list", kind, "--json").stdout)
    text = call("list", kind).stdout
    assert rows
    assert all(row["name"] in text for row in rows)


def test_plan_says_what_a_run_costs():
    """Every explainer with its counted forwards and backwards, and the time that follows."""
    text = call("plan", "--model", "race_resnet", *QUICK).stdout
    assert "saliency" in text
    assert "once for all" in text
    assert "blocks; about" in text


def test_plan_says_once_what_is_left_out_and_why():
    """Explainers that do not work on the model; metrics that the data do not allow, but not the explainers then."""
    asked = ("--metrics", "gini,part_faithfulness", "--limit", 7)
    text = call("plan", "--model", "race_resnet", "--explainers", "xgradcam,gradient_rollout,attention_rollout", *asked)
    words = " ".join(text.stdout.split())
    assert "skipped: xgradcam: equals gradcam here." in words
    assert "skipped: gradient_rollout, attention_rollout: does not work here: 'race_resnet' has no attention" in words
    text = call(
        "plan",
        "--model",
        "mask_mean",
        "--data",
        "planted_square",
        "--explainers",
        "saliency",
        "--groups",
        "shade",
        *asked,
    )
    assert "skipped: part_faithfulness: needs data whose parts can be drawn anew." in " ".join(text.stdout.split())


def test_doctor_is_content_and_names_what_is_wrong(tmp_path):
    """This environment is in order; a model that cannot be loaded is named, with exit code 1."""
    fine = call("doctor", "--model", "race_resnet")
    assert (fine.exit_code, "Everything is in order." in fine.stdout) == (0, True)
    assert "CAM layer" in fine.stdout
    assert call("doctor", "--model", tmp_path / "none").exit_code == 1


def test_help_is_fast_and_without_torch():
    """mavis --help does not import torch."""
    code = "import sys, mavis.cli\ntry: mavis.cli.app(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Commands" in shown
    assert shown.strip().endswith("False")
