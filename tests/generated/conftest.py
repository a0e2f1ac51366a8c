"""How many cases are generated: a few in the suite; all with ``MAVIS_GENERATED=full pytest tests/generated``."""

import os

from hypothesis import HealthCheck, settings

SUPPRESSED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)

settings.register_profile(
    "suite", max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=SUPPRESSED
)
settings.register_profile(
    "full", max_examples=2500, deadline=None, database=None, print_blob=True, suppress_health_check=SUPPRESSED
)
settings.load_profile(os.environ.get("MAVIS_GENERATED", "suite"))
