"""The errors of h11 and h2, the protocols below HTTP clients, where a program uses them itself."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _h2(*names: str) -> tuple[str, ...]:
    return classes("h2.exceptions", *names)


LIBRARY = Library(
    name="h11, h2",
    source="the docstrings of h11's and h2's exceptions; what httpcore makes of them",
    rules=(
        Rule(
            name="h11.remote",
            verdict=t.TransientError,
            types=classes("h11._util", "RemoteProtocolError"),
            why="the answer was cut, or is not HTTP",
        ),
        Rule(
            name="h11.local",
            verdict=t.ValidationError,
            types=classes("h11._util", "LocalProtocolError"),
            why="the request breaks the protocol, so it was not sent",
        ),
        Rule(
            name="h2.attack",
            verdict=t.SecurityError,
            types=_h2("DenialOfServiceError"),
            why="the other side sends what only an attack would",
        ),
        Rule(
            name="h2.streams",
            verdict=t.ResourceError,
            types=_h2("TooManyStreamsError"),
            why="the connection carries as many streams as it may",
        ),
        Rule(
            name="h2.broken",
            verdict=t.TransientError,
            types=_h2(
                "NoAvailableStreamIDError",
                "StreamClosedError",
                "InvalidBodyLengthError",
                "FrameDataMissingError",
            ),
            why="the stream or its connection is at its end, or the answer was cut: a new one may do",
        ),
        Rule(
            name="h2.settings",
            verdict=t.ConfigurationError,
            types=_h2("InvalidSettingsValueError"),
            why="the protocol does not allow this setting",
        ),
        Rule(
            name="h2.misuse",
            verdict=t.PermanentError,
            types=_h2(
                *("NoSuchStreamError", "StreamIDTooLowError", "FlowControlError", "FrameTooLargeError"),
                *("UnsupportedFrameError", "RFC1122Error"),
            ),
            why="one side breaks the protocol, and would again",
        ),
    ),
    vague=(
        Rule(
            name="h2.protocol",
            verdict=t.TransientError,
            types=_h2("ProtocolError"),
            why="most often the connection was closed already; a cause would say more",
        ),
    ),
)
