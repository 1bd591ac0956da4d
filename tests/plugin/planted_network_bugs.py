"""Programs that talk to a server, each with one bug that one fault of the network brings out, and its twin.

Run by test_planted_network_bugs.py in a pytest of its own, where the bugs fail: that is what is tested. A
program is a function of the directory; ``check`` is its invariant, given what the server has got.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chaoskit import Chaos, Outcome, faults, scenario

PAGE = b"0123456789" * 20
HOST = "shop.example"


@dataclass(frozen=True)
class Planted:
    """A bug, its twin, and the schedule that must be among those by which the bug is found."""

    faults: faults.FaultSet
    bug: Callable[[Path], Any]
    twin: Callable[[Path], Any]
    finds: str
    check: Callable[[Chaos, Any, Outcome], None]
    verdict: str = "violated"
    again: bool = False
    """The program is started again afterwards, as after a restart."""
    start: Any = None
    setup: Callable[[Path], Any] = bool
    options: dict[str, Any] = field(default_factory=dict)


def ask(method: str, path: str, body: bytes = b"", timeout: float | None = 0.3) -> tuple[int, bytes]:
    """One request over a new connection."""
    connection = http.client.HTTPConnection(HOST, timeout=timeout)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def durable(path: Path, content: bytes) -> None:
    """Write a file so that it is there after a power loss."""
    with open(f"{path}.tmp", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.tmp", path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


# --- the bugs -----------------------------------------------------------------------------------


def retries_with_another_key(_: Path) -> None:
    """A payment whose answer is lost is made again, and the server cannot know that it is the same."""
    for attempt in range(2):
        try:
            return check_paid(ask("POST", "/pay", b"key-%d" % attempt))
        except OSError:
            continue
    raise OSError("not paid")


def retries_with_one_key(_: Path) -> None:
    for _attempt in range(2):
        try:
            return check_paid(ask("POST", "/pay", b"key"))
        except OSError:
            continue
    raise OSError("not paid")


def check_paid(answer: tuple[int, bytes]) -> None:
    if answer[0] != 200:
        raise RuntimeError(f"status {answer[0]}")


def one_effect(_: Chaos, peer: Any, outcome: Outcome) -> None:
    """A server that knows keys makes each payment once."""
    assert len({request.body for request in peer.requests if request.method == "POST"}) <= 1


def waits_for_ever(_: Path) -> None:
    ask("GET", "/page", timeout=None)


def waits_a_while(_: Path) -> None:
    ask("GET", "/page")


def download(path: Path) -> tuple[http.client.HTTPResponse, int]:
    """Write the page to a file, in pieces; return the answer and how many bytes came."""
    connection = http.client.HTTPConnection(HOST, timeout=0.3)
    with contextlib.closing(connection), open(path, "wb") as file:
        connection.request("GET", "/page")
        answer = connection.getresponse()
        shutil.copyfileobj(answer, file, 64)
        return answer, file.tell()


def stores_what_came(root: Path) -> None:
    """Read in pieces, an answer that ends early looks like one that is short."""
    answer, _ = download(root / "page.tmp")
    if answer.status == 200:
        os.rename(root / "page.tmp", root / "page")


def stores_what_is_whole(root: Path) -> None:
    answer, size = download(root / "page.tmp")
    if answer.status == 200 and answer.headers["Content-Length"] == str(size):
        os.rename(root / "page.tmp", root / "page")


def only_the_page(chaos: Chaos, _: Any, outcome: Outcome) -> None:
    """What is kept is the whole page."""
    assert not (chaos.path / "page").exists() or (chaos.path / "page").read_bytes() == PAGE


def stores_any_answer(root: Path) -> None:
    _, body = ask("GET", "/page")
    (root / "page").write_bytes(body)


def stores_good_answers(root: Path) -> None:
    status, body = ask("GET", "/page")
    if status == 200:
        (root / "page").write_bytes(body)


def marks_as_sent(root: Path) -> None:
    ask("POST", "/pay", b"order")
    (root / "sent").touch()


def marks_what_was_taken(root: Path) -> None:
    check_paid(ask("POST", "/pay", b"order"))
    (root / "sent").touch()


def sent_means_received(chaos: Chaos, peer: Any, outcome: Outcome) -> None:
    assert not (chaos.path / "sent").exists() or len(peer.requests) >= 1


def breaker_stays_open(root: Path) -> None:
    if (root / "open").exists():
        raise RuntimeError("the breaker is open")
    try:
        check_paid(ask("GET", "/page"))
    except OSError:
        (root / "open").touch()
        raise


def breaker_tries_again(root: Path) -> None:
    try:
        check_paid(ask("GET", "/page"))
    except OSError:
        (root / "open").touch()
        raise
    (root / "open").unlink(missing_ok=True)


def works_again(_: Chaos, peer: Any, outcome: Outcome) -> None:
    """A second start that meets no fault works."""
    assert outcome.ok or outcome.faults, outcome.error


def caches_a_failed_name(_: Path) -> None:
    cache: dict[str, str | None] = {}
    for _attempt in range(3):
        if HOST not in cache:
            try:
                cache[HOST] = socket.gethostbyname(HOST)
            except OSError:
                cache[HOST] = None
        if cache[HOST] is not None:
            return
    raise OSError("no address")


def asks_for_the_name_again(_: Path) -> None:
    for _attempt in range(3):
        try:
            socket.gethostbyname(HOST)
        except OSError:
            continue
        return
    raise OSError("no address")


def succeeds(_: Chaos, peer: Any, outcome: Outcome) -> None:
    """One fault is survived."""
    assert outcome.ok, outcome.error


class Pool:
    """Keeps one connection of a protocol by lines."""

    def __init__(self, drops: bool) -> None:
        self.drops = drops
        self.kept: socket.socket | None = None

    def ask(self, line: bytes) -> bytes:
        if self.kept is None:
            self.kept = socket.create_connection((HOST, 7), 0.3)
        try:
            self.kept.sendall(line)
            answer = self.kept.recv(100)
            if not answer:
                raise ConnectionResetError("the server has closed the connection")
            return answer
        except OSError:
            if self.drops:
                self.kept.close()
                self.kept = None
            raise

    def with_retries(self) -> None:
        for _ in range(3):
            try:
                self.ask(b"ping\n")
                self.ask(b"ping\n")
                break
            except OSError:
                continue
        else:
            raise OSError("three times in vain")
        if self.kept is not None:
            self.kept.close()


def keeps_a_dead_connection(_: Path) -> None:
    Pool(drops=False).with_retries()


def drops_a_dead_connection(_: Path) -> None:
    Pool(drops=True).with_retries()


def lines(port: int) -> None:
    """A server by lines."""
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            with connection.makefile("rwb") as stream:
                for line in stream:
                    stream.write(b"answer to " + line)
                    stream.flush()
            os._exit(0)
        connection.close()


def adds(_: Path) -> None:
    check_paid(ask("POST", "/pay", b"+5"))


def sets(_: Path) -> None:
    check_paid(ask("POST", "/pay", b"=105"))


def balance(_: Chaos, peer: Any, outcome: Outcome) -> None:
    """What a server makes of the requests, one after the other."""
    total = 100
    for request in peer.requests:
        amount = int(request.body[1:])
        total = total + amount if request.body[:1] == b"+" else amount
    assert total in (100, 105)


def charges_before_it_notes(root: Path) -> None:
    if not (root / "paid").exists():
        check_paid(ask("POST", "/pay", os.urandom(8).hex().encode()))
        (root / "paid").touch()


def notes_the_key_first(root: Path) -> None:
    if (root / "paid").exists():
        return
    if not (root / "key").exists():
        (root / "key.tmp").write_bytes(os.urandom(8).hex().encode())
        os.rename(root / "key.tmp", root / "key")
    check_paid(ask("POST", "/pay", (root / "key").read_bytes()))
    (root / "paid").touch()


def opens_before_it_parses(root: Path) -> None:
    _, body = ask("GET", "/rates")
    with open(root / "rates", "w") as file:
        json.dump(json.loads(body), file)


def parses_before_it_opens(root: Path) -> None:
    rates = json.loads(ask("GET", "/rates")[1])
    (root / "rates.tmp").write_text(json.dumps(rates))
    os.rename(root / "rates.tmp", root / "rates")


def some_rates(chaos: Chaos, _: Any, outcome: Outcome) -> None:
    assert json.loads((chaos.path / "rates").read_text())


def takes_silence_for_nothing(root: Path) -> None:
    try:
        wanted = json.loads(ask("GET", "/files")[1])
    except OSError:
        wanted = []
    for name in os.listdir(root):
        if name not in wanted:
            os.unlink(root / name)


def tells_silence_from_nothing(root: Path) -> None:
    wanted = json.loads(ask("GET", "/files")[1])
    for name in os.listdir(root):
        if name not in wanted:
            os.unlink(root / name)


def mine_is_kept(chaos: Chaos, _: Any, outcome: Outcome) -> None:
    assert (chaos.path / "mine").exists()


def reads_once(_: Path) -> None:
    with socket.create_connection((HOST, 7), 2) as sock:
        sock.sendall(b"x\n")
        if sock.recv(100) != b"answer to x\n":
            raise ValueError("a wrong answer")


def reads_to_the_end_of_the_line(_: Path) -> None:
    with socket.create_connection((HOST, 7), 2) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"x\n")
        if stream.readline() != b"answer to x\n":
            raise ValueError("a wrong answer")


def acknowledges_too_early(root: Path) -> None:
    _, body = ask("GET", "/page")
    (root / "message").write_bytes(body)
    ask("DELETE", "/page")


def acknowledges_what_is_durable(root: Path) -> None:
    _, body = ask("GET", "/page")
    durable(root / "message", body)
    ask("DELETE", "/page")


def deleted_means_kept(chaos: Chaos, peer: Any, outcome: Outcome) -> None:
    """The server forgets a message that was acknowledged, so it must be here."""
    if any(request.method == "DELETE" for request in peer.requests):
        assert (chaos.path / "message").read_bytes() == PAGE


def rates(root: Path) -> None:
    (root / "rates").write_text('{"old": 1}')


NETWORK, HTTP = faults.network(), faults.http()
POST = "http(shop.example,POST,/pay)#1"
GET = "http(shop.example,GET,/page)#1"

PLANTED = {
    "effect doubled by a retry": Planted(
        NETWORK, retries_with_another_key, retries_with_one_key, f"{POST}=reset[0]", one_effect
    ),
    "time-out missing": Planted(
        NETWORK.only("silent").on(call="http"),
        waits_for_ever,
        waits_a_while,
        f"{GET}=silent[0]",
        lambda *_: None,
        verdict="hung",
        options={"timeout": 2},
    ),
    "cut taken for whole": Planted(
        NETWORK | HTTP.without("body", "headers", "twice"),
        stores_what_came,
        stores_what_is_whole,
        f"{GET}=eof[*]",
        only_the_page,
    ),
    "error page stored as data": Planted(
        HTTP.only("status", "lost"),
        stores_any_answer,
        stores_good_answers,
        f"{GET}=status[503]",
        only_the_page,
    ),
    "status not checked": Planted(
        HTTP.without("twice", "body"),
        marks_as_sent,
        marks_what_was_taken,
        f"{POST}=status[500]",
        sent_means_received,
    ),
    "breaker that never closes": Planted(
        NETWORK.on(call="connect"),
        breaker_stays_open,
        breaker_tries_again,
        "connect(shop.example:80)#1=ECONNREFUSED",
        works_again,
        again=True,
    ),
    "failed name cached forever": Planted(
        NETWORK.only("NXDOMAIN"),
        caches_a_failed_name,
        asks_for_the_name_again,
        "dns(shop.example/A)#1=NXDOMAIN",
        succeeds,
    ),
    "dead connection kept": Planted(
        NETWORK.only("reset", "eof"),
        keeps_a_dead_connection,
        drops_a_dead_connection,
        "exchange(shop.example)#1=reset[0]",
        succeeds,
        start=lines,
    ),
    "request that is not idempotent": Planted(HTTP.only("twice"), adds, sets, f"{POST}=twice", balance),
    "charged before it was noted": Planted(
        faults.kill(),
        charges_before_it_notes,
        notes_the_key_first,
        f"{POST}=kill[answer]",
        one_effect,
        again=True,
    ),
    "file opened before the answer is understood": Planted(
        HTTP.only("body"),
        opens_before_it_parses,
        parses_before_it_opens,
        "http(shop.example,GET,/rates)#1=body[not-json]",
        some_rates,
        setup=rates,
    ),
    "silence taken for nothing": Planted(
        NETWORK.on(call="connect"),
        takes_silence_for_nothing,
        tells_silence_from_nothing,
        "connect(shop.example:80)#1=EHOSTUNREACH",
        mine_is_kept,
        setup=lambda root: (root / "mine").touch(),
    ),
    "answer read in one piece": Planted(
        NETWORK.slow().only("slice"),
        reads_once,
        reads_to_the_end_of_the_line,
        "exchange(shop.example)#1=slice[1]",
        succeeds,
        start=lines,
    ),
    "acknowledged before it was durable": Planted(
        faults.power_loss(),
        acknowledges_too_early,
        acknowledges_what_is_durable,
        "http(shop.example,DELETE,/page)#1=power_loss[*]",
        deleted_means_kept,
    ),
}

ROUTES = {
    "POST /pay": {"paid": True},
    "GET /page": PAGE,
    "DELETE /page": 204,
    "GET /rates": {"eur": 1},
    "GET /files": ["mine"],
}


def examine(chaos: Chaos, planted: Planted, program: Callable[[Path], Any]) -> None:
    """One case: the program, once more if it is one that is started again, and the invariant."""
    planted.setup(chaos.path)
    peer = chaos.peer(HOST, start=planted.start or ROUTES)
    outcome = chaos.run(program, chaos.path)
    if planted.again:
        outcome = chaos.run(program, chaos.path)
    planted.check(chaos, peer, outcome)


def _marked(name: str) -> Any:
    planted = PLANTED[name]
    options = {"timeout": 20, **planted.options}
    # Where the program is started again, faults strike in the first run alone.
    return pytest.param(planted, id=name, marks=scenario(planted.faults, **options))


ALL = list(map(_marked, PLANTED))


@pytest.mark.parametrize("planted", ALL)
def test_bug(chaos: Chaos, planted: Planted) -> None:
    examine(chaos, planted, planted.bug)


@pytest.mark.parametrize("planted", ALL)
def test_twin(chaos: Chaos, planted: Planted) -> None:
    examine(chaos, planted, planted.twin)
