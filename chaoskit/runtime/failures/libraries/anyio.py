"""The errors of anyio, on asyncio and on trio."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _both(*names: str) -> tuple[str, ...]:
    # Newer versions give a class its public name only when the program first asks anyio for it.
    return (*classes("anyio", *names), *classes("anyio._core._exceptions", *names))


LIBRARY = Library(
    name="anyio",
    source="the docstrings of anyio's exceptions, and the places that raise them",
    rules=(
        Rule(
            name="anyio.worker-set-up",
            verdict=t.ConfigurationError,
            types=_both("BrokenWorkerProcess"),
            message=r"initialization|unexpected response",
            why="the worker process did not start as it should",
        ),
        Rule(
            name="anyio.worker-killed",
            verdict=t.OutOfMemory,
            types=_both("BrokenWorkerProcess"),
            why="a worker was killed from outside, in practice by the kernel for lack of memory",
        ),
        Rule(
            name="anyio.interpreter",
            verdict=t.PermanentError,
            types=_both("BrokenWorkerInterpreter"),
            why="an error in the other interpreter, of which only the text arrives",
        ),
        Rule(
            name="anyio.ended",
            verdict=t.TransientError,
            types=_both("EndOfStream", "IncompleteRead"),
            why="the other side closed the connection before the answer was complete",
        ),
        Rule(
            name="anyio.too-long",
            verdict=t.ValidationError,
            types=_both("DelimiterNotFound"),
            why="this line is longer than the reader's limit",
        ),
        Rule(
            name="anyio.would-block",
            verdict=t.TransientError,
            types=_both("WouldBlock"),
            why="nothing is there yet, or every place is taken for now",
        ),
        Rule(
            name="anyio.misuse",
            verdict=t.PermanentError,
            types=_both("ClosedResourceError", "BusyResourceError", "TypedAttributeLookupError"),
            why="the program closed this itself, shares it between tasks, or asks for what it does not have",
        ),
        Rule(
            name="anyio.loop",
            verdict=t.PermanentError,
            types=_both("RunFinishedError", "NoEventLoopError"),
            why="the event loop has ended, or there is none",
        ),
        Rule(
            name="anyio.cancelled",
            verdict=t.PermanentError,
            types=_both("TaskCancelled", "FutureCancelled"),
            why="the program cancelled what it waits for",
        ),
        Rule(
            name="anyio.state",
            verdict=t.PermanentError,
            types=_both("TaskNotFinished", "FutureNotFinished", "FutureAlreadyFinished"),
            why="the task or future is used in a way that cannot work",
        ),
    ),
    vague=(
        Rule(
            # Vague like the next two: their causes are a rejected certificate, a refusal, a missing name.
            name="anyio.broken",
            verdict=t.TransientError,
            types=_both("BrokenResourceError"),
            why="the connection broke; a cause would say how",
        ),
        Rule(
            name="anyio.connect",
            verdict=t.Unreachable,
            types=_both("ConnectionFailed"),
            why="no connection could be made; a cause would say why",
        ),
        Rule(
            name="anyio.failed",
            verdict=t.PermanentError,
            types=_both("TaskFailed", "FutureFailed"),
            why="another task failed; its error is the cause, and here is unknown",
        ),
    ),
)
