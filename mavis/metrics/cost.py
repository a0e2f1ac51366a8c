"""Cost metrics: model samples, time and memory of a map as if it were computed alone."""

from mavis.core.metric_types import CostMetric, Metric
from mavis.core.registry import metric


@metric("forwards", source="counted", category="cost", higher_is_better=False, range=(0, None), unit="samples")
def forwards() -> Metric:
    """Model samples pushed forward per image; exact, the same on every machine."""
    return CostMetric(lambda cost, _, images: cost.forwards / images)


@metric("backwards", source="counted", category="cost", higher_is_better=False, range=(0, None), unit="samples")
def backwards() -> Metric:
    """Model samples pushed backward per image; exact, the same on every machine."""
    return CostMetric(lambda cost, _, images: cost.backwards / images)


@metric("seconds", source="measured", category="cost", higher_is_better=False, range=(0, None), unit="s")
def seconds() -> Metric:
    """Seconds per image; depends on the machine and on what else it does."""
    return CostMetric(lambda cost, _, images: cost.seconds / images)


@metric(
    "peak_memory",
    source="measured",
    category="cost",
    higher_is_better=False,
    range=(0, None),
    unit="MiB",
    undefined="this system does not report peak memory",
)
def peak_memory() -> Metric:
    """Rise of memory while one batch is explained: exact on CUDA, a lower bound on the CPU (see `core.devices`)."""
    return CostMetric(lambda _, peak, __: peak)
