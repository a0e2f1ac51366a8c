"""Traits: the capabilities and properties that plug-ins declare; checked when they are registered."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from mavis.core.errors import MavisError, UnknownName
from mavis.core.types import WHITE_BOX, Capability

Pooling = Literal["sum", "l2"]
Role = Literal["method", "control", "oracle", "reference"]
Category = Literal[
    "faithfulness", "localisation", "robustness", "randomisation", "complexity", "axioms", "hygiene", "cost"
]
CATEGORIES: tuple[Category, ...] = (
    "faithfulness",
    "localisation",
    "robustness",
    "randomisation",
    "complexity",
    "axioms",
    "hygiene",
    "cost",
)


@dataclass(frozen=True)
class ExplainerTraits:
    """Traits of an explainer.

    Attributes:
        source: paper and equation.
        needs: capabilities of the model that it uses.
        pooling: rule that makes one number of a pixel's channels: the signed sum, or the Euclidean length.
        role: a method that may be recommended, a control that must be beaten, an oracle that knows the truth,
            or a reference: the model's own behaviour, as a fixed point on the scale of scores.
        stochastic: draws random numbers, so that two seeds give two maps.
        complete: claims that its values add up to the change of the logit from the data set's mean colour.
        signed: true if values may be negative.
        same_as: the explainer with equal maps on models without the feature that sets it apart; there it is not scored.
        reference: reads other images of the data set, `Pass.reference`.
        magnitude: its values have no sign, as a length or a square; such maps are similar for all classes. True of
            all maps of pooling ``l2``, which need not declare it.
        truth: needs planted truth (``parts`` or ``regions``) in the data.
    """

    source: str
    _: KW_ONLY
    needs: frozenset[Capability] = frozenset({"gradient"})
    pooling: Pooling = "sum"
    role: Role = "method"
    stochastic: bool = False
    complete: bool = False
    truth: bool = False
    signed: bool = True
    same_as: str = ""
    reference: bool = False
    magnitude: bool = False

    def __post_init__(self) -> None:
        _check_choice("pooling", self.pooling, get_args(Pooling))
        _check_choice("role", self.role, get_args(Role))
        _check_capabilities(self.needs)


@dataclass(frozen=True)
class MetricTraits:
    """Traits of a metric.

    Attributes:
        source: paper and equation.
        category: the leaderboard it belongs to.
        higher_is_better: the direction; None for a descriptive metric, which is never ranked.
        range: lowest and highest possible value; None if unbounded.
        chance: expected value of a map without information, if known.
        perfect: value of the best possible map, if there is one; it has skill 1 in place of the reference.
        needs: capabilities of the model that it uses beyond the maps.
        truth: needs planted truth (``parts`` or ``regions``) in the data.
        rerender: needs data that can be re-rendered.
        undefined: condition under which an image has no value; becomes the reason in the table.
        unit: unit of its values.
        faulty: known fault of its values, for metrics of other libraries; such a metric is refused.
    """

    source: str
    category: Category
    _: KW_ONLY
    higher_is_better: bool | None
    range: tuple[float | None, float | None] = (None, None)
    chance: float | None = None
    needs: frozenset[Capability] = frozenset()
    truth: bool = False
    rerender: bool = False
    undefined: str = "the map is not finite"
    unit: str = ""
    faulty: str = ""
    perfect: float | None = None

    def __post_init__(self) -> None:
        _check_choice("category", self.category, CATEGORIES)
        _check_capabilities(self.needs)
        if self.higher_is_better is not None and not isinstance(self.higher_is_better, bool):
            raise MavisError(f"higher_is_better must be true, false or none, got {self.higher_is_better!r}.")


DATASET_OPTIONS = ("root", "split", "target", "size", "recipe")
"""Parameters of data set factories that a user sets by name.

``root`` is the path in ``--data NAME:PATH``; ``split``, ``target`` and ``recipe`` are the command line's ``--split``,
``--target`` and ``--recipe``; ``size`` is the side of the images in pixels, the model's where it has one.
"""


@dataclass(frozen=True)
class DatasetTraits:
    """Declaration of a data set.

    Attributes:
        about: one line on what it is.
        options: those of `DATASET_OPTIONS` that its factory takes.
    """

    about: str = ""
    _: KW_ONLY
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in self.options:
            _check_choice("option of a data set", option, DATASET_OPTIONS)


@dataclass(frozen=True)
class PlainTraits:
    """Traits of a model or imputer.

    Attributes:
        about: one line on what it is.
        rerender: needs data whose parts can be drawn anew (imputers).
    """

    about: str = ""
    _: KW_ONLY
    rerender: bool = False


def _check_choice(trait: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise UnknownName(trait, value, choices)


def _check_capabilities(needs: Iterable[str]) -> None:
    for need in needs:
        _check_choice("capability of a model", need, WHITE_BOX)
