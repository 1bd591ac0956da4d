"""Breaker state shared between processes: the store's protocol, and the link that keeps I/O out of calls.

No call ever waits for the store. Edges are noted in memory; a background thread of the link publishes them
and reads what other processes have published. A store that fails or hangs delays only that thread: the
breakers go on with their own observations.

Only "open, for so long" and "closed" are shared. Each process lets its own probes through and publishes their
result. Wall clocks are not compared between machines: the store tells how long an open period still lasts, by
its own clock.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from dataclasses import dataclass
from typing import Protocol

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker.machine import BreakerReason, BreakerState, Edge
from chaoskit.runtime.forks import survive_fork
from chaoskit.runtime.numbers import is_number

logger = logging.getLogger("chaoskit")


@dataclass(frozen=True, slots=True)
class SharedRecord:
    """The store's record for one breaker name.

    ``open_for`` is how many seconds it stays open from now, by the store's clock: 0.0 if the period is over,
    None if it is closed. ``revision`` grows with every publication under this name. ``origin`` is the
    publisher.
    """

    open_for: float | None
    revision: int
    origin: str


class BreakerStore(Protocol):
    """Where breakers with one name meet. Only the link's thread calls it; any error is tolerated."""

    def publish(self, breaker: str, open_for: float | None, origin: str) -> int:
        """Replace the record of ``breaker`` (None: closed); return its new revision. The last writer wins."""

    def read(self, breaker: str) -> SharedRecord | None:
        """The record of ``breaker``, or None if none was ever published."""


class Joined(Protocol):
    """What the link needs from a breaker that has joined it."""

    name: str

    def remaining(self, edge: Edge) -> float | None:
        """Seconds that are left of ``edge``'s open period, or None if it opened nothing."""

    def adopt(self, open_for: float | None) -> None:
        """Adopt what another process found: open for ``open_for`` more seconds, or closed (None)."""

    def store_failed(self, action: str, error: Exception) -> None:
        """Note that the store raised ``error`` on ``action``."""


class BreakerLink:
    """Joins breakers to a store. Give one link to all breakers of a process.

    The thread looks for other processes' edges every ``every`` seconds, so news travels within ``every`` plus
    the store's own time. The thread is a daemon, starts with the first call through a joined breaker, and
    starts again in a forked child. Names must be unique within a link. Raises ``UsageError`` for an interval
    that is not positive.
    """

    def __init__(self, store: BreakerStore, *, every: float = 1.0) -> None:
        if not (is_number(every) and 0 < every <= threading.TIMEOUT_MAX):
            raise wrong("every", every, "seconds, more than zero")
        self._store = kinds.able("store", store, "a BreakerStore, such as StoredBreakers", "publish", "read")
        self._every = every
        self._lock = threading.RLock()
        # Weak: sharing a breaker must not keep it alive.
        self._breakers: weakref.WeakValueDictionary[str, Joined] = weakref.WeakValueDictionary()
        self._pending: dict[str, Edge] = {}
        self._seen: dict[str, int] = {}
        self._begin()
        survive_fork(self)

    def _begin(self) -> None:
        # A forked child gets its own origin, by which a publisher recognises its own records.
        self._origin = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def _after_fork(self) -> None:
        # These edges are the parent's to publish; the child publishes the ones that it takes from here on.
        self._pending.clear()
        closed = self._closed
        self._begin()
        self._closed = closed

    # -- called by breakers ----------------------------------------------------------------------

    def join(self, breaker: Joined) -> None:
        """Share the state of ``breaker`` under its name. Raises ``UsageError`` if another one has it."""
        with self._lock:
            if self._breakers.setdefault(breaker.name, breaker) is not breaker:
                raise wrong("name", breaker.name, "a name that no other breaker of this link has")

    def start(self) -> None:
        """Start the thread unless it runs; if it does, the call costs one attribute."""
        if self._thread is not None or self._closed:
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="chaoskit-breaker-link", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    # No thread is available, or the interpreter is ending: the next edge tries again.
                    logger.warning("breakers go on without their shared store: %s", error)
                else:
                    self._thread = thread

    def notice(self, breaker: Joined, edge: Edge) -> None:
        """Remember the newest edge of ``breaker`` for publication; no I/O."""
        if edge.reason is not BreakerReason.SHARED and edge.after in (BreakerState.OPEN, BreakerState.CLOSED):
            with self._lock:
                # Only the newest: states in between are useless to other processes.
                self._pending[breaker.name] = edge
            self.start()
            self._wake.set()

    # -- the thread ------------------------------------------------------------------------------

    def close(self, timeout: float = 5.0) -> None:
        """Publish pending edges, if the store answers within ``timeout`` seconds, and end the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def sync(self) -> None:
        """Publish pending edges, then read for every breaker. Never raises an error of the store."""
        for name, breaker in list(self._breakers.items()):
            self._publish(name, breaker)
            self._read(name, breaker)

    def _run(self) -> None:
        wake = self._wake
        while True:
            # Read before the round, which then publishes everything that was noted before close().
            closed = self._closed
            self.sync()
            if closed:
                return
            wake.wait(self._every)
            wake.clear()

    def _publish(self, name: str, breaker: Joined) -> None:
        with self._lock:
            edge = self._pending.pop(name, None)
        if edge is None:
            return
        try:
            self._seen[name] = self._store.publish(name, breaker.remaining(edge), self._origin)
        except Exception as error:
            with self._lock:
                # A newer edge replaces this one.
                self._pending.setdefault(name, edge)
            self._failed(breaker, "publish", error)

    def _read(self, name: str, breaker: Joined) -> None:
        try:
            record = self._store.read(name)
            # Ignored while an edge of our own is still to be published: the store's record is older than
            # that.
            if record is None or name in self._pending or record.revision == self._seen.get(name):
                return
            self._seen[name] = record.revision
            if record.origin != self._origin:
                breaker.adopt(record.open_for)
        except Exception as error:
            # A malformed record counts as a failure of the store too.
            self._failed(breaker, "read", error)

    def _failed(self, breaker: Joined, action: str, error: Exception) -> None:
        logger.warning("breaker %s: shared store failed to %s: %r", breaker.name, action, error)
        breaker.store_failed(action, error)
