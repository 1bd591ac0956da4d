"""Publishes the state that only the job knows, its breakers and error rates, to readers of the store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.durable.store.protocol import Kind, Storage, checked
from chaoskit.runtime.observing.metrics import ErrorMetrics
from chaoskit.runtime.running.repeating import Repeating

__all__ = ["PublishedState", "StatePublisher", "published"]

STATE = Kind("published state")
KEEP = 86400.0
"""Seconds after which the state of a process that no longer publishes is removed."""


@dataclass(frozen=True, slots=True)
class PublishedState:
    """What a process published. ``at`` is in seconds since the epoch; ``breakers`` are names and states."""

    process: str
    at: float
    breakers: tuple[tuple[str, str], ...] = ()
    rates: tuple[tuple[str, int, int], ...] = ()
    """Operation, calls and failures within the window of the metrics."""


class StatePublisher(Repeating):
    """Writes the states of breakers and the rates of ``metrics`` into the store every ``every`` seconds.

    It runs on a thread. Trouble with the store is logged and does not reach the job. Raises UsageError for an
    interval that is not above zero.
    """

    def __init__(
        self,
        store: Storage,
        name: str,
        *,
        breakers: Iterable[CircuitBreaker] = (),
        metrics: ErrorMetrics | None = None,
        every: float = 10.0,
    ) -> None:
        super().__init__(f"publisher of {name!r}", every)
        self._store, self._name = checked(store), kinds.text("name", name)
        self._breakers = kinds.listed("breakers", breakers, CircuitBreaker)
        self._metrics = kinds.instance("metrics", metrics, ErrorMetrics, optional=True)

    def publish(self) -> None:
        """Write the state now.

        Raises:
            ResilienceError: an error of the store.
        """
        rates: dict[str, tuple[int, int]] = {}
        if self._metrics is not None:
            for name, types in self._metrics.snapshot()["operations"].items():
                whole = types.get("*", {})
                rates[name] = (whole.get("window_calls", 0), whole.get("window_failures", 0))
        value: dict[str, Any] = {
            "breakers": [[one.name, str(one.state)] for one in self._breakers],
            "rates": [[name, *numbers] for name, numbers in sorted(rates.items())],
        }
        self._store.put(STATE, f"{self._name} {os.getpid()}", value, status="here")

    def _once(self) -> None:
        """Publish, and remove the states of processes that ended long ago: each process has a new key."""
        self.publish()
        self._store.write(lambda tx: tx.purge(STATE, updated_before=tx.now - KEEP))


def published(store: Storage) -> Iterator[PublishedState]:
    """The states that processes published in the last day, by name. Some of these may have ended."""
    for record in store.find(STATE).records:
        breakers = tuple((name, state) for name, state in record.value["breakers"])
        rates = tuple((name, calls, failures) for name, calls, failures in record.value["rates"])
        yield PublishedState(record.key, record.updated, breakers, rates)
