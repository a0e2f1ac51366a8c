"""Accuracy of a net: overall, per class and per group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mavis.core.group_attributes import group_labels
from mavis.models.training.image_cache import ImageCache

BATCH_SIZE = 128

Share = tuple[float, int]
"""Share of correctly classified images, and the number of images; NaN for none."""


@dataclass(frozen=True)
class AccuracyReport:
    """Loss and accuracies of a net on a data set.

    Attributes:
        loss: mean cross entropy, nats.
        accuracy: share of correct predictions.
        balanced_accuracy: mean over the classes of their accuracy; classes without image left out.
        n_images: number of images.
        groups: per attribute and group, the share and the number of images.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    n_images: int
    groups: Mapping[str, Mapping[str, Share]]

    def as_card(self) -> dict[str, Any]:
        """For the model card: each share with its n; None for a group without image."""
        groups = {
            attribute: {name: {"value": round(value, 4) if n else None, "n": n} for name, (value, n) in shares.items()}
            for attribute, shares in self.groups.items()
        }
        overall = {"value": round(self.accuracy, 4), "n": self.n_images}
        return {"overall": overall, "balanced": round(self.balanced_accuracy, 4), "groups": groups}


def predict_logits(net: nn.Module, cache: ImageCache, device: torch.device | str = "cpu") -> Tensor:
    """``(N,K)`` logits of all images, on the CPU; the net is left in evaluation mode."""
    net.eval()
    with torch.no_grad():
        rows = torch.split(torch.arange(len(cache)), BATCH_SIZE)
        return torch.cat([net(cache.images(chunk).to(device)).float().cpu() for chunk in rows])


def evaluate_accuracy(net: nn.Module, cache: ImageCache, device: torch.device | str = "cpu") -> AccuracyReport:
    """Loss and accuracies of a net on all images of a cache."""
    logits, labels = predict_logits(net, cache, device), cache.labels
    is_correct = logits.argmax(1) == labels
    classes = [_share(is_correct[labels == label]) for label in range(len(cache.dataset.classes))]
    present = [value for value, n in classes if n]
    groups = {
        attribute: {
            name: _share(is_correct[torch.tensor((group_labels(cache.table, attribute) == name).to_numpy())])
            for name in names
        }
        for attribute, names in cache.dataset.attributes.items()
    }
    return AccuracyReport(
        loss=float(cross_entropy(logits, labels)),
        accuracy=float(is_correct.float().mean()),
        balanced_accuracy=sum(present) / len(present),
        n_images=len(cache),
        groups=groups,
    )


def _share(is_correct: Tensor) -> Share:
    return float(is_correct.float().mean()), len(is_correct)
