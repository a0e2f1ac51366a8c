"""The four kinds of metric, by what they need, so that the work is shared; and cost, which reads the account.

A metric factory returns one of these. Every ``score`` returns ``(B,)`` float32, one value per image; NaN says that the
image has no value, and the reason is the metric's declared ``undefined``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mavis.maps import Maps
from mavis.passes import Cost, Pass
from mavis.perturb import Variant
from mavis.types import Batch


@dataclass(frozen=True)
class MapMetric:
    """Reads maps and the batch only.

    Attributes:
        score: ``(maps, batch) -> (B,)``.
    """

    score: Callable[[Maps, Batch], Tensor]


@dataclass(frozen=True)
class Curve:
    """What the model says while cells are removed in the order of the map.

    Attributes:
        imputer: name of the imputer, with its defaults.
        order: ``mif`` most influential first, ``lif`` the reverse.
        points: fractions of cells removed, evenly from 0 to 1, both included.
    """

    imputer: str
    order: Literal["mif", "lif"]
    points: int


@dataclass(frozen=True)
class CurveValues:
    """A curve's values for a batch.

    Attributes:
        x: ``(S,)``, the share of cells really removed.
        y: ``(B,S)``, softmax probability of the target (or its logit where the model says so).
    """

    x: Tensor
    y: Tensor

    def area(self) -> Tensor:
        """``(B,)``: area under the curve by the trapezoid rule, both end points included."""
        return torch.trapezoid(self.y, self.x, dim=1)


@dataclass(frozen=True)
class SweepMetric:
    """Reads curves; equal curves are swept once for all metrics.

    Attributes:
        curves: what it needs.
        score: ``(curves) -> (B,)``.
    """

    curves: tuple[Curve, ...]
    score: Callable[[Mapping[Curve, CurveValues]], Tensor]


@dataclass(frozen=True)
class Probe:
    """Questions to the model that do not depend on any map; asked once for all explainers.

    Attributes:
        name: equal probes (by name and imputer) are asked once.
        imputer: name of the imputer.
        masks: ``(pass, n) -> (M,n)`` or ``(B,M,n)`` bool, cells removed in each of M questions.
    """

    name: str
    imputer: str
    masks: Callable[[Pass, int], Tensor]


@dataclass(frozen=True)
class Answers:
    """What a probe was told.

    Attributes:
        removed: ``(B,M,n)`` bool.
        drops: ``(B,M)``, target logit of the image minus that without the removed cells.
    """

    removed: Tensor
    drops: Tensor


@dataclass(frozen=True)
class ProbeMetric:
    """Compares the map with answers.

    Attributes:
        probe: what to ask.
        score: ``(maps, answers) -> (B,)``.
    """

    probe: Probe
    score: Callable[[Maps, Answers], Tensor]


@dataclass(frozen=True)
class VariantMetric:
    """Explains again under other inputs or other models; each variant is one pass for all explainers.

    Attributes:
        variants: what to explain again.
        compare: ``(maps, maps of the variant) -> (B,)``, one value per variant; NaN leaves that variant out.
        reduce: the variants' values to one per image.
        same_prediction: leaves out variants under which the model predicts another class.
    """

    variants: Sequence[Variant]
    compare: Callable[[Maps, Maps], Tensor]
    reduce: Literal["mean", "max"] = "mean"
    same_prediction: bool = False


@dataclass(frozen=True)
class CostMetric:
    """Reads what the map cost alone.

    Attributes:
        read: ``(cost of the batch, peak memory in MiB or None, images) -> value per image``; None is no value.
    """

    read: Callable[[Cost, float | None, int], float | None]


Metric = MapMetric | SweepMetric | ProbeMetric | VariantMetric | CostMetric

Explainer = Callable[[Pass, Tensor], Tensor]
"""``(pass, targets (B,) int64) -> (B,1 or 3,H,W)``: raw and signed, never scaled, clipped or moved off the device."""
