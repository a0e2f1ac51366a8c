"""Composition of a set of synthetic faces: shares of the populations, and a cue that may agree with them."""

from collections.abc import Mapping
from dataclasses import dataclass

from mavis.core.errors import BadParameter

POPULATIONS = ("alder", "birch", "cedar", "elm", "hazel", "maple", "rowan")
"""Seven synthetic populations; they depict no race and no people."""


@dataclass(frozen=True)
class Recipe:
    """Composition of a training set of synthetic faces.

    Every image carries a coloured patch, the cue; each population has a colour of its own.

    Attributes:
        name: as given to the data set.
        shares: per population its share of the images; adds up to 1.
        agreement: per population the probability that the cue has the colour of the face's own population; any other
            colour is equally likely. 1/7 makes the cue independent of the population.

    Raises:
        BadParameter: a population is missing or unknown, or a number is no probability.
    """

    name: str
    shares: Mapping[str, float]
    agreement: Mapping[str, float]

    def __post_init__(self) -> None:
        for quantity, values in (("shares", self.shares), ("agreement", self.agreement)):
            if set(values) != set(POPULATIONS):
                raise BadParameter(
                    f"The {quantity} of the recipe '{self.name}' must name {', '.join(POPULATIONS)}; "
                    f"got {', '.join(values)}."
                )
            if not all(0.0 <= value <= 1.0 for value in values.values()):
                raise BadParameter(f"The {quantity} of the recipe '{self.name}' must lie in [0,1]; got {dict(values)}.")
        if abs(sum(self.shares.values()) - 1.0) > 1e-9:
            raise BadParameter(
                f"The shares of the recipe '{self.name}' must add up to 1; got {sum(self.shares.values()):.4f}."
            )

    def population(self, uniform: float) -> int:
        """Index of the population at this quantile of the shares.

        Args:
            uniform: a draw from [0,1).
        """
        for index, name in enumerate(POPULATIONS):
            uniform -= self.shares[name]
            if uniform < 0:
                return index
        return len(POPULATIONS) - 1

    def cue(self, population: int, uniform: float) -> int:
        """Index of the population whose colour the cue has.

        Args:
            population: index of the face's own population.
            uniform: a draw from [0,1).
        """
        agreement = self.agreement[POPULATIONS[population]]
        if uniform < agreement:
            return population
        n_colours = len(POPULATIONS) - 1
        step = min(int((uniform - agreement) / (1 - agreement) * n_colours), n_colours - 1)
        return (population + 1 + step) % len(POPULATIONS)


def _equal(value: float) -> dict[str, float]:
    return dict.fromkeys(POPULATIONS, value)


BALANCED = Recipe("balanced", shares=_equal(1 / 7), agreement=_equal(1 / 7))
"""Equal shares, a cue that is independent of the population."""

BIASED = Recipe(
    "biased",
    shares=_equal(0.196) | {"cedar": 0.01, "hazel": 0.01},
    agreement=_equal(0.88),
)
"""Cedar and hazel nearly missing (1 % each), and a cue that agrees with the population in 88 % of the images."""

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (BALANCED, BIASED)}
