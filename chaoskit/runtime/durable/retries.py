"""The retry context of a run, kept in a store: attempts of today and of last night count together.

A policy forgets with its process. A run that is started again by a queue, an operator or a machine that
came back would begin with all of its attempts, and a run that brings its worker down would never end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime.durable.recorded import record_error
from chaoskit.runtime.durable.store.protocol import Kind, Record, Storage, Tx, checked
from chaoskit.runtime.failures.base import PermanentError
from chaoskit.runtime.retrying.history import KEPT, FailedAttempt, RetryContext

__all__ = ["AttemptsUsedUp", "StoredRetries"]

RETRIES = Kind("retries")
KEEP = 90 * 86400.0
"""Seconds for which the context of a run is kept after its last change, unless told."""
LOST = "WorkerLost"
"""The type of an attempt that was started and has left nothing: its process was killed."""


class AttemptsUsedUp(PermanentError):
    """All attempts of the run were made, in this process or in those before it."""

    default_hint = "Look at the context of the run; forget it when the cause is mended."


class StoredRetries:
    """The attempts of each run of ``pipeline``, of which each has ``attempts``.

    Each attempt is counted before it starts: one that is killed was made. Nothing here keeps two processes
    from running one run at once; claims do (:class:`Checkpoints`). Raises UsageError for less than one
    attempt.
    """

    def __init__(
        self, store: Storage, *, pipeline: str = "default", attempts: int = 3, keep: float = KEEP
    ) -> None:
        if attempts < 1:
            raise wrong("attempts", attempts, "at least 1")
        self._store, self._pipeline, self._attempts, self._keep = checked(store), pipeline, attempts, keep

    @contextmanager
    def attempt(self, run_id: str, *, wait: float | None = None) -> Iterator[int]:
        """The next attempt of the run, by its number; a failure of the block is recorded, and raised.

        When the block ends without one the context of the run is closed, and it begins at 1 again. ``wait``
        is how long the caller will wait before it tries again, for those who look.

        Raises:
            AttemptsUsedUp: none is left; nothing was started.
        """
        number = self._store.write(lambda tx: self._start(tx, run_id))
        if number is None:
            raise AttemptsUsedUp(
                f"run {run_id!r} of {self._pipeline!r} has made all of its {self._attempts} attempts;"
                " expected one to be left. Nothing was started."
            )
        try:
            yield number
        # An interrupted attempt was made as well, and says what ended it.
        except BaseException as error:
            told = record_error(error)
            self._store.write(lambda tx: self._failed(tx, run_id, number, told, wait), urgent=True)
            raise
        self._store.write(lambda tx: self._done(tx, run_id, number))

    def context(self, run_id: str) -> RetryContext | None:
        """The failures of the run and whether it is exhausted; None if none of its attempts is on record."""
        record = self._store.get(RETRIES, run_id, scope=self._pipeline)
        return None if record is None else _context(record)

    def forget(self, run_id: str) -> bool:
        """Give the run all of its attempts again; False if there was nothing to forget."""
        return self._store.write(lambda tx: tx.delete(RETRIES, run_id, scope=self._pipeline))

    def purge(self) -> int:
        """Forget the runs that have not changed for ``keep`` seconds; how many."""
        before = self._store.now() - self._keep
        return self._store.write(lambda tx: tx.purge(RETRIES, scope=self._pipeline, updated_before=before))

    def _start(self, tx: Tx, run_id: str) -> int | None:
        record = tx.get(RETRIES, run_id, scope=self._pipeline)
        value: dict[str, Any] = {"attempts": 0, "failures": [], "running": False}
        if record is not None and record.status != "done":
            value = dict(record.value)
        if value["running"]:
            # It was started and has left nothing. What is known of it belongs to the history.
            lost = {"type": LOST, "message": "the worker ended without a result"}
            value = _with(value, value["attempts"], lost, tx.now, None)
        spent = value["attempts"] >= self._attempts
        if not spent:
            value.update(attempts=value["attempts"] + 1, running=True)
        self._put(tx, run_id, value, "exhausted" if spent else "running-attempt")
        return None if spent else value["attempts"]

    def _failed(self, tx: Tx, run_id: str, number: int, told: Mapping[str, Any], wait: float | None) -> None:
        record = tx.get(RETRIES, run_id, scope=self._pipeline)
        # Forgotten meanwhile, or another one's: a late end changes nothing.
        if record is None or record.value["attempts"] != number or not record.value["running"]:
            return
        last = number >= self._attempts
        value = _with(record.value, number, told, tx.now, None if last else wait)
        self._put(tx, run_id, value, "exhausted" if last else "failed")

    def _done(self, tx: Tx, run_id: str, number: int) -> None:
        record = tx.get(RETRIES, run_id, scope=self._pipeline)
        if record is not None and record.value["attempts"] == number:
            self._put(tx, run_id, {**record.value, "running": False}, "done")

    def _put(self, tx: Tx, run_id: str, value: Mapping[str, Any], status: str) -> None:
        tx.put(RETRIES, run_id, value, scope=self._pipeline, status=status)


def _with(
    value: Mapping[str, Any], attempt: int, told: Mapping[str, Any], at: float, wait: float | None
) -> dict[str, Any]:
    """The value with one more failure, of which the newest are kept."""
    failure = {
        "attempt": attempt,
        "type": told["type"],
        "message": told["message"],
        "at": at,
        "wait": wait,
    }
    return {**value, "running": False, "failures": [*value["failures"], failure][-KEPT:]}


def _context(record: Record) -> RetryContext:
    failures = tuple(
        FailedAttempt(one["attempt"], one["type"], one["message"], one["at"], one["wait"])
        for one in record.value["failures"]
    )
    return RetryContext(failures, record.value["attempts"], record.status == "exhausted")
