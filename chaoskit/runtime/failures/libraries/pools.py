"""The errors of pools and queues: concurrent.futures, multiprocessing, asyncio, queue, joblib."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

LIBRARY = Library(
    name="concurrent.futures, multiprocessing, asyncio, queue",
    source="the standard library's manual; loky's classes",
    rules=(
        Rule(
            name="pool.killed",
            verdict=t.OutOfMemory,
            types=(
                "concurrent.futures.process.BrokenProcessPool",
                "joblib.externals.loky.process_executor.TerminatedWorkerError",
                "loky.process_executor.TerminatedWorkerError",
            ),
            why="a worker was killed from outside, in practice by the kernel for lack of memory",
        ),
        Rule(
            name="pool.initializer",
            verdict=t.ConfigurationError,
            types=(
                "concurrent.futures.thread.BrokenThreadPool",
                "concurrent.futures.interpreter.BrokenInterpreterPool",
            ),
            why="the function that sets each worker up failed",
        ),
        Rule(
            name="pool.cannot-send",
            verdict=t.PermanentError,
            types=(
                "multiprocessing.pool.MaybeEncodingError",
                "_pickle.PicklingError",
                "pickle.PicklingError",
            ),
            why="the result cannot be pickled",
        ),
        Rule(
            name="pool.cancelled",
            verdict=t.PermanentError,
            types=classes("concurrent.futures._base", "CancelledError", "InvalidStateError"),
            why="the caller gave up, or the future is used in a way that cannot work",
        ),
        Rule(
            name="pool.timeout",
            verdict=t.Overloaded,
            types=("multiprocessing.context.TimeoutError",),
            why="the result did not come in time",
        ),
        Rule(
            name="pool.authentication",
            verdict=t.SecurityError,
            types=("multiprocessing.context.AuthenticationError",),
            why="the other process does not have the key",
        ),
        Rule(
            name="queue.full",
            verdict=t.ResourceError,
            types=("queue.Full", "asyncio.queues.QueueFull"),
            why="the consumers are slower than the producers",
        ),
        Rule(
            name="queue.empty",
            verdict=t.TransientError,
            types=("queue.Empty", "_queue.Empty", "asyncio.queues.QueueEmpty"),
            why="nothing is there yet",
        ),
        Rule(
            name="queue.closed",
            verdict=t.PermanentError,
            types=("queue.ShutDown", "asyncio.queues.QueueShutDown"),
            why="the program closed the queue",
        ),
        Rule(
            name="stream.ended",
            verdict=t.TransientError,
            types=("asyncio.exceptions.IncompleteReadError",),
            why="the other side closed the connection in the middle",
        ),
        Rule(
            name="stream.too-long",
            verdict=t.ValidationError,
            types=("asyncio.exceptions.LimitOverrunError",),
            why="this line is longer than the reader's limit",
        ),
        Rule(
            name="asyncio.state",
            verdict=t.PermanentError,
            types=("asyncio.exceptions.InvalidStateError",),
            why="the future is used in a way that cannot work",
        ),
    ),
)
