"""Quotas: how much of the program may run at once, in all and by stage, and which stage goes first."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from chaoskit.core.errors import wrong
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.config import option
from chaoskit.runtime.deadlines import remaining
from chaoskit.runtime.failures.taxonomy import BulkheadFull
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.numbers import is_number, is_whole
from chaoskit.runtime.running.shutdown_records import ShuttingDown
from chaoskit.runtime.stop import Stop, watched

__all__ = ["Quota", "QuotaUse", "StageBudget"]


@dataclass(frozen=True, slots=True)
class StageBudget:
    """What one stage may hold at the same time: a number of operations, and so much of an ``amount``.

    The amount is in the caller's unit, such as bytes of memory or of disk. None: no limit.

    Raises:
        UsageError: a limit that is not above zero.
    """

    concurrent: int | None = option(default=None, minimum=1)
    amount: float | None = option(default=None, above=0)

    def __post_init__(self) -> None:
        if self.concurrent is not None and not (is_whole(self.concurrent) and self.concurrent >= 1):
            raise wrong("concurrent", self.concurrent, "a whole number of at least 1, or None for no limit")
        if self.amount is not None and not (is_number(self.amount) and self.amount > 0):
            raise wrong("amount", self.amount, "more than zero, or None for no limit")


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What one stage holds, and how many of its operations wait."""

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

    Of those that wait the one with the highest priority that fits goes next; among equals the one that came
    first. A stage whose budget is used up does not stand in the way of others; within a stage none overtakes
    a larger one of the same priority. A stage of low priority waits for as long as higher ones keep coming.

    Threads may share it; in a forked child everything is free. Setting ``wake``, such as ``shutdown.wake``,
    ends every wait: ``ShuttingDown``. Raises UsageError for limits that cannot be.
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
        if not (is_whole(concurrency) and concurrency >= 1):
            raise wrong("concurrency", concurrency, "a whole number of at least 1")
        if not (is_number(max_wait) and max_wait >= 0):
            raise wrong("max_wait", max_wait, "zero or more seconds, or infinity")
        _check_stages("budgets", budgets, lambda one: isinstance(one, StageBudget), "a StageBudget")
        _check_stages("priorities", priorities, is_number, "a number, the higher goes first")
        self.concurrency = concurrency
        self._budgets, self._priorities = dict(budgets or {}), dict(priorities or {})
        self._max_wait, self._wake = max_wait, wake
        self._clock = clock or SystemClock()
        # Reentrant, because a signal handler may run an operation while its own thread holds it.
        self._lock = threading.RLock()
        self._arrived = 0
        self._held: dict[str, QuotaUse] = {}
        self._waiters: list[_QuotaWaiter] = []
        survive_fork(self)

    @contextmanager
    def hold(self, stage: str, *, amount: float = 0.0, priority: int | None = None) -> Iterator[None]:
        """Run the block as one operation of ``stage`` that takes ``amount`` of its budget.

        ``priority`` instead of that of the stage: the higher goes first.

        Raises:
            UsageError: the budget could never hold the amount.
            BulkheadFull: there was no room in time.
            ShuttingDown: the program is to end.
        """
        if not isinstance(stage, str):
            raise wrong("stage", stage, "the name of a stage, a text")
        most = self._budgets.get(stage, StageBudget()).amount
        limit = math.inf if most is None else most
        if not (is_number(amount) and 0 <= amount <= limit):
            # Waiting for what can never be there would be a hang.
            raise wrong("amount", amount, f"a number between zero and the budget of {stage!r}, {most}")
        order = self._priorities.get(stage, 0) if priority is None else priority
        if not is_number(order):
            raise wrong("priority", order, "a number, the higher goes first")
        # As a float: what the sum could not be made of would stay in the queue, and fail all that come after.
        held = float(amount)
        self._enter(stage, held, order)
        try:
            yield
        finally:
            self._leave(stage, held)

    def use(self) -> Mapping[str, QuotaUse]:
        """What each stage holds now, and how many wait."""
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
            # Negated, so that the least goes first: the highest priority, then the first to come.
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
            # A thread cannot wait for more than TIMEOUT_MAX (292 years on Linux): as good as for ever.
            self._clock.sleep(min(patience, threading.TIMEOUT_MAX), waiter.event)
        except BaseException:
            # Interrupted, perhaps at the moment at which it was granted: then the room is passed on.
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
        """Take it out of the queue; False if it was granted, perhaps at the last moment."""
        with self._lock:
            if waiter.granted:
                return False
            # In a forked child the queue is empty.
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                # It may have held up smaller ones of its stage.
                self._grant()
            return True

    def _leave(self, stage: str, amount: float) -> None:
        with self._lock:
            held = self._held.get(stage, QuotaUse())
            # Not below nothing: in a forked child the thread that forked leaves what the child never held.
            rest = QuotaUse(max(held.running - 1, 0), max(held.amount - amount, 0.0))
            # Without operations nothing is held: sums of fractions would leave a remainder for ever.
            self._held[stage] = rest if rest.running else QuotaUse()
            self._grant()

    def _grant(self) -> None:
        """Grant what fits, in order; under the lock."""
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
                # Those behind it of the same stage wait as well: small ones could keep a large one out.
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
    """Refuse anything but a mapping of stages to what is ``expected``."""
    if not isinstance(given, Mapping | None):
        raise wrong(what, given, f"a mapping of the names of stages, each to {expected}")
    for stage, one in (given or {}).items():
        if not fits(one):
            raise wrong(f"{what}[{stage!r}]", one, expected)
