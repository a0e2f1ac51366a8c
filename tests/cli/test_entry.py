"""The door of the command line: what cannot be an argument, and one line and a code for every error."""

import re
from pathlib import Path

import pytest

from mavis.core import registry
from mavis.protocol import loading

from .commands import call, error_line

pytestmark = pytest.mark.usefixtures("working_folder")

OPTIONS = (
    *("--model", "-m", "--data", "--target", "--split", "--explainers", "-e", "--metrics", "--groups", "--protocol"),
    *("--limit", "--seed", "--device", "--batch-size", "--out", "--shard"),
)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_empty_value_is_refused_by_its_option(option: str) -> None:
    """No option means anything by an empty text, least of all "all of them" or the working folder."""
    assert error_line("run", option, "") == f"mavis: {option} is empty; give a value, or leave it out."
    if option.startswith("--"):
        assert error_line("run", f"{option}=") == f"mavis: {option} is empty; give a value, or leave it out."


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("report", ""), "Argument 2 is empty"),
        (("report", "a\0b"), r"The argument $'a\x00b' holds a NUL"),
        (("report", "a\udcff"), r"The argument $'a\xff' holds bytes that are not UTF-8; rename"),
        (("run", "--nope"), "No such option: --nope"),
        (("nope",), "No such command 'nope'"),
        (("run", "--limit", "many"), "--limit"),
        (("run",), "Missing option '--model'"),
        (("report", "a", "b"), "unexpected extra argument"),
        (("list", "mice"), "'mice' is not one of"),
        (("run", "--model", "x\x1b[2J\n[old]"), "No model is named 'x [2J [old]'"),
        (("run", "--no\x1b[2J[/old]"), "No such option: --no"),
        (("report", "r[/old]"), "r[/old] holds no run"),
        (("report", "o" * 300), "File name too long; give a shorter name"),
        (("run", "--model", "m" * 5000), "No model is named 'mmm"),
        (("protocol", "show", "p" * 300 + ".yaml"), "File name too long; give a shorter name"),
        (("run", "--model", "race_resnet", "--data", "fairface:" + "d" * 300), "There is no folder"),
        (("run", "--model", "race_resnet", "--data", "fairface:~no-such-user/x"), "Cannot find the home folder"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    """Whatever is wrong, it is one line without control characters, exit code 2, and nothing is written."""
    text = error_line(*arguments)
    assert line in text
    assert text.startswith("mavis: ")
    assert text.isprintable()


def test_a_fault_of_mavis_saves_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What MAVIS did not raise on purpose is one line with the path of the traceback, and exit code 1."""

    def fail(_: str) -> None:
        raise KeyError("x[/old]\nsecond line")

    monkeypatch.setattr(loading, "load_protocol", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = call("protocol", "show", "quick", width=400)
    (line,) = result.stderr.strip().splitlines()
    assert (result.exit_code, "please report it with" in line) == (1, True)
    assert "unexpected KeyError: 'x[/old]" in line
    assert "in fail" in Path(re.findall(r"\S+mavis-fault-\S+\.txt", line)[0]).read_text()


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt, 130), (RecursionError, 1), (MemoryError, 1)])
def test_every_error_has_its_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, raised: type[BaseException], code: int
) -> None:
    """Ctrl-C is 130, a fault 1; each is one line."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(_: str) -> None:
        raise raised

    monkeypatch.setattr(loading, "load_protocol", fail)
    result = call("protocol", "show", "quick")
    assert (result.exit_code, len(result.stderr.strip().splitlines())) == (code, 1)


def test_without_arguments_the_help_is_printed() -> None:
    """It is help, not an error line."""
    result = call()
    assert (result.exit_code, "Commands" in result.stdout, result.stderr) == (2, True, "")


@pytest.mark.usefixtures("restored_registry")
def test_a_plugin_file_that_is_no_text_is_one_line(working_folder: Path) -> None:
    """A mavis.toml in another encoding."""
    (working_folder / registry.USER_FILE).write_bytes(b"\xff\xfe")
    registry._loaded.clear()
    assert "is not valid TOML" in error_line("list", "models")
