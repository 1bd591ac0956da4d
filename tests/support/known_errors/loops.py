"""Errors of trio and anyio, and of the protocols below HTTP clients."""

from __future__ import annotations

import errno
import ssl
import types
from typing import Any

from known_errors.case import Case, caused, group, made, one

_H2 = "h2.exceptions"


def _h2(category: str, why: str, *names: str) -> list[Case]:
    return group(category, why, _H2, names, base=f"{_H2}.ProtocolError")


def _cancelled() -> BaseException:
    import trio

    # Only trio itself may make one.
    kind: Any = trio.Cancelled
    return kind.__new__(kind)  # type: ignore[no-any-return]


def _interpreter() -> BaseException:
    told = types.SimpleNamespace(formatted="ValueError: x", errdisplay="ValueError: x")
    return made("anyio.BrokenWorkerInterpreter", told)


def _rejected() -> BaseException:
    return ssl.SSLCertVerificationError(1, "certificate verify failed")


CASES: list[Case] = [
    *group("transient", "not in time", "trio", ["TooSlowError"]),
    *group("transient", "nothing there yet, or full for now", "trio", ["WouldBlock"]),
    *group("transient", "the other side went away", "trio", ["BrokenResourceError"]),
    *group("permanent", "the senders are done", "trio", ["EndOfChannel"]),
    *group("permanent", "the program's own doing", "trio", ["ClosedResourceError", "BusyResourceError"]),
    *group("permanent", "asked before the handshake", "trio", ["NeedHandshakeError"]),
    *group("permanent", "no loop to run in", "trio", ["RunFinishedError", "TrioInternalError"]),
    Case("trio.Cancelled", _cancelled, "permanent", "a request to stop"),
    Case(
        "trio broken by a certificate",
        lambda: caused(made("trio.BrokenResourceError"), _rejected()),
        "security",
        "trio's TLS stream says so of every error of the handshake",
    ),
    Case(
        "trio broken by the peer",
        lambda: caused(made("trio.BrokenResourceError"), OSError(errno.ECONNRESET, "x")),
        "transient",
        "reset",
    ),
    Case(
        "cancelled beside a failure in a nursery",
        lambda: BaseExceptionGroup("x", [_cancelled(), made("trio.TooSlowError")]),
        "permanent",
        "the cancellation counts for more than the failure",
    ),
    *group("transient", "nothing there yet, or full for now", "anyio", ["WouldBlock"]),
    *group("transient", "the other side went away", "anyio", ["BrokenResourceError"]),
    *group("transient", "cut in the middle", "anyio", ["EndOfStream", "IncompleteRead"]),
    *group("transient", "no connection", "anyio", ["ConnectionFailed"], "All connection attempts failed"),
    *group("validation", "a longer line than may be", "anyio", ["DelimiterNotFound"], 9),
    *group("permanent", "the program's own doing", "anyio", ["ClosedResourceError"]),
    *group("permanent", "two tasks at once", "anyio", ["BusyResourceError"], "reading from"),
    *group("permanent", "a stream without TLS, for example", "anyio", ["TypedAttributeLookupError"], "x"),
    *group("permanent", "no loop to run in", "anyio", ["RunFinishedError", "NoEventLoopError"]),
    *group("permanent", "given up", "anyio", ["TaskCancelled", "FutureCancelled"]),
    *group(
        *("permanent", "used wrongly", "anyio"),
        ["TaskNotFinished", "FutureNotFinished", "FutureAlreadyFinished"],
    ),
    *group("permanent", "does not say why", "anyio", ["TaskFailed", "FutureFailed"]),
    *group("resource", "the worker was killed", "anyio", ["BrokenWorkerProcess"]),
    one(
        *("configuration", "it cannot start", "anyio.BrokenWorkerProcess"),
        "Error during worker process initialization",
    ),
    Case("anyio.BrokenWorkerInterpreter", _interpreter, "permanent", "an error of what it ran"),
    one("transient", "before anyio was asked for its name", "anyio._core._exceptions.BrokenResourceError"),
    Case(
        "anyio broken by a certificate",
        lambda: caused(made("anyio.BrokenResourceError"), _rejected()),
        "security",
        "the stream over TLS says no more than broken",
    ),
    Case(
        "anyio cannot connect for want of descriptors",
        lambda: caused(made("anyio.ConnectionFailed", "x"), OSError(errno.EMFILE, "x")),
        "resource",
        "the cause says it",
    ),
    Case(
        "anyio task failed by the disk",
        lambda: caused(made("anyio.TaskFailed"), OSError(errno.ENOSPC, "x")),
        "resource",
        "the cause says it",
    ),
    *group("transient", "cut, or not HTTP", "h11", ["RemoteProtocolError"], "x"),
    *group("validation", "not sent: it breaks the protocol", "h11", ["LocalProtocolError"], "x"),
    *_h2("security", "behaves as an attacker does", "DenialOfServiceError"),
    *_h2("resource", "every stream is taken", "TooManyStreamsError"),
    *_h2(
        *("transient", "over another connection it works"),
        *("NoAvailableStreamIDError", "StreamClosedError", "InvalidBodyLengthError", "FrameDataMissingError"),
    ),
    *_h2("configuration", "a setting that may not be", "InvalidSettingsValueError"),
    *_h2(
        *("permanent", "breaks the protocol"),
        *("NoSuchStreamError", "StreamIDTooLowError", "FlowControlError", "FrameTooLargeError"),
        *("UnsupportedFrameError", "RFC1122Error"),
    ),
    one("transient", "sent after the connection was closed", f"{_H2}.ProtocolError", "Invalid input"),
    *group("transient", "below httpx", "httpcore", ["ConnectTimeout", "WriteTimeout", "WriteError"]),
    *group("transient", "below httpx", "httpcore", ["ProxyError", "ConnectionNotAvailable", "NetworkError"]),
    *group("transient", "below httpx", "httpcore", ["TimeoutException", "ProtocolError"]),
    *group("configuration", "the address is wrong", "httpcore", ["UnsupportedProtocol"]),
    *group("validation", "the request breaks the protocol", "httpcore", ["LocalProtocolError"]),
]
