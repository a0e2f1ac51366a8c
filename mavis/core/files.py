"""Files on disk: the one door through which results are written; what the system refuses becomes one line.

A reader sees the old file or the new one, never a part of it: a file is written under a temporary name in the same
folder, flushed to disk and renamed. A device or a pipe is written to as it is.
"""

import errno
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from mavis.core.errors import FileError

ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, or ask for a larger quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EACCES: "change the rights, or give another path",
    errno.EPERM: "change the rights, or give another path",
    errno.EROFS: "give a path on a disk that can be written",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: "a part of the path is a file; give another path",
    errno.EISDIR: "a folder has this name; rename it, or give another path",
    errno.EEXIST: "a file has this name; rename it, or give another path",
    errno.ENOENT: "give a path that exists",
    errno.ELOOP: "a link of the path leads back to itself; give another path",
}
"""What to do about a failure of the system."""


def write_file(path: Path, fill: Callable[[BinaryIO], Any]) -> None:
    """Writes a file whole or not at all.

    Args:
        path: in a folder that exists; a file of this name is replaced, at the end of a link the file that it leads to.
        fill: writes the content into memory, from where it goes to the disk.

    Raises:
        FileError: the system refuses, e.g. on a full disk; what was there before is unchanged.
    """
    memory = io.BytesIO()
    fill(memory)
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(memory.getbuffer())
        else:
            _replace(target, memory.getbuffer())
    except OSError as error:
        raise FileError(f"Cannot write {path}: {describe_os_error(error)}.") from error


def write_text(path: Path, text: str) -> None:
    """Writes a text in UTF-8, whole or not at all, and makes its folder.

    Raises:
        FileError: the system refuses.
    """
    make_folder(path.parent)
    write_file(path, lambda file: file.write(text.encode("utf-8", "backslashreplace")))


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; one that exists is left as it is.

    Raises:
        FileError: the system refuses, or a file has this name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot make the folder {path}: {describe_os_error(error)}.") from error


def read_text(path: Path) -> str:
    """The text of a file in UTF-8.

    Raises:
        FileError: the system refuses, or it is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"Cannot read {path}: it is not a text in UTF-8; save it as UTF-8.") from error
    except OSError as error:
        raise FileError(f"Cannot read {path}: {describe_os_error(error)}.") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FileError: the system refuses.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"Cannot read {path}: {describe_os_error(error)}.") from error


def is_file(path: Path) -> bool:
    """True for a file.

    Raises:
        FileError: the system refuses to tell, e.g. because the name is too long.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise FileError(f"Cannot read {path}: {describe_os_error(error)}.") from error


def exists(path: str | Path) -> bool:
    """True for a file or folder; False also for what no file can be called, e.g. a name that is too long."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def is_folder(path: str | Path) -> bool:
    """True for a folder; False also for what no folder can be called."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def expand_user(path: str | Path) -> Path:
    """The path with ``~`` and ``~name`` replaced by the home folder.

    Raises:
        FileError: there is no such user, or no home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise FileError(f"Cannot find the home folder in '{path}'; write the whole path.") from error


def describe_os_error(error: OSError) -> str:
    """The failure in the system's words, and what to do."""
    text = error.strerror or str(error) or type(error).__name__
    advice = ADVICE.get(error.errno or 0)
    return f"{text}; {advice}" if advice else text


def _replace(path: Path, content: memoryview) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
