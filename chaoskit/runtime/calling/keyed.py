"""A limiter, bulkhead or breaker for each key, such as a customer or host, made when it is first needed."""

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
from chaoskit.runtime.numbers import whole

__all__ = ["CallsThrough", "PerKey"]

F = TypeVar("F", bound=Callable[..., Any])


class CallsThrough(Protocol):
    """A strategy around calls: a rate limiter, bulkhead, breaker, timeout or deadline."""

    def call(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...


S = TypeVar("S", bound=CallsThrough)


class PerKey(Lasting, NoBlock, Generic[S]):
    """Separate limits for each key: ``of(key)`` returns its strategy, made by ``make(key)`` on first use.

    As a decorator, for sync and async functions, it computes the key from the arguments with ``key``. At most
    ``size`` strategies are kept. Beyond that, the least recently used one is dropped, and starts afresh when
    its key comes back; a bulkhead with calls in progress is kept.

    Threads and tasks may share it. ``make`` may ask for other keys; if two calls ask for a new key at the
    same time, it may be called twice, and one result is kept.

    Raises:
        UsageError: ``size`` is below 1, or a function is async or not callable.
    """

    _no_block = (
        "Limits by key have no 'with': a block has no arguments to take the key from. "
        "Use 'with limits.of(key):'."
    )

    def __init__(
        self, make: Callable[[Any], S], *, key: Callable[..., Hashable] | None = None, size: int = 10_000
    ) -> None:
        synchronous("make", make, optional=False)
        synchronous("key", key)
        self._make, self._key, self._size = make, key, whole("size", size, 1)
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
        # Outside the lock: ``make`` is user code, may ask for another key, and a fork waits for the lock.
        made = called("make", self._make, key)
        if not callable(getattr(made, "call", None)):
            raise wrong("the result of make", made, "a strategy with a call(fn, ...), such as a Bulkhead")
        with self._lock:
            # If two calls make a strategy for one key at the same time, both get the first one.
            found = self._strategies.setdefault(key, made)
            self._strategies.move_to_end(key)
            self._forget()
        return found

    def __call__(self, fn: F) -> F:
        """Return ``fn`` with each call under the strategy of its key.

        Raises:
            UsageError: there is no ``key``, or ``fn`` cannot be protected.
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
        """Do nothing: the strategies handle forks themselves."""

    def _forget(self) -> None:
        # The newest is always kept: it is about to be used.
        for key in list(self._strategies)[:-1]:
            if len(self._strategies) <= self._size:
                return
            strategy = self._strategies[key]
            if not getattr(strategy, "in_use", 0) and not getattr(strategy, "waiting", 0):
                del self._strategies[key]
