"""Files below a folder by the names that a table gives them: paths are compared as files, not as texts.

A name finds its file when it is written with ``./`` or ``..``, with backslashes, as an absolute path, in another
Unicode normal form, or in another case where the file system takes no notice of it. A name that leads out of the folder
finds nothing; a link that lies in the folder is followed.
"""

import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from mavis.datasets.loading.image_files import is_companion

Identity = tuple[int, int] | str
"""Device and number of a file, equal for all of its names; the path of a link that leads nowhere."""


@dataclass(frozen=True)
class FolderFile:
    """A file below a folder.

    Attributes:
        name: its path in the folder, with ``/``, as the folder spells it.
        identity: of the file itself, equal for two links to it.
    """

    name: str
    identity: Identity


class ImageFolder:
    """The files below a folder; each sub-folder is listed once, when it is first named."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[str, dict[str, Identity]] = {}
        self._spellings: dict[str, dict[str, str]] = {}
        self._roots = tuple(dict.fromkeys((root.absolute(), root.resolve())))

    def find(self, name: str) -> FolderFile | None:
        """The file of this name, or None; a file that cannot be decoded, a folder or a dangling link are found too."""
        folder, _, leaf = name.rpartition("/")
        if leaf in self._listings.get(folder, {}) and not is_companion(leaf):
            return FolderFile(name, self._listings[folder][leaf])
        for path in self._paths_below(name):
            file = self._spell_as_listed(path)
            if file is not None and not is_companion(file.name) and self._leads_there(name, file):
                return file
        return None

    def is_outside(self, name: str) -> bool:
        """True for a name that leads out of the folder."""
        return not list(self._paths_below(name))

    def similar(self, name: str) -> str | None:
        """A file that differs from the name in case, in its ending or in its folder only; None without one."""
        folder, _, file = name.replace("\\", "/").rpartition("/")
        stem = _fold(PurePosixPath(file).stem)
        return self._by_stem.get((_fold(folder), stem)) or (None if folder else self._by_stem.get((None, stem)))

    @cached_property
    def _by_stem(self) -> dict[tuple[str | None, str], str]:
        """The files that are listed so far by folder and stem, in any case, and by the stem alone."""
        paths: dict[tuple[str | None, str], str] = {}
        for folder, files in self._listings.items():
            for file in files:
                stem = _fold(PurePosixPath(file).stem)
                paths.setdefault((_fold(folder), stem), _join(folder, file))
                paths.setdefault((None, stem), _join(folder, file))
        return paths

    def _paths_below(self, name: str) -> Iterator[PurePosixPath]:
        """The name's path in the folder, in each way in which it may be meant."""
        if _is_plain(name):
            yield PurePosixPath(name)
            return
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            path = Path(os.path.normpath(self._roots[0] / spelling))
            is_of_windows = bool(PureWindowsPath(spelling).drive) and os.name != "nt"
            below = None if is_of_windows else self._below(path) or self._below(path.parent.resolve() / path.name)
            if below is not None:
                yield below

    def _below(self, path: Path) -> PurePosixPath | None:
        """The path in the folder, None outside it."""
        root = next((root for root in self._roots if path.is_relative_to(root)), None)
        return None if root is None else PurePosixPath(path.relative_to(root).as_posix())

    def _spell_as_listed(self, path: PurePosixPath) -> FolderFile | None:
        """The file at this path, each part of which is spelled as its folder spells it."""
        parent, folder, spelling = "", "", None
        for part in path.parts:
            parent, files = folder, self._listing(folder)
            spelling = part if part in files else self._spellings[folder].get(_compose(part))
            spelling = spelling or self._as_the_file_system_says(folder, part)
            if spelling is None:
                return None
            folder = _join(parent, spelling)
        return None if spelling is None else FolderFile(folder, self._listings[parent][spelling])

    def _listing(self, folder: str) -> dict[str, Identity]:
        """The files of a sub-folder with their identities; empty where it is none."""
        if folder not in self._listings:
            files: dict[str, Identity] = {}
            with suppress(OSError), os.scandir(self.root / folder) as entries:
                device = (self.root / folder).stat().st_dev
                files = {entry.name: _identity(entry, device) for entry in entries}
            self._listings[folder] = files
            self._spellings[folder] = {_compose(file): file for file in files}
        return self._listings[folder]

    def _as_the_file_system_says(self, folder: str, part: str) -> str | None:
        """The listed spelling of a name that the file system takes for the same, as one in another case."""
        with suppress(OSError, ValueError):
            status = (self.root / folder / part).stat()
            identity = (status.st_dev, status.st_ino)
            return next(
                (file for file, listed_identity in self._listings[folder].items() if listed_identity == identity), None
            )
        return None

    def _leads_there(self, name: str, file: FolderFile) -> bool:
        """False where ``..`` behind a link leads elsewhere than the text of the path."""
        if ".." not in name:
            return True
        with suppress(OSError, ValueError):
            return (self.root / name.replace("\\", "/")).samefile(self.root / file.name)
        return False


def _is_plain(name: str) -> bool:
    """True for a path in the folder that is written in one way only."""
    return "\\" not in name and not {"", ".", ".."} & set(name.split("/")) and not PureWindowsPath(name).drive


def same_file(root: Path, first: FolderFile, second: FolderFile) -> bool:
    """True where two files of equal identity are one, as the file system confirms."""
    if first.name == second.name:
        return True
    with suppress(OSError):
        return (root / first.name).samefile(root / second.name)
    return False


def _identity(entry: os.DirEntry[str], device: int) -> Identity:
    if not entry.is_symlink():
        return device, entry.inode()
    with suppress(OSError):
        status = entry.stat()
        return status.st_dev, status.st_ino
    return entry.path


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _compose(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _fold(name: str) -> str:
    return _compose(name).casefold()
