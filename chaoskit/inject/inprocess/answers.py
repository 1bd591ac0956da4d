"""What a client gets in place of an answer: from an intermediary, from a name server, or silence."""

from __future__ import annotations

import socket
import sys
from typing import Any, NoReturn

from chaoskit.inject.inprocess.call import PythonCall

NAMES = {
    "NXDOMAIN": (socket.EAI_NONAME, "Name or service not known"),
    "empty": (socket.EAI_NONAME, "Name or service not known"),
    "SERVFAIL": (socket.EAI_AGAIN, "Temporary failure in name resolution"),
}
"""The errors of getaddrinfo(3) for the answers of a name server."""
_PAGE = b"<html><body>Welcome. Please log in.</body></html>"


def answered(call: PythonCall, status: int) -> Any:
    """An answer made up by an intermediary."""
    models, request = sys.modules["requests.models"], call.names[0]
    answer = models.Response()
    answer.status_code, answer.url, answer.request = status, request.url, request
    answer._content = b""
    return answer


def spoilt(call: PythonCall, how: str) -> Any:
    """The server's own answer with half of its body, with a page as its body, or without a length."""
    answer = call.do()
    if how == "no-length":
        answer.headers.pop("Content-Length", None)
        return answer
    whole = answer.content
    answer._content = whole[: len(whole) // 2] if how == "cut" else _PAGE
    answer.headers["Content-Length"] = str(len(answer._content))
    if how == "not-json":
        answer.headers["Content-Type"] = "text/html"
    return answer


def cut(call: PythonCall, answer: Any, how: str, after: int) -> Any:
    """An answer that is cut after ``after`` bytes; a short body is an error.

    ``http.client`` takes an end within the header for the end of the header, and then returns an answer
    without a body.

    Raises:
        Exception: one of ``requests``' own.
    """
    line = f"HTTP/1.1 {answer.status_code} {answer.reason}\r\n"
    left = after - len(line)
    if how != "eof" or left < 0:
        broken(call, how)
    for name, value in list(answer.headers.items()):
        left -= len(f"{name}: {value}\r\n")
        if left < 0:
            del answer.headers[name]
    if left >= len("\r\n"):
        broken(call, how)
    answer._content = b""
    return answer


def broken(call: PythonCall, how: str) -> NoReturn:
    """Raise what ``requests`` raises for a connection that was reset, closed, or silent.

    Raises:
        Exception: one of ``requests``' own.
    """
    errors, request = sys.modules["requests.exceptions"], call.names[0]
    if how == "silent":
        raise errors.ReadTimeout("Read timed out.", request=request)
    cause: OSError | str = ConnectionResetError(104, "Connection reset by peer")
    if how == "eof":
        cause = "Remote end closed connection without response"
    raise errors.ConnectionError(("Connection aborted.", cause), request=request)
