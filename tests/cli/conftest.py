"""Fixtures of the commands: a working folder, a small transformer, a finished run, and a registry that is restored."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mavis.core import registry

from .commands import call

TINY_VIT = """
from torchvision.models import VisionTransformer
from mavis.models.loading.weights import random_network

def net():
    def make():
        return VisionTransformer(image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
                                 num_classes=7)
    return random_network(make, 64)
"""


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def tiny_vit(working_folder: Path) -> Iterator[str]:
    """The spec of a transformer of two layers, in a file of the working folder."""
    (working_folder / "my_vit.py").write_text(TINY_VIT, encoding="utf-8")
    yield "my_vit:net"
    sys.modules.pop("my_vit", None)


@pytest.fixture
def restored_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registries; plug-ins that a test adds are removed after it."""
    registry.load_plugins()
    entries = {kind: dict(plugins.entries) for kind, plugins in registry.REGISTRIES.items()}
    monkeypatch.setattr(registry, "_loaded", set(registry._loaded))
    yield
    for kind, plugins in registry.REGISTRIES.items():
        plugins.entries.clear()
        plugins.entries.update(entries[kind])


@pytest.fixture(scope="session")
def hand_wired_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of two methods on the hand-wired model."""
    folder = tmp_path_factory.mktemp("hand_wired") / "run"
    options = ["--data", "planted_square", "--groups", "shade", "--limit", 14, "--device", "cpu", "--out", folder]
    options += ["--explainers", "saliency,input_x_gradient", "--metrics", "nsrg,mprt,valid,gini"]
    result = call("run", "--model", "mask_mean", *options)
    assert result.exit_code == 0, result.output
    return folder
