"""How the S rows drive a durable store of any library: what an adapter provides, and ours."""

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
"""What a store may offer beyond saving and loading. A row that needs a feature does not apply without it."""


class StoreSubject(Protocol):
    """One open store. Values are JSON's."""

    def save(self, key: str, value: Any) -> None:
        """Write the value. Whatever it raises, the row takes for a refusal."""

    def load(self, key: str) -> Any:
        """The value; raises KeyError if there is none."""

    def together(self, values: Mapping[str, Any], fail: Callable[[], None]) -> None:
        """Write all of them, call ``fail`` before they are committed, and let it raise (``atomic``)."""

    def claim(self, key: str) -> object | None:
        """Make the record if it is new, and take it; None if another has it (``claims``)."""

    def step(self, key: str, fn: Callable[[], Any]) -> Any:
        """The result of a step: recorded earlier, or of ``fn``, which then is recorded (``steps``)."""

    def attempts(self, key: str) -> int | None:
        """How often the step was started, or None if the library does not count."""

    def bury(self, run: str, error: Exception, payload: Any, attempts: int, correlation: str) -> str:
        """Keep a run that failed for good; the name of its letter (``letters``)."""

    def letter(self, id: str) -> Mapping[str, Any]:
        """The letter: ``payload``, ``errors`` (messages, the first one's cause after it), ``attempts``,
        ``correlation``."""

    def redrive(self, id: str) -> bool:
        """Put the run back; False, or an exception, if that is refused."""

    def delivered(self) -> list[str]:
        """Take what was put back and is due: the runs, each as often as it is handed out."""


class StoreAdapter(Protocol):
    """One implementation under test."""

    name: str
    features: frozenset[str]

    def place(self) -> AbstractContextManager[str]:
        """Where a store can be, and nothing is; removed at the end."""

    def open(self, place: str) -> AbstractContextManager[StoreSubject]:
        """The store there, made if it is not."""

    def busy(self, place: str) -> AbstractContextManager[None]:
        """While the block runs every write fails within a few seconds (feature ``busy``)."""

    def damage(self, place: str, key: str, stored: bytes | None) -> None:
        """Change the stored value of ``key`` behind the store, which is closed: one character of it, or all
        of it to ``stored`` (feature ``damage``)."""


class ChaoskitStore:
    """Adapter of :class:`chaoskit.runtime.Store` in a file; subclass it for another place."""

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
        # Another program, outside of the store's own lock: what it holds is what SQLite looks at.
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
    """Our store with what stands on it."""

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
