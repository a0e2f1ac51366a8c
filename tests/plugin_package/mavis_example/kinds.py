"""One metric of each other kind."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mavis import CostMetric, Pass, ProbeMetric, SweepMetric, VariantMetric, metric
from mavis.kinds import Answers, Curve, Probe
from mavis.maps import Maps, spearman
from mavis.perturb import Variant


@metric("half_gone", source="docs/extending.md", category="faithfulness", higher_is_better=False, range=(0, 1))
def half_gone() -> SweepMetric:
    """What the model says when the upper half of the map's cells is removed."""
    curve = Curve(imputer="mean", order="mif", points=3)
    return SweepMetric((curve,), lambda curves: curves[curve].y[:, 1])


@metric("quarters", source="docs/extending.md", category="faithfulness", higher_is_better=True, range=(-1, 1))
def quarters() -> ProbeMetric:
    """Rank correlation between what a quarter of the cells holds and the fall of the logit without it."""

    def masks(run: Pass, cells: int) -> Tensor:
        return torch.arange(cells) * 4 // cells == torch.arange(4)[:, None]  # (4,n)

    def score(maps: Maps, answers: Answers) -> Tensor:
        held = (maps.cells[:, None] * answers.removed).sum(2)
        return spearman(held, answers.drops)

    return ProbeMetric(Probe("four quarters", "mean", masks), score)


@dataclass(frozen=True)
class Mirrored(Variant):
    """Every image mirrored from left to right."""

    def images(self, run: Pass) -> Tensor:
        """``(B,3,H,W)``."""
        return run.images.flip(3)


@metric("mirror", source="docs/extending.md", category="robustness", higher_is_better=True, range=(-1, 1))
def mirror() -> VariantMetric:
    """Rank correlation between the map and the mirrored map of the mirrored image."""

    def compare(maps: Maps, mirrored: Maps) -> Tensor:
        return spearman(maps.values.flatten(1), mirrored.values.flip(2).flatten(1))

    return VariantMetric([Mirrored()], compare, same_prediction=True)


@metric("work", source="counted", category="cost", higher_is_better=False, range=(0, None), unit="forwards")
def work() -> CostMetric:
    """Model samples for one map; a backward counts as two forwards."""
    return CostMetric(lambda cost, peak, images: cost.work / images)
