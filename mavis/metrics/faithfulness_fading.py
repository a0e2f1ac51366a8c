"""Does the answer hold when the image is faded where the map is low?

The target's softmax probability is read before and after. Without another word faded pixels show the data set's mean
colour.
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
    """Fall of the target's probability, as a share of it, when the image is faded where the map is low.

    The image is weighted by the map scaled to [0,1]; a rise is a drop of 0.

    Args:
        imputer: what the image is faded into.
        min_probability: smallest probability of the whole image that can be shared out, in (0,1].

    Differs: the image is faded into the data set's mean colour, not black; a share, not per cent.
    """
    check_share("average_drop", "min_probability", min_probability)
    return _soft_masking_metric(
        imputer, lambda whole, faded: share_of((whole - faded).clamp_min(0), whole, min_probability)
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
    """Whether the target's probability rises when the image is faded where the map is low: 1 or 0.

    Args:
        imputer: what the image is faded into.

    Differs: the image is faded into the data set's mean colour, not black; rises below 0.00001 do not count.
    """
    return _soft_masking_metric(imputer, lambda whole, faded: (faded - whole > MIN_RISE).float())


@metric(
    "average_gain",
    source="Zhang et al. 2023 (Opti-CAM), arXiv 2301.07002",
    category="faithfulness",
    higher_is_better=True,
    range=(0, 1),
    needs={"forward"},
    undefined="the target's probability for the whole image is above 1 − min_room, too high to rise",
)
def average_gain(imputer: str = "mean", min_room: float = 1e-4) -> Metric:
    """Rise of the target's probability, as a share of its room up to 1, when the image is faded where the map is low.

    Args:
        imputer: what the image is faded into.
        min_room: smallest distance to 1 that can be shared out, in (0,1]; at the default, rounding of the probability
            moves the value by less than 0.001.

    Differs: the image is faded into the data set's mean colour, not black.
    """
    check_share("average_gain", "min_room", min_room)
    return _soft_masking_metric(
        imputer, lambda whole, faded: share_of((faded - whole).clamp_min(0), 1 - whole, min_room)
    )


def _soft_masking_metric(imputer: str, score: Callable[[Tensor, Tensor], Tensor]) -> Metric:
    """Reads the probabilities ``(B,)`` of the whole and of the faded image."""
    fade = SoftMasking(imputer)
    return SweepMetric((fade,), lambda curves: score(curves[fade].y[:, 0], curves[fade].y[:, 1]))
