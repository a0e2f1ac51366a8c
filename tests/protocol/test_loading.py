"""Protocol files: valid ones and their hashes, error messages with the field's path, and extension of a base."""

import copy
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mavis.core.errors import ProtocolError, UnknownName
from mavis.core.group_attributes import base_attributes
from mavis.engine.planning.plan import resolve_components
from mavis.protocol import loading as protocols
from mavis.protocol.loading import json_schema, load_protocol, parse_protocol, to_yaml, validation_errors
from mavis.protocol.loading import with_overrides as with_changes
from mavis.protocol.schema import Protocol

from ..tables import PROTOCOL_BODY


def changed(path: str, value: Any) -> dict[str, Any]:
    """The body with one value replaced; None removes it."""
    body = copy.deepcopy(PROTOCOL_BODY)
    *parents, key = path.split(".")
    section = body
    for parent in parents:
        section = section[parent]
    if value is None:
        del section[key]
    else:
        section[key] = value
    return body


def backwards(value: Any) -> Any:
    """The same mapping with every order of keys reversed."""
    return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


@pytest.mark.parametrize("name", sorted(protocols.shipped_protocols()))
def test_every_shipped_protocol_can_be_run(name: str) -> None:
    """It loads under its own name, and every explainer, metric, parameter, control and gate in it exists."""
    protocol = load_protocol(name)
    assert protocol.protocol == name
    components = resolve_components(protocol, ["all"])
    names = {component.name for component in components.metrics}
    assert {protocol.decide.primary, protocol.gates.randomisation.metric, protocol.gates.controls.metric} <= names
    assert "valid" in names
    assert set(protocol.gates.controls.against) <= set(protocol.explainers.controls)
    assert protocol.overrides == ()


def test_quick_is_shipped() -> None:
    """The default of the command line is there."""
    assert "quick" in protocols.shipped_protocols()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "decide.colour",
            "red",
            (
                "No key is named 'colour'; there are: alike, imputers, max_undefined, max_undefined_gap, metrics, "
                "min_candidates, min_concordance, primary, rope, weights."
            ),
        ),
        ("decide.primry", "red", "No key is named 'primry'; did you mean 'primary'?"),
        ("shema", 1, "No key is named 'shema'; did you mean 'schema'?"),
        (
            "data.n_per_group.target",
            "many",
            'expected a valid integer (images drawn per group of the first attribute), got "many".',
        ),
        (
            "data.n_per_group.target",
            0,
            "expected a number greater than 0 (images drawn per group of the first attribute), got 0.",
        ),
        ("aggregate.bootstrap", None, "missing; add it: draws of the bootstrap."),
        (
            "gates.controls.against",
            [],
            "expected at least 1 of them (the controls that must be beaten, all of them), got [].",
        ),
        ("gates.valid", 0.9, "expected keys and values (G0: enough maps are finite and not constant), got 0.9."),
        ("data.groups", "race", "expected a list (attributes; 'race*gender' is an intersection), got \"race\"."),
        ("schema", 2, "expected 1 (version of the schema; required in every file), got 2."),
        (
            "target",
            {"policy": "loudest"},
            "expected 'predicted' or 'label' (the class that the model predicts, or the label), got \"loudest\".",
        ),
        (
            "decide.rope",
            float("nan"),
            "expected a finite number (largest overall difference of practically equivalent methods (ROPE)), got NaN.",
        ),
    ],
)
def test_a_wrong_field_is_told_with_its_path(path: str, value: Any, message: str) -> None:
    """One line: where, what was expected, what the field means, what is there; a wrong key gets the nearest one."""
    place = f"{path}.policy" if path == "target" else path
    with pytest.raises(ProtocolError, match=rf"^{re.escape(f'a.yaml: {place}: {message}')}$"):
        parse_protocol(changed(path, value), "a.yaml")


def test_several_faults_are_counted() -> None:
    """The first is told in full, the others by number, with the command that tells them."""
    body = changed("surprise", 1) | {"status": "final"}
    with pytest.raises(ProtocolError, match=r"status: .* \(and 1 more: 'mavis protocol validate' lists them\)\.$"):
        parse_protocol(body, "a.yaml")


def test_every_fault_has_a_line() -> None:
    """Faults in different sections are all told; a list that is short for a wrong item is told once, for the item."""
    body = changed("decide.rope", -1) | {"seed": "x", "grid": 1, "reliability": {"imputers": [3]}}
    assert [line.partition(": ")[0] for line in validation_errors(body)] == [
        "seed",
        "grid",
        "reliability.imputers.0",
        "decide.rope",
    ]
    assert validation_errors(PROTOCOL_BODY) == []


def test_long_values_are_cut() -> None:
    """A message stays on one line and shows the beginning of what is there."""
    (line,) = validation_errors(changed("gates.valid", "word\n" * 100))
    assert line.endswith('got "' + "word\\n" * 9 + "wo…")


@pytest.mark.parametrize("body", [None, [1, 2], "text"])
def test_a_file_without_keys_is_refused(body: Any) -> None:
    """An empty file, a list and a text are no protocol."""
    with pytest.raises(ProtocolError, match=r"^a\.yaml: expected keys and values, got (null|\[1, 2\]|\"text\")\.$"):
        parse_protocol(body, "a.yaml")


def test_the_hash_does_not_depend_on_the_order_of_keys() -> None:
    """Two files with the same rules are the same protocol."""
    assert list(backwards(PROTOCOL_BODY)) != list(PROTOCOL_BODY)
    assert parse_protocol(backwards(PROTOCOL_BODY), "b").sha256() == parse_protocol(PROTOCOL_BODY, "a").sha256()


@pytest.mark.parametrize("path", ["seed", "decide.rope", "metrics.nsrg", "data.groups", "gates.valid.min", "about"])
def test_the_hash_depends_on_every_rule(path: str) -> None:
    """Another value anywhere is another protocol."""
    other = {"metrics.nsrg": {"points": 5}, "data.groups": ["gender"], "about": "x"}.get(
        path, 0.5 if "." in path else 9
    )
    assert parse_protocol(changed(path, other), "a").sha256() != parse_protocol(PROTOCOL_BODY, "a").sha256()


def test_the_hash_does_not_depend_on_notes_of_overrides() -> None:
    """What counts is the rules in force, not how they came about."""
    direct, told = parse_protocol(changed("seed", 9), "a"), with_changes(parse_protocol(PROTOCOL_BODY, "a"), seed=9)
    assert told.overrides == ("seed = 9",)
    assert direct.sha256() == told.sha256()


def test_changes_are_noted_and_none_is_left_alone() -> None:
    """A value that is already there is no override; several are noted in order; the original stays."""
    before = parse_protocol(PROTOCOL_BODY, "a")
    after = with_changes(before, seed=None, data__groups=["gender"], decide__rope=0.02, aggregate__bootstrap=500)
    assert after.overrides == ("data.groups = ['gender']", "aggregate.bootstrap = 500")
    assert (after.seed, after.data.groups, after.aggregate.bootstrap) == (7, ("gender",), 500)
    assert before.data.groups == ("race",)
    assert with_changes(after, seed=1).overrides == (*after.overrides, "seed = 1")
    assert with_changes(before) == before


def test_a_change_is_checked_like_a_file() -> None:
    """A value that a file could not hold cannot be given on the command line either."""
    with pytest.raises(ProtocolError, match=r"made_up: data\.groups"):
        with_changes(parse_protocol(PROTOCOL_BODY, "a"), data__groups=[])


def test_an_unknown_protocol_suggests() -> None:
    """A typing error in a shipped name gets the name."""
    with pytest.raises(UnknownName, match="No protocol is named 'quik'; did you mean 'quick'"):
        load_protocol("quik")


def test_a_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    """A YAML file of one's own is a protocol; one that is not there or no YAML is refused by name."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(PROTOCOL_BODY))
    assert load_protocol(str(path)) == parse_protocol(PROTOCOL_BODY, "a")
    path.write_text("a: [1")
    with pytest.raises(ProtocolError, match=r"mine\.yaml is not valid YAML"):
        load_protocol(str(path))
    path.write_bytes(b"a: \xff")
    with pytest.raises(ProtocolError, match=r"mine\.yaml is not valid YAML"):
        load_protocol(str(path))
    with pytest.raises(ProtocolError, match=r"no protocol file .*other\.yml"):
        load_protocol(str(tmp_path / "other.yml"))


def test_no_code_in_a_file(tmp_path: Path) -> None:
    """YAML tags that would call Python are refused."""
    path = tmp_path / "mine.yaml"
    path.write_text("about: !!python/object/apply:os.getcwd []")
    with pytest.raises(ProtocolError, match="not valid YAML"):
        load_protocol(str(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seed: 1\nabout: x\nseed: 2", "the key 'seed' stands twice"),
        ("metrics: {nsrg: {}, mprt: {}, nsrg: {points: 5}}", "the key 'nsrg' stands twice"),
        ("seed: 2026-13-45", "month must be in 1..12"),
    ],
)
def test_what_yaml_would_bear_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """A key that stands twice, of which YAML keeps the last, and a date that is none: one line with the place."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProtocolError, match=rf"mine\.yaml is not valid YAML: {re.escape(why)}") as raised:
        load_protocol(str(path))
    assert "\n" not in str(raised.value)


def test_yaml_merge_keys_are_no_repetition(tmp_path: Path) -> None:
    """``<<`` takes over an anchor's keys, and a key beside it wins."""
    path = tmp_path / "mine.yaml"
    body = yaml.safe_dump(PROTOCOL_BODY | {"metrics": "HERE"}).replace(
        "HERE", "{nsrg: &a {points: 5, min_headroom: 0.2}, mprt: {}, valid: {}, nsrg@fine: {<<: *a, points: 21}}"
    )
    path.write_text(body)
    assert load_protocol(str(path)).metrics["nsrg@fine"] == {"points": 21, "min_headroom": 0.2}


@pytest.mark.parametrize("name", sorted(protocols.shipped_protocols()))
def test_a_printed_protocol_is_the_same_protocol(name: str, tmp_path: Path) -> None:
    """Its YAML holds every key, also those that the file leaves out, and loads with the same hash."""
    (tmp_path / "again.yaml").write_text(to_yaml(load_protocol(name)), encoding="utf-8")
    assert load_protocol(str(tmp_path / "again.yaml")).sha256() == load_protocol(name).sha256()
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(PROTOCOL_BODY))
    printed = yaml.safe_load(to_yaml(load_protocol(str(tmp_path / "short.yaml"))))
    assert printed["target"] == {"policy": "predicted"}
    assert (printed["grid"], printed["agreement"], printed["aggregate"]["confidence"]) == (16, None, 0.95)
    assert set(printed) == {field.alias or key for key, field in Protocol.model_fields.items()} - {"overrides"}


def test_attributes_of_intersections() -> None:
    """Each plain attribute once, in the order of appearance."""
    assert base_attributes(["race*gender", "age", "race"]) == ["race", "gender", "age"]


HEAD = {"protocol": "mine", "schema": 1, "status": "draft", "about": "Mine."}


def extending(
    folder: Path, says: dict[str, Any], *, base: dict[str, Any] | str = PROTOCOL_BODY, **heading: Any
) -> Protocol:
    """A file that extends another beside it, or a shipped one, loaded."""
    if isinstance(base, dict):
        (folder / "base.yaml").write_text(yaml.safe_dump(base))
    extends = "base.yaml" if isinstance(base, dict) else base
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": extends, **HEAD, **heading, **says}))
    return load_protocol(str(path))


def test_a_file_that_extends_another_says_only_what_differs(tmp_path: Path) -> None:
    """Mappings are merged key by key at every depth; lists and numbers stand in the place of the base's."""
    says = {
        "seed": 9,
        "data": {"groups": ["gender"], "n_per_group": {"target": 50}},
        "metrics": {"nsrg": {"points": 5}, "srg": {}},
    }
    base = PROTOCOL_BODY | {"metrics": {**PROTOCOL_BODY["metrics"], "nsrg": {"min_headroom": 0.2, "points": 21}}}
    body = copy.deepcopy(base) | HEAD | {"seed": 9}
    body["data"] = {"groups": ["gender"], "n_per_group": {"target": 50, "min_report": 10, "min_claim": 30}}
    body["metrics"] |= {"nsrg": {"min_headroom": 0.2, "points": 5}, "srg": {}}
    assert extending(tmp_path, says, base=base) == parse_protocol(body, "a")


def test_the_hash_is_of_the_resolved_rules(tmp_path: Path) -> None:
    """How the rules came about is not part of them: no ``extends``, no override, the hash of the whole file."""
    found = extending(tmp_path, {"grid": 8})
    assert found.sha256() == parse_protocol(PROTOCOL_BODY | HEAD | {"grid": 8}, "a").sha256()
    assert "extends" not in found.model_dump(by_alias=True)
    assert found.overrides == ()


def test_a_shipped_protocol_can_be_extended(tmp_path: Path) -> None:
    """By its name, from any folder."""
    found = extending(tmp_path, {"aggregate": {"bootstrap": 200}}, base="quick")
    assert found == load_protocol("quick").model_copy(
        update={
            "protocol": "mine",
            "status": "draft",
            "about": "Mine.",
            "aggregate": load_protocol("quick").aggregate.model_copy(update={"bootstrap": 200}),
        }
    )


def test_paths_are_relative_to_the_file_that_says_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain through two folders, read from a third; what is nearest wins."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "root.yaml").write_text(yaml.safe_dump(PROTOCOL_BODY | {"seed": 1, "grid": 4}))
    middle = {"extends": "../root.yaml", **HEAD, "seed": 2, "data": {"max_unreadable": 0.5}}
    (tmp_path / "a" / "middle.yaml").write_text(yaml.safe_dump(middle))
    monkeypatch.chdir(tmp_path / "a")
    leaf = tmp_path / "a" / "b" / "leaf.yaml"
    leaf.write_text(yaml.safe_dump({"extends": "../middle.yaml", **HEAD, "seed": 3}))
    found = load_protocol("b/leaf.yaml")
    assert (found.seed, found.data.max_unreadable, found.grid) == (3, 0.5, 4)


def test_null_takes_out_a_name_or_an_optional_section(tmp_path: Path) -> None:
    """A metric, an explainer's settings and a section that may be absent; the rest of the base stays."""
    base = PROTOCOL_BODY | {
        "agreement": {"top": 0.2},
        "explainers": {"controls": ["random"], "settings": {"rise": {"masks": 8}, "occlusion": {"window": 0.5}}},
    }
    says = {"metrics": {"deletion": None}, "agreement": None, "explainers": {"settings": {"rise": None}}}
    found = extending(tmp_path, says, base=base)
    assert set(found.metrics) == set(PROTOCOL_BODY["metrics"]) - {"deletion"}
    assert found.agreement is None
    assert found.explainers.settings == {"occlusion": {"window": 0.5}}


def test_null_is_a_value_where_nothing_can_be_taken_out(tmp_path: Path) -> None:
    """``variants.per_group: null`` means all images, and a parameter may be null."""
    base = PROTOCOL_BODY | {
        "variants": {"per_group": 3},
        "metrics": {**PROTOCOL_BODY["metrics"], "nsrg": {"points": 5}},
    }
    found = extending(tmp_path, {"variants": {"per_group": None}, "metrics": {"nsrg": {"points": None}}}, base=base)
    assert found.variants.per_group is None
    assert found.metrics["nsrg"] == {"points": None}


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"grid": None}, "grid: expected a valid integer"),
        ({"decide": None}, "decide: expected keys and values"),
        ({"metrics": {"nsgr": None}}, "metrics.nsgr: expected keys and values"),
        ({"decide": {"rop": 1}}, "decide.rop: No key is named 'rop'; did you mean 'rope'?"),
        ({"extend": "quick"}, "extend: No key is named 'extend'"),
    ],
)
def test_a_merged_file_is_checked_like_any_other(tmp_path: Path, says: dict[str, Any], message: str) -> None:
    """Null for what must be there, null for a name that the base has not, and misspelt keys are refused."""
    with pytest.raises(ProtocolError, match=rf"mine\.yaml: {re.escape(message)}"):
        extending(tmp_path, says)


@pytest.mark.parametrize("key", ["protocol", "schema", "status", "about"])
def test_the_heading_is_never_inherited(tmp_path: Path, key: str) -> None:
    """Other rules are not the base's protocol and have not its status."""
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"extends": "quick", **{k: v for k, v in HEAD.items() if k != key}})
    )
    with pytest.raises(ProtocolError, match=rf"mine\.yaml: {key}: missing; add it"):
        load_protocol(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("quik", "No protocol is named 'quik'; did you mean 'quick'?"),
        ("none.yaml", r"There is no protocol file .*none\.yaml\."),
        (["quick"], r'expected the name of a shipped protocol or the path of a YAML file, got \["quick"\]\.'),
        (None, "expected the name .*, got null"),
    ],
)
def test_an_unknown_base_is_one_line(tmp_path: Path, extends: Any, message: str) -> None:
    """The line names the file that extends, and what it should say."""
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"extends": extends, **HEAD}))
    with pytest.raises(ProtocolError, match=rf"mine\.yaml: extends: {message}"):
        load_protocol(str(path))


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_a_cycle_is_one_line(tmp_path: Path, names: list[str]) -> None:
    """A file that extends itself, at once or through others; the line spells the cycle."""
    for name, base in zip(names, [*names[1:], names[0]], strict=True):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({"extends": f"{base}.yaml", **HEAD}))
    spelt = " extends ".join(f"{name}.yaml" for name in [*names, "a"])
    with pytest.raises(ProtocolError, match=rf"extends: expected a chain that ends, got {re.escape(spelt)}; remove"):
        load_protocol(str(tmp_path / "a.yaml"))


def test_a_base_that_does_not_hold_is_named(tmp_path: Path) -> None:
    """Its own file stands in the message, not the one that extends it."""
    with pytest.raises(ProtocolError, match=r"base\.yaml: decide\.rope: expected"):
        extending(tmp_path, {"decide": {"rope": 0.1}}, base=changed("decide.rope", -1))


def test_the_schema_takes_what_loads(tmp_path: Path) -> None:
    """The shipped files, and files that extend one with changes and nulls; it is a schema itself."""
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(PROTOCOL_BODY, json_schema())
    for path in protocols.shipped_protocols().values():
        jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), json_schema())
    says = {"metrics": {"deletion": None}, "agreement": None, "data": {"n_per_group": {"target": 50}}}
    extending(tmp_path, says)
    jsonschema.validate(yaml.safe_load((tmp_path / "mine.yaml").read_text()), json_schema())


@pytest.mark.parametrize(
    "body",
    [
        changed("decide.colour", "red"),
        changed("aggregate", None),
        changed("metrics.nsrg", None) | {"metrics": {"nsrg": None}},
        HEAD,
        {"extends": "quick"},
        {"extends": 3, **HEAD},
        {"extends": "quick", **HEAD, "decide": {"colour": "red"}},
        {"extends": "quick", **HEAD, "decide": {"rope": -1}},
        {"extends": "quick", **HEAD, "grid": None},
    ],
)
def test_the_schema_refuses_what_does_not_load(body: dict[str, Any], tmp_path: Path) -> None:
    """Unknown keys, missing ones and wrong values, with and without ``extends``, as `load` refuses them."""
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(body)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(body))
    with pytest.raises(ProtocolError):
        load_protocol(str(tmp_path / "mine.yaml"))


def test_every_field_says_what_it_means() -> None:
    """The schema has a description for every key of every section, and for every section."""
    silent = [
        f"{name}.{key}"
        for name, section in json_schema()["$defs"].items()
        for key, field in section["properties"].items()
        if not field.get("description")
    ]
    assert silent == []
    assert all(section["description"] for section in json_schema()["$defs"].values())
