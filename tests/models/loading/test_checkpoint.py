"""A model on disk: what is written comes back, and what does not fit is refused in one line."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mavis.core.errors import ModelError, UnknownName
from mavis.core.hashing import digest_file
from mavis.core.perceptual_hash import Fingerprints
from mavis.models.loading import checkpoint
from mavis.models.loading.architectures import CAM_LAYER

FACTS = {"architecture": "race_resnet", "classes": ["a", "b", "c"], "target": "race", "size": 32, "recipe": "balanced"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A saved model with random weights."""
    checkpoint.save(tmp_path / "model", checkpoint.build_network("race_resnet", 3, 32, seed=1), FACTS)
    return tmp_path / "model"


def rewrite(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Changes or removes tensors, and mends the hash in the card."""
    path = folder / checkpoint.WEIGHTS_FILE
    state = {name: tensor for name, tensor in (load_file(path) | tensors).items() if tensor is not None}
    save_file(state, path)
    mend(folder, weights_hash=checkpoint.digest(path.read_bytes()))


def mend(folder: Path, **fields: object) -> None:
    """Changes or removes fields of the card."""
    path = folder / checkpoint.CARD_FILE
    card = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({name: value for name, value in card.items() if value is not None}))


def test_a_saved_model_answers_as_before(folder: Path) -> None:
    """Weights, classes, size and card come back; the answers are the same to the bit."""
    net = checkpoint.to_channels_last(checkpoint.build_network("race_resnet", 3, 32, seed=1).eval())
    model = checkpoint.load(folder)
    images = torch.rand(4, 3, 32, 32)
    assert torch.equal(model.net(images), net(images))
    assert (model.name, model.classes, model.size, model.cam_layer) == ("model", ("a", "b", "c"), 32, CAM_LAYER)
    assert model.card["recipe"] == "balanced"
    assert not model.net.training


def test_a_pair_of_files_is_a_model_too(tmp_path: Path) -> None:
    """A stem names ``STEM.safetensors`` and ``STEM.json``; its revision is that of the same model in a folder."""
    net = checkpoint.build_network("race_resnet", 3, 32, seed=2)
    checkpoint.save(tmp_path / "some.name", net, FACTS, as_pair=True)
    checkpoint.save(tmp_path / "folder", net, FACTS)
    assert sorted(path.name for path in tmp_path.glob("some*")) == ["some.name.json", "some.name.safetensors"]
    assert checkpoint.load(tmp_path / "some.name").revision == checkpoint.load(tmp_path / "folder").revision


def test_the_revision_is_of_the_content(folder: Path, tmp_path: Path) -> None:
    """Other weights give another revision; another name or other remarks do not."""
    revision = checkpoint.load(folder).revision
    mend(folder, remark="seen")
    assert checkpoint.load(folder, name="other").revision == revision
    checkpoint.save(tmp_path / "second", checkpoint.build_network("race_resnet", 3, 32, seed=9), FACTS)
    assert checkpoint.load(tmp_path / "second").revision != revision


def test_building_leaves_the_global_generator_alone() -> None:
    """The seed decides the weights, and nothing else feels it."""
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = checkpoint.build_network("race_resnet", 3, 32, seed=1)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first.head.weight, checkpoint.build_network("race_resnet", 3, 32, seed=1).head.weight)


def test_saving_leaves_no_temporary_file(folder: Path) -> None:
    """Only weights and card are there, and the hash in the card is that of the file's bytes."""
    assert sorted(path.name for path in folder.iterdir()) == [checkpoint.CARD_FILE, checkpoint.WEIGHTS_FILE]
    card = json.loads((folder / checkpoint.CARD_FILE).read_text())
    assert card["weights_hash"] == digest_file(folder / checkpoint.WEIGHTS_FILE)


@pytest.mark.parametrize("file", [checkpoint.WEIGHTS_FILE, checkpoint.CARD_FILE])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    """Either file may be missing."""
    (folder / file).unlink()
    with pytest.raises(ModelError, match=rf"{file}' is missing"):
        checkpoint.load(folder)


def test_other_weights_than_the_cards_are_refused(folder: Path) -> None:
    """A flipped byte is seen by the hash."""
    path = folder / checkpoint.WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="expected the hash"):
        checkpoint.load(folder)


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("inf"), "infinite values")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float, word: str) -> None:
    """The message names the tensor."""
    rewrite(folder, **{"head.bias": torch.tensor([0.0, value, 0.0])})
    with pytest.raises(ModelError, match=f"'head.bias'.*contains {word}"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"head.bias": None}, "'head.bias' is missing"),
        ({"extra": torch.zeros(1)}, "'extra' has no place"),
        ({"head.bias": torch.zeros(4)}, r"'head.bias' must be \(3,\), got \(4,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder: Path, tensors: dict, message: str) -> None:
    """Missing, superfluous, or of another shape."""
    rewrite(folder, **tensors)
    with pytest.raises(ModelError, match=message):
        checkpoint.load(folder)


def test_a_damaged_weights_file_is_refused(folder: Path) -> None:
    """Even where the card's hash fits."""
    (folder / checkpoint.WEIGHTS_FILE).write_bytes(b"nonsense")
    mend(folder, weights_hash=checkpoint.digest(b"nonsense"))
    with pytest.raises(ModelError, match="not a safetensors file"):
        checkpoint.load(folder)


def test_an_unknown_architecture_is_refused_with_a_suggestion(folder: Path) -> None:
    """The nearest name is offered."""
    mend(folder, architecture="race_resnets")
    with pytest.raises(UnknownName, match="did you mean 'race_resnet'"):
        checkpoint.load(folder)


@pytest.mark.parametrize("text", ["no json", "[1, 2]", "\udcff"])
def test_a_card_that_is_no_card_is_refused(folder: Path, text: str) -> None:
    """Neither JSON of another kind nor bytes that are no text."""
    (folder / checkpoint.CARD_FILE).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match="card"):
        checkpoint.load(folder)


@pytest.mark.parametrize("field", checkpoint.REQUIRED_FIELDS)
def test_a_field_that_is_missing_is_named(folder: Path, field: str) -> None:
    """Every required field."""
    mend(folder, **{field: None})
    with pytest.raises(ModelError, match=f"lacks {field}"):
        checkpoint.load(folder)


@pytest.mark.parametrize("fields", [{"classes": "abc"}, {"classes": [1, 2, 3]}, {"size": "32"}, {"weights_hash": 5}])
def test_a_field_of_the_wrong_kind_is_refused(folder: Path, fields: dict) -> None:
    """Before anything is built from it."""
    mend(folder, **fields)
    with pytest.raises(ModelError, match="must be names"):
        checkpoint.load(folder)


@pytest.mark.parametrize("pair", [False, True])
def test_what_a_model_was_trained_on_is_kept_beside_it(tmp_path: Path, pair: bool) -> None:
    """Fingerprints come back, of a folder and of a pair of files; saved without them, no old ones are left."""
    net, seen = checkpoint.build_network("race_resnet", 3, 32), Fingerprints.from_images(torch.rand(5, 3, 32, 32))
    checkpoint.save(tmp_path / "model", net, FACTS, fingerprints=seen, as_pair=pair)
    found = checkpoint.load(tmp_path / "model").training_fingerprints
    assert (found.difference_hashes == seen.difference_hashes).all()
    assert (found.pixel_hashes == seen.pixel_hashes).all()
    checkpoint.save(tmp_path / "model", net, FACTS, as_pair=pair)
    assert checkpoint.load(tmp_path / "model").training_fingerprints is None
