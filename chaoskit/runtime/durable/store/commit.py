"""Group commit without a thread: the caller that finds the writer free commits for all that wait.

A signal handler may raise between any two steps of Python code, and twice in a row (Ctrl-C and SIGTERM
together). No ``finally`` in Python is safe from that, so nothing here depends on one:

* *Which caller leads* is decided by a chain. Each leader's :class:`Turn` has one heir, chosen by
  ``dict.setdefault``, which is a single step; and a turn holds an inner lock in a ``with`` implemented in C
  for as long as its caller's frame lives. The leader is the first in the chain whose frame still exists: a
  leader that an exception ends has thereby stepped down.
* *The outcome of a batch* is read from facts, never from a flag that its leader must remember to set:
  ``committed`` is filled by the same call into C that commits.

A follower notices within 50 ms that its leader is gone, without being woken. That also makes up for a wake-up
that was lost.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from chaoskit.core.errors import UsageError
from chaoskit.runtime.clock import Clock
from chaoskit.runtime.failures.stored import OutcomeUnknown

__all__ = ["Queue", "Round", "Write", "nested"]

HEAL = 0.05
"""Seconds after which a follower looks again even if it was not woken."""
STALE = 4 * HEAL
"""Seconds without a look after which a waiting block counts as held up elsewhere, in a signal handler."""
LINGER = 100e-6
"""Seconds that a leader waits for the callers that the last batch served.

With 8 callers, a batch then has 7.0 operations on average, instead of 4.4.
"""


class Turn:
    """A place in the chain of leaders. ``alive`` is locked while the frame of its caller exists."""

    __slots__ = ("alive", "heir", "thread")

    def __init__(self) -> None:
        self.alive = threading.Lock()
        self.heir: dict[int, Turn] = {}
        self.thread = threading.get_ident()


class Round:
    """The operations that one leader commits together.

    ``committing`` is set immediately before the call that commits; ``committed`` is not empty after it.
    ``failure`` makes the error of one operation from its id; ``doubt`` does so for a batch that is committed,
    but perhaps into a file that was removed. ``settled`` is set once the leader has checked for that.
    """

    __slots__ = ("committed", "committing", "doubt", "failure", "operations", "settled", "turn")

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.operations: list[Write] = []
        self.committed: list[Any] = []
        self.committing = False
        self.failure: Callable[[str], Exception] | None = None
        self.doubt: Callable[[str], Exception] | None = None
        self.settled = False

    @property
    def over(self) -> bool:
        """True if the outcome is final. Valid only once the leader is gone."""
        return bool(self.committed) or self.committing or self.failure is not None

    def error(self, operation: Write) -> Exception | None:
        """The error to raise for one of its operations, once the batch is over; None if it succeeded."""
        if self.committed:
            return operation.error or (self.doubt(operation.id) if self.doubt else None)
        return (self.failure or interrupted)(operation.id)


WITHDRAWN = Round(Turn())
"""The batch of an operation whose caller has gone, so that no leader takes it any longer."""


class Write:
    """One write: of a single record (``put``), or ``work``, which is called with a transaction.

    ``taken`` holds the batch that the operation is in, and is filled in one step. ``error`` concerns this
    operation alone: the others in the batch are committed. ``size`` is the number of characters written.
    ``named`` is True if the caller chose the id, which then goes into the ledger.
    """

    __slots__ = ("error", "id", "named", "put", "result", "size", "taken", "wake", "work")

    def __init__(
        self,
        id: str,
        *,
        named: bool = False,
        put: Any = None,
        work: Callable[[Any], Any] | None = None,
    ) -> None:
        self.id, self.named = id, named
        self.put, self.work = put, work
        self.size: int = put.size if put is not None else 0
        self.wake: threading.Lock | None = None
        self.renew()

    def renew(self) -> None:
        """Reset the operation, as if it had never been tried."""
        self.error: Exception | None = None
        self.result: Any = None
        self.taken: dict[int, Round] = {}


class Loner:
    """A block that waits to have the writer to itself. ``seen`` is when it last looked (monotonic)."""

    __slots__ = ("seen", "turn", "wake")

    def __init__(self, turn: Turn, seen: float) -> None:
        self.turn, self.seen = turn, seen
        self.wake = threading.Lock()
        self.wake.acquire()


class Queue:
    """Passes operations to ``commit``, one batch at a time, in the thread that comes first.

    ``most`` is the largest size of a batch; with ``linger`` its leader waits a moment for more operations. An
    operation waits at most ``timeout`` seconds for its turn. After that it fails with the error that
    ``late(seconds)`` makes, and was certainly not done. The leader calls ``after`` when a batch is committed
    and its callers are awake.
    """

    def __init__(
        self,
        commit: Callable[[Round], None],
        *,
        most: int,
        linger: bool,
        timeout: float,
        clock: Clock,
        late: Callable[[float], Exception],
        after: Callable[[list[Write]], None],
    ) -> None:
        self._commit, self._late, self._after = commit, late, after
        self._most, self._linger = most, linger
        self._timeout, self._clock = timeout, clock
        self._waiting: deque[Write] = deque()
        self._alone: deque[Loner] = deque()
        self._after_alone = False
        self._last = Turn()
        self._served = 0

    def submit(self, operation: Write) -> Any:
        """Have an operation committed, and return its result.

        If a signal handler raises during the call, the operation may still be done, now or a moment later,
        but at most once.
        """
        # Errors are raised here, not where they are found: a traceback keeps its frames alive, and the frame
        # of ``_submit`` holds its turn, which would block all later ones.
        error = self._submit(operation)
        if error is not None:
            raise error
        return operation.result

    def _submit(self, operation: Write) -> Exception | None:
        turn, batch = Turn(), WITHDRAWN
        try:
            with turn.alive:
                if self._may_lead() and self._leader(turn) is turn:
                    batch = self._lead(operation, Round(turn))
                else:
                    batch = self._follow(operation, turn)
        finally:
            error = batch.error(operation)
            # An operation that is still in the queue stays there; leaders pass over it.
            operation.taken = {0: WITHDRAWN}
            if self._last is turn:
                self._step_down(batch.operations if batch.turn is turn else [])
        return error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Reserve the writer for a block: every other operation waits until the block is left."""
        mine = Loner(Turn(), self._clock.monotonic())
        try:
            with mine.turn.alive:
                self._wait_alone(mine)
                yield
        finally:
            self._forget(mine)
            self._step_down([])

    def _wait_alone(self, mine: Loner) -> None:
        begun = mine.seen
        self._alone.append(mine)
        while not self._may_lead_alone() or self._leader(mine.turn) is not mine.turn:
            self._refuse_nesting(mine.turn)
            mine.seen = self._clock.monotonic()
            waited = mine.seen - begun
            if waited >= self._timeout:
                raise self._late(waited)
            mine.wake.acquire(timeout=min(HEAL, self._timeout - waited))
        self._after_alone = True
        self._forget(mine)

    # Blocks and batches take turns while both are waiting, so that neither starves the other. The flag is
    # only a hint: whatever its value, one of the two may lead.

    def _may_lead_alone(self) -> bool:
        return not self._after_alone or all(one.taken for one in list(self._waiting))

    def _may_lead(self) -> bool:
        if self._after_alone or not self._alone:
            return True
        for one in list(self._alone):
            if one.turn.alive.locked() and self._clock.monotonic() - one.seen < STALE:
                return False
            self._forget(one)
        return True

    def _leader(self, heir: Turn) -> Turn:
        """The turn that leads. If there is none, the ``heir`` of exactly one caller leads from now on."""
        leader = self._last
        while not leader.alive.locked():
            leader = leader.heir.setdefault(0, heir)
            if leader is heir:
                # A short cut for later callers. If an exception strikes before it, they walk one step more.
                self._last = heir
        return leader

    def _lead(self, mine: Write, batch: Round) -> Round:
        """Commit ``mine`` and waiting operations. Return the batch of ``mine``, maybe an earlier one."""
        if mine.taken.setdefault(0, batch) is not batch:
            return mine.taken[0]
        batch.operations.append(mine)
        self._gather(batch)
        self._commit(batch)
        if batch.committed:
            batch.settled = True
            for one in batch.operations[1:]:
                _release(one.wake)
            self._after(batch.operations)
        return batch

    def _gather(self, batch: Round) -> None:
        waiting = self._waiting
        if self._linger and self._served > 1 and len(waiting) < self._served - 1:
            self._clock.sleep(LINGER)
        while waiting and len(batch.operations) < self._most:
            one = waiting.popleft()
            # If an exception strikes here, the operation is in no queue; its caller wakes up and leads
            # a batch itself.
            if one is not batch.operations[0] and one.taken.setdefault(0, batch) is batch:
                batch.operations.append(one)
        self._served = len(batch.operations)
        self._after_alone = False

    def _follow(self, operation: Write, turn: Turn) -> Round:
        operation.wake = threading.Lock()
        operation.wake.acquire()
        begun = self._clock.monotonic()
        self._waiting.append(operation)
        while True:
            batch = operation.taken.get(0)
            if batch is None:
                if self._may_lead() and self._leader(turn) is turn:
                    batch = self._lead(operation, Round(turn))
                else:
                    given_up = self._give_up(operation, turn, self._clock.monotonic() - begun)
                    if given_up is not None:
                        return given_up
            # ``over`` comes last, since the outcome is final only once the leader is gone.
            if batch is not None and (batch.settled or not batch.turn.alive.locked() or batch.turn is turn):
                if batch.over:
                    return batch
                operation.renew()
                self._waiting.append(operation)
            else:
                operation.wake.acquire(timeout=HEAL)

    def _give_up(self, operation: Write, turn: Turn, waited: float) -> Round | None:
        """A failed batch for an operation that must stop waiting; None if it may wait or a leader has it."""
        inside = self._last.thread == turn.thread and self._last.alive.locked()
        if not inside and waited < self._timeout:
            return None
        failed = Round(turn)
        error = nested() if inside else self._late(waited)
        failed.failure = lambda _: error
        return failed if operation.taken.setdefault(0, failed) is failed else None

    def _refuse_nesting(self, turn: Turn) -> None:
        if self._last.thread == turn.thread and self._last.alive.locked():
            raise nested()

    def _step_down(self, served: list[Write]) -> None:
        """Wake the callers that were served, and those that may lead next."""
        for one in served:
            _release(one.wake)
        try:
            if self._alone:
                _release(self._alone[0].wake)
            _release(self._waiting[0].wake)
        except IndexError:
            pass

    def _forget(self, one: Loner) -> None:
        try:
            self._alone.remove(one)
        except ValueError:
            pass


def interrupted(id: str) -> OutcomeUnknown:
    """The error of an operation whose leader was interrupted while it committed."""
    return OutcomeUnknown(
        f"the commit of operation {id} was interrupted in the thread that made it; expected it to finish."
        " Ask store.outcome(operation_id) whether it was committed.",
        operation_id=id,
    )


def nested() -> UsageError:
    """The error of a write within a write of the same thread."""
    return UsageError(
        "this thread is writing to the store already: it is inside store.transaction(), or in a signal"
        " handler that interrupted a write; expected one write at a time. Use the tx of the block; in a"
        " handler, set a flag and write later."
    )


def _release(wake: threading.Lock | None) -> None:
    try:
        if wake is not None:
            wake.release()
    except RuntimeError:
        pass  # It is awake already.
