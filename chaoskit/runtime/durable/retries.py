"""The retry context of a run, kept in a store: attempts of all processes count together.

A policy forgets everything when its process ends. If a queue, an operator or a reboot then started a run
again, it would have all of its attempts again, and a run that kills its worker would be repeated forever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.durable.recorded import record_error
from chaoskit.runtime.durable.store.protocol import Kind, Record, Storage, Tx, checked
from chaoskit.runtime.failures.base import PermanentError
from chaoskit.runtime.numbers import is_number, is_whole
from chaoskit.runtime.retrying.history import KEPT, FailedAttempt, RetryContext

__all__ = ["AttemptsUsedUp", "StoredRetries"]

RETRIES = Kind("retries")
KEEP = 90 * 86400.0
"""Seconds for which the context of a run is kept after its last change, by default."""
LOST = "WorkerLost"
"""The type recorded for an attempt that was started and never finished: its process was killed."""


class AttemptsUsedUp(PermanentError):
    """All attempts of the run were made, in this process or in earlier ones."""

    default_hint = "Look at the context of the run, and forget it when the cause is fixed."


class StoredRetries:
    """Counts the attempts of each run of ``pipeline``; every run may make ``attempts`` of them.

    An attempt counts from its start, so that one whose process is killed counts too. The context of a run
    may be purged ``keep`` seconds after its last change. This class does not prevent two processes from
    running the same run at once; claims do (:class:`Checkpoints`).

    Raises:
        UsageError: a limit or the name is not valid.
    """

    def __init__(
        self, store: Storage, *, pipeline: str = "default", attempts: int = 3, keep: float = KEEP
    ) -> None:
        if not (is_whole(attempts) and attempts >= 1):
            raise wrong("attempts", attempts, "at least 1")
        if not (is_number(keep) and keep >= 0):
            raise wrong("keep", keep, "seconds, at least 0")
        self._store, self._pipeline = checked(store), kinds.text("pipeline", pipeline)
        self._attempts, self._keep = attempts, keep

    @contextmanager
    def attempt(self, run_id: str, *, wait: float | None = None) -> Iterator[int]:
        """Count an attempt of the run, and yield its number, from 1. A failure of the block is recorded.

        A block that ends without an error closes the context of the run: its next attempt is number 1 again.
        ``wait``, the seconds that the caller will wait before the next attempt, is only recorded.

        Raises:
            AttemptsUsedUp: no attempt is left; the block did not run.
            Exception: what the block raises.
        """
        number = self._store.write(lambda tx: self._start(tx, run_id))
        if number is None:
            raise AttemptsUsedUp(
                f"run {run_id!r} of {self._pipeline!r} has made all of its {self._attempts} attempts;"
                " expected one to be left. Nothing was started."
            )
        try:
            yield number
        # BaseException: an attempt that was interrupted counts too, and the record says what ended it.
        except BaseException as error:
            told = record_error(error)
            self._store.write(lambda tx: self._failed(tx, run_id, number, told, wait), urgent=True)
            raise
        self._store.write(lambda tx: self._done(tx, run_id, number))

    def context(self, run_id: str) -> RetryContext | None:
        """The failures of the run and whether its attempts are used up; None if none is on record."""
        record = self._store.get(RETRIES, run_id, scope=self._pipeline)
        return None if record is None else _context(record)

    def forget(self, run_id: str) -> bool:
        """Give the run all of its attempts again; False if there was nothing to forget."""
        return self._store.write(lambda tx: tx.delete(RETRIES, run_id, scope=self._pipeline))

    def purge(self) -> int:
        """Forget the runs that have not changed for ``keep`` seconds; return how many."""
        before = self._store.now() - self._keep
        return self._store.write(lambda tx: tx.purge(RETRIES, scope=self._pipeline, updated_before=before))

    def _start(self, tx: Tx, run_id: str) -> int | None:
        record = tx.get(RETRIES, run_id, scope=self._pipeline)
        value: dict[str, Any] = {"attempts": 0, "failures": [], "running": False}
        if record is not None and record.status != "done":
            value = dict(record.value)
        if value["running"]:
            # An earlier attempt was started and never finished: the history records it as lost.
            lost = {"type": LOST, "message": "the worker ended without a result"}
            value = _with(value, value["attempts"], lost, tx.now, None)
        spent = value["attempts"] >= self._attempts
        if not spent:
            value.update(attempts=value["attempts"] + 1, running=True)
        self._put(tx, run_id, value, "exhausted" if spent else "running-attempt")
        return None if spent else value["attempts"]

    def _failed(self, tx: Tx, run_id: str, number: int, told: Mapping[str, Any], wait: float | None) -> None:
        record = tx.get(RETRIES, run_id, scope=self._pipeline)
        # The run was forgotten meanwhile, or a later attempt has begun: an end that comes late changes
        # nothing.
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
    """The value with one more failure. Only the newest ones are kept."""
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
