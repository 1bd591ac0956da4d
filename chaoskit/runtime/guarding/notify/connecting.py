"""Connections with one time limit for everything: connecting, encrypting, sending and reading.

A socket's timeout applies to each step. A server that sends one byte before each step times out is never
late, and could hold the notifier's thread for as long as it likes.
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
    """A socket whose steps may take only the time that is left until ``end``, on the monotonic clock."""

    end: float

    def limit(self) -> None:
        """Give the next step the time that is left. Raises TimeoutError if there is none."""
        left = self.end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this notification is over")
        self.settimeout(left)

    def connect(self, address: Any) -> None:
        self.limit()
        super().connect(address)

    # The methods that http.client, smtplib and their buffered files call.
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
    """Connect to the first address of a host that accepts a connection before ``end``.

    It takes the arguments of ``socket.create_connection``, whose timeout would start over for each address of
    the host. The look-up of the name is left to the resolver and its own limits.
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
    """Change ``context`` so that all its connections end at ``end``, and return it."""
    # A class for each limit: the context creates the sockets and cannot pass them any argument.
    context.sslsocket_class = type("TlsInTime", (_InTime, ssl.SSLSocket), {"end": end})
    return context


class WebInTime(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https with connections that end ``timeout`` seconds after this object was made.

    Certificates are checked, and the proxies of the environment are used.
    """

    def __init__(self, timeout: float, *, encrypted: bool) -> None:
        # HTTPSHandler's own __init__ would load all certificates of the machine even if none is needed.
        urllib.request.AbstractHTTPHandler.__init__(self)
        self._tls = ssl.create_default_context() if encrypted else None
        # Taken after the certificates are loaded: the other side must not be charged for that time.
        self._end = time.monotonic() + timeout

    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._plain, request)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(self._encrypted, request)

    def _plain(self, host: str, **given: Any) -> http.client.HTTPConnection:
        return self._ours(http.client.HTTPConnection(host, **given))

    def _encrypted(self, host: str, **given: Any) -> http.client.HTTPConnection:
        # ``self._tls`` is None if https is needed only to reach the proxy, for an http address.
        context = until(self._tls or ssl.create_default_context(), self._end)
        return self._ours(http.client.HTTPSConnection(host, context=context, **given))

    def _ours(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        # The standard library's own hook, although private: overriding connect() would lose the proxies.
        made: Any = connection
        made._create_connection = functools.partial(connected, self._end)
        return connection


class _Smtp(smtplib.SMTP):
    end: float

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return connected(self.end, (host, port))


class _SmtpTls(smtplib.SMTP_SSL, _Smtp):
    """TLS from the first byte, over a socket of :class:`_Smtp`."""


def smtp_until(end: float, host: str, port: int, *, context: ssl.SSLContext | None = None) -> smtplib.SMTP:
    """A connected SMTP client whose whole conversation ends by ``end``; with ``context``, TLS from the start.

    Raises:
        OSError, smtplib.SMTPException: no connection could be made in time.
    """
    # The constructor already connects, so ``end`` has to be on the class.
    kind: Any = type("SmtpInTime", (_Smtp if context is None else _SmtpTls,), {"end": end})
    made: smtplib.SMTP = kind(host, port, **({} if context is None else {"context": until(context, end)}))
    return made
