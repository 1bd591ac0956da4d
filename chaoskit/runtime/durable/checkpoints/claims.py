"""A claim: the right to work on one checkpoint until another worker takes it over."""

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

    Leaving the block normally completes the checkpoint, an error fails it. An interrupt, a lost lease and
    errors of the store are not results of the work: they release it. Every write of a claim that was taken
    over raises ``LeaseLost`` and changes nothing.
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
        """Set once this process has noticed that another worker took over the claim."""
        # Created on demand: few callers ask, and creating an event takes a tenth of a batch's step.
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
        """The number of this attempt, from 1. It was counted before this claim was handed out."""
        return self._held.attempt

    @property
    def fence(self) -> int:
        """Greater than that of every earlier claim, so that other systems can recognize late writes."""
        return self._held.record.fence

    @property
    def source(self) -> Fingerprint | None:
        """The source as it was when this was claimed; None if the claim was made without one."""
        return self._held.content.source

    @property
    def value(self) -> Any:
        """The value with which the checkpoint was saved."""
        return self._held.content.value

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata with which the checkpoint was saved."""
        return self._held.content.metadata

    @property
    def reached(self) -> Any:
        """The last value given to ``progress``, in this attempt or an earlier one; None without one."""
        return self._held.content.progress

    @property
    def held(self) -> ClaimedRecord:
        """The record as it was claimed, with its current content."""
        return self._held

    @property
    def open(self) -> bool:
        """True until the claim is completed, failed or released."""
        return self._open

    def check(self) -> None:
        """Return if the claim is still valid. Call this before a step that cannot be undone.

        Raises:
            LeaseLost: another worker has the claim, or the checkpoint was cleared.
        """
        record = self._held.record
        if not self.lost.is_set():
            now = self._terms.store.get(self._terms.kind, record.key, scope=record.scope)
            if now is not None and now.status == RUNNING and now.fence == record.fence:
                return
            self.lost.set()
        raise self._lost()

    def progress(self, value: Any) -> None:
        """Record how far the work has come, durably, and renew the lease. ``reached`` shows it later.

        Raises:
            LeaseLost: the claim is no longer valid.
            CheckpointError: the store cannot hold the value.
        """
        self._check_open()
        content = replace(self._held.content, progress=value)
        record, terms, text = self._held.record, self._terms, content.encoded()

        def work(tx: Tx) -> bool:
            due = tx.now + terms.lease
            return tx.change(
                terms.kind, record.key, scope=record.scope, value=text, due=due, fence=record.fence
            )

        # Raised here and not only at the end: work whose claim was taken over would go on in vain, perhaps
        # for hours.
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
        """Record that the work is done, with its result and the files that it made.

        None as ``value`` keeps the value that the checkpoint has. The artefacts are synced, and recorded with
        their checksums. With ``tx`` this is part of that transaction, and takes effect when it commits.

        Raises:
            LeaseLost: the claim is no longer valid; nothing was recorded.
            CheckpointError: an artefact is missing, or the store cannot hold the value; the claim goes on.
        """
        self._check_open()
        # Before any lock: hashing a large artefact takes seconds, and other writes should not wait for it.
        # Without artefacts nothing is called, since in a short step this method is most of the overhead.
        sync = self._terms.store.durability == "power-loss"
        made = () if artefacts == () else self._terms.outputs.take(artefacts, sync=sync)
        # Encoded here too. A value that the store cannot hold is the caller's error, and the attempt goes on:
        # the caller may convert the value and try again. In a batch, which writes later, the value is
        # recorded as it is now, even if the caller changes it afterwards.
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
        """Record that the work failed. With ``retry_in`` the step is due again after that many seconds.

        After the last attempt, or if the failure is ``final``, the step becomes a dead letter in the same
        transaction. On a full disk the store gives up its reserve for this.

        Raises:
            LeaseLost: the claim is no longer valid; nothing was recorded.
            UsageError: ``retry_in`` is NaN or infinite; nothing was recorded.
        """
        self._check_open()
        # Checked here, since the store's message would be about ``due``, which the caller never passed.
        if retry_in is not None and not -math.inf < retry_in < math.inf:
            raise wrong("retry_in", retry_in, "seconds", "None means that it is not retried by itself.")
        # Made into text at once: a traceback keeps its frames alive, and with them every object of the work.
        told, held, terms = record_error(error), self._held, self._terms
        self._end(lambda tx: fail(tx, terms, held, told, retry_in, final), tx, urgent=True)

    def release(self) -> None:
        """Give the claim back: the step is due at once, and the attempt does not count.

        Does nothing if the claim has ended.

        Raises:
            LeaseLost: the claim is no longer valid.
        """
        if self._open:
            held, terms = self._held, self._terms
            self._end(lambda tx: release(tx, terms, held), None)

    def leave(self) -> None:
        """End the attempt even if the store is in trouble. Does nothing if it has ended; never raises.

        If :meth:`complete`, :meth:`fail` or :meth:`release` could not record its result, a thread of this
        process records it once the store works again. If none of them was called, the claim is released.
        """
        if not self._open:
            return
        held, terms = self._held, self._terms
        self._open = False
        self._renewal.owe(self._unwritten or (lambda tx: release(tx, terms, held)))
        self._renewal.drop(self)

    def _end(self, end: End, tx: Tx | None, *, urgent: bool = False) -> None:
        # Closed before the write. Otherwise the renewal could find the claim ended and report it as lost.
        self._open = False
        try:
            if tx is None:
                self._submit(self, end, urgent)
            elif not end(tx):
                self.lost.set()
                raise self._lost()
        except BaseException as error:
            self._open = not isinstance(error, LeaseLost)
            # A write that belongs to the caller's transaction must not be made outside it.
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
            # An interrupt is about this process, and a busy store about the store. If they counted as
            # failures of the step, they would use up its attempts.
            elif isinstance(error, Exception) and not isinstance(
                error, (StoreBusy, OutcomeUnknown, LeaseLost)
            ):
                self.fail(error)
            else:
                self.release()
        except ResilienceError as trouble:
            with suppress(ResilienceError):
                self.release()
            # Otherwise the step would stay claimed while this process lives.
            self.leave()
            if error is None:
                raise
            # The error of the work is the one to see; raising the store's would hide it.
            error.add_note(f"This was not recorded: {trouble}")

    def _check_open(self) -> None:
        if not self._open:
            raise UsageError(
                f"the claim of {self.key!r} has ended; expected one that was neither completed, failed nor"
                " released. Claim it again."
            )

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"the claim of {self.key!r} (fence {self.fence}) is no longer valid; expected to hold it."
            " Nothing was recorded."
        )
