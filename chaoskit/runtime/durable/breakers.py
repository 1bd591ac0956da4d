"""Breakers that share their state through a store: a service that one process finds down, all leave alone.

A breaker's link does all the I/O in its own thread. While the store fails or hangs, each process relies on
what it sees itself. The record holds the time at which an open period ends, by the clock of the store, so
that no two machines' clocks are ever compared.
"""

from __future__ import annotations

from chaoskit.runtime.breaker.shared import SharedRecord
from chaoskit.runtime.durable.store.protocol import Kind, Record, Storage, Tx, checked

__all__ = ["StoredBreakers"]

BREAKER = Kind("breaker")


class StoredBreakers:
    """The state of breakers by name, in a store. Give it to a :class:`BreakerLink`, one in each process.

    A process can close a breaker only if it has seen the newest opening. One that has not is out of date: its
    closing changes nothing, and it adopts the opening. Open a store that is used across a fork with
    ``on_fork="reopen"``; otherwise the breakers of the child go on without the store.
    """

    def __init__(self, store: Storage) -> None:
        self._store = checked(store)
        self._seen: dict[str, int] = {}

    def publish(self, breaker: str, open_for: float | None, origin: str) -> int:
        """Record that ``breaker`` is open for ``open_for`` seconds from now, or closed (None).

        ``origin`` names the process that found it. Returns the new revision of the record, or an old one if
        the closing was out of date and changed nothing.

        Raises:
            ResilienceError: the store could not do it; the link goes on without it.
        """
        seen = self._seen.get(breaker, 0)

        def work(tx: Tx) -> int:
            found = tx.get(BREAKER, breaker)
            if found is not None and open_for is None and self._overtaken(found, seen, tx.now):
                # An old revision on purpose: the link then takes the record for news, and adopts its state.
                return seen
            value = {"until": None if open_for is None else tx.now + open_for, "origin": origin}
            tx.put(BREAKER, breaker, value, status="closed" if open_for is None else "open")
            return 1 if found is None else found.version + 1

        revision = self._store.write(work)
        self._seen[breaker] = revision
        return revision

    def read(self, breaker: str) -> SharedRecord | None:
        """The record of ``breaker``, or None if none was ever published.

        Raises:
            ResilienceError: the store could not be read; the link goes on without it.
        """
        found = self._store.get(BREAKER, breaker)
        if found is None:
            return None
        self._seen[breaker] = found.version
        until = found.value["until"]
        left = None if until is None else max(until - self._store.now(), 0.0)
        return SharedRecord(left, found.version, found.value["origin"])

    def states(self) -> dict[str, float | None]:
        """By name, the seconds for which a breaker stays open from now, or None if it is closed.

        For operators: no breaker acts on it.
        """
        now = self._store.now()
        found: dict[str, float | None] = {}
        after = None
        while True:
            page = self._store.find(BREAKER, after=after)
            for one in page.records:
                until = one.value["until"]
                found[one.key] = None if until is None else max(until - now, 0.0)
            after = page.next
            if after is None:
                return found

    def _overtaken(self, found: Record, seen: int, now: float) -> bool:
        """Return True if another process has opened the breaker since, for a period that is not over."""
        until = found.value["until"]
        return found.version > seen and until is not None and until > now
