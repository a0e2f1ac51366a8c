"""Validity of maps: finite, not constant, and repeatable under the same seed."""

import torch
from torch import Tensor

from mavis.core.metric_types import Explanation, MapMetric, Metric, VariantMetric
from mavis.core.perturbation.variants import Repeated
from mavis.core.registry import metric


@metric("valid", source="protocol S2 (G0)", category="hygiene", higher_is_better=True, range=(0, 1))
def valid() -> Metric:
    """1 where the map is finite and not constant, else 0."""
    return MapMetric(lambda maps, _: maps.valid.float())


@metric("repeatability", source="protocol S2 (G1)", category="hygiene", higher_is_better=False, range=(0, 2))
def repeatability() -> Metric:
    """Largest difference of two maps made under the same seed, as a part of the largest absolute value of both.

    Everything is computed a second time, nothing shared with the first. 0 for two maps of zeros; a map that is not
    finite counts as a map of zeros.

    Differs: the protocol divides by the first map's largest value, which a map of zeros does not have.
    """

    def compare(before: Explanation, after: Explanation) -> Tensor:
        first, second = (explanation.maps.values.flatten(1) for explanation in (before, after))
        largest = torch.maximum(first.abs().amax(1), second.abs().amax(1))
        max_difference = (first - second).abs().amax(1)
        return torch.where(largest > 0, max_difference / largest.where(largest > 0, torch.ones_like(largest)), 0.0)

    return VariantMetric([Repeated()], compare)
