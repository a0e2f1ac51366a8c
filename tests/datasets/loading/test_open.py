"""Opening of data sets: declared options reach the factory, others are refused, optional members are completed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from mavis.core import registry
from mavis.core.errors import BadParameter, DataError, ModelError, UnknownName
from mavis.core.registry import datasets, models
from mavis.core.types import Dataset, Model
from mavis.datasets.loading.checked_data import complete_dataset
from mavis.datasets.loading.open import open_data

from ...memory_data import OldSquares

EMBEDDED = ("planted_parts", "planted_square", "synthetic_faces")


@pytest.fixture
def options() -> Iterator[dict[str, object]]:
    """The options that the data set ``recorder`` was given last; ``old`` has the same factory and declares nothing."""
    registry.load_plugins()
    given: dict[str, object] = {}

    def record(root: str = "", target: str = "shade", size: int = 64, seed: int = 0) -> Dataset:
        given.clear()
        given.update(root=root, target=target, size=size, seed=seed)
        return OldSquares()

    registry.dataset("recorder", options=("root", "size"))(record)
    registry.dataset("old")(record)
    yield given
    for name in ("recorder", "old"):
        del datasets.entries[name]


def test_declared_options_reach_the_factory(options: dict[str, object]) -> None:
    """The folder behind the colon and the size; the target, which is not declared, keeps the factory's default."""
    open_data("recorder:some/folder", target="hue", split=None, size=32)
    assert options == {"root": "some/folder", "target": "shade", "size": 32, "seed": 0}


def test_without_a_declaration_the_signature_decides(options: dict[str, object]) -> None:
    """Those of the five known options that are parameters; others never."""
    assert datasets["old"].traits.options == ("root", "target", "size")
    open_data("old:folder", target="hue", split=None, size=32)
    assert options == {"root": "folder", "target": "hue", "size": 32, "seed": 0}


def test_options_that_were_not_given_keep_their_defaults(options: dict[str, object]) -> None:
    """Nothing is passed as None."""
    open_data("recorder", target=None, split=None)
    assert options == {"root": "", "target": "shade", "size": 64, "seed": 0}


def test_the_model_decides_size_and_target(options: dict[str, object]) -> None:
    """Its size before the one asked for, its card's target where none is named."""
    model = Model("m", torch.nn.Identity(), ("bright", "dark"), "r1", size=48, card={"target": "hue"})
    open_data("old", target=None, split=None, model=model, size=32)
    assert options == {"root": "", "target": "hue", "size": 48, "seed": 0}
    open_data("old", target="shade", split=None, model=model)
    assert options["target"] == "shade"


@pytest.mark.parametrize(
    ("spec", "arguments", "message"),
    [
        ("synthetic_faces:folder", {}, "'synthetic_faces' takes no path; write --data synthetic_faces"),
        ("fairface", {}, "'fairface' needs a folder; write --data fairface:FOLDER"),
        ("planted_square", {"split": "val"}, "'planted_square' has no splits; leave out --split"),
        ("planted_square", {"recipe": "biased"}, "'planted_square' has no recipes; leave out --recipe"),
        ("recorder", {"split": "val"}, "'recorder' has no splits"),
    ],
)
def test_options_that_are_not_declared_are_refused(
    options: dict[str, object], spec: str, arguments: dict[str, str], message: str
) -> None:
    """And a folder that is missing; each says what to write."""
    with pytest.raises(BadParameter, match=message):
        open_data(spec, **{"target": None, "split": None, **arguments})


def test_an_unknown_name_suggests() -> None:
    """The nearest data set."""
    with pytest.raises(UnknownName, match="did you mean 'fairface'"):
        open_data("fairfaces:folder", target=None, split=None)


def test_a_model_of_other_classes_is_refused() -> None:
    """Both are named with their classes."""
    with pytest.raises(ModelError, match=r"'mask_mean' tells 2 classes apart \(bright, dark\), but 'race' of synth"):
        open_data("synthetic_faces", target="race", split=None, model=models["mask_mean"].create())


def test_the_embedded_data_declare_their_options() -> None:
    """As the command line offers them."""
    declared = {name: datasets[name].traits.options for name in (*EMBEDDED, "fairface")}
    assert declared == {
        "planted_parts": ("target", "size"),
        "planted_square": ("target", "size"),
        "synthetic_faces": ("target", "split", "size", "recipe"),
        "fairface": ("root", "target", "split", "size"),
    }


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_are_complete(name: str) -> None:
    """They subclass `Dataset`; their declared parts are those of their batches."""
    data = complete_dataset(datasets[name].create({"size": 32, "count": 4}))
    batch = data.load(list(data.table().index))
    assert data.has_parts == (batch.parts is not None)
    assert data.notes == ()
    assert data.identity is None
    cues = data.cues(list(data.table().index))
    assert cues is None if name != "synthetic_faces" else all(0 <= cue < len(data.classes) for cue in cues)


def test_a_folder_of_images_is_complete(tmp_path: Path) -> None:
    """FairFace as published: notes of its own, neither cues nor parts nor persons."""
    (tmp_path / "val").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "val" / "1.jpg")
    lines = ["file,age,gender,race,service_test", "val/1.jpg,3-9,Male,White,True", "val/2.jpg,3-9,Male,White,True"]
    (tmp_path / "fairface_label_val.csv").write_text("\n".join(lines))
    data = open_data(f"fairface:{tmp_path}", target="gender", split=None, size=16)
    assert "left out because their image is not there: 1 of 2" in data.notes[0]
    assert (data.identity, data.has_parts, data.cues(["val/1.jpg"])) == (None, False, None)
    with pytest.raises(DataError, match="no split 'test'"):
        open_data(f"fairface:{tmp_path}", target=None, split="test")


def test_opened_data_have_every_member(options: dict[str, object]) -> None:
    """Those of a factory that knows nothing of the optional ones too."""
    data = open_data("recorder", target=None, split=None)
    assert (data.notes, data.identity, data.has_parts, data.cues(["a"])) == ((), None, False, None)
