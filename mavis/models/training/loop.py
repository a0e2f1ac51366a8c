"""The training loop: two data sets and a net in, a model folder and a line per epoch out."""

import csv
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mavis.core.errors import BadParameter, DataError, ModelError
from mavis.core.seeding import generator
from mavis.core.types import Dataset
from mavis.models.loading import checkpoint
from mavis.models.training.accuracy import Scores, evaluate
from mavis.models.training.augmentation import Augmentation
from mavis.models.training.image_cache import Source

LOG = "epochs.csv"


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        epochs: passes over the training images.
        batch_size: images per step.
        learning_rate: its peak; it rises over the first tenth of the steps and falls to zero along a cosine.
        weight_decay: of AdamW.
        seed: of the order of the images and of the augmentation.
        augmentation: what is done to the images.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from one on.
        train_loss: mean cross entropy over the augmented training images, nats.
        train_accuracy: share of them that was right while training.
        val: losses and accuracies on the validation images.
        best: the highest balanced accuracy so far, so it was saved.
        seconds: wall time.
    """

    number: int
    train_loss: float
    train_accuracy: float
    val: Scores
    best: bool
    seconds: float

    def row(self) -> dict[str, float | int | str]:
        """The line in ``epochs.csv``; empty where a group has no image."""
        row: dict[str, float | int | str] = {
            "epoch": self.number,
            "train_loss": round(self.train_loss, 5),
            "val_loss": round(self.val.loss, 5),
            "train_accuracy": round(self.train_accuracy, 5),
            "val_accuracy": round(self.val.accuracy, 5),
            "val_balanced_accuracy": round(self.val.balanced, 5),
            "best": int(self.best),
            "seconds": round(self.seconds, 2),
        }
        for attribute, groups in self.val.groups.items():
            for group, (accuracy, count) in groups.items():
                row[f"{attribute}={group}"] = round(accuracy, 5) if count else ""
        return row


def fit(
    net: nn.Module,
    train: Dataset,
    val: Dataset,
    *,
    folder: Path,
    card: Mapping[str, Any],
    settings: Settings | None = None,
    device: torch.device | str = "cpu",
    limit: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
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
        settings: how to train.
        device: where to train.
        limit: at most this many images of each data set, drawn by the seed.
        on_step: called with the number of finished and of all steps.
        on_epoch: called after every epoch.

    Returns:
        The best epoch.

    Raises:
        DataError: the two data sets do not fit together, one is empty, or the folder cannot be made.
        ModelError: the loss is not finite.
    """
    settings = settings or Settings()
    _check(train, val, settings)
    learning = Source.of(train, limit=limit, seed=settings.seed)
    checking = Source.of(val, limit=limit, seed=settings.seed)
    facts, seen = {**card, **_facts(learning, settings)}, learning.fingerprints()
    _make(folder)
    step = _Step(checkpoint.channels_last(net).to(device), settings, len(learning), device, on_step)
    epochs: list[Epoch] = []
    for number in range(1, settings.epochs + 1):
        start = time.perf_counter()
        loss, accuracy = _pass(step, learning, settings, number)
        scores = evaluate(net, checking, device)
        best = all(scores.balanced > earlier.val.balanced for earlier in epochs)
        epochs.append(Epoch(number, loss, accuracy, scores, best, time.perf_counter() - start))
        if best:
            judged = {"data": val.name, **scores.as_card()}
            checkpoint.save(folder, net, {**facts, "epoch": number, "accuracy": judged}, seen=seen)
        _write_log(folder / LOG, epochs)
        if on_epoch is not None:
            on_epoch(epochs[-1])
    return [epoch for epoch in epochs if epoch.best][-1]


class _Step:
    """One step of the optimiser; counts them and sets their rate."""

    def __init__(
        self,
        net: nn.Module,
        settings: Settings,
        images: int,
        device: torch.device | str,
        on_step: Callable[[int, int], None] | None,
    ) -> None:
        self.net, self.device, self.on_step = net, device, on_step
        self.done, self.total = 0, settings.epochs * math.ceil(images / settings.batch_size)
        self.optimiser = torch.optim.AdamW(
            net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[float, int]:
        """Learns from one batch; gives its loss, and how many answers were right."""
        answers = self.net(images.to(self.device))
        loss = cross_entropy(answers, labels.to(self.device))
        value = loss.item()
        if not math.isfinite(value):
            raise ModelError(f"The loss became {value} at step {self.done + 1}; train with a lower learning rate.")
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.done += 1
        if self.on_step is not None:
            self.on_step(self.done, self.total)
        return value, int((answers.argmax(1).cpu() == labels).sum())

    def _rate(self, step: int) -> float:
        """Share of the peak rate: up over the first tenth of the steps, then down along a cosine."""
        rise = max(1, self.total // 10)
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, self.total - rise)))


def _pass(step: _Step, source: Source, settings: Settings, number: int) -> tuple[float, float]:
    """One epoch; gives the mean loss and the share of right answers."""
    step.net.train()
    draws = generator(settings.seed, "epoch", str(number))
    labels, mean = source.labels, source.dataset.mean
    loss_sum, right = 0.0, 0
    for rows in torch.split(torch.randperm(len(source), generator=draws), settings.batch_size):
        images = settings.augmentation(source.images(rows), mean, draws)
        loss, hits = step(images, labels[rows])
        loss_sum, right = loss_sum + loss * len(rows), right + hits
    return loss_sum / len(source), right / len(source)


def _check(train: Dataset, val: Dataset, settings: Settings) -> None:
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


def _make(folder: Path) -> None:
    """Makes the folder before hours are spent, not after."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The model's folder '{folder}' cannot be made: {error.strerror}.") from error


def _facts(source: Source, settings: Settings) -> dict[str, Any]:
    """What the card says about the training."""
    dataset = source.dataset
    return {
        "classes": list(dataset.classes),
        "target": dataset.target,
        "data": {
            "name": dataset.name,
            "hash": dataset.revision(list(source.table.index)),
            "images": len(source),
            "unreadable": len(source.unreadable),
            "provenance": dataset.provenance,
        },
        "training": asdict(settings) | {"threads": torch.get_num_threads()},
    }


def _write_log(path: Path, epochs: list[Epoch]) -> None:
    rows = [epoch.row() for epoch in epochs]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
