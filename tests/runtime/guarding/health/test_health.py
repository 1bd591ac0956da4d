"""Health: every check is asked, none can hold up the others, and probes get what they can act on."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sqlite3
import threading
import urllib.error
import urllib.request

import pytest

from chaoskit.core.errors import UsageError
from chaoskit.runtime import (
    Checkpoints,
    CircuitBreaker,
    DeadLetters,
    Health,
    HealthFinding,
    HealthStatus,
    Outbox,
    OutboxMessage,
    Store,
    VirtualClock,
    breakers_closed,
    database_answers,
    disk_left,
    memory_left,
    queue_age,
    store_healthy,
    tools_present,
)
from chaoskit.runtime.guarding.resources import readings
from chaoskit.runtime.guarding.resources.readings import Usage

GOOD, POOR, BAD = HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY


def found(check):
    """The one finding of one check."""
    return Health({"it": check}, keep=0).report().findings[0]


def test_the_worst_decides():
    """One word for all, and every finding with its name, in order."""
    report = Health({"a": lambda: None, "b": lambda: HealthFinding("", POOR, "hm")}).report()
    assert report.status == POOR
    assert [(one.name, one.status, one.detail) for one in report.findings] == [
        ("a", GOOD, ""),
        ("b", POOR, "hm"),
    ]
    assert Health({"a": lambda: None, "b": lambda: 1 / 0}).report().status == BAD
    assert Health({}).report().status == GOOD


def test_what_a_check_raises_is_told_without_secrets():
    """An address in an error may hold a password."""

    def check():
        raise ConnectionError("postgresql://ops:hunter2@db/jobs refused")

    one = found(check)
    assert one.status == BAD
    assert one.detail.startswith("ConnectionError")
    assert "hunter2" not in one.detail


def test_a_hung_check_holds_up_nothing_and_is_not_started_twice():
    """It is unhealthy after the time that it has, costs one thread, and is well when it answers again."""
    over, begun = threading.Event(), []

    def hung():
        begun.append(1)
        over.wait()

    health = Health({"hung": hung, "fine": lambda: None}, timeout=0.05, keep=0)
    for _ in range(3):
        report = health.report()
        assert [one.status for one in report.findings] == [BAD, GOOD]
        assert "has not answered for" in report.findings[0].detail
    assert begun == [1]
    over.set()
    for _ in range(3000):
        if health.report().status == GOOD:
            break
    assert health.report().status == GOOD


def test_many_probes_cost_one_look():
    """For as long as a report is kept, and no longer."""
    clock, asked = VirtualClock(), []
    health = Health({"it": lambda: asked.append(1)}, keep=10, clock=clock)
    first = health.report()
    clock.advance(9)
    assert health.report() is first
    clock.advance(60)
    health.report()
    assert len(asked) == 2


def test_a_forked_child_looks_for_itself():
    """Without the threads of its parent, and whatever lock those held."""
    health = Health({"it": lambda: None}, keep=0)
    health._lock.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if health.report().status == GOOD else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_databases_answer_or_not(tmp_path):
    """By a new connection, which is closed again."""
    closed = []

    class Connection(sqlite3.Connection):
        def close(self):
            closed.append(1)
            super().close()

    good = lambda: sqlite3.connect(tmp_path / "a.db", factory=Connection, check_same_thread=False)  # noqa: E731
    assert found(database_answers(good)).status == GOOD
    assert found(database_answers(good, "SELECT * FROM absent")).status == BAD
    assert closed == [1, 1]
    assert found(database_answers(lambda: sqlite3.connect(tmp_path / "no" / "b.db"))).status == BAD


def test_disk_and_memory_have_two_limits(monkeypatch):
    """A warning comes before the end does."""
    for kind, make in (("disk", lambda **k: disk_left(".", **k)), ("memory", memory_left)):
        monkeypatch.setattr(readings, kind, lambda *path: Usage(0, 100, "there"))
        assert found(make(least=100)).status == GOOD
        assert found(make(least=50, warn=101)).status == POOR
        assert found(make(least=101)).status == BAD
    monkeypatch.setattr(readings, "memory", lambda: None)
    assert found(memory_left(least=1)).status == POOR


def test_tools_are_there_or_named():
    """Every one that is missing."""
    assert found(tools_present("sh")).status == GOOD
    one = found(tools_present("sh", "no-such-tool-7"))
    assert (one.status, one.detail) == (BAD, "not on the path: no-such-tool-7")


def test_a_queue_grows_old(tmp_path):
    """By its oldest entry, as checkpoints know it."""
    clock = VirtualClock()
    with Store.open(tmp_path / "s.db", durability="process-crash", clock=clock) as store:
        steps = Checkpoints(store)
        check = queue_age(lambda: steps.statistics().oldest_pending, warn=60, most=600, clock=clock)
        assert found(check).status == GOOD
        steps.save("a", status="pending")
        assert found(check).status == GOOD
        clock.advance(60)
        assert found(check).status == POOR
        clock.advance(540)
        assert found(check).status == BAD


def test_breakers_are_told_while_they_are_open():
    """With their state; the program goes on, so that is degraded."""
    breaker = CircuitBreaker(name="s3")
    assert found(breakers_closed([breaker])).status == GOOD
    breaker.force_open()
    one = found(breakers_closed([breaker]))
    assert one.status == POOR
    assert "s3 is" in one.detail


def test_a_store_tells_of_letters_and_of_messages_that_could_not_be_sent(tmp_path):
    """Each with its number."""
    with Store.open(tmp_path / "s.db", durability="process-crash") as store:
        check = store_healthy(store)
        assert found(check).status == GOOD
        DeadLetters(store).add(pipeline="p", run_id="r", error=ValueError("x"), attempts=1)
        with store.transaction() as tx:
            Outbox(store).put("t", 1, key="k", tx=tx)

        def refused(message: OutboxMessage) -> None:
            raise ConnectionError("down")

        Outbox(store).relay(refused)
        one = found(check)
        assert one.status == POOR
        assert "1 unresolved" in one.detail
        assert "1 messages" in one.detail


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_it_is_served_on_loopback():
    """200 while it goes on, 503 when it does not, and the report either way."""
    now = [None]
    health = Health({"it": lambda: now[0]}, keep=0)
    with health.serve() as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert get(server.url)[1]["status"] == "healthy"
        now[0] = HealthFinding("", POOR, "slow")
        assert get(server.url)[0] == 200
        now[0] = HealthFinding("", BAD, "down")
        code, document = get(server.url)
        assert (code, document["status"], document["version"]) == (503, "unhealthy", 1)
        assert document["checks"][0]["detail"] == "down"
        assert get(server.url.replace("/health", "/live"))[0] == 200
        assert get(server.url.replace("/health", "/etc/passwd"))[0] == 404
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(server.url, timeout=30)


def test_a_silent_client_holds_up_nothing():
    """Neither the next probe nor the end."""
    with Health({"it": lambda: None}).serve() as server:
        host, port = server.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as silent:
            silent.sendall(b"GET /health HT")
            assert get(server.url)[0] == 200
            server.close()


def test_a_probe_may_ask_for_the_head_alone():
    """As some do: the same status, and no body."""
    with Health({"it": lambda: 1 / 0}).serve() as server:
        connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=30)
        connection.request("HEAD", "/health")
        answer = connection.getresponse()
        assert (answer.status, answer.read(), answer.headers["Cache-Control"]) == (503, b"", "no-store")
        connection.close()


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:9", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:9", 200),
        ("[::1]:9", 200),
        (None, 200),
        ("evil.example.com", 421),
        ("localhost.evil.example.com:80", 421),
        ("127.0.0.1.evil.example.com", 421),
        ("10.0.0.1", 421),
    ],
)
@pytest.mark.parametrize("path", ["/health", "/live"])
def test_a_page_by_another_name_reads_nothing(host, code, path):
    """The name of a foreign page may lead to loopback: its browser then names the page, and is refused."""
    with Health({"a": lambda: None}).serve() as server:
        connection = http.client.HTTPConnection(server.url.split("/")[2], timeout=30)
        connection.putrequest("GET", path, skip_host=True)
        if host is not None:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        document = json.loads(answer.read())
        connection.close()
    assert answer.status == code
    assert ("error" in document) == (code == 421)


def test_beyond_loopback_any_name_is_good():
    """Who lets strangers read it has a name for it, and that is not known here."""
    with Health({"a": lambda: None}).serve(host="0.0.0.0", beyond_loopback=True) as server:
        connection = http.client.HTTPConnection(
            "127.0.0.1", int(server.url.split(":")[2].split("/")[0]), timeout=30
        )
        connection.request("GET", "/health", headers={"Host": "worker-7.example.com"})
        assert connection.getresponse().status == 200
        connection.close()


def test_strangers_are_not_told_by_default():
    """Another address than loopback has to be allowed; a name is none."""
    for host in ("0.0.0.0", "localhost"):
        with pytest.raises(UsageError, match="an address of loopback"):
            Health({}).serve(host=host)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Health({}, timeout=0),
        lambda: Health({}, keep=-1),
        lambda: Health({"a": 5}),
        lambda: queue_age(lambda: None, warn=5, most=4),
    ],
)
def test_what_cannot_be_is_refused(make):
    """When it is made."""
    with pytest.raises(UsageError, match="expected"):
        make()


@pytest.mark.parametrize("answer", [False, True, "unhealthy", HealthStatus.UNHEALTHY, (False, "down")])
def test_an_answer_that_is_none_is_not_taken_for_good(answer):
    """``lambda: database.ping()`` was healthy when it said False."""
    one = found(lambda: answer)
    assert one.status == BAD
    assert "expected a HealthFinding, or None for healthy" in one.detail


def test_a_finding_may_be_given_in_plain_words():
    """The status by its value, and any detail; a status that is none is refused."""
    one = found(lambda: HealthFinding("", "degraded", 5))
    assert (one.status, one.detail) == (POOR, "5")
    assert "one of healthy, degraded, unhealthy" in found(lambda: HealthFinding("", "poor")).detail


def test_an_error_without_a_text_ends_no_check_for_ever():
    """Its thread died, and the check counted as hung from then on."""

    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def check():
        raise Mute

    one = found(check)
    assert (one.status, one.detail.startswith("Mute")) == (BAD, True)


def test_no_thread_to_be_had_is_a_finding(monkeypatch):
    """The report comes all the same, and the check is asked again when there are threads."""
    health = Health({"it": lambda: None}, keep=0)

    def start(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        (one,) = health.report().findings
    assert (one.status, "could not be asked" in one.detail) == (BAD, True)
    assert health.report().status == GOOD


def test_it_is_served_on_loopback_of_version_6():
    """The address is allowed, so that it has to work."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with Health({"it": lambda: None}).serve(host="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert get(server.url)[0] == 200


@pytest.mark.parametrize(
    "make",
    [
        lambda: Health([lambda: None]),
        lambda: Health({1: lambda: None}),
        lambda: Health({}).serve(70000),
        lambda: tools_present(["sh"]),
        lambda: tools_present(),
        lambda: breakers_closed(CircuitBreaker(name="a")),
        lambda: breakers_closed(["a"]),
        lambda: store_healthy("s.db"),
    ],
)
def test_checks_of_something_else_are_refused(make):
    """When they are made, not at the first probe."""
    with pytest.raises(UsageError, match="expected"):
        make()
