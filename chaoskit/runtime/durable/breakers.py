"""Breakers that meet in a store: what one process has found, the others need not find again.

The link does all the I/O in its own thread, and a store that fails or hangs leaves each process with what
it sees itself. What is kept is when an open period ends, by the clock of the store, so that no two clocks
are ever compared.
"""

from __future__ import annotations

from chaoskit.runtime.breaker.shared import SharedRecord
from chaoskit.runtime.durable.store.protocol import Kind, Record, Storage, Tx, checked

__all__ = ["StoredBreakers"]

BREAKER = Kind("breaker")


class StoredBreakers:
    """The state of breakers by name, in a store: give it to a :class:`BreakerLink`, one for each process.

    A process that closes a breaker must have seen its newest opening: what it knows is of an earlier era
    otherwise, and changes nothing; it takes over the opening instead. Open a store that is used across a
    fork with ``on_fork="reopen"``: else the breakers of the child go on by themselves.
    """

    def __init__(self, store: Storage) -> None:
        self._store = checked(store)
        self._seen: dict[str, int] = {}

    def publish(self, breaker: str, open_for: float | None, origin: str) -> int:
        """Replace the record of ``breaker`` (None: closed); the revision that this process has seen then.

        Raises:
            ResilienceError: the store could not do it; the link goes on without.
        """
        seen = self._seen.get(breaker, 0)

        def work(tx: Tx) -> int:
            found = tx.get(BREAKER, breaker)
            if found is not None and open_for is None and self._overtaken(found, seen, tx.now):
                # Not the revision that is there: so the link takes it for news, and adopts it.
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
            ResilienceError: the store could not be read; the link goes on without.
        """
        found = self._store.get(BREAKER, breaker)
        if found is None:
            return None
        self._seen[breaker] = found.version
        until = found.value["until"]
        left = None if until is None else max(until - self._store.now(), 0.0)
        return SharedRecord(left, found.version, found.value["origin"])

    def states(self) -> dict[str, float | None]:
        """For an operator: by name, the seconds that a breaker stays open from now; None if it is closed."""
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
        until = found.value["until"]
        return found.version > seen and until is not None and until > now
