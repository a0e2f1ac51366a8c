"""mavis doctor: a sound environment, models that work, and what is wrong with those that do not."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from mavis.cli import doctor

from .commands import call, joined

pytestmark = pytest.mark.usefixtures("working_folder")


def test_this_environment_is_in_order() -> None:
    """Versions, devices, disk space and numbers of plug-ins, and no problem."""
    result = call("doctor")
    assert (result.exit_code, "Everything is in order." in result.stdout) == (0, True)
    for label in ("python", "torch", "devices     cpu", "GiB free", "plug-ins"):
        assert label in result.stdout


def test_a_missing_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, with the command that installs it."""

    def version(name: str) -> str:
        if name == "captum":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    result = call("doctor")
    assert (result.exit_code, "captum is not installed; pip install captum" in result.output) == (1, True)


def test_a_model_is_described_and_tried(tiny_vit: str) -> None:
    """Preparation, the cost of the check, and a table of all explainers."""
    text = joined(call("doctor", "--model", tiny_vit).stdout)
    assert "my_vit:net: 7 classes" in text
    assert "CAM layer chosen: encoder.layers.encoder_layer_1.ln_1 (tokens)" in text
    assert "explainers tried with" in text
    assert "guided_backprop degenerate equals saliency" in text
    assert "Everything is in order." in text


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """Exit code 1."""
    assert call("doctor", "--model", tmp_path / "none").exit_code == 1


def test_a_model_that_cannot_be_evaluated_is_a_problem() -> None:
    """A network that does not take images, beside one that does."""
    Path("my_bad.py").write_text("from torch import nn\ndef net():\n    return nn.Linear(5, 7)\n", encoding="utf-8")
    result = call("doctor", "--model", "my_bad:net")
    assert result.exit_code == 1
    assert "wrong: 'my_bad:net' cannot be evaluated on images" in joined(result.output)
