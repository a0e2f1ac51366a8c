"""The protocol schema: names and hashes that are data, ranges, defaults, and values that cannot be changed."""

from typing import Any

import pytest
from pydantic import ValidationError

from mavis.protocol import schema
from mavis.protocol.loading import load_protocol, parse_protocol

from ..tables import PROTOCOL_BODY

FROZEN_SHA256 = "a062b56b192492dee1b85964f20e58cb1ecd9b9e0341d0e312d2c80014873b50"


def test_the_frozen_protocol_keeps_its_hash() -> None:
    """A renamed key, another default or another field would change what the name of a frozen protocol promises."""
    assert load_protocol("best_practices_v1").sha256() == FROZEN_SHA256


def test_unknown_keys_are_refused_and_values_cannot_be_changed() -> None:
    """A section is its fixed keys."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        schema.AgreementRules(top=0.1, bottom=0.1)
    rules = schema.AgreementRules()
    with pytest.raises(ValidationError, match="frozen"):
        rules.top = 0.2


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (schema.AgreementRules, {"top": 0}),
        (schema.AgreementRules, {"top": 1.01}),
        (schema.LeakRules, {"max_distance": 257}),
        (schema.LeakRules, {"max_rate": -0.1}),
        (schema.GroupSizes, {"target": 0, "min_report": 2, "min_claim": 2}),
        (schema.GroupSizes, {"target": 5, "min_report": 1, "min_claim": 2}),
        (schema.RelianceRules, {"draws": 0}),
        (schema.DisparityRules, {"equivalence": 0}),
        (schema.AggregateRules, {"bootstrap": 99, "permutations": 100}),
        (schema.AggregateRules, {"bootstrap": 100, "permutations": 100, "confidence": 0.5}),
        (schema.ClassGate, {"min_classes": 1}),
        (schema.ControlGate, {"metric": "nsrg", "against": [], "margin": 0}),
        (schema.TargetRules, {"policy": "loudest"}),
        (schema.VariantRules, {"per_group": 0}),
        (schema.GroupGate, {"margin": float("nan")}),
    ],
)
def test_values_have_ranges(section: type[schema.Section], values: dict[str, Any]) -> None:
    """Shares lie in [0,1], counts are positive, NaN is no number."""
    with pytest.raises(ValidationError):
        section(**values)


def test_the_ends_of_the_scale_are_fixed_by_default() -> None:
    """The documented zero and references, so that adding a method moves no other method's score."""
    reference = schema.ReferenceRules()
    assert (reference.zero, reference.truth, reference.otherwise) == ("random", "oracle", "cell_occlusion")


def test_optional_sections_are_off_unless_a_file_has_them() -> None:
    """No agreement, reliability, reliance, sensitivity, leakage or optional gate by default."""
    protocol = parse_protocol(PROTOCOL_BODY, "a.yaml")
    sections = (protocol.agreement, protocol.reliability, protocol.reliance, protocol.sensitivity, protocol.data.leak)
    gates = (protocol.gates.determinism, protocol.gates.completeness, protocol.gates.classes, protocol.gates.groups)
    assert {*sections, *gates} == {None}


def test_the_hash_is_of_the_rules_alone() -> None:
    """What the command line changed is recorded in overrides, which do not count."""
    protocol = parse_protocol(PROTOCOL_BODY, "a.yaml")
    noted = protocol.model_copy(update={"overrides": ("seed = 7",)})
    assert noted.sha256() == protocol.sha256()
    assert protocol.model_copy(update={"seed": 8}).sha256() != protocol.sha256()
