"""The dashboard: what it shows, and what it lets change, in valid HTML and in a real browser."""

from __future__ import annotations

import http.client
import os
import re
import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlencode

import html5lib
import pytest

from chaoskit.cli.group import run
from chaoskit.cli.recovery.dashboard import views
from chaoskit.cli.recovery.dashboard.server import DashboardServer
from chaoskit.runtime import (
    AlertRule,
    Checkpoints,
    CircuitBreaker,
    DeadLetters,
    ErrorMetrics,
    Health,
    MetricsOptions,
    StatePublisher,
    Store,
)
from chaoskit.runtime.guarding.health.checks import store_checks

sys.path.insert(0, str(Path(__file__).parent))
from browser import CHROMIUM, Browser

TOKEN = "0123456789abcdef0123"
NASTY = "<script>alert(1)</script>\"'&amp;"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A night's work: done, at work, failed for good, with names that would break a careless page."""
    with Store.open(tmp_path / "run.db", durability="process-crash") as store:
        with Checkpoints(store, pipeline="convert", attempts=1) as steps:
            steps.save("done", 1)
            steps.save("waits", status="pending")
            for key in ("run-7.fastq", NASTY):
                claim = steps.claim(key)
                assert claim is not None
                claim.fail(ValueError(f"{NASTY} line 3"))
        with Checkpoints(store, pipeline="image") as steps:
            claim = steps.claim("again")
            assert claim is not None
            claim.fail(ConnectionError("down"), retry_in=60)
            assert steps.claim("working") is not None
            breaker = CircuitBreaker(name="s3")
            breaker.force_open()
            metrics = ErrorMetrics(MetricsOptions(alerts=(AlertRule(),)))
            metrics.success("upload")
            metrics.failure("upload", "TimeoutError")
            StatePublisher(store, "worker", breakers=[breaker], metrics=metrics).publish()
            yield store


@pytest.fixture
def server(store: Store) -> Iterator[DashboardServer]:
    with DashboardServer(store, Health(store_checks(store), keep=0), token=TOKEN, by="me") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Asked:
    """One answer: status, text, headers."""

    def __init__(self, server: DashboardServer, method: str, path: str, fields=None, **headers: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        body = None if fields is None else urlencode(fields)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()
        connection.close()


def entered(server: DashboardServer) -> dict[str, str]:
    """The cookie of a browser whose user has entered the token, and the field of its forms."""
    answer = Asked(server, "POST", "/token", {"token": TOKEN})
    assert answer.status == 303
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    return {"Cookie": cookie.partition(";")[0]}


def valid(text: str) -> None:
    """No error for the parser of the standard, names that lead somewhere, and no jump of headings."""
    html5lib.HTMLParser(strict=True).parse(text)
    found: dict[str, list[str]] = {"id": [], "href": [], "labelledby": []}
    headings: list[int] = []

    class Seen(HTMLParser):
        def handle_starttag(self, tag, attrs):
            given = dict(attrs)
            if re.fullmatch("h[1-6]", tag):
                headings.append(int(tag[1]))
            if "id" in given:
                found["id"].append(given["id"])
            if (given.get("href") or "").startswith("#"):
                found["href"].append(given["href"][1:])
            if "aria-labelledby" in given:
                found["labelledby"].append(given["aria-labelledby"])
            assert tag not in ("script", "iframe", "object")
            assert not any(name.startswith("on") or name == "style" for name in given)

    Seen().feed(text)
    assert len(set(found["id"])) == len(found["id"])
    assert set(found["href"]) | set(found["labelledby"]) <= set(found["id"])
    assert all(after - before <= 1 for before, after in zip([0, *headings], headings, strict=False))


def test_it_shows_what_there_is(server: DashboardServer) -> None:
    """Health, numbers, retries, letters, breakers and rates, with every name made harmless."""
    answer = Asked(server, "GET", "/")
    assert answer.status == 200
    for text in (
        "2 unresolved",
        "run-7.fastq",
        "again",
        "working",
        "s3",
        "forced-open",
        "50.0 %",
        "ConnectionError",
    ):
        assert text in answer.text, text
    assert "<script>" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert Asked(server, "GET", "/style.css").status == 200


@pytest.mark.parametrize("allowed", [False, True])
def test_the_page_is_valid(server: DashboardServer, allowed: bool) -> None:
    """By the parser of the standard, with forms as without, with a message as without."""
    known = entered(server) if allowed else {}
    for path in ("/", f"/?{urlencode({'told': NASTY, 'mark': server.mark(NASTY)})}", "/nothing"):
        answer = Asked(server, "GET", path, **known)
        assert ('class="told"' in answer.text) == ("told" in path)
        valid(answer.text)
        assert ("/redrive" in answer.text) == allowed
        assert TOKEN not in answer.text, "a page that is saved or shared would hold it"


def test_a_planted_fault_of_html_is_found() -> None:
    """A table that is not closed, a name that leads nowhere, a script: the check can fail."""
    page = '<!DOCTYPE html><html lang="en"><head><title>t</title></head><body>{}</body></html>'
    valid(page.format("<h1>a</h1>"))
    for bad in ("<p><table></p>", '<a href="#no">x</a>', "<script></script>", "<h2>jump</h2>"):
        with pytest.raises(Exception, match=r".*"):
            valid(page.format(bad))


def test_an_empty_store_has_a_page(tmp_path: Path) -> None:
    """And says so in each part."""
    with (
        Store.open(tmp_path / "empty.db") as store,
        DashboardServer(store, Health({}), token=TOKEN, by="me") as server,
    ):
        text = server.page(allowed=True, told="", trouble="")
    valid(text)
    assert "Nothing has failed for good" in text
    assert "No pipeline has recorded anything" in text


def test_nothing_is_changed_without_the_token(server: DashboardServer, store: Store) -> None:
    """Neither with the cookie alone, as another site could send it, nor with the field alone."""
    (id, _) = sorted(one.id for one in DeadLetters(store).find())
    known, key = entered(server), server.form_key()
    assert Asked(server, "POST", "/token", {"token": "wrong"}).status == 403
    for fields, headers in (
        ({"id": id}, {}),
        ({"id": id}, known),
        ({"id": id, "form_key": "x"}, known),
        ({"id": id, "form_key": key}, {}),
        ({"id": id, "form_key": key}, {"Cookie": "chaoskit=wrong"}),
    ):
        answer = Asked(server, "POST", "/redrive", fields, **headers)
        assert (answer.status, "Nothing was changed" in answer.text) == (403, True)
    assert {one.status for one in DeadLetters(store).find()} == {"open"}


def test_letters_are_redriven_and_resolved(server: DashboardServer, store: Store) -> None:
    """Once, by the user of the command, and a second time is told instead of done."""
    letters = DeadLetters(store)
    (one, other) = sorted(found.id for found in letters.find())
    known, field = entered(server), {"form_key": server.form_key()}
    answer = Asked(server, "POST", "/redrive", {"id": one, **field}, **known)
    assert answer.status == 303
    assert f"{one} is redriven as {one}#1" in unquote(answer.headers["Location"])
    Asked(server, "POST", "/resolve", {"id": other, "notes": "looked at", **field}, **known)
    found = letters.get(other)
    assert found is not None
    assert (found.resolved_by, found.notes) == ("me", "looked at")
    again = Asked(server, "POST", "/redrive", {"id": other, **field}, **known)
    assert "was resolved by me" in unquote(again.headers["Location"])
    every = Asked(server, "POST", "/redrive-all", field, **known)
    assert "0 redriven, 0 left" in unquote(every.headers["Location"])
    assert Asked(server, "POST", "/nothing", field, **known).status == 404


def test_a_message_in_an_address_is_shown_only_if_it_is_ours(server: DashboardServer) -> None:
    """A page elsewhere can link here with any text: it must not read as if the dashboard said so."""
    for query in ({"told": "Call 555"}, {"trouble": "Call 555", "mark": "0" * 64}, {"mark": server.mark("")}):
        assert "Call 555" not in Asked(server, "GET", f"/?{urlencode(query)}").text
    known = entered(server)
    answer = Asked(server, "POST", "/redrive", {"id": "nope", "form_key": server.form_key()}, **known)
    assert "is not the id of a dead letter" in Asked(server, "GET", answer.headers["Location"], **known).text


def test_two_dashboards_of_one_browser_keep_their_tokens(server: DashboardServer, tmp_path: Path) -> None:
    """A browser sends cookies to every port of a host."""
    with (
        Store.open(tmp_path / "other.db") as store,
        DashboardServer(store, Health({}), token="x" * 16, by="me") as other,
    ):
        names = {entered(server)["Cookie"].partition("=")[0], f"{other.cookie}"}
    assert len(names) == 2


def test_what_is_damaged_is_not_left_out_in_silence(store: Store, server: DashboardServer) -> None:
    """A letter that cannot be read is not shown; that there is one is."""
    assert "Damaged records" not in Asked(server, "GET", "/").text
    with closing(sqlite3.connect(str(store.path), isolation_level=None)) as connection:
        connection.execute("update record set payload = '{' where status = 'open'")
    text = Asked(server, "GET", "/").text
    valid(text)
    assert "Damaged records were met and left out" in text


def test_a_page_does_not_read_all_that_waits(
    store: Store, server: DashboardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a million waiting checkpoints some are looked at, and that there are more is said."""
    with Checkpoints(store, pipeline="many") as steps:
        for number in range(20):
            steps.save(f"{number}", status="pending")
    assert "chaoskit recovery checkpoints" not in Asked(server, "GET", "/").text
    monkeypatch.setattr(views, "LOOKED_AT", 5)
    text = Asked(server, "GET", "/").text
    assert "chaoskit recovery checkpoints" in text
    assert "working" in text


def test_another_host_and_a_long_form_are_refused(server: DashboardServer) -> None:
    """A stranger's name that leads here is not answered (DNS rebinding)."""
    assert Asked(server, "GET", "/", Host="evil.example.com").status == 421
    assert Asked(server, "POST", "/token", {"token": "x" * 100_000}).status == 413
    assert Asked(server, "GET", "/../../etc/passwd").status == 404
    for length in ("\xb2", "-1", "5.0", "", "9" * 5000):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
            head = f"POST /token HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: {length}"
            connection.sendall(f"{head}\r\n\r\n".encode("latin-1"))
            assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_whatever_is_asked_is_answered(server: DashboardServer) -> None:
    """What is no address, other methods, and a tunnel that has a port of its own."""
    for host in ("localhost:1", "LOCALHOST", "127.0.0.1:8080"):
        assert Asked(server, "GET", "/", Host=host).status == 200
    for host in ("localhost.evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        assert Asked(server, "GET", "/", Host=host).status == 421
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
        connection.sendall(b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    shown, head = Asked(server, "GET", "/"), Asked(server, "HEAD", "/")
    assert (head.status, head.text) == (200, "")
    assert abs(int(head.headers["Content-Length"]) - len(shown.text.encode())) < 100
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert Asked(server, method, "/redrive-all").status == 501


def test_a_token_that_can_be_guessed_is_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is served."""
    assert run(["recovery", "--store", str(store.path), "serve", "--token", "short"]) == 2
    assert "at least 16 letters and digits" in capsys.readouterr().err


ODD = "a\x1b[31m\x85\u202eb\ufffe%41"


def test_no_character_of_a_name_spoils_the_page(tmp_path: Path) -> None:
    """Controls are spelt out, what turns its neighbours is not obeyed, and such a letter is redriven."""
    with Store.open(tmp_path / "odd.db", durability="process-crash") as store:
        with Checkpoints(store, pipeline=ODD, attempts=1) as steps:
            claim = steps.claim(ODD)
            assert claim is not None
            claim.fail(ValueError("\x00" + ODD))
        with DashboardServer(store, Health(store_checks(store)), token=TOKEN, by="me") as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                known = entered(server)
                text = Asked(server, "GET", "/", **known).text
                valid(text)
                assert r"a\x1b[31m\x85\u202eb" in text
                (field, *_) = re.findall(r'name="id" value="([^"]+)"', text)
                given = {"id": field, "form_key": server.form_key()}
                answer = Asked(server, "POST", "/redrive", given, **known)
                valid(Asked(server, "GET", answer.headers["Location"], **known).text)
            finally:
                server.shutdown()
                thread.join()
        assert [one.status for one in DeadLetters(store).find()] == ["redriven"]


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


@needs_browser
def test_everything_can_be_done_with_the_keyboard(server: DashboardServer, store: Store) -> None:
    """In a real browser: the token, a traceback, a redrive, a note and a resolve, by Tab and Enter alone."""
    with Browser() as browser:
        browser.open(server.url)
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.className") == "skip"
        browser.tab_to("e.name === 'token'")
        browser.write(TOKEN)
        browser.press("Enter")
        browser.wait("document.body.innerText.includes('You may change things now')")
        browser.tab_to("e.tagName === 'SUMMARY'")
        browser.press("Enter")
        assert browser.evaluate("document.activeElement.parentElement.open")
        browser.tab_to("e.getAttribute('aria-label') === 'Redrive run-7.fastq'")
        browser.press("Enter")
        browser.wait("document.body.innerText.includes('is redriven as')")
        browser.tab_to("e.name === 'notes' && e.closest('article').innerText.includes('run-7.fastq')")
        browser.write("looked at")
        browser.press("Tab")
        browser.press("Enter")
        browser.wait("document.body.innerText.includes('is resolved')")
    (found,) = [one for one in DeadLetters(store).find(resolved=True) if one.run_id == "run-7.fastq"]
    assert (found.notes, found.redrives) == ("looked at", 1)


@needs_browser
@pytest.mark.parametrize("long", [False, True], ids=["", "long names"])
def test_nothing_is_cut_off_at_any_width(
    server: DashboardServer, store: Store, tmp_path: Path, long: bool
) -> None:
    """At 1300 and 400 pixels, dark and light, page and tables are no wider than the window."""
    if long:
        with Checkpoints(store, pipeline="p" * 200, attempts=1) as steps:
            claim = steps.claim("k" * 500)
            assert claim is not None
            claim.fail(ValueError("e" * 1000))
        StatePublisher(store, "w" * 100, breakers=[CircuitBreaker(name="b" * 300)]).publish()
    pictures = Path(os.environ.get("CHAOSKIT_PICTURES", tmp_path))
    with Browser() as browser:
        browser.open(server.url)
        seen = set()
        for width in (1300, 400):
            for dark in (False, True):
                name = f"{'long-' if long else ''}{width}-{'dark' if dark else 'light'}.png"
                browser.picture(pictures / name, width, dark=dark)
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                tables = "[...document.querySelectorAll('.wide')]"
                assert browser.evaluate(f"{tables}.every(e => e.scrollWidth <= e.clientWidth)")
                seen.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(seen) == 2
