"""The errors of trio. Its cancellation is with the other requests to stop, before every table."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

LIBRARY = Library(
    name="trio",
    source="the docstrings of trio's exceptions",
    rules=(
        Rule(
            name="trio.timeout",
            verdict=t.Overloaded,
            types=classes("trio", "TooSlowError"),
            why="not done in the time of `fail_after`",
        ),
        Rule(
            name="trio.would-block",
            verdict=t.TransientError,
            types=classes("trio", "WouldBlock"),
            why="nothing is there yet, or every place is taken for now",
        ),
        Rule(
            name="trio.ended",
            verdict=t.PermanentError,
            types=classes("trio", "EndOfChannel"),
            why="the senders closed the channel, and nothing comes after that",
        ),
        Rule(
            name="trio.misuse",
            verdict=t.PermanentError,
            types=classes("trio", "ClosedResourceError", "BusyResourceError", "NeedHandshakeError"),
            why="the program closed this itself, shares it between tasks, or uses it too early",
        ),
        Rule(
            name="trio.loop",
            verdict=t.PermanentError,
            types=classes("trio", "RunFinishedError", "TrioInternalError"),
            why="the event loop has ended, or is broken",
        ),
    ),
    vague=(
        Rule(
            # Vague, since a stream over TLS also says so of a certificate that it rejects.
            name="trio.broken",
            verdict=t.TransientError,
            types=classes("trio", "BrokenResourceError"),
            why="the connection broke; a cause would say how",
        ),
    ),
)
