"""Connections that are over in time: connecting, encrypting, sending and reading count against one limit.

The timeout of a socket is that of one step. A server that sends a byte before each of them runs out is never
late, and would hold the notifier's thread for as long as it likes.
"""

from __future__ import annotations

import functools
import http.client
import smtplib
import socket
import ssl
import time
import urllib.request
from http.client import HTTPResponse
from typing import Any

__all__ = ["WebInTime", "smtp_until", "until"]


class _InTime(socket.socket):
    """A socket each of whose steps has what is left until ``end``, by the monotonic clock."""

    end: float

    def limit(self) -> None:
        """Give the next step what is left. Raises TimeoutError if that is nothing."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this notification is over")
        self.settimeout(left)

    def connect(self, address: Any) -> None:
        self.limit()
        super().connect(address)

    # What http.client, smtplib and their buffered files call.
    def recv_into(self, *args: Any, **given: Any) -> int:
        self.limit()
        return super().recv_into(*args, **given)

    def send(self, *args: Any) -> int:
        self.limit()
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        self.limit()
        super().sendall(*args)


def connected(end: float, address: tuple[str, int], *unused: Any) -> socket.socket:
    """A connection to the first of the addresses of a host that takes one before ``end``.

    Called as ``socket.create_connection`` is, whose timeout is for each address of the host again. Looking
    the name up is left to the resolver and its own limits.
    """
    refused: OSError = OSError(f"{address[0]} has no address")
    for family, kind, protocol, _, where in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        made = _InTime(family, kind, protocol)
        made.end = end
        try:
            made.connect(where)
        except OSError as error:
            made.close()
            refused = error
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise refused


def until(context: ssl.SSLContext, end: float) -> ssl.SSLContext:
    """``context``, whose connections are over at ``end`` from now on."""
    # One class for each: the context makes the socket, and takes nothing that it could give to it.
    context.sslsocket_class = type("TlsInTime", (_InTime, ssl.SSLSocket), {"end": end})
    return context


class WebInTime(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https with connections that are over ``timeout`` seconds after it was made.

    Certificates are checked, and the proxies of the environment hold.
    """

    def __init__(self, timeout: float, *, encrypted: bool) -> None:
        # Not that of HTTPSHandler, which reads all certificates of the machine also where none is needed.
        urllib.request.AbstractHTTPHandler.__init__(self)
        self._tls = ssl.create_default_context() if encrypted else None
        # Only now: reading them is none of the other side's time.
        self._end = time.monotonic() + timeout

    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._plain, request)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._encrypted, request)

    def _plain(self, host: str, **given: Any) -> http.client.HTTPConnection:
        return self._ours(http.client.HTTPConnection(host, **given))

    def _encrypted(self, host: str, **given: Any) -> http.client.HTTPConnection:
        # None for a proxy that is reached by https, of an address that is not.
        context = until(self._tls or ssl.create_default_context(), self._end)
        return self._ours(http.client.HTTPSConnection(host, context=context, **given))

    def _ours(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        # The seam that the standard library has for this; to override connect() would lose the proxies.
        made: Any = connection
        made._create_connection = functools.partial(connected, self._end)
        return connection


class _Smtp(smtplib.SMTP):
    end: float

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return connected(self.end, (host, port))


class _SmtpTls(smtplib.SMTP_SSL, _Smtp):
    """TLS from the first byte, over what :class:`_Smtp` has connected."""


def smtp_until(end: float, host: str, port: int, *, context: ssl.SSLContext | None = None) -> smtplib.SMTP:
    """An SMTP client, connected, whose whole conversation is over at ``end``; TLS at once with ``context``.

    Raises:
        OSError, smtplib.SMTPException: it could not be connected in time.
    """
    # It connects when it is made, so that the end has to be there before.
    kind: Any = type("SmtpInTime", (_Smtp if context is None else _SmtpTls,), {"end": end})
    made: smtplib.SMTP = kind(host, port, **({} if context is None else {"context": until(context, end)}))
    return made
