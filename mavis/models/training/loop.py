"""The training loop: trains a net on one data set, chooses the best epoch on another, and writes a model folder."""

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mavis.core import files
from mavis.core.errors import BadParameter, DataError, ModelError
from mavis.core.printable import spreadsheet_cell
from mavis.core.process_state import standard_settings
from mavis.core.seeding import make_generator
from mavis.core.types import Dataset
from mavis.models.loading import checkpoint
from mavis.models.training.accuracy import AccuracyReport, evaluate_accuracy
from mavis.models.training.augmentation import Augmentation
from mavis.models.training.image_cache import ImageCache

LOG_FILE = "epochs.csv"

MAX_NAMES = 3
"""Classes that a warning names; of more it gives the number."""


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: its peak; it rises over the first tenth of the steps and falls to zero along a cosine.
        weight_decay: of AdamW.
        seed: of the order of the images and of the augmentation.
        augmentation: of the images.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch.

    Attributes:
        number: of the epoch, from 1 on.
        train_loss: mean cross entropy over the augmented training images, nats.
        train_accuracy: share of them that was classified correctly, by the net as it was at their step.
        validation: losses and accuracies on the validation images.
        is_best: the balanced accuracy is the highest so far; the net was saved.
        seconds: wall time.
    """

    number: int
    train_loss: float
    train_accuracy: float
    validation: AccuracyReport
    is_best: bool
    seconds: float

    def row(self) -> dict[str, float | int | str]:
        """The line in ``epochs.csv``; empty where a group has no image."""
        row: dict[str, float | int | str] = {
            "epoch": self.number,
            "train_loss": round(self.train_loss, 5),
            "val_loss": round(self.validation.loss, 5),
            "train_accuracy": round(self.train_accuracy, 5),
            "val_accuracy": round(self.validation.accuracy, 5),
            "val_balanced_accuracy": round(self.validation.balanced_accuracy, 5),
            "best": int(self.is_best),
            "seconds": round(self.seconds, 2),
        }
        for attribute, groups in self.validation.groups.items():
            for group, (accuracy, count) in groups.items():
                row[f"{attribute}={group}"] = round(accuracy, 5) if count else ""
        return row


@standard_settings()
def fit(
    net: nn.Module,
    train: Dataset,
    val: Dataset,
    *,
    folder: Path,
    card: Mapping[str, Any],
    settings: TrainingSettings | None = None,
    device: torch.device | str = "cpu",
    max_images: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Epoch:
    """Trains a net and keeps its best state by balanced validation accuracy.

    The folder gets the model (``model.safetensors``, ``card.json``) at every new best epoch with fingerprints of the
    training images (``trained_on.npz``), and ``epochs.csv`` with a line per epoch: losses, accuracies, and the
    validation accuracy of every group of every attribute.

    Args:
        net: images in [0,1] -> logits; left in its last state, on the device.
        train: images to learn from.
        val: images to choose the best epoch by; same target and classes.
        folder: where the model goes; made where it is missing.
        card: facts for the model card, ``architecture`` and ``size`` at least.
        settings: of the training.
        device: for the training.
        max_images: at most this many images of each data set, drawn by the seed.
        on_step: called with the number of finished and of all steps.
        on_epoch: called after every epoch.
        on_warning: called before the training with each line of `missing_class_warnings`.

    Returns:
        The best epoch.

    Raises:
        DataError: the two data sets do not fit together, one is empty, or the folder cannot be made.
        ModelError: the loss is not finite.
    """
    settings = settings or TrainingSettings()
    _check_arguments(train, val, settings)
    train_images = ImageCache.from_dataset(train, max_images=max_images, seed=settings.seed)
    val_images = ImageCache.from_dataset(val, max_images=max_images, seed=settings.seed)
    for warning in missing_class_warnings(train_images, val_images):
        on_warning(warning)
    facts, fingerprints = {**card, **_training_facts(train_images, settings)}, train_images.fingerprints()
    _make_folder(folder)
    step = _TrainingStep(checkpoint.to_channels_last(net).to(device), settings, len(train_images), device, on_step)
    epochs: list[Epoch] = []
    for number in range(1, settings.epochs + 1):
        start = time.perf_counter()
        loss, accuracy = _train_epoch(step, train_images, settings, number)
        validation = evaluate_accuracy(net, val_images, device)
        is_best = all(validation.balanced_accuracy > epoch.validation.balanced_accuracy for epoch in epochs)
        epochs.append(Epoch(number, loss, accuracy, validation, is_best, time.perf_counter() - start))
        if is_best:
            epoch_facts = {"epoch": number, "accuracy": {"data": val.name, **validation.as_card()}}
            checkpoint.save(folder, net, {**facts, **epoch_facts}, fingerprints=fingerprints)
        _write_log(folder / LOG_FILE, epochs)
        if on_epoch is not None:
            on_epoch(epochs[-1])
    return [epoch for epoch in epochs if epoch.is_best][-1]


def missing_class_warnings(train: ImageCache, val: ImageCache) -> Iterator[str]:
    """A line on the classes without an image to learn from, and one on those without an image to be judged by."""
    for cache, word, consequence in (
        (train, "training", "the model cannot learn them"),
        (val, "validation", "the accuracies leave them out"),
    ):
        present = set(cache.labels.tolist())
        missing = [name for code, name in enumerate(cache.dataset.classes) if code not in present]
        if missing:
            more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
            names = ", ".join(missing[:MAX_NAMES]) + more
            yield f"No {word} image is labelled {names} (target {cache.dataset.target}): {consequence}."


class _TrainingStep:
    """Steps of the optimiser, counted, with their learning rate."""

    def __init__(
        self,
        net: nn.Module,
        settings: TrainingSettings,
        n_images: int,
        device: torch.device | str,
        on_step: Callable[[int, int], None] | None,
    ) -> None:
        self.net, self.device, self.on_step = net, device, on_step
        self.n_steps_done, self.n_steps = 0, settings.epochs * math.ceil(n_images / settings.batch_size)
        self.optimiser = torch.optim.AdamW(
            net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._learning_rate_factor)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Learns from one batch; returns its loss, and its number of correct predictions."""
        logits = self.net(images.to(self.device))
        loss = cross_entropy(logits, labels.to(self.device))
        value = loss.item()
        if not math.isfinite(value):
            raise ModelError(
                f"The loss became {value} at step {self.n_steps_done + 1}; train with a lower learning rate."
            )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.n_steps_done += 1
        if self.on_step is not None:
            self.on_step(self.n_steps_done, self.n_steps)
        return value, int((logits.argmax(1).cpu() == labels).sum())

    def _learning_rate_factor(self, step: int) -> float:
        """Share of the peak rate: up over the first tenth of the steps, then down along a cosine."""
        rise = max(1, self.n_steps // 10)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.n_steps - rise)))


def _train_epoch(step: _TrainingStep, cache: ImageCache, settings: TrainingSettings, epoch: int) -> tuple[float, float]:
    """Trains one epoch; returns the mean loss and the share of correct predictions."""
    step.net.train()
    draws = make_generator(settings.seed, "epoch", str(epoch))
    labels, mean = cache.labels, cache.dataset.mean
    loss_sum, n_correct = 0.0, 0
    for rows in torch.split(torch.randperm(len(cache), generator=draws), settings.batch_size):
        images = settings.augmentation(cache.images(rows), mean, draws)
        loss, n_correct_in_batch = step(images, labels[rows])
        loss_sum, n_correct = loss_sum + loss * len(rows), n_correct + n_correct_in_batch
    return loss_sum / len(cache), n_correct / len(cache)


def _check_arguments(train: Dataset, val: Dataset, settings: TrainingSettings) -> None:
    if settings.epochs < 1 or settings.batch_size < 1:
        raise BadParameter(
            f"Training takes at least one epoch, and one image per step; got {settings.epochs} "
            f"and {settings.batch_size}."
        )
    if (train.target, tuple(train.classes)) != (val.target, tuple(val.classes)):
        raise DataError(
            f"Training and validation must share target and classes; got {train.target} with {len(train.classes)} "
            f"classes and {val.target} with {len(val.classes)}."
        )


def _make_folder(folder: Path) -> None:
    """Creates the folder before the training, so that a wrong path does not cost hours."""
    files.make_folder(folder)


def _training_facts(cache: ImageCache, settings: TrainingSettings) -> dict[str, Any]:
    """Facts about the training, for the card."""
    dataset = cache.dataset
    return {
        "classes": list(dataset.classes),
        "target": dataset.target,
        "data": {
            "name": dataset.name,
            "hash": dataset.revision(list(cache.table.index)),
            "images": len(cache),
            "unreadable": len(cache.unreadable),
            "provenance": dataset.provenance,
        },
        "training": asdict(settings) | {"threads": torch.get_num_threads()},
    }


def _write_log(path: Path, epochs: list[Epoch]) -> None:
    rows = [epoch.row() for epoch in epochs]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(map(spreadsheet_cell, rows[0]))
    writer.writerows([spreadsheet_cell(value) for value in row.values()] for row in rows)
    files.write_text(path, table.getvalue())
