"""A breaker around a block of code rather than a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaoskit.core.errors import UsageError
from chaoskit.runtime.breaker.machine import Permit

if TYPE_CHECKING:
    from chaoskit.runtime.breaker.breaker import CircuitBreaker


class Guard:
    """One protected block, for ``with`` and ``async with``; entering asks, leaving tells.

    Entering raises ``BreakerOpen`` if the block may not run. A guard may be used again after its
    block, not inside it: each block needs its own permit.
    """

    __slots__ = ("_breaker", "_permit", "_started")

    def __init__(self, breaker: CircuitBreaker) -> None:
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
