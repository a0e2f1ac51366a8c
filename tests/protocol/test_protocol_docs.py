"""The shipped protocols hold, and protocols/README.md explains every key that there is and no other."""

import re
from pathlib import Path
from types import NoneType
from typing import Literal, get_args, get_origin

import pytest
from pydantic import BaseModel

from mavis.engine.planning import plan
from mavis.protocol import loading, schema

PAGE = (Path(__file__).resolve().parents[2] / "protocols" / "README.md").read_text(encoding="utf-8")


def keys(model: type[BaseModel], before: str = "") -> set[str]:
    """Dotted paths of all fields that hold a value."""
    paths: set[str] = set()
    for name, field in model.model_fields.items():
        path = before + (field.alias or name)
        inner = next((part for part in get_args(field.annotation) if part is not NoneType), field.annotation)
        inner = field.annotation if get_origin(field.annotation) in (dict, tuple, Literal) else inner
        nested = isinstance(inner, type) and issubclass(inner, BaseModel)
        paths |= keys(inner, f"{path}.") if nested else {path}
    return paths


def test_every_key_is_explained():
    """The table of protocols/README.md has one row per key, under the name that the YAML uses."""
    rows = re.findall(r"^\| `([a-z_.]+)` \|", PAGE.partition("## Every key")[2], re.MULTILINE)
    assert sorted(rows) == sorted(keys(schema.Protocol))


@pytest.mark.parametrize("name", sorted(loading.shipped_protocols()))
def test_shipped_protocols_can_be_run(name):
    """Every shipped protocol holds, is named after its file and asks only for names and parameters that there are."""
    protocol = loading.load_protocol(name)
    components = plan.resolve_components(protocol, ["all"])
    assert protocol.protocol == name
    assert f"`{name}.yaml`" in PAGE
    assert {component.name for component in components.metrics} == set(protocol.metrics)


def test_the_preview_asks_for_nothing_that_the_full_protocol_lacks():
    """What quick previews can be confirmed: best_practices_v1 has its metrics and controls, and more images."""
    quick, full = loading.load_protocol("quick"), loading.load_protocol("best_practices_v1")
    assert set(quick.metrics) <= set(full.metrics)
    assert set(quick.explainers.controls) <= set(full.explainers.controls)
    assert set(quick.gates.controls.against) <= set(full.gates.controls.against)
    assert quick.decide.model_copy(update={"imputers": ()}) == full.decide.model_copy(update={"imputers": ()})
    assert set(quick.decide.imputers) <= set(full.decide.imputers)
    assert quick.data.n_per_group.target < full.data.n_per_group.target
