"""How often a net is right: overall, per class and per group."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mavis.models.training.image_cache import Source

CHUNK = 128

Share = tuple[float, int]
"""Share of images that were right, and how many images there were; NaN for none."""


@dataclass(frozen=True)
class Scores:
    """What a net comes to on a data set.

    Attributes:
        loss: mean cross entropy, nats.
        accuracy: share of right answers.
        balanced: mean over the classes of the share of their images that were right; classes without image left out.
        n: images.
        groups: per attribute and group, the share and the number of images.
    """

    loss: float
    accuracy: float
    balanced: float
    n: int
    groups: Mapping[str, Mapping[str, Share]]

    def as_card(self) -> dict[str, Any]:
        """For the model card: every share beside its n; None for a group without image."""
        groups = {
            attribute: {name: {"value": round(value, 4) if n else None, "n": n} for name, (value, n) in shares.items()}
            for attribute, shares in self.groups.items()
        }
        overall = {"value": round(self.accuracy, 4), "n": self.n}
        return {"overall": overall, "balanced": round(self.balanced, 4), "groups": groups}


def logits(net: nn.Module, source: Source, device: torch.device | str = "cpu") -> Tensor:
    """``(N,K)`` logits of all images, on the CPU; the net is left in evaluation mode."""
    net.eval()
    with torch.no_grad():
        rows = torch.split(torch.arange(len(source)), CHUNK)
        return torch.cat([net(source.images(chunk).to(device)).float().cpu() for chunk in rows])


def evaluate(net: nn.Module, source: Source, device: torch.device | str = "cpu") -> Scores:
    """Scores of a net on all images of a source."""
    answers, labels = logits(net, source, device), source.labels
    right = answers.argmax(1) == labels
    classes = [_share(right[labels == label]) for label in range(len(source.dataset.classes))]
    present = [value for value, n in classes if n]
    groups = {
        attribute: {name: _share(right[torch.tensor((source.table[attribute] == name).to_numpy())]) for name in names}
        for attribute, names in source.dataset.attributes.items()
    }
    return Scores(
        loss=float(cross_entropy(answers, labels)),
        accuracy=float(right.float().mean()),
        balanced=sum(present) / len(present),
        n=len(source),
        groups=groups,
    )


def _share(right: Tensor) -> Share:
    return float(right.float().mean()), len(right)
