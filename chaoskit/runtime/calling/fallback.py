"""Fallback chain: the first candidate that is available, valid now and good enough; else the last good value.

A candidate is a function that makes the value (calls another service, reads a cache, looks up a calibrator),
together with what is known about it in advance. Every rejection is recorded with its reason.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import NoBlock
from chaoskit.runtime.calling.callables import (
    answered,
    called,
    decorated,
    finished,
    is_async,
    synchronous_all,
)
from chaoskit.runtime.calling.candidates import (
    Candidate,
    CandidateRejected,
    Choice,
    ChoiceMade,
    LastGood,
    Rejection,
    Why,
)
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import NoCandidate
from chaoskit.runtime.forks import Lasting, survive_fork
from chaoskit.runtime.numbers import is_number
from chaoskit.runtime.observing.observers import Listener, emit, wanted

__all__ = ["FallbackChain"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class FallbackChain(Lasting, NoBlock, Generic[T]):
    """Tries candidates in order and returns the first acceptable value.

    ``choose(...)`` (``achoose`` if a candidate may be async) returns the :class:`Choice`, ``call(...)`` only
    the value. As a decorator it puts the function before the candidates, as the first one.

    Errors that are instances of ``on`` reject a candidate; others pass through, as do ``BaseException`` such
    as Ctrl-C. If nothing is acceptable, ``NoCandidate`` is raised: its context has all rejections, its cause
    is the last error among them. If there is a ``minimum_quality``, candidates of unknown quality are
    refused. Raises ``UsageError`` if two candidates have one name, and for bounds, errors and a ``last_good``
    of the wrong kind.
    """

    _no_block = (
        "A fallback chain has no 'with': it gives another candidate's value, and a block has no value to "
        "replace. Put the block into a function and use call(), choose() or the decorator."
    )

    def __init__(
        self,
        *candidates: Candidate[T],
        minimum_quality: float | None = None,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        last_good: LastGood | None = None,
        name: str = "fallback",
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        listeners: Sequence[Listener] = (),
    ) -> None:
        for candidate in candidates:
            if not isinstance(candidate, Candidate):
                raise wrong("a candidate", candidate, "a Candidate", "Write Candidate(name, function).")
        names = [candidate.name for candidate in candidates]
        if not all(isinstance(one, str) for one in names) or len(set(names)) != len(names):
            raise wrong("the names of the candidates", names, "texts, each one once")
        if minimum_quality is not None and not is_number(minimum_quality):
            raise wrong("minimum_quality", minimum_quality, "a number, or None")
        self.candidates = candidates
        self.name = kinds.text("name", name)
        self.listeners = synchronous_all("listener", listeners)
        self._minimum = minimum_quality
        self._on = kinds.errors("on", on)
        self._last_good = kinds.instance("last_good", last_good, LastGood, optional=True)
        self._clock = kinds.clock(clock)
        self._kept: OrderedDict[Hashable, tuple[float, Choice[T]]] = OrderedDict()
        self._lock = threading.RLock()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<FallbackChain {self.name!r}: {', '.join(c.name for c in self.candidates)}>"

    def __call__(self, fn: F) -> F:
        """Return ``fn`` with the candidates behind it."""
        return decorated("a fallback chain", fn, self._protected)

    def _protected(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        chain = self._behind(fn)
        if not is_async(fn):
            chain._check_sync()

        @functools.wraps(fn)
        def protected(*args: Any, **kwargs: Any) -> Any:
            return chain.choose(*args, **kwargs).value

        @functools.wraps(fn)
        async def aprotected(*args: Any, **kwargs: Any) -> Any:
            return (await chain.achoose(*args, **kwargs)).value

        return aprotected if is_async(fn) else protected

    def call(self, /, *args: Any, **kwargs: Any) -> T:
        """Return the value of :meth:`choose`."""
        return self.choose(*args, **kwargs).value

    def choose(self, /, *args: Any, **kwargs: Any) -> Choice[T]:
        """Return the first acceptable choice; raises ``UsageError`` if a candidate is async."""
        self._check_sync()
        with self._choosing(args, kwargs) as choosing:
            for candidate in choosing.due():
                try:
                    value = candidate.get(*args, **kwargs)
                except self._on as error:
                    choosing.reject(candidate.name, Why.FAILED, repr(error), error)
                    continue
                # Outside the try: an async candidate here is a mistake in the program, not a reason to fall
                # back.
                if choosing.accepts(candidate, finished("a candidate", candidate.get, value)):
                    break
            return choosing.end()

    async def achoose(self, /, *args: Any, **kwargs: Any) -> Choice[T]:
        """The same with candidates that may be async, sync, or mixed."""
        with self._choosing(args, kwargs) as choosing:
            for candidate in choosing.due():
                try:
                    value = candidate.get(*args, **kwargs)
                    # Look at the value, not at the function: a lambda around an async function is async as
                    # well.
                    if awaited := inspect.isawaitable(value):
                        value = await value
                except self._on as error:
                    choosing.reject(candidate.name, Why.FAILED, repr(error), error)
                    continue
                if not awaited:
                    finished("a candidate", candidate.get, value)
                if choosing.accepts(candidate, value):
                    break
            return choosing.end()

    def _check_sync(self) -> None:
        for candidate in self.candidates:
            if is_async(candidate.get):
                raise wrong(
                    "a candidate",
                    candidate.get,
                    "a synchronous function, since the call is one",
                    f"{candidate.name!r} would be found only at the moment of need. Use achoose, or an async "
                    "function in front of the chain.",
                )

    def _behind(self, fn: Callable[..., Any]) -> FallbackChain[T]:
        # A new chain for each function, because last good values belong to one function.
        first: Candidate[T] = Candidate(getattr(fn, "__qualname__", repr(fn)), fn)
        return FallbackChain(
            first,
            *self.candidates,
            minimum_quality=self._minimum,
            on=self._on,
            last_good=self._last_good,
            name=self.name,
            clock=self._clock,
            listeners=self.listeners,
        )

    def _choosing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Choosing[T]:
        return _Choosing(self, self._key(args, kwargs))

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        keep = self._last_good
        if keep is None:
            return None
        if keep.key is not None:
            found = called("key", keep.key, *args, **kwargs)
            try:
                hash(found)
            # Checked before any candidate is called: this error would lose the candidate's result.
            except TypeError as error:
                hint = f"It says: {error}. A tuple instead of a list will do."
                raise wrong("what the key of last_good gave", found, "something hashable", hint) from None
            return cast(Hashable, found)
        # The arguments themselves cannot serve as the key: they need not be hashable, and would be kept
        # alive.
        if args or kwargs:
            raise wrong(
                "the key of last_good",
                None,
                "a function, since the call has arguments",
                "Without it, the value of one call would be offered for another.",
            )
        return None

    # -- what a choosing asks -----------------------------------------------------------------------

    def _remember(self, key: Hashable, choice: Choice[T]) -> None:
        keep = self._last_good
        if keep is None:
            return
        with self._lock:
            self._kept[key] = (self._clock.monotonic(), choice)
            # The newest goes last, so that the value dropped is the one not renewed for the longest time.
            self._kept.move_to_end(key)
            if len(self._kept) > keep.size:
                self._kept.popitem(last=False)

    def _recall(self, key: Hashable) -> tuple[float, Choice[T]] | None:
        """The age and choice kept under ``key``."""
        with self._lock:
            kept = self._kept.get(key)
        return None if kept is None else (self._clock.monotonic() - kept[0], kept[1])

    def _after_fork(self) -> None:
        """Do nothing: the values that are kept are as good in the child."""


@dataclass(slots=True)
class _Choosing(Generic[T]):
    """One pass through the candidates; the same for sync and async."""

    chain: FallbackChain[T]
    key: Hashable
    rejections: list[Rejection] = field(default_factory=list)
    choice: Choice[T] | None = None

    def __enter__(self) -> _Choosing[T]:
        return self

    def __exit__(self, *exc: object) -> None:
        # Each error's traceback holds a frame that holds this object: without this, the arguments of the call
        # would live until the next garbage collection.
        self.rejections.clear()

    def due(self) -> Iterator[Candidate[T]]:
        """Yield the candidates to try, in order; the last known good value comes before a last resort."""
        for candidate in self.chain.candidates:
            if not candidate.last_resort and self._admits(candidate):
                yield candidate
        self.choice = self._last_good()
        if self.choice is None:
            for candidate in self.chain.candidates:
                if candidate.last_resort and self._admits(candidate):
                    yield candidate

    def _admits(self, candidate: Candidate[T]) -> bool:
        # The wall clock, because validity is given in dates; ages use the monotonic clock.
        now = self.chain._clock.time()
        if candidate.valid_from is not None and now < candidate.valid_from:
            return self.reject(candidate.name, Why.NOT_YET_VALID, f"in {candidate.valid_from - now:.0f} s")
        if candidate.valid_until is not None and now >= candidate.valid_until:
            return self.reject(candidate.name, Why.EXPIRED, f"{now - candidate.valid_until:.0f} s ago")
        if candidate.available is None:
            return True
        try:
            return answered("available", candidate.available) or self.reject(candidate.name, Why.UNAVAILABLE)
        except self.chain._on as error:
            return self.reject(candidate.name, Why.UNAVAILABLE, repr(error), error)

    def accepts(self, candidate: Candidate[T], value: T) -> bool:
        """Choose ``value`` if it is good enough, else record why not; return True if it was chosen."""
        try:
            quality: Any = candidate.quality
            if callable(quality):
                quality = called("quality", quality, value)
            minimum = self.chain._minimum
            # Written so that NaN, which compares false with everything, is rejected.
            poor = minimum is not None and not (quality is not None and quality >= minimum)
        except self.chain._on as error:
            return self.reject(candidate.name, Why.TOO_POOR, f"its quality is not known: {error!r}", error)
        if poor:
            return self.reject(candidate.name, Why.TOO_POOR, f"{quality}, at least {minimum} is needed")
        self.choice = Choice(value, candidate.name, quality)
        # A last resort is always at hand; if its value were kept, it would pass for a last known good one.
        if not candidate.last_resort:
            self.chain._remember(self.key, self.choice)
        return True

    def reject(self, name: str, why: Why, detail: str = "", error: BaseException | None = None) -> bool:
        """Record a rejection; return False, for the caller to return."""
        self.rejections.append(Rejection(name, why, detail, error))
        chain = self.chain
        if wanted(chain.listeners):
            event = CandidateRejected(
                at=chain._clock.monotonic(),
                chain=chain.name,
                candidate=name,
                why=why,
                detail=detail,
                error=error,
            )
            emit(chain.listeners, event)
        return False

    def end(self) -> Choice[T]:
        """Return the choice that was made, or the last known good one; raises ``NoCandidate``."""
        choice = self.choice
        if choice is None:
            raise self._nothing()
        if self.rejections:
            event = ChoiceMade(
                at=self.chain._clock.monotonic(),
                chain=self.chain.name,
                candidate=choice.candidate,
                rejected=len(self.rejections),
                age=choice.age,
            )
            emit(self.chain.listeners, event)
        return Choice(choice.value, choice.candidate, choice.quality, choice.age, tuple(self.rejections))

    def _last_good(self) -> Choice[T] | None:
        keep = self.chain._last_good
        if keep is None:
            return None
        kept = self.chain._recall(self.key)
        if kept is None:
            self.reject("last known good", Why.NO_LAST_GOOD)
            return None
        age, choice = kept
        if age > keep.max_age:
            self.reject("last known good", Why.LAST_GOOD_TOO_OLD, f"{age:.0f} s, at most {keep.max_age:g} s")
            return None
        return Choice(choice.value, choice.candidate, choice.quality, age)

    def _nothing(self) -> NoCandidate:
        listed = "; ".join(str(rejection) for rejection in self.rejections) or "it has no candidates"
        error = NoCandidate(
            f"{self.chain.name}: nothing acceptable: {listed}",
            context={"chain": self.chain.name, "rejections": [str(r) for r in self.rejections]},
        )
        errors = [rejection.error for rejection in self.rejections if rejection.error is not None]
        error.__cause__ = errors[-1] if errors else None
        return error
