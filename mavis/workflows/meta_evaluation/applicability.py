"""Required tests per metric category, and the reason for every test that does not apply."""

from collections.abc import Mapping

REQUIREMENTS: Mapping[str, Mapping[str, str]] = {
    "faithfulness": {
        "M1": "hand-wired: oracle ≥ every method and control, random > anti-oracle; faces: oracle > every "
        "control, random > anti-oracle, and no bound for methods: a part-wise "
        "oracle is none for removal metrics (ADR 10)",
        "M2": "the score falls as the oracle's cells are mixed with themselves shuffled, to the declared chance value",
        "M3": "tiny noise in map, image and weights leaves scores and their order",
        "M4": "a shuffled map scores worse than the map",
        "M7": "its settings leave the order of the methods, and the oracle first on hand-wired models",
        "M8": "blur alone gains nothing; a constant map has the chance value; scale, level, light do not count",
        "M13": "oracle against random has the declared sign",
    },
    "localisation": {
        "M1": "hand-wired: oracle ≥ every method, random > elsewhere; faces: oracle > random > elsewhere. The opposite "
        "of a place is every other place: a map with the wrong sign still lies where the right one does",
        "M2": "the score falls as the oracle's cells are mixed with themselves shuffled, to the declared chance value",
        "M3": "tiny noise in map, image and weights leaves scores and their order",
        "M4": "a shuffled map scores worse than the map",
        "M7": "not asked: it reads pixels and has no parameters",
        "M8": "a centre prior gains nothing on parts off the centre; constant and random maps have the chance value on "
        "parts of every size; scale does not count",
        "M13": "oracle against random has the declared sign",
    },
    "robustness": {
        "M1": "a steady truth is better than a random map drawn anew; nothing is asked of the anti-oracle, which is as "
        "steady as the oracle: these metrics do not read the sign",
        "M2": "the score gets worse as the truth is mixed with cells shuffled anew for every copy of the image",
        "M3": "tiny noise in the map leaves scores and their order; noise in image and weights is what it measures",
        "M4": "not asked: a wrong map can be steady (Yeh et al. 2019: the best map for sensitivity is a constant one), "
        "which is why it counts only for methods that beat the controls",
        "M7": "its settings leave the order of the methods",
        "M8": "scale does not count",
        "M13": "a steady map against one drawn anew has the declared sign",
    },
    "complexity": {
        "M1": "the oracle is sparser than random, random sparser than constant; nothing is asked of the anti-oracle, "
        "which is as sparse as the oracle",
        "M2": "the score falls as the oracle is flattened to a constant map; shuffled cells have the same sparseness",
        "M3": "tiny noise in map, image and weights leaves scores and their order",
        "M4": "not asked: a shuffled map is as sparse as the map, and must be",
        "M7": "the grid leaves the order of the methods",
        "M8": "a constant map has the lowest value; scale does not count",
        "M13": "a map of one cell against a constant one has the declared sign",
    },
}
"""Criterion per category and test; "not asked: …" marks a test that does not apply, with the reason."""


def is_applicable(category: str, test: str) -> bool:
    """True where metrics of a category must pass a test."""
    return not REQUIREMENTS[category][test].startswith("not asked")
