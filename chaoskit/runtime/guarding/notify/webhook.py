"""Notifications to a webhook, in Slack's format or as plain JSON."""

from __future__ import annotations

import json
import math
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from chaoskit.core.errors import wrong
from chaoskit.runtime.guarding.notify.connecting import WebInTime
from chaoskit.runtime.guarding.notify.records import Notice, Severity
from chaoskit.runtime.numbers import is_number

__all__ = ["WebhookChannel"]

_MARKS = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🔥"}
_SECTION, _FIELDS, _FIELD = 3000, 10, 2000
"""Limits of Slack: characters of a section, fields, characters of a field (reference/block-kit/blocks)."""


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which could carry the message to any place."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class WebhookChannel:
    """Posts each notification to ``url``, within ``timeout`` seconds, whatever the other side does.

    A webhook's address is its password: no message, error or repr of this class contains it. Redirects are
    not followed. Raises UsageError for an address that is not HTTP, and for headers that no request can
    carry.
    """

    def __init__(
        self,
        url: str,
        *,
        form: Literal["slack", "json"] = "slack",
        headers: Mapping[str, str] | None = None,
        least: Severity = Severity.WARNING,
        timeout: float = 10.0,
    ) -> None:
        if not isinstance(url, str):
            raise wrong("url", type(url).__name__, "the http or https address of a webhook, a text")
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError as error:
            raise wrong(
                "url", f"an address that cannot be parsed ({error})", "one as a browser takes it"
            ) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise wrong("url", f"{parts.scheme}://…", "the http or https address of a webhook")
        _check(url, headers or {})
        if form not in ("slack", "json"):
            raise wrong("form", form, "'slack' or 'json'")
        if not (is_number(timeout) and 0 < timeout < math.inf):
            raise wrong("timeout", timeout, "finite seconds, more than zero")
        self.name, self.least = f"webhook at {parts.hostname}", Severity.of(least)
        self._url, self._form, self._timeout = url, form, timeout
        self._encrypted = parts.scheme == "https"
        self._headers = {**(headers or {}), "Content-Type": "application/json"}

    def __repr__(self) -> str:
        return f"<WebhookChannel {self.name!r}>"

    def send(self, notification: Notice) -> None:
        """Post one notification.

        Raises:
            OSError: it was not posted, or it is unknown whether it was. An answer other than 2xx is an error.
            http.client.HTTPException: the answer is not HTTP.
        """
        document = slack(notification) if self._form == "slack" else plain(notification)
        request = urllib.request.Request(
            self._url, json.dumps(document).encode(), self._headers, method="POST"
        )
        ours = WebInTime(self._timeout, encrypted=self._encrypted)
        opener = urllib.request.build_opener(_Stays, ours)
        try:
            # Only the status matters, so do not wait for the body.
            opener.open(request, timeout=self._timeout).close()
        except urllib.error.HTTPError as error:
            # The error is also an open response. After closing, its status and headers can still be read.
            error.close()
            raise


def _check(url: str, headers: Mapping[str, str]) -> None:
    # If this were found only when a notification is sent, that one and all later ones would be lost.
    if not url.isascii() or not url.isprintable() or " " in url:
        raise wrong(
            "url", "an address with spaces or special characters", "one that is escaped", "See urllib.parse."
        )
    if "@" in urlsplit(url).netloc:
        raise wrong("url", "an address with a login", "one without", "Give headers={'Authorization': …}.")
    if not isinstance(headers, Mapping):
        raise wrong("headers", type(headers).__name__, "a mapping of names to texts")
    for name, text in headers.items():
        named = isinstance(name, str) and _NAME.fullmatch(name)
        if not named or not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise wrong("headers", {name: "…"}, "names of a header, each with a text of printable ASCII")


def slack(notification: Notice) -> dict[str, Any]:
    """The payload of Slack's incoming webhooks: ``text`` for the summary, blocks for the message."""
    title = _escaped(f"{_MARKS[notification.severity]} {notification.title}", _SECTION // 2)
    body = _escaped(replace(notification, fields={}).body(), _SECTION // 2 - 10)
    text = f"*{title}*\n{body}".strip()
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    fields = [
        {"type": "mrkdwn", "text": _escaped(f"*{name}*\n{value}", _FIELD)}
        for name, value in list(notification.fields.items())[:_FIELDS]
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    return {"text": title, "blocks": blocks}


def plain(notification: Notice) -> dict[str, Any]:
    """The payload of the form ``json``: all fields of the notification, by name."""
    return {
        "title": notification.title,
        "text": notification.text,
        "severity": notification.severity.name.lower(),
        "key": notification.key,
        "fields": dict(notification.fields),
        "at": notification.at,
        "repeated": notification.repeated,
        "held_back": notification.held_back,
    }


def _escaped(text: str, most: int) -> str:
    """Escape the characters that are special to Slack; the result has at most ``most`` characters."""
    # Only these three are special (api.slack.com/reference/surfaces/formatting). Unescaped, <!channel> in an
    # error's text would notify everyone. The text is cut between characters, since Slack would show half of
    # an escape as it is.
    pieces, length = [], 0
    for piece in (_ESCAPES.get(character, character) for character in text):
        length += len(piece)
        if length > most:
            break
        pieces.append(piece)
    return "".join(pieces)


# A token (RFC 9110, 5.6.2): with a colon or a space, the name would become another header.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
