"""For each R and Q row, retries with just the bug that the row is about."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from chaoskit.contracts.retry import ChaoskitRetry, RetryPlan
from chaoskit.core.errors import ChaoskitError
from chaoskit.runtime import RetryBudget
from chaoskit.runtime.calling.callables import protectable
from chaoskit.runtime.clock import SystemClock
from chaoskit.runtime.retrying.backoff import LONGEST_WAIT

Fn = Callable[..., Any]


class Twin(ChaoskitRetry):
    """Ours with a bug."""

    @property
    def name(self) -> str:  # type: ignore[override]
        return type(self).__name__


class Changed(Twin):
    """Ours with other options."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {}

    def policy(self, plan: RetryPlan) -> Any:
        return replace(super().policy(plan), **self.options(plan))


class Hand(Twin):
    """The loop that everybody writes, with what is needed to break it."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in itertools.count(1):
                try:
                    return fn(*args, **kwargs)
                except plan.on as error:
                    self.failed(error, plan, attempt)
                self.sleep(min(plan.cap, plan.initial * plan.factor ** (attempt - 1)), plan)
            return None

        return call

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in itertools.count(1):
                try:
                    return await fn(*args, **kwargs)
                except plan.on as error:
                    self.failed(error, plan, attempt)
                await self.clock.asleep(min(plan.cap, plan.initial))
            return None

        return call

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        if attempt >= plan.attempts:
            raise error

    def sleep(self, seconds: float, plan: RetryPlan) -> None:
        if seconds > 0:
            self.clock.sleep(seconds)


# -- waits


@dataclass(frozen=True)
class Waits:
    """A backoff from a function of the number of failures."""

    of: Callable[[int], tuple[float, float]]
    cap: float = LONGEST_WAIT

    def band(self, failures: int, previous: float) -> tuple[float, float]:
        return self.of(failures)


class Overflows(Hand):
    """Takes the power first and the cap afterwards."""


class IgnoresTheCap(Changed):
    """Grows forever."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"wait": Waits(lambda n: (plan.initial * 1.5 ** min(n, 60),) * 2)}


class WiderBand(Changed):
    """Draws up to half as much again as declared."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        def of(failures: int) -> tuple[float, float]:
            base = min(plan.cap, plan.initial * plan.factor ** min(failures - 1, 200))
            return base * plan.jitter[0], base * plan.jitter[1] * 1.5 + 0.1

        return {"wait": Waits(of)} if plan.initial >= 0 else {}


class SleepsNegative(Hand):
    """Hands a negative wait to the sleeper."""

    def sleep(self, seconds: float, plan: RetryPlan) -> None:
        if seconds:
            self.clock.sleep(seconds)


class ClipsAfterTheDraw(Hand):
    """Draws around the wait and then cuts at the cap, where most draws end up."""

    def sleep(self, seconds: float, plan: RetryPlan) -> None:
        low, high = plan.jitter
        self.clock.sleep(min(plan.cap, seconds * 2 * random.Random().uniform(low, high)))


class NoJitterAtFirst(Changed):
    """The first wait is always the same."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"wait": Waits(lambda n: (plan.initial,) * 2 if n == 1 else (0.0, plan.cap))}


# -- attempts


class OneMore(Changed):
    """Counts retries where attempts were asked for."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"attempts": plan.attempts + 1}


class ZeroIsForEver(Hand):
    """Compares for equality, and so never meets zero."""

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        if attempt == plan.attempts:
            raise error


class RetriesCtrlC(Hand):
    """Catches whatever comes."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        return super().wrap(fn, replace(plan, on=(BaseException,)))


class SwallowsCancellation(Hand):
    """The same in a task."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        return super().awrap(fn, replace(plan, on=(BaseException,)))


class ShieldsTheWait(Hand):
    """Finishes its wait before it obeys."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().awrap(fn, plan)

        @functools.wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            work = asyncio.ensure_future(inner(*args, **kwargs))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
                work.cancel()
                raise

        return call


# -- errors


class HidesTheError(Hand):
    """Ends with an error of its own that leads nowhere."""

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        if attempt >= plan.attempts:
            raise RuntimeError("gave up") from None


class GrowsTheContext(Twin):
    """Makes the next attempt while it handles the error of the last."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        def call(*args: Any, left: int = plan.attempts, **kwargs: Any) -> Any:
            try:
                return fn(*args, **kwargs)
            except plan.on:
                if left <= 1:
                    raise
                return call(*args, left=left - 1, **kwargs)

        return call


class MakesACycle(Hand):
    """Keeps the last error in the frame that its traceback holds."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            last = None
            for _ in range(plan.attempts):
                try:
                    return fn(*args, **kwargs)
                except plan.on as error:
                    last = error
            assert last is not None
            raise last

        return call


# -- sharing


class SharesItsResult(Hand):
    """Keeps the result on the policy."""

    result: Any = None

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().awrap(fn, plan)

        @functools.wraps(fn)
        async def call(*args: Any, **kwargs: Any) -> Any:
            self.result = await inner(*args, **kwargs)
            await asyncio.sleep(0.3)
            return self.result

        return call


class SharesItsCount(Hand):
    """Counts attempts on the decorated function, for all who call it."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        used = itertools.count(1)

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            while True:
                try:
                    return fn(*args, **kwargs)
                except plan.on:
                    if next(used) >= plan.attempts:
                        raise

        return call


class SharesItsIterator(Hand):
    """All threads take their attempts from one generator."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        def numbers() -> Iterator[int]:
            for number in itertools.count():
                time.sleep(0.005)  # long enough for every thread to come and find it running
                yield number

        shared = numbers()

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            for attempt in range(plan.attempts):
                next(shared)
                try:
                    return fn(*args, **kwargs)
                except plan.on:
                    if attempt == plan.attempts - 1:
                        raise
            return None

        return call


# -- time


class NoDeadline(Changed):
    """Forgets it."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"deadline": None}


class WaitsInVain(Hand):
    """Looks at the deadline only after the wait."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        end = self.clock.monotonic() + (plan.deadline or 1e9)

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            while True:
                try:
                    return fn(*args, **kwargs)
                except plan.on as error:
                    last = error
                self.clock.sleep(plan.initial)
                if self.clock.monotonic() > end:
                    raise last

        return call


class NeverCuts(Twin):
    """Looks at the deadline between attempts only."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        policy = self.policy(plan)

        async def call(*args: Any) -> Any:
            async for attempt in policy:
                with attempt:
                    return await fn(*args)
            return None

        return call


class WallClock(Hand):
    """Measures the deadline on the clock that people set."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            end = self.clock.time() + (plan.deadline or 1e9)
            for attempt in itertools.count(1):
                try:
                    return fn(*args, **kwargs)
                except plan.on:
                    if attempt >= plan.attempts or self.clock.time() >= end:
                        raise
                self.sleep(plan.initial, plan)
            return None

        return call


# -- listeners and hooks


class ListenerBreaks(Hand):
    """Calls the listener unguarded."""

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        super().failed(error, plan, attempt)
        if plan.listener is not None:
            plan.listener()


class ListenerFailsUnseen(ListenerBreaks):
    """Passes over a listener's error in silence."""

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        try:
            super().failed(error, plan, attempt)
        except ValueError:
            pass


class NotReentrant(Twin):
    """Counts for the policy what belongs to a call."""

    depth = 0

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().wrap(fn, plan)

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.depth:
                return fn(*args, **kwargs)
            self.depth += 1
            try:
                return inner(*args, **kwargs)
            finally:
                self.depth -= 1

        return call


class NeverReleases(ListenerBreaks):
    """Opens what a hook returns, and leaves it open."""

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        if attempt < plan.attempts and plan.listener is not None:
            plan.listener().__enter__()
        else:
            Hand.failed(self, error, plan, attempt)


class Remembers(Twin):
    """Keeps the story of every call."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().wrap(fn, plan)
        story: list[str] = []

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            story.append(f"called at {self.clock.monotonic()}")
            return inner(*args, **kwargs)

        return call


# -- Retry-After


class TrustsTheHeader(Hand):
    """Takes the header for a number."""

    def failed(self, error: BaseException, plan: RetryPlan, attempt: int) -> None:
        super().failed(error, plan, attempt)
        header = error.response.headers.get("Retry-After")  # type: ignore[attr-defined]
        if header is not None:
            self.clock.sleep(min(plan.retry_after_cap, max(0.0, float(header))))


class ObeysWithoutCap(Changed):
    """Sleeps for as long as it is told."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"retry_after_cap": LONGEST_WAIT}


class IgnoresTheHeader(Changed):
    """Comes back too soon."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"retry_after_cap": 0}


# -- kinds


class CallsAnything(Hand):
    """Calls what it is given, and is content with what comes back."""


class LooksAtTheFunctionAlone(Twin):
    """Refuses what it knows by the function, and hands on what any other returns."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        protectable("a retry", fn)
        policy = self.policy(plan)

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            # In a box, which is a result like any other.
            return policy(lambda: [fn(*args, **kwargs)])()[0]

        return call


class AwaitsAnything(Hand):
    """Wraps a synchronous call and protects nothing of it."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        async def call(*args: Any) -> Any:
            result = fn(*args)
            return await result if hasattr(result, "__await__") else result

        return call


class Returns(Twin):
    """An async wrapper that is a plain function."""

    def awrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().awrap(fn, plan)
        return lambda *args: inner(*args)


class LosesTheName(Twin):
    """Without functools.wraps."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().wrap(fn, plan)
        return lambda *args, **kwargs: inner(*args, **kwargs)


class NotAMethod(Twin):
    """An object with a call, which does not bind."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().wrap(fn, plan)

        class Callable_:
            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                return inner(*args, **kwargs)

        return functools.update_wrapper(Callable_(), fn)


# -- errors that travel, chance, sleep, chains, shutdown


class Needy(ChaoskitError):
    """Pickled as a plain exception would be, which its own constructor refuses."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> Any:
        return Exception.__reduce__(self)


class UnpicklableErrors(Twin):
    """One of its errors does not arrive."""

    def errors(self) -> list[BaseException]:
        return [*super().errors(), Needy("lost", code=1)]


class GlobalRandom(Changed):
    """Draws from the random numbers of everybody."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"random": random}


class IgnoresTheSeed(Changed):
    """Chance that no seed reproduces."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"random": random.SystemRandom()}


class SleepsZero(Hand):
    """Bothers the sleeper for nothing."""

    def sleep(self, seconds: float, plan: RetryPlan) -> None:
        self.clock.sleep(seconds)


class WalksForEver(Changed):
    """Follows causes without looking where it has been."""

    def condition(self, plan: RetryPlan) -> Any:
        def caused(error: BaseException | None) -> bool:
            while error is not None:
                if isinstance(error, ConnectionError):
                    return True
                error = error.__cause__
            return False

        return caused


class DeafToShutdown(Changed):
    """Sleeps on."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"wake": None, "clock": SystemClock() if plan.wake else self.clock}


# -- budgets


class Lavish(RetryBudget):
    """Carries what it did not spend over into the next window."""

    def _left(self, now: float) -> float:
        self.roll(now)
        self.earned = getattr(self, "earned", 0) + sum(s.requests for s in self._slots)
        retries = sum(s.retries for s in self._slots)
        return min(self.cap, self.floor + self.ratio * self.earned) - retries


class Rounds(RetryBudget):
    """Rounds the share up."""

    def _left(self, now: float) -> float:
        return super()._left(now) + 1


class Racy(RetryBudget):
    """Looks, and then takes."""

    def take(self, now: float) -> int | None:
        if self._left(now) < 1:
            return None
        threading.Event().wait(0.001)
        with self._lock:
            self._slots[-1].retries += 1
            return self._slots[-1].number


class KeepsTheCharge(RetryBudget):
    """Never gives back."""

    def give_back(self, receipt: int) -> None:
        pass


class GivesTooMuchBack(RetryBudget):
    """A balance that leaves its bounds."""

    def balance(self) -> int:
        return super().balance() + 1


class Spends(Twin):
    """Ours with another budget."""

    kind: type[RetryBudget] = Lavish

    def budget(self, **limits: Any) -> Any:
        return self.kind(clock=self.clock, **limits)


class SpendsLavishly(Spends):
    """Requests of long ago buy retries."""


class SpendsRounded(Spends):
    """One retry too many."""

    kind = Rounds


class SpendsRacily(Spends):
    """Two threads take the last token."""

    kind = Racy


class SpendsWhatNeverStarts(Spends):
    """An interrupted wait costs a token."""

    kind = KeepsTheCharge


class SpendsBeyondTheCap(Spends):
    """One more than there is."""

    kind = GivesTooMuchBack


class Uncharged(Changed):
    """Does without the budget."""

    def options(self, plan: RetryPlan) -> dict[str, Any]:
        return {"budget": None}


class Mute(Twin):
    """Says nothing of the budget."""

    def policy(self, plan: RetryPlan) -> Any:
        tell = plan.on_event
        quiet = (lambda name: None if "budget" in name else tell(name)) if tell else None
        return super().policy(replace(plan, on_event=quiet))


class BudgetHidesTheError(Twin):
    """Ends with an error about money."""

    def wrap(self, fn: Fn, plan: RetryPlan) -> Fn:
        inner = super().wrap(fn, plan)

        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return inner(*args, **kwargs)
            except plan.on:
                raise RuntimeError("no budget") from None

        return call


BROKEN: dict[str, list[type[Twin]]] = {
    "R1": [Overflows, IgnoresTheCap],
    "R2": [WiderBand, SleepsNegative],
    "R3": [ClipsAfterTheDraw, NoJitterAtFirst],
    "R4": [OneMore, ZeroIsForEver],
    "R5": [RetriesCtrlC],
    "R6": [SwallowsCancellation, ShieldsTheWait],
    "R7": [HidesTheError, GrowsTheContext],
    "R8": [MakesACycle],
    "R9": [SharesItsResult],
    "R10": [SharesItsCount, SharesItsIterator],
    "R11": [NoDeadline, WaitsInVain],
    "R12": [NeverCuts],
    "R13": [ListenerBreaks, ListenerFailsUnseen],
    "R14": [TrustsTheHeader, ObeysWithoutCap, IgnoresTheHeader],
    "R15": [CallsAnything],
    "R16": [CallsAnything],
    "R16a": [AwaitsAnything],
    "R17": [WallClock],
    "R18": [UnpicklableErrors],
    "R19": [GlobalRandom, IgnoresTheSeed],
    "R20": [SleepsZero],
    "R21": [NotReentrant],
    "R22": [NeverReleases, Remembers],
    "R23": [WalksForEver],
    "R24": [LosesTheName, NotAMethod],
    "R24a": [Returns],
    "R25": [DeafToShutdown],
    "R26": [CallsAnything, LooksAtTheFunctionAlone],
    "Q1": [SpendsLavishly, SpendsRounded, Uncharged],
    "Q1t": [SpendsRacily, Uncharged],
    "Q2": [SpendsWhatNeverStarts, SpendsBeyondTheCap],
    "Q3": [Mute, BudgetHidesTheError],
}
