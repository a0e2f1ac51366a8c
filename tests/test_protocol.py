"""Protocol files: what holds is hashed, what does not is told with the field's path."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mavis import protocol as protocols
from mavis.errors import ProtocolError, UnknownName
from mavis.plan import line_up
from mavis.protocol import Protocol, attributes, load, parse

from .tables import BODY


def changed(path: str, value: Any) -> dict[str, Any]:
    """The body with one value replaced; None removes it."""
    body = copy.deepcopy(BODY)
    *parents, last = path.split(".")
    place = body
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return body


def backwards(value: Any) -> Any:
    """The same mapping with every order of keys reversed."""
    return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


@pytest.mark.parametrize("name", sorted(protocols.shipped()))
def test_every_shipped_protocol_can_be_run(name: str) -> None:
    """It loads under its own name, and every explainer, metric, parameter, control and gate in it exists."""
    found = load(name)
    assert found.protocol == name
    line = line_up(found, ["all"])
    names = {part.name for part in line.metrics}
    assert {found.decide.primary, found.gates.randomisation.metric, found.gates.controls.metric, "valid"} <= names
    assert set(found.gates.controls.against) <= set(found.explainers.controls)
    assert found.overrides == ()


def test_quick_is_shipped() -> None:
    """The default of the command line is there."""
    assert "quick" in protocols.shipped()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("decide.colour", "red", r"decide\.colour: Extra inputs"),
        ("surprise", 1, r"surprise: Extra inputs"),
        ("data.n_per_group.target", "many", r"data\.n_per_group\.target: .*integer"),
        ("data.n_per_group.target", 0, r"data\.n_per_group\.target: .*greater than 0"),
        ("aggregate.bootstrap", None, r"aggregate\.bootstrap: Field required"),
        ("gates.controls.against", [], r"gates\.controls\.against: .*at least 1"),
        ("schema", 2, r"schema: Input should be 1"),
        ("status", "final", r"status: Input should be 'preview'"),
        ("metrics", {}, r"metrics: .*at least 1"),
        ("target", {"policy": "loudest"}, r"target\.policy: Input should be"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(path: str, value: Any, message: str) -> None:
    """Extra keys, wrong types, missing keys and values out of range each say where."""
    with pytest.raises(ProtocolError, match=rf"^a\.yaml: {message}"):
        parse(changed(path, value), "a.yaml")


def test_several_faults_are_counted() -> None:
    """The first is told in full, the others by number."""
    body = changed("surprise", 1) | {"status": "final"}
    with pytest.raises(ProtocolError, match=r"\(and 1 more\)\.$"):
        parse(body, "a.yaml")


@pytest.mark.parametrize("body", [None, [1, 2], "text"])
def test_a_file_without_keys_is_refused(body: Any) -> None:
    """An empty file, a list and a text are no protocol."""
    with pytest.raises(ProtocolError, match=r"a\.yaml: expected keys and values, got"):
        parse(body, "a.yaml")


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    """Two files with the same rules are the same protocol."""
    assert list(backwards(BODY)) != list(BODY)
    assert parse(backwards(BODY), "b").sha256() == parse(BODY, "a").sha256()


@pytest.mark.parametrize("path", ["seed", "decide.rope", "metrics.nsrg", "data.groups", "gates.valid.min", "about"])
def test_the_hash_depends_on_every_rule(path: str) -> None:
    """Another value anywhere is another protocol."""
    other = {"metrics.nsrg": {"points": 5}, "data.groups": ["gender"], "about": "x"}.get(
        path, 0.5 if "." in path else 9
    )
    assert parse(changed(path, other), "a").sha256() != parse(BODY, "a").sha256()


def test_the_hash_does_not_depend_on_notes_of_overrides() -> None:
    """What counts is the rules in force, not how they came about."""
    direct, told = parse(changed("seed", 9), "a"), parse(BODY, "a").changed(seed=9)
    assert told.overrides == ("seed = 9",)
    assert direct.sha256() == told.sha256()


def test_changes_are_noted_and_none_is_left_alone() -> None:
    """A value that is already there is no override; several are noted in order; the original stays."""
    before = parse(BODY, "a")
    after = before.changed(seed=None, data__groups=["gender"], decide__rope=0.02, aggregate__bootstrap=500)
    assert after.overrides == ("data.groups = ['gender']", "aggregate.bootstrap = 500")
    assert (after.seed, after.data.groups, after.aggregate.bootstrap) == (7, ("gender",), 500)
    assert before.data.groups == ("race",)
    assert after.changed(seed=1).overrides == (*after.overrides, "seed = 1")
    assert before.changed() == before


def test_a_change_is_checked_like_a_file() -> None:
    """A value that a file could not hold cannot be given on the command line either."""
    with pytest.raises(ProtocolError, match=r"made_up: data\.groups"):
        parse(BODY, "a").changed(data__groups=[])


def test_an_unknown_protocol_suggests() -> None:
    """A typing error in a shipped name gets the name."""
    with pytest.raises(UnknownName, match="No protocol is named 'quik'; did you mean 'quick'"):
        load("quik")


def test_a_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    """A YAML file of one's own is a protocol; one that is not there or no YAML is refused by name."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(BODY))
    assert load(str(path)) == parse(BODY, "a")
    path.write_text("a: [1")
    with pytest.raises(ProtocolError, match=r"mine\.yaml is not valid YAML"):
        load(str(path))
    path.write_bytes(b"a: \xff")
    with pytest.raises(ProtocolError, match=r"mine\.yaml is not valid YAML"):
        load(str(path))
    with pytest.raises(ProtocolError, match=r"no protocol file .*other\.yml"):
        load(str(tmp_path / "other.yml"))


def test_no_code_in_a_file(tmp_path: Path) -> None:
    """YAML tags that would call Python are refused."""
    path = tmp_path / "mine.yaml"
    path.write_text("about: !!python/object/apply:os.getcwd []")
    with pytest.raises(ProtocolError, match="not valid YAML"):
        load(str(path))


def test_the_schema_describes_the_file() -> None:
    """The JSON Schema accepts what loads and refuses what does not; every number says what it means."""
    schema = Protocol.model_json_schema(by_alias=True)
    jsonschema.validate(BODY, schema)
    for path in protocols.shipped().values():
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed("decide.colour", "red"), schema)
    assert schema["$defs"]["DecisionRules"]["properties"]["rope"]["description"]


def test_attributes_of_intersections() -> None:
    """Each plain attribute once, in the order of appearance."""
    assert attributes(["race*gender", "age", "race"]) == ["race", "gender", "age"]
