"""Writing of files: whole or not at all, and one line for what the system refuses."""

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest

from mavis.core import files
from mavis.core.errors import FileError


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new content, in UTF-8, and no temporary file; the folder is made."""
    path = tmp_path / "new" / "a.txt"
    for text in ("older and longer", "é"):
        files.write_text(path, text)
    assert files.read_text(path) == "é"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "No space left on device; free some space"),
        (errno.EROFS, "Read-only file system; give a path on a disk"),
        (errno.EDQUOT, "ask for a larger quota"),
        (errno.EACCES, "Permission denied; change the rights"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "open"])
def test_what_the_disk_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str, call: str
) -> None:
    """Flushing or opening fails: what is wrong and what to do; the old file stays, nothing else is left."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    def refuse(*_: Any, **__: Any) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(FileError, match=rf"^Cannot write \S+a.txt: .*{advice}"):
            files.write_file(path, lambda file: file.write(b"new"))
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_real_limit_leaves_the_old_file(tmp_path: Path) -> None:
    """The system stops a file in the middle of its writing, as a full disk does."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FileError, match="File too large; raise the limit"):
            files.write_file(path, lambda file: file.write(b"x" * 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (path.read_text(), len(list(tmp_path.iterdir()))) == ("old", 1)


def test_impossible_paths_are_one_line(tmp_path: Path) -> None:
    """A name that is too long, a file in the place of a folder, and a folder in the place of a file."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path, advice in (
        (tmp_path / ("o" * 300), "give a shorter name"),
        (tmp_path / "file" / "a", "a (file|part of the path)"),
        (tmp_path / "folder", "a folder has this name"),
    ):
        with pytest.raises(FileError, match=advice):
            files.write_text(path, "x")
    with pytest.raises(FileError, match="give a shorter name"):
        files.is_file(tmp_path / ("o" * 300))
    assert not files.exists("o" * 300)
    assert not files.is_folder("a\0b")


def test_devices_and_links_stay(tmp_path: Path) -> None:
    """A device is written to, and a link leads to the new content; neither is replaced by a file."""
    files.write_text(Path(os.devnull), "x")
    assert Path(os.devnull).is_char_device()
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    """No file, a folder, bytes that are no text, a home folder that is not there."""
    (tmp_path / "latin").write_bytes(b"\xff\xfe")
    for path, advice in ((tmp_path / "none", "give a path that exists"), (tmp_path, "a folder has this name")):
        with pytest.raises(FileError, match=advice):
            files.read_bytes(path)
    with pytest.raises(FileError, match="not a text in UTF-8"):
        files.read_text(tmp_path / "latin")
    with pytest.raises(FileError, match="Cannot find the home folder in '~no-such-user/x'"):
        files.expand_user("~no-such-user/x")
