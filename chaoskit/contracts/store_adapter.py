"""The adapter through which the S rows drive a durable store of any library, and ours for our own."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from chaoskit.runtime.durable.checkpoints.checkpoints import Checkpoints
from chaoskit.runtime.durable.checkpoints.claims import Claim
from chaoskit.runtime.durable.dead_letters.letters import DeadLetters
from chaoskit.runtime.durable.outbox import Outbox
from chaoskit.runtime.durable.store.protocol import Kind, Tx
from chaoskit.runtime.durable.store.store import Store

__all__ = ["FEATURES", "ChaoskitStore", "StoreAdapter", "StoreSubject"]

FEATURES = frozenset(
    {
        "atomic",  # several records can be written together
        "busy",  # the adapter can hold the store so that writes fail for a while
        "claims",  # one of several workers gets a record
        "damage",  # the adapter can change what is stored, behind the store
        *(["fork"] if hasattr(os, "fork") else []),  # the platform can fork; kills are made in children
        "letters",  # what failed for good is kept, and can be put back
        "steps",  # the result of a step is recorded, and its attempts
    }
)
"""What a store may offer beyond saving and loading. A row that needs more does not apply."""


class StoreSubject(Protocol):
    """One open store. Values are JSON values."""

    def save(self, key: str, value: Any) -> None:
        """Write the value. The row takes any exception for a refusal."""

    def load(self, key: str) -> Any:
        """The value. Raises KeyError if there is none."""

    def together(self, values: Mapping[str, Any], fail: Callable[[], None]) -> None:
        """Write all values, call ``fail`` before they are committed, and pass on its error (``atomic``)."""

    def claim(self, key: str) -> object | None:
        """Create the record if it is new, and claim it; None if another worker has it (``claims``)."""

    def step(self, key: str, fn: Callable[[], Any]) -> Any:
        """The result of a step: as recorded earlier, or of ``fn``, which is then recorded (``steps``)."""

    def attempts(self, key: str) -> int | None:
        """How often the step was started; None if the library does not count that."""

    def bury(self, run: str, error: Exception, payload: Any, attempts: int, correlation: str) -> str:
        """Keep a run that failed for good; return the name of its letter (``letters``)."""

    def letter(self, id: str) -> Mapping[str, Any]:
        """The letter: ``payload``, ``errors`` (messages, the first one's cause after it), ``attempts``,
        ``correlation``."""

    def redrive(self, id: str) -> bool:
        """Put the run back. A refusal is False, or an exception."""

    def delivered(self) -> list[str]:
        """Take the runs that were put back and are due. One that is handed out twice is listed twice."""


class StoreAdapter(Protocol):
    """One implementation under test."""

    name: str
    features: frozenset[str]

    def place(self) -> AbstractContextManager[str]:
        """A place for a store, without a store. It is removed at the end."""

    def open(self, place: str) -> AbstractContextManager[StoreSubject]:
        """The store at ``place``, created if necessary."""

    def busy(self, place: str) -> AbstractContextManager[None]:
        """While the block runs, every write fails within a few seconds (feature ``busy``)."""

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        """Change the stored value of ``key`` while the store is closed (feature ``damage``).

        Only a part of it is changed, or with ``stored`` all of it.
        """


class ChaoskitStore:
    """The adapter for :class:`chaoskit.runtime.Store` in a file. Subclass it for another place."""

    name = "chaoskit"
    features = FEATURES

    @contextmanager
    def place(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="contract-") as directory:
            yield os.path.join(directory, "store.db")

    @contextmanager
    def open(self, place: str) -> Iterator[StoreSubject]:
        with Store.open(place, durability="process-crash", lock_timeout=0.5, reserve=0) as store:
            yield ChaoskitSubject(store)

    @contextmanager
    def busy(self, place: str) -> Iterator[None]:
        # As another program would: without the store's own lock, holding only what SQLite itself checks.
        other = sqlite3.connect(place, isolation_level=None)
        try:
            other.execute("begin immediate")
            yield
            other.execute("rollback")
        finally:
            other.close()

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        other = sqlite3.connect(place)
        try:
            with other:
                if stored is None:
                    other.execute(
                        "update record set payload = replace(payload, 'good', 'evil') where key = ?", (key,)
                    )
                else:
                    other.execute(
                        "update record set payload = ? where key = ?", (stored.decode("latin-1"), key)
                    )
        finally:
            other.close()


RECORD = Kind("contract")


class ChaoskitSubject:
    """Our store, with the parts that are built on it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.letters = DeadLetters(store, max_redrives=2)
        self.outbox = Outbox(store)
        self._held: list[Claim] = []

    def save(self, key: str, value: Any) -> None:
        self.store.put(RECORD, key, value, status="saved")

    def load(self, key: str) -> Any:
        found = self.store.get(RECORD, key)
        if found is None:
            raise KeyError(key)
        return found.value

    def together(self, values: Mapping[str, Any], fail: Callable[[], None]) -> None:
        def work(tx: Tx) -> None:
            for key, value in values.items():
                tx.put(RECORD, key, value, status="saved")
            fail()

        self.store.write(work)

    def claim(self, key: str) -> object | None:
        def work(tx: Tx) -> object | None:
            tx.add(RECORD, key, None, status="pending", due=tx.now)
            return next(iter(tx.claim(RECORD, scope="", key=key, lease=60.0)), None)

        return self.store.write(work)

    def step(self, key: str, fn: Callable[[], Any]) -> Any:
        with Checkpoints(self.store, pipeline="contract") as steps:
            if steps.is_completed(key):
                return steps.load(key)
            claim = steps.claim(key)
            if claim is None:
                raise RuntimeError(f"{key} is held by another worker; expected it to be free")
            with claim:
                result = fn()
                claim.complete(result)
            return result

    def attempts(self, key: str) -> int | None:
        with Checkpoints(self.store, pipeline="contract") as steps:
            found = steps.record(key)
        return None if found is None else found.attempts

    def bury(self, run: str, error: Exception, payload: Any, attempts: int, correlation: str) -> str:
        return self.letters.add(
            pipeline="contract",
            run_id=run,
            error=error,
            payload=payload,
            attempts=attempts,
            correlation_id=correlation,
        )

    def letter(self, id: str) -> Mapping[str, Any]:
        found = self.letters.get(id)
        if found is None:
            raise KeyError(id)
        errors = [found.error["message"], *(one["message"] for one in found.error["chain"])]
        return {
            "payload": found.payload,
            "errors": errors,
            "attempts": found.attempts,
            "correlation": found.correlation_id,
        }

    def redrive(self, id: str) -> bool:
        self.letters.redrive(id, by="contract")
        return True

    def delivered(self) -> list[str]:
        got: list[str] = []
        self.outbox.relay(lambda message: got.append(message.key))
        return got
