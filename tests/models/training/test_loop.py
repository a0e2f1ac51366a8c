"""Training: a tiny run from end to end, and what it leaves behind."""

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mavis.core.errors import BadParameter, DataError, FileError, ModelError
from mavis.core.perceptual_hash import Fingerprints
from mavis.core.types import Dataset
from mavis.datasets.synthetic_faces import SyntheticFaces, synthetic_faces
from mavis.models.loading import checkpoint
from mavis.models.training.augmentation import Augmentation
from mavis.models.training.image_cache import ImageCache
from mavis.models.training.loop import LOG_FILE, Epoch, TrainingSettings, fit, missing_class_warnings

TINY = TrainingSettings(epochs=3, batch_size=8, augmentation=Augmentation(drop=0.0))


def faces(split: str, **options: object) -> SyntheticFaces:
    """Forty small faces with two classes."""
    return synthetic_faces(**({"target": "gender", "split": split, "size": 32, "count": 40} | options))


def run(folder: Path, train: Dataset | None = None, **options: object) -> Epoch:
    """A training on forty images."""
    net = checkpoint.build_network("race_resnet", 2, 32, seed=0)
    card = {"architecture": "race_resnet", "size": 32, "seed": 0}
    settings = options.pop("settings", TINY)
    return fit(net, train or faces("train"), faces("val"), folder=folder, card=card, settings=settings, **options)


def rows(folder: Path) -> list[dict[str, str]]:
    """The lines of the log."""
    with (folder / LOG_FILE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_training_lowers_the_loss_and_leaves_model_and_log(tmp_path: Path) -> None:
    """Three epochs on forty images: a lower loss, a folder that loads, a line per epoch with every group."""
    best = run(tmp_path / "out", settings=TrainingSettings(epochs=8, batch_size=8, augmentation=Augmentation(drop=0.0)))
    log = rows(tmp_path / "out")
    assert float(log[-1]["train_loss"]) < float(log[0]["train_loss"])
    assert [row["epoch"] for row in log] == [str(number) for number in range(1, 9)]
    groups = {f"{attribute}={name}" for attribute, names in faces("val").attributes.items() for name in names}
    columns = {"epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_balanced_accuracy"}
    assert columns | groups <= set(log[0])
    model = checkpoint.load(tmp_path / "out")
    assert model.classes == ("form_a", "form_b")
    assert model.card["epoch"] == best.number
    assert model.card["accuracy"]["overall"] == {"value": round(best.validation.accuracy, 4), "n": 40}


def test_the_best_epoch_by_balanced_accuracy_is_kept(tmp_path: Path) -> None:
    """The card's epoch is the first with the highest balanced accuracy in the log."""
    run(tmp_path)
    values = [float(row["val_balanced_accuracy"]) for row in rows(tmp_path)]
    card = json.loads((tmp_path / checkpoint.CARD_FILE).read_text())
    assert card["epoch"] == 1 + values.index(max(values))


def test_the_saved_model_scores_what_the_log_says(tmp_path: Path) -> None:
    """Reading the model back and counting right answers gives the logged accuracy."""
    best = run(tmp_path)
    val = faces("val")
    batch = val.load(list(val.table().index))
    with torch.no_grad():
        right = checkpoint.load(tmp_path).net(batch.images).argmax(1) == batch.labels
    assert float(right.float().mean()) == pytest.approx(best.validation.accuracy)
    for label, name in enumerate(val.classes):
        value, n = best.validation.groups["gender"][name]
        assert (value, n) == (
            pytest.approx(float(right[batch.labels == label].float().mean())),
            int((batch.labels == label).sum()),
        )


def test_equal_seeds_give_equal_weights(tmp_path: Path) -> None:
    """Order and augmentation come from the seed."""
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, settings=TrainingSettings(epochs=1, batch_size=8, seed=seed))
    hashes = {name: checkpoint.load(tmp_path / name).revision for name in "abc"}
    assert hashes["a"] == hashes["b"] != hashes["c"]


def test_callbacks_hear_every_step_and_epoch(tmp_path: Path) -> None:
    """Five steps of eight make an epoch of forty."""
    steps: list[tuple[int, int]] = []
    epochs: list[int] = []
    run(tmp_path, on_step=lambda *step: steps.append(step), on_epoch=lambda epoch: epochs.append(epoch.number))
    assert steps == [(number, 15) for number in range(1, 16)]
    assert epochs == [1, 2, 3]


def test_a_limit_takes_that_many_images(tmp_path: Path) -> None:
    """The card says how many were learnt from."""
    run(tmp_path, max_images=16)
    assert checkpoint.load(tmp_path).card["data"]["images"] == 16


class Damaged(SyntheticFaces):
    """Faces of which the first ten cannot be read."""

    def unreadable(self, ids: Sequence[str]) -> dict[str, str]:
        return dict.fromkeys(ids[:10], "cut off")

    def load(self, ids: Sequence[str]):
        assert not set(ids) & set(self.table().index[:10])
        return super().load(ids)


def test_unreadable_images_are_left_out_and_counted(tmp_path: Path) -> None:
    """Nobody loads them, and the card says how many there are."""
    whole = faces("train")
    damaged = Damaged(target="gender", split="train", size=32, count=40, seed=0, recipe=whole._recipe)
    run(tmp_path, train=damaged)
    assert (
        checkpoint.load(tmp_path).card["data"] | {"images": 30, "unreadable": 10}
        == checkpoint.load(tmp_path).card["data"]
    )


def test_data_that_do_not_fit_are_held_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for the images they are read again for every batch; the result is the same."""
    run(tmp_path / "held")
    monkeypatch.setattr("mavis.models.training.image_cache.MAX_BYTES", 0)
    run(tmp_path / "read")
    assert checkpoint.load(tmp_path / "held").revision == checkpoint.load(tmp_path / "read").revision


def test_other_classes_for_validation_are_refused(tmp_path: Path) -> None:
    """Nothing is written."""
    with pytest.raises(DataError, match="must share target and classes"):
        run(tmp_path / "out", train=faces("train", target="race"))
    assert not (tmp_path / "out").exists()


def test_no_epoch_is_refused(tmp_path: Path) -> None:
    """Zero epochs train nothing."""
    with pytest.raises(BadParameter, match="at least one epoch"):
        run(tmp_path, settings=TrainingSettings(epochs=0))


def test_a_loss_that_is_not_finite_stops(tmp_path: Path) -> None:
    """A net that answers NaN is an error with advice, not a model."""

    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(float("nan")))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3))[:, :2] * self.weight

    with pytest.raises(ModelError, match="lower learning rate"):
        fit(Broken(), faces("train"), faces("val"), folder=tmp_path, card={}, settings=TINY)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_before_training(tmp_path: Path) -> None:
    """A file in its place."""
    (tmp_path / "out").write_text("")
    with pytest.raises(FileError, match=r"Cannot make the folder .*a file has this name; rename it"):
        run(tmp_path / "out", on_step=lambda _done, _total: pytest.fail("trained"))


def test_the_model_knows_what_it_was_trained_on(tmp_path: Path) -> None:
    """The images of the limit, not the others and not those of the validation."""
    data = faces("train")
    run(tmp_path, data, settings=TrainingSettings(epochs=1, batch_size=8), max_images=10)
    seen = checkpoint.load(tmp_path).training_fingerprints
    assert len(seen) == 10
    same, _ = Fingerprints.from_images(data.load(list(data.table().index)).images).nearest_distances(seen)
    assert same.sum() == 10
    val = faces("val")
    assert not Fingerprints.from_images(val.load(list(val.table().index)).images).nearest_distances(seen)[0].any()


def images_of(target: str, *labels: int) -> ImageCache:
    """A cache of faces with these labels only."""
    cache = ImageCache.from_dataset(faces("train", target=target))
    return replace(cache, table=cache.table[cache.table["label"].isin(labels)], cached_images=None)


def test_classes_without_an_image_are_told() -> None:
    """Of the training and of the validation images; of many three and a number, of none nothing."""
    both, one = images_of("gender", 0, 1), images_of("gender", 1)
    assert list(missing_class_warnings(both, both)) == []
    assert list(missing_class_warnings(one, both)) == [
        "No training image is labelled form_a (target gender): the model cannot learn them."
    ]
    assert list(missing_class_warnings(both, one)) == [
        "No validation image is labelled form_a (target gender): the accuracies leave them out."
    ]
    (ages,) = missing_class_warnings(images_of("age", 0), images_of("age", *range(9)))
    assert ages.count(",") == 2
    assert "and 5 more (target age)" in ages


def test_a_training_without_a_class_warns(tmp_path: Path) -> None:
    """Before it begins."""
    lines: list[str] = []
    run(tmp_path, train=faces("train", count=1), settings=TrainingSettings(epochs=1), on_warning=lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("No training image is labelled form_")
