"""Answers a failure by its kind: try again, use an alternative, leave the item out, or give up."""

from __future__ import annotations

import enum
import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import NoBlock
from chaoskit.runtime.calling.callables import decorated, finished, is_async, protectable, synchronous_all
from chaoskit.runtime.failures.base import TRANSIENT_ERRORS, Category, ResilienceError, SecurityError
from chaoskit.runtime.failures.classifier import DEFAULT, Classifier, Decision
from chaoskit.runtime.observing.events import Event
from chaoskit.runtime.observing.observers import Listener, emit
from chaoskit.runtime.retrying.policy import RetryPolicy, retry

__all__ = ["RecoveredCall", "Recovery", "RecoveryApplied", "RecoveryStep"]

F = TypeVar("F", bound=Callable[..., Any])


class RecoveryStep(enum.StrEnum):
    """The answer to a failure."""

    RETRY = "retry"
    ALTERNATIVE = "alternative"
    SKIP = "skip"
    GIVE_UP = "give-up"


Steps = Mapping[Category | type[ResilienceError], RecoveryStep]

DEFAULT_STEPS: Steps = {
    Category.TRANSIENT: RecoveryStep.RETRY,
    Category.RESOURCE: RecoveryStep.RETRY,
    Category.RECOVERABLE: RecoveryStep.ALTERNATIVE,
    Category.VALIDATION: RecoveryStep.SKIP,
}
"""The default answer to each category; the others are given up."""


@dataclass(frozen=True, slots=True)
class RecoveredCall:
    """How a call ended: with ``value``, by which ``step`` (None: at once), after which ``error``."""

    value: Any
    step: RecoveryStep | None = None
    error: BaseException | None = None

    @property
    def skipped(self) -> bool:
        """True if there is no value because the item was left out."""
        return self.step is RecoveryStep.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryApplied(Event):
    """A failure was answered by ``step``, since ``rule`` put it into ``category``."""

    name: ClassVar[str] = "recovery.applied"
    level: ClassVar[int | None] = logging.WARNING

    recovery: str
    step: RecoveryStep
    category: str
    rule: str
    error: BaseException


class Recovery(NoBlock):
    """Decides what follows each kind of failure, and does it.

    ``by`` maps a category, or a class of the taxonomy (the nearest counts), to a step. The defaults for the
    rest follow the category: transient and resource errors are tried again by ``policy``, recoverable ones go
    to ``alternative``, items with validation errors are left out, and all other errors are given up, which
    raises them. ``then`` is the step after the last attempt. Without an ``alternative``, the step of that
    name gives up.

    ``run(fn, ...)`` returns a :class:`RecoveredCall`; ``call(fn, ...)`` and the decorator return its value,
    or ``skipped`` if the item was left out. All take sync and async functions. The alternative gets the
    arguments of the call; its own errors are raised, with the first error as their context.

    Raises:
        UsageError: a step is impossible. An error that looks like an attack is neither tried again nor left
            out.
    """

    _no_block = (
        "A recovery has no 'with': it may do the work again or in another way, and a block runs once. "
        "Put the block into a function and use run(), call() or the decorator."
    )

    def __init__(
        self,
        *,
        by: Steps | None = None,
        policy: RetryPolicy | None = None,
        alternative: Callable[..., Any] | None = None,
        then: RecoveryStep = RecoveryStep.GIVE_UP,
        skipped: Any = None,
        classifier: Classifier = DEFAULT,
        name: str = "recovery",
        listeners: Sequence[Listener] = (),
    ) -> None:
        steps = {} if by is None else kinds.mapping("by", by, "a mapping of kinds of failures to steps")
        self._steps = {kind: _step(f"by[{kind}]", step) for kind, step in steps.items()}
        for kind, step in self._steps.items():
            _check_kind(kind, step)
        self._then = _step("then", then)
        if self._then is RecoveryStep.RETRY:
            raise wrong("then", str(then), "another step: it follows the last attempt")
        if alternative is not None:
            protectable("a recovery as its alternative", alternative)
        self.name = kinds.text("name", name)
        self.listeners = synchronous_all("listener", listeners)
        self._alternative, self._skipped = alternative, skipped
        self._classifier = kinds.instance("classifier", classifier, Classifier)
        # This class decides whether to try again; the policy decides how often, and after which waits.
        given = RetryPolicy(on=TRANSIENT_ERRORS) if policy is None else policy
        self._policy = retry(given, on=self._is_retried, but_not=None)

    def __repr__(self) -> str:
        said = ", ".join(f"{getattr(kind, '__name__', kind)}: {step}" for kind, step in self._steps.items())
        return f"<Recovery {self.name!r} {said or 'by category'}>"

    def __call__(self, fn: F) -> F:
        """Return ``fn`` with its failures answered."""
        return decorated("a recovery", fn, self._protected)

    def _protected(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def protected(*args: Any, **kwargs: Any) -> Any:
            return self.call(fn, *args, **kwargs)

        @functools.wraps(fn)
        async def aprotected(*args: Any, **kwargs: Any) -> Any:
            return await self.call(fn, *args, **kwargs)

        return aprotected if is_async(fn) else protected

    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """The value of :meth:`run`, or ``skipped``; if ``fn`` is async, await the result as usual."""
        if is_async(fn):
            return self._acall(fn, args, kwargs)
        return self._value(self.run(fn, *args, **kwargs))

    def run(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``fn`` and return how it ended, a :class:`RecoveredCall`; to be awaited if ``fn`` is async."""
        protectable("a recovery", fn)
        if is_async(fn):
            return self._arun(fn, args, kwargs)
        if self._alternative is not None and is_async(self._alternative):
            raise wrong("the alternative", self._alternative, "a synchronous function, since the call is one")
        try:
            return RecoveredCall(self._policy.call(fn, *args, **kwargs))
        except Exception as error:
            step = self._answer(error)
            if step is RecoveryStep.SKIP:
                return RecoveredCall(None, step, error)
            if step is not RecoveryStep.ALTERNATIVE or self._alternative is None:
                raise
            value = finished("a recovery", self._alternative, self._alternative(*args, **kwargs))
            return RecoveredCall(value, step, error)

    async def _arun(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> RecoveredCall:
        try:
            return RecoveredCall(await self._policy.acall(fn, *args, **kwargs))
        except Exception as error:
            step = self._answer(error)
            if step is RecoveryStep.SKIP:
                return RecoveredCall(None, step, error)
            if step is not RecoveryStep.ALTERNATIVE or self._alternative is None:
                raise
            value = self._alternative(*args, **kwargs)
            # Look at the value, not at the function: a lambda around an async function is async as well.
            if inspect.isawaitable(value):
                return RecoveredCall(await value, step, error)
            return RecoveredCall(finished("a recovery", self._alternative, value), step, error)

    async def _acall(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return self._value(await self._arun(fn, args, kwargs))

    def step_for(self, error: BaseException) -> RecoveryStep:
        """The answer to ``error`` while attempts are left."""
        return self._decided(self._classifier.classify(error))

    def _value(self, how: RecoveredCall) -> Any:
        return self._skipped if how.skipped else how.value

    def _decided(self, decision: Decision) -> RecoveryStep:
        nearest: tuple[Any, ...] = (*decision.verdict.__mro__, decision.category)
        found = next((self._steps[kind] for kind in nearest if kind in self._steps), None)
        return found or DEFAULT_STEPS.get(decision.category, RecoveryStep.GIVE_UP)

    def _is_retried(self, error: BaseException) -> bool:
        return self.step_for(error) is RecoveryStep.RETRY

    def _answer(self, error: BaseException) -> RecoveryStep:
        """The step that follows the last attempt; also emitted as an event."""
        decision = self._classifier.classify(error)
        step = self._decided(decision)
        if step is RecoveryStep.RETRY:
            step = self._then
        if step is RecoveryStep.ALTERNATIVE and self._alternative is None:
            step = RecoveryStep.GIVE_UP
        event = RecoveryApplied(
            at=self._policy.clock.monotonic(),
            recovery=self.name,
            step=step,
            category=decision.category.value,
            rule=decision.rule,
            error=error,
        )
        emit(self.listeners, event)
        return step


def _step(what: str, step: object) -> RecoveryStep:
    try:
        return RecoveryStep(step)  # type: ignore[arg-type]
    except ValueError:
        raise wrong(what, step, f"one of {', '.join(RecoveryStep)}") from None


def _check_kind(kind: object, step: RecoveryStep) -> None:
    known = isinstance(kind, Category) or (isinstance(kind, type) and issubclass(kind, ResilienceError))
    if not known:
        raise wrong("a key of by", kind, "a Category, or a class of errors of chaoskit.runtime")
    attack = kind is Category.SECURITY or (isinstance(kind, type) and issubclass(kind, SecurityError))
    if attack and step in (RecoveryStep.RETRY, RecoveryStep.SKIP):
        raise wrong(f"by[{kind}]", str(step), "give-up or alternative: it may be an attack")
