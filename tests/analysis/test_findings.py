"""The document: strict, frozen, without NaN, and described by its own schema."""

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from mavis.analysis import findings
from mavis.analysis.findings import Estimate, Findings, Gate


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_nan_gets_in(value: float) -> None:
    """A number that does not exist is null."""
    with pytest.raises(ValidationError):
        Estimate(mean=value, low=None, high=None, n=0)


def test_no_other_field_gets_in() -> None:
    """A misspelt field is an error and not silently dropped."""
    with pytest.raises(ValidationError):
        Estimate.model_validate({"mean": None, "low": None, "high": None, "n": 0, "median": 1.0})


def test_findings_do_not_change() -> None:
    """What was found stays as it was found."""
    one = Estimate(mean=0.5, low=0.4, high=0.6, n=10)
    with pytest.raises(ValidationError):
        one.mean = 0.9


def test_a_document_comes_back_from_its_json() -> None:
    """An open gate stays open: null is neither false nor missing."""
    gate = Gate(id="G3", code="open.no_values", passed=None, value=None, threshold=0.5, values={"metric": "mprt"})
    assert Gate.model_validate_json(gate.model_dump_json()) == gate
    assert '"passed":null' in gate.model_dump_json()


def test_the_schema_is_valid_and_closed() -> None:
    """The JSON Schema is one, and no part of the document takes unknown fields."""
    schema = Findings.model_json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    opened = {name for name, part in schema["$defs"].items() if part.get("additionalProperties") is not False}
    assert opened == {"JsonValue"}  # the values of notes, gates and refusals


def test_every_part_says_what_it_is() -> None:
    """Each class of the document has a sentence."""
    parts = [c for c in vars(findings).values() if isinstance(c, type) and issubclass(c, BaseModel)]
    assert [c.__name__ for c in parts if not c.__name__.startswith("_") and c is not BaseModel and not c.__doc__] == []
