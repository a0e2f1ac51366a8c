"""Criteria per category: complete, and a test that does not apply says why."""

import pytest

from mavis.core.registry import metric_name, metrics
from mavis.workflows.meta_evaluation.applicability import REQUIREMENTS, is_applicable
from mavis.workflows.meta_evaluation.results import DEMOTING_TESTS

from .helpers import PROTOCOL


def test_every_category_has_every_demoting_test() -> None:
    """Each demoting test has a criterion or a reason, for all categories that decide."""
    assert {metrics[metric_name(m)].traits.category for m in PROTOCOL.decide.metrics} <= set(REQUIREMENTS)
    for tests in REQUIREMENTS.values():
        assert set(tests) == set(DEMOTING_TESTS)


@pytest.mark.parametrize(
    ("category", "test", "applies"),
    [
        ("faithfulness", "M4", True),
        ("robustness", "M4", False),
        ("complexity", "M4", False),
        ("localisation", "M7", False),
    ],
)
def test_shuffled_maps_are_no_test_of_stability(category: str, test: str, *, applies: bool) -> None:
    """A shuffled map may be steady and sparse; metrics without parameters have no settings to vary."""
    assert is_applicable(category, test) == applies
