"""Faithfulness by soft masking: change of the target's probability when the image is faded where the map is low.

The softmax probability is read before and after. By default faded pixels show the data set's mean colour.
"""

from collections.abc import Callable

from torch import Tensor

from mavis.core.metric_types import Metric, SoftMasking, SweepMetric
from mavis.core.registry import metric
from mavis.metrics.faithfulness_removal import LOW_PROBABILITY, MIN_RISE, check_share, share_of


@metric(
    "average_drop",
    source="Chattopadhay et al. 2018 (Grad-CAM++), section 5.1, arXiv 1710.11063",
    category="faithfulness",
    higher_is_better=False,
    range=(0, 1),
    needs={"forward"},
    undefined=LOW_PROBABILITY,
)
def average_drop(imputer: str = "mean", min_probability: float = 0.01) -> Metric:
    """Relative fall of the target's probability when the image is faded where the map is low.

    The image is weighted by the map scaled to [0,1]; a rise is a drop of 0.

    Args:
        imputer: fill of faded pixels.
        min_probability: smallest probability of the original image to divide by, in (0,1].

    Differs: the image is faded into the data set's mean colour, not black; a share, not per cent.
    """
    check_share("average_drop", "min_probability", min_probability)
    return _soft_masking_metric(
        imputer, lambda original, faded: share_of((original - faded).clamp_min(0), original, min_probability)
    )


@metric(
    "average_increase",
    source="Chattopadhay et al. 2018 (Grad-CAM++), section 5.1, arXiv 1710.11063",
    category="faithfulness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
)
def average_increase(imputer: str = "mean") -> Metric:
    """Indicator (1 or 0) that the target's probability rises when the image is faded where the map is low.

    Args:
        imputer: fill of faded pixels.

    Differs: the image is faded into the data set's mean colour, not black; rises below 0.00001 do not count.
    """
    return _soft_masking_metric(imputer, lambda original, faded: (faded - original > MIN_RISE).float())


@metric(
    "average_gain",
    source="Zhang et al. 2023 (Opti-CAM), arXiv 2301.07002",
    category="faithfulness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
    undefined="the target's probability for the original image is above 1 − min_room, too high to rise",
)
def average_gain(imputer: str = "mean", min_room: float = 1e-4) -> Metric:
    """Rise of the target's probability, as a share of its distance to 1, when the image is faded where the map is low.

    Args:
        imputer: fill of faded pixels.
        min_room: smallest distance to 1 to divide by, in (0,1]; at the default, rounding of the probability changes the
            score by less than 0.001.

    Differs: the image is faded into the data set's mean colour, not black.
    """
    check_share("average_gain", "min_room", min_room)
    return _soft_masking_metric(
        imputer, lambda original, faded: share_of((faded - original).clamp_min(0), 1 - original, min_room)
    )


def _soft_masking_metric(imputer: str, score: Callable[[Tensor, Tensor], Tensor]) -> Metric:
    """A metric of the probabilities ``(B,)`` of the original and of the faded image."""
    masking = SoftMasking(imputer)
    return SweepMetric((masking,), lambda curves: score(curves[masking].y[:, 0], curves[masking].y[:, 1]))
