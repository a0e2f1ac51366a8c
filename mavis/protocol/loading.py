"""A protocol file -> `Protocol`: which images, explainers, metrics, gates and rules. The only file that reads YAML."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from mavis.core.errors import ProtocolError, UnknownName
from mavis.protocol.schema import Params, Protocol, Section

METADATA_KEYS = ("protocol", "schema", "status", "about")
"""What a file says of itself: never taken from the protocol that it extends."""


def load_protocol(name: str) -> Protocol:
    """A protocol by its shipped name or by the path of a YAML file.

    Raises:
        UnknownName: neither a shipped protocol nor a file.
        ProtocolError: the file, or one that it extends, does not hold; the message names the field.
    """
    path = find_protocol_file(name)
    return parse_protocol(resolve_extends(path), str(path))


def find_protocol_file(name: str) -> Path:
    """The file of a shipped protocol, or the one at a path.

    Raises:
        UnknownName, ProtocolError: there is none.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else shipped_protocols().get(name)
    if path is None:
        raise UnknownName("protocol", name, shipped_protocols())
    if not path.is_file():
        raise ProtocolError(f"There is no protocol file {path}.")
    return path


def resolve_extends(path: Path, extended_by: tuple[Path, ...] = ()) -> Any:
    """The plain values of a file, those of the protocol that it extends filled in; not checked yet.

    Args:
        path: the file.
        extended_by: the files that extend this one.

    Raises:
        ProtocolError: it is not YAML, or what it extends is not there, does not hold, or extends it in turn.
    """
    said = _read_yaml(path)
    if not isinstance(said, Mapping) or "extends" not in said:
        return said
    chain = (*extended_by, path.resolve())
    base = _base_file(path, said["extends"])
    if base.resolve() in chain:
        names = " extends ".join(one.name for one in (*chain[chain.index(base.resolve()) :], base))
        raise ProtocolError(f"{path}: extends: expected a chain that ends, got {names}; remove one 'extends'.")
    rules = parse_protocol(resolve_extends(base, chain), str(base))
    taken = rules.model_dump(mode="json", by_alias=True, exclude={"overrides"})
    return _merge(
        {key: value for key, value in taken.items() if key not in METADATA_KEYS},
        {key: value for key, value in said.items() if key != "extends"},
    )


def with_overrides(protocol: Protocol, **changes: Any) -> Protocol:
    """A copy with ``{"a.b": value}``-like changes noted as overrides; None values are left alone.

    Args:
        protocol: the protocol.
        changes: dotted paths, the dots written as ``__``, to their values.
    """
    body = protocol.model_dump(mode="json", by_alias=True)
    noted = list(protocol.overrides)
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
    return parse_protocol(body, protocol.protocol)


def parse_protocol(body: Any, origin: str) -> Protocol:
    """A protocol from plain values.

    Args:
        body: what the YAML holds.
        origin: the file, for messages.
    """
    try:
        return Protocol.model_validate(body)
    except ValidationError as error:
        first, *others = _error_lines(error)
        more = f" (and {len(others)} more: 'mavis protocol validate' lists them)" if others else ""
        said = f"{origin}: {first}{more}"
        raise ProtocolError(said if said.endswith("?") else f"{said}.") from error


def validation_errors(body: Any) -> list[str]:
    """Every field of plain values that does not hold: its path, what was expected and what is there."""
    try:
        Protocol.model_validate(body)
    except ValidationError as error:
        return _error_lines(error)
    return []


def to_yaml(protocol: Protocol) -> str:
    """A protocol as YAML with every default filled in; the file that it makes has the same hash."""
    body = protocol.model_dump(mode="json", by_alias=True, exclude={"overrides"})
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a protocol file: all keys where it stands alone, any of them where it extends another."""
    alone = Protocol.model_json_schema(by_alias=True)
    sections = alone.pop("$defs")
    changes = _make_optional(alone)
    changes["properties"] = {"extends": _EXTENDS_SCHEMA, **changes["properties"]}
    changes["required"] = ["extends", *METADATA_KEYS]
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
            **{f"{name}Changes": _make_optional(section) for name, section in sections.items()},
        },
    }


def shipped_protocols() -> dict[str, Path]:
    """The protocols that come with MAVIS, by name."""
    packaged = Path(str(files("mavis"))) / "_protocols"
    folder = packaged if packaged.is_dir() else Path(str(files("mavis"))).parent / "protocols"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark)
        return node


def _read_yaml(path: Path) -> Any:
    try:
        return _StrictLoader(path.read_text(encoding="utf-8")).get_single_data()
    except (yaml.YAMLError, ValueError) as error:
        raise ProtocolError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _base_file(path: Path, extends: Any) -> Path:
    """The file that another extends: a shipped one, or one beside it."""
    if not isinstance(extends, str):
        wanted = "the name of a shipped protocol or the path of a YAML file"
        raise ProtocolError(f"{path}: extends: expected {wanted}, got {_format_value(extends)}.")
    try:
        return find_protocol_file(str(path.parent / extends) if extends.endswith((".yaml", ".yml")) else extends)
    except (UnknownName, ProtocolError) as error:
        raise ProtocolError(f"{path}: extends: {error}") from error


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any], path: tuple[str, ...] = ()) -> Params:
    """The base with what a file says: mappings key by key, anything else in its place.

    Null takes a name of the base out of a mapping whose names are free, such as ``metrics``; elsewhere it is a value.
    """
    free = path not in _SECTIONS and path[:-1] in _SECTIONS
    merged = dict(base)
    for key, value in changes.items():
        before = base.get(key)
        if value is None and free and key in base:
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = _merge(before, value, (*path, key))
        else:
            merged[key] = value
    return merged


def _sections(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[Any, ...], type[Section]]]:
    """The model of every section that has fixed keys, by its path."""
    yield path, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from _sections(kind, (*path, name))


_SECTIONS = dict(_sections(Protocol))


_EXTENDS_SCHEMA = {
    "type": "string",
    "description": "the protocol whose rules hold where this file says nothing: a shipped name, or the path of a YAML "
    "file from this one's folder",
}


def _error_lines(error: ValidationError) -> list[str]:
    """A line per fault, without those of a list that are due to one of its items."""
    found = error.errors()
    places = [one["loc"] for one in found]
    return [
        ": ".join(filter(None, (".".join(map(str, one["loc"])), _describe_error(one["loc"], one))))
        for one in found
        if not any(len(place) > len(one["loc"]) and place[: len(one["loc"])] == one["loc"] for place in places)
    ]


def _describe_error(path: tuple[str | int, ...], error: Mapping[str, Any]) -> str:
    """Expected, got, what to do."""
    if error["type"] == "extra_forbidden":
        return str(UnknownName("key", str(path[-1]), _fields(path[:-1]))).removesuffix(".")
    if error["type"] == "missing":
        return f"missing; add it: {_field_description(path)}"
    meaning = f" ({_field_description(path)})" if _field_description(path) else ""
    return f"expected {_describe_expected(error)}{meaning}, got {_format_value(error['input'])}"


def _describe_expected(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "model_type" | "dict_type":
            return "keys and values"
        case "tuple_type":
            return "a list"
        case "invalid_key":
            return "a text as key"
        case "too_short":
            return f"at least {error['ctx']['min_length']} of them"
    words = re.sub(r", (unable|got) .*", "", error["msg"].removeprefix("Input should be "))
    return f"a number {words}" if words.startswith(("greater", "less")) else words


def _field_description(path: tuple[str | int, ...]) -> str:
    """The description of the field at a path, or of the one that holds it."""
    for end in range(len(path), 0, -1):
        field = _fields(path[: end - 1]).get(str(path[end - 1]))
        if field is not None:
            return field.description or ""
    return ""


def _fields(path: tuple[str | int, ...]) -> dict[str, FieldInfo]:
    """The fields of the section at a path, under the names that files use."""
    section = _SECTIONS.get(path)
    return {field.alias or name: field for name, field in section.model_fields.items()} if section else {}


def _format_value(value: Any) -> str:
    """A value as a file would say it, on one line and not too long."""
    words = json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= 60 else f"{words[:57]}…"


def _make_optional(schema: Any) -> Any:
    """The same JSON Schema with nothing required, and null for names that may be taken out."""
    if isinstance(schema, list):
        return [_make_optional(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _make_optional(one) for key, one in schema.items() if key not in ("required", "default", "minProperties")
    }
    if "$ref" in kept:
        kept["$ref"] += "Changes"
    named = kept.get("additionalProperties")
    if isinstance(named, dict) and named["type"] == "object":
        kept["additionalProperties"] = {"anyOf": [named, {"type": "null"}]}
    return kept
