"""The records of a health report."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chaoskit.core.errors import wrong

__all__ = ["HealthFinding", "HealthReport", "HealthStatus"]


class HealthStatus(enum.StrEnum):
    """Degraded: the program continues, but a person has to act. Unhealthy: the program cannot continue."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"

    @classmethod
    def worst(cls, some: Iterable[HealthStatus]) -> HealthStatus:
        """The worst of these; healthy if there are none."""
        return max(some, key=list(cls).index, default=cls.HEALTHY)


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """The result of one check: its status, and a sentence for people.

    The status may be given by its value, such as "degraded". Raises UsageError for an unknown one.
    """

    name: str
    status: HealthStatus
    detail: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.status not in tuple(HealthStatus):
            raise wrong("status", self.status, f"one of {', '.join(HealthStatus)}")
        object.__setattr__(self, "status", HealthStatus(self.status))
        # A check may put any object here, but a report has to be JSON.
        object.__setattr__(self, "detail", str(self.detail))

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON types."""
        return {
            "name": self.name,
            "status": self.status.value,
            "detail": self.detail,
            "seconds": round(self.seconds, 3),
        }


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The findings at one time (``at``, seconds since the epoch), in the order of the checks."""

    findings: tuple[HealthFinding, ...]
    at: float

    @property
    def status(self) -> HealthStatus:
        """The worst status of all findings."""
        return HealthStatus.worst(one.status for one in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON types. ``version`` grows when a key changes its meaning or is removed."""
        return {
            "version": 1,
            "status": self.status.value,
            "at": self.at,
            "checks": [one.to_dict() for one in self.findings],
        }
