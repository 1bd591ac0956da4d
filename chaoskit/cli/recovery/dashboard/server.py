"""The dashboard over HTTP: anyone on this machine may read, those with the token may make changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from chaoskit.cli.recovery.dashboard.views import DashboardPage, look
from chaoskit.cli.recovery.opening import moment
from chaoskit.core.errors import ChaoskitError
from chaoskit.report.visible import visible
from chaoskit.runtime.durable.dead_letters import DeadLetters
from chaoskit.runtime.durable.store.store import Store
from chaoskit.runtime.guarding.health.health import Health

__all__ = ["DashboardServer"]

logger = logging.getLogger("chaoskit")

LONGEST = 64 << 10

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # No script at all: an error message that got past the escaping could still do nothing.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}


class DashboardServer(ThreadingHTTPServer):
    """Serves one store on 127.0.0.1. ``token`` allows changes, which are recorded as made by ``by``."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, store: Store, health: Health, *, token: str, by: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _DashboardHandler)
        self.store, self.health, self.by = store, health, by
        self._token = token
        # Cookies belong to a host, whatever the port: two dashboards must not overwrite each other's token.
        self.cookie = f"chaoskit-{self.server_port}"
        loader = PackageLoader("chaoskit.cli.recovery.dashboard", "templates")
        self.templates = Environment(
            autoescape=True, undefined=StrictUndefined, loader=loader, trim_blocks=True, finalize=_shown
        )
        self.templates.filters["moment"] = moment
        self.style = loader.get_source(self.templates, "page.css")[0]

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.server_port}/"

    def is_token(self, text: str) -> bool:
        """Return True if ``text`` is the token; the time this takes reveals only its length."""
        return hmac.compare_digest(text.encode(), self._token.encode())

    def form_key(self) -> str:
        """The key in each form: a page of another site can send a form here, but cannot know the key."""
        return hmac.new(self._token.encode(), b"form", hashlib.sha256).hexdigest()

    def mark(self, text: str) -> str:
        """The mark beside a message in a URL: pages elsewhere can link here, but cannot forge a message."""
        return hmac.new(self._token.encode(), b"told:" + text.encode(), hashlib.sha256).hexdigest()

    def is_form_key(self, text: str) -> bool:
        """Return True if ``text`` is the key of the forms."""
        return hmac.compare_digest(text.encode(), self.form_key().encode())

    def page(self, *, allowed: bool, told: str, trouble: str) -> str:
        """The page as HTML; with forms if the reader may change anything."""
        seen: DashboardPage = look(self.store, self.health)
        form_key = self.form_key() if allowed else ""
        template = self.templates.get_template("page.html")
        return template.render(page=seen, allowed=allowed, form_key=form_key, told=told, trouble=trouble)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore it: browsers close connections all the time."""


class _DashboardHandler(BaseHTTPRequestHandler):
    server: DashboardServer
    timeout = 10.0
    server_version, sys_version = "chaoskit", ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self._is_for_us():
            return
        try:
            address = urlsplit(self.path)
        except ValueError:  # "http://[", for example.
            self._page(400, "", "This is not an address.")
            return
        if address.path == "/style.css":
            self._answer(200, self.server.style, "text/css; charset=utf-8")
        elif address.path == "/":
            told, trouble = self._said(address.query)
            self._page(200, told, trouble)
        else:
            self._page(404, "", f"There is no page {address.path[:80]}.")

    do_HEAD = do_GET

    def _said(self, query: str) -> tuple[str, str]:
        """The message about the change just made, if it comes from this server."""
        said = {name: values[0] for name, values in parse_qs(query).items()}
        text = {name: said[name] for name in ("told", "trouble") if name in said}
        mark = self.server.mark("".join(text.values()))
        known = hmac.compare_digest(said.get("mark", "").encode(), mark.encode())
        return (text.get("told", ""), text.get("trouble", "")) if known else ("", "")

    def do_POST(self) -> None:
        if not self._is_for_us():
            return
        given = self._form()
        if given is None:
            self.close_connection = True
            self._page(413, "", "The form is too long.")
        elif self.path == "/token":
            self._enter(given.get("token", ""))
        # Check both: the cookie shows that this browser may make changes, the key that its user saw our page.
        elif not self._allowed() or not self.server.is_form_key(given.get("form_key", "")):
            self._page(403, "", "Nothing was changed: that needs the token. Enter it below.")
        elif self.path not in _ACTIONS:
            self._page(404, "", "There is no such action.")
        else:
            try:
                name, text = "told", _ACTIONS[self.path](self.server, given)
            except (ChaoskitError, KeyError) as error:
                name, text = "trouble", str(error)
            self._redirect(name, text)

    def _form(self) -> dict[str, str] | None:
        """The fields that were sent; None if there are more than in any of our forms."""
        length = self.headers.get("Content-Length", "")
        # isascii(), since a superscript two is a digit in Python, but not a number. And not more digits than
        # any length that is allowed: int() raises for thousands of them.
        if not (length.isascii() and length.isdigit() and len(length) < 10) or int(length) > LONGEST:
            return None
        fields = parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"), keep_blank_values=True)
        found = {name: values[0] for name, values in fields.items()}
        # Decoded once more, because the page encodes ids: one may hold a character that no page may.
        return {**found, "id": unquote(found.get("id", ""))}

    def _is_for_us(self) -> bool:
        """Return True if the request names this machine; else answer 421, against DNS rebinding."""
        # With any port, since a tunnel has another one.
        if self.headers.get("Host", "").partition(":")[0].lower() in ("127.0.0.1", "localhost"):
            return True
        self.close_connection = True
        self._answer(421, "This is not the host that you asked for.", "text/plain; charset=utf-8")
        return False

    def _allowed(self) -> bool:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self.server.cookie)
        except CookieError:
            return False
        return cookie is not None and self.server.is_token(cookie.value)

    def _enter(self, token: str) -> None:
        if self.server.is_token(token):
            # Strict: no other site can make the browser send it.
            cookie = f"{self.server.cookie}={token}; HttpOnly; SameSite=Strict; Path=/"
            self._redirect("told", "You may change things now.", {"Set-Cookie": cookie})
        else:
            self._page(403, "", "That is not the token. The command has printed it.")

    def _page(self, status: int, told: str, trouble: str) -> None:
        kind = "text/html; charset=utf-8"
        try:
            text = self.server.page(allowed=self._allowed(), told=told, trouble=trouble)
        except ChaoskitError as error:
            logger.warning("the dashboard could not read the store: %s", error)
            status, kind = 503, "text/plain; charset=utf-8"
            text = visible(f"The store could not be read: {error}")
        self._answer(status, text, kind)

    def _redirect(self, name: str, text: str, headers: dict[str, str] | None = None) -> None:
        # Redirect after a change: reloading the page must not repeat the change.
        shown = text[:300].encode("utf-8", "replace").decode()
        where = f"/?{name}={quote(shown)}&mark={self.server.mark(shown)}"
        self._answer(303, "", "text/plain; charset=utf-8", {"Location": where, **(headers or {})})

    def _answer(self, status: int, text: str, kind: str, more: dict[str, str] | None = None) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        known = {"Content-Type": kind, "Content-Length": str(len(body)), **_HEADERS, **(more or {})}
        for name, value in known.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: a URL may name what failed, and the terminal is for the token."""


def _shown(value: Any) -> Any:
    """``value`` as the page shows it, before it is escaped.

    HTML allows no control characters (13.2.3.5), and a character that reverses the direction of the text
    after it makes one name look like another.
    """
    return visible(value) if isinstance(value, str) else value


def _redrive(server: DashboardServer, given: dict[str, str]) -> str:
    message = DeadLetters(server.store).redrive(given["id"], by=server.by)
    return f"{given['id']} is redriven as {message.key}."


def _redrive_all(server: DashboardServer, given: dict[str, str]) -> str:
    plan = DeadLetters(server.store).redrive_all(by=server.by, dry_run=False)
    return f"{len(plan.redriven)} redriven, {len(plan.left)} left."


def _resolve(server: DashboardServer, given: dict[str, str]) -> str:
    id = given["id"]
    changed = DeadLetters(server.store).resolve(id, by=server.by, notes=given.get("notes", "")[:1000])
    return f"{id} is resolved." if changed else f"{id} was resolved before."


_ACTIONS: dict[str, Callable[[DashboardServer, dict[str, str]], str]] = {
    "/redrive": _redrive,
    "/redrive-all": _redrive_all,
    "/resolve": _resolve,
}
