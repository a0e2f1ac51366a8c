"""Protocol files to `Protocol`: YAML read, extended protocols merged, fields checked. No other module reads YAML."""

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
from mavis.core.files import is_file, read_bytes
from mavis.protocol.schema import Params, Protocol, Section

METADATA_KEYS = ("protocol", "schema", "status", "about")
"""Keys that describe the file itself; a file never inherits them from the protocol that it extends."""


def load_protocol(name: str) -> Protocol:
    """A protocol by its shipped name or by the path of a YAML file.

    Raises:
        UnknownName: neither a shipped protocol nor a file.
        ProtocolError: the file, or one that it extends, is not valid; the message names the field.
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
    if not is_file(path):
        raise ProtocolError(f"There is no protocol file {path}.")
    return path


def resolve_extends(path: Path, extended_by: tuple[Path, ...] = ()) -> Any:
    """The plain values of a file, merged over those of the protocol that it extends; not checked yet.

    Args:
        path: the file.
        extended_by: the files that extend this one.

    Raises:
        ProtocolError: it is not YAML, or what it extends is missing, is not valid, or extends it in turn.
    """
    body = _read_yaml(path)
    if not isinstance(body, Mapping) or "extends" not in body:
        return body
    chain = (*extended_by, path.resolve())
    base = _base_file(path, body["extends"])
    if base.resolve() in chain:
        names = " extends ".join(file.name for file in (*chain[chain.index(base.resolve()) :], base))
        raise ProtocolError(f"{path}: extends: expected a chain that ends, got {names}; remove one 'extends'.")
    base_protocol = parse_protocol(resolve_extends(base, chain), str(base))
    base_body = base_protocol.model_dump(mode="json", by_alias=True, exclude={"overrides"})
    return _merge(
        {key: value for key, value in base_body.items() if key not in METADATA_KEYS},
        {key: value for key, value in body.items() if key != "extends"},
    )


def with_overrides(protocol: Protocol, **changes: Any) -> Protocol:
    """A copy with some values changed, each change recorded in ``overrides``; None changes nothing.

    Args:
        protocol: the protocol.
        changes: new values by dotted path, dots written as ``__``: ``decide__rope=0.03``.
    """
    body = protocol.model_dump(mode="json", by_alias=True)
    overrides = list(protocol.overrides)
    for path, value in changes.items():
        if value is None:
            continue
        *parents, key = path.split("__")
        section = body
        for parent in parents:
            section = section[parent]
        if section[key] != value:
            section[key] = value
            overrides.append(f"{path.replace('__', '.')} = {value}")
    body["overrides"] = overrides
    return parse_protocol(body, protocol.protocol)


def parse_protocol(body: Any, origin: str) -> Protocol:
    """A protocol from plain values.

    Args:
        body: the content of a YAML file.
        origin: the file's name, for messages.

    Raises:
        ProtocolError: a field is not valid; the message describes the first and counts the others.
    """
    try:
        return Protocol.model_validate(body)
    except ValidationError as error:
        first, *further = _error_lines(error)
        count = f" (and {len(further)} more: 'mavis protocol validate' lists them)" if further else ""
        message = f"{origin}: {first}{count}"
        raise ProtocolError(message if message.endswith("?") else f"{message}.") from error


def validation_errors(body: Any) -> list[str]:
    """One line per field that is not valid: its path, the expected and the actual value."""
    try:
        Protocol.model_validate(body)
    except ValidationError as error:
        return _error_lines(error)
    return []


def to_yaml(protocol: Protocol, *, ascii_only: bool = False) -> str:
    """A protocol as YAML with every default filled in; a file of this text has the same hash.

    With ``ascii_only`` other letters are escapes, for a console that lacks them.
    """
    body = protocol.model_dump(mode="json", by_alias=True, exclude={"overrides"})
    return yaml.safe_dump(body, sort_keys=False, allow_unicode=not ascii_only, width=120, default_flow_style=None)


def json_schema() -> dict[str, Any]:
    """JSON Schema of a protocol file: all keys where it stands alone, any of them where it extends another."""
    standalone = Protocol.model_json_schema(by_alias=True)
    sections = standalone.pop("$defs")
    changes = _make_optional(standalone)
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
            "Protocol": standalone,
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
    """YAML loader that refuses a repeated key; plain YAML would silently use the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if names.count(key.value) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark)
        return node


def _read_yaml(path: Path) -> Any:
    try:
        return _StrictLoader(read_bytes(path).decode()).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ProtocolError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def _base_file(path: Path, extends: Any) -> Path:
    """The file that another extends: a shipped one, or one beside it."""
    if not isinstance(extends, str):
        expected = "the name of a shipped protocol or the path of a YAML file"
        raise ProtocolError(f"{path}: extends: expected {expected}, got {_format_value(extends)}.")
    try:
        return find_protocol_file(str(path.parent / extends) if extends.endswith((".yaml", ".yml")) else extends)
    except (UnknownName, ProtocolError) as error:
        raise ProtocolError(f"{path}: extends: {error}") from error


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any], path: tuple[str, ...] = ()) -> Params:
    """The base with the changes of a file: mappings are merged key by key, any other value is replaced.

    Null removes a name from a mapping whose names are free, such as ``metrics``. In a section its keys are fixed, so
    there null is a value: ``agreement: null`` turns agreement off.
    """
    has_free_names = path not in _SECTIONS and path[:-1] in _SECTIONS
    merged = dict(base)
    for key, value in changes.items():
        base_value = base.get(key)
        if value is None and has_free_names and key in base:
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(base_value, Mapping):
            merged[key] = _merge(base_value, value, (*path, key))
        else:
            merged[key] = value
    return merged


def _sections(model: type[Section], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[Any, ...], type[Section]]]:
    """Path and pydantic model of every section, that is, of every mapping with fixed keys."""
    yield path, model
    for name, field in model.model_fields.items():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from _sections(kind, (*path, name))


_SECTIONS = dict(_sections(Protocol))


_EXTENDS_SCHEMA = {
    "type": "string",
    "description": "the protocol that this file changes: a shipped name, or the path of a YAML file relative to this "
    "file's folder",
}


def _error_lines(error: ValidationError) -> list[str]:
    """One line per error. A list with a wrong item also counts as wrong itself; only the item is reported."""
    errors = error.errors()
    paths = [details["loc"] for details in errors]
    return [
        ": ".join(filter(None, (".".join(map(str, path)), _describe_error(path, details))))
        for path, details in zip(paths, errors, strict=True)
        if not any(len(inner) > len(path) and inner[: len(path)] == path for inner in paths)
    ]


def _describe_error(path: tuple[str | int, ...], error: Mapping[str, Any]) -> str:
    """The expected value, the actual one, and what to do."""
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
    expected = re.sub(r", (unable|got) .*", "", error["msg"].removeprefix("Input should be "))
    return f"a number {expected}" if expected.startswith(("greater", "less")) else expected


def _field_description(path: tuple[str | int, ...]) -> str:
    """The description of the field at a path, or of the nearest field that encloses it."""
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
    """A value as JSON on one line, cut after 57 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _make_optional(schema: Any) -> Any:
    """A JSON Schema with nothing required, and null allowed for names that can be removed."""
    if isinstance(schema, list):
        return [_make_optional(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    dropped = ("required", "default", "minProperties")
    optional = {key: _make_optional(value) for key, value in schema.items() if key not in dropped}
    if "$ref" in optional:
        optional["$ref"] += "Changes"
    entry_schema = optional.get("additionalProperties")
    if isinstance(entry_schema, dict) and entry_schema["type"] == "object":
        optional["additionalProperties"] = {"anyOf": [entry_schema, {"type": "null"}]}
    return optional
