"""The errors of imaplib and poplib: by class, and by the response codes in their texts."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

_BOTH = ("imaplib.IMAP4.error", "poplib.error_proto")

LIBRARY = Library(
    name="imaplib",
    source="RFC 5530 for IMAP and RFC 3206 for POP3: response codes",
    rules=(
        Rule(
            name="imap.closed",
            verdict=t.TransientError,
            types=("imaplib.IMAP4.abort",),
            why="imaplib's own words: close the connection, open a new one and try again",
        ),
        Rule(
            name="mail.credentials",
            verdict=t.ConfigurationError,
            types=_BOTH,
            message=r"AUTHENTICATIONFAILED|AUTHORIZATIONFAILED|\[AUTH\]|\[EXPIRED\]"
            r"|invalid (credentials|login)|(login|authentication) failed",
            why="user or password is wrong",
        ),
        Rule(
            name="mail.quota",
            verdict=t.ResourceError,
            types=_BOTH,
            message=r"\[?OVERQUOTA|\[LIMIT\]",
            why="the mailbox is full, or a limit of the server is reached",
        ),
        Rule(
            name="mail.later",
            verdict=t.TransientError,
            types=_BOTH,
            message=r"\[UNAVAILABLE\]|\[IN-?USE\]|\[SYS/TEMP\]|\[LOGIN-DELAY\]|\[SERVERBUG\]"
            r"|too many (simultaneous )?connections|temporar|try again later",
            why="the server says that it will pass",
        ),
        Rule(
            name="mail.corrupt",
            verdict=t.DataIntegrityError,
            types=_BOTH,
            message=r"\[CORRUPTION\]",
            why="the server found damage in the mailbox",
        ),
        Rule(
            name="mail.refused",
            verdict=t.PermanentError,
            types=_BOTH,
            why="the server refused, and does not say that it will pass",
        ),
    ),
)
