"""One limiter, bulkhead or breaker for each key, such as a customer or host, made when first needed."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, Protocol, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime.calling.blocks import NoBlock
from chaoskit.runtime.calling.callables import called, decorated, is_async, synchronous
from chaoskit.runtime.forks import Lasting, survive_fork

__all__ = ["CallsThrough", "PerKey"]

F = TypeVar("F", bound=Callable[..., Any])


class CallsThrough(Protocol):
    """What can stand around a call: a rate limiter, bulkhead, breaker, timeout or deadline."""

    def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...


S = TypeVar("S", bound=CallsThrough)


class PerKey(Lasting, NoBlock, Generic[S]):
    """Limits for each key apart: ``of(key)`` is the key's own, made by ``make(key)`` when first asked for.

    As a decorator, for sync and async functions, it takes the key from the arguments by ``key``. At most
    ``size`` strategies are kept. Of more, the one that was not asked for the longest goes and begins afresh
    when it comes back; a bulkhead with calls in it stays.

    Threads and tasks may share it. ``make`` may ask for other keys; where two calls come first for a key at
    once it may be called twice, and one result is kept.

    Raises:
        UsageError: for a ``size`` below 1, and for functions that are async or cannot be called.
    """

    _no_block = (
        "Limits by key have no 'with': a block has no arguments to take the key from. "
        "Use 'with limits.of(key):'."
    )

    def __init__(
        self, make: Callable[[Any], S], *, key: Callable[..., Hashable] | None = None, size: int = 10_000
    ) -> None:
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise wrong("size", size, "a whole number from 1")
        synchronous("make", make)
        synchronous("key", key)
        self._make, self._key, self._size = make, key, size
        self._strategies: OrderedDict[Hashable, S] = OrderedDict()
        self._lock = threading.RLock()
        survive_fork(self)

    def __repr__(self) -> str:
        return f"<PerKey with {len(self)} of at most {self._size}>"

    def __len__(self) -> int:
        return len(self._strategies)

    def of(self, key: Hashable) -> S:
        """The strategy for ``key``."""
        with self._lock:
            found = self._strategies.get(key)
            if found is not None:
                self._strategies.move_to_end(key)
                return found
        # Outside of the lock: it is the user's, may ask for another key, and a fork waits for the lock.
        made = called("make", self._make, key)
        with self._lock:
            # Of two calls that come first for a key at once, both get what the quicker one made.
            found = self._strategies.setdefault(key, made)
            self._strategies.move_to_end(key)
            self._forget()
        return found

    def __call__(self, fn: F) -> F:
        """``fn`` with each call under the strategy of its key.

        Raises:
            UsageError: without ``key``, and for what cannot be protected.
        """
        if self._key is None:
            raise wrong("key", None, "a function of the arguments", "PerKey(make, key=lambda user: user.id)")
        return decorated("limits by key", fn, self._wrap)

    def _wrap(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        key_of: Any = self._key

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            key = called("key", key_of, *args, **kwargs)
            return self.of(key).call(fn, *args, **kwargs)

        @functools.wraps(fn)
        async def acall(*args: Any, **kwargs: Any) -> Any:
            key = called("key", key_of, *args, **kwargs)
            return await self.of(key).call(fn, *args, **kwargs)

        return acall if is_async(fn) else call

    def _after_fork(self) -> None:
        """The strategies take care of themselves."""

    def _forget(self) -> None:
        # The newest is kept in any case: it is about to be used.
        for key in list(self._strategies)[:-1]:
            if len(self._strategies) <= self._size:
                return
            strategy = self._strategies[key]
            if not getattr(strategy, "in_use", 0) and not getattr(strategy, "waiting", 0):
                del self._strategies[key]
