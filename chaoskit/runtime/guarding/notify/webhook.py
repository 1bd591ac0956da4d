"""Notifications to a webhook, in Slack's format or as plain JSON."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import urlsplit

from chaoskit.core.errors import wrong
from chaoskit.runtime.guarding.notify.records import Notice, Severity

__all__ = ["WebhookChannel"]

_MARKS = {Severity.INFO: "ℹ️", Severity.WARNING: "⚠️", Severity.ERROR: "❌", Severity.CRITICAL: "🔥"}
_SECTION, _FIELDS, _FIELD = 3000, 10, 2000
"""Characters of a section, fields, and characters of one (api.slack.com/reference/block-kit/blocks)."""


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: what is told would go to where a stranger points."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class WebhookChannel:
    """Posts each notification to ``url``, within ``timeout`` seconds.

    The address of a webhook is its password: it stands in no message, error or repr of this. Redirects are
    not followed. Raises UsageError for an address or a header that no request can have.
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
        host = _host(url)
        if form not in ("slack", "json"):
            raise wrong("form", form, "'slack' or 'json'")
        if not timeout > 0:
            raise wrong("timeout", timeout, "seconds, more than zero")
        for name, value in (headers or {}).items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                # Not its value, which may be a token.
                raise wrong("headers", name, "names and values as HTTP has them, in Latin-1 and on one line")
        self.name, self.least = f"webhook at {host}", least
        self._url, self._form, self._timeout = url, form, timeout
        self._headers = {**(headers or {}), "Content-Type": "application/json"}
        self._opener = urllib.request.build_opener(_Stays)

    def __repr__(self) -> str:
        return f"<WebhookChannel {self.name!r}>"

    def send(self, notification: Notice) -> None:
        """Post it.

        Raises:
            OSError: it was not, or not for certain; an answer other than 2xx is one.
        """
        document = slack(notification) if self._form == "slack" else plain(notification)
        request = urllib.request.Request(
            self._url, json.dumps(document).encode(), self._headers, method="POST"
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                # Read within bounds, so that the connection ends well; what it says is of no interest.
                answer.read(1000)
        except urllib.error.HTTPError as error:
            # It is an open answer as well: status and headers are enough, and stay.
            error.close()
            raise


def _host(url: str) -> str:
    """The host of an address that a request can be sent to; found out later, each notification is lost."""
    try:
        parts = urlsplit(url)
        scheme, host, port, user = parts.scheme, parts.hostname, parts.port, "@" in parts.netloc
    except ValueError:
        scheme, host, port, user = "", None, None, False
    fine = url.isascii() and url.isprintable() and " " not in url
    if scheme not in ("http", "https") or not host or port == 0 or user or not fine:
        raise wrong(
            "url",
            f"{scheme}://…",
            "the http or https address of a webhook, in ASCII, without spaces and without a user",
        )
    return host


def slack(notification: Notice) -> dict[str, Any]:
    """As Slack's incoming webhooks take it: ``text`` for the summary, blocks for the message."""
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
    """Every field by its name."""
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
    """``text`` with what means something to Slack made harmless, in ``most`` characters at most."""
    # These three alone (api.slack.com/reference/surfaces/formatting); else <!channel> in an error's text
    # would wake everyone. Cut between characters, since half of an escape is shown as it is.
    pieces, length = [], 0
    for piece in (_ESCAPES.get(character, character) for character in text):
        length += len(piece)
        if length > most:
            break
        pieces.append(piece)
    return "".join(pieces)


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
