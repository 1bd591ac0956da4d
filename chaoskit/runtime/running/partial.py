"""Partial failures: process a whole batch, keep the successes, and raise all failures at the end."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, Self, TypeVar

from chaoskit.core.errors import wrong
from chaoskit.runtime import kinds
from chaoskit.runtime.calling.blocks import block
from chaoskit.runtime.calling.callables import (
    CallableKind,
    finished,
    is_async,
    kind_of,
    synchronous,
    synchronous_all,
)
from chaoskit.runtime.calling.loops import needs_asyncio
from chaoskit.runtime.clock import Clock, SystemClock
from chaoskit.runtime.failures.taxonomy import PartialFailure
from chaoskit.runtime.forks import Lasting
from chaoskit.runtime.numbers import is_number, whole
from chaoskit.runtime.observing.observers import Listener, emit, wanted
from chaoskit.runtime.running.batches import BatchProgress, ItemFailed, ItemFailure, ItemSuccess, Summary

__all__ = ["PartialFailureCollector"]

# An error that is among this many newest failures already gets no second note.
KEPT_IN_MIND = 100

T = TypeVar("T")
R = TypeVar("R")


class PartialFailureCollector(Lasting, Generic[T, R]):
    """Collects the outcomes of a batch: a bad item costs only itself.

    Either put ``with collector.item(x):`` around the work on each item, with ``collector.succeed(x, value)``
    inside to keep a value, or do all at once: :meth:`run`, :meth:`arun`, :meth:`run_in`. At the end
    :meth:`raise_if_failed`, or leaving ``with collector:``, raises ``PartialFailure``, a group of the items'
    errors in the order in which they failed, each with a note that names its item.

    Errors that are instances of ``on`` are collected; others, and Ctrl-C or cancellation, end the batch at
    once. The batch is given up when a share of more than ``abort_above`` of at least ``abort_after`` items
    has failed: ``PartialFailure`` is raised at that point, and items that were not begun count as skipped.

    ``progress`` is a listener that is told of each item: its exceptions have no effect. Threads may share a
    collector. The errors keep their tracebacks, and thus everything in their frames, while the collector
    lives.
    """

    def __init__(
        self,
        name: str = "batch",
        *,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        abort_above: float | None = None,
        abort_after: int = 10,
        progress: Listener | None = None,
        listeners: Sequence[Listener] = (),
        clock: Clock = SystemClock(),  # noqa: B008 - has no state
    ) -> None:
        if abort_above is not None and not (is_number(abort_above) and 0 <= abort_above < 1):
            raise wrong(
                "abort_above", abort_above, "a share, 0 or more and less than 1", "None never gives up."
            )
        self.name = kinds.text("name", name)
        self.aborted = False
        self._on = kinds.errors("on", on)
        self._above = abort_above
        self._after = whole("abort_after", abort_after, 1)
        self._progress = () if progress is None else synchronous_all("progress", (progress,))
        self._listeners = synchronous_all("listener", listeners)
        self._clock = kinds.clock(clock)
        self._lock = threading.Lock()
        self._successes: list[ItemSuccess[T, R]] = []
        self._failures: list[ItemFailure[T]] = []
        self._skipped: list[T] = []
        self._total: int | None = None

    # -- one item at a time ----------------------------------------------------------------------

    @block
    def item(self, item: T) -> Iterator[None]:
        """Guard the work on ``item``: an error is collected and goes no further.

        Work that ends without an error counts as a success with the value None, unless :meth:`succeed` was
        called. Raises ``PartialFailure`` if the batch is given up because of this item.
        """
        # Only entries from here on can be about this item, though other threads may add some as well.
        before = len(self._successes)
        try:
            yield
        except self._on as error:
            self.fail(item, error)
        else:
            if not any(kept.item is item for kept in self._successes[before:]):
                self.succeed(item, None)  # type: ignore[arg-type]

    def succeed(self, item: T, value: R) -> None:
        """Record that ``item`` succeeded with ``value``."""
        with self._lock:
            self._successes.append(ItemSuccess(item, value))
        self._tell_progress()

    def fail(self, item: T, error: Exception) -> None:
        """Record that ``item`` failed with ``error``; raises ``PartialFailure`` if that is one too many."""
        with self._lock:
            # One error may fail many items, a breaker's for instance: a note about its first item is enough.
            if all(kept.error is not error for kept in self._failures[-KEPT_IN_MIND:]):
                error.add_note(f"item: {_short(item)}")
            self._failures.append(ItemFailure(item, error))
            # It stays given up, even if later successes reduce the share again.
            self.aborted = self.aborted or self._is_too_many()
            aborted = self.aborted
        if wanted(self._listeners):
            event = ItemFailed(at=self._clock.monotonic(), batch=self.name, item=item, error=error)
            emit(self._listeners, event)
        self._tell_progress()
        if aborted:
            raise self._failure()

    # -- all at once -----------------------------------------------------------------------------

    def run(self, fn: Callable[[T], R], items: Iterable[T]) -> list[ItemSuccess[T, R]]:
        """Call ``fn`` with each of ``items``, in order; return the successes so far.

        Items of a generator are taken one at a time; those that it has not produced yet cannot be counted.
        """
        synchronous("the function of a batch", fn, optional=False)
        if isinstance(items, Sized):
            items = self._begin(items)
            while items:
                item = items.popleft()
                with self._giving_up(items):
                    self._count(fn, item, partial(fn, item))
        else:
            # One at a time: a generator may be endless, or have more items than fit into memory.
            for item in items:
                self._count(fn, item, partial(fn, item))
        return self.successes

    async def arun(
        self, fn: Callable[[T], Awaitable[R]], items: Iterable[T], *, concurrency: int = 1
    ) -> list[ItemSuccess[T, R]]:
        """Await ``fn`` for each of ``items``, ``concurrency`` at a time; return the successes so far.

        If the batch ends early, by giving up, an error that is not collected, or cancellation, the items in
        progress are first cancelled and awaited; they count as skipped. Raises ``UsageError`` for a function
        that returns no awaitable.
        """
        whole("concurrency", concurrency, 1)
        _check_async(fn)
        needs_asyncio("a batch of coroutines")
        todo = self._begin(items)
        workers = [asyncio.ensure_future(self._worker(fn, todo)) for _ in range(min(concurrency, len(todo)))]
        with self._giving_up(todo):
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                # Await them after the cancellation: a task that still runs could count its item twice.
                await asyncio.gather(*workers, return_exceptions=True)
        return self.successes

    def run_in(self, executor: Executor, fn: Callable[[T], R], items: Iterable[T]) -> list[ItemSuccess[T, R]]:
        """Call ``fn`` with each of ``items`` in ``executor``; return the successes so far.

        The order is that of completion. If the batch ends early, calls that have not begun are cancelled and
        count as skipped; those in progress are waited for and counted.
        """
        synchronous("the function of a batch", fn, optional=False)
        todo = self._begin(items)
        futures = {executor.submit(fn, item): item for item in todo}
        # The executor has all of them now; the futures show which ones it will not begin.
        todo.clear()
        try:
            with self._giving_up(todo):
                self._gather(fn, futures)
        finally:
            self._call_off(fn, futures)
        return self.successes

    # -- the outcome -----------------------------------------------------------------------------

    @property
    def successes(self) -> list[ItemSuccess[T, R]]:
        """The items that succeeded, in the order of success."""
        return list(self._successes)

    @property
    def failures(self) -> list[ItemFailure[T]]:
        """The items that failed, in the order of failure."""
        return list(self._failures)

    @property
    def skipped(self) -> list[T]:
        """The items that were not begun, or not finished, when the batch ended early."""
        return list(self._skipped)

    def summary(self) -> Summary:
        """The counts so far."""
        with self._lock:
            kinds = Counter(type(failure.error).__name__ for failure in self._failures)
            counts = len(self._successes), len(self._failures), len(self._skipped)
            return Summary(*counts, dict(kinds), self.aborted)

    def raise_if_failed(self) -> None:
        """Return if no item has failed.

        Raises:
            PartialFailure: items have failed; it holds the errors of all of them.
        """
        if self._failures:
            raise self._failure()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # An error that leaves the block says more than the collected ones.
        if error is None:
            self.raise_if_failed()

    # -- inside ----------------------------------------------------------------------------------

    def _begin(self, items: Iterable[T]) -> deque[T]:
        todo = deque(items)
        with self._lock:
            self._total = len(todo) + (self._total or 0)
        return todo

    def _count(self, fn: Callable[[T], R], item: T, result: Callable[[], R]) -> None:
        """Count ``item`` by what ``result``, a call of ``fn`` or the wait for one, returns or raises."""
        try:
            value = result()
        except self._on as error:
            self.fail(item, error)
        except BaseException:
            self._skip([item])
            raise
        else:
            self.succeed(item, finished("a batch", fn, value))

    async def _worker(self, fn: Callable[[T], Awaitable[R]], todo: deque[T]) -> None:
        while todo:
            item = todo.popleft()
            try:
                value = await fn(item)
            except self._on as error:
                self.fail(item, error)
            except BaseException:
                self._skip([item])
                raise
            else:
                self.succeed(item, value)

    def _gather(self, fn: Callable[[T], R], futures: dict[Future[R], T]) -> None:
        while futures:
            # In the order of completion, so that a bad batch is given up without waiting for a slow first
            # item.
            done, _ = wait(futures, return_when=FIRST_COMPLETED)
            for future in done:
                self._count(fn, futures.pop(future), future.result)

    def _call_off(self, fn: Callable[[T], R], futures: dict[Future[R], T]) -> None:
        """Cancel calls that have not begun, wait for the rest and count it, if the batch ended early."""
        self._skip([item for future, item in futures.items() if future.cancel()])
        for future, item in futures.items():
            if not future.cancelled():
                try:
                    self._count(fn, item, future.result)
                except Exception:
                    # The error that ended the batch is on its way to the caller; this one is counted.
                    pass

    @contextmanager
    def _giving_up(self, todo: deque[T]) -> Iterator[None]:
        """Count the items left in ``todo`` as skipped if the batch ends here."""
        try:
            yield
        except BaseException:
            self._skip(todo)
            raise

    def _skip(self, items: Iterable[T]) -> None:
        with self._lock:
            self._skipped.extend(items)

    def _is_too_many(self) -> bool:
        done = len(self._failures) + len(self._successes)
        return self._above is not None and done >= self._after and len(self._failures) / done > self._above

    def _failure(self) -> PartialFailure:
        summary = self.summary()
        return PartialFailure(
            f"{self.name}: {summary}",
            [failure.error for failure in self._failures],
            context={
                "batch": self.name,
                "succeeded": summary.succeeded,
                "failed": summary.failed,
                "skipped": summary.skipped,
                "aborted": summary.aborted,
            },
        )

    def _tell_progress(self) -> None:
        observers = self._progress + self._listeners
        if wanted(observers):
            failed = len(self._failures)
            event = BatchProgress(
                at=self._clock.monotonic(),
                batch=self.name,
                done=len(self._successes) + failed,
                failed=failed,
                total=self._total,
            )
            emit(observers, event)


def _check_async(fn: Callable[..., Any]) -> None:
    """Refuse a function that returns no awaitable, if that is known; a lambda or an object may return one."""
    plain = inspect.isfunction(fn) and fn.__name__ != "<lambda>" and not is_async(inspect.unwrap(fn))
    if kind_of(fn) is not CallableKind.ASYNC and plain:
        raise wrong("the function of a batch", fn, "an async function", "Use run() for a synchronous one.")


def _short(item: object) -> str:
    """``item`` for a note: a batch of megabyte payloads should still print."""
    text = repr(item)
    # Enough to tell items apart; the item itself is in the event and in `failures`.
    return text if len(text) <= 200 else f"{text[:197]}..."
