"""The circuit breaker for users: a decorator, a call, a guarded block, and manual switches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, cast

from chaoskit.core.errors import UsageError
from chaoskit.runtime import kinds
from chaoskit.runtime.breaker import shells
from chaoskit.runtime.breaker.driver import Driver
from chaoskit.runtime.breaker.machine import BreakerState, Permit
from chaoskit.runtime.breaker.options import BreakerOptions, BreakerSettings
from chaoskit.runtime.breaker.verdict import Errors, Verdict
from chaoskit.runtime.calling.blocks import OpenBlocks
from chaoskit.runtime.calling.callables import RESULTS, decorated, is_async
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.observing.observers import Listener

if TYPE_CHECKING:
    from chaoskit.runtime.breaker.shared import BreakerLink

__all__ = ["BreakerGuard", "CircuitBreaker"]

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class BreakerGuard:
    """One protected block, for ``with`` and ``async with``; entering asks the breaker, leaving reports to it.

    Entering raises ``BreakerOpen`` if the block may not run. A guard may be used again after its block, but
    not inside it: each block needs its own permit.
    """

    __slots__ = ("_breaker", "_permit", "_started")

    def __init__(self, breaker: Driver) -> None:
        self._breaker = breaker
        self._permit: Permit | None = None
        self._started = 0.0

    def __enter__(self) -> None:
        if self._permit is not None:
            raise UsageError(
                "This guard is already in use; expected one block at a time. Call guard() for each."
            )
        self._permit, self._started = self._breaker.enter()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        permit, self._permit = self._permit, None
        if permit is None:
            raise UsageError("This guard was left but never entered; expected it in a with statement.")
        if error is None:
            self._breaker.ended(permit, False, self._started)
        else:
            self._breaker.raised(permit, error, self._started)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)


class CircuitBreaker(Driver):
    """Stops calls to a service that keeps failing, and learns from a few probes when it has recovered.

    Use it as a decorator for sync and async functions, as ``call(fn, ...)`` for one call, or with ``with``
    and ``async with`` for a block (``guard()`` returns that block as an object). Use one breaker for each
    service that can fail, with any number of callers. The settings are the fields of :class:`BreakerOptions`,
    as keyword arguments or as a record (keyword arguments override its fields).

    A call counts as failed if it raises an ``Exception`` that ``on`` covers and ``ignore`` does not, or
    returns a value for which ``failed_result`` is true. Any other error is neutral: it counts neither way
    and, in half-open, frees the probe's place. ``KeyboardInterrupt``, ``SystemExit`` and a cancelled
    task are always neutral. The caller always gets its own error or value, even from the call that opens the
    breaker.

    A rejected call raises ``BreakerOpen``, whose ``retry_after`` is the number of seconds until the next try,
    if that is known. The breaker adds no other error.

    Threads and tasks may share it. After a fork, the child continues with the parent's counts, separately
    from it; ``shared`` (a :class:`BreakerLink`) joins processes.
    """

    def __init__(
        self,
        options: BreakerOptions | None = None,
        /,
        *,
        name: str = "breaker",
        on: Errors = Exception,
        ignore: Errors = (),
        failed_result: Callable[[Any], bool] | None = None,
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
        listeners: Sequence[Listener] = (),
        shared: BreakerLink | None = None,
        **settings: Unpack[BreakerSettings],
    ) -> None:
        kinds.instance("options", options, BreakerOptions, optional=True)
        super().__init__(
            BreakerOptions(**settings) if options is None else replace(options, **settings),
            Verdict(on, ignore, failed_result),
            name=name,
            clock=clock,
            listeners=listeners,
            shared=shared,
        )
        self._entered: OpenBlocks[BreakerGuard] = OpenBlocks("a circuit breaker")

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self.name!r} {self.state}>"

    # -- use -------------------------------------------------------------------------------------

    def __call__(self, fn: F) -> F:
        """Return ``fn`` protected; same signature, same kind of function. Generators are refused."""
        return decorated("a circuit breaker", fn, self._protected)

    def _protected(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        return (shells.around_async if is_async(fn) else shells.around_sync)(self, fn)

    def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call ``fn(*args, **kwargs)`` protected; if it is async, await the result as usual."""
        machine = self.machine
        permit = machine.fast
        if permit is None:
            # An async function is rejected when its coroutine is awaited.
            if machine.shut and not is_async(fn):
                self.turn_away()
            return cast(R, shells.call_measured(self, fn, args, kwargs))
        try:
            value = fn(*args, **kwargs) if kwargs else fn(*args)  # type: ignore[call-arg]
        except BaseException as error:
            self.raised(permit, error, 0.0)
            raise
        if machine.streak or type(value) not in RESULTS:
            return cast(R, shells.back(self, permit, fn, value, 0.0))
        return value

    def guard(self) -> BreakerGuard:
        """Return a context manager, for ``with`` and ``async with``, that protects its block once."""
        return BreakerGuard(self)

    def __enter__(self) -> None:
        guard = BreakerGuard(self)
        guard.__enter__()
        self._entered.push(guard)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._entered.pop().__exit__(kind, error, trace)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    # -- look and steer --------------------------------------------------------------------------

    @property
    def state(self) -> BreakerState:
        """The state that a call made now would meet; reading it changes and reports nothing."""
        return self.peek()

    def reset(self) -> None:
        """Close and forget all counts, in any state; also ends forced open and disabled."""
        self.steer(self.machine.reset)

    def force_open(self) -> None:
        """Reject every call until :meth:`reset`."""
        self.steer(lambda now: self.machine.force(BreakerState.FORCED_OPEN, now))

    def disable(self) -> None:
        """Let every call through and count nothing until :meth:`reset`."""
        self.steer(lambda now: self.machine.force(BreakerState.DISABLED, now))
