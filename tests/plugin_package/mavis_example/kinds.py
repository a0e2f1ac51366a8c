"""One metric of each other kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mavis import (  # fmt: skip
    Batch,
    CostMetric,
    Curve,
    Explanation,
    Maps,
    MaskProbe,
    Pass,
    ProbeMetric,
    ProbeOutputs,
    SweepMetric,
    Variant,
    VariantMetric,
    metric,
    spearman,
)


@metric("half_gone", source="docs/extending.md", category="faithfulness", higher_is_better=False, range=(0, 1))
def half_gone() -> SweepMetric:
    """What the model says when the upper half of the map's cells is removed."""
    curve = Curve(imputer="mean", order="mif", fractions=(0.0, 0.5, 1.0))
    return SweepMetric((curve,), lambda curves: curves[curve].y[:, 1])


@metric("quarters", source="docs/extending.md", category="faithfulness", higher_is_better=True, range=(-1, 1))
def quarters() -> ProbeMetric:
    """Rank correlation between what a quarter of the cells holds and the fall of the logit without it."""

    def masks(model_pass: Pass, cells: int) -> Tensor:
        return torch.arange(cells) * 4 // cells == torch.arange(4)[:, None]  # (4,n)

    probe = MaskProbe("four quarters", "mean", masks)

    def score(maps: Maps, answers: Mapping[MaskProbe, ProbeOutputs]) -> Tensor:
        held = (maps.cells[:, None] * answers[probe].removed).sum(2)
        return spearman(held, answers[probe].drops)

    return ProbeMetric((probe,), score)


@dataclass(frozen=True)
class Mirrored(Variant):
    """Every image mirrored from left to right."""

    def batches(self, model_pass: Pass) -> Iterator[Batch]:
        """One batch, mirrored."""
        yield replace(model_pass.batch, images=model_pass.images.flip(3))


@metric("mirror", source="docs/extending.md", category="robustness", higher_is_better=True, range=(-1, 1))
def mirror() -> VariantMetric:
    """Rank correlation between the map and the mirrored map of the mirrored image."""

    def compare(before: Explanation, after: Explanation) -> Tensor:
        return spearman(before.maps.values.flatten(1), after.maps.values.flip(2).flatten(1))

    return VariantMetric([Mirrored()], compare, same_prediction=True)


@metric("work", source="counted", category="cost", higher_is_better=False, range=(0, None), unit="forwards")
def work() -> CostMetric:
    """Model samples for one map; a backward counts as two forwards."""
    return CostMetric(lambda cost, peak, images: cost.forward_equivalents / images)
