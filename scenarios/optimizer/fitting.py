"""The work itself: a fit by steps, which saves where it is and goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from chaoskit.runtime import MemoryPressure, Snapshots, Ticket, ValidationError

START = {"step": 0, "centre": 0.0}


@dataclass(frozen=True, slots=True)
class Job:
    """What a file in the drop folder asks for: the point that is nearest to all ``points``."""

    name: str
    points: tuple[float, ...]
    steps: int
    rate: float = 0.5

    @classmethod
    def parse(cls, name: str, text: bytes) -> Job:
        """The job that a file asks for.

        Raises:
            ValidationError: it is not a job.
        """
        try:
            told = json.loads(text)
            job = cls(name, tuple(float(one) for one in told["points"]), int(told["steps"]))
        except (ValueError, TypeError, KeyError) as error:
            raise ValidationError(f"{name} is not a job: {error!r}") from error
        if not job.points or job.steps < 1:
            raise ValidationError(
                f"{name} is not a job: it has {len(job.points)} points and {job.steps} steps"
            )
        return job


class Fit:
    """One job, brought to its end by as many processes as it takes."""

    def __init__(
        self, job: Job, snapshots: Snapshots, *, batch: int, every: int, saved: Callable[[int], object]
    ) -> None:
        self._job, self._snapshots, self._every, self._saved = job, snapshots, every, saved
        # A damaged snapshot is passed over: the steps since the one before it are computed again.
        self.state: dict[str, Any] = snapshots.load("latest-intact", default=START)
        self._pressure = MemoryPressure(
            batch=batch, emergency=lambda: snapshots.emergency(self.state, description="memory ran short")
        )

    def run(self, ticket: Ticket) -> float | None:
        """Step until the end; None if the ticket was cancelled, and then what was reached is saved."""
        while self.state["step"] < self._job.steps:
            ticket.beat()
            if ticket.cancelled.is_set():
                self._save("told to stop")
                return None
            batches = self._pressure.run(partial(_slopes, self.state["centre"]), self._job.points)
            # Over the points in their order, not over the batches: how much memory there was must not show.
            step = self._job.rate * sum(chain.from_iterable(batches)) / len(self._job.points)
            self.state = {"step": self.state["step"] + 1, "centre": self.state["centre"] - step}
            if self.state["step"] % self._every == 0:
                self._save("on the way")
        return float(self.state["centre"])

    def _save(self, description: str) -> None:
        kept = self._snapshots.save(self.state, stage="fit", description=description)
        self._saved(kept.number)


def _slopes(centre: float, points: list[float]) -> list[float]:
    return [centre - point for point in points]
