"""Rules for the errors of http.client, urllib and xmlrpc. Statuses are judged by the rules for HTTP."""

from __future__ import annotations

from chaoskit.runtime.failures import taxonomy as t
from chaoskit.runtime.failures.library import Library, classes
from chaoskit.runtime.failures.rules import Rule

__all__ = ["LIBRARY"]

LIBRARY = Library(
    name="http.client, urllib, xmlrpc",
    source="the standard library's manual",
    rules=(
        Rule(
            name="web.broken",
            verdict=t.TransientError,
            types=(
                *classes("http.client", "IncompleteRead", "RemoteDisconnected", "BadStatusLine"),
                "urllib.error.ContentTooShortError",
            ),
            why="the connection broke before the answer was whole",
        ),
        Rule(
            name="web.wrong-url",
            verdict=t.ConfigurationError,
            types=classes("http.client", "InvalidURL"),
            why="the address is wrong before anything is sent",
        ),
        Rule(
            name="web.wrong-scheme",
            verdict=t.ConfigurationError,
            types=classes("urllib.error", "URLError"),
            message=r"unknown url type|no host given|not on local host",
            why="the address is wrong before anything is sent",
        ),
        Rule(
            name="web.version",
            verdict=t.ServiceVersionMismatch,
            types=classes("http.client", "UnknownProtocol", "UnknownTransferEncoding"),
            why="the server speaks another version",
        ),
        Rule(
            name="web.too-long",
            verdict=t.DataIntegrityError,
            types=(*classes("http.client", "LineTooLong"), *classes("xmlrpc.client", "ResponseError")),
            why="the answer does not belong to this protocol",
        ),
        Rule(
            name="web.misuse",
            verdict=t.PermanentError,
            types=classes("http.client", "ImproperConnectionState", "NotConnected", "UnimplementedFileMode"),
            why="the program uses the connection in the wrong order",
        ),
        Rule(
            name="web.fault",
            verdict=t.PermanentError,
            types=classes("xmlrpc.client", "Fault"),
            why="the procedure itself answered with an error",
        ),
    ),
    vague=(
        Rule(
            name="web.protocol",
            verdict=t.TransientError,
            types=classes("http.client", "HTTPException"),
            why="the protocol broke, and nothing says how",
        ),
        Rule(
            name="web.connection",
            verdict=t.Unreachable,
            types=classes("urllib.error", "URLError"),
            why="only says that a connection failed; its reason would say more",
        ),
    ),
)
