"""torchvision imports beside a torch without its operators, and healthy pairs are left alone."""

import subprocess
import sys
from pathlib import Path

import pytest

import mavis
from mavis.core import torchvision_hook

FAKE = """
import torch


@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold):
    ...


@torch.library.register_fake(
    'torchvision::brand_new'
)
def meta_brand_new(dets):
    ...


@register_meta("roi_align")
def meta_roi_align(input):
    ...
"""


def _run(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a Python of its own, where nothing is imported yet."""
    root = Path(mavis.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=root, capture_output=True, text=True, check=False
    )


def test_torchvision_imports_after_mavis() -> None:
    """After ``import mavis`` torchvision imports and builds a network that runs, whichever builds are installed.

    Installing the hook twice leaves one finder, and none after torchvision is there.
    """
    done = _run(
        "import mavis, sys\n"
        "from mavis.core import torchvision_hook as hook\n"
        "def count(): return sum(isinstance(f, hook._Finder) for f in sys.meta_path)\n"
        "hook.install()\n"
        "before = count()\n"
        "import torch, torchvision\n"
        "hook.install()\n"
        "net = torchvision.models.resnet18(weights=None).eval()\n"
        "print(before, count(), *net(torch.zeros(1, 3, 64, 64)).shape)"
    )
    assert (done.stdout, done.returncode) == ("1 0 1 1000\n", 0), done.stderr


def test_mavis_alone_imports_neither_torch_nor_torchvision() -> None:
    """The hook costs nothing until torchvision is asked for."""
    done = _run("import mavis, sys; print('torch' in sys.modules, 'torchvision' in sys.modules)")
    assert (done.stdout, done.returncode) == ("False False\n", 0), done.stderr


def test_looking_for_torchvision_does_not_spoil_its_import() -> None:
    """Libraries that ask ``find_spec`` first, as many do, can import it afterwards."""
    done = _run(
        "import mavis, importlib.util as u; assert u.find_spec('torchvision'); import torchvision.transforms.v2"
    )
    assert done.returncode == 0, done.stderr


def test_operators_are_read_from_the_file(tmp_path: Path) -> None:
    """Names come from the file itself, in any layout; those that torchvision checks by itself are not among them."""
    (tmp_path / "_meta_registrations.py").write_text(FAKE)
    assert torchvision_hook.operator_names(tmp_path) == ["brand_new", "nms"]


def test_operators_of_the_installed_torchvision_include_nms() -> None:
    """The installed torchvision's own file names nms, the operator that the error is about."""
    import torchvision

    assert "nms" in torchvision_hook.operator_names(Path(torchvision.__file__).parent)


def test_a_healthy_pair_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torchvision's own library loads, nothing is declared and its file is not even read."""
    declared: list[object] = []
    monkeypatch.setattr(torchvision_hook, "_can_load", lambda folder: True)
    monkeypatch.setattr(torchvision_hook, "_declare_operators", declared.append)
    torchvision_hook._declare_missing_operators(tmp_path)
    assert declared == []


def test_a_pair_that_does_not_fit_gets_the_names_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library does not load, exactly the operators of the file are declared."""
    declared: list[object] = []
    (tmp_path / "_meta_registrations.py").write_text(FAKE)
    monkeypatch.setattr(torchvision_hook, "_can_load", lambda folder: False)
    monkeypatch.setattr(torchvision_hook, "_declare_operators", declared.append)
    torchvision_hook._declare_missing_operators(tmp_path)
    assert declared == [["brand_new", "nms"]]


def test_a_library_that_does_not_load_is_noticed(tmp_path: Path) -> None:
    """A folder without the library, and one whose library is no library, both count as not loading."""
    assert not torchvision_hook._can_load(tmp_path)
    (tmp_path / "_C.so").write_bytes(b"no library")
    assert not torchvision_hook._can_load(tmp_path)


def test_other_imports_are_not_touched() -> None:
    """The finder answers for torchvision alone, not for its submodules."""
    finder = torchvision_hook._Finder()
    assert finder.find_spec("torch", None) is None
    assert finder.find_spec("torchvision.models", None) is None
