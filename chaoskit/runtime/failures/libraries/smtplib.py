"""The errors of smtplib and aiosmtplib, by the server's reply codes."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]


def _both(*names: str) -> tuple[str, ...]:
    return (*classes("smtplib", *names), *classes("aiosmtplib.errors", *names))


def _reply(error: BaseException) -> object:
    code = getattr(error, "smtp_code", None) or getattr(error, "code", None)
    refused = getattr(error, "recipients", None)
    if code is None and isinstance(refused, dict) and refused:
        # The gravest reply: repeating the call would bring it again.
        return max(reply[0] for reply in refused.values())
    return code or ""


LIBRARY = Library(
    name="smtplib",
    source="RFC 5321, 4.2: 4yz may be tried again, 5yz may not; RFC 4954 for logins",
    code_of=_reply,
    rules=(
        Rule(
            name="smtp.stopping", verdict=t.Unreachable, codes=("421",), why="the server closes the channel"
        ),
        Rule(
            name="smtp.storage", verdict=t.ResourceError, codes=("452",), why="the server is short of storage"
        ),
        Rule(
            name="smtp.credentials",
            verdict=t.ConfigurationError,
            codes=("530", "534", "535", "538"),
            why="user or password is wrong, or TLS is missing",
        ),
        Rule(
            name="smtp.recipient",
            verdict=t.ValidationError,
            codes=("550", "551", "552", "553", "521", "556"),
            why="this recipient or message is refused",
        ),
        Rule(name="smtp.later", verdict=t.TransientError, codes=("4*",), why="4yz: may be tried again"),
        Rule(name="smtp.refused", verdict=t.PermanentError, codes=("5*",), why="5yz: may not be tried again"),
        Rule(
            name="smtp.disconnected",
            verdict=t.TransientError,
            types=_both("SMTPServerDisconnected"),
            why="the server closed the connection",
        ),
        Rule(
            name="smtp.timeout",
            verdict=t.Overloaded,
            types=classes("aiosmtplib.errors", "SMTPTimeoutError"),
            why="no answer in time",
        ),
        Rule(
            name="smtp.connect",
            verdict=t.Unreachable,
            types=(*_both("SMTPConnectError"), "smtplib.SMTPHeloError"),
            why="no connection, or no greeting",
        ),
        Rule(
            name="smtp.not-supported",
            verdict=t.ConfigurationError,
            types=(*_both("SMTPNotSupportedError"), *classes("aiosmtplib.errors", "SMTPNotSupported")),
            why="the server lacks what was asked for",
        ),
        Rule(
            name="smtp.other",
            verdict=t.PermanentError,
            types=_both("SMTPException"),
            why="the server refused, and has no reply code to say how long",
        ),
    ),
)
