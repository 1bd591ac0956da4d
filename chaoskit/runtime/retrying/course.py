"""The course of one retried call: after each failure, how long to wait, or why to give up.

This is all of the retry logic; sleeping, calling and awaiting are left to the shells. A course belongs to one
call and is never shared.

Reasons to give up: ``not-retryable``, ``attempts``, ``deadline`` (the wait would not end before it),
``retry-after`` (the other side asks for a longer wait than the cap), ``budget``, ``shutdown`` (the wait was
interrupted), ``repair`` (the step between attempts failed), ``backoff`` (it raised).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from chaoskit.runtime.deadlines import Scope
from chaoskit.runtime.failures.classifier import Decision
from chaoskit.runtime.failures.symptoms import asked_to_wait
from chaoskit.runtime.failures.taxonomy import DeadlineExceeded, Throttled
from chaoskit.runtime.log import ERROR, log
from chaoskit.runtime.observing.observers import emit, untold, wanted
from chaoskit.runtime.retrying.backoff import Backoff, draw
from chaoskit.runtime.retrying.budget import RetryBudget
from chaoskit.runtime.retrying.history import AttemptLog, RetryContext, shown
from chaoskit.runtime.retrying.rules import RetryRules
from chaoskit.runtime.retrying.switch import Switched, switched

if TYPE_CHECKING:
    from chaoskit.runtime.observing.events import Event

__all__ = ["Course"]

Told: TypeAlias = Literal[
    "BudgetExhausted", "HookFailed", "RetriesExhausted", "RetryScheduled", "RetrySucceeded"
]


class Course:
    """``attempts`` counts the failed ones so far; ``reason`` is set when the call is given up."""

    __slots__ = (
        "_before",
        "_history",
        "_receipt",
        "_rules",
        "_until",
        "_work",
        "attempts",
        "reason",
        "scheduled",
        "wait",
    )

    def __init__(self, rules: RetryRules, until: Scope | None, work: object, *, keep: bool = False) -> None:
        self._rules = rules
        self._until = until
        self._receipt: int | None = None
        self._before: BaseException | None = None
        # A listener that joins later misses the earlier failures. Keeping records in case one does, cheap as
        # they are, would make every failure cost more.
        keep = keep or bool(rules.hooks) or wanted(rules.listeners)
        # None if nothing will read it: keeping a failure means making a text of its error.
        self._history = AttemptLog() if keep else None
        self._work = work
        self.attempts = 0
        self.wait = 0.0
        self.reason: str | None = None
        self.scheduled: Event | None = None

    def failed(self, error: BaseException, own: bool = False) -> bool:
        """Note that an attempt failed with ``error``; return True if another follows, after ``self.wait``.

        ``own`` errors are this call's verdicts on an attempt (cut off, or its result rejected):
        ``attempt_timeout`` and ``on_result`` ask for another attempt, whatever ``on`` says.
        """
        rules = self._rules
        self.attempts += 1
        if (own and isinstance(error, DeadlineExceeded)) or type(error) is Throttled:
            # A refused attempt is not what went wrong: the error before it is the cause.
            if error.__cause__ is None and self._before is not error:
                error.__cause__ = self._before
        else:
            self._before = error
        decision = rules.matcher.classify(error, rules.classifier) if rules.classifies else None
        self.reason = self._refusal(error, decision, own)
        if self._history is not None:
            wait = None if self.reason else self.wait
            self._history.add(self.attempts, error, rules.clock.time(), wait)
            self._tell_failure(error, decision)
        elif self.reason is not None and self.attempts > 1:
            # Even without listeners this may be worth a line in the log.
            self._tell_end(error)
        return self.reason is None

    def started(self) -> None:
        """Note that the next attempt begins: what was charged for it is spent."""
        self._receipt = None

    def stopped(self, reason: str, error: BaseException) -> None:
        """Give up for ``reason``: the next attempt will not begin after all."""
        self.reason = reason
        self.close()
        self._tell_end(error)

    def succeeded(self) -> None:
        """Note that a later attempt succeeded."""
        if self._history is not None:
            self.tell("RetrySucceeded", context=self.context)

    def close(self) -> None:
        """Give back the charge for an attempt that never began, and forget the error. Idempotent."""
        self._before = None
        if self._receipt is not None and self._rules.budget is not None:
            self._rules.budget.give_back(self._receipt)
            self._receipt = None

    @property
    def function(self) -> str:
        """The name of the called function; empty for a loop."""
        work = self._work
        return "" if work is None else str(getattr(work, "__qualname__", type(work).__qualname__))

    @property
    def context(self) -> RetryContext:
        """The failures so far."""
        history = self._history or AttemptLog()
        return history.context(self.attempts, exhausted=self.reason is not None)

    @property
    def quiet(self) -> bool:
        """True for the first failures, which are too common to be worth a message."""
        return self.attempts <= self._rules.quiet

    def tell(self, kind: Told, **fields: object) -> Event | None:
        """Emit an event of this call and return it; None if its class cannot be loaded."""
        rules = self._rules
        try:
            # Imported late: a program whose calls succeed has no events.
            from chaoskit.runtime.retrying import events
        except Exception as failure:
            untold(f"{kind} of {self.function or 'a loop'}", failure)
            return None
        event: Event = getattr(events, kind)(
            at=rules.clock.monotonic(),
            policy=rules.name,
            function=self.function,
            attempts=self.attempts,
            **fields,
        )
        emit(rules.listeners, event)
        return event

    def _refusal(self, error: BaseException, decision: Decision | None, own: bool) -> str | None:
        rules = self._rules
        if own:
            if isinstance(error, DeadlineExceeded):
                return "deadline"
        elif not rules.matcher.matches(error, decision) or (
            rules.exceptions is not None and rules.exceptions.matches(error, decision)
        ):
            return "not-retryable"
        if rules.throttle is not None and not isinstance(error, Throttled):
            # Throttled is left out: the throttle's own rejection says nothing about the service.
            rules.throttle.rejected(rules.clock.monotonic())
        mode = switched()
        most = _limit(decision, rules, mode)
        if most is not None and self.attempts >= most:
            return "attempts"
        try:
            wait = self._next_wait(error, decision)
        except Exception as failure:
            # A user's backoff has failed. The caller must see the error of the attempt.
            report(f"the backoff of {self.function or 'a loop'}", error, failure)
            return "backoff"
        if wait == math.inf:
            self.wait = wait
            return "retry-after"
        self.wait = wait if mode is None else 0.0
        until = self._until
        # Ending exactly at the deadline is too late as well: an attempt needs some time.
        if until is not None and until[1].monotonic() + self.wait >= until[0]:
            return "deadline"
        # Last, so that nothing is charged for an attempt that another limit forbids.
        return None if rules.budget is None else self._charge(rules.budget)

    def _charge(self, budget: RetryBudget) -> str | None:
        self._receipt = budget.take(self._rules.clock.monotonic())
        if self._receipt is not None:
            return None
        if self._history is not None:
            self.tell("BudgetExhausted", balance=budget.balance())
        return "budget"

    def _next_wait(self, error: BaseException, decision: Decision | None) -> float:
        rules = self._rules
        backoff = rules.wait
        if decision is not None and rules.waits:
            backoff = _backoff_for(decision, rules)
        wait = draw(backoff.band(self.attempts, self.wait), rules.random)
        if rules.retry_after_cap:
            asked = asked_to_wait(error, rules.clock)
            if asked is not None:
                if asked > rules.retry_after_cap and rules.retry_after_above_cap == "give-up":
                    return math.inf
                # Capped: a service that asks for a day would stop the program. Spread, if the policy says so:
                # clients that were sent away together would come back together.
                asked = min(asked, rules.retry_after_cap)
                wait = max(wait, asked * (1 + rules.retry_after_spread * rules.random.random()))
        return wait

    def _tell_failure(self, error: BaseException, decision: Decision | None) -> None:
        if self.reason is not None:
            self._tell_end(error)
            return
        self.scheduled = self.tell(
            "RetryScheduled",
            wait=self.wait,
            error_type=type(error).__qualname__,
            error=shown(error),
            category=decision.category.value if decision else None,
            rule=decision.rule if decision else None,
            quiet=self.quiet,
        )

    def _tell_end(self, error: BaseException) -> None:
        self.tell(
            "RetriesExhausted",
            reason=self.reason,
            error_type=type(error).__qualname__,
            error=shown(error),
            context=self.context,
        )


def report(what: str, error: BaseException, failure: Exception) -> None:
    """Log that ``what``, a part of the policy, raised ``failure``, and add a note about it to ``error``."""
    log(ERROR, "%s raised", what, error=failure)
    note = f"{what} raised {type(failure).__qualname__}: {shown(failure)}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _limit(decision: Decision | None, rules: RetryRules, mode: Switched | None) -> int | None:
    """The most attempts for a failure of this kind, looked up like its backoff in :func:`_backoff_for`."""
    most = rules.most
    if decision is not None and rules.attempts_by:
        kinds: tuple[Any, ...] = (*decision.verdict.__mro__, decision.category)
        most = next((rules.attempts_by[kind] for kind in kinds if kind in rules.attempts_by), most)
    if mode is None or mode.attempts is None:
        return most
    return mode.attempts if most is None else min(most, mode.attempts)


def _backoff_for(decision: Decision, rules: RetryRules) -> Backoff:
    """The backoff of the verdict's nearest class that has one, else of its category, else the default."""
    for cls in decision.verdict.__mro__:
        if cls in rules.waits:
            return rules.waits[cls]
    return rules.waits.get(decision.category, rules.wait)
