"""Ready-made checks for :class:`chaoskit.runtime.Health`.

Each function here makes a check. A check returns a :class:`HealthFinding`, whose name is filled in later, or
None for healthy. An exception means unhealthy.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.breaker import CircuitBreaker
from chaoskit.runtime.breaker.machine import BreakerState
from chaoskit.runtime.calling.callables import synchronous
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.durable.checkpoints.inspecting import walk
from chaoskit.runtime.durable.checkpoints.records import PREFIX, kind_of
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.outbox import OUTBOX
from chaoskit.runtime.durable.store.protocol import RUNNING, Statistics, Storage, checked
from chaoskit.runtime.guarding.health.records import HealthFinding, HealthStatus
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.numbers import is_number

__all__ = [
    "HealthCheck",
    "breakers_closed",
    "database_answers",
    "disk_left",
    "memory_left",
    "queue_age",
    "store_checks",
    "store_healthy",
    "tools_present",
]

HealthCheck = Callable[[], HealthFinding | None]

_PAGE = 1000


class Measured(Storage, Protocol):
    """A store that can report its statistics."""

    def statistics(self) -> Statistics: ...


def database_answers(connect: Callable[[], Any], query: str = "SELECT 1") -> HealthCheck:
    """Healthy if a new DB-API connection answers ``query``. The connection is closed again.

    An open connection would prove less: it may still work when the next start cannot get a new one.
    """

    synchronous("connect", connect, optional=False)

    def check() -> HealthFinding | None:
        connection = connect()
        try:
            cursor = connection.cursor()
            cursor.execute(query)
            cursor.fetchall()
        finally:
            connection.close()
        return None

    return check


def disk_left(path: str | os.PathLike[str], *, least: int, warn: int = 0) -> HealthCheck:
    """Unhealthy with fewer than ``least`` bytes free at ``path``, degraded with fewer than ``warn``.

    Raises:
        UsageError: ``least`` or ``warn`` is not a number of bytes.
    """
    _check_bytes(least, warn)
    kinds.instance("path", path, str, os.PathLike)
    return lambda: _left(readings.disk(path), least, warn)


def memory_left(*, least: int, warn: int = 0) -> HealthCheck:
    """The same as :func:`disk_left` for the memory that this process may still allocate."""
    _check_bytes(least, warn)
    return lambda: _left(readings.memory(), least, warn)


def tools_present(*names: str) -> HealthCheck:
    """Unhealthy if a program is not on the path, or may not be executed.

    Raises:
        UsageError: there are no names, or one of them is not a string.
    """
    if not names or not all(isinstance(name, str) for name in names):
        raise wrong("the tools", names, "the names of programs, one after the other")

    def check() -> HealthFinding | None:
        gone = [name for name in names if shutil.which(name) is None]
        if gone:
            return HealthFinding("", HealthStatus.UNHEALTHY, f"not on the path: {', '.join(gone)}")
        return None

    return check


def queue_age(
    oldest: Callable[[], float | None], *, warn: float, most: float, clock: Clock | None = None
) -> HealthCheck:
    """Degraded if the oldest entry has waited ``warn`` seconds, unhealthy from ``most`` seconds on.

    ``oldest`` returns the time of its arrival in seconds since the epoch, or None for an empty queue. For
    checkpoints: ``lambda: steps.statistics().oldest_pending``.

    Raises:
        UsageError: ``warn`` is more than ``most``, or negative.
    """
    if not (is_number(warn) and is_number(most) and 0 <= warn <= most):
        raise wrong("warn, most", (warn, most), "seconds, with warn not above most")
    synchronous("oldest", oldest, optional=False)
    time = (kinds.clock(clock, optional=True) or SystemClock()).time

    def check() -> HealthFinding | None:
        since = oldest()
        if since is None or (age := time() - since) < warn:
            return None
        status = HealthStatus.DEGRADED if age < most else HealthStatus.UNHEALTHY
        return HealthFinding("", status, f"the oldest entry has waited {age:.0f} s")

    return check


def breakers_closed(breakers: Iterable[CircuitBreaker]) -> HealthCheck:
    """Degraded while a breaker is not closed: the program continues without the service behind it.

    Raises:
        UsageError: ``breakers`` are not CircuitBreakers.
    """
    kept = tuple(breakers) if isinstance(breakers, Iterable) else (breakers,)
    if not isinstance(breakers, Iterable) or not all(isinstance(one, CircuitBreaker) for one in kept):
        raise wrong("breakers", breakers, "CircuitBreakers in a list")

    def check() -> HealthFinding | None:
        fine = (BreakerState.CLOSED, BreakerState.DISABLED)
        tripped = [f"{one.name} is {one.state}" for one in kept if one.state not in fine]
        return HealthFinding("", HealthStatus.DEGRADED, ", ".join(tripped)) if tripped else None

    return check


def store_healthy(store: Measured) -> HealthCheck:
    """The health of a store and its content: the worst result of :func:`store_checks`.

    Raises:
        UsageError: ``store`` is not an open store.
    """
    checked(store)

    def check() -> HealthFinding | None:
        found = [replace(one, name=name) for name, ask in store_checks(store).items() if (one := ask())]
        bad = [one for one in found if one.status != HealthStatus.HEALTHY]
        status = HealthStatus.worst(one.status for one in bad)
        return HealthFinding("", status, "; ".join(f"{one.name}: {one.detail}" for one in bad))

    return check


def store_checks(store: Measured) -> Mapping[str, HealthCheck]:
    """Checks by name: the store itself, its dead letters, its outbox, and claims of dead workers."""
    return {
        "store": lambda: _readable(store),
        "dead letters": lambda: _letters(store),
        "outbox": lambda: _outbox(store),
        "claims": lambda: _claims(store),
    }


def _readable(store: Measured) -> HealthFinding:
    # A warning about SQLite's version is for ``chaoskit doctor``: an operator cannot change it at night.
    warnings = [line for line in store.statistics().warnings if "SQLite" not in line]
    return _degraded_if(bool(warnings), " ".join(warnings) or "it can be read")


def _letters(store: Measured) -> HealthFinding:
    numbers = DeadLetters(store).statistics()
    # Only degraded: the pipeline continues, and a person can deal with the letters in the morning.
    return _degraded_if(
        bool(numbers.unresolved or numbers.damaged),
        f"{numbers.unresolved} unresolved, {numbers.poison} poison{_unread(numbers.damaged)}",
    )


def _outbox(store: Measured) -> HealthFinding:
    live = store.find(OUTBOX, live=True, limit=_PAGE)
    waiting = [one for one in live.records if one.value.get("error")]
    return _degraded_if(
        bool(waiting or live.damaged),
        f"{len(waiting)} messages that could not be sent yet{_unread(len(live.damaged))}",
    )


def _claims(store: Measured) -> HealthFinding:
    kinds = sorted({kind for kind, _ in store.statistics().records if kind.startswith(PREFIX)})
    named = [kind_of(kind.removeprefix(PREFIX)) for kind in kinds]
    running = [one for kind in named for one in walk(store, kind, status=RUNNING)]
    # The next claim takes these over, so no action is needed; but if there are many, something crashed.
    gone = sum(1 for one in running if one.owner and store.owner_alive(one.owner) is False)
    return _degraded_if(bool(gone), f"{len(running)} running, {gone} whose worker is gone")


def _check_bytes(*given: object) -> None:
    for one in given:
        if not (is_number(one) and one >= 0):
            raise wrong("least, warn", given, "two numbers of bytes of at least 0", "2 << 30 is 2 GiB.")


def _unread(damaged: int) -> str:
    """The text to add for records that cannot be read: without it, a damaged store would look empty."""
    return f", {damaged} that cannot be read: chaoskit recovery verify" if damaged else ""


def _degraded_if(bad: bool, detail: str) -> HealthFinding:
    return HealthFinding("", HealthStatus.DEGRADED if bad else HealthStatus.HEALTHY, detail)


def _left(usage: readings.Usage | None, least: int, warn: int) -> HealthFinding | None:
    if usage is None:
        return HealthFinding("", HealthStatus.DEGRADED, "what is left cannot be read on this machine")
    if usage.free >= max(least, warn):
        return None
    status = HealthStatus.UNHEALTHY if usage.free < least else HealthStatus.DEGRADED
    return HealthFinding(
        "", status, f"{usage.free:,} bytes free ({usage.bound}); expected {max(least, warn):,}"
    )
