"""What scores belong to: which differences forbid a comparison, and which are named."""

from dataclasses import replace
from typing import Any

import pytest

from mavis.analysis.score_origin import ScoreOrigin, check_same_rules, origin_of_run
from mavis.core.errors import StoreError

from ..score_origins import ORIGIN

COMPARED = {"metrics": {"nsrg", "gini"}, "explainers": {"rise", "saliency"}}


def test_an_origin_comes_back() -> None:
    """JSON and back; equal origins have equal texts; anything else is refused."""
    assert ScoreOrigin.from_json(ORIGIN.to_json()) == ORIGIN
    for text in ("", "[]", '{"mavis": "1"}'):
        with pytest.raises(StoreError, match="does not say what its scores belong to"):
            ScoreOrigin.from_json(text)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rules": {**ORIGIN.rules, "seed": 1}}, "seed is 0 in the baseline, 1 here"),
        ({"rules": {**ORIGIN.rules, "grid": 8}}, "grid is 16 in the baseline, 8 here"),
        ({"metrics": {**ORIGIN.metrics, "nsrg": {"points": 3, "imputers": ["mean"]}}}, "nsrg.points is 11"),
        ({"metrics": {**ORIGIN.metrics, "gini": {"top": 1}}}, "gini.top is null in the baseline, 1 here"),
        ({"explainers": {**ORIGIN.explainers, "rise": {"masks": 64}}}, "rise.masks is 32 in the baseline, 64 here"),
        ({"data": {**ORIGIN.data, "target": "race"}}, 'data.target is "gender" in the baseline, "race" here'),
        ({"data": {**ORIGIN.data, "name": "synthetic_faces"}}, 'data.name is "fairface" in the baseline'),
    ],
)
def test_other_settings_are_refused_by_name(change: dict[str, Any], named: str) -> None:
    """What defines the compared numbers differs."""
    with pytest.raises(StoreError, match="cannot be compared") as caught:
        check_same_rules(ORIGIN, replace(ORIGIN, **change), compared=COMPARED)
    assert named in str(caught.value)


def test_many_differences_are_counted() -> None:
    """Three are named."""
    other = replace(ORIGIN, rules={"seed": 1, "grid": 8, "target": {"policy": "label"}, "further": 1, "last": 2})
    with pytest.raises(StoreError, match="and 2 more") as caught:
        check_same_rules(ORIGIN, other, compared=COMPARED)
    assert str(caught.value).count(" in the baseline, ") == 3


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {**ORIGIN.metrics, "mprt": {"order": "top"}}},
        {"explainers": {"rise": {"masks": 32}}},
        {"data": {**ORIGIN.data, "name": "fairface:/elsewhere:val"}},
        {"models": {"net": "v" * 32, "another": "u" * 32}},
    ],
)
def test_what_is_not_compared_may_differ(change: dict[str, Any]) -> None:
    """Other metrics and explainers beside, another folder, other weights."""
    now = replace(ORIGIN, **change)
    shared = COMPARED | {"explainers": {"rise"}, "metrics": {"nsrg", "gini"}}
    check_same_rules(ORIGIN, now, compared=shared)


def test_defaults_of_parameters_are_filled_in() -> None:
    """A parameter that is written out with its default is the same setting as one that is left out."""
    identity = {
        "mavis": "1",
        "seed": 0,
        "protocol_sha256": "a",
        "models": {},
        "data": {"name": "a", "target": "b", "revision": "c"},
        "explainers": {"rise": {}, "unknown": {"a": 1}},
        "protocol": {"protocol": "quick", "grid": 16, "target": {}, "metrics": {"nsrg": {}, "nsrg@other": {}}},
    }
    origin = origin_of_run(identity)
    assert origin.explainers["unknown"] == {"a": 1}
    assert "masks" in origin.explainers["rise"]
    assert origin.metrics["nsrg"] == origin.metrics["nsrg@other"] != {}
