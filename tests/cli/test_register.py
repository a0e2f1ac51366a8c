"""mavis register: the lines that it writes into mavis.toml, and the names that it refuses."""

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mavis.cli.register import _parse_trait
from mavis.core import registry

from .commands import call, error_line

pytestmark = pytest.mark.usefixtures("restored_registry")

FACTORIES = """
def peak():
    pass

def brightness(power=1.0):
    pass
"""


@pytest.fixture(autouse=True)
def factories(working_folder: Path) -> Iterator[None]:
    """A file with two factories in the working folder."""
    (working_folder / "my_factories.py").write_text(FACTORIES, encoding="utf-8")
    yield
    sys.modules.pop("my_factories", None)


def test_two_plug_ins_stand_in_one_file() -> None:
    """The second is added after the first, values keep their type, and both are registered at once."""
    traits = ["--trait", "category=complexity", "--trait", "higher_is_better=true"]
    assert call("register", "metric", "my_peak", "--factory", "my_factories:peak", *traits).exit_code == 0
    needs = ["--trait", "needs=forward,gradient"]
    result = call("register", "explainer", "my_map", "--factory", "my_factories:brightness", *needs)
    assert "mavis list explainers shows it" in result.stdout.replace("\n", " ")
    assert tomllib.loads(Path("mavis.toml").read_text(encoding="utf-8")) == {
        "metric": {"my_peak": {"factory": "my_factories:peak", "category": "complexity", "higher_is_better": True}},
        "explainer": {"my_map": {"factory": "my_factories:brightness", "needs": ["forward", "gradient"]}},
    }
    assert registry.metrics["my_peak"].traits.category == "complexity"
    assert registry.explainers["my_map"].traits.needs == {"forward", "gradient"}


def test_a_registered_plug_in_is_listed() -> None:
    """With its origin, which is shown as soon as there is another one than mavis."""
    call("register", "explainer", "my_map", "--factory", "my_factories:brightness", "--trait", "needs=forward")
    row = next(row for row in json.loads(call("list", "explainers", "--json").stdout) if row["name"] == "my_map")
    assert (row["from"], row["parameters"]) == ("mavis.toml", {"power": 1.0})
    assert "mavis.toml" in call("list", "explainers", width=160).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["metric", "nsrg", "--factory", "my_factories:peak"], "The metric name 'nsrg' is taken"),
        (["metrik", "mine", "--factory", "my_factories:peak"], "did you mean 'metric'?"),
        (["metric", "mine", "--factory", "my_factories"], "written 'package.module:function'"),
        (["metric", "mine", "--factory", "my_factories:none"], "The module 'my_factories' has no 'none'"),
        (["metric", "mine", "--factory", "my_factories:peak", "--trait", "category"], "--trait must be NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken names, unknown kinds, factories that are not there, and traits without a value."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert message in error_line("register", *arguments)
    assert not Path("mavis.toml").exists()


@pytest.mark.parametrize(
    ("text", "trait"),
    [
        ("higher_is_better=true", ("higher_is_better", True)),
        ("range=[0, 1]", ("range", [0, 1])),
        ("category=complexity", ("category", "complexity")),
        ("needs=forward", ("needs", ["forward"])),
        ("source=a=b", ("source", "a=b")),
    ],
)
def test_a_trait_is_json_or_text(text: str, trait: tuple[str, object]) -> None:
    """JSON values keep their type, needs is a list, anything else is text up to the end."""
    assert _parse_trait(text) == trait
