"""A protocol file -> `Protocol`: which images, explainers, metrics, gates and rules. The only file that reads YAML."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mavis import hashing
from mavis.errors import ProtocolError, UnknownName

Params = dict[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GroupSizes(_Strict):
    """How many images per group of the first attribute are drawn, and how many a statement needs."""

    target: int = Field(gt=0, description="images drawn per group of the first attribute")
    min_report: int = Field(gt=1, description="below this a group's mean is not shown")
    min_claim: int = Field(gt=1, description="below this no difference between groups is claimed")


class DataRules(_Strict):
    """Which images, and along which annotations they are grouped."""

    groups: tuple[str, ...] = Field(min_length=1, description="attributes; 'race*gender' is an intersection")
    n_per_group: GroupSizes
    max_unreadable: float = Field(0.05, ge=0, le=1, description="largest share of unreadable images that is borne")


class TargetRules(_Strict):
    """Which class is explained."""

    policy: Literal["predicted", "label"] = Field(
        default="predicted", description="the class that the model predicts, or the label"
    )


class VariantRules(_Strict):
    """On how many images maps are made again under other inputs and other weights."""

    per_group: int | None = Field(
        default=None, gt=0, description="images per group of the first attribute; null for all"
    )


class AgreementRules(_Strict):
    """How far methods agree with each other; described, never ranked."""

    top: float = Field(0.1, gt=0, le=1, description="share of the cells that count as a map's top ones")


class ReliabilityRules(_Strict):
    """With which imputers the model still knows what it sees."""

    imputers: tuple[str, ...] = Field(min_length=1, description="what removed cells show")
    fractions: tuple[float, ...] = Field((0.1, 0.3, 0.5), min_length=1, description="shares of cells removed at random")
    min_kept: float = Field(0.7, ge=0, le=1, description="smallest share of predictions kept at the first fraction")
    max_gap: float = Field(0.1, ge=0, le=1, description="largest difference between groups before it is flagged")


class SensitivityRules(_Strict):
    """Under which other settings of a metric the ranking of methods should be the same."""

    grids: tuple[int, ...] = Field((8, 16, 32), min_length=1, description="cells per side")
    metrics: dict[str, dict[str, tuple[Any, ...]]] = Field(
        min_length=1, description="per metric and parameter the values to try, all combinations"
    )
    min_tau: float = Field(0.7, ge=-1, le=1, description="smallest mean Kendall tau of a metric that may decide")


class ExplainerRules(_Strict):
    """Settings of explainers, and which controls stand in every table."""

    controls: tuple[str, ...] = Field(description="run whatever is asked for; a method must beat those of the gate G5")
    oracles: tuple[str, ...] = Field((), description="run where the data have planted truth")
    settings: dict[str, Params] = Field(default_factory=dict, description="parameters per explainer")


class ValidGate(_Strict):
    """G0: enough maps are finite and not constant."""

    min: float = Field(ge=0, le=1)


class RandomisationGate(_Strict):
    """G3: maps change when the model's parameters are drawn anew."""

    metric: str = "mprt"
    max: float = Field(description="largest mean similarity")
    max_upper: float = Field(description="largest upper end of its interval")


class ControlGate(_Strict):
    """G5: better than maps that know nothing of the model."""

    metric: str
    against: tuple[str, ...] = Field(min_length=1)
    margin: float = Field(ge=0)


class Gates(_Strict):
    """What a method must pass before it is ranked."""

    valid: ValidGate
    randomisation: RandomisationGate
    controls: ControlGate


class AggregateRules(_Strict):
    """How scores become means and intervals."""

    bootstrap: int = Field(ge=100, description="draws")
    permutations: int = Field(ge=100, description="draws for the null of a gap")
    confidence: float = Field(0.95, gt=0.5, lt=1)


class DecisionRules(_Strict):
    """How a set of methods is recommended, or none."""

    primary: str = Field(description="the metric that ranks")
    rope: float = Field(ge=0, description="differences up to this size do not matter")
    min_candidates: int = Field(ge=2, description="fewer eligible methods are a comparison, not a recommendation (R12)")
    max_undefined: float = Field(ge=0, le=1, description="largest share of failed or undefined scores in a group (R10)")


class Protocol(_Strict):
    """The rules of a run."""

    protocol: str
    schema_: Literal[1] = Field(alias="schema")
    status: Literal["preview", "draft", "frozen"]
    about: str
    seed: int = Field(ge=0)
    data: DataRules
    target: TargetRules = TargetRules()
    grid: int = Field(16, gt=1, description="cells per side in which images are removed and maps are read")
    variants: VariantRules = VariantRules()
    explainers: ExplainerRules
    metrics: dict[str, Params] = Field(min_length=1, description="parameters per metric")
    gates: Gates
    agreement: AgreementRules | None = Field(None, description="null: not looked at")
    reliability: ReliabilityRules | None = Field(None, description="null: not looked at")
    sensitivity: SensitivityRules | None = Field(None, description="for `mavis sensitivity`; no part of a run")
    aggregate: AggregateRules
    decide: DecisionRules
    overrides: tuple[str, ...] = Field((), description="set by MAVIS: what the command line changed")

    def sha256(self) -> str:
        """Hash of every rule, whatever the order of keys in the file."""
        return hashing.of_json(self.model_dump(mode="json", exclude={"overrides"}))

    def changed(self, **changes: Any) -> "Protocol":
        """A copy with ``{"a.b": value}``-like changes noted as overrides; None values are left alone.

        Args:
            changes: dotted paths, the dots written as ``__``, to their values.
        """
        body = self.model_dump(mode="json", by_alias=True)
        noted = list(self.overrides)
        for path, value in changes.items():
            if value is None:
                continue
            *parents, last = path.split("__")
            place = body
            for parent in parents:
                place = place[parent]
            if place[last] != value:
                place[last] = value
                noted.append(f"{path.replace('__', '.')} = {value}")
        body["overrides"] = noted
        return parse(body, self.protocol)


def load(name: str) -> Protocol:
    """A protocol by its shipped name or by the path of a YAML file.

    Raises:
        UnknownName: neither a shipped protocol nor a file.
        ProtocolError: the file does not hold; the message names the field.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped().get(name)
    if path is None:
        raise UnknownName("protocol", name, shipped())
    if not path.is_file():
        raise ProtocolError(f"There is no protocol file {path}.")
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse(body, str(path))


def parse(body: Any, origin: str) -> Protocol:
    """A protocol from plain values.

    Args:
        body: what the YAML holds.
        origin: the file, for messages.
    """
    if not isinstance(body, Mapping):
        raise ProtocolError(f"{origin}: expected keys and values, got {type(body).__name__}.")
    try:
        return Protocol.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(step) for step in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ProtocolError(f"{origin}: {field}: {first['msg']}{more}.") from error


def shipped() -> dict[str, Path]:
    """The protocols that come with MAVIS, by name."""
    packaged = Path(str(files("mavis"))) / "_protocols"
    folder = packaged if packaged.is_dir() else Path(str(files("mavis"))).parent / "protocols"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def attributes(groups: Sequence[str]) -> list[str]:
    """The plain attributes in a list that may hold intersections: ``["race*gender"]`` -> ``["race", "gender"]``."""
    return list(dict.fromkeys(part for entry in groups for part in entry.split("*")))
