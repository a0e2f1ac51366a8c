"""A protocol file -> `Protocol`: which images, explainers, metrics, gates and rules. The only file that reads YAML."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from mavis import hashing
from mavis.errors import ProtocolError, UnknownName

Params = dict[str, Any]

HEADING = ("protocol", "schema", "status", "about")
"""What a file says of itself: never taken from the protocol that it extends."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GroupSizes(_Strict):
    """How many images per group of the first attribute are drawn, and how many a statement needs."""

    target: int = Field(gt=0, description="images drawn per group of the first attribute")
    min_report: int = Field(gt=1, description="below this a group's mean is not shown")
    min_claim: int = Field(gt=1, description="below this no difference between groups is claimed")


class DataRules(_Strict):
    """Which images, and along which annotations they are grouped."""

    groups: tuple[str, ...] = Field(min_length=1, description="attributes; 'race*gender' is an intersection")
    n_per_group: GroupSizes = Field(description="how many images a group has, and needs")
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

    min: float = Field(ge=0, le=1, description="smallest share of maps that are finite and not constant")


class RandomisationGate(_Strict):
    """G3: maps change when the model's parameters are drawn anew."""

    metric: str = Field("mprt", description="the metric that compares maps before and after")
    max: float = Field(description="largest mean similarity")
    max_upper: float = Field(description="largest upper end of its interval")


class ControlGate(_Strict):
    """G5: better than maps that know nothing of the model."""

    metric: str = Field(description="the metric on which controls are to be beaten")
    against: tuple[str, ...] = Field(min_length=1, description="the controls that are to be beaten, all of them")
    margin: float = Field(ge=0, description="by how much, at least")


class Gates(_Strict):
    """What a method must pass before it is ranked."""

    valid: ValidGate = Field(description="G0: enough maps are finite and not constant")
    randomisation: RandomisationGate = Field(description="G3: maps change when the model's parameters are drawn anew")
    controls: ControlGate = Field(description="G5: better than maps that know nothing of the model")


class AggregateRules(_Strict):
    """How scores become means and intervals."""

    bootstrap: int = Field(ge=100, description="draws")
    permutations: int = Field(ge=100, description="draws for the null of a gap")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every interval")


class DecisionRules(_Strict):
    """How a set of methods is recommended, or none."""

    primary: str = Field(description="the metric that ranks")
    rope: float = Field(ge=0, description="differences up to this size do not matter")
    min_candidates: int = Field(ge=2, description="fewer eligible methods are a comparison, not a recommendation (R12)")
    max_undefined: float = Field(ge=0, le=1, description="largest share of failed or undefined scores in a group (R10)")


class Protocol(_Strict):
    """The rules of a run."""

    protocol: str = Field(description="its name, in every report; a file that extends another has its own")
    schema_: Literal[1] = Field(alias="schema", description="version of these keys; every file says it")
    status: Literal["preview", "draft", "frozen"] = Field(
        description="only a frozen protocol may be cited as a standard; a file that extends another has its own"
    )
    about: str = Field(description="one line of what it is for; a file that extends another has its own")
    seed: int = Field(ge=0, description="of every draw: sample, noise, weights, bootstrap")
    data: DataRules = Field(description="which images, and how they are grouped")
    target: TargetRules = Field(TargetRules(), description="which class is explained")
    grid: int = Field(16, gt=1, description="cells per side in which images are removed and maps are read")
    variants: VariantRules = Field(VariantRules(), description="on how many images maps are made again")
    explainers: ExplainerRules = Field(description="settings of explainers, and which controls always run")
    metrics: dict[str, Params] = Field(
        min_length=1,
        description="per metric its parameters, {} for its defaults; null removes one of the extended protocol",
    )
    gates: Gates = Field(description="what a method must pass before it is ranked")
    agreement: AgreementRules | None = Field(None, description="null: not looked at")
    reliability: ReliabilityRules | None = Field(None, description="null: not looked at")
    sensitivity: SensitivityRules | None = Field(None, description="for `mavis sensitivity`; no part of a run")
    aggregate: AggregateRules = Field(description="how scores become means and intervals")
    decide: DecisionRules = Field(description="how a set of methods is recommended, or none")
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
        ProtocolError: the file, or one that it extends, does not hold; the message names the field.
    """
    path = located(name)
    return parse(resolved(path), str(path))


def located(name: str) -> Path:
    """The file of a shipped protocol, or the one at a path.

    Raises:
        UnknownName, ProtocolError: there is none.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped().get(name)
    if path is None:
        raise UnknownName("protocol", name, shipped())
    if not path.is_file():
        raise ProtocolError(f"There is no protocol file {path}.")
    return path


def resolved(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """The plain values of a file, those of the protocol that it extends filled in; not checked yet.

    Args:
        path: the file.
        above: the files that extend this one.

    Raises:
        ProtocolError: it is not YAML, or what it extends is not there, does not hold, or extends it in turn.
    """
    said = _read(path)
    if not isinstance(said, Mapping) or "extends" not in said:
        return said
    chain = (*above, path.resolve())
    base = _base(path, said["extends"])
    if base.resolve() in chain:
        names = " extends ".join(one.name for one in (*chain[chain.index(base.resolve()) :], base))
        raise ProtocolError(f"{path}: extends: expected a chain that ends, got {names}; remove one 'extends'.")
    rules = parse(resolved(base, chain), str(base))
    taken = rules.model_dump(mode="json", by_alias=True, exclude={"overrides"})
    return _merged(
        {key: value for key, value in taken.items() if key not in HEADING},
        {key: value for key, value in said.items() if key != "extends"},
    )


def parse(body: Any, origin: str) -> Protocol:
    """A protocol from plain values.

    Args:
        body: what the YAML holds.
        origin: the file, for messages.
    """
    try:
        return Protocol.model_validate(body)
    except ValidationError as error:
        first, *others = _told(error)
        more = f" (and {len(others)} more: 'mavis protocol validate' lists them)" if others else ""
        said = f"{origin}: {first}{more}"
        raise ProtocolError(said if said.endswith("?") else f"{said}.") from error


def faults(body: Any) -> list[str]:
    """Every field of plain values that does not hold: its path, what was expected and what is there."""
    try:
        Protocol.model_validate(body)
    except ValidationError as error:
        return _told(error)
    return []


def text(rules: Protocol) -> str:
    """A protocol as YAML with every default filled in; the file that it makes has the same hash."""
    body = rules.model_dump(mode="json", by_alias=True, exclude={"overrides"})
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def schema() -> dict[str, Any]:
    """JSON Schema of a protocol file: all keys where it stands alone, any of them where it extends another."""
    alone = Protocol.model_json_schema(by_alias=True)
    sections = alone.pop("$defs")
    changes = _any_of_it(alone)
    changes["properties"] = {"extends": _EXTENDS, **changes["properties"]}
    changes["required"] = ["extends", *HEADING]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A MAVIS protocol file",
        "type": "object",
        "if": {"required": ["extends"]},
        "then": {"$ref": "#/$defs/ProtocolChanges"},
        "else": {"$ref": "#/$defs/Protocol"},
        "$defs": {
            "Protocol": alone,
            "ProtocolChanges": changes,
            **sections,
            **{f"{name}Changes": _any_of_it(section) for name, section in sections.items()},
        },
    }


def shipped() -> dict[str, Path]:
    """The protocols that come with MAVIS, by name."""
    packaged = Path(str(files("mavis"))) / "_protocols"
    folder = packaged if packaged.is_dir() else Path(str(files("mavis"))).parent / "protocols"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def attributes(groups: Sequence[str]) -> list[str]:
    """The plain attributes in a list that may hold intersections: ``["race*gender"]`` -> ``["race", "gender"]``."""
    return list(dict.fromkeys(part for entry in groups for part in entry.split("*")))


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark)
        return node


def _read(path: Path) -> Any:
    try:
        return _Loader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        raise ProtocolError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _base(path: Path, extends: Any) -> Path:
    """The file that another extends: a shipped one, or one beside it."""
    if not isinstance(extends, str):
        wanted = "the name of a shipped protocol or the path of a YAML file"
        raise ProtocolError(f"{path}: extends: expected {wanted}, got {_shown(extends)}.")
    try:
        return located(str(path.parent / extends) if extends.endswith((".yaml", ".yml")) else extends)
    except (UnknownName, ProtocolError) as error:
        raise ProtocolError(f"{path}: extends: {error}") from error


def _merged(base: Mapping[str, Any], said: Mapping[str, Any], where: tuple[str, ...] = ()) -> Params:
    """The base with what a file says: mappings key by key, anything else in its place.

    Null takes a name of the base out of a mapping whose names are free, such as ``metrics``; elsewhere it is a value.
    """
    free = where not in _SECTIONS and where[:-1] in _SECTIONS
    merged = dict(base)
    for key, value in said.items():
        before = base.get(key)
        if value is None and free and key in base:
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = _merged(before, value, (*where, key))
        else:
            merged[key] = value
    return merged


def _sections(model: type[_Strict], where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[Any, ...], type[_Strict]]]:
    """The model of every section that has fixed keys, by its path."""
    yield where, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, _Strict):
                yield from _sections(kind, (*where, name))


_SECTIONS = dict(_sections(Protocol))

_EXTENDS = {
    "type": "string",
    "description": "the protocol whose rules hold where this file says nothing: a shipped name, or the path of a YAML "
    "file from this one's folder",
}


def _told(error: ValidationError) -> list[str]:
    """A line per fault, without those of a list that are due to one of its items."""
    found = error.errors()
    places = [one["loc"] for one in found]
    return [
        ": ".join(filter(None, (".".join(map(str, one["loc"])), _fault(one["loc"], one))))
        for one in found
        if not any(len(place) > len(one["loc"]) and place[: len(one["loc"])] == one["loc"] for place in places)
    ]


def _fault(where: tuple[str | int, ...], one: Mapping[str, Any]) -> str:
    """Expected, got, what to do."""
    if one["type"] == "extra_forbidden":
        return str(UnknownName("key", str(where[-1]), _fields(where[:-1]))).removesuffix(".")
    if one["type"] == "missing":
        return f"missing; add it: {_meaning(where)}"
    meaning = f" ({_meaning(where)})" if _meaning(where) else ""
    return f"expected {_expected(one)}{meaning}, got {_shown(one['input'])}"


def _expected(one: Mapping[str, Any]) -> str:
    match one["type"]:
        case "model_type" | "dict_type":
            return "keys and values"
        case "tuple_type":
            return "a list"
        case "invalid_key":
            return "a text as key"
        case "too_short":
            return f"at least {one['ctx']['min_length']} of them"
    words = re.sub(r", (unable|got) .*", "", one["msg"].removeprefix("Input should be "))
    return f"a number {words}" if words.startswith(("greater", "less")) else words


def _meaning(where: tuple[str | int, ...]) -> str:
    """The description of the field at a path, or of the one that holds it."""
    for end in range(len(where), 0, -1):
        field = _fields(where[: end - 1]).get(str(where[end - 1]))
        if field is not None:
            return field.description or ""
    return ""


def _fields(where: tuple[str | int, ...]) -> dict[str, FieldInfo]:
    """The fields of the section at a path, under the names that files use."""
    section = _SECTIONS.get(where)
    return {field.alias or name: field for name, field in section.model_fields.items()} if section else {}


def _shown(value: Any) -> str:
    """A value as a file would say it, on one line and not too long."""
    words = json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= 60 else f"{words[:57]}…"


def _any_of_it(schema: Any) -> Any:
    """The same JSON Schema with nothing required, and null for names that may be taken out."""
    if isinstance(schema, list):
        return [_any_of_it(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _any_of_it(one) for key, one in schema.items() if key not in ("required", "default", "minProperties")}
    if "$ref" in kept:
        kept["$ref"] += "Changes"
    named = kept.get("additionalProperties")
    if isinstance(named, dict) and named["type"] == "object":
        kept["additionalProperties"] = {"anyOf": [named, {"type": "null"}]}
    return kept
