"""Cost metrics divide the counts of a batch by its images."""

import pytest

from mavis.core.compute import Cost
from mavis.core.metric_types import CostMetric
from mavis.core.registry import metrics


@pytest.mark.parametrize(
    ("name", "expected"), [("forwards", 4.0), ("backwards", 2.0), ("seconds", 0.25), ("peak_memory", 7.5)]
)
def test_cost_is_read_per_image(name: str, expected: float) -> None:
    """12 forwards, 6 backwards and 0.75 s for three images: a third for each; memory is the batch's."""
    metric = metrics[name].create()
    assert isinstance(metric, CostMetric)
    assert metric.score(Cost(12, 6, 0.75), 7.5, 3) == pytest.approx(expected)


def test_unreported_memory_has_no_value() -> None:
    """None stays None where the system does not report peak memory."""
    assert metrics["peak_memory"].create().score(Cost(1, 1, 1.0), None, 1) is None
