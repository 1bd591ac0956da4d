"""Marks a scenario whose program violates it, with the schedule that shows it."""

from __future__ import annotations

import pytest

from chaoskit import ScenarioViolated


def known_finding(schedule: str, reason: str) -> pytest.MarkDecorator:
    """The scenario must fail, and ``schedule`` must be what brings it out: conftest.py holds it to that.

    ``pytest NODE --runxfail --chaoskit-replay SCHEDULE`` shows it.
    """
    return pytest.mark.xfail(raises=ScenarioViolated, strict=True, reason=f"{reason}: {schedule}")


def schedule_of(reason: str) -> str:
    """The schedule that a reason ends with."""
    return reason.rpartition(": ")[2]
