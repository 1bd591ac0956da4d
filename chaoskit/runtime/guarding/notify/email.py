"""Notifications by e-mail, over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Literal

from chaoskit.core.errors import wrong
from chaoskit.runtime.guarding.notify.records import Notice, Severity

__all__ = ["EmailChannel"]


class EmailChannel:
    """Sends each notification as a plain text mail through the server at ``host``.

    ``security`` is ``"starttls"`` (the server's certificate is checked), ``"tls"`` from the first byte, or
    ``"plain"``, over which no password is sent. No step waits longer than ``timeout`` seconds. Raises
    UsageError for no recipients, or a password over ``"plain"``.
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
        if isinstance(recipients, str) or not recipients:
            raise wrong("recipients", recipients, "a list of at least one address")
        for name, text in (("sender", sender), *(("recipients", one) for one in recipients)):
            # Found when the first message is made it would be lost, with all that follow.
            if not text.strip() or not text.isprintable():
                raise wrong(name, text, "an address, on one line")
        if security not in _PORTS:
            raise wrong("security", security, f"one of {', '.join(_PORTS)}")
        if password is not None and security == "plain":
            raise wrong("security", security, "'starttls' or 'tls'", "A password would be read on the way.")
        if not timeout > 0:
            raise wrong("timeout", timeout, "seconds, more than zero")
        self.name, self.least = f"e-mail by {host}", least
        self._host, self._port = host, _PORTS[security] if port is None else port
        self._sender, self._recipients = sender, tuple(recipients)
        self._security, self._timeout = security, timeout
        self._user, self._password = username, password

    def __repr__(self) -> str:
        return f"<EmailChannel {self._host}:{self._port} to {len(self._recipients)} recipients>"

    def send(self, notification: Notice) -> None:
        """Send it.

        Raises:
            OSError, smtplib.SMTPException: it was not, or not for certain.
        """
        message = EmailMessage()
        message["From"], message["To"] = self._sender, ", ".join(self._recipients)
        message["Subject"] = f"[{notification.severity.name}] {notification.title}"
        message["Date"] = formatdate(notification.at)
        # By our own name for it: a server that gets it twice, because its answer was lost, may tell.
        message["Message-ID"] = make_msgid(domain="chaoskit.invalid")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answer by a machine
        message.set_content(notification.body() or notification.title)
        with self._connected() as server:
            if self._user is not None and self._password is not None:
                server.login(self._user, self._password)
            server.send_message(message)

    def _connected(self) -> smtplib.SMTP:
        if self._security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=context)
        server = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
        if self._security == "starttls":
            try:
                # The default context: without one smtplib checks no certificate.
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


_PORTS = {"starttls": 587, "tls": 465, "plain": 25}
