"""Names in a table are compared as files."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from mavis.datasets.loading.image_folder import ImageFolder, same_file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """``val/1.png``, ``val/é 2.png`` (decomposed), links beside them, and a file outside."""
    root = tmp_path / "faces"
    (root / "val").mkdir(parents=True)
    (root / "val" / "1.png").write_bytes(b"one")
    (root / "val" / unicodedata.normalize("NFD", "é 2.png")).write_bytes(b"two")
    (root / "val" / "link.png").symlink_to("1.png")
    (root / "val" / "hard.png").hardlink_to(root / "val" / "1.png")
    (root / "val" / "dangling.png").symlink_to("nowhere.png")
    (root / "val" / "folder.png").mkdir()
    (root / "val" / "._1.png").write_bytes(b"")
    (root / "also").symlink_to("val")
    (tmp_path / "faces2").mkdir()
    (tmp_path / "faces2" / "1.png").write_bytes(b"other")
    return root


SPELLINGS: dict[str, Callable[[Path], str]] = {
    "plain": lambda root: "val/1.png",
    "dot": lambda root: "./val/1.png",
    "dots and slashes": lambda root: "val//.//1.png",
    "backslash": lambda root: "val\\1.png",
    "dot and backslash": lambda root: ".\\val\\1.png",
    "up and down": lambda root: "val/../val/1.png",
    "out and in": lambda root: "../faces/val/1.png",
    "absolute": lambda root: str(root / "val" / "1.png"),
    "absolute through a link": lambda root: str(root / "also" / "1.png"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_file_is_found_under_every_spelling(root: Path, case: str) -> None:
    """And has the name that its folder gives it."""
    file = ImageFolder(root).find(SPELLINGS[case](root))
    assert file is not None
    assert file.name in ("val/1.png", "also/1.png")
    assert file.identity == ImageFolder(root).find("val/1.png").identity


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
def test_normal_forms_are_one_name(root: Path, form: str) -> None:
    """As on macOS."""
    file = ImageFolder(root).find(unicodedata.normalize(form, "val/é 2.png"))
    assert file is not None
    assert (root / file.name).read_bytes() == b"two"


@pytest.mark.parametrize("name", ["val/link.png", "val/hard.png", "also/1.png"])
def test_links_are_the_file_that_they_lead_to(root: Path, name: str) -> None:
    """Symbolic, hard, and of a folder."""
    folder = ImageFolder(root)
    file, target = folder.find(name), folder.find("val/1.png")
    assert file.identity == target.identity
    assert same_file(root, file, target)
    assert not same_file(root, file, folder.find("val/é 2.png"))


@pytest.mark.parametrize("name", ["val/dangling.png", "val/folder.png"])
def test_what_cannot_be_decoded_is_found(root: Path, name: str) -> None:
    """So that it is counted as an image that cannot be read."""
    assert ImageFolder(root).find(name).name == name


@pytest.mark.parametrize("name", ["val/3.png", "val", "val/._1.png", "", ".", "nowhere/../val/1.png", "VAL/1.PNG"])
def test_other_names_find_no_image(root: Path, name: str) -> None:
    """``val`` is the folder itself; case counts where the file system says so."""
    file = ImageFolder(root).find(name)
    assert file is None or (root / file.name).is_dir()


@pytest.mark.parametrize(
    "name", ["../faces2/1.png", "val/../../faces2/1.png", "/etc/hostname", "C:\\faces\\val\\1.png"]
)
def test_nothing_outside_is_found(root: Path, name: str) -> None:
    """However the name leads out."""
    folder = ImageFolder(root)
    assert folder.find(name) is None
    assert folder.is_outside(name)
    assert not folder.is_outside("val/3.png")


@pytest.mark.parametrize("name", ["val/1.PNG", "VAL/1.png", "val/1.jpg", "1.png", "val/1"])
def test_similar_names_are_told(root: Path, name: str) -> None:
    """Of another case, ending or folder."""
    folder = ImageFolder(root)
    folder.find("val/1.png")
    assert folder.similar(name) == "val/1.png"
    assert folder.similar("val/77.png") is None


def test_case_is_the_file_systems_matter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it opens a file under another case, that is its name."""
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        return real(path.parent / path.name.replace("VAL", "val").replace("1.PNG", "1.png"), **options)

    monkeypatch.setattr(Path, "stat", stat)
    assert ImageFolder(root).find("VAL/1.PNG") is not None


def test_a_folder_is_listed_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of a hundred thousand rows costs no query per row."""
    listed: list[str] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), real(path))[1])
    folder = ImageFolder(root)
    for _ in range(5):
        assert folder.find("val/1.png") is not None
    assert len(listed) == 2
