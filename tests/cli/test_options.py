"""Shared options: text to request, the default folder, error lines, and both spellings of renamed flags."""

from pathlib import Path
from typing import Any

import pytest
import typer

from mavis.cli import app, options
from mavis.core.errors import MavisError

TEXTS: dict[str, Any] = {
    "models": ["race_resnet"],
    "data": "synthetic_faces",
    "target": None,
    "split": None,
    "explainers": "saliency, gradcam,",
    "metrics": None,
    "groups": "race,race*gender",
    "protocol": "quick",
    "limit": 70,
    "seed": None,
    "device": "auto",
    "batch_size": "auto",
}


def test_texts_become_a_request() -> None:
    """Lists are split at commas, 'auto' leaves the batch size open, and what is not set stays None."""
    request = options.build_request(**TEXTS)
    assert request.explainers == ("saliency", "gradcam")
    assert request.groups == ("race", "race*gender")
    assert (request.metrics, request.seed, request.batch_size) == (None, None, None)
    assert (request.limit, request.shard, request.allow_known_faulty) == (70, (1, 1), False)


def test_numbers_are_read() -> None:
    """Batch size, shard and the flag for faulty metrics."""
    request = options.build_request(**TEXTS | {"batch_size": "64"}, shard="2/3", include_faulty=True)
    assert (request.batch_size, request.shard, request.allow_known_faulty) == (64, (2, 3), True)


@pytest.mark.parametrize("option", ["explainers", "metrics", "groups"])
@pytest.mark.parametrize("text", ["", ",", " , "])
def test_a_list_without_a_name_is_refused(option: str, text: str) -> None:
    """An empty text or commas alone name nothing; they do not mean all."""
    with pytest.raises(MavisError, match=rf"--{option} must be names separated by commas, got '{text}'"):
        options.build_request(**TEXTS | {option: text})


@pytest.mark.parametrize("text", ["many", "0", "-1", "1.5", "", "²", "٣", "1_000", "65537", "9" * 39])
def test_a_batch_size_is_a_count(text: str) -> None:
    """Anything but 'auto' or a number in plain digits is refused."""
    with pytest.raises(MavisError, match=rf"--batch-size must be 'auto' or a number from 1 to 65536, got '{text}'"):
        options.build_request(**TEXTS | {"batch_size": text})


@pytest.mark.parametrize("text", ["3/2", "0/2", "1", "1/", "/2", "a/b", "1/2/3", "", "¹/2", "1/²"])
def test_a_shard_is_k_of_n(text: str) -> None:
    """K lies between 1 and N."""
    with pytest.raises(MavisError, match="--shard must be K/N"):
        options.build_request(**TEXTS, shard=text)


def test_the_default_folder_is_named_after_the_run() -> None:
    """Models, data and protocol, each without its path, so that the same command continues the run."""
    folder = options.default_folder(["race_resnet", "models/mine"], "fairface:/data/FairFace", "rules/my.yaml")
    assert folder == Path("mavis-runs") / "race_resnet_mine_fairface_my"


@pytest.mark.parametrize(("name", "part"), [(".", "inner"), ("..", "outer"), ("./", "inner"), ("../inner/", "inner")])
def test_a_folder_of_dots_has_the_name_that_it_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str
) -> None:
    """``--model .`` names the run after the working folder."""
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "outer" / "inner")
    assert options.default_folder([name], "synthetic_faces", "quick").name == f"{part}_synthetic_faces_quick"


@pytest.mark.parametrize(
    ("command", "name", "old_name"),
    [
        ("run", "--full", "--all"),
        ("report", "--full", "--all"),
        ("run", "--include-faulty", "--allow-known-faulty"),
        ("plan", "--include-faulty", "--allow-known-faulty"),
        ("check", "--save-baseline", "--write"),
        ("verify", "--save", "--write"),
        ("verify", "--retrained-model", "--twin"),
        ("train", "--training-recipe", "--recipe"),
    ],
)
def test_a_renamed_option_keeps_its_old_name(command: str, name: str, old_name: str) -> None:
    """Both spellings are one option, the new one first."""
    (names,) = [option.opts for option in typer.main.get_command(app).commands[command].params if name in option.opts]
    assert names == [name, old_name]
