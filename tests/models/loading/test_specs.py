"""Specs: which texts name a model of a family, and how they are taken apart."""

from pathlib import Path

import pytest

from mavis.core.errors import BadParameter
from mavis.models.loading.specs import Spec, parse_spec, split_family, split_options


@pytest.mark.parametrize(
    ("text", "spec", "label"),
    [
        ("resnet18", Spec("resnet18"), "resnet18"),
        ("resnet18@96", Spec("resnet18", 96), "resnet18@96"),
        ("resnet18:a/b.pt", Spec("resnet18", None, Path("a/b.pt")), "resnet18:b"),
        ("resnet18@96:C:\\b.pt", Spec("resnet18", 96, Path("C:\\b.pt")), None),
    ],
)
def test_a_spec_is_taken_apart(text: str, spec: Spec, label: str | None) -> None:
    """Size and weights are optional; weights may hold a colon; the label has the stem of their file."""
    assert parse_spec(text) == spec
    if label is not None:
        assert spec.label == label


@pytest.mark.parametrize("text", ["", "@96", ":a.pt", "resnet18@large", "resnet18@96@32", "resnet18:"])
def test_another_form_is_refused(text: str) -> None:
    """With the expected form, an example, and the text itself."""
    with pytest.raises(BadParameter, match=rf"NAME\[@SIZE\]\[:WEIGHTS\], e\.g\. .*, got '{text}'"):
        parse_spec(text)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("torchvision:resnet18@96", ("torchvision", "resnet18@96")),
        ("onnx:a:b.onnx", ("onnx", "a:b.onnx")),
        ("factory:my_models:net", ("factory", "my_models:net")),
        ("my_models:net", ("factory", "my_models:net")),
        ("my.models:net@32:w.pt", ("factory", "my.models:net@32:w.pt")),
    ],
)
def test_a_family_is_split_off(name: str, family: tuple[str, str]) -> None:
    """A registered family, or the dotted path of a function."""
    assert split_family(name) == family


@pytest.mark.parametrize(
    "name", ["race_resnet", "race_resnet:x y", "C:\\models\\mine", "./a:b", "torchvison:resnet18", "torchvision:", ":x"]
)
def test_a_path_or_a_plain_name_has_no_family(name: str) -> None:
    """A model without specs, a Windows path, a folder with a colon, a typing error, half a spec."""
    assert split_family(name) is None


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("onnx:a/b.onnx?output=percent", "onnx:a/b.onnx", {"output": "percent"}),
        ("timm:x@96:w.pt?output=logits&mean=0,1", "timm:x@96:w.pt", {"output": "logits", "mean": "0,1"}),
        ("./folder?output=", "./folder", {"output": ""}),
        ("race_resnet", "race_resnet", {}),
        ("what?.onnx", "what?.onnx", {}),
        ("?output=logits", "?output=logits", {}),
    ],
)
def test_options_are_split_off(text: str, name: str, options: dict[str, str]) -> None:
    """Behind a question mark, by key; a question mark in a file's name is none."""
    assert split_options(text) == (name, options)


def test_a_file_of_the_whole_name_has_no_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, so it is meant."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net?output=logits").touch()
    assert split_options("net?output=logits") == ("net?output=logits", {})
