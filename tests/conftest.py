"""How much Hypothesis tries: a little and always the same by default, much with --hypothesis-profile=slow."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=40, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "slow", max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile(os.environ.get("CHAOSKIT_PROFILE", "default"))
