"""Does the map change when the model forgets what it learnt? Gates, never ranks: noise passes them trivially."""

from torch import Tensor

from mavis.errors import BadParameter
from mavis.kinds import Metric, VariantMetric
from mavis.maps import Maps, spearman
from mavis.perturb import Randomised
from mavis.registry import metric


@metric(
    "mprt",
    source="Adebayo et al. 2018, section 3, arXiv 1810.03292; Binder et al. 2023, arXiv 2211.12486",
    category="randomisation",
    higher_is_better=False,
    range=(-1, 1),
    needs={"weights"},
    undefined="the map, or that of the randomised model, is constant",
)
def mprt(repeats: int = 1) -> Metric:
    """Spearman correlation of absolute cell values before and after all parameters are drawn anew.

    Near 1: the map does not depend on what the model learnt (an edge detector scores exactly 1).

    Args:
        repeats: randomised models, at least 1.

    Differs: full randomisation only; the original model is never averaged in (as Quantus does).
    """
    if repeats < 1:
        raise BadParameter(f"mprt: repeats must be at least 1, got {repeats}.")

    def similarity(maps: Maps, other: Maps) -> Tensor:
        return spearman(maps.cells.abs(), other.cells.abs())

    return VariantMetric([Randomised(number) for number in range(repeats)], similarity)
