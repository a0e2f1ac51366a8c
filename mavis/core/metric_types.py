"""Metric interfaces, one per kind of work that metrics share: maps, curves, probes, variants, cost.

A metric factory returns one of these. Every ``score`` returns ``(B,)`` float32, one value per image; NaN means that
the image has no value, and the reason is the metric's declared ``undefined``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mavis.core.attribution_maps import Maps
from mavis.core.compute import Cost
from mavis.core.errors import BadParameter
from mavis.core.model_pass import Pass
from mavis.core.perturbation.variants import Variant
from mavis.core.types import Batch, Model


@dataclass(frozen=True)
class Explanation:
    """The maps of one explainer with the pass on which they were made.

    Attributes:
        maps: B maps.
        model_pass: the pass: images, model, logits.
        targets: ``(B,)`` int64, the explained classes.
    """

    maps: Maps
    model_pass: Pass
    targets: Tensor


@dataclass(frozen=True)
class MapMetric:
    """Metric of the maps and the batch only.

    Attributes:
        score: ``(maps, batch) -> (B,)``.
    """

    score: Callable[[Maps, Batch], Tensor]


@dataclass(frozen=True)
class DrawnGrid:
    """Cells of a grid whose place each image draws for itself, the same for all explainers.

    Attributes:
        counts: about how many cells there are along a side, of each of the grids that are used together.
        index: the grid's place among these.
    """

    counts: tuple[int, ...]
    index: int


@dataclass(frozen=True)
class Curve:
    """A perturbation curve: the model's output while units of the image are removed in the order of the map.

    Attributes:
        imputer: the imputer, as in `imputers.get_imputer`: ``mean``, ``blur:sigma=0.1`` …
        order: ``mif`` most influential first, ``lif`` the reverse.
        fractions: shares of the units that are removed, rising, in [0,1]. Curves that differ in nothing else are
            swept together.
        unit: ``cell`` of the run's grid, ``segment``: superpixels of the image, or cells of a `DrawnGrid`.
    """

    imputer: str
    order: Literal["mif", "lif"]
    fractions: tuple[float, ...]
    unit: "CurveUnit" = "cell"


@dataclass(frozen=True)
class SoftMasking:
    """Soft masking: the image is faded into its imputed version where the map, scaled to [0,1], is low.

    Attributes:
        imputer: as in `Curve`.
    """

    imputer: str


CurveQuery = Curve | SoftMasking
CurveUnit = Literal["cell", "segment"] | DrawnGrid


def even_fractions(n_points: int) -> tuple[float, ...]:
    """Fractions from 0 to 1, both included.

    Raises:
        BadParameter: fewer than 3 points.
    """
    if n_points < 3:
        raise BadParameter(f"A curve needs at least 3 points, got {n_points}.")
    return tuple(step / (n_points - 1) for step in range(n_points))


@dataclass(frozen=True)
class CurveValues:
    """A curve's values for a batch; those of a `SoftMasking` are the original image and the faded one.

    Attributes:
        x: ``(B,S)``, share of units that were removed.
        y: ``(B,S)``, softmax probability of the target, or its logit if `Model.output` is ``logit``.
        logit: ``(B,S)``, the target's logit.
        top1: ``(B,S)`` in [0,1], 1 where the target is the predicted class.
    """

    x: Tensor
    y: Tensor
    logit: Tensor
    top1: Tensor

    def area(self) -> Tensor:
        """``(B,)``: area under ``y`` by the trapezoid rule, both end points included."""
        return torch.trapezoid(self.y, self.x, dim=1)


@dataclass(frozen=True)
class SweepMetric:
    """Metric of perturbation curves; a curve that several metrics need is computed once.

    Attributes:
        curves: the curves that it needs.
        score: ``(curves) -> (B,)``.
    """

    curves: tuple[CurveQuery, ...]
    score: Callable[[Mapping[CurveQuery, CurveValues]], Tensor]


@dataclass(frozen=True)
class MaskProbe:
    """Masked images whose masks do not depend on any map; evaluated once for all explainers.

    Attributes:
        name: probes with equal name and imputer are evaluated once.
        imputer: as in `Curve`.
        masks: ``(pass, n) -> (M,n)`` or ``(B,M,n)`` bool, the cells removed in each of M masks.
    """

    name: str
    imputer: str
    masks: Callable[[Pass, int], Tensor] = field(compare=False)


@dataclass(frozen=True)
class PartProbe:
    """Every face part re-rendered in turn: true counterfactuals, for data that can be re-rendered.

    Attributes:
        n_draws: values drawn for each part; the model's outputs are averaged over them.
    """

    n_draws: int


@dataclass(frozen=True)
class ProbeOutputs:
    """Model outputs for the masks of a probe.

    Attributes:
        removed: ``(B,M,n)`` bool, cells; for a `PartProbe` ``(B,M,H·W)`` bool, the original pixels of each part.
        drops: ``(B,M)``, target logit of the image minus that of the masked image.
        probabilities: ``(B,M)`` double, the target's probability for the masked image.
        top1: ``(B,M)`` in [0,1], 1 where the target is still the predicted class.
        original_probability: ``(B,)`` double, the target's probability for the image.
    """

    removed: Tensor
    drops: Tensor
    probabilities: Tensor
    top1: Tensor
    original_probability: Tensor


@dataclass(frozen=True)
class ProbeMetric:
    """Metric that compares the map with the outputs of probes.

    Attributes:
        probes: the probes that it needs.
        score: ``(maps, outputs) -> (B,)``.
    """

    probes: tuple[MaskProbe | PartProbe, ...]
    score: Callable[[Maps, Mapping[MaskProbe | PartProbe, ProbeOutputs]], Tensor]


@dataclass(frozen=True)
class VariantMetric:
    """Metric that compares maps under perturbed inputs or models; each variant is one pass for all explainers.

    Attributes:
        variants: inputs and models to explain; a function of the model where they depend on its layers or classes.
        compare: ``(before, after) -> (B,)``, one value per variant; NaN leaves that variant out.
        reduce: reduces the variants' values to one per image.
        same_prediction: leaves out variants under which the model predicts another class.
        base_variant: the variant whose maps are ``before``; None for the original image and model.
    """

    variants: Sequence[Variant] | Callable[[Model], Sequence[Variant]]
    compare: Callable[[Explanation, Explanation], Tensor]
    reduce: Literal["mean", "max", "median"] = "mean"
    same_prediction: bool = False
    base_variant: Variant | None = None

    def variants_for(self, model: Model) -> Sequence[Variant]:
        """The variants for a model."""
        return self.variants(model) if callable(self.variants) else self.variants


def collect_variants(metrics: Sequence[VariantMetric], model: Model) -> list[Variant]:
    """All variants that the metrics need, each once; base variants come first."""
    base_variants = [metric.base_variant for metric in metrics if metric.base_variant is not None]
    compared = [variant for metric in metrics for variant in metric.variants_for(model)]
    return list({variant.key: variant for variant in [*base_variants, *compared]}.values())


ExplainFunction = Callable[[Model, Tensor, Tensor], Tensor]
"""``(model, images (N,3,H,W), targets (N,)) -> (N,H,W)``: the explainer that is being scored."""


@dataclass(frozen=True)
class CustomMetric:
    """Metric that calls model and explainer itself and shares no work: for metrics of other libraries.

    Attributes:
        score: ``(explanation, explain) -> (B,)``.
    """

    score: Callable[[Explanation, ExplainFunction], Tensor]


@dataclass(frozen=True)
class CostMetric:
    """Metric of the cost of the maps.

    Attributes:
        score: ``(cost of the batch, peak memory in MiB or None, images) -> value per image``; None is no value.
    """

    score: Callable[[Cost, float | None, int], float | None]


Metric = MapMetric | SweepMetric | ProbeMetric | VariantMetric | CustomMetric | CostMetric

Explainer = Callable[[Pass, Tensor], Tensor]
"""``(pass, targets (B,) int64) -> (B,1 or 3,H,W)``: raw and signed, never scaled, clipped or moved off the device."""
