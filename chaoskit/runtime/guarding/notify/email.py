"""Notifications by e-mail, over SMTP."""

from __future__ import annotations

import math
import smtplib
import ssl
import time
from collections.abc import Iterable, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime.guarding.notify.connecting import smtp_until, until
from chaoskit.runtime.guarding.notify.records import Notice, Severity
from chaoskit.runtime.numbers import is_number, is_whole

__all__ = ["EmailChannel"]


class EmailChannel:
    """Sends each notification as a plain text mail through the server at ``host``.

    ``security`` is ``"starttls"`` (the server's certificate is checked), ``"tls"`` from the first byte, or
    ``"plain"``, over which no password is sent. A mail takes at most ``timeout`` seconds, whatever the server
    does.

    Raises UsageError for an impossible server address, no recipients, half of a login, or a password over
    ``"plain"``.
    """

    def __init__(
        self,
        host: str,
        *,
        sender: str,
        recipients: Sequence[str],
        port: int | None = None,
        security: Literal["starttls", "tls", "plain"] = "starttls",
        username: str | None = None,
        password: str | None = None,
        least: Severity = Severity.WARNING,
        timeout: float = 10.0,
    ) -> None:
        if isinstance(recipients, str) or not isinstance(recipients, Iterable) or not recipients:
            raise wrong("recipients", recipients, "a list of at least one address")
        for name, text in (("sender", sender), *(("recipients", one) for one in recipients)):
            # If this were found only when a message is made, that message and all later ones would be lost.
            if not isinstance(text, str) or not text.strip() or not text.isprintable():
                raise wrong(name, text, "an address, on one line")
        if security not in tuple(_PORTS):
            raise wrong("security", security, f"one of {', '.join(_PORTS)}")
        if password is not None and security == "plain":
            raise wrong("security", security, "'starttls' or 'tls'", "A password would be read on the way.")
        if (username is None) != (password is None):
            # With only one of them smtplib would not log in, and the server would refuse each mail.
            raise wrong("username", username, "both of username and password, or neither")
        _check_server(host, port, timeout)
        self.name, self.least = f"e-mail by {host}", Severity.of(least)
        self._host, self._port = host, _PORTS[security] if port is None else port
        self._sender, self._recipients = sender, tuple(recipients)
        self._security, self._timeout = security, timeout
        self._user, self._password = username, password

    def __repr__(self) -> str:
        return f"<EmailChannel {self._host}:{self._port} to {len(self._recipients)} recipients>"

    def send(self, notification: Notice) -> None:
        """Send one notification.

        Raises:
            OSError, smtplib.SMTPException: it was not sent, or it is unknown whether it was.
        """
        message = EmailMessage()
        message["From"], message["To"] = self._sender, ", ".join(self._recipients)
        message["Subject"] = f"[{notification.severity.name}] {notification.title}"
        message["Date"] = formatdate(notification.at)
        # Our own id, so that a server that gets the mail twice, because its answer was lost, can notice.
        message["Message-ID"] = make_msgid(domain="chaoskit.invalid")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: machines should not reply
        message.set_content(notification.body() or notification.title)
        with self._connected() as server:
            if self._user is not None and self._password is not None:
                server.login(self._user, self._password)
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        # smtplib checks certificates only if it is given a context.
        context = None if self._security == "plain" else ssl.create_default_context()
        end = time.monotonic() + self._timeout
        if self._security == "tls":
            return smtp_until(end, self._host, self._port, context=context)
        server = smtp_until(end, self._host, self._port)
        if context is not None:
            try:
                server.starttls(context=until(context, end))
            except BaseException:
                server.close()
                raise
        return server


def _check_server(host: object, port: object, timeout: object) -> None:
    # An empty host means "connect later" to smtplib, and each mail would be lost.
    if not isinstance(host, str) or not host.strip() or not host.isprintable() or " " in host:
        raise wrong("host", host, "the name or address of a mail server")
    if port is not None and not (is_whole(port) and 0 < port <= 65535):
        raise wrong("port", port, "a number from 1 to 65535, or None for that of the security")
    if not (is_number(timeout) and 0 < timeout < math.inf):
        raise wrong("timeout", timeout, "finite seconds, more than zero")


_PORTS = {"starttls": 587, "tls": 465, "plain": 25}
