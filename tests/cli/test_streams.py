"""Standard streams: any encoding, any width, closed, broken and full."""

import errno
import io
import os
import subprocess
import sys
from typing import Any

import pytest

from mavis.cli.streams import MIN_WIDTH, CarefulStream, careful_streams


class Broken(io.StringIO):
    """A stream on which every write fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, _: str) -> int:
        """Fails."""
        raise self.error


def mavis(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A command line of bash in which ``mavis`` stands for the command."""
    script = command.replace("mavis", f"{sys.executable} -m mavis", 1)
    variables = {**os.environ, **environment}
    return subprocess.run(["bash", "-c", script], capture_output=True, env=variables, check=False)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1", "ascii", "cp437", "shift_jis"])
def test_any_text_can_be_written(encoding: str) -> None:
    """Signs and scripts that a strict stream lacks are substituted."""
    memory = io.BytesIO()
    stream = CarefulStream(io.TextIOWrapper(memory, encoding=encoding, errors="strict"))
    assert stream.write("★ é 東 \udcff\n") == 8
    stream.flush()
    assert len(memory.getvalue().decode(encoding)) == 8
    assert stream.failure is None


@pytest.mark.parametrize("error", [BrokenPipeError(errno.EPIPE, "Broken pipe"), ValueError("I/O on closed file")])
def test_a_stream_that_nobody_reads_takes_the_rest_in_silence(error: Exception) -> None:
    """Nothing is raised, nothing is recorded, and later text is dropped."""
    stream = CarefulStream(Broken(error))
    for _ in range(3):
        assert stream.write("x") == 1
    stream.flush()
    assert (stream.failure, stream.isatty()) == (None, False)


def test_a_full_disk_is_recorded() -> None:
    """The first failure is kept, and nothing is raised."""
    stream = CarefulStream(Broken(OSError(errno.ENOSPC, "No space left on device")))
    stream.write("x")
    stream.write("x")
    assert stream.failure is not None
    assert stream.failure.errno == errno.ENOSPC


def test_a_stream_that_is_not_there_is_silent() -> None:
    """A closed standard output is None in Python."""
    stream = CarefulStream(None)
    assert (stream.write("x"), stream.isatty(), stream.encoding) == (1, False, "utf-8")


SIZES = {"0": None, "abc": None, "-5": None, "²": None, "": None, "99999": None, "1": str(MIN_WIDTH), "100": "100"}


@pytest.mark.parametrize(("text", "believed"), SIZES.items())
def test_sizes_that_are_no_sizes_are_not_believed(
    monkeypatch: pytest.MonkeyPatch, text: str, believed: str | None
) -> None:
    """Zero, words and signs count as unset, tiny numbers as the smallest width; afterwards all is as before."""
    monkeypatch.setenv("COLUMNS", text)
    before: Any = sys.stdout
    with careful_streams():
        assert os.environ.get("COLUMNS") == believed
        assert isinstance(sys.stdout, CarefulStream)
    assert (os.environ["COLUMNS"], sys.stdout) == (text, before)


@pytest.mark.parametrize(
    ("command", "code", "stderr"),
    [
        ("mavis protocol schema | head -1; exit ${PIPESTATUS[0]}", 0, b""),
        ("mavis protocol schema >&-", 0, b""),
        ("mavis protocol nope >&- 2>&-", 2, b""),
        ("mavis protocol schema > /dev/full", 2, b"mavis: Cannot write the output: No space left on device; free some"),
        ("mavis --help > /dev/full", 2, b"mavis: Cannot write the output"),
        ("mavis protocol diff quick best_practices_v1 | true; exit ${PIPESTATUS[0]}", 1, b""),
    ],
)
def test_pipes_and_full_disks_make_no_traceback(command: str, code: int, stderr: bytes) -> None:
    """A reader that left and a closed output leave the command its exit code; a full disk is one line."""
    result = mavis(command)
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith(stderr)
    assert result.stderr.count(b"\n") == bool(stderr)


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]
)
def test_help_and_errors_are_printed_in_any_encoding(environment: dict[str, str]) -> None:
    """Frames of the help on a console that has none of them, and 80 columns where it says that it has none."""
    result = mavis("mavis protocol --help", **environment, COLUMNS="0")
    assert (result.returncode, b"Commands" in result.stdout, result.stderr) == (0, True, b"")
