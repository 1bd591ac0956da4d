"""Quotas: how many operations may run at once, in total and by stage, and which stage goes first."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.deadlines import remaining
from chaoskit.runtime.failures.taxonomy import BulkheadFull
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.running.shutdown_records import ShuttingDown
from chaoskit.runtime.stop import Stop, watched

__all__ = ["Quota", "QuotaUse", "StageBudget"]


@dataclass(frozen=True, slots=True)
class StageBudget:
    """How many operations of a stage may run at the same time, and how much of an ``amount`` they may hold.

    The amount is in the caller's unit, such as bytes of memory or of disk. None means no limit.

    Raises:
        UsageError: a limit is not above zero.
    """

    concurrent: int | None = option(default=None, minimum=1)
    amount: float | None = option(default=None, above=0)

    def __post_init__(self) -> None:
        whole("concurrent", self.concurrent, 1, none="no limit")
        if self.amount is not None and not (is_number(self.amount) and self.amount > 0):
            raise wrong("amount", self.amount, "more than zero, or None for no limit")


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What a stage holds now, and how many of its operations wait."""

    running: int = 0
    amount: float = 0.0
    waiting: int = 0


class _QuotaWaiter:
    __slots__ = ("amount", "event", "granted", "order", "stage")

    def __init__(self, stage: str, amount: float, order: tuple[float, int]) -> None:
        self.stage, self.amount, self.order = stage, amount, order
        self.granted = False
        self.event = threading.Event()


class Quota(Lasting):
    """At most ``concurrency`` operations at once, within the ``budgets`` of their stages.

    Of the waiting operations that fit, the one with the highest priority goes next, and among equals the
    first to arrive. A stage whose budget is used up does not block other stages; within a stage, no operation
    overtakes a larger one of the same priority. A stage with low priority waits for as long as operations
    with higher priority keep coming.

    Threads may share it; in a forked child everything is free. Setting ``wake``, such as ``shutdown.wake``,
    ends every wait with ``ShuttingDown``. Raises UsageError for impossible limits.
    """

    def __init__(
        self,
        concurrency: int,
        *,
        budgets: Mapping[str, StageBudget] | None = None,
        priorities: Mapping[str, int] | None = None,
        max_wait: float = math.inf,
        clock: Clock | None = None,
        wake: threading.Event | None = None,
    ) -> None:
        whole("concurrency", concurrency, 1)
        if not (is_number(max_wait) and max_wait >= 0):
            raise wrong("max_wait", max_wait, "zero or more seconds, or infinity")
        _check_stages("budgets", budgets, lambda one: isinstance(one, StageBudget), "a StageBudget")
        _check_stages("priorities", priorities, is_number, "a number, the higher goes first")
        self.concurrency = concurrency
        self._budgets, self._priorities = dict(budgets or {}), dict(priorities or {})
        self._max_wait, self._wake = max_wait, kinds.event("wake", wake)
        self._clock = kinds.clock(clock, optional=True) or SystemClock()
        # Reentrant: a signal handler may run an operation while its own thread holds the lock.
        self._lock = threading.RLock()
        self._arrived = 0
        self._held: dict[str, QuotaUse] = {}
        self._waiters: list[_QuotaWaiter] = []
        survive_fork(self)

    @contextmanager
    def hold(self, stage: str, *, amount: float = 0.0, priority: int | None = None) -> Iterator[None]:
        """Run the block as an operation of ``stage`` that takes ``amount`` of its budget.

        ``priority`` replaces that of the stage; higher goes first.

        Raises:
            UsageError: the amount exceeds the budget.
            BulkheadFull: there was no room within ``max_wait`` seconds.
            ShuttingDown: the program is shutting down.
        """
        if not isinstance(stage, str):
            raise wrong("stage", stage, "the name of a stage, a text")
        most = self._budgets.get(stage, StageBudget()).amount
        limit = math.inf if most is None else most
        if not (is_number(amount) and 0 <= amount <= limit):
            # An operation whose amount can never be available would wait forever.
            raise wrong("amount", amount, f"a number between zero and the budget of {stage!r}, {most}")
        order = self._priorities.get(stage, 0) if priority is None else priority
        if not is_number(order):
            raise wrong("priority", order, "a number, the higher goes first")
        # Converted first: a value that cannot be added to floats would stay in the queue, and fail all
        # operations behind it.
        held = float(amount)
        self._enter(stage, held, order)
        try:
            yield
        finally:
            self._leave(stage, held)

    def use(self) -> Mapping[str, QuotaUse]:
        """What each stage holds now, and how many of its operations wait."""
        with self._lock:
            waiting: dict[str, int] = {}
            for one in self._waiters:
                waiting[one.stage] = waiting.get(one.stage, 0) + 1
            names = {*self._budgets, *self._held, *waiting}
            held = {name: self._held.get(name, QuotaUse()) for name in sorted(names)}
        return {name: QuotaUse(one.running, one.amount, waiting.get(name, 0)) for name, one in held.items()}

    def _enter(self, stage: str, amount: float, priority: float) -> None:
        with self._lock:
            self._arrived += 1
            # Negated, so that sorting puts the highest priority first, and among equals the first to arrive.
            waiter = _QuotaWaiter(stage, amount, (-priority, self._arrived))
            self._waiters.append(waiter)
            self._waiters.sort(key=lambda one: one.order)
            self._grant()
            if waiter.granted:
                return
        self._wait(waiter)

    def _wait(self, waiter: _QuotaWaiter) -> None:
        left = remaining()
        patience = self._max_wait if left is None else min(self._max_wait, left)
        stop = Stop()
        forget = watched(self._wake or Stop(), stop)
        stop.tell(waiter.event.set)
        try:
            # A thread cannot wait longer than TIMEOUT_MAX: on Linux 292 years, so the limit does not matter.
            self._clock.sleep(min(patience, threading.TIMEOUT_MAX), waiter.event)
        except BaseException:
            # The interrupt may come just when the place was granted; then pass it on.
            if not self._withdrawn(waiter):
                self._leave(waiter.stage, waiter.amount)
            raise
        finally:
            forget()
        if not self._withdrawn(waiter):
            return
        if stop.is_set():
            raise ShuttingDown(
                f"an operation of {waiter.stage!r} waited for its turn when the program was told to end"
            )
        raise BulkheadFull(
            f"there was no room for an operation of {waiter.stage!r} within {patience:.3g} s; expected fewer"
            f" than {self.concurrency} at once, and its budget not used up. Wait longer, or raise the quota.",
            context={"stage": waiter.stage, "concurrency": self.concurrency},
        )

    def _withdrawn(self, waiter: _QuotaWaiter) -> bool:
        """Take the waiter out of the queue; return False if it has its place, perhaps at the last moment."""
        with self._lock:
            if waiter.granted:
                return False
            # The queue is empty in a forked child.
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                # The waiter may have blocked smaller operations of its stage.
                self._grant()
            return True

    def _leave(self, stage: str, amount: float) -> None:
        with self._lock:
            held = self._held.get(stage, QuotaUse())
            # Not below zero: in a forked child, the thread that forked leaves its block, but the child's
            # counts began at zero.
            rest = QuotaUse(max(held.running - 1, 0), max(held.amount - amount, 0.0))
            # Reset when no operation is left: otherwise the rounding errors of the sums would stay forever.
            self._held[stage] = rest if rest.running else QuotaUse()
            self._grant()

    def _grant(self) -> None:
        """Let the waiting operations that fit begin, in order. Call this with the lock held."""
        full: set[str] = set()
        for waiter in tuple(self._waiters):
            if sum(one.running for one in self._held.values()) >= self.concurrency:
                return
            if waiter.stage in full:
                continue
            held, budget = (
                self._held.get(waiter.stage, QuotaUse()),
                self._budgets.get(waiter.stage, StageBudget()),
            )
            if (budget.concurrent is not None and held.running >= budget.concurrent) or (
                budget.amount is not None and held.amount + waiter.amount > budget.amount
            ):
                # The ones behind it in the same stage wait too: otherwise small operations could keep a large
                # one waiting forever.
                full.add(waiter.stage)
                continue
            self._held[waiter.stage] = QuotaUse(held.running + 1, held.amount + waiter.amount)
            self._waiters.remove(waiter)
            waiter.granted = True
            waiter.event.set()

    def _after_fork(self) -> None:
        self._held.clear()
        self._waiters.clear()


def _check_stages(what: str, given: object, fits: Callable[[object], bool], expected: str) -> None:
    """Raise UsageError unless ``given`` maps stages to values that fit."""
    if not isinstance(given, Mapping | None):
        raise wrong(what, given, f"a mapping of the names of stages, each to {expected}")
    for stage, one in (given or {}).items():
        if not fits(one):
            raise wrong(f"{what}[{stage!r}]", one, expected)
