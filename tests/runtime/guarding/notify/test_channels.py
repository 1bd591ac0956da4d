"""E-mail to a real SMTP server, webhooks to a real HTTP server: what arrives, and what trouble looks like."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.client
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from aiosmtpd.controller import Controller

from chaoskit.core.errors import UsageError
from chaoskit.runtime import EmailChannel, Notice, Notifier, Severity, WebhookChannel
from chaoskit.runtime.guarding.notify import connecting

LETTER = Notice(
    "convert: run-7 failed ünd <!channel> & more",
    "ValueError: line 3",
    Severity.ERROR,
    fields={"run": "run-7"},
    at=1_700_000_000.0,
    repeated=2,
)


class Post:
    """What an SMTP server does with mail: keeps it, or refuses it."""

    def __init__(self, answer="250 OK"):
        self.mail, self.answer = [], answer

    async def handle_DATA(self, server, session, envelope):
        self.mail.append(envelope)
        return self.answer


@pytest.fixture
def smtp():
    """A server on loopback; the handler that keeps the mail, and its port."""
    handler = Post()
    server = Controller(handler, hostname="127.0.0.1", port=free_port(), ready_timeout=60)
    server.start()
    yield handler, server.port
    server.stop()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def mail(port, **more):
    given = {"sender": "ops@example.com", "recipients": ["a@example.com", "b@example.com"]}
    return EmailChannel("127.0.0.1", port=port, **{"security": "plain", **given, **more})


def test_a_mail_arrives_whole(smtp):
    """At every recipient, with subject, text, fields and repetitions, in UTF-8."""
    handler, port = smtp
    mail(port).send(LETTER)
    (envelope,) = handler.mail
    assert envelope.rcpt_tos == ["a@example.com", "b@example.com"]
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["Subject"] == f"[ERROR] {LETTER.title}"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "ValueError: line 3" in text
    assert "run: run-7" in text
    assert "2 more times" in text


def test_no_character_keeps_a_mail_from_being_sent(smtp):
    """The name of a file that is not UTF-8 did: its failure was never told. Escapes reach no terminal."""
    handler, port = smtp
    fields = {"\udc80": "\udcff"}
    mail(port).send(
        Notice.of("lost a\udcff.fits", "\x1b[31mred\0\nline 2", Severity.ERROR, None, fields, 0.0)
    )
    (envelope,) = handler.mail
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["Subject"] == r"[ERROR] lost a\udcff.fits"
    assert message.get_content().splitlines() == [r"\x1b[31mred\x00", "line 2", r"\udc80: \udcff"]


def test_a_refused_mail_does_not_reach_the_job(smtp, caplog):
    """Nor does a server that is not there."""
    handler, port = smtp
    handler.answer = "554 no"
    with Notifier([mail(port), mail(free_port())], attempts=1) as notifier:
        assert notifier.notify("a")
    assert notifier.statistics().failed == 2
    assert "554" in caplog.text


def test_encryption_is_not_left_out_in_silence(smtp):
    """A server without STARTTLS gets no mail from a channel that asks for it, nor a password."""
    handler, port = smtp
    channel = EmailChannel(
        "127.0.0.1", port=port, sender="a@b.c", recipients=["d@e.f"], password="x", username="u"
    )
    with pytest.raises(Exception, match="STARTTLS"):
        channel.send(LETTER)
    assert handler.mail == []
    with pytest.raises(UsageError, match="A password would be read"):
        mail(port, password="x", username="u")


@pytest.fixture
def hook():
    """An HTTP server on loopback: what was posted to it, the answers to give, and its address."""
    posted, answers = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, headers = answers.pop(0) if answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield posted, answers, f"http://127.0.0.1:{server.server_port}/services/T0/SECRET"
    server.shutdown()
    thread.join()
    server.server_close()


def test_slack_gets_its_format(hook):
    """A summary and blocks, with what would notify a whole channel made harmless."""
    posted, _, url = hook
    WebhookChannel(url).send(LETTER)
    (document,) = posted
    assert document["text"] == "❌ convert: run-7 failed ünd &lt;!channel&gt; &amp; more"
    first, second = document["blocks"]
    assert first["type"] == "section"
    assert "ValueError: line 3" in first["text"]["text"]
    assert "2 more times" in first["text"]["text"]
    assert second["fields"] == [{"type": "mrkdwn", "text": "*run*\nrun-7"}]


def test_slack_never_gets_more_than_it_takes(hook):
    """3,000 characters of a section, ten fields of 2,000 each, even where escaping makes text longer."""
    posted, _, url = hook
    many = {f"f{n}": "<" * 2000 for n in range(20)}
    WebhookChannel(url).send(Notice("&" * 200, "<" * 4000, Severity.INFO, fields=many))
    first, second = posted[0]["blocks"]
    assert len(first["text"]["text"]) <= 3000
    assert len(second["fields"]) <= 10
    assert max(len(one["text"]) for one in second["fields"]) <= 2000


def test_plain_json_has_every_field(hook):
    """For receivers other than Slack."""
    posted, _, url = hook
    WebhookChannel(url, form="json", headers={"X-Key": "k"}).send(LETTER)
    assert posted[0]["severity"] == "error"
    assert posted[0]["fields"] == {"run": "run-7"}


def test_a_busy_receiver_is_told_later_and_one_that_is_gone_is_not(hook, caplog):
    """503 and 429 pass; 404 does not. The address stands in no log."""
    posted, answers, url = hook
    answers += [(503, {}), (429, {"Retry-After": "0"})]
    with Notifier([WebhookChannel(url)], attempts=3) as notifier:
        notifier.notify("a")
    assert (len(posted), notifier.statistics().delivered) == (3, 1)
    answers += [(404, {})]
    with Notifier([WebhookChannel(url)], attempts=3) as notifier:
        notifier.notify("a")
    assert (len(posted), notifier.statistics().failed) == (4, 1)
    assert "SECRET" not in caplog.text
    assert "SECRET" not in repr(WebhookChannel(url))


def test_a_redirect_is_not_followed(hook):
    """What is told goes where it was meant to go."""
    posted, answers, url = hook
    answers += [(302, {"Location": url})]
    with pytest.raises(OSError, match="302"):
        WebhookChannel(url).send(LETTER)
    assert len(posted) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: WebhookChannel("file:///etc/passwd"),
        lambda: WebhookChannel("http://x/", form="teams"),
        lambda: WebhookChannel("http://x:port/"),
        lambda: WebhookChannel("http://x:99999/"),
        lambda: WebhookChannel("http://[x/"),
        lambda: WebhookChannel("http://x/a b"),
        lambda: WebhookChannel("http://me:secret@x/"),
        lambda: WebhookChannel("http://x/", headers={"X-Key": "a\r\nX-Other: b"}),
        lambda: WebhookChannel("http://x/", headers={"X-Key": "€"}),
        lambda: WebhookChannel("http://x/", timeout=0),
        lambda: EmailChannel("h", sender="a", recipients=[]),
        lambda: EmailChannel("h", sender="a", recipients="a@b.c"),
        lambda: EmailChannel("h", sender="a", recipients=["a"], security="none"),
        lambda: EmailChannel("h", sender="a\nBcc: b@c.d", recipients=["a"]),
        lambda: EmailChannel("h", sender="a", recipients=["a", ""]),
    ],
)
def test_what_cannot_be_is_refused(make):
    """When it is made."""
    with pytest.raises(UsageError, match="expected"):
        make()


def web(first: bytes) -> list:
    return [lambda c: c.recv(1 << 16), first]


DRIPS = {
    "web, status": (WebhookChannel, "http", web(b"HTTP/1.1 200")),
    "web, headers": (WebhookChannel, "http", web(b"HTTP/1.1 200 OK\r\nX-Slow: ")),
    "web, handshake": (WebhookChannel, "https", [b"\x16\x03\x03\x40\x00"]),
    "mail, greeting": (EmailChannel, "plain", [b"220-"]),
    "mail, answer": (EmailChannel, "plain", [b"220 hi\r\n", lambda c: c.recv(999), b"250-"]),
    "mail, handshake": (EmailChannel, "tls", [b"\x16\x03\x03\x40\x00"]),
    "mail, STARTTLS": (
        EmailChannel,
        "starttls",
        [
            *(b"220 hi\r\n", lambda c: c.recv(999)),
            *(b"250-x\r\n250 STARTTLS\r\n", lambda c: c.recv(999)),
            b"220 go\r\n\x16\x03\x03\x40\x00",
        ],
    ),
}


@pytest.fixture
def dripping():
    """Starts a server that plays a script and then sends a byte now and again, until the client has gone."""
    servers, threads = [], []

    def start(script):
        server = socket.create_server(("127.0.0.1", 0))

        def play():
            try:
                client = server.accept()[0]
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                for step in script:
                    client.sendall(step) if isinstance(step, bytes) else step(client)
                while True:
                    client.sendall(b"0")
                    # Shorter than the time that a step has: each of them is in time.
                    threading.Event().wait(0.05)

        threads.append(threading.Thread(target=play))
        threads[-1].start()
        servers.append(server)
        return server.getsockname()[1]

    yield start
    for server in servers:
        # Wakes one that still waits for a client, which closing does not.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("name", DRIPS)
def test_a_server_that_drips_is_given_up(dripping, name):
    """It held the notifier's thread forever: each byte came in time, and the answer never did."""
    kind, way, script = DRIPS[name]
    port = dripping(script)
    if kind is WebhookChannel:
        channel = WebhookChannel(f"{way}://127.0.0.1:{port}/", timeout=0.3)
    else:
        channel = mail(port, security=way, timeout=0.3)
    done = threading.Event()

    def send():
        with pytest.raises((OSError, http.client.HTTPException)):
            channel.send(LETTER)
        done.set()

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    assert done.wait(30)


def test_each_address_of_a_host_has_what_is_left(monkeypatch):
    """Not the whole time once more; and what is over is over for the others, too."""
    given = []
    monkeypatch.setattr(connecting.time, "monotonic", lambda: 100.0 + 0.4 * len(given))
    monkeypatch.setattr(
        connecting.socket, "getaddrinfo", lambda *a, **k: [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 1))] * 5
    )
    monkeypatch.setattr(connecting._InTime, "settimeout", lambda self, left: given.append(left))
    with pytest.raises(OSError, match="time for this notification is over"):
        connecting.connected(101.0, ("host", 1))
    assert given == [pytest.approx(one) for one in (1.0, 0.6, 0.2)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: WebhookChannel(b"http://x/"),
        lambda: WebhookChannel("http://x/", headers=["X-Key"]),
        lambda: WebhookChannel("http://x/", headers={"X-Key: a": "b"}),
        lambda: WebhookChannel("http://x/", headers={"": "b"}),
        lambda: WebhookChannel("http://x/", least="loud"),
        lambda: EmailChannel("", sender="a", recipients=["a"]),
        lambda: EmailChannel("a b", sender="a", recipients=["a"]),
        lambda: EmailChannel(None, sender="a", recipients=["a"]),
        lambda: EmailChannel("h", sender=None, recipients=["a"]),
        lambda: EmailChannel("h", sender="a", recipients=[5]),
        lambda: EmailChannel("h", sender="a", recipients=["a"], port=70000),
        lambda: EmailChannel("h", sender="a", recipients=["a"], username="u"),
        lambda: EmailChannel("h", sender="a", recipients=["a"], least=5),
    ],
)
def test_what_would_lose_each_notification_is_refused(make):
    """When it is made: smtplib takes no host for "connect later", and a name with a colon is another."""
    with pytest.raises(UsageError, match="expected"):
        make()


def test_the_least_severity_may_be_named():
    """As in a file; given as a text it was compared with numbers, and each notification was lost."""
    assert WebhookChannel("http://x/", least="error").least is Severity.ERROR
    assert mail(25, least="critical").least is Severity.CRITICAL
