"""Requests of HTTP through the relay: what is seen of them, and each fault of their own."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from chaoskit.inject import http as messages

PAY = "http(api.example,POST,/pay)#1="


@pytest.fixture
def api(peers):
    """Routes with a length, with chunks, and with a counter of what was really done."""
    done = []

    def pay(request):
        done.append(request.body)
        return {"done": len(done), "padding": "x" * 100}

    return peers.add(
        "api.example", None, {"POST /pay": pay, "GET /done": lambda _: str(len(done)), "/*": "ok"}
    )


def pay():
    """Pay, and say what was answered."""
    api = http.client.HTTPConnection("api.example", timeout=2)
    api.request("POST", "/pay?by=card", b"100", {"Content-Type": "text/plain"})
    answer = api.getresponse()
    body = answer.read()
    api.close()
    return answer.status, body


def how_often(api):
    """How many payments the server has really made; asked by the test, not through the relay."""
    direct = http.client.HTTPConnection(api.host, api.port, timeout=5)
    direct.request("GET", "/done")
    done = int(direct.getresponse().read())
    direct.close()
    return done


def test_a_request_is_one_operation_with_all_that_is_known_of_it(talk, api):
    """Method, path without query, status, kind and sizes stand in the trace; the peer has the body."""
    ran = talk(pay, record=True)
    (seen,) = [one for one in ran.trace if one.call == "http"]
    assert str(seen) == "http(api.example,POST,/pay)#1 = 200"
    detail = seen.network
    assert (detail.peer, detail.method, detail.path) == ("api.example", "POST", "/pay")
    assert (detail.status, detail.kind) == (200, "application/json")
    assert 0 < detail.head < detail.received
    assert detail.request is not None
    assert len(detail.request) == detail.sent
    assert [(one.method, one.path, one.body) for one in ran.requests] == [("POST", "/pay", b"100")]


def test_requests_are_counted_by_path_over_connections(talk, api):
    """A kept connection and a new one make no difference to the names of requests."""

    def work(keep):
        api = http.client.HTTPConnection("api.example", timeout=2)
        for path in ("/a", "/b", "/a"):
            api.request("GET", path)
            assert api.getresponse().read() == b"ok"
            if not keep:
                api.close()
        api.close()

    seen = []
    for keep in (True, False):
        ran = talk(lambda keep=keep: work(keep), record=True)
        seen.append([str(one) for one in ran.trace if one.call == "http"])
    names = ["http(api.example,GET,/a)#1", "http(api.example,GET,/b)#1", "http(api.example,GET,/a)#2"]
    assert seen == [[f"{name} = 200" for name in names]] * 2


@pytest.mark.parametrize(
    ("fault", "answered", "done"),
    [
        ("status[401]", 401, 0),
        ("status[503]", 503, 0),
        ("lost[504]", 504, 1),
        ("twice", 200, 2),
        ("body[cut]", 200, 1),
        ("body[not-json]", 200, 1),
        ("headers[no-length]", 200, 1),
        ("delay[0.05]", 200, 1),
        ("slice[7]", 200, 1),
    ],
)
def test_faults_with_an_answer(talk, api, fault, answered, done):
    """The program gets the answer that the fault says, and the server has done it as often as it says."""
    ran = talk(pay, PAY + fault)
    assert len(ran.receipts) == 1, ran.caveats
    assert ran.value[0] == answered
    assert how_often(api) == done == len(ran.requests)


@pytest.mark.parametrize(
    ("fault", "done"), [("reset[request]", 0), ("reset[0]", 1), ("kill[request]", 0), ("kill[answer]", 1)]
)
def test_faults_without_an_answer(talk, api, fault, done):
    """A lost request is not done, a lost answer is."""
    ran = talk(pay, PAY + fault)
    assert (ran.ok, len(ran.receipts)) == (False, 1)
    assert how_often(api) == done == len(ran.requests)


def test_spoilt_bodies(talk, api):
    """A cut body looks whole by its header; a page takes the place of JSON; without a length all is there."""
    whole = pay_body(talk, "")
    assert json.loads(whole)["done"] == 1
    cut = pay_body(talk, PAY + "body[cut]")
    assert len(cut) == len(whole) // 2
    assert pay_body(talk, PAY + "body[not-json]").startswith(b"<html>")
    assert json.loads(pay_body(talk, PAY + "headers[no-length]"))["done"] == 4


def pay_body(talk, schedule):
    """The body of the answer under a schedule."""
    return talk(pay, schedule).value[1]


def test_a_connection_is_good_after_an_answer_that_no_server_gave(talk, api):
    """After ``status`` the same connection goes on, as behind a proxy."""

    def work():
        api = http.client.HTTPConnection("api.example", timeout=2)
        got = []
        for _ in range(2):
            api.request("POST", "/pay", b"1")
            answer = api.getresponse()
            answer.read()
            got.append((answer.status, api.sock is not None))
        return got

    ran = talk(work, PAY + "status[429]")
    assert ran.value == [(429, True), (200, True)]
    assert len(ran.requests) == 1


def raw(*parts, host="api.example"):
    """Send bytes as they are; return all that comes until the end."""
    with socket.create_connection((host, 80), 2) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        got = b""
        while data := sock.recv(65536):
            got += data
        return got


def test_chunks_pieces_and_pipelines(talk, api):
    """However a request is framed and cut, each is one operation, and its body is known."""
    chunked = b"POST /pay HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"2\r\n10\r\n1;x=y\r\n0\r\n0\r\n\r\n"
    plain = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    cases = [
        ([chunked], [b"100"]),
        ([chunked[:30], chunked[30:70], chunked[70:]], [b"100"]),
        ([plain[:5], plain[5:], b"20", b"0"], [b"200"]),
        ([plain + b"300" + chunked], [b"300", b"100"]),
    ]
    for parts, bodies in cases:
        ran = talk(lambda parts=parts: raw(*parts), record=True)
        assert [one.body for one in ran.requests] == bodies
        assert [one.result for one in ran.trace if one.call == "http"] == [200] * len(bodies)
        assert ran.value.count(b"HTTP/1.1 200") == len(bodies)
        assert not ran.caveats


def test_an_answer_of_chunks_and_one_without_a_length(talk, peers):
    """Both are followed to their end, and can be cut."""
    bodies = {
        "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
        "/end": b"HTTP/1.0 200 OK\r\n\r\nabcdef",
    }

    def serve(port):
        listener = socket.create_server(("127.0.0.1", port))
        while True:
            connection, _ = listener.accept()
            with connection:
                path = connection.recv(1000).split()[1:2]
                connection.sendall(bodies.get(b"".join(path).decode(), b""))

    peers.add("odd.example", None, serve)

    def get(path):
        api = http.client.HTTPConnection("odd.example", timeout=2)
        api.request("GET", path)
        return api.getresponse().read()

    for path in bodies:
        ran = talk(lambda path=path: get(path), record=True)
        assert ran.value == b"abcdef"
        (seen,) = [one for one in ran.trace if one.call == "http"]
        assert (seen.result, seen.network.received) == (200, len(bodies[path]))
        assert talk(lambda path=path: get(path), f"http(odd.example,GET,{path})#1=body[cut]").value == b"abc"


def test_a_request_that_waits_for_permission(talk, api):
    """``Expect: 100-continue``: the rest is asked for where it is needed, and a refusal comes at once."""
    head = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"

    def work():
        with socket.create_connection(("api.example", 80), 2) as sock:
            sock.sendall(head)
            first = sock.recv(65536)
            if b"100 Continue" in first:
                sock.sendall(b"100")
                first = sock.recv(65536)
            return first.split(b"\r\n")[0]

    assert talk(work).value == b"HTTP/1.1 200 OK"
    assert talk(work, PAY + "status[503]").value == b"HTTP/1.1 503 Service Unavailable"
    ran = talk(work, PAY + "twice")
    assert (len(ran.receipts), len(ran.requests)) == (1, 2)


def test_what_only_looks_like_http_is_relayed_as_it_is(talk, peers):
    """A program with another protocol notices nothing, and the run says that it was not followed."""

    def serve(port):
        listener = socket.create_server(("127.0.0.1", port))
        while True:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(1000):
                    connection.sendall(data[::-1])

    peers.add("odd.example", None, serve)

    def work():
        with socket.create_connection(("odd.example", 1), 2) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nno colon here\r\n\r\n")
            return sock.recv(1000)[::-1]

    ran = talk(work)
    assert ran.value == b"GET / HTTP/1.1\r\nno colon here\r\n\r\n"
    assert [one.kind for one in ran.caveats] == ["not-http"]


@pytest.mark.parametrize(
    ("begin", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", True),
        (b"GET", None),
        (b"GET /x HTTP", None),
        (b"GET key\r\n", False),
        (b"PING\r\n", False),
        (b"PRI * HTTP/2.0\r\n", False),
        (b"\x16\x03\x01", False),
    ],
)
def test_how_a_request_begins(begin, expected):
    """It is told by its first line, and until that is there nothing is decided."""
    assert messages.may_be(begin) is expected


def test_what_peers_were_asked_stands_in_its_order(talk, api):
    """Requests that are passed on before they are understood are still told in their order."""

    def work():
        one, two = (http.client.HTTPConnection("api.example", timeout=2) for _ in range(2))
        for number in range(150):
            for name, connection in (("one", one), ("two", two)):
                connection.request("GET", f"/{name}/{number}")
                assert connection.getresponse().read() == b"ok"
        one.close()
        two.close()

    expected = [f"/{name}/{number}" for number in range(150) for name in ("one", "two")]
    assert [one.path for one in talk(work).requests] == expected


@pytest.mark.parametrize("number", [1, 2, 70, 140])
def test_one_of_many_requests_is_struck(talk, api, number):
    """Those before and behind are answered; the one that is struck is, though others were not looked at."""

    def work():
        api = http.client.HTTPConnection("api.example", timeout=2)
        answers = []
        for _ in range(140):
            api.request("GET", "/a")
            answer = api.getresponse()
            answer.read()
            answers.append(answer.status)
        api.close()
        return answers

    ran = talk(work, f"http(api.example,GET,/a)#{number}=status[503]")
    assert [at for at, status in enumerate(ran.value, 1) if status != 200] == [number]
    assert len(ran.receipts) == 1
    assert len(ran.requests) == 139


def test_a_pipeline_is_struck_in_its_middle(talk, api):
    """Of requests that come in one piece those before the struck one are answered, and no other twice."""

    def work():
        with socket.create_connection(("api.example", 80), timeout=2) as sock:
            ask = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
            sock.sendall(ask % 1)
            sock.recv(1000)
            sock.sendall(b"".join(ask % number for number in range(2, 6)) + (ask % 6)[:9])
            sock.sendall((ask % 6)[9:])
            got = b""
            while part := sock.recv(1000):
                got += part
            return got

    ran = talk(work, "http(api.example,GET,/4)#1=reset[request]")
    assert not ran.ok or ran.value.count(b"200 OK") <= 2
    assert len(ran.receipts) == 1
    assert [one.path for one in ran.requests][:3] == ["/1", "/2", "/3"]
    assert "/4" not in [one.path for one in ran.requests]


def test_what_is_no_http_any_more_arrives_once(talk, peers):
    """A stream that turns into something else behind a request is passed on whole, nothing twice."""

    def echo(port):
        with socket.create_server(("127.0.0.1", port)) as listener:
            while True:
                connection, _ = listener.accept()
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                while part := connection.recv(1000):
                    connection.sendall(part)

    peers.add("odd.example", None, echo)

    def work():
        with socket.create_connection(("odd.example", 80), timeout=2) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            sock.recv(1000)
            got = b""
            for part in (b"ABC\r\n", b"no field at all\r\n\r\n", b"DEF\r\n\r\n"):
                sock.sendall(part)
                while not got.endswith(part):
                    got += sock.recv(1000)
            return got

    ran = talk(work)
    assert ran.value == b"ABC\r\nno field at all\r\n\r\nDEF\r\n\r\n", ran.error
    assert "not-http" in [one.kind for one in ran.caveats]
