"""Is the map a map at all?"""

from mavis.kinds import MapMetric, Metric
from mavis.registry import metric


@metric("valid", source="protocol S2 (G0)", category="hygiene", higher_is_better=True, range=(0, 1))
def valid() -> Metric:
    """1 where the map is finite and not constant, else 0."""
    return MapMetric(lambda maps, _: maps.valid.float())
