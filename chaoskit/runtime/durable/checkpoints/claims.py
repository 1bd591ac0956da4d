"""A claim: the right to work on one checkpoint, for as long as no other worker has taken it over."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from chaoskit.core.errors import UsageError, wrong
from chaoskit.runtime.durable.checkpoints.answers import settle
from chaoskit.runtime.durable.checkpoints.renewal import End, Renewal
from chaoskit.runtime.durable.checkpoints.sources import Fingerprint
from chaoskit.runtime.durable.checkpoints.transitions import ClaimedRecord, Terms, complete, fail, release
from chaoskit.runtime.durable.recorded import record_error
from chaoskit.runtime.durable.store.protocol import RUNNING, Tx
from chaoskit.runtime.failures.base import ResilienceError
from chaoskit.runtime.failures.stored import LeaseLost, OutcomeUnknown, StoreBusy

__all__ = ["Claim", "End"]


class Claim:
    """One attempt at one checkpoint.

    Leaving the block without an error completes it, with an error fails it. An interrupt, a lost lease and
    errors of the store itself are not results: they give it back. Every write of a claim that was taken over
    raises ``LeaseLost`` and changes nothing.
    """

    def __init__(
        self, terms: Terms, held: ClaimedRecord, renewal: Renewal, submit: Callable[[Claim, End, bool], None]
    ) -> None:
        """Use ``Checkpoints.claim``."""
        self._terms, self._held, self._renewal, self._submit = terms, held, renewal, submit
        self._noticed: dict[int, threading.Event] = {}
        self._open = True
        self._unwritten: End | None = None
        renewal.add(self)

    @property
    def lost(self) -> threading.Event:
        """Set once this process has noticed that another worker took the claim over."""
        # Made on demand, since few are asked for and each would cost a tenth of a batch's step.
        # ``setdefault`` is atomic, so the thread that renews and this one get the same event.
        return self._noticed.get(0) or self._noticed.setdefault(0, threading.Event())

    @property
    def key(self) -> str:
        return self._held.record.key

    @property
    def scope(self) -> str:
        return self._held.record.scope

    @property
    def attempt(self) -> int:
        """1 for the first; it was counted before this claim was handed out."""
        return self._held.attempt

    @property
    def fence(self) -> int:
        """Greater than that of every earlier claim; other systems can compare it and refuse late writes."""
        return self._held.record.fence

    @property
    def source(self) -> Fingerprint | None:
        """The input as it was read when this was claimed; None if the claim was asked for without one."""
        return self._held.content.source

    @property
    def value(self) -> Any:
        """What the checkpoint was saved with."""
        return self._held.content.value

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What goes with the value."""
        return self._held.content.metadata

    @property
    def reached(self) -> Any:
        """What ``progress`` recorded last, in this attempt or an earlier one; None if nothing."""
        return self._held.content.progress

    @property
    def held(self) -> ClaimedRecord:
        """The record as it was claimed, and what it holds by now."""
        return self._held

    @property
    def open(self) -> bool:
        """True until it is completed, failed or released."""
        return self._open

    def check(self) -> None:
        """Return if the claim is still valid: call it before what cannot be undone.

        Raises:
            LeaseLost: another worker has it, or it was cleared.
        """
        record = self._held.record
        if not self.lost.is_set():
            now = self._terms.store.get(self._terms.kind, record.key, scope=record.scope)
            if now is not None and now.status == RUNNING and now.fence == record.fence:
                return
            self.lost.set()
        raise self._lost()

    def progress(self, value: Any) -> None:
        """Record how far it has come, durably, and renew the lease; a later attempt finds it in ``reached``.

        Raises:
            LeaseLost: the claim is not valid any more.
            CheckpointError: the value cannot be kept.
        """
        self._check_open()
        content = replace(self._held.content, progress=value)
        record, terms, text = self._held.record, self._terms, content.encoded()

        def work(tx: Tx) -> bool:
            due = tx.now + terms.lease
            return tx.change(
                terms.kind, record.key, scope=record.scope, value=text, due=due, fence=record.fence
            )

        # Not only at the end: work that goes on for an hour after it was taken over is an hour wasted, and
        # progress is the moment at which it can learn of it.
        if not settle(terms.store, work):
            self.lost.set()
            raise self._lost()
        self._held = ClaimedRecord(record, content)

    def complete(
        self,
        value: Any = None,
        *,
        artefacts: Sequence[str | os.PathLike[str]] = (),
        tx: Tx | None = None,
    ) -> None:
        """Record that it is done, with its result and the files that it made. None keeps the value it had.

        The artefacts are synced and their checksums kept. With ``tx`` it is part of that transaction, and
        happens when that commits.

        Raises:
            LeaseLost: the claim is not valid any more; nothing was recorded.
            CheckpointError: an artefact is missing, or the value cannot be kept; the claim goes on.
        """
        self._check_open()
        # Before any lock: hashing a large artefact takes seconds, in which no other write should wait.
        # Most claims have no artefact, and for a short step this method is the whole overhead.
        sync = self._terms.store.durability == "power-loss"
        made = () if artefacts == () else self._terms.outputs.take(artefacts, sync=sync)
        # Encoded here, before any lock. A value that cannot be kept is the caller's error, and the attempt
        # goes on: the caller may convert the value and try again. And a value that is changed later, while
        # a batch waits, is kept as it was.
        held, terms = self._held, self._terms
        content = held.content.completed(value, made)
        self._end(lambda tx: complete(tx, terms, held, content), tx)

    def fail(
        self,
        error: BaseException,
        *,
        retry_in: float | None = None,
        final: bool = False,
        tx: Tx | None = None,
    ) -> None:
        """Record that it failed. With ``retry_in`` it is due again after this many seconds.

        At the last attempt, or if it is ``final``, it becomes a dead letter in the same transaction. On a
        full disk the store's reserve is given up for it.

        Raises:
            LeaseLost: the claim is not valid any more; nothing was recorded.
            UsageError: ``retry_in`` is NaN or infinite; nothing was recorded.
        """
        self._check_open()
        # Checked before the transaction, whose message would name "due" and not the caller's argument.
        if retry_in is not None and not -math.inf < retry_in < math.inf:
            raise wrong("retry_in", retry_in, "seconds", "None says that it is not to be tried by itself.")
        # Turned into text at once: a traceback keeps frames alive, and with them all that the work held.
        told, held, terms = record_error(error), self._held, self._terms
        self._end(lambda tx: fail(tx, terms, held, told, retry_in, final), tx, urgent=True)

    def release(self) -> None:
        """Give it back as it was: it is due at once, and the attempt does not count. Twice does nothing.

        Raises:
            LeaseLost: the claim is not valid any more.
        """
        if self._open:
            held, terms = self._held, self._terms
            self._end(lambda tx: release(tx, terms, held), None)

    def leave(self) -> None:
        """End the attempt, even if the store is in trouble. Does nothing if it has ended; never raises.

        What :meth:`complete`, :meth:`fail` or :meth:`release` could not record is recorded by a thread of
        this process, once the store takes it; without any of these the checkpoint is given back.
        """
        if not self._open:
            return
        held, terms = self._held, self._terms
        self._open = False
        self._renewal.owe(self._unwritten or (lambda tx: release(tx, terms, held)))
        self._renewal.drop(self)

    def _end(self, end: End, tx: Tx | None, *, urgent: bool = False) -> None:
        # Closed before the write, so that the renewal never takes one that has just ended for lost.
        self._open = False
        try:
            if tx is None:
                self._submit(self, end, urgent)
            elif not end(tx):
                self.lost.set()
                raise self._lost()
        except BaseException as error:
            self._open = not isinstance(error, LeaseLost)
            # What was to happen with a transaction of the caller's must not happen without it.
            self._unwritten = end if tx is None else None
            raise
        finally:
            if not self._open:
                self._renewal.drop(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._open:
            return
        try:
            if error is None:
                self.complete()
            # An interrupt says something about this process, and a busy store about the store. If they
            # counted as failures of the step, they would use up attempts that it never had.
            elif isinstance(error, Exception) and not isinstance(
                error, (StoreBusy, OutcomeUnknown, LeaseLost)
            ):
                self.fail(error)
            else:
                self.release()
        except ResilienceError as trouble:
            with suppress(ResilienceError):
                self.release()
            # Otherwise it would be held for as long as this process lives.
            self.leave()
            if error is None:
                raise
            # The error of the work is the one to see: ours would hide it behind the store's.
            error.add_note(f"This was not recorded: {trouble}")

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                f"the claim of {self.key!r} has ended; expected one that was neither completed, failed nor"
                " released. Claim it again."
            )

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"the claim of {self.key!r} (fence {self.fence}) is not valid any more; expected to hold it."
            " Nothing was recorded."
        )
